"""The instruments over the picture: who flies, how near, what it is paid, and the episode as a curve."""

from __future__ import annotations

import numpy as np

from rl_tracking.viewer.canvas import (
    CAPTURED,
    GRID,
    LOSS,
    PANEL,
    PANEL_EDGE,
    PURSUERS,
    TARGET,
    TEXT,
    TEXT_DIM,
    TEXT_FAINT,
    Array,
    Canvas,
    Colour,
    Point,
    Rect,
    mix,
)
from rl_tracking.viewer.frame import Frame

MARGIN = 22.0
CURVE_POINTS = 320
MOST_TERMS = 14

KEYS = (
    ("space", "pause, play"),
    (".", "one step"),
    (",", "one step back"),
    ("[  ]", "slower, faster"),
    ("r", "restart with the next seed"),
    ("arrows, drag", "orbit"),
    ("+  -  wheel", "zoom"),
    ("f", "follow the chase"),
    ("o", "orbit by itself"),
    ("h", "this help"),
    ("q  Esc", "quit"),
)


def draw_hud(canvas: Canvas, frame: Frame, *, show_help: bool = False) -> None:
    """Draw the instruments of a frame."""
    _flight(canvas, frame)
    _rewards(canvas, frame)
    _timeline(canvas, frame)
    if frame.ended:
        _ending(canvas, frame)
    if show_help:
        _help(canvas)


def _panel(canvas: Canvas, rect: Rect) -> None:
    """A dark translucent plate with a thin edge."""
    left, top, width, height = rect
    canvas.rounded(rect, 10.0, PANEL_EDGE, 0.55)
    canvas.rounded((left + 1, top + 1, width - 2, height - 2), 9.0, PANEL, 0.80)


def _flight(canvas: Canvas, frame: Frame) -> None:
    """Top left: the pilot, the distance, and whether the target is held."""
    left, top, width = MARGIN, MARGIN, 262.0
    _panel(canvas, (left, top, width, 164.0))
    x = left + 18
    canvas.text(_shortened(frame.pilot, 24), (x, top + 14), 17, TEXT, bold=True)
    canvas.text(f"{frame.scenario}   seed {frame.seed}   episode {frame.episode + 1}", (x, top + 38), 12, TEXT_DIM)
    canvas.line((x, top + 62), (left + width - 18, top + 62), PANEL_EDGE)
    colour = CAPTURED if frame.in_radius else TEXT
    wide = canvas.text(f"{frame.distance:.1f}", (x, top + 70), 42, colour, bold=True)
    canvas.text("m", (x + wide + 6, top + 95), 17, TEXT_DIM)
    _status(canvas, frame, (left + width - 18, top + 86))
    y = top + 132
    canvas.text("closest", (x, y), 12, TEXT_FAINT)
    canvas.text(f"{frame.closest:.1f} m", (x + 52, y), 12, TEXT_DIM)
    canvas.text("held", (x + 124, y), 12, TEXT_FAINT)
    canvas.text(f"{frame.time_in_radius:.1f} s", (x + 160, y), 12, TEXT_DIM)


def _status(canvas: Canvas, frame: Frame, right_top: Point) -> None:
    """A lit pill: whether the target is within the capture radius."""
    label, colour = ("in radius", CAPTURED) if frame.in_radius else ("chasing", TARGET)
    width = 82.0
    left, top = right_top[0] - width, right_top[1]
    canvas.rounded((left, top, width, 22.0), 11.0, colour, 0.20)
    canvas.rounded((left + 11, top + 8, 6.0, 6.0), 3.0, colour)
    canvas.text(label, (left + 24, top + 4), 11, colour)


def _rewards(canvas: Canvas, frame: Frame) -> None:
    """Top right: the reward of this step, term by term, and the return so far."""
    width, row = 262.0, 24.0
    left, top = canvas.size[0] - MARGIN - width, MARGIN
    terms = list(frame.terms.items())[:MOST_TERMS]
    _panel(canvas, (left, top, width, 84.0 + row * len(terms)))
    x, right = left + 18, left + width - 18
    canvas.text("reward", (x, top + 14), 12, TEXT_FAINT)
    canvas.text(_signed(frame.reward), (right, top + 12), 15, _sign_colour(frame.reward), "right", bold=True)
    for index, (name, value) in enumerate(terms):
        _term(canvas, (x, top + 44 + index * row), right, name, value, frame.term_scale)
    y = top + 46 + row * len(terms)
    canvas.line((x, y), (right, y), PANEL_EDGE)
    canvas.text("return", (x, y + 11), 12, TEXT_FAINT)
    canvas.text(_signed(frame.episode_return), (right, y + 9), 15, TEXT, "right", bold=True)


def _term(canvas: Canvas, place: Point, right: float, name: str, value: float, scale: float) -> None:
    """One reward term: its name, a bar from the middle to the left or right, its value."""
    x, y = place
    canvas.text(_shortened(name, 13), (x, y), 12, TEXT_DIM)
    middle, half = x + 124, 36.0
    canvas.rounded((middle - half, y + 5, 2 * half, 6.0), 3.0, PANEL_EDGE, 0.6)
    length = half * min(abs(value) / scale, 1.0) if scale > 0 else 0.0
    if length >= 0.5:
        start = middle if value > 0 else middle - length
        canvas.rounded((start, y + 5, length, 6.0), 3.0, CAPTURED if value > 0 else LOSS)
    canvas.line((middle, y + 3), (middle, y + 13), TEXT_FAINT)
    canvas.text(_signed(value), (right, y), 12, TEXT, "right")


