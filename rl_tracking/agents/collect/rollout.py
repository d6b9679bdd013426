"""What was collected and what was estimated from it, as immutable values.

Axes: T executed steps, E worlds, N branches, R roots, h steps of a branch (its horizon), S states, M samples.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.buffers import DictRolloutBuffer, RolloutBuffer
from torch import Tensor

from rl_tracking.agents.collect import observations
from rl_tracking.agents.collect.batches import Batch, PathBatch
from rl_tracking.errors import UsageError

if TYPE_CHECKING:
    from rl_tracking.agents.collect.observations import Observation

_STANDARD_BUFFERS = (None, RolloutBuffer, DictRolloutBuffer)


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
        episode_end: the executed episode ended here, by termination or truncation, ``[T, E]`` bool.
        weight: importance of each sample, 1 unless sampling is guided, ``[T, N, E]``.
    """

    observation: Observation
    action: Tensor
    log_prob: Tensor
    reward: Tensor
    value: Tensor
    next_value: Tensor
    terminated: Tensor
    episode_end: Tensor
    weight: Tensor

    def executed(self, branches: Tensor) -> Tensor:
        """The part of the executed branch, ``[T, N, E] -> [T, E]``."""
        return branches[:, 0]

    def earned(self, reward: Tensor) -> Tensor:
        """What each branch earned in the root's episode, ``[T, N, E]``."""
        return reward

    @property
    def executed_episode_end(self) -> Tensor:
        """``[T, E]`` bool."""
        return self.episode_end

    def batch(self, estimate: Estimate) -> Batch:
        """One row a state: ``[T, E, ...] -> [T E, ...]`` and ``[T, N, E, ...] -> [N, T E, ...]``."""

        def samples(tensor: Tensor) -> Tensor:
            return tensor.transpose(0, 1).flatten(1, 2)

        # States of all steps and worlds on one axis: minibatches mix them, as in PPO.
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
        """The states in which actions were tried, ``[T, E, ...]``, and the N actions, ``[T, N, E, ...]``."""
        return self.observation, self.action

    def root_values(self, estimate: Estimate) -> tuple[Tensor, Tensor]:
        """V of the roots and their targets, ``[T, E]`` each."""
        return self.value, estimate.value_target

    def with_values(self, value: Tensor, next_value: Tensor) -> GroupRollout:
        """The same with other values, of the same shapes."""
        return dataclasses.replace(self, value=value, next_value=next_value)


