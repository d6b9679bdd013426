"""The samples of an update in minibatches, so that the networks run once a state and not once a sample.

Axes: N branches, S states, M samples.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Self

import torch
from stable_baselines3.common.distributions import Distribution
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import Tensor

from rl_tracking.agents.collect import observations
from rl_tracking.agents.collect.distributions import (
    acts_by_own_methods,
    group_log_prob,
    network_outputs,
    with_parameters,
)

if TYPE_CHECKING:
    from rl_tracking.agents.collect.observations import Observation


@dataclasses.dataclass(frozen=True)
class Batch:
    """S states with N samples each.

    Attributes:
        observation: a tensor or a dict of them, ``[S, ...]``.
        action: ``[N, S, ...]``.
        log_prob: under the policy that sampled, ``[N, S]``.
        advantage: ``[N, S]``.
        value: V(s) of the critic at sampling, ``[S]``.
        value_target: ``[S]``.
        weight: importance of each sample, ``[N, S]``.
    """

    observation: Observation
    action: Tensor
    log_prob: Tensor
    advantage: Tensor
    value: Tensor
    value_target: Tensor
    weight: Tensor

    def rows(self, states: Tensor) -> Batch:
        """The chosen states ``[K]`` int64."""
        return self._chosen(states, states)

    def minibatches(self, size: int) -> Iterator[Batch]:
        """All states once, in a random order, ``size`` of them at a time."""
        # Drawn on the device of the data: a permutation from the CPU would be copied at every epoch.
        for chosen in torch.randperm(self.value.shape[0], device=self.value.device).split(size):
            yield self.rows(chosen)

    def distribution_of_samples(self, distribution: Distribution) -> Distribution:
        """The action distribution of S states, for all samples: here it broadcasts over N."""
        return distribution

    def of_samples(self, states: Tensor) -> Tensor:
        """Numbers of states ``[S]``, in the form of ``value`` and ``value_target``."""
        return states

    def observation_of_samples(self) -> Observation:
        """The observation of each sample's state, in the order of the flattened ``action``, ``[N S, ...]``."""
        return observations.repeat(self.observation, self.action.shape[0])

    def _chosen(self, states: Tensor, samples: Tensor, **changes: int) -> Self:
        # index_select, not indexing: along axis 1 four times as fast.
        return dataclasses.replace(
            self,
            observation=observations.each(lambda part: part.index_select(0, states), self.observation),
            action=self.action.index_select(1, samples),
            log_prob=self.log_prob.index_select(1, samples),
            advantage=self.advantage.index_select(1, samples),
            value=self.value.index_select(0, samples),
            value_target=self.value_target.index_select(0, samples),
            weight=self.weight.index_select(1, samples),
            **changes,
        )