def _timeline(canvas: Canvas, frame: Frame) -> None:
    """Bottom: the distance at every step so far, the capture radius, and the present moment."""
    width, height = canvas.size
    rect = (MARGIN, height - MARGIN - 80.0, width - 2 * MARGIN, 80.0)
    _panel(canvas, rect)
    left, top = rect[0] + 124, rect[1] + 15
    chart = (left, top, rect[2] - 124 - 62, 50.0)
    _clock(canvas, frame, (rect[0] + 18, rect[1] + 12))
    _curve(canvas, frame, chart)


def _clock(canvas: Canvas, frame: Frame, place: Point) -> None:
    """Time, step, and whether it is playing."""
    x, y = place
    wide = canvas.text(f"{frame.time:.1f}", (x, y - 3), 22, TEXT, bold=True)
    canvas.text("s", (x + wide + 4, y + 7), 13, TEXT_DIM)
    canvas.text(f"step {frame.step} / {frame.max_steps}", (x, y + 26), 11, TEXT_DIM)
    state = "paused" if frame.paused else "playing" if frame.speed == 1.0 else f"{frame.speed:g} x"
    colour = TARGET if frame.paused else PURSUERS[0]
    top = y + 46
    if frame.paused:
        canvas.rounded((x, top, 3.0, 10.0), 1.0, colour)
        canvas.rounded((x + 5, top, 3.0, 10.0), 1.0, colour)
    else:
        with canvas.magnified((x - 1, top - 1, 11.0, 12.0)) as fine:
            fine.polygon(((x, top), (x + 8, top + 5), (x, top + 10)), colour)
    canvas.text(state, (x + 14, top - 2), 11, colour)


def _curve(canvas: Canvas, frame: Frame, chart: Rect) -> None:
    """Distance against time, filled below, over the whole length of the episode."""
    left, top, width, height = chart
    floor = top + height
    greatest = max(float(frame.distances.max()), 1.5 * frame.capture_radius)

    def at(steps: Array, distances: Array) -> Array:
        heights = np.minimum(distances / greatest, 1.0)
        return np.column_stack((left + width * steps / frame.max_steps, floor - height * heights))

    canvas.line((left, floor), (left + width, floor), PANEL_EDGE)
    level = floor - height * frame.capture_radius / greatest
    dashes = np.arange(0.0, width, 10.0)
    rows = np.column_stack((left + dashes, np.full(len(dashes), level)))
    canvas.lines(rows, rows + np.array((4.0, 0.0)), np.full((len(rows), 3), mix(PANEL, CAPTURED, 0.55)))
    canvas.text(f"{greatest:.0f} m", (left + width + 10, top - 7), 11, TEXT_FAINT)
    canvas.text(f"{frame.capture_radius:g} m", (left + width + 10, level - 7), 11, mix(PANEL, CAPTURED, 0.75))
    steps = np.arange(0, len(frame.distances), max(1, len(frame.distances) // CURVE_POINTS))
    present = at(np.array([frame.time / frame.dt]), np.array([frame.distance]))
    points = np.concatenate((at(steps.astype(np.float64), frame.distances[steps]), present))
    x, y = (float(value) for value in present[0])
    canvas.polygon([(left, floor), *points.tolist(), (x, floor)], PURSUERS[0], 0.12)
    canvas.lines(points[:-1], points[1:], np.full((len(points) - 1, 3), PURSUERS[0]), 1.6)
    canvas.line((x, top - 4), (x, floor), mix(PANEL, GRID, 0.6))
    canvas.glow((x, y), 12.0, PURSUERS[0], 0.5)
    canvas.rounded((x - 3, y - 3, 6.0, 6.0), 3.0, TEXT)


def _ending(canvas: Canvas, frame: Frame) -> None:
    """Top middle: how the episode ended."""
    captured = frame.reason == "captured"
    label = f"Captured after {frame.time:.1f} s" if captured else frame.reason.capitalize()
    width = 240.0
    left = canvas.size[0] / 2 - width / 2
    _panel(canvas, (left, MARGIN, width, 44.0))
    canvas.text(label, (canvas.size[0] / 2, MARGIN + 12), 16, CAPTURED if captured else TEXT, "centre", bold=True)


def _help(canvas: Canvas) -> None:
    """In the middle: what the keys do."""
    width, row = 330.0, 24.0
    height = 64.0 + row * len(KEYS)
    left, top = (canvas.size[0] - width) / 2, (canvas.size[1] - height) / 2
    _panel(canvas, (left, top, width, height))
    canvas.text("Keys", (left + 24, top + 18), 16, TEXT, bold=True)
    for index, (key, meaning) in enumerate(KEYS):
        y = top + 50 + index * row
        canvas.text(key, (left + 24, y), 13, PURSUERS[0])
        canvas.text(meaning, (left + 134, y), 13, TEXT_DIM)


def _signed(value: float) -> str:
    """A value with its sign, and as many digits as fit."""
    if abs(value) < 0.0005:
        return "0"
    digits = 3 if abs(value) < 1 else 2 if abs(value) < 100 else 0
    return f"{value:+.{digits}f}".replace("-", "\N{MINUS SIGN}")


def _sign_colour(value: float) -> Colour:
    return CAPTURED if value > 0 else LOSS if value < 0 else TEXT


def _shortened(text: str, length: int) -> str:
    """At most ``length`` characters; a longer text ends in dots."""
    return text if len(text) <= length else text[: length - 1] + "\N{HORIZONTAL ELLIPSIS}"
