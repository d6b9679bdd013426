"""The world as two pure functions over a batch: where it starts, and what a step makes of it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from rl_tracking.envs import layout
from rl_tracking.envs.base import Scenario
from rl_tracking.envs.checked_scenario import checked_scenario
from rl_tracking.envs.noise import next_episode
from rl_tracking.envs.noise import world_keys as world_keys
from rl_tracking.envs.transition import Step, Transition


def captured(state: Any) -> Tensor:
    """Whether the target was captured in the present episode, ``[B]`` bool."""
    known: Tensor = state.passed | (state.steps_in_radius > 0)
    return known


class Simulator:
    """Runs a scenario. Holds no state: what it returns depends on its arguments alone.

    Args:
        scenario: the task.
        device: where its constants and the states it makes live.
    """

    def __init__(self, scenario: Scenario, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        self.scenario = checked_scenario(scenario).on(self.device)
        self._observes_steps = "step" in inspect.signature(self.scenario.observe).parameters
        self._action_shape = (scenario.num_pursuers, scenario.dimensions)

    @property
    def action_size(self) -> int:
        """Numbers in an action, P x D."""
        return self._action_shape[0] * self._action_shape[1]

    def initial(self, key: Tensor, episode: Tensor | None = None) -> Any:
        """The worlds at the start of an episode.

        Args:
            key: noise keys ``[B]`` int64; see :func:`rl_tracking.envs.noise.world_keys`.
            episode: episode counts ``[B]`` int64, 0 if not given.
        """
        state = self.scenario.initial(key, torch.zeros_like(key) if episode is None else episode)
        return state.map(layout.worlds_fastest)

    def restart(self, state: Any) -> Any:
        """The next episode of every world of ``state``, with a key that follows from its own."""
        restart = getattr(self.scenario, "restart", None)
        if restart is None:
            return self.initial(next_episode(state.key), state.episode + 1)
        return restart(state).map(layout.worlds_fastest)

    def observe(self, state: Any) -> Tensor:
        """Observations ``[B, O]``."""
        return self.scenario.observe(state)

    def transition(self, state: Any, action: Tensor) -> Transition:
        """One control step of every world; nothing is reset.

        Args:
            state: the worlds before.
            action: ``[B, P * D]``; clipped to [-1, 1].

        Raises:
            ValueError: the action has another shape.
        """
        worlds = len(state)
        if action.shape != (worlds, self.action_size):
            raise ValueError(f"action has shape {list(action.shape)}, expected [{worlds}, {self.action_size}]")
        scenario = self.scenario
        clipped = layout.worlds_fastest(action.view(worlds, *self._action_shape)).clamp(-1.0, 1.0)
        step = Step(scenario.facts, state, clipped, scenario.advance(state, clipped))
        reward, terms = scenario.judge(step)
        terminated, truncated = scenario.ends(step)
        steps_in_radius = state.steps_in_radius + step.in_radius
        after = step.after.replace(
            episode_return=state.episode_return + reward,
            steps_in_radius=steps_in_radius,
            passed=step.passed(state.passed, steps_in_radius),
        )
        observe: Callable[..., Tensor] = scenario.observe
        observation = observe(after, step) if self._observes_steps else observe(after)
        return Transition.of(
            step,
            after=after,
            observation=observation,
            reward=reward,
            terms=terms,
            terminated=terminated,
            truncated=truncated,
        )
