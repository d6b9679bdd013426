"""What SB3's wrappers do to a step, done to branches: with the present moments and frames, which stay as they are.

Rows are branches of worlds, branch-major: N E. Observations are arrays or dicts of arrays ``[N E, ...]``.
"""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Callable
from typing import Any, Protocol, cast

import numpy as np
from stable_baselines3.common.vec_env import (
    VecCheckNan,
    VecEnv,
    VecEnvWrapper,
    VecExtractDictObs,
    VecFrameStack,
    VecMonitor,
    VecNormalize,
    VecTransposeImage,
)
from stable_baselines3.common.vec_env.stacked_observations import StackedObservations

from rl_tracking.agents.collect.user_wrappers import OwnWrapper
from rl_tracking.restoring.step_rows import StepRows

Array = np.ndarray[Any, Any]
ArrayObservation = Any  # an array or a dict of them
Sight = tuple[ArrayObservation, ArrayObservation]


class Layer(Protocol):
    """One wrapper around the branches."""

    def start(self, branches: int) -> None:
        """``branches`` branches begin at the present state."""

    def show(self, rows: StepRows) -> StepRows:
        """A step of ``N E`` rows as this wrapper shows it."""


def layers_of(env: VecEnv) -> list[Layer]:
    """The wrappers that change what is seen, innermost first.

    Raises:
        UsageError: a wrapper of which it is not known what it would do to a branch.
    """
    found: list[Layer] = []
    while isinstance(env, VecEnvWrapper):
        if type(env) is VecFrameStack:
            found.insert(0, _Frames(env))
        elif type(env) is VecTransposeImage:
            found.insert(0, _Seen(env.transpose_observations))
        elif type(env) is VecExtractDictObs:
            found.insert(0, _Seen(operator.itemgetter(env.key)))
        elif _steps_as(env, VecNormalize):
            found.insert(0, _Normalized(cast(VecNormalize, env)))
        elif not _steps_as(env, VecMonitor) and not _steps_as(env, VecCheckNan):
            found.insert(0, OwnWrapper(env))
        env = env.venv
    return found


def _steps_as(env: VecEnvWrapper, kind: type[VecEnvWrapper]) -> bool:
    """Whether a wrapper is of that kind, or a subclass that makes its steps no other way."""
    return isinstance(env, kind) and all(
        getattr(type(env), name) is getattr(kind, name) for name in ("step", "step_async", "step_wait")
    )


class _Seen:
    """A wrapper that shows each observation by itself, and rewards as they are."""

    def __init__(self, show: Callable[[ArrayObservation], ArrayObservation]) -> None:
        self._show = show

    def start(self, branches: int) -> None:
        """See :class:`Layer`; nothing is remembered."""

    def show(self, rows: StepRows) -> StepRows:
        """See :class:`Layer`."""
        reached, following = self.see(rows.reached, rows.following, rows.done)
        return dataclasses.replace(rows, reached=reached, following=following, reward=self.reward(rows.reward))

    def see(self, reached: ArrayObservation, following: ArrayObservation, done: Array) -> Sight:
        """Observations of the states reached and of those to go on from, as this wrapper shows them."""
        shown = self._show(reached)
        return shown, shown if following is reached else self._show(following)

    def reward(self, reward: Array) -> Array:
        """Rewards ``[N E]`` as this wrapper shows them."""
        return reward


class _Normalized(_Seen):
    """VecNormalize with the moments it has at the time."""

    def __init__(self, normalizer: VecNormalize) -> None:
        super().__init__(normalizer.normalize_obs)
        self._normalizer = normalizer

    def reward(self, reward: Array) -> Array:
        """See :class:`_Seen`."""
        return self._normalizer.normalize_reward(reward)


class _Frames:
    """VecFrameStack: every row has the frames of its world, and then its own."""

    def __init__(self, wrapper: VecFrameStack) -> None:
        self._wrapper = wrapper
        self._frames: Any = None

    def start(self, branches: int) -> None:
        """See :class:`Layer`."""
        stacks = self._stacks()
        frames = {key: np.concatenate([stack.stacked_obs] * branches) for key, stack in stacks.items()}
        self._frames = frames

    def show(self, rows: StepRows) -> StepRows:
        """See :class:`Layer`."""
        reached, following = self.see(rows.reached, rows.following, rows.done)
        return dataclasses.replace(rows, reached=reached, following=following)

    def see(self, reached: ArrayObservation, following: ArrayObservation, done: Array) -> Sight:
        """As :class:`_Seen`; a new episode starts with frames of zeros."""
        if not isinstance(reached, dict):
            seen, on = self.see({"": reached}, {"": following}, done)
            return seen[""], on[""]
        seen, on = {}, {}
        for key, stack in self._stacks().items():
            axis, before = stack.stack_dimension, self._frames[key]
            earlier = np.split(before, [reached[key].shape[axis]], axis=axis)[1]
            seen[key] = np.concatenate([earlier, reached[key]], axis=axis)
            if done.any():
                earlier = earlier.copy()  # what was shown before stays
                earlier[done] = 0
            on[key] = np.concatenate([earlier, following[key]], axis=axis)
        self._frames = on
        return seen, on

    def _stacks(self) -> dict[str, StackedObservations[Any]]:
        whole = self._wrapper.stacked_obs
        return getattr(whole, "sub_stacked_observations", {"": whole})
