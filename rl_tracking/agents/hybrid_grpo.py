"""Hybrid GRPO: group sampling with a value function (Sane, arXiv 2502.01652)."""

from __future__ import annotations

import math
from typing import Any

import torch
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.type_aliases import GymEnv, Schedule
from torch import Tensor

from rl_tracking.agents.collect.branching import BRANCH_NOISE
from rl_tracking.agents.collect.rollout import Estimate, GroupRollout, PathRollout
from rl_tracking.agents.extensions.critic_weight import CRITIC_TRUST, ExplainedCriticWeight
from rl_tracking.agents.extensions.guided_sampling import GuidedSampler
from rl_tracking.agents.extensions.reward_window import RewardWindow
from rl_tracking.agents.extensions.temperature import AdaptiveTemperature, initial_of, target_of
from rl_tracking.agents.group_policy import GroupPolicyAlgorithm
from rl_tracking.agents.maths import activations, estimators
from rl_tracking.agents.maths.activations import Activation
from rl_tracking.errors import UsageError, unknown
from rl_tracking.restoring.protocol import as_restorable


class HybridGRPO(GroupPolicyAlgorithm):
    """Tries N actions from every state and learns from all of them; a critic gives each branch its own V(s').

    Takes SB3 PPO's arguments, with the same meaning; ``n_steps`` counts macro-steps a world, ``batch_size`` counts
    states (each brings N samples), and samples where branches run on. The env must be restorable, such as
    :func:`rl_tracking.make_vec` makes.

    Args:
        policy: as in PPO.
        env: a restorable ``VecEnv``, an ``rl_tracking`` env or its id.
        n_samples: N, actions tried from each state; branch 0 is executed.
        advantage: ``per-sample`` (each sample its own residual) or ``literal`` (eq. 13: their mean, shared by all).
        baseline: taken off per-sample advantages within a group, at every step of its branches: ``none``,
            ``group-mean`` or ``leave-one-out``.
        critic_trust: ``full`` (V as it is) or ``explained``: V counts as far as it has explained returns so far; see
            :class:`rl_tracking.agents.extensions.critic_weight.ExplainedCriticWeight`.
        reward_activation: f in f(R): a name (``rltrack list activations``), ``file.py:function``,
            ``package.module:function`` or a function of the rewards ``[T, N, E]``.
        reward_scale: multiplies rewards before f, so that f meets numbers of its own size.
        branch_noise: ``common`` (all branches meet the same randomness) or ``independent``.
        horizon: steps that each branch runs on under the policy (eq. 16). Above 1, every step of every branch is a
            sample with the return to the end of its branch as its advantage, the world goes on along branch 0, and
            ``gae_lambda`` has no part.
        ent_coef: as in PPO, or ``"auto"`` (``"auto_0.1"``: from 0.1 on): adapted to ``target_entropy`` (eq. 15).
        target_entropy: the policy's entropy to settle at [nat], or ``"auto"``; see
            :func:`rl_tracking.agents.extensions.temperature.target_of`.
        temperature_learning_rate: of the logarithm of an adapted ``ent_coef``.
        reward_window: normalise rewards, before ``reward_scale`` and f, by the moments of the latest so many steps of
            all worlds and branches (eq. 17); 0 leaves them as they are.
        n_candidates: M, actions drawn from the policy of which N are tried, those of a higher learned Q more often
            (eq. 18); 0 tries N draws from the policy.
        guidance_beta: how far guided sampling follows Q; see
            :class:`rl_tracking.agents.extensions.guided_sampling.GuidedSampler`.

    Raises:
        UsageError: an argument has no such value, or the env cannot be forked.
    """

    def __init__(
        self,
        policy: str | type[ActorCriticPolicy],
        env: GymEnv | str,
        learning_rate: float | Schedule = 3e-4,
        n_steps: int = 2048,
        batch_size: int = 64,
        n_epochs: int = 10,
        gamma: float = 0.99,
        gae_lambda: float = 0.0,
        *args: Any,
        n_samples: int = 8,
        advantage: str = "per-sample",
        baseline: str = "none",
        critic_trust: str = "full",
        reward_activation: str | Activation = "tanh",
        reward_scale: float = 1.0,
        branch_noise: str = "common",
        horizon: int = 1,
        target_entropy: float | str = "auto",
        temperature_learning_rate: float = 1e-2,
        reward_window: int = 0,
        n_candidates: int = 0,
        guidance_beta: float = 1.0,
        **kwargs: Any,
    ) -> None:
        if not isinstance(n_samples, int) or n_samples < 1:
            raise UsageError(f"n_samples must be a whole number of 1 or more, not {n_samples!r}")
        if not isinstance(horizon, int) or horizon < 1:
            raise UsageError(f"horizon must be a whole number of 1 or more, not {horizon!r}")
        if baseline != "none" and n_samples < 2:
            raise UsageError(f"baseline '{baseline}' needs n_samples of 2 or more, not {n_samples}")
        for name, value, allowed in (
            ("advantage", advantage, estimators.ADVANTAGES),
            ("baseline", baseline, estimators.BASELINES),
            ("critic_trust", critic_trust, CRITIC_TRUST),
            ("branch_noise", branch_noise, BRANCH_NOISE),
        ):
            if value not in allowed:
                raise unknown(f"{name} of HybridGRPO:", str(value), allowed)
        self.n_samples = n_samples
        self.advantage = advantage
        self.baseline = baseline
        self.critic_trust = critic_trust
        self.reward_activation = reward_activation
        self.reward_scale = reward_scale
        self.branch_noise = branch_noise
        self.horizon = horizon
        self.target_entropy, self.temperature_learning_rate = target_entropy, temperature_learning_rate
        self.reward_window = reward_window
        self.n_candidates, self.guidance_beta = n_candidates, guidance_beta
        _check_extensions(self, kwargs.get("ent_coef", 0.0))
        if isinstance(env, str):
            env = as_restorable(env)  # SB3 would ask it for pictures
        super().__init__(policy, env, learning_rate, n_steps, batch_size, n_epochs, gamma, gae_lambda, *args, **kwargs)

    def _setup_model(self) -> None:
        self._activate = activations.resolve(self.reward_activation, self.reward_scale)
        super()._setup_model()

    def _extend(self) -> None:
        """Temperature (eq. 15), window (eq. 17), guided sampling (eq. 18) and critic weight, where asked for."""
        initial = initial_of(self.ent_coef)
        if initial is not None:
            target = target_of(self.target_entropy, self.action_space, squashed=self.policy.squash_output)
            self.temperature = AdaptiveTemperature(initial, target, self.temperature_learning_rate).to(self.device)
        if self.critic_trust == "explained":
            # SB3 calls this on a loaded model too, which has learned its share.
            self.critic_weight = ExplainedCriticWeight(getattr(self, "trusted_share", 0.0))
        if self.reward_window:
            self.reward_normalizer = RewardWindow(self.reward_window).to(self.device)
        if self.n_candidates:
            self.sampler = GuidedSampler(self.policy, self.action_space, self.n_candidates, self.guidance_beta).to(
                self.device
            )

    def train(self) -> None:
        """As the shared loop; the critic's share is kept as a number, which SB3 saves."""
        super().train()
        self.trusted_share = self.critic_weight.share

    @torch.no_grad()
    def estimate(self, rollout: GroupRollout | PathRollout) -> Estimate:
        """The lambda form of eq. 13 (lambda = 0 is the paper's), or eq. 16 where branches run on."""
        # f(R) of every branch; the raw reward is only logged.
        reward = self._activate(self.reward_normalizer(rollout.reward))
        # The seam of the critic: its values as they are, or shrunk towards their mean.
        rollout = self.critic_weight(rollout)
        if isinstance(rollout, PathRollout):
            return self._estimate_paths(rollout, reward)
        # Each branch bootstraps from its own V(s'), the state that it reached (eqs. 10-12).
        delta = estimators.residuals(reward, rollout.value, rollout.next_value, rollout.terminated, self.gamma)
        weight = rollout.weight
        # With lambda above 0 later states of the executed episode add their group means.
        tail = estimators.tail(delta, rollout.cut, self.gamma, self.gae_lambda, weight)
        advantage = estimators.hybrid_advantage(delta, tail, advantage=self.advantage, baseline=self.baseline, w=weight)
        # The critic learns from the mean of its N targets, which is less noisy than the executed one.
        target = estimators.value_target(rollout.value, delta, tail, weight)
        return Estimate(advantage, target, reward, action_value=rollout.value.unsqueeze(1) + delta)

    def _estimate_paths(self, rollout: PathRollout, reward: Tensor) -> Estimate:
        # Discounted rewards to the end of a branch and V there, at every step of it (eq. 16).
        to_end = estimators.path_advantage(
            reward, rollout.value, rollout.next_value, rollout.terminated, rollout.cut, self.gamma
        )
        mean = estimators.group_mean(to_end[:, 0], rollout.weight[:, 0]).unsqueeze(1)
        target = rollout.value + to_end
        action_value = target[:, 0]
        # A root has one target, its group's mean: one branch's return is noisier, and biased where sampling is guided.
        target = torch.cat([(rollout.value[:, 0] + mean).unsqueeze(1), target[:, 1:]], dim=1)
        if self.advantage == "literal":
            # Eq. 16 has one advantage a root, so only the root's samples are trained on.
            keep = torch.zeros_like(rollout.alive)
            keep[:, 0] = True
            return Estimate(mean.unsqueeze(1).expand_as(to_end), target, reward, keep, action_value)
        # Baselines at every step: branches near each other share the critic's error, which their mean removes.
        advantage = estimators.centre_steps(to_end, rollout.alive, self.baseline, rollout.weight)
        return Estimate(advantage, target, reward, action_value=action_value)

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_activate"]


def _check_extensions(model: HybridGRPO, ent_coef: float | str) -> None:
    """Refuse an extension's argument that makes no sense, before anything is built."""
    initial_of(ent_coef)
    window, candidates = model.reward_window, model.n_candidates
    if not isinstance(window, int) or window < 0:
        raise UsageError(f"reward_window must be a whole number of 0 or more, not {window!r}")
    if not isinstance(candidates, int) or candidates < 0 or 0 < candidates < model.n_samples:
        raise UsageError(
            f"n_candidates must be 0 (no guided sampling) or {model.n_samples} (n_samples) or more, not {candidates!r}"
        )
    if candidates and model.n_samples < 2:
        raise UsageError("guided sampling needs n_samples of 2 or more: branch 0 is the policy's own draw")
    for name in ("guidance_beta", "temperature_learning_rate"):
        value = getattr(model, name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
            raise UsageError(f"{name} must be a number above 0, not {value!r}")
