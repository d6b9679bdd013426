"""The protocol of a task, and of what acts in its episodes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import gymnasium as gym
from stable_baselines3.common.vec_env import VecEnv

from rl_tracking.envs.totals import Metric
from rl_tracking.errors import UsageError
from rl_tracking.runs.tasks.repeating import RepeatedStep, SavedStep


class Pilot(Protocol):
    """What acts in episodes: a trained policy or a controller."""

    @property
    def name(self) -> str:
        """What tables and windows call it."""

    def act(self, worlds: Any, observations: Any) -> Any:
        """Actions, one a world.

        Args:
            worlds: the true state of B worlds of a scenario, or a list of B Gymnasium environments.
            observations: of them: a tensor ``[B, ...]`` of a scenario's worlds, a list of the environments'.
        """


class Task(Protocol):
    """What a run is on. Commands, studies and checkpoints hold one and do not ask which of the two kinds it is."""

    @property
    def name(self) -> str:
        """``pursuit``, or ``CartPole-v1``."""

    @property
    def parameters(self) -> dict[str, Any]:
        """What makes it again, together with the name."""

    @property
    def names(self) -> dict[str, str]:
        """The name as settings keep it: ``scenario`` and ``env``, one of which is empty."""

    @property
    def known_parameters(self) -> tuple[str, ...] | None:
        """Names of all parameters; None where they are not known beforehand."""

    @property
    def title(self) -> str:
        """In headings, such as ``pursuit drone``."""

    @property
    def summary(self) -> str:
        """The title, with what else distinguishes it, such as ``pursuit (drone, reward tracking)``."""

    @property
    def label(self) -> str:
        """In errors, such as ``environment 'CartPole-v1'``."""

    @property
    def observation_space(self) -> gym.Space[Any]:
        """Of one world."""

    @property
    def action_space(self) -> gym.Space[Any]:
        """Of one world."""

    @property
    def max_steps(self) -> int | None:
        """Time limit of an episode; None without one."""

    @property
    def normalize(self) -> bool:
        """Whether a training puts a ``VecNormalize`` around the worlds if nothing else is said."""

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """What its episodes are measured by."""

    @property
    def closing_episodes(self) -> int | None:
        """Episodes that the evaluation at the end of a training has at most; None for no bound."""

    @property
    def controllers(self) -> tuple[str, ...]:
        """Names of the controllers that apply."""

    @property
    def baselines(self) -> tuple[str, ...]:
        """Those of the controllers that a training is compared with: not the ones that plan, which take a minute."""

    def worlds(self, num_envs: int, seed: int, device: str = "cpu", *, must_restore: bool = True) -> VecEnv:
        """Many worlds as a ``VecEnv``.

        Args:
            num_envs: how many.
            seed: of the first episodes.
            device: where they live, if that can be chosen.
            must_restore: refuse worlds whose state cannot be saved and put back.

        Raises:
            UsageError: they cannot be made.
            NotRestorableError: they must be restorable and are not.
        """

    def check_first_step(self) -> None:
        """Make one step before a training, which runs rewards and motions too, so that a wrong answer is said at once.

        Raises:
            EnvironmentStepError: an answer is of the wrong kind.
        """

    def controller(self, name: str) -> Pilot:
        """A known controller, by its name.

        Raises:
            UsageError: it does not apply to the task.
        """

    def measure(self, pilot: Pilot, episodes: int, seed: int, skip: int = 0) -> dict[str, Any]:
        """The figures of a pilot over episodes, each a ``value`` with its 95 % interval ``ci95``.

        Args:
            pilot: acts.
            episodes: how many; the same seed gives every pilot the same ones.
            seed: of the episodes.
            skip: steps left out at the start of each episode, where the task has metrics that can do so.

        Raises:
            UsageError: numbers that make no sense.
        """

    def bound(self, episodes: int, seed: int, skip: int = 0) -> dict[str, Any] | None:
        """Figures that no policy can beat, over the episodes of :meth:`measure`; None where nothing is known.

        Args:
            episodes: how many.
            seed: of the episodes.
            skip: steps left out at the start of each.
        """

    def repeat(self, saved: SavedStep) -> RepeatedStep:
        """Make the saved step of a crash file again.

        Raises:
            UsageError: its states or actions are not those of this task.
        """

    def identify(self) -> dict[str, Any]:
        """The entries by which ``rltrack eval --json`` names it."""

    def describe(self) -> dict[str, Any]:
        """The entries ``scenario`` and ``env`` of ``rltrack.json``, one of them None."""

    def render(
        self,
        pilot: Pilot,
        seed: int,
        *,
        headless: bool = False,
        screenshot: Path | None = None,
        screenshot_step: int | None = None,
        record: Path | None = None,
    ) -> list[Path]:
        """Show episodes in a window or write pictures of one; the files written.

        Raises:
            UsageError: it cannot be shown here, or a file cannot be written.
        """


def does_not_apply(task: Task, controller: str) -> UsageError:
    """The error for a controller that cannot act in a task."""
    there = ", ".join(f"'{name}'" for name in task.controllers) or "none"
    return UsageError(f"controller '{controller}' does not apply to {task.label}; there is {there}")
