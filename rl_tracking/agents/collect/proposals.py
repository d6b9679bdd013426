"""How the N actions of a state are chosen, and what each of them stands for."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import torch
from stable_baselines3.common.distributions import Distribution
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import Tensor

from rl_tracking.agents.collect.distributions import sample_group
from rl_tracking.agents.collect.policy_calls import PolicyCalls


class Drawn(NamedTuple):
    """N actions of each of E states.

    Attributes:
        action: ``[N, E, ...]``, the first of each state a draw from the policy.
        weight: importance ``[N, E]``: ``mean_i w_i g(a_i)`` has the expectation of g under the policy.
        candidate: which of a state's draws from the policy each action is, ``[N, E]`` int64; None for the first N.
    """

    action: Tensor
    weight: Tensor
    candidate: Tensor | None = None

    @property
    def matrix(self) -> Tensor | None:
        """Which of gSDE's matrices, one a candidate and state, a branch goes on with, ``[N E]``; None for the first."""
        if self.candidate is None:
            return None
        states = self.candidate.shape[1]
        return (self.candidate * states + torch.arange(states, device=self.candidate.device)).flatten()


class Sampler(Protocol):
    """Chooses actions and says by what weight a mean over them is a mean over the policy."""

    def candidates(self, n: int) -> int:
        """How many actions of a state are drawn from the policy for ``n`` to be chosen."""

    def draw(
        self, policy: ActorCriticPolicy, observation: Any, distribution: Distribution | PolicyCalls, n: int
    ) -> Drawn:
        """``n`` actions a state.

        Args:
            policy: the policy at hand.
            observation: of E states, ``[E, ...]``.
            distribution: the policy's, of those states.
            n: N.
        """

    def learn(
        self, policy: ActorCriticPolicy, observation: Any, action: Tensor, action_value: Tensor
    ) -> dict[str, float]:
        """Learn from what actions ``[N, S, ...]`` of S states were worth, ``[N, S]``; returns figures to log."""


class FromPolicy:
    """N independent draws from the policy (eq. 10)."""

    def candidates(self, n: int) -> int:
        """As many as are tried."""
        return n

    def draw(
        self, policy: ActorCriticPolicy, observation: Any, distribution: Distribution | PolicyCalls, n: int
    ) -> Drawn:
        """See :class:`Sampler`; all weights are 1."""
        action = sample_group(distribution, n)
        return Drawn(action, torch.ones(n, action.shape[1], device=action.device))

    def learn(
        self, policy: ActorCriticPolicy, observation: Any, action: Tensor, action_value: Tensor
    ) -> dict[str, float]:
        """Nothing is learned."""
        return {}
