"""The canvas that scene and instruments draw on, as a protocol, and the colours. ``draw.py`` implements it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Colour = tuple[int, int, int]
Point = tuple[float, float]
Rect = tuple[float, float, float, float]
Anchor = Literal["left", "centre", "right"]

BACKGROUND: Colour = (7, 9, 16)
BACKGROUND_LIT: Colour = (23, 29, 46)
FOG: Colour = (15, 19, 31)
GRID: Colour = (104, 132, 190)
FLOOR: Colour = (34, 44, 70)
TEXT: Colour = (232, 237, 247)
TEXT_DIM: Colour = (142, 155, 181)
TEXT_FAINT: Colour = (86, 99, 128)
PANEL: Colour = (14, 18, 30)
PANEL_EDGE: Colour = (52, 64, 92)
TARGET: Colour = (255, 181, 71)
CAPTURED: Colour = (87, 231, 158)
LOSS: Colour = (255, 105, 112)
OBSTACLE: Colour = (122, 134, 164)
OTHER: Colour = (196, 206, 224)
ZONE: Colour = (132, 152, 255)
PURSUERS: tuple[Colour, ...] = (
    (82, 208, 255),
    (186, 146, 255),
    (255, 128, 184),
    (120, 230, 200),
    (255, 226, 120),
    (150, 180, 255),
)


def mix(a: Colour, b: Colour, share: float) -> Colour:
    """The colour ``share`` of the way from ``a`` to ``b``; a share outside [0, 1] counts as its nearest end."""
    s = min(max(share, 0.0), 1.0)
    return (
        round(a[0] + s * (b[0] - a[0])),
        round(a[1] + s * (b[1] - a[1])),
        round(a[2] + s * (b[2] - a[2])),
    )


def shades(a: Colour, b: Colour, share: Array) -> Array:
    """``mix`` for many shares ``[K]`` at once, ``[K, 3]``."""
    low, high = np.array(a, dtype=np.float64), np.array(b, dtype=np.float64)
    return low + np.clip(share, 0.0, 1.0)[:, None] * (high - low)


def pursuer_colour(index: int) -> Colour:
    """The colour of pursuer ``index``; they repeat after the last."""
    return PURSUERS[index % len(PURSUERS)]


class Canvas(Protocol):
    """A picture to draw on, in layout units: a picture of any resolution has the same layout.

    Lengths and positions are layout units from the top left corner, y down. ``alpha`` is in [0, 1].
    """

    @property
    def size(self) -> Point:
        """Width and height of the picture in layout units."""

    def backdrop(self) -> None:
        """Cover the whole picture with the background."""

    def line(self, start: Point, end: Point, colour: Colour, width: float = 1.0) -> None:
        """A straight line with smooth edges."""

    def lines(self, starts: Array, ends: Array, colours: Array, widths: Array | float = 1.0) -> None:
        """Many lines: ``starts``, ``ends`` ``[K, 2]``, ``colours`` ``[K, 3]`` (0 to 255), ``widths`` ``[K]`` or one."""

    def polygon(self, points: Sequence[Sequence[float]], colour: Colour, alpha: float = 1.0) -> None:
        """A filled polygon."""

    def rounded(self, rect: Rect, radius: float, colour: Colour, alpha: float = 1.0) -> None:
        """A filled rectangle (left, top, width, height) with rounded corners."""

    def glow(self, centre: Point, radius: float, colour: Colour, strength: float = 1.0) -> None:
        """Light added about a point, fading to nothing at ``radius``."""

    def bubble(self, centre: Point, radius: float, colour: Colour, alpha: float = 1.0) -> None:
        """A transparent ball: clear in the middle, brighter towards its rim."""

    def text(
        self,
        text: str,
        position: Point,
        height: float,
        colour: Colour,
        anchor: Anchor = "left",
        bold: bool = False,
    ) -> float:
        """One line of text whose top is at ``position``; returns its width."""

    def magnified(self, rect: Rect) -> AbstractContextManager[Canvas]:
        """A canvas for the same place at a higher resolution; its picture is put back smoothed on leaving."""
