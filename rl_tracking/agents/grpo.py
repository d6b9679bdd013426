"""GRPO: groups of branches against each other, no critic (Shao et al., "DeepSeekMath", arXiv 2402.03300)."""

from __future__ import annotations

import copy
from typing import Any

import torch
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.type_aliases import GymEnv, Schedule
from torch import Tensor

from rl_tracking.agents.collect.batches import Batch, PathBatch, evaluate_samples
from rl_tracking.agents.collect.branching import BRANCH_NOISE
from rl_tracking.agents.collect.rollout import Estimate, PathRollout
from rl_tracking.agents.extensions.rollout_reuse import RolloutReuse
from rl_tracking.agents.group_policy import GroupPolicyAlgorithm
from rl_tracking.agents.maths import activations, estimators, losses
from rl_tracking.agents.maths.activations import Activation
from rl_tracking.errors import UsageError, unknown
from rl_tracking.restoring.protocol import as_restorable

SUPERVISIONS = ("outcome", "reward-to-go")
KL_ESTIMATORS = ("k1", "k2", "k3")


class GRPO(GroupPolicyAlgorithm):
    """Runs G branches from every root under the policy and pushes up those that did better than their group.

    Takes SB3 PPO's arguments but those of a critic (``vf_coef``, ``clip_range_vf``, ``gae_lambda``); ``batch_size``
    counts samples (steps of branches).

    Args:
        policy: as in PPO; its value head is never used.
        env: a restorable ``VecEnv``, an ``rl_tracking`` env or its id.
        learning_rate: as in PPO.
        n_steps: executed steps a world and rollout.
        batch_size: samples a minibatch.
        n_epochs: as in PPO.
        gamma: discount of the rewards within a branch.
        n_samples: G, branches from each root; branch 0 is executed.
        horizon: steps of a branch; 1 is the paper's "DeepSeek GRPO" (eqs. 5-9), 0 runs whole episodes.
        supervision: ``outcome`` (a branch's whole return for each of its steps) or ``reward-to-go``.
        baseline: ``group-mean`` or ``leave-one-out``.
        scale_by_std: divide by the group's standard deviation.
        kl_coef: weight of the KL divergence from the reference policy; 0 leaves it out.
        kl_estimator: ``k1``, ``k2`` or ``k3``.
        reference_interval: rollouts after which the reference becomes the present policy; 0 keeps the first one.
        reuse: how many earlier rollouts are trained on again, by their importance ratios; saved with the model.
        reward_activation: as in :class:`~rl_tracking.agents.hybrid_grpo.HybridGRPO`.
        reward_scale: likewise.
        branch_noise: likewise.

    Raises:
        UsageError: an argument has no such value, or the env cannot be forked.
    """

    has_critic = False
    arguments_of_a_critic = ("vf_coef", "clip_range_vf", "gae_lambda")  # which it inherits and does not take

    def __init__(
        self,
        policy: str | type[ActorCriticPolicy],
        env: GymEnv | str,
        learning_rate: float | Schedule = 3e-4,
        n_steps: int = 256,
        batch_size: int = 512,
        n_epochs: int = 4,
        gamma: float = 0.99,
        *,
        n_samples: int = 8,
        horizon: int = 16,
        supervision: str = "reward-to-go",
        baseline: str = "group-mean",
        scale_by_std: bool = True,
        kl_coef: float = 0.0,
        kl_estimator: str = "k3",
        reference_interval: int = 10,
        reuse: int = 0,
        reward_activation: str | Activation = "identity",
        reward_scale: float = 1.0,
        branch_noise: str = "common",
        **kwargs: Any,
    ) -> None:
        for name in self.arguments_of_a_critic:
            if name in kwargs:
                raise UsageError(f"GRPO has no critic and takes no {name}")
        if isinstance(kwargs.get("ent_coef"), str):
            raise UsageError("GRPO has no adaptive temperature (HybridGRPO has): ent_coef must be a number")
        for name, value, least in (
            ("n_samples", n_samples, 2),
            ("horizon", horizon, 0),
            ("reference_interval", reference_interval, 0),
            ("reuse", reuse, 0),
        ):
            if not isinstance(value, int) or value < least:
                raise UsageError(f"{name} of GRPO must be a whole number of {least} or more, not {value!r}")
        if not isinstance(kl_coef, int | float) or not kl_coef >= 0:
            raise UsageError(f"kl_coef of GRPO must be a number of 0 or more, not {kl_coef!r}")
        for name, choice, allowed in (
            ("supervision", supervision, SUPERVISIONS),
            ("baseline", baseline, ("group-mean", "leave-one-out")),
            ("kl_estimator", kl_estimator, KL_ESTIMATORS),
            ("branch_noise", branch_noise, BRANCH_NOISE),
        ):
            if choice not in allowed:
                raise unknown(f"{name} of GRPO:", str(choice), allowed)
        self.n_samples, self.horizon, self.branch_noise = n_samples, horizon, branch_noise
        self.supervision, self.baseline, self.scale_by_std = supervision, baseline, scale_by_std
        self.kl_coef, self.kl_estimator = kl_coef, kl_estimator
        self.reference_interval, self.reuse = reference_interval, reuse
        self.reward_activation, self.reward_scale = reward_activation, reward_scale
        if isinstance(env, str):
            env = as_restorable(env)  # SB3 would ask it for pictures
        # Advantages are normalised within their groups; over the batch they would be so a second time.
        kwargs.setdefault("normalize_advantage", False)
        super().__init__(policy, env, learning_rate, n_steps, batch_size, n_epochs, gamma, **kwargs)

    def _setup_model(self) -> None:
        self._activate = activations.resolve(self.reward_activation, self.reward_scale)
        # SB3 calls this on a loaded model too, whose count goes on.
        self._rollouts_seen: int = getattr(self, "_rollouts_seen", 0)
        self._earlier = RolloutReuse(PathBatch, self.reuse)  # by this name in checkpoints
        super()._setup_model()
        if self.use_sde:
            with torch.no_grad():
                self.policy.reset_noise()  # those of the constructor hang on its graph, which cannot be copied
        self._reference: ActorCriticPolicy | None = None
        if self.kl_coef > 0:
            self._reference = copy.deepcopy(self.policy)
            self._reference.set_training_mode(False)

    @torch.no_grad()
    def estimate(self, rollout: PathRollout) -> Estimate:
        """Every branch against its group; only steps of the root's own episode count."""
        # Rewards to the end of the branch, or of the root's episode in it: no critic says what would follow.
        reward = self._activate(rollout.reward)
        to_go = estimators.reward_to_go(reward, rollout.alive, self.gamma)
        if self.supervision == "outcome":
            to_go = to_go[:, :1].expand_as(to_go)
            # Every branch of the group has an outcome, also at steps after its end.
            advantage = self._relative(to_go, torch.ones_like(rollout.alive)) * rollout.alive
        else:
            advantage = self._relative(to_go, rollout.alive)
        return Estimate(advantage, torch.zeros_like(advantage), reward, rollout.alive)

    def _relative(self, to_go: Tensor, alive: Tensor) -> Tensor:
        return estimators.group_relative(to_go, alive, baseline=self.baseline, scale=self.scale_by_std)

    def train(self) -> None:
        """As the shared loop; the reference policy is refreshed first when it is due."""
        # Before the update, so that the divergence is measured from a policy of an earlier rollout or of this one.
        due = self.reference_interval > 0 and self._rollouts_seen % self.reference_interval == 0
        if self._reference is not None and due:
            self._reference.load_state_dict(self.policy.state_dict())
            self._reference.set_training_mode(False)
        self._rollouts_seen += 1
        super().train()

    def _samples(self, rollout: Any, estimate: Estimate) -> PathBatch:
        # Earlier rollouts are trained on again with the probabilities of the policies that sampled them.
        return PathBatch.cat(self._earlier.with_latest(rollout.batch(estimate)))

    def _loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The clipped surrogate and the divergence from the reference; no value is asked for."""
        samples = evaluate_samples(self.policy, batch, critic=False)
        loss, figures = self._policy_loss(samples, batch)
        # KL(pi || reference) in the loss, not in the reward (DeepSeekMath, sec. 4.1.1).
        if self._reference is not None:
            with torch.no_grad():
                reference = evaluate_samples(self._reference, batch, critic=False).log_prob
            kl = losses.reference_kl(reference - samples.log_prob, self.kl_estimator)
            loss = loss + self.kl_coef * kl
            figures["reference_kl"] = kl.detach()
        return loss, figures | {"loss": loss.detach()}

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_activate", "_reference", "_earlier"]

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        """The reference policy and the rollouts to train on again are saved beside the present policy."""
        state_dicts, tensors = super()._get_torch_save_params()
        reference = ["_reference"] if self._reference is not None else []
        return [*state_dicts, *reference, *(["_earlier"] if self.reuse else [])], tensors
