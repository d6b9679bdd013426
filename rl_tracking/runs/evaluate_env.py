"""Runs policies through the same episodes of a Gymnasium environment and measures them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import gymnasium as gym
import numpy as np

from rl_tracking import limits, plugins
from rl_tracking.adapters.checked import Checks
from rl_tracking.agents.collect.actions import check_action_space, one_line
from rl_tracking.agents.saving.checkpoint import LoadedPolicy, load_policy
from rl_tracking.errors import StepError, UsageError
from rl_tracking.runs import intervals
from rl_tracking.runs.shipped import checkpoint_path
from rl_tracking.runs.tasks import Task

# Of constant size, since networks round a little differently in batches of other sizes.
_ENVS = 8
LONGEST = 10_000  # steps after which an episode without an end is left


class EnvPilot(Protocol):
    """Whatever acts in Gymnasium environments."""

    @property
    def name(self) -> str:
        """What tables and windows call it."""

    def act(self, envs: list[gym.Env[Any, Any]], observations: list[Any]) -> Any:
        """One action for each of ``envs``, which are at ``observations``."""


@dataclasses.dataclass(frozen=True)
class RandomEnvPilot:
    """Samples the action space, whose generator is seeded with the episode."""

    name: str = "random"

    def act(self, envs: list[gym.Env[Any, Any]], observations: list[Any]) -> Any:
        """See :class:`EnvPilot`."""
        return [env.action_space.sample() for env in envs]


@dataclasses.dataclass(frozen=True)
class PolicyEnvPilot:
    """Anything with SB3's ``predict``; deterministic."""

    name: str
    policy: Any

    def act(self, envs: list[gym.Env[Any, Any]], observations: list[Any]) -> Any:
        """See :class:`EnvPilot`."""
        together: Any
        if isinstance(observations[0], dict):
            together = {key: np.stack([item[key] for item in observations]) for key in observations[0]}
        else:
            together = np.stack([np.asarray(item) for item in observations])
        return self.policy.predict(together, deterministic=True)[0]


def task_of(policy: LoadedPolicy, **replaced: Any) -> Task | None:
    """The environment a checkpoint was trained in, with some parameters replaced; None if it is a scenario's.

    Raises:
        UsageError: it names code and is not trusted.
    """
    trained = policy.description.get("env")
    if trained is None:
        return None
    kept = {name: value for name, value in trained["parameters"].items() if name not in replaced}
    policy.refuse_code({"environment": trained["id"], "parameters": kept}, always=("environment",))
    return Task(trained["id"], {**kept, **replaced})


def load_env_pilot(spec: str, task: Task, *, trust: bool = False) -> EnvPilot:
    """A pilot for an environment: a checkpoint, or ``random``.

    Raises:
        UsageError: no such file, a scenario's checkpoint or controller, or one of other spaces.
    """
    path = checkpoint_path(spec)
    if path is None:
        if spec == "random":
            return RandomEnvPilot()
        plugins.resolve("controller", spec)
        raise UsageError(f"controller '{spec}' flies pursuit only; in environment '{task.id}' there is 'random'")
    policy = load_policy(path, trust=trust)
    scenario = policy.description.get("scenario")
    if scenario is not None:
        raise UsageError(
            f"checkpoint '{path}' was trained in scenario {scenario['name']}, not in environment '{task.id}'; "
            "give it a command of its own"
        )
    check_fits(policy, task, f"checkpoint '{path}'")
    return PolicyEnvPilot(str(policy.description.get("algorithm", path.stem)), policy)


def check_fits(policy: Any, task: Task, who: str) -> None:
    """Refuse a policy whose observations or actions are of another environment.

    Raises:
        UsageError: they are.
    """
    facts = task.facts()
    check_action_space(facts.action_space)
    pairs: dict[str, tuple[gym.Space[Any], gym.Space[Any], Callable[[Any], Any]]] = {
        "observations": (policy.observation_space, facts.observation_space, sorted),
        "actions": (policy.action_space, facts.action_space, tuple),
    }
    for what, (has, needs, axes) in pairs.items():
        if _kind(has, axes) != _kind(needs, axes):
            raise UsageError(f"{who} has {what} {one_line(has)}; environment '{task.id}' has {one_line(needs)}")


def _kind(space: gym.Space[Any], axes: Callable[[Any], Any]) -> Any:
    """What two spaces must share; with ``sorted`` axes a picture may have its channels first or last."""
    if isinstance(space, gym.spaces.Dict):
        return {name: _kind(part, axes) for name, part in space.items()}
    if isinstance(space, gym.spaces.Discrete):
        return "Discrete", int(space.n)
    if isinstance(space, gym.spaces.MultiDiscrete):
        return "MultiDiscrete", space.nvec.tolist()
    return type(space).__name__, axes(space.shape or ())


def evaluate_env(pilot: EnvPilot, episodes: int, task: Task, *, seed: int) -> dict[str, Any]:
    """Measure a pilot over episodes of an environment; episode i is seeded with ``seed + i``.

    Returns:
        ``policy``, ``env``, ``parameters``, ``episodes``, ``seed``, and for each figure its ``value`` and 95 %
        interval ``ci95``: ``return``, ``episode_length`` and, where infos say ``is_success``, ``success_rate``.

    Raises:
        UsageError: no episodes are asked for.
    """
    episodes, seed = limits.check_count("episodes", episodes), limits.check_seed(seed)
    envs = [task.make() for _ in range(_ENVS)]
    try:
        ended = [episode for slot in _run(pilot, envs, episodes, seed) for episode in slot]
    finally:
        for env in envs:
            env.close()
    ended.sort(key=lambda episode: episode.number)
    successes = [episode.success for episode in ended if episode.success is not None]
    success = {"success_rate": intervals.proportion(sum(successes), len(successes))} if successes else {}
    return {
        "policy": pilot.name,
        "env": task.id,
        "parameters": task.parameters,
        "episodes": episodes,
        "seed": seed,
        "return": intervals.mean(np.array([episode.total for episode in ended])),
        "episode_length": intervals.mean(np.array([float(episode.length) for episode in ended])),
        **success,
    }


@dataclasses.dataclass
class _Episode:
    """An episode under way."""

    number: int
    total: float = 0.0
    length: int = 0
    success: bool | None = None


def _run(pilot: EnvPilot, envs: list[gym.Env[Any, Any]], episodes: int, seed: int) -> list[list[_Episode]]:
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
