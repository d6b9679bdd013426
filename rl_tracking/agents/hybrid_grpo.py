"""Hybrid GRPO: group sampling with a value function (Sane, arXiv 2502.01652)."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.type_aliases import GymEnv, Schedule
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from rl_tracking.agents import activations, checkpoint, estimators
from rl_tracking.agents.activations import Activation
from rl_tracking.agents.branching import BRANCH_NOISE, Brancher, check_horizon
from rl_tracking.agents.exploring import Explorer, Paths
from rl_tracking.agents.group_policy import GroupPolicyAlgorithm
from rl_tracking.agents.rollout import Estimate, GroupRollout, PathRollout
from rl_tracking.envs.restorable import as_restorable
from rl_tracking.errors import UsageError, unknown


class HybridGRPO(GroupPolicyAlgorithm):
    """Tries N actions from every state and learns from all of them; a critic gives each branch its own V(s').

    Takes SB3 PPO's arguments, with the same meaning; ``n_steps`` counts macro-steps a world, ``batch_size`` counts
    states (each brings N samples). The env must be restorable, such as :func:`rl_tracking.make_vec` makes.

    Args:
        policy: as in PPO.
        env: a restorable ``VecEnv``, an ``rl_tracking`` env or its id.
        n_samples: N, actions tried from each state; branch 0 is executed.
        advantage: ``per-sample`` (each sample its own residual) or ``literal`` (eq. 13: their mean, shared by all).
        baseline: taken off per-sample advantages within a group: ``none``, ``group-mean`` or ``leave-one-out``.
        reward_activation: f in f(R): a name (``rltrack list activations``), ``file.py:function``,
            ``package.module:function`` or a function of the rewards ``[T, N, E]``.
        reward_scale: multiplies rewards before f, so that f meets numbers of its own size.
        branch_noise: ``common`` (all branches meet the same randomness) or ``independent``.
        horizon: steps that each branch runs on under the policy (eq. 16). Above 1, every step of every branch is a
            sample with the return to the end of its branch as its advantage, the world goes on along branch 0, and
            ``gae_lambda`` has no part.

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
        reward_activation: str | Activation = "tanh",
        reward_scale: float = 1.0,
        branch_noise: str = "common",
        horizon: int = 1,
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
            ("branch_noise", branch_noise, BRANCH_NOISE),
        ):
            if value not in allowed:
                raise unknown(f"{name} of HybridGRPO:", str(value), allowed)
        self.n_samples = n_samples
        self.advantage = advantage
        self.baseline = baseline
        self.reward_activation = reward_activation
        self.reward_scale = reward_scale
        self.branch_noise = branch_noise
        self.horizon = horizon
        if isinstance(env, str):
            env = as_restorable(env)  # SB3 would ask it for pictures
        super().__init__(policy, env, learning_rate, n_steps, batch_size, n_epochs, gamma, gae_lambda, *args, **kwargs)

    def _setup_model(self) -> None:
        self._activate = activations.resolve(self.reward_activation, self.reward_scale)
        super()._setup_model()
        check_horizon(self.horizon, self.env)

    def _explorer_on(self, env: VecEnv) -> Explorer:
        if self.horizon == 1:
            return super()._explorer_on(env)
        return Paths(Brancher(env, self.n_samples, self.branch_noise), self.n_samples, self.horizon, critic=True)

    @torch.no_grad()
    def estimate(self, rollout: GroupRollout | PathRollout) -> Estimate:
        """The lambda form of eq. 13 (lambda = 0 is the paper's), or eq. 16 where branches run on."""
        reward = self._activate(rollout.reward)
        if isinstance(rollout, PathRollout):
            return self._estimate_paths(rollout, reward)
        delta = estimators.residuals(reward, rollout.value, rollout.next_value, rollout.terminated, self.gamma)
        tail = estimators.tail(delta, rollout.cut, self.gamma, self.gae_lambda)
        advantage = estimators.hybrid_advantage(delta, tail, advantage=self.advantage, baseline=self.baseline)
        return Estimate(advantage, estimators.value_target(rollout.value, delta, tail), reward)

    def _estimate_paths(self, rollout: PathRollout, reward: Tensor) -> Estimate:
        to_end = estimators.path_advantage(
            reward, rollout.value, rollout.next_value, rollout.terminated, rollout.cut, self.gamma
        )
        target = rollout.value + to_end
        root = to_end[:, 0]
        if self.advantage == "literal":
            keep = torch.zeros_like(rollout.alive)
            keep[:, 0] = True
            return Estimate(root.mean(dim=1, keepdim=True).unsqueeze(1).expand_as(to_end), target, reward, keep)
        centred = estimators.centre(root, self.baseline).unsqueeze(1)
        return Estimate(torch.cat([centred, to_end[:, 1:]], dim=1), target, reward)

    def save(self, path: str | Path | io.BufferedIOBase, *args: Any, **kwargs: Any) -> None:
        """SB3's zip with what ``rltrack watch`` and ``eval`` read; see :mod:`rl_tracking.agents.checkpoint`."""
        checkpoint.save(self, path, *args, **kwargs)

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_activate"]
