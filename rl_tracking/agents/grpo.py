"""GRPO: groups of branches against each other, no critic (Shao et al., "DeepSeekMath", arXiv 2402.03300).

In the shared loop of :mod:`rl_tracking.agents.group_policy` it differs by its estimate and its loss:

* a branch's return, or its reward to go at each step, is compared with the mean of its group and divided by the group's
  standard deviation;
* the loss has no value term, but the divergence from a reference policy.
"""

from __future__ import annotations

import copy
from typing import Any, Unpack

import torch
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.type_aliases import GymEnv
from torch import Tensor

from rl_tracking.agents.arguments import GRPOArguments
from rl_tracking.agents.collect.batches import Batch, PathBatch, evaluate_samples
from rl_tracking.agents.collect.rollout import Estimate, PathRollout
from rl_tracking.agents.constructor import complete, takes
from rl_tracking.agents.extensions.rollout_reuse import RolloutReuse
from rl_tracking.agents.group_policy import GroupPolicyAlgorithm
from rl_tracking.agents.maths import estimators, losses
from rl_tracking.restoring.protocol import as_restorable


@takes(GRPOArguments)
class GRPO(GroupPolicyAlgorithm):
    """Runs G branches from every root under the policy and reinforces those that did better than their group.

    Takes SB3 PPO's arguments but those of a critic (``vf_coef``, ``clip_range_vf``, ``gae_lambda``); ``batch_size``
    counts samples (steps of branches).

    Args:
        policy: as in PPO; its value head is never used.
        env: a restorable ``VecEnv``, an ``rl_tracking`` env or its id.
        *positional: PPO's arguments in PPO's order, without those of a critic.
        **arguments: see below.

    Raises:
        UsageError: an argument has no such value, or the env cannot be forked.
    """

    has_critic = False

    def __init__(
        self,
        policy: str | type[ActorCriticPolicy],
        env: GymEnv | str,
        *positional: Any,
        **arguments: Unpack[GRPOArguments],
    ) -> None:
        env = as_restorable(env) if isinstance(env, str) or callable(env) else env  # SB3 would ask an id for pictures
        given, of_ppo = complete(GRPO, env, positional, arguments)
        self.n_samples, self.horizon, self.branch_noise = given["n_samples"], given["horizon"], given["branch_noise"]
        self.supervision, self.baseline = given["supervision"], given["baseline"]
        self.scale_by_std, self.reuse = given["scale_by_std"], given["reuse"]
        self.kl_coef, self.kl_estimator = given["kl_coef"], given["kl_estimator"]
        self.reference_interval = given["reference_interval"]
        self.reward_activation, self.reward_scale = given["reward_activation"], given["reward_scale"]
        super().__init__(policy, env, **of_ppo)

    def _setup_model(self) -> None:
        # SB3 calls this on a loaded model too, whose count continues.
        self._rollouts_seen: int = getattr(self, "_rollouts_seen", 0)
        self._earlier = RolloutReuse(PathBatch, self.reuse)  # by this name in checkpoints
        super()._setup_model()
        if self.use_sde:
            # The matrices of SB3's constructor are part of a graph, and what is cannot be copied.
            with torch.no_grad():
                self.policy.reset_noise()
        self._reference: ActorCriticPolicy | None = None
        if self.kl_coef > 0:
            self._reference = copy.deepcopy(self.policy)
            self._reference.set_training_mode(False)

    @torch.no_grad()
    def estimate(self, rollout: PathRollout) -> Estimate:
        """Every branch against its group; only steps of the root's own episode count."""
        # Rewards to the end of the branch, or of the root's episode in it: no critic says what would follow.
        reward = self._activate(rollout.reward)
        to_go = estimators.reward_to_go(reward, rollout.valid, self.gamma)
        # Outcome supervision: each step of a branch is credited with all of its return (DeepSeekMath, sec. 4.1.2).
        if self.supervision == "outcome":
            to_go = to_go[:, :1].expand_as(to_go)
            # Every branch of the group has an outcome, also at steps after its end.
            advantage = self._relative(to_go, torch.ones_like(rollout.valid)) * rollout.valid
        else:
            advantage = self._relative(to_go, rollout.valid)
        # No value targets, and steps after the root's episode are not trained on.
        return Estimate(advantage, torch.zeros_like(advantage), reward, rollout.valid)

    def _relative(self, to_go: Tensor, valid: Tensor) -> Tensor:
        return estimators.group_relative(to_go, valid, baseline=self.baseline, scale=self.scale_by_std)

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
        """The clipped surrogate and the divergence from the reference; no value is computed."""
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
        return [*super()._excluded_save_params(), "_reference", "_earlier"]

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        """The reference policy and the rollouts to train on again are saved beside the present policy."""
        state_dicts, tensors = super()._get_torch_save_params()
        reference = ["_reference"] if self._reference is not None else []
        return [*state_dicts, *reference, *(["_earlier"] if self.reuse else [])], tensors
