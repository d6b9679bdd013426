"""What all instruments share: the plate they lie on, and numbers and names as text."""

from __future__ import annotations

from rl_tracking.viewer.canvas import PANEL, PANEL_EDGE, Canvas, Rect

MARGIN = 22.0


def draw_panel(canvas: Canvas, rect: Rect) -> None:
    """A dark translucent plate with a thin edge."""
    left, top, width, height = rect
    canvas.rounded(rect, 10.0, PANEL_EDGE, 0.55)
    canvas.rounded((left + 1, top + 1, width - 2, height - 2), 9.0, PANEL, 0.80)


def signed(value: float) -> str:
    """A value with its sign, and as many digits as fit."""
    if abs(value) < 0.0005:
        return "0"
    digits = 3 if abs(value) < 1 else 2 if abs(value) < 100 else 0
    return f"{value:+.{digits}f}".replace("-", "\N{MINUS SIGN}")


def shortened(text: str, length: int) -> str:
    """At most ``length`` characters; a longer text ends in dots."""
    return text if len(text) <= length else text[: length - 1] + "\N{HORIZONTAL ELLIPSIS}"
