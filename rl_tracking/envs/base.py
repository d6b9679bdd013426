"""The verbs of a scenario."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor

from rl_tracking.envs.state import State
from rl_tracking.envs.transition import Facts, Step


class Scenario(Protocol):
    """A task. All methods are pure functions over a batch of B worlds; the simulator strings them together.

    A scenario's state has at least the fields ``step``, ``episode``, ``key`` ``[B]`` int64,
    ``episode_return`` ``[B]``, ``steps_in_radius`` ``[B]`` int64 and ``passed`` ``[B]`` bool, which the simulator
    keeps. A scenario whose episodes depend on the one before has a method ``restart(state)`` as well, the worlds at
    step 0 of the next episode; else that is :meth:`initial` of the key that follows.
    """

    name: str
    parameters: dict[str, Any]
    facts: Facts
    num_pursuers: int
    dimensions: int
    observation_size: int
    state_class: type[State]

    def initial(self, key: Tensor, episode: Tensor) -> Any:
        """The worlds at step 0 of an episode, from their noise keys ``[B]`` alone."""

    def advance(self, state: Any, action: Tensor) -> Any:
        """The worlds one control step later; ``action`` ``[B, P, D]`` lies in [-1, 1]."""

    def observe(self, state: Any) -> Tensor:
        """The observation ``[B, O]``, float32, every element within the sensor's bounds.

        Where it has a second parameter ``step`` it is given the step that led there, if there was one, and need not
        work out its distances again.
        """

    def judge(self, step: Step) -> tuple[Tensor, dict[str, Tensor]]:
        """The reward ``[B]`` of a step and its terms by name."""

    def ends(self, step: Step) -> tuple[Tensor, Tensor]:
        """Terminated and truncated, ``[B]`` bool each; never both."""

    def on(self, device: torch.device | str) -> Scenario:
        """The same scenario with its constants on ``device``."""