@dataclasses.dataclass(frozen=True)
class PathRollout:
    """N branches of h steps under the policy from each of R roots in E worlds; branch 0 was executed.

    A branch whose episode ends continues in the next one; ``valid`` marks the steps of the root's episode.

    Attributes:
        observation: a tensor or a dict of them, ``[R, h, N, E, ...]``.
        action: as sampled, ``[R, h, N, E, ...]``.
        log_prob: under the policy that sampled, ``[R, h, N, E]``.
        reward: raw, ``[R, h, N, E]``.
        value: V(s), ``[R, h, N, E]``; zero where there is no critic.
        next_value: V(s') of the state reached, ``[R, h, N, E]``; zero where there is no critic.
        terminated: ``[R, h, N, E]`` bool.
        episode_end: an episode ended here, either way, ``[R, h, N, E]`` bool.
        valid: the step belongs to the episode of the root and is not padding, ``[R, h, N, E]`` bool.
        unpadded: the step is not padding, with which roots of shorter branches are filled up, ``[R, h]`` bool.
        weight: importance of each sample, that of its branch's first action, ``[R, h, N, E]``.
    """

    observation: Observation
    action: Tensor
    log_prob: Tensor
    reward: Tensor
    value: Tensor
    next_value: Tensor
    terminated: Tensor
    episode_end: Tensor
    valid: Tensor
    unpadded: Tensor
    weight: Tensor

    def executed(self, branches: Tensor) -> Tensor:
        """The part of the executed branch, ``[R, h, N, E] -> [T, E]``; T of the R h steps are not padding."""
        return branches[:, :, 0][self.unpadded]

    def earned(self, reward: Tensor) -> Tensor:
        """What each branch earned in the root's episode, ``[R, h, N, E] -> [R, N, E]``."""
        return (reward * self.valid).sum(dim=1)

    @property
    def executed_episode_end(self) -> Tensor:
        """``[T, E]`` bool."""
        return self.executed(self.episode_end)

    def batch(self, estimate: Estimate) -> PathBatch:
        """A row a state: each root with its N samples, and every later step of a branch that the estimate keeps."""
        groups, states, samples = self.rows(estimate)

        def each(tensor: Tensor) -> Tensor:
            return tensor.flatten(0, 3).index_select(0, samples)

        return PathBatch(
            observations.each(lambda part: part.flatten(0, 3).index_select(0, states), self.observation),
            each(self.action).unsqueeze(0),
            each(self.log_prob).unsqueeze(0),
            each(estimate.advantage).unsqueeze(0),
            each(self.value),
            each(estimate.value_target),
            each(self.weight).unsqueeze(0),
            roots=groups,
            group=self.valid.shape[2],
        )

    def rows(self, estimate: Estimate) -> tuple[int, Tensor, Tensor]:
        """Rows of the flattened rollout that a batch has: how many whole groups, their states, and their samples."""
        keep = torch.ones_like(self.valid) if estimate.keep is None else estimate.keep
        # The N samples of a root share one pass through the networks, if the estimate keeps all of them.
        whole = keep[:, 0].all(dim=1)  # [R, E]
        # Rows of the flattened rollout: first those of whole groups, then every other sample that is kept.
        place = torch.arange(keep.numel(), device=keep.device).view(keep.shape)
        groups = place[:, 0].transpose(1, 2)[whole]
        alone = keep.clone()
        alone[:, 0] &= ~whole.unsqueeze(1)
        others = place[alone]
        return len(groups), torch.cat([groups[:, 0], others]), torch.cat([groups.flatten(), others])

    @property
    def roots(self) -> tuple[Observation, Tensor]:
        """The states in which branches began, ``[R, E, ...]``, and their N first actions, ``[R, N, E, ...]``."""
        return observations.each(lambda part: part[:, 0, 0], self.observation), self.action[:, 0]

    def root_values(self, estimate: Estimate) -> tuple[Tensor, Tensor]:
        """V of the roots and their targets, ``[R, E]`` each."""
        # All branches of a root have the same, so branch 0 is enough.
        return self.value[:, 0, 0], estimate.value_target[:, 0, 0]

    def with_values(self, value: Tensor, next_value: Tensor) -> PathRollout:
        """The same with other values, of the same shapes."""
        return dataclasses.replace(self, value=value, next_value=next_value)


@dataclasses.dataclass(frozen=True)
class Estimate:
    """What the update learns from.

    Attributes:
        advantage: of every sampled action, shaped as the rollout's branches.
        value_target: shaped as the rollout's values.
        reward: activated, shaped as the rollout's branches.
        keep: which steps of a :class:`PathRollout` are trained on; None for all.
        action_value: estimate of Q of each action tried in a root, ``[T, N, E]`` or ``[R, N, E]``; None without critic.
    """

    advantage: Tensor
    value_target: Tensor
    reward: Tensor
    keep: Tensor | None = None
    action_value: Tensor | None = None


class NoRolloutBuffer:
    """Takes the place of SB3's rollout buffer, in which groups of branches do not fit; uses no memory."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        """There is no data.

        Raises:
            UsageError: always, unless Python itself asks.
        """
        if name.startswith("__"):
            raise AttributeError(name)
        raise UsageError(
            f"rollout_buffer.{name}: groups of branches do not fit into a rollout buffer; see model.rollout, whose "
            "executed(...) gives what belongs to the executed steps"
        )


def check_rollout_buffer(model: BaseAlgorithm) -> None:
    """Refuse a rollout buffer of the user's own, which would never be filled.

    Raises:
        UsageError: one was given.
    """
    # SB3's own classes are what a loaded PPO has; any other was meant to be filled.
    kind, arguments = model.rollout_buffer_class, model.rollout_buffer_kwargs  # type: ignore[attr-defined]
    if kind not in _STANDARD_BUFFERS or arguments:
        name = "rollout_buffer_kwargs" if kind in _STANDARD_BUFFERS else "rollout_buffer_class"
        raise UsageError(f"{type(model).__name__} takes no {name}: groups of branches do not fit into a rollout buffer")
