"""N actions from one evaluation of the policy network, for the action distributions of Stable-Baselines3.

The distribution's parameters are computed once a state, ``[E, ...]``; samples and their log-probabilities have a
leading axis N and broadcast against them. A policy that overrides ``forward``, ``evaluate_actions``,
``predict_values`` or ``get_distribution`` may compute something else than its networks do, so it is called by these
methods with a row a sample, as SB3's PPO calls it: :class:`PolicyCalls`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from gymnasium import spaces
from stable_baselines3.common.distributions import (
    BernoulliDistribution,
    CategoricalDistribution,
    DiagGaussianDistribution,
    Distribution,
    MultiCategoricalDistribution,
    SquashedDiagGaussianDistribution,
    StateDependentNoiseDistribution,
)
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import Tensor
from torch.distributions import Bernoulli, Categorical, Normal

from rl_tracking.agents.collect import observations
from rl_tracking.errors import UsageError

if TYPE_CHECKING:
    from rl_tracking.agents.collect.observations import Observation

_OF_ACTIONS = ("forward", "evaluate_actions", "get_distribution")
_SB3 = {name: getattr(ActorCriticPolicy, name) for name in (*_OF_ACTIONS, "predict_values")}


def evaluate_states(
    policy: ActorCriticPolicy, observation: Observation
) -> tuple[Distribution, Tensor] | tuple[PolicyCalls, None]:
    """Distribution and value of each state, from one pass through the networks.

    Args:
        policy: an SB3 actor-critic policy.
        observation: a tensor or a dict of them, ``[E, ...]``.

    Returns:
        The distribution of E states, and V ``[E]``. A policy with methods of its own computes V when actions are drawn.
    """
    if acts_by_own_methods(policy):
        return PolicyCalls(policy, observation), None
    return network_outputs(policy, observation)


def network_outputs(policy: ActorCriticPolicy, observation: Observation) -> tuple[Distribution, Tensor]:
    """:func:`evaluate_states` of a policy that overrides no method of SB3's."""
    # As SB3's evaluate_actions, which returns no distribution to draw N actions from.
    features = policy.extract_features(observation)
    if policy.share_features_extractor:
        latent_pi, latent_vf = policy.mlp_extractor(features)
    else:
        latent_pi = policy.mlp_extractor.forward_actor(features[0])
        latent_vf = policy.mlp_extractor.forward_critic(features[1])
    distribution = policy._get_action_dist_from_latent(latent_pi)
    return distribution, policy.value_net(latent_vf).flatten()


def action_distribution(policy: ActorCriticPolicy, observation: Observation) -> Distribution | PolicyCalls:
    """What actions of E states ``[E, ...]`` are sampled from: a distribution, or the policy's own methods."""
    if acts_by_own_methods(policy):
        return PolicyCalls(policy, observation)
    return policy.get_distribution(observation)


class ExplorationNoise:
    """When gSDE draws new exploration matrices, one for each of ``rows`` draws: as SB3 does for each world.

    Args:
        policy: without gSDE nothing is drawn.
        rows: draws from the policy in all worlds, N E, or M E where candidates are drawn.
        every: steps after which new ones are drawn, ``sde_sample_freq``; below 1 only at the start of a rollout.
    """

    def __init__(self, policy: ActorCriticPolicy, rows: int, every: int) -> None:
        self._policy, self._rows, self._every = policy, rows, every
        self._steps = 0

    @torch.no_grad()
    def restart(self) -> None:
        """A rollout begins."""
        self._steps = 0
        if self._policy.use_sde:
            self._policy.reset_noise(self._rows)

    @torch.no_grad()
    def step(self) -> None:
        """A step of all branches begins."""
        if self._policy.use_sde and self._every > 0 and self._steps % self._every == 0:
            self._policy.reset_noise(self._rows)
        self._steps += 1


