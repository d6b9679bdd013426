"""What was collected, what was estimated of it, and the samples an update takes: values, nothing else.

Axes: T executed steps, E worlds, N branches, R roots, h steps of a branch (its horizon), S states, M samples.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from rl_tracking.agents import observations
from rl_tracking.agents.observations import Observation


@dataclasses.dataclass(frozen=True)
class GroupRollout:
    """T macro-steps of E worlds with N branches of one step from each state; branch 0 was executed.

    Attributes:
        observation: a tensor or a dict of them, ``[T, E, ...]``.
        action: as sampled, before clipping, ``[T, N, E, ...]``.
        log_prob: under the policy that sampled, ``[T, N, E]``.
        reward: raw, ``[T, N, E]``.
        value: V(s), ``[T, E]``.
        next_value: V(s') of each branch's own state reached, ``[T, N, E]``.
        terminated: ``[T, N, E]`` bool.
        cut: the executed episode ended here, by termination or truncation, ``[T, E]`` bool.
        weight: importance of each sample, 1 unless sampling is guided, ``[T, N, E]``.
    """

    observation: Observation
    action: Tensor
    log_prob: Tensor
    reward: Tensor
    value: Tensor
    next_value: Tensor
    terminated: Tensor
    cut: Tensor
    weight: Tensor

    def executed(self, branches: Tensor) -> Tensor:
        """What belongs to the executed branch, ``[T, N, E] -> [T, E]``."""
        return branches[:, 0]

    @property
    def executed_cut(self) -> Tensor:
        """``[T, E]`` bool."""
        return self.cut

    def batch(self, estimate: Estimate) -> Batch:
        """One row a state: ``[T, E, ...] -> [T E, ...]`` and ``[T, N, E, ...] -> [N, T E, ...]``."""

        def samples(tensor: Tensor) -> Tensor:
            return tensor.transpose(0, 1).flatten(1, 2)

        return Batch(
            observations.flatten(self.observation, 2),
            samples(self.action),
            samples(self.log_prob),
            samples(estimate.advantage),
            self.value.flatten(),
            estimate.value_target.flatten(),
            samples(self.weight),
        )

    @property
    def roots(self) -> tuple[Observation, Tensor]:
        """The states that branches left from, ``[T, E, ...]``, and the N actions tried there, ``[T, N, E, ...]``."""
        return self.observation, self.action


@dataclasses.dataclass(frozen=True)
class PathRollout:
    """N branches of h steps under the policy from each of R roots in E worlds; branch 0 was executed.

    A branch that ends goes on in its next episode; ``alive`` says which steps belong to the root's.

    Attributes:
        observation: a tensor or a dict of them, ``[R, h, N, E, ...]``.
        action: as sampled, ``[R, h, N, E, ...]``.
        log_prob: under the policy that sampled, ``[R, h, N, E]``.
        reward: raw, ``[R, h, N, E]``.
        value: V(s), ``[R, h, N, E]``; zero where there is no critic.
        next_value: V(s') of the state reached, ``[R, h, N, E]``; zero where there is no critic.
        terminated: ``[R, h, N, E]`` bool.
        cut: an episode ended here, either way, ``[R, h, N, E]`` bool.
        alive: the step belongs to the episode of the root, ``[R, h, N, E]`` bool.
        made: the step was made; the others fill up roots with shorter branches, ``[R, h]`` bool.
        weight: importance of each sample, that of its branch's first action, ``[R, h, N, E]``.
    """

    observation: Observation
    action: Tensor
    log_prob: Tensor
    reward: Tensor
    value: Tensor
    next_value: Tensor
    terminated: Tensor
    cut: Tensor
    alive: Tensor
    made: Tensor
    weight: Tensor

    def executed(self, branches: Tensor) -> Tensor:
        """What belongs to the executed branch, ``[R, h, N, E] -> [T, E]``, T of the R h steps being made."""
        return branches[:, :, 0][self.made]

    @property
    def executed_cut(self) -> Tensor:
        """``[T, E]`` bool."""
        return self.executed(self.cut)

    def batch(self, estimate: Estimate) -> Batch:
        """One row a sample: every step of every branch that the estimate keeps, ``[M, ...]`` and ``[1, M, ...]``."""
        keep = torch.ones_like(self.alive) if estimate.keep is None else estimate.keep
        return Batch(
            observations.rows(self.observation, keep),
            self.action[keep].unsqueeze(0),
            self.log_prob[keep].unsqueeze(0),
            estimate.advantage[keep].unsqueeze(0),
            self.value[keep],
            estimate.value_target[keep],
            self.weight[keep].unsqueeze(0),
        )

    @property
    def roots(self) -> tuple[Observation, Tensor]:
        """The states that branches left from, ``[R, E, ...]``, and the N actions tried there, ``[R, N, E, ...]``."""
        return observations.each(lambda part: part[:, 0, 0], self.observation), self.action[:, 0]


@dataclasses.dataclass(frozen=True)
class Estimate:
    """What the update learns from.

    Attributes:
        advantage: of every sampled action, shaped as the rollout's branches.
        value_target: shaped as the rollout's values.
        reward: activated, shaped as the rollout's branches.
        keep: which steps of a :class:`PathRollout` are trained on; None for all.
        action_value: what each action tried from a root was worth, ``[T, N, E]`` or ``[R, N, E]``; None without critic.
    """

    advantage: Tensor
    value_target: Tensor
    reward: Tensor
    keep: Tensor | None = None
    action_value: Tensor | None = None


@dataclasses.dataclass(frozen=True)
class Batch:
    """S states with N samples each, flattened from a rollout; ``[S, ...]`` or ``[N, S, ...]``."""

    observation: Observation
    action: Tensor
    log_prob: Tensor
    advantage: Tensor
    value: Tensor
    value_target: Tensor
    weight: Tensor

    def rows(self, states: Tensor) -> Batch:
        """The chosen states ``[K]`` int64."""
        # index_select, not indexing: along axis 1 four times as fast.
        return Batch(
            observations.each(lambda part: part.index_select(0, states), self.observation),
            self.action.index_select(1, states),
            self.log_prob.index_select(1, states),
            self.advantage.index_select(1, states),
            self.value.index_select(0, states),
            self.value_target.index_select(0, states),
            self.weight.index_select(1, states),
        )

    @classmethod
    def cat(cls, batches: list[Batch]) -> Batch:
        """The states of several batches with the same N."""
        return cls(
            observations.cat([batch.observation for batch in batches]),
            torch.cat([batch.action for batch in batches], dim=1),
            torch.cat([batch.log_prob for batch in batches], dim=1),
            torch.cat([batch.advantage for batch in batches], dim=1),
            torch.cat([batch.value for batch in batches]),
            torch.cat([batch.value_target for batch in batches]),
            torch.cat([batch.weight for batch in batches], dim=1),
        )
