"""The world as two pure functions over a batch: where it starts, and what a step makes of it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from rl_tracking import limits
from rl_tracking.envs import layout
from rl_tracking.envs.actions import bounding
from rl_tracking.envs.base import Scenario, Step
from rl_tracking.envs.checked_scenario import CheckedScenario, checked_scenario
from rl_tracking.envs.noise import next_episode
from rl_tracking.envs.noise import world_keys as world_keys
from rl_tracking.envs.operations import int_constant
from rl_tracking.envs.totals import Totals
from rl_tracking.envs.transition import Transition, total

_ASK_FOR_MEMORY = 10_000  # worlds
_ONE = int_constant(1)
_COPIES = 5  # of the states, in a step: before, after, what lies in between, observations


class Simulator:
    """Runs a scenario. Holds no state: what it returns depends on its arguments alone.

    Args:
        scenario: the task.
        device: where its constants and the states it makes live.

    Attributes:
        scenario: on ``device``; with checks around it if it is of another package.
        totals: which totals the metrics need.
        action_shape: of one world.
        within: brings actions ``[B, ...]`` into the action space.
        success: the name of the metric that says whether an episode succeeded; None if there is none.
    """

    def __init__(self, scenario: Scenario, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        self.scenario = checked_scenario(scenario).on(self.device)
        self.totals = Totals(self.scenario.metrics)
        self.action_shape: tuple[int, ...] = tuple(self.scenario.action_space.shape or ())
        self.within = bounding(self.scenario.action_space, self.device)
        self._step: Callable[..., Step] = getattr(self.scenario, "step", Step)
        self._states_are_new = not isinstance(self.scenario, CheckedScenario)
        self._time_limit = int_constant(self.scenario.max_steps)
        self._observes_steps = "step" in inspect.signature(self.scenario.observation).parameters
        self._return_shape = () if self.scenario.shared_reward else (len(self.scenario.agents),)
        self._success = next((metric for metric in self.scenario.metrics if metric.success), None)
        self.success = None if self._success is None else self._success.name

    def initial(self, key: Tensor, episode: Tensor | None = None) -> Any:
        """The worlds at the start of an episode.

        Args:
            key: noise keys ``[B]`` int64; see :func:`rl_tracking.envs.noise.world_keys`.
            episode: episode counts ``[B]`` int64, 0 if not given.
        """
        return self._begun(self.scenario.initial(key, torch.zeros_like(key) if episode is None else episode))

    def restart(self, state: Any) -> Any:
        """The next episode of every world of ``state``, with a key that follows from its own."""
        restart = getattr(self.scenario, "restart", None)
        if restart is None:
            return self.initial(next_episode(state.key), state.episode + 1)
        return self._begun(restart(state))

    def _begun(self, state: Any) -> Any:
        """A scenario's state at step 0 with nothing counted yet."""
        worlds, device = len(state), state.device
        return state.replace(
            episode_return=torch.zeros(worlds, *self._return_shape, device=device),
            totals=self.totals.start(worlds, device),
        ).map(layout.worlds_fastest)

    def observation(self, state: Any) -> Tensor:
        """Observations ``[B, ...]``."""
        return self.scenario.observation(state)

    def step(self, state: Any, action: Tensor) -> Step:
        """Move every world by one control step.

        Args:
            state: the worlds before.
            action: ``[B, *action_space.shape]``; brought within a Box's bounds.

        Raises:
            ValueError: the action has another shape.
        """
        action = self._taken(state, action)
        after = self.scenario.transition(state, action).replace(step=state.step + _ONE)
        return self._step(state, action, after)

    def _taken(self, state: Any, action: Tensor) -> Tensor:
        expected = (state.step.size(0), *self.action_shape)
        if action.shape != expected:
            raise ValueError(f"action has shape {list(action.shape)}, expected {list(expected)}")
        return self.within(action if expected[0] == 1 else layout.worlds_fastest(action))

    def transition(self, state: Any, action: Tensor) -> Transition:
        """:meth:`step`, judged and observed; nothing is reset."""
        scenario = self.scenario
        # Move the worlds.
        action = self._taken(state, action)
        after = scenario.transition(state, action)
        if self._states_are_new and after is not state:
            after.complete(step=state.step + _ONE)
        else:
            after = after.replace(step=state.step + _ONE)
        step = self._step(state, action, after)
        # Judge the step.
        terms = scenario.reward(step)
        rewards = total(terms)
        terminated = scenario.terminal(step)
        truncated = (after.step >= self._time_limit) > terminated
        # Keep the totals of the episode.
        measures = scenario.measures(step)
        after.complete(
            episode_return=state.episode_return + rewards,
            totals=self.totals.updated(state.totals, measures, after.step),
        )
        # Observe where the worlds are now.
        observe: Callable[..., Tensor] = scenario.observation
        observation = observe(after, step) if self._observes_steps else observe(after)
        return Transition.of(
            before=state,
            action=action,
            after=after,
            observation=observation,
            reward=rewards if scenario.shared_reward else rewards.sum(dim=-1),
            rewards=rewards,
            terms=terms,
            measures=measures,
            terminated=terminated,
            truncated=truncated,
        )

    def metrics(self, state: Any) -> dict[str, Tensor]:
        """The scenario's metrics by name, ``[B]`` float64 each, of the present episodes so far."""
        return self.totals.values(state.totals, state.step, self.scenario.dt)

    def succeeded(self, state: Any) -> Tensor:
        """Whether the present episodes have succeeded so far, ``[B]`` bool, by the metric that says so."""
        assert self._success is not None
        if self._success.statistic == "ever":
            return self.totals.held(self._success, state.totals)
        return self.totals.value(self._success, state.totals, state.step, self.scenario.dt) > 0

    def has_succeeded(self, state: Any) -> bool:
        """:meth:`succeeded` of one world, for which reading its totals costs less than comparing them as tensors."""
        if self._success is None or self._success.statistic != "ever":
            return bool(self.succeeded(state).item())
        return self.totals.held_in(self._success, state.totals.tolist()[0])

    def total_return(self, state: Any) -> Tensor:
        """The reward of each world summed over its present episode so far, ``[B]``."""
        earned: Tensor = state.episode_return
        return earned if self.scenario.shared_reward else earned.sum(dim=-1)


def require_memory(simulator: Simulator, worlds: int, what: str) -> None:
    """Refuse more worlds than the memory of the simulator's device holds.

    Raises:
        UsageError: ``what`` takes more than there is.
    """
    if worlds > _ASK_FOR_MEMORY:
        a_world = sum(tensor.nbytes for tensor in simulator.initial(world_keys(0, 1)).tensors().values())
        limits.require(_COPIES * a_world * worlds, what, "ask for fewer", str(simulator.device))