def sample_group(distribution: Distribution | PolicyCalls, n: int, matrix: Tensor | None = None) -> Tensor:
    """``n`` independent actions a state, ``[n, E, ...]``.

    Args:
        distribution: of E states.
        n: actions a state.
        matrix: with gSDE, which exploration matrix (:class:`ExplorationNoise`) each action comes from, ``[n E]`` int64;
            if not given, each from one of its own.
    """
    if isinstance(distribution, PolicyCalls):
        return distribution.sample(n, matrix)
    # SB3's own sample() draws one action a state; torch's distribution inside draws n of them at once.
    if isinstance(distribution, StateDependentNoiseDistribution):
        return _sample_state_dependent(distribution, n, matrix)
    if isinstance(distribution, SquashedDiagGaussianDistribution):
        return torch.tanh(distribution.distribution.sample((n,)))
    if isinstance(distribution, MultiCategoricalDistribution):
        return torch.stack([part.sample((n,)) for part in distribution.distribution], dim=-1)
    _check_supported(distribution)
    sample: Tensor = distribution.distribution.sample((n,))  # type: ignore[union-attr]
    return sample


def _sample_state_dependent(distribution: StateDependentNoiseDistribution, n: int, matrix: Tensor | None) -> Tensor:
    """Mean and features times matrix: ``[E, A] + [E, F] [n, E, F, A]`` (Raffin et al., arXiv 2005.05719, eq. 5)."""
    features, matrices = distribution._latent_sde, distribution.exploration_matrices
    states = features.shape[0]
    if matrix is not None:
        matrices = matrices[matrix]
    if len(matrices) != n * states:
        raise UsageError(f"gSDE has {len(matrices)} exploration matrices for {n} actions of {states} states")
    noise = torch.einsum("ef,nefa->nea", features, matrices.unflatten(0, (n, states)))
    action = distribution.distribution.mean + noise
    return action if distribution.bijector is None else distribution.bijector.forward(action)


def group_log_prob(
    distribution: Distribution | PolicyCalls, actions: Tensor, candidate: Tensor | None = None
) -> Tensor:
    """Log-probability of actions ``[N, E, ...]`` of E states, ``[N, E]``; with gSDE the marginal one, as in SB3.

    Args:
        distribution: of E states.
        actions: of these states.
        candidate: which of the actions just drawn from it they are, ``[N, E]`` int64, if not all of them in turn.
    """
    if isinstance(distribution, PolicyCalls):
        return distribution.log_prob(actions, candidate)
    if isinstance(distribution, StateDependentNoiseDistribution):
        # Not given the matrix: the marginal over matrices is what the ratio of PPO is about.
        bijector = distribution.bijector
        gaussian = actions if bijector is None else bijector.inverse(actions)
        marginal: Tensor = distribution.distribution.log_prob(gaussian).sum(dim=-1)
        return marginal if bijector is None else marginal - bijector.log_prob_correction(gaussian).sum(dim=-1)
    if isinstance(distribution, SquashedDiagGaussianDistribution):
        gaussian = gaussian_of(distribution, actions)
        log_prob: Tensor = distribution.distribution.log_prob(gaussian).sum(dim=-1)
        return log_prob - torch.log(1.0 - actions**2 + distribution.epsilon).sum(dim=-1)
    if isinstance(distribution, MultiCategoricalDistribution):
        parts = zip(distribution.distribution, actions.unbind(dim=-1), strict=True)
        return torch.stack([part.log_prob(action) for part, action in parts], dim=-1).sum(dim=-1)
    _check_supported(distribution)
    each: Tensor = distribution.distribution.log_prob(actions)  # type: ignore[union-attr]
    return each if isinstance(distribution, CategoricalDistribution) else each.sum(dim=-1)


def gaussian_of(distribution: Distribution, action: Tensor) -> Tensor:
    """The draws of the Gaussian behind actions, any shape: the actions themselves unless they are squashed."""
    if not isinstance(distribution, SquashedDiagGaussianDistribution):
        return action
    # atanh of -1 and 1 is infinite, and tanh rounds to them; SB3 clamps in the same way.
    eps = torch.finfo(action.dtype).eps
    return torch.atanh(action.clamp(-1.0 + eps, 1.0 - eps))


def with_parameters(distribution: Distribution, change: Callable[[Tensor], Tensor]) -> Distribution:
    """The distribution whose parameters are ``change`` of these: of other states, or of the same ones repeated.

    Args:
        distribution: of E states.
        change: applied to each parameter, ``[E, ...] -> [M, ...]``.
    """
    # A copy: SB3 keeps one distribution object in the policy and sets its parameters anew at every call.
    changed, inner = copy.copy(distribution), distribution.distribution
    parts = inner if isinstance(inner, list) else [inner]
    new = [_with_parameters(part, change) for part in parts]
    changed.distribution = new if isinstance(inner, list) else new[0]  # type: ignore[assignment]
    return changed


