"""SHAC: short-horizon actor-critic, through the world (Xu et al., ICLR 2022, arXiv 2204.07137).

In the shared loop of :mod:`rl_tracking.agents.group_policy` it has one branch a world, whose return is differentiated,
and an update of its own:

* the actor makes one step along the gradient of ``sum_k gamma^k f(R_k) + gamma^h V'(s_h)`` through the world (eq. 5);
* the critic learns TD(lambda) targets in several passes (eq. 7);
* V' is the target critic, which follows the critic slowly (Polyak averaging).
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Unpack

import torch
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.type_aliases import GymEnv
from stable_baselines3.common.utils import polyak_update
from torch import Tensor

from rl_tracking.agents.arguments import SHACArguments
from rl_tracking.agents.collect.batches import Batch, evaluate_samples
from rl_tracking.agents.collect.rollout import Estimate, PathRollout
from rl_tracking.agents.constructor import complete, takes
from rl_tracking.agents.extensions.critic_training import CriticEpochs
from rl_tracking.agents.extensions.pathwise import PathwiseLookahead, PathwiseRollout, PathwiseSurrogate
from rl_tracking.agents.group_policy import GroupPolicyAlgorithm
from rl_tracking.agents.maths import estimators
from rl_tracking.restoring.protocol import as_restorable

if TYPE_CHECKING:
    from rl_tracking.agents.collect.branch_rollout import Decision, Lookahead
    from rl_tracking.agents.collect.branching import Brancher
    from rl_tracking.agents.collect.distributions import ExplorationNoise

_WHAT = "shac"


class _TargetLookahead(PathwiseLookahead):
    """Branches whose states reached are valued by a target critic."""

    target: ActorCriticPolicy

    def rollout(self, policy: ActorCriticPolicy, decisions: list[Decision]) -> PathwiseRollout:
        """See :class:`~rl_tracking.agents.collect.branch_rollout.Lookahead`."""
        return super().rollout(self.target, decisions)


@takes(SHACArguments)
class SHAC(GroupPolicyAlgorithm):
    """Differentiates short rollouts through the world, closed with a target critic.

    The environment must be one that can be differentiated, such as :func:`rl_tracking.make_vec` makes, and its reward
    must have a gradient. ``n_steps`` is the horizon. Steps after an episode's end teach the critic but not the actor,
    whose return ends there; observations are not normalised.

    Args:
        policy: as in PPO.
        env: a differentiable ``VecEnv``, or the id of one.
        *positional: PPO's arguments in PPO's order, as far as they are listed below.
        **arguments: see below.

    Raises:
        UsageError: an argument has no such value, or the env or its reward has no gradient.
    """

    n_samples = 1
    branch_noise = "common"

    def __init__(
        self,
        policy: str | type[ActorCriticPolicy],
        env: GymEnv | str,
        *positional: Any,
        **arguments: Unpack[SHACArguments],
    ) -> None:
        env = as_restorable(env) if isinstance(env, str) or callable(env) else env
        given, of_ppo = complete(SHAC, env, positional, arguments)
        self.tau, self.n_critic_updates = given["tau"], given["n_critic_updates"]
        self.reward_activation, self.reward_scale = given["reward_activation"], given["reward_scale"]
        super().__init__(policy, env, **of_ppo, n_epochs=1, ent_coef=0.0, normalize_advantage=False)

    def _setup_model(self) -> None:
        self.horizon = self.n_steps
        super()._setup_model()
        self._target = copy.deepcopy(self.policy)
        self._target.set_training_mode(False)

    def _extend(self) -> None:
        self._has_gradient(_WHAT, of_reward=True)
        # The critic alone, in several passes: its optimiser's moments are of its own parameters.
        self.critic_training = CriticEpochs(self.n_critic_updates)
        self.surrogate = PathwiseSurrogate(self._activate, lambda: self.gamma, lambda: 1.0, discounted=True)

    def set_env(self, env: GymEnv, force_reset: bool = True) -> None:
        """As in SB3; an environment or a reward without a gradient is refused."""
        super().set_env(env, force_reset)
        self._has_gradient(_WHAT, of_reward=True)

    def _make_lookahead(self, brancher: Brancher, noise: ExplorationNoise) -> Lookahead:
        lookahead = _TargetLookahead(brancher, 1, self.sampler, noise, horizon=self.horizon, critic=True)
        lookahead.target = self._target
        return lookahead

    @torch.no_grad()
    def estimate(self, rollout: PathRollout) -> Estimate:
        """TD(lambda) targets of the target critic; the advantage is only logged, since the actor needs none."""
        reward = self._activate(rollout.reward)

        def worlds(branches: Tensor) -> Tensor:
            return branches[0, :, 0]  # one root and one branch, [h, E]

        after, terminated, ended = (
            worlds(part) for part in (rollout.next_value, rollout.terminated, rollout.episode_end)
        )
        target = estimators.td_lambda(worlds(reward), after, terminated, ended, self.gamma, self.gae_lambda)
        target = target[None, :, None]
        return Estimate(target - rollout.value, target, reward)

    def _update(self, batch: Batch) -> dict[str, float]:
        """One step of the actor, and of the target critic; the critic's own epochs were before it."""
        self._n_updates += 1
        # One step a rollout: the gradient through the world is that of the policy that sampled.
        loss, figures = self._policy_loss(evaluate_samples(self.policy, batch, critic=False), batch)
        self._step(loss)
        # The target follows slowly, so that the horizon does not close with a value that was fitted to itself.
        polyak_update(self.policy.parameters(), self._target.parameters(), self.tau)
        return {name: float(figure) for name, figure in figures.items()}

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_target"]

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        """The target critic is saved beside the policy."""
        state_dicts, tensors = super()._get_torch_save_params()
        return [*state_dicts, "_target"], tensors
