"""Draws a picture with pygame: first the scene, then the instruments over it."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")

import numpy as np
import pygame
import pygame.gfxdraw

from rl_tracking.viewer.camera import Array, Camera
from rl_tracking.viewer.canvas import BACKGROUND, BACKGROUND_LIT, Anchor, Canvas, Colour, Point, Rect, mix
from rl_tracking.viewer.frame import Frame
from rl_tracking.viewer.hud import draw_hud
from rl_tracking.viewer.outputs import Picture
from rl_tracking.viewer.scene import draw_scene

FONTS = "segoeui,roboto,ubuntu,notosans,opensans,dejavusans,helveticaneue,arial"
MAGNIFICATION = 2  # must be a power of two, since smoothscale rounds other sizes down
LARGEST_MAGNIFIED = 400.0  # in pixels; larger shapes look smooth enough without


def draw_frame(
    surface: pygame.Surface,
    camera: Camera,
    frame: Frame,
    *,
    unit: float | None = None,
    show_help: bool = False,
) -> None:
    """Draw one picture.

    Args:
        surface: where; all of it is covered.
        camera: the point of view.
        frame: everything to show.
        unit: pixels of one layout unit; by default the picture is 720 units high, 1000 wide at least.
        show_help: whether the keys are listed over the picture.
    """
    canvas = PygameCanvas(surface, unit or min(surface.get_height() / 720.0, surface.get_width() / 1000.0))
    canvas.backdrop()
    draw_scene(canvas, camera, frame)
    draw_hud(canvas, frame, show_help=show_help)


def picture(camera: Camera, frame: Frame, size: tuple[int, int], unit: float | None = None) -> Picture:
    """The same picture as an array ``[height, width, 3]``, drawn at twice its ``size`` and smoothed."""
    large = pygame.Surface((2 * size[0], 2 * size[1]), 0, 32)
    draw_frame(large, camera, frame, unit=None if unit is None else 2 * unit)
    pixels = pygame.surfarray.array3d(pygame.transform.smoothscale(large, size))
    return np.ascontiguousarray(pixels.transpose(1, 0, 2))


class PygameCanvas:
    """See ``Canvas``. A layout unit is ``unit`` pixels; the top left corner lies at ``origin`` in layout units."""

    def __init__(self, surface: pygame.Surface, unit: float, origin: Point = (0.0, 0.0)) -> None:
        self._surface, self._unit, self._origin = surface, unit, origin

    @property
    def size(self) -> Point:
        """See ``Canvas.size``."""
        width, height = self._surface.get_size()
        return width / self._unit, height / self._unit

    def backdrop(self) -> None:
        """See ``Canvas.backdrop``."""
        self._surface.blit(_backdrop(self._surface.get_size()), (0, 0))

    def line(self, start: Point, end: Point, colour: Colour, width: float = 1.0) -> None:
        """See ``Canvas.line``."""
        a, b = self._at(start), self._at(end)
        half = max(0.5 * (width * self._unit - 1.0), 0.0)
        length = max(math.hypot(b[0] - a[0], b[1] - a[1]), 1e-6)
        nx, ny = half * (a[1] - b[1]) / length, half * (b[0] - a[0]) / length
        quad = (
            (a[0] + nx, a[1] + ny),
            (b[0] + nx, b[1] + ny),
            (b[0] - nx, b[1] - ny),
            (a[0] - nx, a[1] - ny),
        )
        _stroke(self._surface, quad, colour, half)

    def lines(self, starts: Array, ends: Array, colours: Array, widths: Array | float = 1.0) -> None:
        """See ``Canvas.lines``: a thick line is a filled strip between two thin smooth ones."""
        a, b = (starts - self._origin) * self._unit, (ends - self._origin) * self._unit
        half = np.maximum(0.5 * (np.asarray(widths, dtype=np.float64) * self._unit - 1.0), 0.0)
        along = b - a
        length = np.maximum(np.hypot(along[:, 0], along[:, 1]), 1e-6)
        aside = along[:, ::-1] * (-1.0, 1.0) * (half / length)[:, None]
        quads = np.concatenate((a + aside, b + aside, b - aside, a - aside), axis=1).reshape(-1, 4, 2).tolist()
        thickness = half.tolist() if half.ndim else [float(half)] * len(quads)
        for quad, shade, thick in zip(quads, colours.astype(np.int64).tolist(), thickness, strict=True):
            _stroke(self._surface, quad, shade, thick)

    def polygon(self, points: Sequence[Sequence[float]], colour: Colour, alpha: float = 1.0) -> None:
        """See ``Canvas.polygon``."""
        corners = [self._at(point) for point in points]
        width, height = self._surface.get_size()
        if not all(-width < x < 2 * width and -height < y < 2 * height for x, y in corners):
            return  # gfxdraw has 16-bit coordinates, and hardly any of such a polygon lies in the picture
        if alpha >= 1.0:
            pygame.draw.polygon(self._surface, colour, corners)
        else:
            pygame.gfxdraw.filled_polygon(self._surface, corners, (*colour, round(255 * alpha)))

    def rounded(self, rect: Rect, radius: float, colour: Colour, alpha: float = 1.0) -> None:
        """See ``Canvas.rounded``."""
        x, y = self._at((rect[0], rect[1]))
        size = (max(1, round(rect[2] * self._unit)), max(1, round(rect[3] * self._unit)))
        sprite = _rounded(size, max(1, round(radius * self._unit)), colour, round(255 * alpha))
        self._surface.blit(sprite, (round(x), round(y)))

    def glow(self, centre: Point, radius: float, colour: Colour, strength: float = 1.0) -> None:
        """See ``Canvas.glow``."""
        pixels = min(radius * self._unit, 0.6 * max(self._surface.get_size()))
        step = 1 if pixels < 24 else round(pixels / 12)
        size = max(2, step * round(pixels / step))
        shade = mix((0, 0, 0), colour, round(24 * strength) / 24)
        x, y = self._at(centre)
        sprite = _glow(size, shade)
        self._surface.blit(sprite, (round(x - size), round(y - size)), special_flags=pygame.BLEND_RGB_ADD)

    def bubble(self, centre: Point, radius: float, colour: Colour, alpha: float = 1.0) -> None:
        """See ``Canvas.bubble``."""
        size = round(2 * min(radius * self._unit, max(self._surface.get_size())))
        if size < 2:
            return
        x, y = self._at(centre)
        sprite = pygame.transform.smoothscale(_bubble(colour, round(255 * alpha)), (size, size))
        self._surface.blit(sprite, (round(x - size / 2), round(y - size / 2)))

    def text(
        self,
        text: str,
        position: Point,
        height: float,
        colour: Colour,
        anchor: Anchor = "left",
        bold: bool = False,
    ) -> float:
        """See ``Canvas.text``."""
        sprite = _text(text, max(6, round(height * self._unit)), bold, colour)
        x, y = self._at(position)
        x -= {"left": 0.0, "centre": 0.5, "right": 1.0}[anchor] * sprite.get_width()
        self._surface.blit(sprite, (round(x), round(y)))
        return float(sprite.get_width() / self._unit)

    @contextmanager
    def magnified(self, rect: Rect) -> Iterator[Canvas]:
        """See ``Canvas.magnified``."""
        left, top = (math.floor(value) for value in self._at((rect[0], rect[1])))
        place = pygame.Rect(left, top, math.ceil(rect[2] * self._unit) + 1, math.ceil(rect[3] * self._unit) + 1)
        place = place.clip(self._surface.get_rect())
        if place.w < 1 or place.h < 1 or max(place.size) > LARGEST_MAGNIFIED:
            yield self
            return
        region = self._surface.subsurface(place)
        large = pygame.transform.scale(region, (place.w * MAGNIFICATION, place.h * MAGNIFICATION))
        origin = (self._origin[0] + place.x / self._unit, self._origin[1] + place.y / self._unit)
        yield PygameCanvas(large, self._unit * MAGNIFICATION, origin)
        region.blit(pygame.transform.smoothscale(large, place.size), (0, 0))

    def _at(self, point: Sequence[float]) -> Point:
        return (point[0] - self._origin[0]) * self._unit, (point[1] - self._origin[1]) * self._unit


def _stroke(surface: pygame.Surface, quad: Sequence[Sequence[float]], colour: Sequence[int], half: float) -> None:
    """A strip with smooth edges between the corners of ``quad``; ``half`` its width - 1 pixel, halved."""
    if half > 0.5:
        pygame.draw.polygon(surface, colour, quad)
    pygame.draw.aaline(surface, colour, quad[0], quad[1])
    if half > 0.2:
        pygame.draw.aaline(surface, colour, quad[2], quad[3])


@lru_cache(maxsize=4)
def _backdrop(size: tuple[int, int]) -> pygame.Surface:
    """A dark picture, lit about its middle; a little noise hides the steps between its shades."""
    width, height = size
    x = (np.arange(width)[:, None] / width - 0.5) / 0.62
    y = (np.arange(height)[None, :] / height - 0.46) / 0.66
    share = np.clip(1.0 - np.sqrt(x * x + y * y), 0.0, 1.0) ** 1.1
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, size=share.shape)
    dark, lit = np.array(BACKGROUND), np.array(BACKGROUND_LIT)
    pixels = dark + share[..., None] * (lit - dark) + noise[..., None]
    surface = pygame.Surface(size, 0, 32)
    pygame.surfarray.blit_array(surface, np.clip(np.round(pixels), 0, 255).astype(np.uint8))
    return surface


@lru_cache(maxsize=512)
def _glow(radius: int, colour: Colour) -> pygame.Surface:
    """Light to be added: ``colour`` in the middle, nothing at ``radius`` pixels."""
    offset = (np.arange(2 * radius) + 0.5 - radius) / radius
    distance = np.sqrt(offset[:, None] ** 2 + offset[None, :] ** 2)
    share = np.clip(1.0 - distance, 0.0, 1.0) ** 2.2
    surface = pygame.Surface((2 * radius, 2 * radius), 0, 32)
    pygame.surfarray.blit_array(surface, (share[..., None] * np.array(colour)).astype(np.uint8))
    return surface


@lru_cache(maxsize=8)
def _bubble(colour: Colour, alpha: int) -> pygame.Surface:
    """A ball 256 pixels wide, opaque only near its rim, with a highlight at its upper left."""
    offset = (np.arange(256) + 0.5 - 128) / 127
    distance = np.sqrt(offset[:, None] ** 2 + offset[None, :] ** 2)
    rim = 0.07 + 0.38 * np.clip(distance, 0, 1) ** 5
    shine = 0.16 * np.exp(-((offset[:, None] + 0.42) ** 2 + (offset[None, :] + 0.48) ** 2) / 0.06)
    inside = np.clip((1.0 - distance) * 127, 0.0, 1.0)
    surface = pygame.Surface((256, 256), pygame.SRCALPHA)
    surface.fill(mix(colour, (255, 255, 255), 0.1))
    opacity = pygame.surfarray.pixels_alpha(surface)
    opacity[:] = np.clip(alpha * (rim + shine) * inside, 0, 255).astype(np.uint8)
    return surface


@lru_cache(maxsize=256)
def _rounded(size: tuple[int, int], radius: int, colour: Colour, alpha: int) -> pygame.Surface:
    """A rectangle with smooth round corners."""
    width, height = size
    radius = min(radius, width // 2, height // 2)
    x = np.abs(np.arange(width) + 0.5 - width / 2) - (width / 2 - radius)
    y = np.abs(np.arange(height) + 0.5 - height / 2) - (height / 2 - radius)
    outside = np.hypot(np.maximum(x, 0)[:, None], np.maximum(y, 0)[None, :])
    surface = pygame.Surface(size, pygame.SRCALPHA)
    surface.fill(colour)
    opacity = pygame.surfarray.pixels_alpha(surface)
    opacity[:] = (alpha * np.clip(radius + 0.5 - outside, 0.0, 1.0)).astype(np.uint8)
    return surface


@lru_cache(maxsize=512)
def _text(text: str, pixels: int, bold: bool, colour: Colour) -> pygame.Surface:
    """A line of text; most lines are the same in every picture."""
    return _font(pixels, bold).render(text, True, colour)


@lru_cache(maxsize=64)
def _font(pixels: int, bold: bool) -> pygame.font.Font:
    """The first of the preferred typefaces that this machine has, or pygame's own."""
    pygame.font.init()
    path = pygame.font.match_font(FONTS, bold=bold)
    return pygame.font.Font(path, pixels)
