"""Gradients through the world: branches as re-parameterised draws, whose return is differentiated step by step.

A branch's actions are ``a = mu(s) + sigma eps``. With the noise eps held fixed, the discounted activated return of the
branch is a function of its draws through the scenario's transition and reward and through the policy at later states;
V of the state that the branch reached closes it (SHAC, Xu et al. 2022, arXiv 2204.07137). Its gradient with respect to
the draws g, dJ/dg, is computed once a rollout. It estimates what the score's ``A (g - mu) / sigma^2`` estimates: the
gradient of the expected return with respect to the mean. Axes: R roots, h steps, N branches, E worlds, A numbers of an
action, M samples.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import Tensor

from rl_tracking.agents.collect import distributions
from rl_tracking.agents.collect.batches import PathBatch
from rl_tracking.agents.collect.branch_rollout import PathLookahead
from rl_tracking.agents.collect.reparameterised import Reparameterised, reparameterised
from rl_tracking.agents.collect.rollout import PathRollout
from rl_tracking.agents.maths import losses, pathwise

if TYPE_CHECKING:
    from rl_tracking.agents.collect.batches import Evaluation
    from rl_tracking.agents.collect.branch_rollout import Decision, Executable
    from rl_tracking.agents.collect.observations import Observation
    from rl_tracking.agents.collect.rollout import Estimate
    from rl_tracking.restoring.protocol import BranchStep

# -- branches with a graph --------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Graph:
    """What the return of all branches is differentiated from.

    Attributes:
        draw: of each root and step, ``[N, E, A]``, as ``Reparameterised`` has it.
        reward: raw, ``[R, h, N, E]``.
        value: V of the state that the last step of each branch in its root's episode reached, ``[R, N, E]``.
        terminated: whether the episode terminated there, ``[R, N, E]``.
    """

    draw: tuple[Tensor, ...]
    reward: Tensor
    value: Tensor
    terminated: Tensor


@dataclasses.dataclass(frozen=True)
class PathwiseRollout(PathRollout):
    """A :class:`PathRollout` with the graph of its rewards.

    Attributes:
        offset: of the draws from the mean, ``[R, h, N, E, A]``.
        score: gradient of each log-probability with respect to the mean, ``[R, h, N, E, A]``.
        graph: see :class:`Graph`.
    """

    offset: Tensor
    score: Tensor
    graph: Graph


class PathwiseLookahead(PathLookahead):
    """Branches whose rewards and observations keep the graph to the draws of their actions."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._drawn: list[Reparameterised] = []
        self._outcomes: list[BranchStep] = []

    def try_actions(
        self, policy: ActorCriticPolicy, observation: Observation, executable: Executable
    ) -> tuple[Decision, Tensor]:
        """See :class:`~rl_tracking.agents.collect.branch_rollout.Lookahead`."""
        self._drawn, self._outcomes = [], []
        decision, path = super().try_actions(policy, observation, executable)
        own = {name: torch.stack([getattr(step, name) for step in self._drawn]) for name in ("offset", "score")}
        graph = [step.draw for step in self._drawn], self._outcomes
        self._drawn, self._outcomes = [], []
        return decision | own | {"graph": graph}, path

    def _steps(self, policy: ActorCriticPolicy, observation: Observation, executable: Executable) -> Iterator[Decision]:
        with torch.enable_grad():
            for row in super()._steps(policy, observation, executable):
                # What is learned from later must not hold the graph; only the return that is differentiated does.
                yield {name: part.detach() for name, part in row.items()}

    def _advance(self, distribution: Any, action: Tensor, executable: Executable) -> tuple[BranchStep, Observation]:
        drawn = reparameterised(distribution, action)
        outcome, following = self._brancher.advance_paths_with_gradient(executable(drawn.action))
        self._drawn.append(drawn)
        self._outcomes.append(outcome)
        return outcome, following

    def rollout(self, policy: ActorCriticPolicy, decisions: list[Decision]) -> PathwiseRollout:
        """See :class:`~rl_tracking.agents.collect.branch_rollout.Lookahead`."""
        graphs = [decision.pop("graph") for decision in decisions]
        own = {name: torch.stack([decision.pop(name) for decision in decisions]) for name in ("offset", "score")}
        plain = super().rollout(policy, decisions)
        last = plain.valid.sum(dim=1) - 1  # [R, N, E]
        with torch.enable_grad():
            graph = Graph(
                tuple(draw for draws, _ in graphs for draw in draws),
                torch.stack([torch.stack([step.reward for step in steps]) for _, steps in graphs]),
                self._closing_value(policy, [[step.observation for step in steps] for _, steps in graphs], last),
                plain.terminated.gather(1, last.unsqueeze(1)).squeeze(1),
            )
        return PathwiseRollout(**vars(plain), **own, graph=graph)

    def _closing_value(self, policy: ActorCriticPolicy, reached: list[list[Tensor]], last: Tensor) -> Tensor:
        """V of the states in which branches ended ``[R, N, E]``, differentiated through the observation."""
        if not self._critic:
            return torch.zeros(last.shape, device=last.device)
        branch, world = (torch.arange(size, device=last.device) for size in last.shape[1:])
        ends = [torch.stack(steps)[last[root], branch[:, None], world] for root, steps in enumerate(reached)]
        return policy.predict_values(torch.stack(ends).flatten(0, 2)).view(last.shape)


