"""SB3's ``DummyVecEnv`` with checks of what its environments return."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common.vec_env import DummyVecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn
from stable_baselines3.common.vec_env.util import dict_to_obs

from rl_tracking.adapters.checks import Checks
from rl_tracking.adapters.describing import Description, describe
from rl_tracking.adapters.freezing import ATOMS

Env = gym.Env[Any, Any]


class CheckedVecEnv(DummyVecEnv):
    """SB3's ``DummyVecEnv``, whose environments are checked at every step and at every reset.

    Args:
        env_fns: as in SB3.
        described_as: see :meth:`describe`; read from the environments if not given.
    """

    def __init__(self, env_fns: list[Callable[[], Env]], described_as: Description | None = None) -> None:
        super().__init__(env_fns)
        self._described_as = described_as
        self.checks = Checks.of(self.envs[0])
        real = [buffer for buffer in self.buf_obs.values() if buffer.dtype.kind == "f"]
        self._real = [(numbers, np.ones(numbers.shape, dtype=bool)) for numbers in real]

    def describe(self) -> dict[str, Description | None]:
        """What ``rltrack.json`` says of these worlds: no ``scenario``, and as ``env`` an id and parameters."""
        return describe(self) if self._described_as is None else {"scenario": None, "env": self._described_as}

    def reset(self) -> VecEnvObs:
        """As in SB3.

        Raises:
            EnvironmentStepError: a reset raised, or returned what it must not.
        """
        for world, env in enumerate(self.envs):
            options = {"options": self._options[world]} if self._options[world] else {}
            observation, self.reset_infos[world] = self.checks.reset(env, world, seed=self._seeds[world], **options)
            self._save_obs(world, observation)
        self._check_finite("reset")
        self._reset_seeds()
        self._reset_options()
        return self._obs_from_buf()

    def step_async(self, actions: np.ndarray[Any, Any]) -> None:
        """As in SB3, with a copy of the actions."""
        super().step_async(np.array(actions))

    def step_wait(self) -> VecEnvStepReturn:
        """Apply the actions; worlds that end are reset at once.

        Raises:
            EnvironmentStepError: a step raised, or returned what it must not.
        """
        infos = []
        for world, env in enumerate(self.envs):
            # A copy: what an environment keeps of its action must not hold the actions of other worlds and branches.
            action = self.actions[world]
            if not isinstance(action, np.generic):  # those cannot change
                action = action.copy() if type(action) is np.ndarray else copy.copy(action)
            observation, reward, terminated, truncated, returned = self.checks.step(env, action, world)
            info = _own(returned)
            info["TimeLimit.truncated"] = truncated and not terminated
            self.buf_rews[world], self.buf_dones[world] = reward, terminated or truncated
            if terminated or truncated:
                self._report(world, info)
                self.checks.finite(observation, world)
                info["terminal_observation"] = copy.deepcopy(observation)
                observation, self.reset_infos[world] = self.checks.reset(env, world, **self._next_reset(world))
                self.checks.finite(observation, world, "reset")
            self._save_obs(world, observation)
            infos.append(info)
        self._check_finite("step")
        return self._obs_from_buf(), self.buf_rews.copy(), self.buf_dones.copy(), infos

    def _report(self, world: int, info: dict[str, Any]) -> None:
        """Complete the last info of an episode."""

    def _next_reset(self, world: int) -> dict[str, Any]:
        """The arguments of the reset after an episode."""
        return {}

    def _check_finite(self, verb: str) -> None:
        """Check the observations of all worlds at once."""
        for numbers, finite in self._real:
            # To look for a zero byte takes a third of the time of finite.all().
            if 0 in np.isfinite(numbers, finite).tobytes():
                self.checks.not_finite(self.buf_obs, verb)

    def _obs_from_buf(self) -> VecEnvObs:
        # A shallow copy of each array is enough, and a tenth of a deep one's time.
        return dict_to_obs(self.observation_space, {key: array.copy() for key, array in self.buf_obs.items()})


def _own(info: dict[str, Any]) -> dict[str, Any]:
    """A copy that shares nothing which can change."""
    return {name: value if type(value) in ATOMS else copy.deepcopy(value) for name, value in info.items()}
