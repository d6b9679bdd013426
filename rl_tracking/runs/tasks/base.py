"""The protocol of a task, and of what acts in its episodes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import gymnasium as gym
import numpy as np
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from rl_tracking import plugins
from rl_tracking.agents.collect.checks import check_action_space, space_as_text
from rl_tracking.agents.saving import normalizer
from rl_tracking.agents.saving.checkpoint import LoadedPolicy
from rl_tracking.errors import UsageError
from rl_tracking.runs.tasks.metrics import Metric
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


@dataclasses.dataclass(frozen=True)
class PolicyPilot:
    """Anything with SB3's ``predict``, which reads the observations; deterministic."""

    name: str
    policy: Any

    def act(self, worlds: Any, observations: Any) -> Any:
        """See :class:`Pilot`."""
        return self.policy.predict(_batch(observations), deterministic=True)[0]


def _batch(observations: Any) -> Any:
    """Observations as SB3 takes them: an array with a leading axis of worlds, or a dict of such."""
    if isinstance(observations, Tensor):
        return observations.cpu().numpy()
    if isinstance(observations[0], dict):
        return {key: np.stack([item[key] for item in observations]) for key in observations[0]}
    return np.stack([np.asarray(item) for item in observations])


class Task(Protocol):
    """What a run is on. Commands, studies and checkpoints hold one and do not ask which of the two kinds it is."""

    @property
    def name(self) -> str:
        """``pursuit``, or ``CartPole-v1``."""

    @property
    def parameters(self) -> dict[str, Any]:
        """What makes it again, together with the name."""

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
        """Names of the controllers that apply; a training is compared with them."""

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

    def controller(self, name: str) -> Pilot:
        """A controller that is among :attr:`controllers`; call :func:`pilot_of`, which checks that."""

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


def pilot_of(task: Task, policy: Any) -> Pilot:
    """What acts in a task's episodes.

    Args:
        task: where.
        policy: a controller's name, a loaded policy, an SB3 model, or a :class:`Pilot`.

    Raises:
        UsageError: it does not apply to the task, or its observations or actions are those of another one.
    """
    if isinstance(policy, str):
        _check_applies(task, policy)
        return task.controller(policy)
    if hasattr(policy, "act"):
        pilot: Pilot = policy
        return pilot
    check_fits(policy, task)
    if isinstance(policy, LoadedPolicy):
        return PolicyPilot(str(policy.description.get("algorithm", policy.path.stem)), policy)
    return PolicyPilot(type(policy).__name__, with_normalizer(policy))


def with_normalizer(model: Any) -> Any:
    """An SB3 model seen through its own VecNormalize, or through the moments it was saved with, if it has any."""
    env: Any = model.get_vec_normalize_env() if hasattr(model, "get_vec_normalize_env") else None
    normalize: Any = normalizer.saved_scaling(model) if env is None else env.normalize_obs
    if normalize is None:
        return model

    class Normalized:
        def predict(self, observation: np.ndarray[Any, Any], deterministic: bool) -> Any:
            return model.predict(normalize(observation), deterministic=deterministic)

    return Normalized()


def _check_applies(task: Task, name: str) -> None:
    """Refuse a controller of this package that a task does not name; an installed one is its author's business."""
    origin = plugins.names("controller").get(name)
    if origin is None:
        plugins.resolve("controller", name)  # says which one was meant
    if name not in task.controllers and origin == "built-in":
        there = ", ".join(f"'{one}'" for one in task.controllers) or "none"
        raise UsageError(f"controller '{name}' does not apply to {task.label}; there is {there}")


def label_of(description: dict[str, Any]) -> str | None:
    """Where a policy was trained, by the description of its checkpoint; None if that does not say."""
    scenario, env = description.get("scenario"), description.get("env")
    if scenario is not None:
        return f"scenario {scenario['name']} {scenario['parameters'].get('preset', '')}".strip()
    return None if env is None else f"environment '{env['id']}'"


def check_fits(policy: Any, task: Task) -> None:
    """Refuse a policy, loaded or an SB3 model, that was trained elsewhere or has other observations or actions.

    Raises:
        UsageError: it does not fit.
    """
    origin = f"this {type(policy).__name__}"
    if isinstance(policy, LoadedPolicy):
        trained = label_of(policy.description)
        origin = f"checkpoint '{policy.path}'" + ("" if trained is None else f", trained in {trained},")
        if any(policy.description.get(kind) and mine is None for kind, mine in task.describe().items()):
            raise UsageError(
                f"checkpoint '{policy.path}' was trained in {trained}, not in {task.label}; "
                "evaluate or watch it by a command of its own"
            )
    if not hasattr(policy, "observation_space"):
        return
    check_action_space(task.action_space)
    pairs: dict[str, tuple[gym.Space[Any], gym.Space[Any], Callable[[Any], Any]]] = {
        "observations": (policy.observation_space, task.observation_space, sorted),
        "actions": (policy.action_space, task.action_space, tuple),
    }
    for what, (has, needs, axes) in pairs.items():
        if _kind(has, axes) != _kind(needs, axes):
            raise UsageError(f"{origin} has {what} {space_as_text(has)}; {task.label} has {space_as_text(needs)}")


def _kind(space: gym.Space[Any], axes: Callable[[Any], Any]) -> Any:
    """What two spaces must share; with ``sorted`` axes a picture may have its channels first or last."""
    if isinstance(space, gym.spaces.Dict):
        return {name: _kind(part, axes) for name, part in space.items()}
    if isinstance(space, gym.spaces.Discrete):
        return "Discrete", int(space.n)
    if isinstance(space, gym.spaces.MultiDiscrete):
        return "MultiDiscrete", space.nvec.tolist()
    return type(space).__name__, axes(space.shape or ())
