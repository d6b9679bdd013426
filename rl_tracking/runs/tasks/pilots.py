"""What acts in a task's episodes, and whether a policy fits a task."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from torch import Tensor

from rl_tracking.agents.collect.checks import check_action_space, space_as_text
from rl_tracking.agents.controllers import options
from rl_tracking.agents.saving import normalizer
from rl_tracking.agents.saving.checkpoint import LoadedPolicy
from rl_tracking.errors import UsageError
from rl_tracking.runs.tasks.base import Pilot, Task


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


def pilot_of(task: Task, policy: Any) -> Pilot:
    """What acts in a task's episodes.

    Args:
        task: where.
        policy: a controller's name, a loaded policy, an SB3 model, or a :class:`Pilot`.

    Raises:
        UsageError: it does not apply to the task, or its observations or actions are those of another one.
    """
    if isinstance(policy, str):
        options.check(policy)
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
