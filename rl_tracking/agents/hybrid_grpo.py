"""Hybrid GRPO: group sampling with a value function (Sane, arXiv 2502.01652).

In the shared loop of :mod:`rl_tracking.agents.group_policy` it differs by its estimate:

* every branch has a residual of its own: activated reward, plus discounted value of the state that it reached, minus
  the value of the state that it left (eqs. 10-12); where branches run on, the sum to the end of the branch (eq. 16);
* an action's advantage is its own residual, or the mean of all (eq. 13), minus a baseline within the group;
* a state's value target is its value plus the mean residual of its group.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Unpack

import torch
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.type_aliases import GymEnv
from torch import Tensor

from rl_tracking.agents.arguments import HybridGRPOArguments
from rl_tracking.agents.collect.rollout import Estimate, GroupRollout, PathRollout
from rl_tracking.agents.constructor import complete, takes
from rl_tracking.agents.extensions import pathwise
from rl_tracking.agents.extensions.critic_calibration import CalibratedCriticWeight
from rl_tracking.agents.extensions.critic_training import CriticEpochs
from rl_tracking.agents.extensions.critic_weight import ExplainedCriticWeight
from rl_tracking.agents.extensions.guided_sampling import GuidedSampler
from rl_tracking.agents.extensions.reward_window import RewardWindow
from rl_tracking.agents.extensions.seams import ScoreSurrogate, Surrogate
from rl_tracking.agents.extensions.temperature import AdaptiveTemperature, initial_of, target_of
from rl_tracking.agents.group_policy import GroupPolicyAlgorithm
from rl_tracking.agents.maths import baselines, estimators
from rl_tracking.errors import UsageError
from rl_tracking.restoring.protocol import as_restorable

if TYPE_CHECKING:
    from rl_tracking.agents.collect.branch_rollout import Lookahead
    from rl_tracking.agents.collect.branching import Brancher
    from rl_tracking.agents.collect.distributions import ExplorationNoise


@takes(HybridGRPOArguments)
class HybridGRPO(GroupPolicyAlgorithm):
    """Tries N actions from every state and learns from all of them; a critic gives each branch its own V(s').

    Takes SB3 PPO's arguments, with the same meaning; ``n_steps`` counts macro-steps a world, ``batch_size`` counts
    states (each brings N samples), and samples where branches run on. The env must be restorable, such as
    :func:`rl_tracking.make_vec` makes.

    Args:
        policy: as in PPO.
        env: a restorable ``VecEnv``, an ``rl_tracking`` env or its id.
        *positional: PPO's arguments in PPO's order.
        **arguments: see below.

    Raises:
        UsageError: an argument has no such value, or the env cannot be forked.
    """

    def __init__(
        self,
        policy: str | type[ActorCriticPolicy],
        env: GymEnv | str,
        *positional: Any,
        **arguments: Unpack[HybridGRPOArguments],
    ) -> None:
        env = as_restorable(env) if isinstance(env, str) or callable(env) else env  # SB3 would ask an id for pictures
        given, of_ppo = complete(HybridGRPO, env, positional, arguments)
        self.n_samples, self.horizon, self.branch_noise = given["n_samples"], given["horizon"], given["branch_noise"]
        self.advantage, self.baseline, self.critic_trust = given["advantage"], given["baseline"], given["critic_trust"]
        self.reward_activation, self.reward_scale = given["reward_activation"], given["reward_scale"]
        self.critic_epochs, self.has_critic = given["critic_epochs"], self.critic_trust != "none"
        self.target_entropy = given["target_entropy"]
        self.temperature_learning_rate = given["temperature_learning_rate"]
        self.reward_window = given["reward_window"]
        self.n_candidates, self.guidance_beta = given["n_candidates"], given["guidance_beta"]
        self.gradient = given["gradient"]
        self._check_together(given["ent_coef"])
        super().__init__(policy, env, **of_ppo)

    def _check_together(self, ent_coef: float | str) -> None:
        """Refuse arguments that do not go together, before anything is built."""
        initial_of(ent_coef)
        # A mean over a group of one is the sample itself: every advantage would be 0.
        if self.baseline != "none" and self.n_samples < 2:
            raise UsageError(f"baseline '{self.baseline}' needs n_samples of 2 or more, not {self.n_samples}")
        if self.gradient == "mixed" and self.n_samples < 2:
            raise UsageError(
                f"gradient 'mixed' compares variances within a group, so it needs n_samples of 2 or more, not "
                f"{self.n_samples}; use gradient 'pathwise' or 'score'"
            )
        if self.gradient == "pathwise" and self.n_candidates:
            raise UsageError("gradient 'pathwise' has no use for guided sampling; set n_candidates to 0")
        if 0 < self.n_candidates < self.n_samples:
            raise UsageError(
                f"n_candidates must be 0 (no guided sampling) or {self.n_samples} (n_samples) or more, "
                f"not {self.n_candidates!r}"
            )
        if self.n_candidates and self.n_samples < 2:
            raise UsageError("guided sampling needs n_samples of 2 or more: branch 0 is the policy's own draw")

    def _extend(self) -> None:
        """Temperature (eq. 15), window (eq. 17), guided sampling (eq. 18) and critic weight, where asked for."""
        # An "auto" in place of the coefficient asks for a temperature, as in SB3's SAC.
        initial = initial_of(self.ent_coef)
        if initial is not None:
            target = target_of(self.target_entropy, self.action_space, squashed=self.policy.squash_output)
            self.temperature = AdaptiveTemperature(initial, target, self.temperature_learning_rate).to(self.device)
        if self.critic_trust == "explained":
            # SB3 calls this on a loaded model too, which has learned its share.
            self.critic_weight = ExplainedCriticWeight(getattr(self, "trusted_share", 0.0))
        if self.critic_trust == "calibrated":
            self.critic_weight = CalibratedCriticWeight(self.gamma, getattr(self, "critic_evidence", None))
        if self.critic_epochs and self.has_critic:
            self.critic_training = CriticEpochs(self.critic_epochs)
        if self.reward_window:
            self.reward_normalizer = RewardWindow(self.reward_window).to(self.device)
        # Modules go to the policy's device, and their tensors into the checkpoint.
        if self.n_candidates:
            self.sampler = GuidedSampler(self.policy, self.action_space, self.n_candidates, self.guidance_beta).to(
                self.device
            )

        self.surrogate = self._surrogate()

    def _surrogate(self) -> Surrogate:
        """The loss with the gradient that is asked for, where policy, environment and reward have it."""
        mixed = self.gradient == "mixed"
        # Of a reward without any gradient the score is all that there is to mix.
        if self.gradient == "score" or not self._has_gradient(f"gradient '{self.gradient}'", of_reward=not mixed):
            return ScoreSurrogate()
        return (pathwise.MixedSurrogate if mixed else pathwise.PathwiseSurrogate)(
            lambda reward: self._activate(self.reward_normalizer(reward)),
            lambda: self.gamma,
            lambda: self.critic_weight.share,
        )

    def set_env(self, env: GymEnv, force_reset: bool = True) -> None:
        """As in SB3; an environment without the gradient that is asked for is refused."""
        super().set_env(env, force_reset)
        self.surrogate = self._surrogate()

    def _make_lookahead(self, brancher: Brancher, noise: ExplorationNoise) -> Lookahead:
        if isinstance(self.surrogate, ScoreSurrogate):
            return super()._make_lookahead(brancher, noise)
        parts = brancher, self.n_samples, self.sampler, noise
        return pathwise.PathwiseLookahead(*parts, horizon=self.horizon, critic=self.has_critic)

    def train(self) -> None:
        """As the shared loop; what the critic's weight has learned is kept as numbers, which SB3 saves."""
        super().train()
        self.trusted_share = self.critic_weight.share
        if isinstance(self.critic_weight, CalibratedCriticWeight):
            self.critic_evidence = self.critic_weight.evidence

    @torch.no_grad()
    def estimate(self, rollout: GroupRollout | PathRollout) -> Estimate:
        """The lambda form of eq. 13 (lambda = 0 is the paper's), or eq. 16 where branches run on."""
        # f(R) of every branch; the raw reward is only logged.
        reward = self._activate(self.reward_normalizer(rollout.reward))
        # The seam of the critic: its values as they are, or shrunk towards their mean.
        weighed, of_targets = self.critic_weight(rollout)
        estimate = self._estimate(weighed, reward)
        if of_targets is weighed:
            return estimate
        # A critic whose targets were shrunk with it would stay as small as it began.
        return dataclasses.replace(estimate, value_target=self._estimate(of_targets, reward).value_target)

    def _estimate(self, rollout: GroupRollout | PathRollout, reward: Tensor) -> Estimate:
        if isinstance(rollout, PathRollout):
            return self._estimate_paths(rollout, reward)
        # Each branch bootstraps from its own V(s'), the state that it reached (eqs. 10-12).
        delta = estimators.residuals(reward, rollout.value, rollout.next_value, rollout.terminated, self.gamma)
        weight = rollout.weight
        # With lambda above 0 later states of the executed episode add their group means.
        tail = estimators.tail(delta, rollout.episode_end, self.gamma, self.gae_lambda, weight)
        advantage = estimators.hybrid_advantage(delta, tail, advantage=self.advantage, baseline=self.baseline, w=weight)
        # The critic learns from the mean of its N targets, which is less noisy than the executed one.
        target = estimators.value_target(rollout.value, delta, tail, weight)
        return Estimate(advantage, target, reward, action_value=rollout.value.unsqueeze(1) + delta)

    def _estimate_paths(self, rollout: PathRollout, reward: Tensor) -> Estimate:
        # Discounted rewards to the end of a branch and V there, at every step of it (eq. 16).
        to_end = estimators.path_advantage(
            reward, rollout.value, rollout.next_value, rollout.terminated, rollout.episode_end, self.gamma
        )
        mean = estimators.group_mean(to_end[:, 0], rollout.weight[:, 0]).unsqueeze(1)
        target = rollout.value + to_end
        action_value = target[:, 0]
        # A root has one target, its group's mean: one branch's return is noisier, and biased where sampling is guided.
        target = torch.cat([(rollout.value[:, 0] + mean).unsqueeze(1), target[:, 1:]], dim=1)
        if self.advantage == "literal":
            # Eq. 16 has one advantage a root, so only the root's samples are trained on.
            keep = torch.zeros_like(rollout.valid)
            keep[:, 0] = True
            return Estimate(mean.unsqueeze(1).expand_as(to_end), target, reward, keep, action_value)
        # Baselines at every step: branches near each other share the critic's error, which their mean removes.
        start = baselines.episode_start(rollout.episode_end)
        advantage = baselines.centre_steps(to_end, start, self.baseline, rollout.weight)
        return Estimate(advantage, target, reward, action_value=action_value)
