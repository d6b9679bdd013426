"""The shared algorithm of everything that learns from groups of branches: collect -> estimate -> update.

An SB3 ``PPO`` whose rollout holds N actions a state. A subclass says what an estimate is; the loop does not change.
"""

from __future__ import annotations

import dataclasses
import time
import warnings
from abc import abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback
from stable_baselines3.common.utils import obs_as_tensor, safe_mean
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from rl_tracking.agents.collect import failing_numbers as failures
from rl_tracking.agents.collect import observations
from rl_tracking.agents.collect import rollout_size as sizes
from rl_tracking.agents.collect.actions import ExecutableActions, check_action_space
from rl_tracking.agents.collect.batches import Batch
from rl_tracking.agents.collect.branch_rollout import Explorer, OneStep, Record
from rl_tracking.agents.collect.branching import Brancher
from rl_tracking.agents.collect.distributions import ExplorationNoise
from rl_tracking.agents.collect.evaluations import Evaluation, evaluate_samples
from rl_tracking.agents.collect.observations import Observation
from rl_tracking.agents.collect.policy_calls import check_policy
from rl_tracking.agents.collect.proposals import FromPolicy, Sampler
from rl_tracking.agents.collect.rollout import Estimate
from rl_tracking.agents.collect.rollout_buffer import NoRolloutBuffer, check_rollout_buffer
from rl_tracking.agents.extensions.critic_weight import CriticTrust, FullTrust
from rl_tracking.agents.extensions.reward_window import RewardNormalizer, Unchanged
from rl_tracking.agents.extensions.temperature import FixedTemperature, Temperature
from rl_tracking.agents.maths import losses
from rl_tracking.agents.maths.estimators import explained_variance
from rl_tracking.agents.saving.saved_model import SavedModel
from rl_tracking.errors import RunError, StepError, UsageError
from rl_tracking.restoring.protocol import as_restorable
from rl_tracking.restoring.step_rows import copied

_REWARDS_CHANGED = (
    "a callback has changed the rewards of a step; PPO would learn from what it wrote, but a group learns from the "
    "rewards of all its branches, which no callback sees: change them in a wrapper around the environment"
)

_SEAMS = ("temperature", "reward_normalizer", "sampler", "trust")  # where extensions go


@dataclasses.dataclass(frozen=True)
class _Collected:
    """What the latest rollout cost."""

    macro_steps: int
    simulator_steps: int
    seconds: float


