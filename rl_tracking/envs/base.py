"""The protocol that a scenario answers, in Gymnasium's words, and what its state has to hold."""

from __future__ import annotations

import dataclasses
from typing import Any, Protocol

import torch
from gymnasium import spaces
from torch import Tensor

from rl_tracking.envs.scene import Scene
from rl_tracking.envs.state import State
from rl_tracking.envs.totals import Metric
from rl_tracking.envs.transition import Step

Space = spaces.Box | spaces.Discrete


@dataclasses.dataclass(frozen=True)
class WorldState(State):
    """The fields that every scenario's state has; the simulator writes all of them, the scenario adds its own.

    Attributes:
        key: noise key ``[B]`` int64.
        episode: episodes finished ``[B]`` int64.
        step: steps made in this episode ``[B]`` int64.
        episode_return: reward summed over this episode ``[B]``, or ``[B, P]`` where each agent has its own.
        totals: of the measures that the metrics need, ``[B, K]``; see :class:`rl_tracking.envs.totals.Totals`.
    """

    key: Tensor
    episode: Tensor
    step: Tensor
    episode_return: Tensor
    totals: Tensor


def new_episode(key: Tensor, episode: Tensor) -> dict[str, Tensor]:
    """The fields of :class:`WorldState` at step 0, for a scenario's ``initial``; the simulator sizes the last two."""
    zeros = torch.zeros_like(key)
    empty = torch.zeros(len(key), 0, device=key.device)
    return {"key": key, "episode": episode, "step": zeros, "episode_return": empty, "totals": empty}


class Scenario(Protocol):
    """A task. All methods are pure functions over a batch of B worlds; the simulator calls them in turn.

    Optional methods: ``restart(state)``, the worlds at step 0 of the next episode, for a scenario whose episodes depend
    on the one before (else that is :meth:`initial` of the key that follows); ``step(before, action, after)``, a
    subclass of :class:`Step` that computes what several answers share; ``forecast()``, the same scenario as a planner
    expects it to go on, in which what moves by chance moves by its mean; ``bound(key, skip)``, metrics by name, ``[B]``
    float64 each, that no policy can beat in the first episodes of the noise keys ``[B]`` with means that leave out
    ``skip`` steps, None where that is not known. Optional attribute: ``declared``, a Struct whose fields are the
    parameters (:mod:`rl_tracking.schema`), from which ``rltrack list settings`` takes what they are.

    Attributes:
        name: of the scenario.
        parameters: JSON-able; ``make_scenario(name, **parameters)`` makes the same scenario.
        dt: control step [s].
        max_steps: time limit [steps], at which the simulator truncates.
        state_class: of the states.
        observation_space: of one world: a Box or a Discrete, of any shape.
        action_space: likewise.
        agents: a name for each of the P agents, which act together in one world.
        shared_reward: whether the terms of the reward are for all agents together, ``[B]``; else they are ``[B, P]``.
        metrics: the figures of an episode; one is the headline, one may say success.
        controllers: names in ``rltrack list controllers`` that apply to the scenario.
    """

    name: str
    parameters: dict[str, Any]
    dt: float
    max_steps: int
    state_class: type[WorldState]
    observation_space: Space
    action_space: Space
    agents: tuple[str, ...]
    shared_reward: bool
    metrics: tuple[Metric, ...]
    controllers: tuple[str, ...]

    def initial(self, key: Tensor, episode: Tensor) -> Any:
        """The worlds at step 0 of an episode, from their noise keys ``[B]`` alone; see :func:`new_episode`."""

    def transition(self, state: Any, action: Tensor) -> Any:
        """The worlds one control step later; ``action`` ``[B, *action_space.shape]`` is within the action space.

        The fields of :class:`WorldState` are left as they are.
        """

    def observation(self, state: Any) -> Tensor:
        """The observation ``[B, *observation_space.shape]`` in the space's dtype.

        With a second parameter ``step`` it is given the step that led to the state, None at the start of an episode,
        and can read from it what the reward has computed already.
        """

    def reward(self, step: Any) -> dict[str, Tensor]:
        """The terms of the reward by name, ``[B]`` each, or ``[B, P]`` each; the reward is their sum."""

    def terminal(self, step: Any) -> Tensor:
        """Whether the episode ends here by the rules of the task, ``[B]`` bool; not by the time limit."""

    def measures(self, step: Any) -> dict[str, Tensor]:
        """Named numbers or flags of a step, ``[B]`` each, from which the metrics are computed."""

    def scene(self, state: Any) -> Scene:
        """What there is to draw of the worlds."""

    def on(self, device: torch.device | str) -> Scenario:
        """The same scenario with its constants on ``device``."""


__all__ = ["Metric", "Scenario", "Space", "Step", "WorldState", "new_episode"]
