"""Advances the flight and its camera together, and writes screenshots and films of them. Opens no window."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from rl_tracking.viewer.draw import picture
from rl_tracking.viewer.moment import Moment
from rl_tracking.viewer.outputs import open_film, save_png
from rl_tracking.viewer.rig import CameraRig
from rl_tracking.viewer.runtime import Runtime

FILM_SECONDS = 30.0


class Format(NamedTuple):
    """Of a film's pictures: size in pixels, pictures a second, height in layout units."""

    size: tuple[int, int]
    fps: int
    layout: float


GIF = Format((640, 360), 20, 540.0)
MP4 = Format((1280, 720), 30, 720.0)


class Show:
    """A runtime, the camera that follows it, and the files that are written meanwhile.

    Args:
        runtime: plays the episodes.
        size: of the screenshot, in pixels.
        screenshot: the file of one picture.
        screenshot_step: the step it is taken at; by default the moment is chosen.
        record: the file of a film of the present episode.
        film_seconds: the film's greatest length [s].
    """

    def __init__(
        self,
        runtime: Runtime,
        size: tuple[int, int],
        *,
        screenshot: Path | None = None,
        screenshot_step: int | None = None,
        record: Path | None = None,
        film_seconds: float = FILM_SECONDS,
    ) -> None:
        self.runtime = runtime
        self.frame = runtime.frame()
        self._size, self._screenshot, self._screenshot_step = size, screenshot, screenshot_step
        self._record, self._film_seconds, self._episode = record, film_seconds, runtime.episode
        self._format = GIF if record is None or record.suffix.lower() == ".gif" else MP4
        self._film = None if record is None else open_film(record, self._format.fps)
        calm = self._film is not None and self._format is GIF
        self.rig = CameraRig(self.frame, turning=not calm, calm=calm)
        self._filmed, self._due = 0, 0.0
        self._written: list[Path] = []

    @property
    def fps(self) -> int:
        """Pictures a second of the film."""
        return self._format.fps

    @property
    def busy(self) -> bool:
        """Whether a file is still to be completed."""
        return self._screenshot is not None or self._film is not None

    def advance(self, seconds: float) -> None:
        """Advance the flight and the camera by ``seconds``, and add to the files."""
        episode = self.runtime.episode
        self._film_picture(seconds)
        self.runtime.advance(seconds)
        self.frame = self.runtime.frame()
        if self.runtime.episode != episode:
            self.rig.cut(self.frame)
        self.rig.advance(seconds, self.frame)
        if self._screenshot is not None and self._worth_a_screenshot():
            self._take_screenshot()
        if self._film is not None and self._film_is_complete():
            self._save_film()

    def finish(self) -> list[Path]:
        """Complete the unfinished files, and return all that were written."""
        if self._screenshot is not None:
            self._take_screenshot()
        if self._film is not None:
            self._save_film()
        return self._written

    def discard(self) -> None:
        """Remove an unfinished film."""
        if self._film is not None:
            self._film.discard()

    def _worth_a_screenshot(self) -> bool:
        """Whether it is the step asked for, or else a pursuer is near a zone and there are trails to see."""
        frame = self.frame
        if self._screenshot_step is not None:
            return frame.step >= self._screenshot_step or frame.ended
        near = _near_a_zone(frame.moment) and frame.step >= frame.max_steps // 6
        return near or frame.step >= frame.max_steps // 4 or frame.ended

    def _take_screenshot(self) -> None:
        if self._screenshot is not None:
            save_png(self._screenshot, picture(self.rig.camera, self.frame, self._size))
            self._written.append(self._screenshot)
            self._screenshot = None

    def _film_picture(self, seconds: float) -> None:
        """Take the film's next picture when it is due."""
        self._due -= seconds
        if self._film is not None and self._due <= 0.0:
            self._due += 1.0 / self.fps
            size = self._format.size
            self._film.add(picture(self.rig.camera, self.frame, size, size[1] / self._format.layout))
            self._filmed += 1

    def _film_is_complete(self) -> bool:
        over = self.runtime.episode != self._episode or self.runtime.finished
        return over or self._filmed >= self._film_seconds * self.fps

    def _save_film(self) -> None:
        if self._film is not None and self._record is not None and self._filmed > 0:
            self._film.save()
            self._written.append(self._record)
        self._film = None


def _near_a_zone(moment: Moment) -> bool:
    """Whether a pursuer is within three times the size of some zone that lights up when it is entered."""
    lights = [zone.lights for zone in moment.zones]
    offsets = moment.of_role("pursuer")[:, None] - moment.centre[lights]
    return bool((np.linalg.norm(offsets, axis=-1) <= 3.0 * moment.extent[lights].max(axis=-1, initial=0.0)).any())
