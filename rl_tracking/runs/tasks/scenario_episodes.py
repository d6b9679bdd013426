"""Simulates a pilot's episodes in the worlds of a scenario, all at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rl_tracking.agents.controllers.guidance import Controller
from rl_tracking.envs.base import Scenario
from rl_tracking.envs.parts.handout import handed_out
from rl_tracking.envs.simulator import Simulator
from rl_tracking.envs.totals import Totals
from rl_tracking.errors import EnvironmentStepError, is_plugin, naming
from rl_tracking.runs.tasks.base import Pilot


@dataclasses.dataclass(frozen=True)
class ControllerPilot:
    """A classical controller, which reads the true state."""

    name: str
    controller: Controller
    scenario: Scenario

    def act(self, state: Any, observation: Tensor) -> Tensor:
        """See :class:`Pilot`."""
        return self.controller(self.scenario, state)


def checked_pilot(pilot: Pilot, action_shape: tuple[int, ...]) -> Callable[[Any, Tensor], Tensor]:
    """``pilot.act``, with actions as tensors ``[B, *action_shape]``.

    A pilot of another package is given copies, and what it returns or raises is checked.

    Args:
        pilot: acts.
        action_shape: of one world.
    """
    controller = getattr(pilot, "controller", None)
    if is_plugin(pilot) or not str(getattr(controller, "__module__", __name__)).startswith("rl_tracking."):
        return lambda state, observation: _checked_action(pilot, state, observation, action_shape)

    def act(state: Any, observation: Tensor) -> Tensor:
        action = torch.as_tensor(pilot.act(state, observation), device=observation.device)
        return action.reshape(observation.shape[0], *action_shape)

    return act


def _checked_action(pilot: Pilot, state: Any, observation: Tensor, action_shape: tuple[int, ...]) -> Tensor:
    name = f"controller '{pilot.name}'"
    with naming(name):
        action: Any = pilot.act(handed_out(state), observation.clone())
    expected = (observation.shape[0], *action_shape)
    if not isinstance(action, Tensor) or action.shape != expected or action.is_complex():
        what = f"{action.dtype} {list(action.shape)}" if isinstance(action, Tensor) else f"a {type(action).__name__}"
        raise EnvironmentStepError(f"{name} returned {what}; it must be a tensor of real numbers {list(expected)}")
    finite = torch.isfinite(action)
    if not bool(finite.all()):
        row = int((~finite).nonzero()[0][0])
        raise EnvironmentStepError(f"{name} returned an action that is not finite", row)
    return action.clone()


@dataclasses.dataclass(frozen=True)
class Episodes:
    """What is kept of B episodes.

    Attributes:
        layout: of the totals.
        totals: at each episode's end ``[B, K]``.
        total_return: ``[B]``.
        steps: of each episode ``[B]``.
        dt: control step [s].
        skip: steps at the start of each episode that its means leave out.
        skipped: the totals after those steps ``[B, K]``.
    """

    layout: Totals
    totals: Tensor
    total_return: Tensor
    steps: Tensor
    dt: float
    skip: int
    skipped: Tensor

    def values(self) -> dict[str, np.ndarray[Any, Any]]:
        """Each metric by name, one number an episode that has one."""
        found = self.layout.values(self.totals, self.steps, self.dt, skip=self.skip, skipped=self.skipped)
        found["return"] = self.total_return.double()
        return {name: value[~value.isnan()].cpu().numpy() for name, value in found.items()}


@torch.inference_mode()
def fly(simulator: Simulator, pilot: Pilot, keys: Tensor, skip: int = 0) -> Episodes:
    """One episode of every key ``[B]``, all at once; worlds whose episode has ended are stepped on and not counted."""
    state = last = simulator.initial(keys)
    observation, skipped = simulator.observation(state), state.totals
    act = checked_pilot(pilot, simulator.action_shape)
    running = torch.ones_like(keys, dtype=torch.bool)
    while bool(running.any()):
        transition = simulator.transition(state, act(state, observation))
        state, observation = transition.after, transition.observation
        last = state.where(running, last)
        running = running & ~transition.done
        if int(state.step[0]) == skip:
            skipped = last.totals
    return Episodes(
        simulator.totals,
        last.totals,
        simulator.total_return(last),
        last.step,
        simulator.scenario.dt,
        skip,
        skipped,
    )
