"""Simulates a pilot's episodes in the worlds of a scenario, all at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rl_tracking.agents.controllers.guidance import Controller
from rl_tracking.envs.parts.handout import handed_out
from rl_tracking.envs.simulator import Simulator
from rl_tracking.envs.transition import Facts
from rl_tracking.errors import EnvironmentStepError, is_foreign, naming
from rl_tracking.runs.tasks.base import Pilot


@dataclasses.dataclass(frozen=True)
class ControllerPilot:
    """A classical controller, which reads the true state."""

    name: str
    controller: Controller
    facts: Facts

    def act(self, state: Any, observation: Tensor) -> Tensor:
        """See :class:`Pilot`."""
        return self.controller(self.facts, state)


def checked_pilot(pilot: Pilot, action_size: int) -> Callable[[Any, Tensor], Tensor]:
    """``pilot.act``, with actions as tensors ``[B, A]``.

    A pilot of another package is given copies, and what it returns or raises is checked.

    Args:
        pilot: acts.
        action_size: A, numbers of an action.
    """
    controller = getattr(pilot, "controller", None)
    if is_foreign(pilot) or not str(getattr(controller, "__module__", __name__)).startswith("rl_tracking."):
        return lambda state, observation: _checked_action(pilot, state, observation, action_size)

    def act(state: Any, observation: Tensor) -> Tensor:
        action = torch.as_tensor(pilot.act(state, observation), device=observation.device)
        return action.reshape(observation.shape[0], action_size)

    return act


def _checked_action(pilot: Pilot, state: Any, observation: Tensor, action_size: int) -> Tensor:
    name = f"controller '{pilot.name}'"
    with naming(name):
        action: Any = pilot.act(handed_out(state), observation.clone())
    expected = (observation.shape[0], action_size)
    if not isinstance(action, Tensor) or action.shape != expected or not action.is_floating_point():
        what = f"{action.dtype} {list(action.shape)}" if isinstance(action, Tensor) else f"a {type(action).__name__}"
        raise EnvironmentStepError(f"{name} returned {what}; it must be a tensor of real numbers {list(expected)}")
    finite = torch.isfinite(action)
    if not bool(finite.all()):
        row = int((~finite).nonzero()[0][0])
        raise EnvironmentStepError(f"{name} returned an action that is not finite", row)
    return action.clone()


@dataclasses.dataclass(frozen=True)
class Episodes:
    """What was measured of B episodes over at most T steps.

    Attributes:
        distance: of the nearest pursuer ``[T, B]`` [m].
        in_radius: within the capture radius at the end of the step ``[T, B]`` bool.
        captured: within the capture radius on the way of the step ``[T, B]`` bool.
        reward: ``[T, B]``.
        alive: the step belongs to the episode ``[T, B]`` bool.
        dt: control step [s].
    """

    distance: Tensor
    in_radius: Tensor
    captured: Tensor
    reward: Tensor
    alive: Tensor
    dt: float


@torch.inference_mode()
def fly(simulator: Simulator, pilot: Pilot, keys: Tensor) -> Episodes:
    """One episode of every key ``[B]``, all at once; worlds whose episode has ended are stepped on and not counted."""
    state = simulator.initial(keys)
    observation = simulator.observe(state)
    act = checked_pilot(pilot, simulator.action_size)
    alive = torch.ones_like(keys, dtype=torch.bool)
    rows: list[tuple[Tensor, ...]] = []
    while bool(alive.any()):
        transition = simulator.transition(state, act(state, observation))
        rows.append((transition.nearest, transition.in_radius, transition.captured, transition.reward, alive))
        alive = alive & ~transition.done
        state, observation = transition.after, transition.observation
    distance, inside, captured, reward, mask = (torch.stack(column) for column in zip(*rows, strict=True))
    return Episodes(distance, inside & mask, captured & mask, reward * mask, mask, simulator.scenario.facts.dt)


def values(flown: Episodes, skip: int = 0) -> dict[str, np.ndarray[Any, Any]]:
    """Each metric of the episodes that have it, by name."""
    counted = flown.alive.clone()
    counted[:skip] = False
    steps = counted.sum(dim=0)
    some = steps > 0
    inside = ((flown.in_radius & counted).sum(dim=0)[some] / steps[some]).double().numpy()
    distance = ((flown.distance * counted).sum(dim=0)[some] / steps[some]).double().numpy()
    success = flown.captured.any(dim=0)
    first = flown.captured.int().argmax(dim=0)[success]
    time_to_capture = ((first + 1) * flown.dt).double().numpy()
    total = flown.reward.sum(dim=0).double().numpy()
    return {
        "capture_rate": success.numpy(),
        "time_in_radius": inside,
        "time_to_capture": time_to_capture,
        "mean_distance": distance,
        "return": total,
    }