class GroupPolicyAlgorithm(SavedModel, PPO):
    """PPO's loop over groups: every state has N sampled actions, each tried from that very state.

    Subclasses define :meth:`estimate`. Their constructors set ``n_samples`` and ``branch_noise`` before SB3's. An
    extension is an object in one of the seams below, put there by :meth:`_extend`.
    """

    n_samples: int
    branch_noise: str
    temperature: Temperature  # weighs the entropy
    reward_normalizer: RewardNormalizer  # between raw rewards and their activation
    sampler: Sampler  # chooses the N actions
    trust: CriticTrust  # between the critic and the estimator

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        with warnings.catch_warnings():
            # SB3 compares the minibatch with executed steps; here it may count those of all branches.
            warnings.filterwarnings("ignore", message="You have specified a mini-batch size")
            super().__init__(*args, **kwargs)

    def _setup_model(self) -> None:
        check_action_space(self.action_space)
        check_rollout_buffer(self)
        self.rollout_buffer_class = NoRolloutBuffer  # type: ignore[assignment]
        rollout = {name: getattr(self, name) for name in ("n_steps", "n_samples", "horizon") if hasattr(self, name)}
        sizes.check_memory(rollout, self.n_envs, sizes.numbers_of(self.observation_space, self.action_space))
        super()._setup_model()
        self.rollout_buffer_class = None  # what is saved, and what PPO makes its own of when it loads this
        check_policy(self.policy)
        # SB3 calls this on a loaded model too, whose count goes on.
        self.num_simulator_steps: int = getattr(self, "num_simulator_steps", 0)
        self._activated_returns: deque[float] = deque(maxlen=self._stats_window_size)
        self._activated_so_far: Tensor | None = None
        self._explorer: Explorer | None = None
        self._noise: ExplorationNoise | None = None
        self._to_executable: ExecutableActions | None = None
        self._rollout_figures = _Collected(0, 0, 0.0)
        self.rollout: Any = None
        self.temperature = FixedTemperature(lambda: float(self.ent_coef))
        self.reward_normalizer, self.sampler, self.trust = Unchanged(), FromPolicy(), FullTrust()
        self._extend()
        self._speed_up(self.policy.optimizer)

    def _speed_up(self, optimizer: torch.optim.Optimizer) -> None:
        """One kernel a step for all parameters instead of one for each, unless the user chose how."""
        chosen = self.policy_kwargs.get("optimizer_kwargs") or {}
        for group in optimizer.param_groups:
            if group.get("foreach", False) is None and not {"foreach", "fused", "differentiable"} & set(chosen):
                group["foreach"] = True

    def _extend(self) -> None:
        """Put extensions into the seams; an algorithm without any leaves them as they are."""

    @staticmethod
    def _wrap_env(env: GymEnv, verbose: int = 0, monitor_wrapper: bool = True) -> VecEnv:
        """Keep a restorable env, make any Gymnasium env restorable; images get their channels first, as for PPO."""
        observations.check_space(getattr(env, "observation_space", None))
        vec_env: VecEnv = PPO._wrap_env(as_restorable(env), verbose)
        Brancher(vec_env, 1, "common")  # refuses what cannot be forked before anything is built on it
        return vec_env

    def set_env(self, env: GymEnv, force_reset: bool = True) -> None:
        """As in SB3; branches run on the new env from the next rollout on."""
        super().set_env(env, force_reset)
        self._explorer = None
        self._activated_so_far = None

    def _setup_learn(
        self, total_timesteps: int, callback: MaybeCallback = None, reset_num_timesteps: bool = True, *args: Any
    ) -> tuple[int, BaseCallback]:
        """As in SB3; with the count of macro-steps, that of simulator steps and the returns start afresh."""
        if reset_num_timesteps:
            self.num_simulator_steps = 0
            self._activated_so_far = None
            self._activated_returns.clear()
        return super()._setup_learn(total_timesteps, callback, reset_num_timesteps, *args)

    @abstractmethod
    def estimate(self, rollout: Any) -> Estimate:
        """Advantages and value targets of a rollout; a pure function of it and of the hyper-parameters."""

    # -- collect ----------------------------------------------------------------------------------------------------

    def collect_rollouts(
        self, env: VecEnv, callback: BaseCallback, rollout_buffer: RolloutBuffer, n_rollout_steps: int
    ) -> bool:
        """Fill ``self.rollout`` with ``n_rollout_steps`` macro-steps; callbacks fire as for PPO."""
        started = time.perf_counter()
        if self._explorer is None:
            self._explorer = self._explorer_on(env)
            if self.use_sde:
                draws = self.sampler.candidates(self.n_samples) * env.num_envs
                self._noise = ExplorationNoise(self.policy, draws, self.sde_sample_freq)
                self._explorer.before_step = self._noise.step
        self.policy.set_training_mode(False)
        # Nothing of the rollout is drawn yet: who saves the training here can go on from here.
        callback.on_rollout_start()
        self.between_rollouts = False
        if self._noise is not None:
            self._noise.restart()
        n_steps, records = 0, []
        simulated = self.num_simulator_steps
        while n_steps < n_rollout_steps:
            with torch.no_grad():
                last: Any = self._last_obs
                # A copy: an env may write its next step into the arrays that it returned.
                observation = last if isinstance(last, Tensor) else obs_as_tensor(copied(last), self.device)
                record, path = self._explore(observation, env.num_envs)
            records.append(record)
            self.num_simulator_steps += self._explorer.simulator_steps
            for step, action in enumerate(path):
                new_obs, rewards, dones, infos = self._naming_step(self._explorer.execute, action)
                self._last_obs, self._last_episode_starts = new_obs, dones
                self.num_timesteps += env.num_envs
                seen = self._explorer.executed(record, step)
                shown = seen.shown(self.action_space, action, arrays=not isinstance(new_obs, Tensor))
                given = rewards.tobytes() if isinstance(rewards, np.ndarray) else None
                callback.update_locals(locals() | shown)
                if not callback.on_step():
                    return False
                if given is not None and given != rewards.tobytes():
                    raise UsageError(_REWARDS_CHANGED)
                self._update_info_buffer(infos, dones)
                n_steps += 1
        with torch.no_grad():
            self.rollout = self._naming_step(self._explorer.finish, self.policy, records)
        self._rollout_figures = _Collected(
            n_steps * env.num_envs, self.num_simulator_steps - simulated, time.perf_counter() - started
        )
        callback.update_locals(locals())
        callback.on_rollout_end()
        return True

    def _explore(self, observation: Observation, worlds: int) -> tuple[Record, Tensor]:
        """Try branches; of a step that fails say in which branch it was, and when. Rows are branch-major."""
        assert self._explorer is not None
        try:
            return self._explorer.explore(self.policy, observation, self._executable)
        except StepError as error:
            if error.row is not None:
                branch, world = divmod(error.row, worlds)
                error.locate(branch=branch, world=world)
            error.locate(macro_step=self.num_timesteps)
            raise
        except ValueError as error:
            rate = self.policy.optimizer.param_groups[0]["lr"]
            cause = failures.behind(error, self.policy, observation, macro_step=self.num_timesteps, rate=rate)
            if cause is error:
                raise
            raise cause from error

    def _naming_step(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call ``function``; of a step that fails in it say when it was."""
        try:
            return function(*arguments)
        except StepError as error:
            error.locate(macro_step=self.num_timesteps)
            raise

    def _explorer_on(self, env: VecEnv) -> Explorer:
        """How this algorithm looks around from a state."""
        return OneStep(Brancher(env, self.n_samples, self.branch_noise), self.n_samples, self.sampler)

    def _executable(self, action: Tensor) -> Tensor:
        """Sampled actions as the environment takes them; see :class:`ExecutableActions`."""
        if self._to_executable is None:
            squashed = self.policy.squash_output
            self._to_executable = ExecutableActions(self.action_space, squashed=squashed, device=action.device)
        return self._to_executable(action)

    # -- update -----------------------------------------------------------------------------------------------------

    def train(self) -> None:
        """Update the policy from the last rollout: PPO's epochs and minibatches."""
        assert self.rollout is not None
        started = time.perf_counter()
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        # Before the activation: tanh makes 1 of an infinite reward.
        self._check_finite("reward", self.rollout.reward)
        self.reward_normalizer.observe(self.rollout.reward)
        estimate = self.estimate(self.rollout)
        self._check_finite("advantage", estimate.advantage)
        batch = self._samples(self.rollout, estimate)
        figures = self._epochs(batch)
        figures |= self._learn_sampling(self.rollout, estimate)
        self.trust.observe(*self.rollout.root_values(estimate))
        figures |= self.trust.figures
        failures.check_weights(self)
        self.between_rollouts = True
        self._record(self.rollout, estimate, figures, time.perf_counter() - started)

    def _samples(self, rollout: Any, estimate: Estimate) -> Batch:
        """What the update learns from."""
        batch: Batch = rollout.batch(estimate)
        return batch

    def _learn_sampling(self, rollout: Any, estimate: Estimate) -> dict[str, float]:
        """Tell the sampler what the actions tried from each root were worth, one row a root."""
        if estimate.action_value is None:
            return {}
        observation, action = rollout.roots
        return self.sampler.learn(
            self.policy,
            observations.flatten(observation, 2),
            action.transpose(0, 1).flatten(1, 2),
            estimate.action_value.transpose(0, 1).flatten(1, 2),
        )

    def _epochs(self, batch: Batch) -> dict[str, float]:
        """Run the epochs, stopping early at ``target_kl``; returns the mean of each figure."""
        sums: dict[str, Tensor] = {}
        updates = 0
        for _ in range(self.n_epochs):
            self._n_updates += 1
            for minibatch in batch.minibatches(self.batch_size):
                loss, figures = self._loss(minibatch)
                updates += 1
                for name, figure in figures.items():
                    sums[name] = sums.get(name, torch.zeros_like(figure)) + figure
                if self.target_kl is not None and figures["approx_kl"] > 1.5 * self.target_kl:
                    return {name: float(total) / updates for name, total in sums.items()}
                self._step(loss)
        return {name: float(total) / updates for name, total in sums.items()}

    def _loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of one minibatch and the figures that are logged."""
        samples = evaluate_samples(self.policy, batch, critic=True)
        loss, figures = self._policy_loss(samples, batch)
        assert samples.value is not None
        clip_range_vf = None
        if self.clip_range_vf is not None:
            clip_range_vf = self.clip_range_vf(self._current_progress_remaining)  # type: ignore[operator]
        value_loss = losses.value_loss(samples.value, batch.value_target, batch.value, clip_range_vf)
        loss = loss + self.vf_coef * value_loss
        return loss, figures | {"value_loss": value_loss.detach(), "loss": loss.detach()}

    def _policy_loss(self, samples: Evaluation, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The clipped surrogate and the entropy of one minibatch."""
        clip_range = self.clip_range(self._current_progress_remaining)  # type: ignore[operator]
        log_ratio = samples.log_prob - batch.log_prob
        advantage = losses.normalize(batch.advantage, batch.weight) if self.normalize_advantage else batch.advantage
        policy_loss = losses.clipped_surrogate(log_ratio, advantage, clip_range, batch.weight)
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

    def policy_gradient(self) -> Tensor:
        """Gradient of the policy's loss over the whole latest rollout, at the policy that sampled it: ``[P]``."""
        batch = self._samples(self.rollout, self.estimate(self.rollout))
        loss, _ = self._policy_loss(evaluate_samples(self.policy, batch, critic=False), batch)
        gradients = torch.autograd.grad(loss, list(self.policy.parameters()), allow_unused=True)
        return torch.cat([gradient.flatten() for gradient in gradients if gradient is not None])

    def _step(self, loss: Tensor) -> None:
        self.policy.optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.policy.parameters(), self.max_grad_norm)
        if not bool(torch.isfinite(norm)):
            raise RunError(
                f"the gradient is not finite at macro-step {self.num_timesteps}; this update was not made; "
                f"{failures.advice(self)}"
            )
        self.policy.optimizer.step()

    def _check_finite(self, name: str, tensor: Tensor) -> None:
        """Stop before a NaN in ``[..., N, E]`` reaches the networks, and say where it came from."""
        finite = torch.isfinite(tensor).flatten(0, -3)
        if not bool(finite.all()):
            step, branch, world = (int(index) for index in (~finite).nonzero()[0])
            raise RunError(
                f"the {name} of branch {branch} in world {world} is not finite, in step {step + 1} of the rollout "
                f"that ends at macro-step {self.num_timesteps}; the policy was not changed"
            )

    # -- log --------------------------------------------------------------------------------------------------------

    def _record(self, rollout: Any, estimate: Estimate, figures: dict[str, float], seconds: float) -> None:
        collected = self._rollout_figures
        total = collected.seconds + seconds
        group = estimate.advantage.std(dim=-2).mean() if self.n_samples > 1 else torch.zeros(())
        reward = rollout.executed(estimate.reward)
        self._count_activated(reward, rollout.executed_cut)
        records: dict[str, Any] = {f"train/{name}": figure for name, figure in figures.items()}
        records |= {
            "train/explained_variance": explained_variance(estimate.value_target, rollout.value),
            "train/group_spread": float(group),
            "train/clip_range": self.clip_range(self._current_progress_remaining),  # type: ignore[operator]
            "rollout/raw_reward_mean": float(rollout.executed(rollout.reward).mean()),
            "rollout/activated_reward_mean": float(reward.mean()),
            "time/macro_steps": self.num_timesteps,
            "time/simulator_steps": self.num_simulator_steps,
            "time/macro_steps_per_second": collected.macro_steps / total,
            "time/simulator_steps_per_second": collected.simulator_steps / total,
        }
        if self._activated_returns:
            records["rollout/activated_return_mean"] = safe_mean(list(self._activated_returns))
        if hasattr(self.policy, "log_std"):
            records["train/std"] = float(self.policy.log_std.detach().exp().mean())
        for name, value in records.items():
            self.logger.record(name, value)
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")

    def _count_activated(self, reward: Tensor, cut: Tensor) -> None:
        """Sum the activated reward ``[T, E]`` over episodes; the raw return is what the env itself reports."""
        so_far = self._activated_so_far
        if so_far is None:
            so_far = torch.zeros_like(reward[0])
        for step_reward, step_cut in zip(reward, cut, strict=True):
            so_far = so_far + step_reward
            self._activated_returns.extend(so_far[step_cut].tolist())
            so_far = so_far * ~step_cut
        self._activated_so_far = so_far

    def _excluded_save_params(self) -> list[str]:
        """What a zip does not hold: it is rebuilt, or belongs to the env at hand."""
        mine = ("rollout", "_explorer", "_noise", "_to_executable", "_activated_so_far", "_activated_returns", *_SEAMS)
        return [*super()._excluded_save_params(), *mine]

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        """What extensions have learned is saved beside the policy."""
        state_dicts, tensors = super()._get_torch_save_params()
        for seam in _SEAMS:
            extension = getattr(self, seam)
            if isinstance(extension, torch.nn.Module):
                state_dicts.append(seam)
                state_dicts += [f"{seam}.optimizer"] if hasattr(extension, "optimizer") else []
        return state_dicts, tensors
