"""Plays a Gymnasium environment and collects the pictures that it renders itself, for a window or for files."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from rl_tracking.errors import EnvironmentStepError, UsageError, account, brief
from rl_tracking.runs.tasks import Episode, GymnasiumTask
from rl_tracking.viewer.outputs import Film, Picture, open_film, save_png
from rl_tracking.viewer.show import FILM_SECONDS

FPS = 30  # of an environment that does not say
SCREENSHOT_STEP = 50
Act = Callable[[list[gym.Env[Any, Any]], list[Any]], Any]


class Player:
    """Episodes of an environment under a policy, one after the other.

    Args:
        task: the environment.
        act: gives the actions for some environments and their observations.
        seed: of the first episode; the next ones are seeded with those that follow.

    Raises:
        UsageError: it cannot be rendered as pictures here.
    """

    def __init__(self, task: GymnasiumTask, act: Act, seed: int = 0) -> None:
        self._env, self._act = renderable(task), act
        self.name, self.fps = task.name, max(1, int(self._env.metadata.get("render_fps") or FPS))
        self.max_steps, self.playing = task.max_steps, True
        self.episode = Episode(self._env, seed)

    def restart(self, seed: int | None = None) -> None:
        """Begin the episode of a seed, or of the next one."""
        self.episode = Episode(self._env, self.episode.seed + 1 if seed is None else seed)

    def step(self) -> None:
        """One step; the first of the next episode if this one is over."""
        if self.episode.over:
            self.restart()
        else:
            self.episode.step(self._act([self._env], [self.episode.observation])[0])

    def toggle(self) -> None:
        """Pause or go on."""
        self.playing = not self.playing

    def forward(self) -> None:
        """Pause and make one step."""
        self.playing = False
        self.step()

    def again(self) -> None:
        """Play the next episode from its start."""
        self.restart()
        self.playing = True

    def picture(self) -> Picture:
        """What the environment shows now.

        Raises:
            UsageError: it cannot be rendered here.
        """
        with self.episode.located():
            return _rendered(self._env, self.name)

    @property
    def caption(self) -> str:
        """One line: environment, seed, step and return."""
        now = self.episode
        return f"{self.name}   seed {now.seed}   step {now.steps}   return {now.total:.1f}"

    def close(self) -> None:
        """Close the environment."""
        self._env.close()


def renderable(task: GymnasiumTask) -> gym.Env[Any, Any]:
    """The environment, able to render pictures.

    Raises:
        UsageError: it is not.
    """
    made = task.make()
    modes = made.metadata.get("render_modes", [])
    made.close()
    if "rgb_array" not in modes:
        raise UsageError(f"environment '{task.name}' cannot be watched: it renders no pictures (rgb_array)")
    if sys.platform.startswith("linux") and not any(name in os.environ for name in ("DISPLAY", "WAYLAND_DISPLAY")):
        os.environ.setdefault("MUJOCO_GL", "egl")  # MuJoCo's own choice needs a display
    return task.make(render_mode="rgb_array")


def _rendered(env: gym.Env[Any, Any], name: str) -> Picture:
    try:
        picture: Any = env.render()
    except UsageError:
        raise
    except (gym.error.Error, ImportError) as error:  # a package that draws is missing, or there is no display
        raise UsageError(f"environment '{name}' cannot be rendered here: {brief(error)}") from error
    except Exception as error:  # each package that draws has errors of its own
        raise EnvironmentStepError(f"environment '{name}' cannot be rendered here: {account(error)}") from error
    if not isinstance(picture, np.ndarray) or picture.ndim != 3 or picture.shape[2] != 3:
        what = (
            f"an array of shape {picture.shape}" if isinstance(picture, np.ndarray) else f"a {type(picture).__name__}"
        )
        raise EnvironmentStepError(
            f"environment '{name}' cannot be watched: it rendered {what}; it must be a picture [height, width, 3]"
        )
    return np.ascontiguousarray(picture, dtype=np.uint8)


def write(
    player: Player, *, screenshot: Path | None = None, screenshot_step: int | None = None, record: Path | None = None
) -> list[Path]:
    """Make files of the present episode, of ``FILM_SECONDS`` at most; the screenshot is of its last step at the latest.

    Returns:
        The files written.

    Raises:
        UsageError: it cannot be rendered here.
    """
    wanted = SCREENSHOT_STEP if screenshot_step is None else screenshot_step
    last = int(FILM_SECONDS * player.fps) if record is not None else wanted
    film = None if record is None else open_film(record, player.fps)
    still: Picture | None = None
    try:
        while True:
            ends = player.episode.over or player.episode.steps >= last
            picture = player.picture() if film is not None or ends or player.episode.steps == wanted else None
            if picture is not None and film is not None:
                film.add(picture)
            if picture is not None and player.episode.steps <= wanted:
                still = picture
            if ends:
                break
            player.step()
    except BaseException:
        if film is not None:
            film.discard()
        raise
    return _save(screenshot, still, record, film)


def _save(screenshot: Path | None, still: Picture | None, record: Path | None, film: Film | None) -> list[Path]:
    written: list[Path] = []
    if screenshot is not None and still is not None:
        save_png(screenshot, still)
        written.append(screenshot)
    if record is not None and film is not None:
        film.save()
        written.append(record)
    return written
