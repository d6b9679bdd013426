"""What Stable-Baselines3 asks of a ``VecEnv`` whose worlds are one object, and what it says of finished episodes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import gymnasium as gym
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices
from torch import Tensor

from rl_tracking.envs.simulator import Simulator
from rl_tracking.envs.transition import Transition
from rl_tracking.errors import UsageError


class OneObjectVecEnv(VecEnv):
    """A ``VecEnv`` without an object for each world: attributes are those of all of them."""

    def close(self) -> None:
        """Nothing to release."""

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """The same value for every world asked for: they are one object."""
        value = getattr(self, attr_name)
        return [value for _ in self._worlds(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Set an attribute for all worlds."""
        if len(list(self._worlds(indices))) != self.num_envs:
            raise UsageError(
                f"the worlds of a {type(self).__name__} are one object: an attribute is set for all of them"
            )
        setattr(self, attr_name, value)

    def env_method(
        self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **method_kwargs: Any
    ) -> list[Any]:
        """Not supported: no object stands for a single world."""
        raise UsageError(f"the worlds of a {type(self).__name__} have no methods of their own, such as '{method_name}'")

    def env_is_wrapped(
        self, wrapper_class: type[gym.Wrapper[Any, Any, Any, Any]], indices: VecEnvIndices = None
    ) -> list[bool]:
        """True for SB3's ``Monitor``, whose job is done here: finished episodes are reported in the infos."""
        from stable_baselines3.common.monitor import Monitor

        return [wrapper_class is Monitor for _ in self._worlds(indices)]

    def _worlds(self, indices: VecEnvIndices) -> Iterable[int]:
        return self._get_indices(indices)


def infos_of_finished(simulator: Simulator, transition: Transition, worlds: Tensor) -> list[dict[str, Any]]:
    """What SB3 and its ``Monitor`` say of the episodes of ``worlds`` ``[K]`` that ended in a step, one dict each."""
    last = transition.after.index(worlds)
    observations = transition.observation[worlds].cpu().numpy()
    figures = {name: value.tolist() for name, value in simulator.metrics(last).items()}
    returns, lengths = simulator.total_return(last).tolist(), last.step.tolist()
    truncated = transition.truncated[worlds].tolist()
    infos = []
    for row, observation in enumerate(observations):
        known = {name: values[row] for name, values in figures.items() if not math.isnan(values[row])}
        info = {
            "terminal_observation": observation,
            "TimeLimit.truncated": truncated[row],
            "episode": {"r": returns[row], "l": lengths[row], **known},
        }
        if simulator.success is not None:
            info["is_success"] = bool(figures[simulator.success][row])
        infos.append(info)
    return infos