def _with_parameters(inner: object, change: Callable[[Tensor], Tensor]) -> Normal | Categorical | Bernoulli:
    # Not validated again: the numbers come from a distribution that was.
    if isinstance(inner, Normal):
        return Normal(change(inner.loc), change(inner.scale), validate_args=False)
    if isinstance(inner, Categorical):
        return Categorical(logits=change(inner.logits), validate_args=False)
    if isinstance(inner, Bernoulli):
        return Bernoulli(logits=change(inner.logits), validate_args=False)
    raise UsageError(f"the parameters of {type(inner).__name__} are not known; use another policy")


def _check_supported(distribution: Distribution) -> None:
    if not isinstance(distribution, DiagGaussianDistribution | CategoricalDistribution | BernoulliDistribution):
        raise UsageError(f"{type(distribution).__name__} cannot be sampled in groups; use another policy")


def acts_by_own_methods(policy: ActorCriticPolicy) -> bool:
    """Whether the policy overrides what it samples or evaluates actions by, in its class or as an attribute."""
    return any(_is_own(policy, name) for name in _OF_ACTIONS)


def values_by_own_method(policy: ActorCriticPolicy) -> bool:
    """Whether the policy overrides ``predict_values``, which then values every state."""
    return _is_own(policy, "predict_values")


def _is_own(policy: ActorCriticPolicy, name: str) -> bool:
    inner: Any = getattr(policy, "_orig_mod", policy)  # of a compiled one
    return getattr(getattr(inner, name), "__func__", None) is not _SB3[name]


class PolicyCalls:
    """What ``forward`` of a policy returns for E states, in the place of SB3's action distribution.

    Args:
        policy: that :func:`acts_by_own_methods`.
        observation: of E states, ``[E, ...]``.

    Attributes:
        value: V of the states ``[E]``, known once actions were drawn.
    """

    value: Tensor

    def __init__(self, policy: ActorCriticPolicy, observation: Observation) -> None:
        self._policy, self._observation = policy, observation
        self._drawn: tuple[Tensor, Tensor] | None = None

    def sample(self, n: int, matrix: Tensor | None = None) -> Tensor:
        """``n`` actions a state, ``[n, E, ...]``, a Box's elements as one row.

        Args:
            n: actions a state.
            matrix: see :func:`sample_group`.
        """
        # One call with a row a sample; forward() also returns the values, which are computed anyway.
        with _using_matrices(self._policy, matrix):
            action, value, log_prob = self._policy(observations.repeat(self._observation, n))
        if isinstance(self._policy.action_space, spaces.Box):
            action = action.flatten(1) if action.dim() > 1 else action.unsqueeze(1)
        grouped: Tensor = action.unflatten(0, (n, -1))
        # The n copies of a state have the same value, so the first is enough.
        self.value = value.flatten().view(n, -1)[0]
        self._drawn = grouped, log_prob.view(n, -1)
        return grouped

    def log_prob(self, action: Tensor, candidate: Tensor | None = None) -> Tensor:
        """Of actions ``[N, E, ...]``, ``[N, E]``; as ``forward`` returned it for actions that were drawn here.

        Args:
            action: drawn here, or others.
            candidate: which of the actions drawn here they are, ``[N, E]`` int64.
        """
        # What forward() returned with the actions, as SB3's PPO takes it: evaluate_actions() may differ by rounding.
        if self._drawn is not None and candidate is not None:
            return self._drawn[1].gather(0, candidate)
        if self._drawn is not None and action is self._drawn[0]:
            return self._drawn[1]
        repeated = observations.repeat(self._observation, len(action))
        log_prob: Tensor = self._policy.evaluate_actions(repeated, action.flatten(0, 1))[1]
        return log_prob.view(action.shape[:2])


@contextmanager
def _using_matrices(policy: ActorCriticPolicy, matrix: Tensor | None) -> Iterator[None]:
    """With gSDE, draw from the exploration matrices that are chosen."""
    distribution = policy.action_dist
    if matrix is None or not isinstance(distribution, StateDependentNoiseDistribution):
        yield
        return
    all_of_them = distribution.exploration_matrices
    distribution.exploration_matrices = all_of_them[matrix]
    try:
        yield
    finally:
        distribution.exploration_matrices = all_of_them