@dataclasses.dataclass(frozen=True)
class PathBatch(Batch):
    """Roots that share N samples each, and states of one sample each after them.

    ``observation`` has a row a state, ``[S, ...]``, the roots first. Everything else has a row a sample, ``[1, M]``,
    or ``[M]`` for values: the N samples of the first root, those of the second, ..., then those of the other states.
    So losses are means over samples: in the value loss and the entropy, too, a root weighs as much as its N samples, as
    if it were evaluated once for each. Its value target deserves that: a mean of N returns is less noisy than one.

    Attributes:
        roots: number of roots.
        group: N, samples of a root.
    """

    roots: int
    group: int

    @property
    def states(self) -> int:
        """S."""
        return self.value.shape[0] - self.roots * (self.group - 1)

    def rows(self, states: Tensor) -> PathBatch:
        """The chosen states ``[K]`` int64; roots among them go first."""
        # The layout needs roots first, whatever order they were chosen in.
        roots, others = states[states < self.roots], states[states >= self.roots]
        samples = torch.cat([self._groups(roots).flatten(), self._alone(others)])
        return self._chosen(torch.cat([roots, others]), samples, roots=len(roots))

    def minibatches(self, size: int) -> Iterator[PathBatch]:
        """All states once, in a random order, ``size`` samples at a time, with the same share of roots in each.

        A root comes with all its samples, so that a minibatch of roots alone can differ from ``size`` by up to N.
        """
        device, total = self.value.device, self.value.shape[0]
        # Two permutations, so that no minibatch has all the roots or none by chance.
        roots = torch.randperm(self.roots, device=device)
        others = torch.randperm(self.states - self.roots, device=device) + self.roots
        groups, alone = self._groups(roots), self._alone(others)
        taken = left = 0
        for end in [*range(size, total, size), total]:
            # As many roots as this share of the samples, then other states up to the size of the minibatch.
            upto = self.roots * end // total
            rest = max(left, min(end - upto * self.group, len(others)))
            if upto > taken or rest > left:
                states = torch.cat([roots[taken:upto], others[left:rest]])
                samples = torch.cat([groups[taken:upto].flatten(), alone[left:rest]])
                yield self._chosen(states, samples, roots=upto - taken)
            taken, left = upto, rest

    def distribution_of_samples(self, distribution: Distribution) -> Distribution:
        """The distribution of S states, repeated for their M samples."""
        return with_parameters(distribution, self.of_samples)

    def of_samples(self, states: Tensor) -> Tensor:
        """``[S, ...] -> [M, ...]``."""
        if self.roots == 0:
            return states
        # Splitting and expanding, not indexing: the gradients are one cat and one sum.
        shared, others = states.split([self.roots, states.shape[0] - self.roots])
        repeated = shared.unsqueeze(1).expand(-1, self.group, *states.shape[1:])
        return torch.cat([repeated.flatten(0, 1), others])

    def observation_of_samples(self) -> Observation:
        """See :class:`Batch`; ``[M, ...]``."""
        return observations.each(self.of_samples, self.observation)

    def _groups(self, roots: Tensor) -> Tensor:
        """Indices of the samples of roots, ``[K] -> [K, N]``."""
        return roots.unsqueeze(1) * self.group + torch.arange(self.group, device=roots.device)

    def _alone(self, others: Tensor) -> Tensor:
        """Index of the one sample of each of the other states, ``[K]``."""
        return others + self.roots * (self.group - 1)

    @classmethod
    def cat(cls, batches: Sequence[PathBatch]) -> PathBatch:
        """The states of several batches with the same N."""
        if len(batches) == 1:
            return batches[0]
        # Roots of all batches first, then their other states: the layout of one batch.

        def states(batch: PathBatch, part: slice) -> Observation:
            return observations.each(lambda leaf: leaf[part], batch.observation)

        def samples(name: str, axis: int) -> Tensor:
            parts = [getattr(batch, name) for batch in batches]
            splits = [batch.roots * batch.group for batch in batches]
            shared = [part.narrow(axis, 0, split) for part, split in zip(parts, splits, strict=True)]
            ends = [part.shape[axis] - split for part, split in zip(parts, splits, strict=True)]
            alone = [part.narrow(axis, *span) for part, *span in zip(parts, splits, ends, strict=True)]
            return torch.cat([*shared, *alone], dim=axis)

        return cls(
            observations.cat(
                [states(batch, slice(batch.roots)) for batch in batches]
                + [states(batch, slice(batch.roots, None)) for batch in batches]
            ),
            **{name: samples(name, 1) for name in ("action", "log_prob", "advantage", "weight")},
            **{name: samples(name, 0) for name in ("value", "value_target")},
            roots=sum(batch.roots for batch in batches),
            group=batches[0].group,
        )


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What a policy computes for the samples of a batch, with gradients.

    Attributes:
        log_prob: shaped as the batch's.
        entropy: any shape, of which the mean counts; None where it has no closed form.
        value: shaped as the batch's; None where it was not computed.
        distribution: of the samples; None for a policy that evaluates actions by a method of its own.
    """

    log_prob: Tensor
    entropy: Tensor | None
    value: Tensor | None
    distribution: Distribution | None = None


def evaluate_samples(policy: ActorCriticPolicy, batch: Batch, *, critic: bool) -> Evaluation:
    """Evaluate the samples of a batch, with one pass through the networks a state.

    A policy that overrides SB3's methods is evaluated by its ``evaluate_actions``, with a row a sample.

    Args:
        policy: an SB3 actor-critic policy.
        batch: states with their samples.
        critic: whether to compute values.
    """
    if acts_by_own_methods(policy):
        rows = batch.action.flatten(0, 1)
        values, log_prob, entropy = policy.evaluate_actions(batch.observation_of_samples(), rows)
        # A state's value does not depend on the action, so its samples share it.
        shared = values.flatten().view(-1, batch.value.shape[0]).mean(dim=0)
        return Evaluation(log_prob.view(batch.log_prob.shape), entropy, shared if critic else None)
    if critic:
        of_states, of_values = network_outputs(policy, batch.observation)
        value = batch.of_samples(of_values)
    else:
        of_states, value = policy.get_distribution(batch.observation), None
    distribution = batch.distribution_of_samples(of_states)
    return Evaluation(group_log_prob(distribution, batch.action), distribution.entropy(), value, distribution)