# -- samples and losses -----------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class PathwiseBatch(PathBatch):
    """Samples with gradients of their return.

    Attributes:
        gradient: of the return with respect to the draw, ``[1, M, A]``.
        linear: first-order gain of the draw over the mean, ``[1, M]``.
        share: weight of this gradient; the score's has the rest, ``[1, M]``.
    """

    gradient: Tensor
    linear: Tensor
    share: Tensor

    def _chosen(self, states: Tensor, samples: Tensor, **changes: int) -> PathwiseBatch:
        own = {name: getattr(self, name).index_select(1, samples) for name in ("gradient", "linear", "share")}
        return dataclasses.replace(super()._chosen(states, samples, **changes), **own)


class PathwiseSurrogate:
    """The loss whose gradient goes through the world; see :class:`~rl_tracking.agents.extensions.seams.Surrogate`.

    Args:
        activate: f of f(R), with the normaliser before it.
        gamma: discount of a step, read anew for each rollout.
        trust: how far the critic's value counts, in [0, 1], read anew for each rollout.
        discounted: weigh step k by ``gamma^k``, as the root's return does; else each step as much as the root.
    """

    def __init__(
        self,
        activate: Callable[[Tensor], Tensor],
        gamma: Callable[[], float],
        trust: Callable[[], float],
        *,
        discounted: bool = False,
    ) -> None:
        self._activate, self._gamma, self._trust, self._discounted = activate, gamma, trust, discounted
        self._known: tuple[PathwiseRollout, Tensor] | None = None
        self.figures: dict[str, float] = {}

    def samples(self, rollout: PathwiseRollout, estimate: Estimate) -> PathwiseBatch:
        """See :class:`~rl_tracking.agents.extensions.seams.Surrogate`."""
        gradient = self._gradient(rollout)
        share = self._share(rollout, estimate, gradient)
        self.figures = {"pathwise_share": float((share * rollout.valid).sum() / rollout.valid.sum())}
        _, _, rows = rollout.rows(estimate)

        def each(tensor: Tensor) -> Tensor:
            return tensor.flatten(0, 3).index_select(0, rows).unsqueeze(0)

        plain = rollout.batch(estimate)
        linear = (gradient * rollout.offset).sum(dim=-1)
        return PathwiseBatch(**vars(plain), gradient=each(gradient), linear=each(linear), share=each(share))

    def _gradient(self, rollout: PathwiseRollout) -> Tensor:
        """dJ/dg of every draw, ``[R, h, N, E, A]``, counted from its own step on as the advantages are."""
        if self._known is None or self._known[0] is not rollout:
            graph, gamma = rollout.graph, self._gamma()
            with torch.enable_grad():
                reward = self._activate(graph.reward)
                value = self._trust() * graph.value
                total = pathwise.branch_return(reward, rollout.valid, value, graph.terminated, gamma).sum()
            # Branches do not depend on each other, so the gradient of their sum is that of each.
            found = torch.autograd.grad(total, graph.draw, materialize_grads=True)
            gradient = torch.stack(found).view_as(rollout.score)
            # Gamma^k belongs to the root's return; an advantage of step k counts from k on.
            if not self._discounted:
                gradient = gradient / pathwise.discounts(rollout.valid.shape[1], gamma, gradient).unsqueeze(-1)
            gradient = gradient * rollout.valid.unsqueeze(-1)
            self._known = rollout, gradient
        return self._known[1]

    def _share(self, rollout: PathwiseRollout, estimate: Estimate, gradient: Tensor) -> Tensor:
        return torch.ones_like(estimate.advantage)

    def loss(self, samples: Evaluation, batch: Any, log_ratio: Tensor, clip_range: float, *, normalize: bool) -> Tensor:
        """See :class:`~rl_tracking.agents.extensions.seams.Surrogate`."""
        size = batch.gradient.square().sum(dim=-1).mean().sqrt() if normalize else 1.0
        return self._pathwise(samples, batch, log_ratio, clip_range) / (size + 1e-8)

    def _pathwise(self, samples: Evaluation, batch: Any, log_ratio: Tensor, clip_range: float) -> Tensor:
        assert samples.distribution is not None
        normal: Any = samples.distribution.distribution
        mean, scale = normal.loc, normal.scale
        draw = distributions.gaussian_of(samples.distribution, batch.action)
        # The noise that the present policy would have needed for the same draw, held fixed.
        noise = ((draw - mean) / scale).detach()
        return pathwise.surrogate(
            log_ratio, batch.gradient, mean + scale * noise, batch.linear, clip_range, batch.weight * batch.share
        )


