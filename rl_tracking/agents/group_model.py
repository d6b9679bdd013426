"""What a PPO needs to learn from groups of branches, beside the loop: its environment, its seams, what it saves."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from rl_tracking.agents.collect import checks
from rl_tracking.agents.collect.branch_rollout import Lookahead, OneStepLookahead, PathLookahead
from rl_tracking.agents.collect.branching import Brancher, ExecutableActions
from rl_tracking.agents.collect.distributions import ExplorationNoise
from rl_tracking.agents.collect.figures import RolloutFigures
from rl_tracking.agents.collect.reparameterised import require_gaussian
from rl_tracking.agents.collect.rollout import NoRolloutBuffer, check_rollout_buffer
from rl_tracking.agents.extensions import seams
from rl_tracking.agents.maths import activations
from rl_tracking.agents.saving.saved_model import SavedModel
from rl_tracking.restoring.protocol import as_restorable

if TYPE_CHECKING:
    from rl_tracking.agents.maths.activations import Activation

_SEAMS = ("temperature", "reward_normalizer", "sampler", "critic_weight", "critic_training", "surrogate")


class GroupModel(SavedModel, PPO):
    """A PPO with a restorable environment and seams for extensions.

    Constructors of subclasses set ``n_samples`` and ``branch_noise`` before SB3's.

    Attributes:
        rollout: the latest one; SB3's rollout buffer stays empty.
        num_simulator_steps: of all branches, where ``num_timesteps`` counts macro-steps.
        sampler: chooses the N actions.
        reward_normalizer: between raw rewards and their activation.
        critic_weight: between the critic and the estimator.
        critic_training: what the critic learns by itself.
        temperature: weighs the entropy.
        surrogate: the loss of the policy.
        horizon: steps of a branch; 0 for whole episodes.
        reward_activation: f of f(R), by name or as a function.
        reward_scale: multiplies rewards before f.
        has_critic: whether states are valued.
        compares_branches: executed steps with those of branch 0; not comparing is for measuring what that costs.
    """

    n_samples: int
    branch_noise: str
    rollout: Any
    num_simulator_steps: int
    sampler: seams.Sampler
    reward_normalizer: seams.RewardNormalizer
    critic_weight: seams.CriticWeight
    critic_training: seams.CriticTraining
    temperature: seams.Temperature
    surrogate: seams.Surrogate
    horizon: int = 1
    reward_activation: str | Activation = "identity"
    reward_scale: float = 1.0
    has_critic: bool = True
    compares_branches = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        with warnings.catch_warnings():
            # SB3 compares the minibatch with executed steps; here it may count those of all branches.
            warnings.filterwarnings("ignore", message="You have specified a mini-batch size")
            super().__init__(*args, **kwargs)

    def _setup_model(self) -> None:
        self._activate = activations.resolve(self.reward_activation, self.reward_scale)
        # Refuse before anything is built, since SB3 allocates the buffer and the networks first.
        checks.check_action_space(self.action_space)
        check_rollout_buffer(self)
        self.rollout_buffer_class = NoRolloutBuffer  # type: ignore[assignment]
        sizes = {name: getattr(self, name) for name in ("n_steps", "n_samples", "horizon")}
        checks.check_memory(sizes, self.n_envs, checks.numbers_of(self.observation_space, self.action_space))
        super()._setup_model()
        self.rollout_buffer_class = None  # as it is saved, so that PPO.load() makes a buffer of its own
        checks.check_policy(self.policy)
        checks.check_horizon(self.horizon, self.env)
        # SB3 calls this on a loaded model too, whose count continues.
        self.num_simulator_steps = getattr(self, "num_simulator_steps", 0)
        self._figures = RolloutFigures(self._stats_window_size)
        self._lookahead_in_use: Lookahead | None = None
        self._to_executable: ExecutableActions | None = None
        self.rollout = None
        # The neutral objects first: an extension takes the place of one.
        self.temperature = seams.FixedTemperature(lambda: float(self.ent_coef))
        self.reward_normalizer, self.sampler = seams.RawReward(), seams.PolicySampler()
        self.critic_weight, self.critic_training = seams.FullCriticWeight(), seams.NoCriticTraining()
        self.surrogate: seams.Surrogate = seams.ScoreSurrogate()
        self._extend()
        self._use_foreach(self.policy.optimizer)

    def _extend(self) -> None:
        """Put extensions into the seams; an algorithm without any leaves them as they are."""

    def _use_foreach(self, optimizer: torch.optim.Optimizer) -> None:
        """One kernel a step for all parameters instead of one for each, unless the user chose how."""
        chosen = self.policy_kwargs.get("optimizer_kwargs") or {}
        for group in optimizer.param_groups:
            if group.get("foreach", False) is None and not {"foreach", "fused", "differentiable"} & set(chosen):
                group["foreach"] = True

    # -- the environment and its branches -----------------------------------------------------------------------------

    @staticmethod
    def _wrap_env(env: GymEnv, verbose: int = 0, monitor_wrapper: bool = True) -> VecEnv:
        """Keep a restorable env, make any Gymnasium env restorable; images get their channels first, as for PPO."""
        checks.check_observation_space(getattr(env, "observation_space", None))
        vec_env: VecEnv = PPO._wrap_env(as_restorable(env), verbose)
        Brancher(vec_env, 1, "common")  # refuses what cannot be forked before anything is built on it
        return vec_env

    def _has_gradient(self, what: str, *, of_reward: bool) -> bool:
        """Whether actions change the reward smoothly; what has no gradient through the world at all is refused.

        Args:
            what: needs the gradient, as the subject of an error.
            of_reward: refuse a reward without one, too.

        Raises:
            UsageError: the env, its actions, the policy or the reward has none, or it does not fit into memory.
        """
        # A checkpoint may be loaded without an env.
        found = None if self.env is None else Brancher(self.env, 1, "common").step_gradient(what)
        require_gaussian(self.policy, what)
        if found is None:
            return True
        if of_reward:
            checks.check_terms(found, what)
        roots = -(-self.n_steps // self.horizon)
        sizes = {"roots": roots, "horizon": self.horizon, "n_samples": self.n_samples, "num_envs": self.n_envs}
        checks.check_graph(found, self.policy, sizes, what)
        return any(found.terms.values())

    def set_env(self, env: GymEnv, force_reset: bool = True) -> None:
        """As in SB3; branches run on the new env from the next rollout on."""
        super().set_env(env, force_reset)
        # Siblings belong to the old env, and its episodes in progress have no end here.
        self._lookahead_in_use = None
        self._figures.so_far = None

    def _setup_learn(
        self, total_timesteps: int, callback: MaybeCallback = None, reset_num_timesteps: bool = True, *args: Any
    ) -> tuple[int, BaseCallback]:
        """As in SB3; with the count of macro-steps, that of simulator steps and the returns start afresh."""
        # As SB3 does with its own count; a run that is resumed passes False and keeps all of them.
        if reset_num_timesteps:
            self.num_simulator_steps = 0
            self._figures.restart()
        return super()._setup_learn(total_timesteps, callback, reset_num_timesteps, *args)

    def _lookahead_on(self, env: VecEnv) -> Lookahead:
        """The lookahead on ``env``, made at its first rollout."""
        if self._lookahead_in_use is None:
            # As many gSDE matrices as draws: with one for all branches they would not be independent samples.
            brancher = Brancher(env, self.n_samples, self.branch_noise, watched=self.compares_branches)
            rows = self.sampler.candidates(self.n_samples) * env.num_envs
            noise = ExplorationNoise(self.policy, rows, self.sde_sample_freq)
            self._lookahead_in_use = self._make_lookahead(brancher, noise)
        return self._lookahead_in_use

    def _make_lookahead(self, brancher: Brancher, noise: ExplorationNoise) -> Lookahead:
        parts = brancher, self.n_samples, self.sampler, noise
        if self.horizon == 1 and self.has_critic:
            return OneStepLookahead(*parts)
        # Without a critic also branches of one step are paths: they are compared at valid steps.
        return PathLookahead(*parts, horizon=self.horizon or None, critic=self.has_critic)

    def _executable(self, action: Tensor) -> Tensor:
        """Sampled actions as the environment takes them; see :class:`ExecutableActions`."""
        if self._to_executable is None:
            squashed = self.policy.squash_output
            self._to_executable = ExecutableActions(self.action_space, squashed=squashed, device=action.device)
        return self._to_executable(action)

    # -- saving -------------------------------------------------------------------------------------------------------

    def _excluded_save_params(self) -> list[str]:
        """What a zip does not hold: it is rebuilt, or belongs to the env at hand."""
        mine = ("rollout", "_lookahead_in_use", "_to_executable", "_figures", "_activate", *_SEAMS)
        return [*super()._excluded_save_params(), *mine]

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        """What extensions have learned is saved beside the policy."""
        state_dicts, tensors = super()._get_torch_save_params()
        # By SB3's rule: what is a module has a state dict, saved as tensors beside the JSON.
        for seam in _SEAMS:
            extension = getattr(self, seam)
            if isinstance(extension, torch.nn.Module):
                state_dicts.append(seam)
                state_dicts += [f"{seam}.optimizer"] if hasattr(extension, "optimizer") else []
        return state_dicts, tensors
