"""Collects one rollout of branches: N actions from every state, one of them executed."""

from __future__ import annotations

import dataclasses
from typing import Any, cast

import numpy as np
import torch
from stable_baselines3.common.vec_env import VecCheckNan, VecEnv, VecEnvWrapper, VecMonitor, VecNormalize
from torch import Tensor

from rl_tracking.envs.restorable import BranchStep, Foreseeing, why_not_restorable
from rl_tracking.envs.restorable import NotRestorableError as NotRestorableError
from rl_tracking.errors import UsageError

BRANCH_NOISE = ("common", "independent")


@dataclasses.dataclass(frozen=True)
class GroupRollout:
    """T macro-steps of E worlds with N branches from each state; branch 0 was executed.

    Attributes:
        observation: ``[T, E, ...]``.
        action: as sampled, before clipping, ``[T, N, E, ...]``.
        log_prob: under the policy that sampled, ``[T, N, E]``.
        reward: raw, ``[T, N, E]``.
        value: V(s), ``[T, E]``.
        next_value: V(s') of each branch's own state reached, ``[T, N, E]``.
        terminated: ``[T, N, E]`` bool.
        cut: the executed episode ended here, by termination or truncation, ``[T, E]`` bool.
    """

    observation: Tensor
    action: Tensor
    log_prob: Tensor
    reward: Tensor
    value: Tensor
    next_value: Tensor
    terminated: Tensor
    cut: Tensor


class Brancher:
    """Tries N actions from the present states of a restorable ``VecEnv``, which stay as they are.

    Wrappers between the algorithm and the restorable env are honoured: ``VecNormalize`` normalises the branches with
    its present moments, which do not move; ``VecMonitor`` and ``VecCheckNan`` do not see them. Any other is refused.

    Args:
        env: the algorithm's env.
        n_samples: N.
        noise: ``common`` or ``independent``.

    Raises:
        NotRestorableError: the env cannot be forked.
        UsageError: a wrapper that cannot be honoured, or noise the env cannot give.
    """

    def __init__(self, env: VecEnv, n_samples: int, noise: str) -> None:
        self._env = cast(Any, env.unwrapped)
        reason = why_not_restorable(self._env)
        if reason is not None:
            raise NotRestorableError(reason)
        self._normalizers = _normalizers(env)
        self._n, self._noise = n_samples, noise
        self._foresees = isinstance(self._env, Foreseeing)
        self._sibling: Any = None
        if not self._foresees:
            if noise != "common":
                raise UsageError(f"{type(self._env).__name__} only knows branch_noise 'common', not '{noise}'")
            self._sibling = self._env.spawn(n_samples * self._env.num_envs)

    @property
    def simulator_steps(self) -> int:
        """Simulator steps that one decision of all worlds costs: N E, and E more where the env steps twice."""
        worlds: int = self._env.num_envs
        return self._n * worlds + (0 if self._foresees else worlds)

    def step(self, actions: Tensor) -> BranchStep:
        """Try actions ``[N, E, ...]``, already within the action space."""
        outcome = self._env.foresee(actions, self._noise) if self._foresees else self._on_sibling(actions)
        for normalizer in self._normalizers:
            outcome = _normalized(outcome, normalizer)
        return outcome

    def _on_sibling(self, actions: Tensor) -> BranchStep:
        branches, worlds = actions.shape[:2]
        self._sibling.set_state(self._env.get_state().repeat(branches))
        observation, reward, done, infos = self._sibling.step(actions.flatten(0, 1).cpu().numpy())
        truncated = np.array([bool(info.get("TimeLimit.truncated", False)) for info in infos])
        reached = observation.copy()
        for row in np.flatnonzero(done):
            reached[row] = infos[row]["terminal_observation"]
        device = actions.device

        def shaped(array: np.ndarray[Any, Any]) -> Tensor:
            return torch.as_tensor(array, device=device).view(branches, worlds, *array.shape[1:])

        return BranchStep(shaped(reached), shaped(reward), shaped(done & ~truncated), shaped(truncated))


def _normalizers(env: VecEnv) -> list[VecNormalize]:
    """The VecNormalize wrappers, innermost first."""
    found: list[VecNormalize] = []
    while isinstance(env, VecEnvWrapper):
        if isinstance(env, VecNormalize):
            found.insert(0, env)
        elif not isinstance(env, VecMonitor | VecCheckNan):
            raise UsageError(
                f"the wrapper {type(env).__name__} cannot be forked; Hybrid GRPO takes VecNormalize, VecMonitor "
                "and VecCheckNan around a restorable VecEnv"
            )
        env = env.venv
    return found


def _normalized(outcome: BranchStep, normalizer: VecNormalize) -> BranchStep:
    observation = normalizer.normalize_obs(outcome.observation.cpu().numpy())
    reward = normalizer.normalize_reward(outcome.reward.cpu().numpy())
    device = outcome.reward.device
    return dataclasses.replace(
        outcome,
        observation=torch.as_tensor(observation, device=device, dtype=torch.float32),
        reward=torch.as_tensor(reward, device=device, dtype=torch.float32),
    )
