"""SB3's wrappers applied to steps of branches, with their present moments and frames, which stay as they are.

Rows are branches of worlds, branch-major: N E. Observations are arrays or dicts of arrays ``[N E, ...]``.
"""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, cast

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

from rl_tracking.agents.collect.user_wrappers import UserWrapper

if TYPE_CHECKING:
    from rl_tracking.restoring.step_rows import StepRows

Array = np.ndarray[Any, Any]
ArrayObservation = Any  # an array or a dict of them
Observations = tuple[ArrayObservation, ArrayObservation]  # of the states reached, and those for the next actions


class BranchWrapper(Protocol):
    """One wrapper, applied to branches."""

    def start(self, branches: int) -> None:
        """``branches`` branches begin at the present state."""

    def show(self, rows: StepRows) -> StepRows:
        """A step of ``N E`` rows as this wrapper shows it."""


def branch_wrappers(env: VecEnv) -> list[BranchWrapper]:
    """The wrappers that change observations or rewards, innermost first.

    Raises:
        UsageError: a wrapper whose effect on a branch is not known.
    """
    found: list[BranchWrapper] = []
    while isinstance(env, VecEnvWrapper):
        # Exactly these classes where a subclass could override what is repeated here.
        if type(env) is VecFrameStack:
            found.insert(0, _Frames(env))
        elif type(env) is VecTransposeImage:
            found.insert(0, _Shown(env.transpose_observations))
        elif type(env) is VecExtractDictObs:
            found.insert(0, _Shown(operator.itemgetter(env.key)))
        elif _steps_as(env, VecNormalize):
            found.insert(0, _Normalized(cast(VecNormalize, env)))
        # A monitor and a check for NaN are meant for executed steps, and change nothing of a step.
        elif not _steps_as(env, VecMonitor) and not _steps_as(env, VecCheckNan):
            found.insert(0, UserWrapper(env))
        env = env.venv
    return found


def _steps_as(env: VecEnvWrapper, kind: type[VecEnvWrapper]) -> bool:
    """Whether a wrapper is of that kind, or a subclass that overrides none of its steps."""
    return isinstance(env, kind) and all(
        getattr(type(env), name) is getattr(kind, name) for name in ("step", "step_async", "step_wait")
    )


class _Shown:
    """A wrapper that shows each observation by itself, and rewards as they are."""

    def __init__(self, show: Callable[[ArrayObservation], ArrayObservation]) -> None:
        self._show = show

    def start(self, branches: int) -> None:
        """See :class:`BranchWrapper`; nothing is remembered."""

    def show(self, rows: StepRows) -> StepRows:
        """See :class:`BranchWrapper`."""
        # Where no episode ended both are one array, which is then shown once.
        reached, following = self.see(rows.reached, rows.following, rows.done)
        return dataclasses.replace(rows, reached=reached, following=following, reward=self.reward(rows.reward))

    def see(self, reached: ArrayObservation, following: ArrayObservation, done: Array) -> Observations:
        """Observations of the states reached and those for the next actions, as this wrapper shows them."""
        shown = self._show(reached)
        return shown, shown if following is reached else self._show(following)

    def reward(self, reward: Array) -> Array:
        """Rewards ``[N E]`` as this wrapper shows them."""
        return reward


class _Normalized(_Shown):
    """VecNormalize with its present moments; only executed steps update them, or branches would count N times."""

    def __init__(self, normalizer: VecNormalize) -> None:
        super().__init__(normalizer.normalize_obs)
        self._normalizer = normalizer

    def reward(self, reward: Array) -> Array:
        """See :class:`_Shown`."""
        return self._normalizer.normalize_reward(reward)


class _Frames:
    """VecFrameStack: every row begins with the frames of its world and adds its own."""

    def __init__(self, wrapper: VecFrameStack) -> None:
        self._wrapper = wrapper
        self._frames: Any = None

    def start(self, branches: int) -> None:
        """See :class:`BranchWrapper`."""
        stacks = self._stacks()
        # Copies: the wrapper's own frames belong to the executed steps.
        self._frames = {key: np.concatenate([stack.stacked_obs] * branches) for key, stack in stacks.items()}

    def show(self, rows: StepRows) -> StepRows:
        """See :class:`BranchWrapper`."""
        reached, following = self.see(rows.reached, rows.following, rows.done)
        return dataclasses.replace(rows, reached=reached, following=following)

    def see(self, reached: ArrayObservation, following: ArrayObservation, done: Array) -> Observations:
        """As :class:`_Shown`; a new episode starts with frames of zeros."""
        if not isinstance(reached, dict):
            seen, on = self.see({"": reached}, {"": following}, done)
            return seen[""], on[""]
        seen, on = {}, {}
        for key, stack in self._stacks().items():
            # Drop the oldest frame and append the new one, along the axis of the frames.
            axis, before = stack.stack_dimension, self._frames[key]
            earlier = np.split(before, [reached[key].shape[axis]], axis=axis)[1]
            seen[key] = np.concatenate([earlier, reached[key]], axis=axis)
            if done.any():
                earlier = earlier.copy()  # the rows returned above share this memory
                earlier[done] = 0
            on[key] = np.concatenate([earlier, following[key]], axis=axis)
        self._frames = on
        return seen, on

    def _stacks(self) -> dict[str, StackedObservations[Any]]:
        whole = self._wrapper.stacked_obs
        return getattr(whole, "sub_stacked_observations", {"": whole})
