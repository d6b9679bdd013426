"""One world as ``gymnasium.Env``, and many as ``gymnasium.vector.VectorEnv``."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from rl_tracking.envs.actions import checked_actions
from rl_tracking.envs.noise import world_keys
from rl_tracking.envs.simulator import Simulator
from rl_tracking.envs.vec_env import TrackingVecEnv, make_scenario
from rl_tracking.errors import UsageError

Array = np.ndarray[Any, Any]


class NoPicturesError(UsageError, TypeError):
    """A render mode was asked for. SB3 asks every id for one, and goes without where that is a TypeError."""

    def __init__(self, render_mode: str) -> None:
        super().__init__(f"render_mode '{render_mode}' is not supported; `rltrack watch` draws")


class TrackingEnv(gym.Env[Any, Any]):
    """One world of a scenario: ``rl_tracking/Pursuit-v0`` is scenario ``pursuit``, and so on.

    Keyword arguments are the scenario's: ``gym.make("rl_tracking/Pursuit-v0", preset="sandbox")``. The world's whole
    state, its randomness included, is a value: see :meth:`get_state`.
    """

    metadata: dict[str, Any] = {"render_modes": [], "render_fps": 10}

    def __init__(self, scenario: str, render_mode: str | None = None, **parameters: Any) -> None:
        if render_mode is not None:
            raise NoPicturesError(render_mode)
        self.render_mode = None
        self.scenario = make_scenario(scenario, **parameters)
        self.simulator = Simulator(self.scenario)
        self.observation_space, self.action_space = self.scenario.observation_space, self.scenario.action_space
        self._state: Any = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        """Start the episode of ``seed``, or the one that follows the present one."""
        super().reset(seed=seed)
        if seed is None and self._state is not None:
            self._state = self.simulator.restart(self._state)
        else:
            root = int(self.np_random.integers(2**63 - 1)) if seed is None else seed
            self._state = self.simulator.initial(world_keys(root, 1))
        return self.simulator.observation(self._state).numpy()[0].copy(), {}

    def step(self, action: Array) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        """One control step; ``info`` has its measures, the terms of the reward and, where a metric says it, success.

        Raises:
            UsageError: the action has another shape or is not finite, or nothing was reset yet.
        """
        if self._state is None:
            raise UsageError("call reset() before step()")
        given = checked_actions(self.action_space, action)
        with torch.inference_mode():
            transition = self.simulator.transition(self._state, torch.from_numpy(given[None]))
        self._state = transition.after
        info = {name: value.item() for name, value in transition.measures.items()}
        for name, term in transition.terms.items():
            info["reward/" + name] = term.item() if term.numel() == 1 else term.sum().item()
        if self.simulator.success is not None:
            info["is_success"] = self.simulator.has_succeeded(transition.after)
        observation: Array = transition.observation.numpy()[0].copy()
        reward = transition.reward.item()
        return observation, reward, transition.terminated.item(), transition.truncated.item(), info  # type: ignore[return-value]

    def get_state(self) -> Any:
        """The world's state as a value (B = 1)."""
        if self._state is None:
            raise UsageError("call reset() before get_state()")
        return self._state

    def set_state(self, state: Any) -> Array:
        """Put a state back; returns its observation."""
        if not isinstance(state, self.scenario.state_class) or len(state) != 1:
            raise UsageError(f"set_state takes a {self.scenario.state_class.__name__} of one world")
        self._state = state
        observation: Array = self.simulator.observation(state).numpy()[0].copy()
        return observation

    def to_vec(self, num_envs: int = 1, seed: int | None = None) -> TrackingVecEnv:
        """The same scenario as a batch of worlds."""
        return TrackingVecEnv(self.scenario, num_envs, seed)


class TrackingVectorEnv(VectorEnv[Any, Any, Array]):
    """Many worlds for ``gym.make_vec("rl_tracking/Pursuit-v0", num_envs=...)``, stepped together.

    A world that ends is reset in the same step (``AutoresetMode.SAME_STEP``): ``infos["final_obs"]`` holds the last
    observation of those named by ``infos["_final_obs"]``.
    """

    metadata: dict[str, Any] = {"render_modes": [], "autoreset_mode": AutoresetMode.SAME_STEP}

    def __init__(self, scenario: str, num_envs: int = 1, render_mode: str | None = None, **parameters: Any) -> None:
        if render_mode is not None:
            raise NoPicturesError(render_mode)
        self.render_mode = None
        self.venv = TrackingVecEnv(make_scenario(scenario, **parameters), num_envs)
        self.num_envs = num_envs
        self.single_observation_space = self.venv.observation_space
        self.single_action_space = self.venv.action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        """Start new episodes; one seed serves all worlds, each with a key of its own."""
        if isinstance(seed, list):
            raise UsageError("give one seed: each world derives a key of its own from it and its number")
        if seed is not None:
            self.venv.seed(seed)
        observation = self.venv.reset()
        assert isinstance(observation, np.ndarray)
        return observation, {}

    def step(self, actions: Array) -> tuple[Array, Array, Array, Array, dict[str, Any]]:
        """One control step of every world."""
        observation, reward, _, _ = self.venv.step(actions)
        last = self.venv.last_transition
        assert last is not None and isinstance(observation, np.ndarray)
        terminated, truncated = last.terminated.numpy(), last.truncated.numpy()
        infos: dict[str, Any] = {}
        ended = terminated | truncated
        if ended.any():
            final = np.full(self.num_envs, None, dtype=object)
            for world in np.flatnonzero(ended):
                final[world] = last.observation[world].numpy().copy()
            infos = {"final_obs": final, "_final_obs": ended}
        return observation, reward, terminated, truncated, infos

    def get_state(self) -> Any:
        """The states of all worlds as a value."""
        return self.venv.get_state()

    def set_state(self, states: Any) -> None:
        """Put states back."""
        self.venv.set_state(states)
