"""Where branches run: N actions, or N paths, from every present state of a restorable ``VecEnv``."""

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
        self._sibling: Any = None  # made when branches first run there
        if not self._foresees and noise != "common" and not hasattr(self._env, "fork"):
            raise UsageError(f"{type(self._env).__name__} only knows branch_noise 'common', not '{noise}'")

    @property
    def num_envs(self) -> int:
        """E."""
        worlds: int = self._env.num_envs
        return worlds

    @property
    def simulator_steps(self) -> int:
        """Simulator steps that one decision of all worlds costs: N E, and E more where the env steps twice."""
        return self._n * self.num_envs + (0 if self._foresees else self.num_envs)

    def step(self, actions: Tensor) -> BranchStep:
        """Try actions ``[N, E, ...]``, already within the action space."""
        outcome = self._env.foresee(actions, self._noise) if self._foresees else self._on_sibling(actions)
        for normalizer in self._normalizers:
            outcome = _normalized(outcome, normalizer)
        return outcome

    def start_paths(self) -> None:
        """Put N copies of every present state on a sibling, where :meth:`advance_paths` moves them."""
        if self._sibling is None:
            self._sibling = self._env.spawn(self._n * self.num_envs)
        fork = getattr(self._env, "fork", None)
        states = self._env.get_state().repeat(self._n) if fork is None else fork(self._n, self._noise)
        self._sibling.set_state(states)

    def advance_paths(self, actions: Tensor) -> tuple[BranchStep, Tensor]:
        """One step of all branches.

        Args:
            actions: ``[N, E, ...]``, already within the action space.

        Returns:
            What they led to, and the observations ``[N, E, ...]`` to go on from: those of the next episode where
            one ended.
        """
        outcome, following = self._sibling_step(actions)
        for normalizer in self._normalizers:
            outcome = _normalized(outcome, normalizer)
            seen = normalizer.normalize_obs(following.cpu().numpy())
            following = torch.as_tensor(seen, device=following.device, dtype=torch.float32)
        return outcome, following

    def _on_sibling(self, actions: Tensor) -> BranchStep:
        self.start_paths()
        return self._sibling_step(actions)[0]

    def _sibling_step(self, actions: Tensor) -> tuple[BranchStep, Tensor]:
        branches, worlds = actions.shape[:2]
        observation, reward, done, infos = self._sibling.step(actions.flatten(0, 1).cpu().numpy())
        truncated = np.array([bool(info.get("TimeLimit.truncated", False)) for info in infos])
        reached = observation.copy()
        for row in np.flatnonzero(done):
            reached[row] = infos[row]["terminal_observation"]
        device = actions.device

        def shaped(array: np.ndarray[Any, Any]) -> Tensor:
            return torch.as_tensor(array, device=device).view(branches, worlds, *array.shape[1:])

        outcome = BranchStep(shaped(reached), shaped(reward), shaped(done & ~truncated), shaped(truncated))
        return outcome, shaped(observation)


def check_horizon(horizon: int | None, env: VecEnv | None) -> None:
    """Refuse branches that are longer than an episode of the env can be, where the env says how long that is."""
    inner = getattr(env, "unwrapped", None)
    facts = getattr(getattr(inner, "scenario", None), "facts", None)
    longest = getattr(inner, "max_episode_steps", None) if facts is None else facts.max_steps
    if longest is not None and horizon is not None and horizon > longest:
        raise UsageError(f"a horizon of {horizon} is longer than an episode, which has {longest} steps")


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
