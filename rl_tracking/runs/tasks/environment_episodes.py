"""Runs a pilot through the episodes of a Gymnasium environment, some environments side by side."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import gymnasium as gym
import numpy as np

from rl_tracking.adapters.checks import Checks
from rl_tracking.errors import StepError
from rl_tracking.runs.tasks.base import Pilot

# Of constant size, since networks round a little differently in batches of other sizes.
_ENVS = 8
LONGEST = 10_000  # steps after which an episode that has not ended is ended


@dataclasses.dataclass(frozen=True)
class RandomPilot:
    """Samples the action space, whose generator is seeded with the episode."""

    name: str = "random"

    def act(self, worlds: list[gym.Env[Any, Any]], observations: list[Any]) -> list[Any]:
        """See :class:`rl_tracking.runs.tasks.base.Pilot`."""
        return [env.action_space.sample() for env in worlds]


def run_episodes(
    pilot: Pilot, make: Callable[[], gym.Env[Any, Any]], episodes: int, seed: int
) -> dict[str, np.ndarray[Any, Any]]:
    """Return and length of each episode, and success where infos say ``is_success``, by the names of the metrics.

    Args:
        pilot: acts.
        make: makes an environment.
        episodes: how many; episode i is seeded with ``seed + i``.
        seed: of the first episode.

    Raises:
        EnvironmentStepError: a step or a reset raised, or returned what it must not.
    """
    envs = [make() for _ in range(_ENVS)]
    try:
        ended = _run(pilot, envs, episodes, seed)
    finally:
        for env in envs:
            env.close()
    found = {
        "return": np.array([episode.total for episode in ended]),
        "episode_length": np.array([float(episode.steps) for episode in ended]),
    }
    successes = [episode.success for episode in ended if episode.success is not None]
    return found | ({"success_rate": np.array(successes)} if successes else {})


class Episode:
    """A running episode of one environment; its steps are checked, and an error says in which episode it was.

    Args:
        env: the environment.
        seed: of the episode, and of the sampling of actions in it.

    Raises:
        EnvironmentStepError: the reset raised, or returned what it must not.

    Attributes:
        observation: the newest one.
        steps: made so far.
        total: of the rewards so far.
        over: whether it has ended.
        success: what the last info says, if it has ``is_success``.
    """

    def __init__(self, env: gym.Env[Any, Any], seed: int) -> None:
        self.env, self.seed = env, seed
        self._checks = Checks.of(env)
        self.steps, self.total, self.over = 0, 0.0, False
        self.success: bool | None = None
        env.action_space.seed(seed)
        with self.located():
            self.observation: Any = self._checks.reset(env, seed=seed)[0]
            self._checks.finite(self.observation, verb="reset")

    def step(self, action: Any) -> None:
        """One step.

        Raises:
            EnvironmentStepError: it raised, or returned what it must not.
        """
        with self.located():
            self.observation, reward, terminated, truncated, info = self._checks.step(self.env, action)
            self._checks.finite(self.observation)
        self.steps, self.total, self.over = self.steps + 1, self.total + float(reward), terminated or truncated
        self.success = bool(info["is_success"]) if "is_success" in info else None

    @contextmanager
    def located(self) -> Iterator[None]:
        """Add to the error of a step in which episode and at which step it was raised."""
        try:
            yield
        except StepError as error:
            error.locate(step=self.steps, seed=self.seed)
            raise


def _run(pilot: Pilot, envs: list[gym.Env[Any, Any]], episodes: int, seed: int) -> list[Episode]:
    """All episodes in order; environment e runs e, e + 8, e + 16, ..., and waits for the others at its end."""
    present = [Episode(env, seed + slot) for slot, env in enumerate(envs)]
    ended: list[Episode] = []
    while any(episode.seed < seed + episodes for episode in present):
        actions = pilot.act(envs, [episode.observation for episode in present])
        for slot, episode in enumerate(present):
            if episode.seed >= seed + episodes:
                continue
            episode.step(actions[slot])
            if episode.over or episode.steps >= LONGEST:
                ended.append(episode)
                present[slot] = Episode(episode.env, episode.seed + len(envs))
    return sorted(ended, key=lambda episode: episode.seed)
