"""Runs a pilot through the episodes of a Gymnasium environment, some environments side by side."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import gymnasium as gym
import numpy as np

from rl_tracking.adapters.checked import Checks
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
        ended = [episode for slot in _run(pilot, envs, episodes, seed) for episode in slot]
    finally:
        for env in envs:
            env.close()
    ended.sort(key=lambda episode: episode.number)
    found = {
        "return": np.array([episode.total for episode in ended]),
        "episode_length": np.array([float(episode.length) for episode in ended]),
    }
    successes = [episode.success for episode in ended if episode.success is not None]
    return found | ({"success_rate": np.array(successes)} if successes else {})


@dataclasses.dataclass
class _Episode:
    """An episode under way."""

    number: int
    total: float = 0.0
    length: int = 0
    success: bool | None = None


def _run(pilot: Pilot, envs: list[gym.Env[Any, Any]], episodes: int, seed: int) -> list[list[_Episode]]:
    """All episodes; environment e runs e, e + 8, e + 16, ..., and waits for the others at its end."""
    done: list[list[_Episode]] = [[] for _ in envs]
    checks = Checks.of(envs[0])
    present = [_Episode(slot) for slot in range(len(envs))]
    observations = [begin(env, seed + slot, checks) for slot, env in enumerate(envs)]
    while any(episode.number < episodes for episode in present):
        actions = pilot.act(envs, observations)
        for slot, (env, episode) in enumerate(zip(envs, present, strict=True)):
            if episode.number >= episodes:
                continue
            with _of_episode(episode, seed):
                observations[slot], reward, terminated, truncated, info = checks.step(env, actions[slot])
                checks.finite(observations[slot])
            episode.total += float(reward)
            episode.length += 1
            if terminated or truncated or episode.length >= LONGEST:
                episode.success = bool(info["is_success"]) if "is_success" in info else None
                done[slot].append(episode)
                present[slot] = _Episode(episode.number + len(envs))
                observations[slot] = begin(env, seed + present[slot].number, checks)
    return done


def begin(env: gym.Env[Any, Any], seed: int, checks: Checks) -> Any:
    """Start the episode of a seed, and the sampling of actions with it; the first observation.

    Raises:
        EnvironmentStepError: the reset raised, or returned what it must not.
    """
    env.action_space.seed(seed)
    with _of_episode(_Episode(0), seed):
        observation = checks.reset(env, seed=seed)[0]
        checks.finite(observation, verb="reset")
    return observation


@contextmanager
def _of_episode(episode: _Episode, seed: int) -> Iterator[None]:
    """Say of a step that failed in which episode it was."""
    try:
        yield
    except StepError as error:
        error.locate(step=episode.length, seed=seed + episode.number)
        raise
