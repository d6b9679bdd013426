"""How the N actions of a state are chosen, and what each of them stands for."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from stable_baselines3.common.distributions import Distribution
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import Tensor

from rl_tracking.agents.group_distribution import sample_group


class Sampler(Protocol):
    """Chooses actions and says by what weight a mean over them is a mean over the policy."""

    def draw(
        self, policy: ActorCriticPolicy, observation: Any, distribution: Distribution, n: int
    ) -> tuple[Tensor, Tensor]:
        """``n`` actions a state.

        Args:
            policy: the policy at hand.
            observation: of E states, ``[E, ...]``.
            distribution: the policy's, of those states.
            n: N.

        Returns:
            Actions ``[N, E, ...]``, the first of each state a draw from the policy, and importance weights ``[N, E]``:
            ``mean_i w_i g(a_i)`` has the expectation of g under the policy.
        """

    def learn(
        self, policy: ActorCriticPolicy, observation: Any, action: Tensor, action_value: Tensor
    ) -> dict[str, float]:
        """Learn from what actions ``[N, S, ...]`` of S states were worth, ``[N, S]``; returns figures to log."""


class FromPolicy:
    """N independent draws from the policy (eq. 10)."""

    def draw(
        self, policy: ActorCriticPolicy, observation: Any, distribution: Distribution, n: int
    ) -> tuple[Tensor, Tensor]:
        """See :class:`Sampler`; all weights are 1."""
        action = sample_group(distribution, n)
        worlds = action.shape[1]
        return action, torch.ones(n, worlds, device=action.device)

    def learn(
        self, policy: ActorCriticPolicy, observation: Any, action: Tensor, action_value: Tensor
    ) -> dict[str, float]:
        """Nothing is learned."""
        return {}
