"""Policies that say by methods of their own what they do: asked by those methods, as SB3's PPO asks them.

The networks of an SB3 policy run once a state, whatever is then sampled there. A policy that overrides ``forward``,
``evaluate_actions``, ``predict_values`` or ``get_distribution`` need not be what its networks say, so here it is called
with a row a sample: ``forward`` where actions are drawn, ``evaluate_actions`` in the update, ``predict_values`` for
values of states.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gymnasium import spaces
from stable_baselines3.common.distributions import StateDependentNoiseDistribution
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import Tensor

from rl_tracking.agents.collect import observations
from rl_tracking.agents.collect.observations import Observation
from rl_tracking.errors import UsageError

_OF_ACTIONS = ("forward", "evaluate_actions", "get_distribution")
_SB3 = {name: getattr(ActorCriticPolicy, name) for name in (*_OF_ACTIONS, "predict_values")}


def acts_by_own_methods(policy: ActorCriticPolicy) -> bool:
    """Whether the policy overrides what it samples or evaluates actions by, in its class or as an attribute."""
    return any(_is_own(policy, name) for name in _OF_ACTIONS)


def values_by_own_method(policy: ActorCriticPolicy) -> bool:
    """Whether the policy overrides ``predict_values``, which then says the value of every state."""
    return _is_own(policy, "predict_values")


def _is_own(policy: ActorCriticPolicy, name: str) -> bool:
    inner: Any = getattr(policy, "_orig_mod", policy)  # of a compiled one
    return getattr(getattr(inner, name), "__func__", None) is not _SB3[name]


def check_policy(policy: Any) -> None:
    """Refuse a policy that acts on more than one observation, or is no actor with a critic.

    Raises:
        UsageError: it does, or is none.
    """
    inner = getattr(policy, "_orig_mod", policy)
    if not isinstance(inner, ActorCriticPolicy) or hasattr(inner, "lstm_actor"):
        raise UsageError(
            f"the policy class {type(inner).__name__} cannot be used with branches; use MlpPolicy, CnnPolicy, "
            "MultiInputPolicy or a subclass of SB3's ActorCriticPolicy without a recurrent state"
        )


class PolicyCalls:
    """What ``forward`` of a policy says of E states; stands where SB3's action distribution would.

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
            matrix: see :func:`rl_tracking.agents.collect.distributions.sample_group`.
        """
        with _exploring_with(self._policy, matrix):
            action, value, log_prob = self._policy(observations.repeat(self._observation, n))
        if isinstance(self._policy.action_space, spaces.Box):
            action = action.flatten(1) if action.dim() > 1 else action.unsqueeze(1)
        grouped: Tensor = action.unflatten(0, (n, -1))
        self.value = value.flatten().view(n, -1)[0]
        self._drawn = grouped, log_prob.view(n, -1)
        return grouped

    def log_prob(self, action: Tensor, candidate: Tensor | None = None) -> Tensor:
        """Of actions ``[N, E, ...]``, ``[N, E]``: what ``forward`` said of those it has drawn.

        Args:
            action: drawn here, or others.
            candidate: which of the actions drawn here they are, ``[N, E]`` int64.
        """
        if self._drawn is not None and candidate is not None:
            return self._drawn[1].gather(0, candidate)
        if self._drawn is not None and action is self._drawn[0]:
            return self._drawn[1]
        repeated = observations.repeat(self._observation, len(action))
        log_prob: Tensor = self._policy.evaluate_actions(repeated, action.flatten(0, 1))[1]
        return log_prob.view(action.shape[:2])


@contextmanager
def _exploring_with(policy: ActorCriticPolicy, matrix: Tensor | None) -> Iterator[None]:
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
