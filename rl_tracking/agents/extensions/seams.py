"""The seams of the shared update: what an extension may change there, and what is there without one.

:class:`rl_tracking.agents.group_policy.GroupPolicyAlgorithm` holds one object of each kind and calls it at its step of
the update. Axes: T executed steps, R roots, h steps of a branch, N branches, E worlds, S states.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from stable_baselines3.common.distributions import Distribution
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import Tensor

from rl_tracking.agents.collect.batches import Batch
from rl_tracking.agents.collect.distributions import PolicyCalls, sample_group
from rl_tracking.agents.collect.rollout import Estimate
from rl_tracking.agents.maths import losses

Step = Callable[[Tensor, Sequence[torch.nn.Parameter]], None]

# -- which actions are tried ------------------------------------------------------------------------------------------


class ProposedActions(NamedTuple):
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
        """The gSDE matrix of each branch, one a candidate and state, ``[N E]`` int64; None for the first N."""
        if self.candidate is None:
            return None
        states = self.candidate.shape[1]
        return (self.candidate * states + torch.arange(states, device=self.candidate.device)).flatten()


class Sampler(Protocol):
    """Chooses actions, with the weights by which a mean over them is a mean over the policy."""

    def candidates(self, n: int) -> int:
        """How many actions of a state are drawn from the policy for ``n`` to be chosen."""

    def draw(
        self, policy: ActorCriticPolicy, observation: Any, distribution: Distribution | PolicyCalls, n: int
    ) -> ProposedActions:
        """``n`` actions a state.

        Args:
            policy: the present policy.
            observation: of E states, ``[E, ...]``.
            distribution: the policy's, of those states.
            n: N.
        """

    def learn(
        self, policy: ActorCriticPolicy, observation: Any, action: Tensor, action_value: Tensor
    ) -> dict[str, float]:
        """Learn from the values ``[N, S]`` of actions ``[N, S, ...]`` tried in S states; returns figures to log."""


class PolicySampler:
    """N independent draws from the policy (eq. 10)."""

    def candidates(self, n: int) -> int:
        """As many as are tried."""
        return n

    def draw(
        self, policy: ActorCriticPolicy, observation: Any, distribution: Distribution | PolicyCalls, n: int
    ) -> ProposedActions:
        """See :class:`Sampler`; all weights are 1."""
        action = sample_group(distribution, n)
        return ProposedActions(action, torch.ones(n, action.shape[1], device=action.device))

    def learn(
        self, policy: ActorCriticPolicy, observation: Any, action: Tensor, action_value: Tensor
    ) -> dict[str, float]:
        """Nothing is learned."""
        return {}


# -- rewards before their activation ----------------------------------------------------------------------------------


class RewardNormalizer(Protocol):
    """Between the raw reward and its activation."""

    def observe(self, reward: Tensor) -> None:
        """Include a rollout's rewards, ``[T, N, E]`` or ``[R, h, N, E]``, in the moments."""

    def __call__(self, reward: Tensor) -> Tensor:
        """Normalised rewards, same shape."""


class RawReward:
    """R itself."""

    def observe(self, reward: Tensor) -> None:
        """Nothing is kept."""

    def __call__(self, reward: Tensor) -> Tensor:
        """R itself."""
        return reward


# -- the critic's values before the estimate --------------------------------------------------------------------------


class CriticWeight(Protocol):
    """Between the critic's values and the estimator.

    Attributes:
        share: k, how far the critic counts, in [0, 1].
        is_learned: whether k follows from earlier rollouts.
    """

    share: float
    is_learned: bool

    def __call__(self, rollout: Any) -> tuple[Any, Any]:
        """The rollout with the values that advantages are to use, and with those that the critic's targets are."""

    def observe(self, rollout: Any, estimate: Estimate) -> None:
        """Compare the critic's values with what was estimated from the rollout, after its update."""

    @property
    def figures(self) -> dict[str, float]:
        """What is logged."""


class FullCriticWeight:
    """V as it is, as in the paper and in PPO."""

    share, is_learned = 1.0, False

    def __call__(self, rollout: Any) -> tuple[Any, Any]:
        """The rollout itself, twice."""
        return rollout, rollout

    def observe(self, rollout: Any, estimate: Estimate) -> None:
        """Nothing is kept."""

    @property
    def figures(self) -> dict[str, float]:
        """Nothing is logged."""
        return {}


# -- the loss of the policy -------------------------------------------------------------------------------------------


class Surrogate(Protocol):
    """The loss whose gradient moves the policy, and the samples with what it needs of them.

    Attributes:
        figures: what is logged of the latest rollout.
    """

    figures: dict[str, float]

    def samples(self, rollout: Any, estimate: Any) -> Any:
        """The samples of an update, a :class:`~rl_tracking.agents.collect.batches.Batch`."""

    def loss(self, samples: Any, batch: Any, log_ratio: Tensor, clip_range: float, *, normalize: bool) -> Tensor:
        """The loss of a minibatch.

        Args:
            samples: what the present policy makes of it, an ``Evaluation`` of the same module.
            batch: the minibatch.
            log_ratio: of the present policy to the one that sampled.
            clip_range: how far the ratio may move.
            normalize: centre and scale the advantages of the minibatch.
        """


class ScoreSurrogate:
    """PPO's clipped surrogate, whose gradient is that of the log-probabilities (eq. 3)."""

    def __init__(self) -> None:
        self.figures: dict[str, float] = {}

    def samples(self, rollout: Any, estimate: Any) -> Any:
        """See :class:`Surrogate`."""
        return rollout.batch(estimate)

    def loss(self, samples: Any, batch: Any, log_ratio: Tensor, clip_range: float, *, normalize: bool) -> Tensor:
        """See :class:`Surrogate`."""
        # Normalised a minibatch, not a rollout, as in SB3.
        advantage = losses.normalize(batch.advantage, batch.weight) if normalize else batch.advantage
        return losses.clipped_surrogate(log_ratio, advantage, clip_range, batch.weight)


# -- what the critic learns by itself ---------------------------------------------------------------------------------


class CriticTraining(Protocol):
    """Between the estimate and the epochs that policy and critic share."""

    def __call__(self, policy: ActorCriticPolicy, batch: Batch, size: int, step: Step) -> dict[str, float]:
        """Train the critic alone.

        Args:
            policy: with the critic.
            batch: the samples of the update, with values and their targets.
            size: of a minibatch.
            step: makes an optimiser's step down a loss, for the given parameters alone.

        Returns:
            Figures to log.
        """


class NoCriticTraining:
    """The critic learns in the shared epochs alone, as in PPO."""

    def __call__(self, policy: ActorCriticPolicy, batch: Batch, size: int, step: Step) -> dict[str, float]:
        """Nothing is done."""
        return {}


# -- the weight of the entropy in the loss ----------------------------------------------------------------------------


class Temperature(Protocol):
    """The coefficient of the entropy (alpha of eq. 15)."""

    @property
    def coefficient(self) -> Tensor | float:
        """Weight of the entropy."""

    def adapt(self, entropy: Tensor) -> dict[str, Tensor]:
        """Learn from the entropy of a minibatch; returns figures to log."""


class FixedTemperature:
    """The coefficient that the user gave, read anew each time, since a callback may change it."""

    def __init__(self, coefficient: Callable[[], float]) -> None:
        self._coefficient = coefficient

    @property
    def coefficient(self) -> float:
        """See :class:`Temperature`."""
        return self._coefficient()

    def adapt(self, entropy: Tensor) -> dict[str, Tensor]:
        """Nothing is learned."""
        return {}
