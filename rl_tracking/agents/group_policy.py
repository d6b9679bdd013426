"""The algorithm shared by everything that learns from groups of branches: collect -> estimate -> update.

SB3's ``learn()`` calls two methods in turn:

* ``collect_rollouts``: in every state sample N actions, try each in a branch, execute branch 0; then value all states
  that branches reached.
* ``train``: estimate an advantage for every sampled action and a target for every value (``estimate``); update policy
  and critic by PPO's loss over all samples, in epochs of minibatches (``_update``).

A subclass defines :meth:`~GroupPolicyAlgorithm.estimate`; an extension is an object in one of the seams
(:mod:`rl_tracking.agents.extensions.seams`), which this file calls without knowing which one it is.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.utils import obs_as_tensor
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from rl_tracking.agents.collect import failing_numbers, observations
from rl_tracking.agents.collect.batches import Batch, Evaluation, evaluate_samples
from rl_tracking.agents.group_model import GroupModel
from rl_tracking.agents.maths import losses
from rl_tracking.errors import RunError, UsageError
from rl_tracking.restoring.step_rows import copied

if TYPE_CHECKING:
    from rl_tracking.agents.collect.branch_rollout import Decision, Lookahead
    from rl_tracking.agents.collect.rollout import Estimate

_REWARDS_CHANGED = (
    "a callback has changed the rewards of a step; PPO would learn from what it wrote, but a group learns from the "
    "rewards of all its branches, which no callback sees: change them in a wrapper around the environment"
)


class GroupPolicyAlgorithm(GroupModel):
    """PPO's loop over groups: every state has N sampled actions, each tried from that very state.

    Subclasses define :meth:`estimate`. They may also replace the samples of the update (``_samples``), its loss
    (``_loss``) and what is in the seams (``_extend``).
    """

    # -- one iteration of SB3's learn(): collect, then train, which is estimate and update ----------------------------

    def collect_rollouts(
        self, env: VecEnv, callback: BaseCallback, rollout_buffer: RolloutBuffer, n_rollout_steps: int
    ) -> bool:
        """Fill ``self.rollout`` with ``n_rollout_steps`` macro-steps; callbacks are called as by PPO."""
        self.policy.set_training_mode(False)
        lookahead = self._lookahead_on(env)
        self._figures.begin(self.num_timesteps, self.num_simulator_steps)
        # Before anything is drawn, so that a callback that saves the training here saves a point to continue from.
        callback.on_rollout_start()
        self.between_rollouts = False
        lookahead.noise.restart()
        n_steps, decisions = 0, []
        while n_steps < n_rollout_steps:
            # Try N actions from a copy of every world's state, so that they differ by nothing but the action.
            decision, path = self._try_actions(lookahead, env.num_envs)
            decisions.append(decision)
            self.num_simulator_steps += lookahead.simulator_steps
            for step, action in enumerate(path):
                # Execute branch 0: it is an unbiased draw, so states are visited as often as under the policy.
                with failing_numbers.located(self.num_timesteps):
                    new_obs, rewards, dones, infos = lookahead.execute(action)
                self._last_obs, self._last_episode_starts = new_obs, dones
                self.num_timesteps += env.num_envs
                # Callbacks read the local variables of SB3's loop, so the step is offered by their names.
                executed = lookahead.executed(decision, step)
                arrays = not isinstance(new_obs, Tensor)
                callback.update_locals(locals() | executed.as_locals(self.action_space, action, arrays=arrays))
                if not _call_on_step(callback, rewards):
                    return False
                self._update_info_buffer(infos, dones)
                n_steps += 1
        # Value all states that branches reached together: one pass of the critic over the rollout.
        with torch.no_grad(), failing_numbers.located(self.num_timesteps):
            self.rollout = lookahead.rollout(self.policy, decisions)
        self._figures.end(self.num_timesteps, self.num_simulator_steps)
        callback.update_locals(locals())
        callback.on_rollout_end()
        return True

    def train(self) -> None:
        """Estimate advantages of the latest rollout and update the policy and the critic by them."""
        started = time.perf_counter()
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        # Rewards are checked before their activation: tanh makes 1 of an infinite one.
        failing_numbers.check_finite("reward", self.rollout.reward, self.num_timesteps)
        # The window includes this rollout, so that the first one is normalised too (eq. 17).
        self.reward_normalizer.observe(self.rollout.reward)
        # Estimate once, before the epochs: advantages are of the policy that sampled, as in PPO.
        estimate = self.estimate(self.rollout)
        failing_numbers.check_finite("advantage", estimate.advantage, self.num_timesteps)
        batch = self._samples(self.rollout, estimate)
        # The critic's own epochs come after the estimate, whose values must not have seen this rollout.
        figures = self.critic_training(self.policy, batch, self.batch_size, self._step)
        # Update in epochs of minibatches; the ratio to the sampling policy corrects for what has changed since.
        figures |= self._update(batch)
        # The sampler and the critic's weight learn last: for this rollout they must not depend on its actions.
        figures |= self._teach_sampler(self.rollout, estimate)
        self.critic_weight.observe(self.rollout, estimate)
        figures |= self.critic_weight.figures | self.surrogate.figures
        # A broken update is found here, before a callback of the next rollout saves the model.
        failing_numbers.check_weights(self)
        self.between_rollouts = True
        self._log(figures, self._figures.of_update(self.rollout, estimate, time.perf_counter() - started))

    @abstractmethod
    def estimate(self, rollout: Any) -> Estimate:
        """Advantages and value targets of a rollout; a pure function of it and of the hyper-parameters."""

    def _update(self, batch: Batch) -> dict[str, float]:
        """Make the epochs, ended early at ``target_kl``; returns the mean of each figure over the minibatches."""
        found: list[dict[str, Tensor]] = []
        for _ in range(self.n_epochs):
            self._n_updates += 1
            # A state comes with all its samples, so the networks run once a state and not once a sample.
            for minibatch in batch.minibatches(self.batch_size):
                loss, figures = self._loss(minibatch)
                found.append(figures)
                # Before the step, as in SB3: the policy is already too far from the one that sampled.
                if self.target_kl is not None and figures["approx_kl"] > 1.5 * self.target_kl:
                    return _means(found)
                self._step(loss)
        return _means(found)

    def _loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of one minibatch and the figures that are logged."""
        samples = evaluate_samples(self.policy, batch, critic=self.has_critic)
        loss, figures = self._policy_loss(samples, batch)
        if samples.value is None:
            return loss, figures | {"loss": loss.detach()}
        clip_range_vf = None
        if self.clip_range_vf is not None:
            clip_range_vf = self.clip_range_vf(self._current_progress_remaining)  # type: ignore[operator]
        value_loss = losses.value_loss(samples.value, batch.value_target, batch.value, clip_range_vf)
        loss = loss + self.vf_coef * value_loss
        return loss, figures | {"value_loss": value_loss.detach(), "loss": loss.detach()}

    def _policy_loss(self, samples: Evaluation, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The surrogate, by default the clipped one (eq. 3), and the entropy of one minibatch."""
        clip_range = self.clip_range(self._current_progress_remaining)  # type: ignore[operator]
        log_ratio = samples.log_prob - batch.log_prob
        policy_loss = self.surrogate.loss(samples, batch, log_ratio, clip_range, normalize=self.normalize_advantage)
        # A squashed Gaussian has no closed form; SB3 then estimates it from the samples.
        entropy = (-batch.weight * samples.log_prob if samples.entropy is None else samples.entropy).mean()
        with torch.no_grad():
            figures = {
                "approx_kl": losses.kl_estimate(log_ratio, batch.weight),
                "clip_fraction": losses.clip_fraction(log_ratio, clip_range),
            }
        figures |= {"policy_gradient_loss": policy_loss.detach(), "entropy_loss": -entropy.detach()}
        loss = policy_loss - self.temperature.coefficient * entropy
        return loss, figures | self.temperature.adapt(entropy.detach())

    def _step(self, loss: Tensor, parameters: Sequence[torch.nn.Parameter] | None = None) -> None:
        """One step of the optimiser, for all parameters unless some are given."""
        self.policy.optimizer.zero_grad()
        loss.backward(inputs=parameters)
        norm = torch.nn.utils.clip_grad_norm_(self.policy.parameters(), self.max_grad_norm)
        # A step along NaN would lose the weights, so the run stops with those of the latest good update.
        if not bool(torch.isfinite(norm)):
            raise RunError(
                f"the gradient is not finite at macro-step {self.num_timesteps}; this update was not made; "
                f"{failing_numbers.advice(self)}"
            )
        self.policy.optimizer.step()

    # -- parts of the loop --------------------------------------------------------------------------------------------

    def _samples(self, rollout: Any, estimate: Estimate) -> Batch:
        """The samples of the update."""
        batch: Batch = self.surrogate.samples(rollout, estimate)
        return batch

    def collect_from(self, states: Any, observation: Any) -> None:
        """Fill ``self.rollout`` with a rollout that begins at given states; nothing is learned from it.

        Counts of steps start at 0, as in a new ``learn()``.

        Args:
            states: of all worlds, as the environment's ``set_state`` takes them.
            observation: of these states, as the environment returns it.
        """
        _, callback = self._setup_learn(1, None)
        assert self.env is not None
        self.env.unwrapped.set_state(states)  # type: ignore[attr-defined]
        self._last_obs = observation
        self._last_episode_starts = np.ones(self.n_envs, dtype=bool)
        self.collect_rollouts(self.env, callback, self.rollout_buffer, self.n_steps)

    def policy_gradient(self, estimate: Estimate | None = None) -> Tensor:
        """Gradient of the policy's loss over the whole latest rollout, at the policy that sampled it: ``[P]``.

        Args:
            estimate: of that rollout; the algorithm's own if not given.
        """
        batch = self._samples(self.rollout, self.estimate(self.rollout) if estimate is None else estimate)
        loss, _ = self._policy_loss(evaluate_samples(self.policy, batch, critic=False), batch)
        gradients = torch.autograd.grad(loss, list(self.policy.parameters()), allow_unused=True)
        return torch.cat([gradient.flatten() for gradient in gradients if gradient is not None])

    @torch.no_grad()
    def _try_actions(self, lookahead: Lookahead, worlds: int) -> tuple[Decision, Tensor]:
        """Try branches; the error of a step says in which branch it was, and when. Rows are branch-major."""
        last: Any = self._last_obs
        # A copy: an env may write its next step into the arrays that it returned.
        observation = last if isinstance(last, Tensor) else obs_as_tensor(copied(last), self.device)
        now = self.num_timesteps
        with (
            failing_numbers.explained(self.policy, observation, macro_step=now),
            failing_numbers.located(now, worlds),
        ):
            return lookahead.try_actions(self.policy, observation, self._executable)

    def _teach_sampler(self, rollout: Any, estimate: Estimate) -> dict[str, float]:
        """Let the sampler learn from the values of the actions tried from each root, one row a root."""
        if estimate.action_value is None:
            return {}
        # Roots alone: later steps of a branch were not chosen by the sampler.
        observation, action = rollout.roots
        return self.sampler.learn(
            self.policy,
            observations.flatten(observation, 2),
            action.transpose(0, 1).flatten(1, 2),
            estimate.action_value.transpose(0, 1).flatten(1, 2),
        )

    def _log(self, of_update: dict[str, float], of_rollout: dict[str, float]) -> None:
        records: dict[str, Any] = {f"train/{name}": figure for name, figure in of_update.items()} | of_rollout
        records |= {
            "train/clip_range": self.clip_range(self._current_progress_remaining),  # type: ignore[operator]
            "time/macro_steps": self.num_timesteps,
            "time/simulator_steps": self.num_simulator_steps,
        }
        if hasattr(self.policy, "log_std"):
            records["train/std"] = float(self.policy.log_std.detach().exp().mean())
        for name, value in records.items():
            self.logger.record(name, value)
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")


def _call_on_step(callback: BaseCallback, rewards: Any) -> bool:
    """Whether a callback lets the training continue; ``rewards`` must stay as they are."""
    before = rewards.tobytes() if isinstance(rewards, np.ndarray) else None
    if not callback.on_step():
        return False
    if before is not None and before != rewards.tobytes():
        raise UsageError(_REWARDS_CHANGED)
    return True


def _means(found: Sequence[dict[str, Tensor]]) -> dict[str, float]:
    """The mean of each figure, added up on the device, which is asked once a figure."""
    return {name: float(sum(figures[name] for figures in found)) / len(found) for name in (found[0] if found else ())}