class MixedSurrogate(PathwiseSurrogate):
    """Pathwise and score gradient, weighed at every step of the branches by their variances within the groups."""

    def _share(self, rollout: PathwiseRollout, estimate: Estimate, gradient: Tensor) -> Tensor:
        # Both estimate the same gradient, so the weight of least variance is the share of the other's variance.
        of_score = pathwise.spread(estimate.advantage.unsqueeze(-1) * rollout.score, rollout.valid)
        of_path = pathwise.spread(gradient, rollout.valid)
        share = torch.where(of_path > 0, of_score / (of_score + of_path), 0.0)
        # Little variance is no merit where the world hides what matters: then it does not say which branch is better.
        predicted = pathwise.gain_to_go(gradient, rollout.offset, rollout.valid, self._gamma())
        trust = pathwise.agreement(estimate.advantage, predicted, rollout.valid)
        return (trust * share).view(1, -1, 1, 1).expand_as(estimate.advantage)

    def loss(self, samples: Evaluation, batch: Any, log_ratio: Tensor, clip_range: float, *, normalize: bool) -> Tensor:
        """See :class:`~rl_tracking.agents.extensions.seams.Surrogate`."""
        advantage = losses.normalize(batch.advantage, batch.weight) if normalize else batch.advantage
        # Both by the same number, so that they stay estimates of the same gradient.
        size = losses.deviation(batch.advantage, batch.weight) if normalize and advantage.numel() > 1 else 1.0
        score = losses.clipped_surrogate(log_ratio, advantage, clip_range, batch.weight * (1.0 - batch.share))
        return score + self._pathwise(samples, batch, log_ratio, clip_range) / (size + 1e-8)
