"""Pictures and films as files: PNG, GIF and MP4, written beside their place and moved there when complete."""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rl_tracking import files
from rl_tracking.errors import UsageError
from rl_tracking.viewer.canvas import BACKGROUND, CAPTURED, LOSS, PURSUERS, TARGET, TEXT, mix

Picture = NDArray[np.uint8]
"""``[height, width, 3]``, red, green, blue."""

SCREENSHOT_SUFFIXES = (".png",)
FILM_SUFFIXES = (".gif", ".mp4")
GIF_COLOURS = 255


def check_output(path: Path, option: str, suffixes: tuple[str, ...]) -> None:
    """Refuse a file that could not be written, before the first step.

    Args:
        path: where to write.
        option: what the user calls it.
        suffixes: those that can be written.

    Raises:
        UsageError: another suffix, a missing or closed directory, a directory in its place, or a missing extra.
    """
    if path.suffix.lower() not in suffixes:
        raise UsageError(f"{option}: '{path}' must end in {' or '.join(suffixes)}")
    if not path.parent.is_dir():
        raise UsageError(f"{option}: the directory '{path.parent}' does not exist")
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise UsageError(f"{option}: '{path}' cannot be written")
    if path.suffix.lower() == ".mp4" and importlib.util.find_spec("imageio_ffmpeg") is None:
        raise UsageError(f'{option}: an .mp4 needs an extra: pip install "rl-tracking[video]"')


def check_outputs(screenshot: Path | None, record: Path | None, *, headless: bool) -> None:
    """Refuse files that could not be written, and having nothing to do.

    Raises:
        UsageError: one of them.
    """
    if screenshot is not None:
        check_output(screenshot, "--screenshot", SCREENSHOT_SUFFIXES)
    if record is not None:
        check_output(record, "--record", FILM_SUFFIXES)
    if headless and screenshot is None and record is None:
        raise UsageError("--headless shows nothing by itself: add --screenshot FILE.png or --record FILE.gif")


def check_step(step: int | None, most: int | None) -> None:
    """Refuse a step for a screenshot that no episode has.

    Args:
        step: asked for; None if the moment is chosen.
        most: steps of the longest episode; None if nothing limits it.

    Raises:
        UsageError: it lies outside.
    """
    if step is None:
        return
    if step < 0:
        raise UsageError(f"--screenshot-step must be 0 or more, not {step}")
    if most is not None and step > most:
        raise UsageError(f"--screenshot-step {step} comes after the end: an episode has {most} steps")


def save_png(path: Path, picture: Picture) -> None:
    """Write one picture."""
    _replace(path, lambda part: Image.fromarray(picture).save(part, format="PNG", optimize=True))


class Film(Protocol):
    """A film being made. Either ``save`` or ``discard`` ends it."""

    def add(self, picture: Picture) -> None:
        """Append a picture; all have the same size."""

    def save(self) -> None:
        """Put the film in its place."""

    def discard(self) -> None:
        """Leave nothing behind."""


def open_film(path: Path, fps: int) -> Film:
    """The film that the suffix of ``path`` asks for, at ``fps`` pictures a second."""
    return Mp4(path, fps) if path.suffix.lower() == ".mp4" else Gif(path, fps)


class Gif:
    """A GIF with one palette for all its pictures, so that parts that do not change take no space."""

    def __init__(self, path: Path, fps: int) -> None:
        self._path, self._duration = path, round(1000 / fps)
        self._palette: Image.Image | None = None
        self._pictures: list[Image.Image] = []

    def add(self, picture: Picture) -> None:
        """See ``Film.add``."""
        image = Image.fromarray(picture)
        if self._palette is None:
            self._palette = _palette(picture)
        self._pictures.append(image.quantize(palette=self._palette, dither=Image.Dither.NONE))

    def save(self) -> None:
        """See ``Film.save``."""
        if not self._pictures:
            return
        first, *rest = self._pictures
        _replace(
            self._path,
            lambda part: first.save(
                part,
                format="GIF",
                save_all=True,
                append_images=rest,
                duration=self._duration,
                loop=0,
                optimize=True,
            ),
        )

    def discard(self) -> None:
        """See ``Film.discard``."""
        self._pictures = []


class Mp4:
    """An H.264 film, encoded as it is made."""

    def __init__(self, path: Path, fps: int) -> None:
        self._path, self._fps = path, fps
        self._file: files.Replacement | None = None
        self._writer: Generator[None, Any, None] | None = None

    def add(self, picture: Picture) -> None:
        """See ``Film.add``."""
        if self._writer is None:
            self._writer = self._start(picture)
        self._writer.send(np.ascontiguousarray(picture))

    def _start(self, picture: Picture) -> Generator[None, Any, None]:
        imageio_ffmpeg = importlib.import_module("imageio_ffmpeg")
        self._file = files.Replacement(self._path, keep_suffix=True)
        writer: Generator[None, Any, None] = imageio_ffmpeg.write_frames(
            str(self._file.temporary),
            (picture.shape[1], picture.shape[0]),
            fps=self._fps,
            quality=7,
            macro_block_size=2,
        )
        writer.send(None)
        return writer

    def save(self) -> None:
        """See ``Film.save``."""
        if self._writer is not None and self._file is not None:
            self._writer.close()
            self._file.commit()

    def discard(self) -> None:
        """See ``Film.discard``."""
        if self._writer is not None:
            self._writer.close()
        if self._file is not None:
            self._file.discard()


def _palette(picture: Picture) -> Image.Image:
    """A palette of the first picture's colours, and of shades of the theme's colours that later pictures need."""
    shares = np.linspace(0.0, 1.0, 40)
    ramps = [
        [mix(BACKGROUND, colour, share) for share in shares] for colour in (*PURSUERS[:1], TARGET, CAPTURED, LOSS, TEXT)
    ]
    swatches = np.array(ramps, dtype=np.uint8).reshape(-1, 3)
    rows = max(picture.shape[0] // 6, -(-len(swatches) // picture.shape[1]))
    strip = np.resize(swatches, (rows, picture.shape[1], 3))
    together = Image.fromarray(np.concatenate((picture, strip)))
    return together.quantize(colors=GIF_COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)


def _replace(path: Path, write: Callable[[Path], None]) -> None:
    """Write a file beside its place, then move it there; a failure leaves neither a part nor a torn file."""
    with files.atomic(path) as part:
        write(part)
