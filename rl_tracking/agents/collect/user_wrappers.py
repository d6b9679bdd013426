"""A user's own ``VecEnvWrapper`` applied to branches, if it treats each row by itself and keeps no state.

Both are tested before use on generated rows: the same rows twice, and a part of them alone, must give the same results,
and no attribute of the wrapper may change.
"""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper

from rl_tracking.errors import UsageError, brief
from rl_tracking.restoring.step_rows import StepRows

_FORKABLE = (
    "VecNormalize, VecFrameStack, VecTransposeImage, VecExtractDictObs, VecMonitor and VecCheckNan can be forked"
)
_ACTION_METHODS = ("step", "step_async")
_PASSED_ON = ("TimeLimit.truncated", "terminal_observation")
_NOT_COPIED = ("venv", "class_attributes")
_ROWS_TESTED = 4


class UserWrapper:
    """One wrapper, applied to branches; see :class:`rl_tracking.agents.collect.wrappers.BranchWrapper`.

    Raises:
        UsageError: it changes actions, keeps state, mixes worlds, or needs more than a step of an environment.
    """

    def __init__(self, wrapper: VecEnvWrapper) -> None:
        self._name = type(wrapper).__name__
        for method in _ACTION_METHODS:
            if getattr(type(wrapper), method) is not getattr(VecEnvWrapper, method):
                raise self._refusal(f"it overrides {method}, so it may change actions")
        # Branches run through a copy, so that the user's wrapper sees executed steps alone.
        self._original, self._rows = wrapper, _Rows(wrapper.venv)
        self._copy = object.__new__(type(wrapper))
        self._test_on(_generated_rows(wrapper.venv.observation_space))
        self.start(1)

    def start(self, branches: int) -> None:
        """Copy the attributes of the wrapper, which the user may have changed since."""
        kept = {name: value for name, value in vars(self._original).items() if name not in _NOT_COPIED}
        vars(self._copy).clear()
        vars(self._copy).update(kept, venv=self._rows, class_attributes=self._original.class_attributes)

    def show(self, rows: StepRows) -> StepRows:
        """A step as the wrapper shows it.

        Raises:
            UsageError: it fails, keeps state, or changes where episodes end.
        """
        # The test before use may miss state that only some steps change, so identities are compared at every step.
        before = self._attributes()
        shown = self._step(rows)
        after = self._attributes()
        if before.keys() != after.keys() or any(before[name] is not after[name] for name in before):
            raise self._refusal("it keeps state from step to step")
        return shown

    def _attributes(self) -> dict[str, Any]:
        """Attributes of the copy but its number of worlds, which is that of the rows."""
        return {name: value for name, value in vars(self._copy).items() if name != "num_envs"}

    def _step(self, rows: StepRows) -> StepRows:
        # Infos in the form of SB3: how an episode ended, and its last observation.
        infos = [_Info(self._name) for _ in range(len(rows.done))]
        for row in np.flatnonzero(rows.done):
            dict.update(infos[row], {_PASSED_ON[0]: bool(rows.truncated[row]), _PASSED_ON[1]: _row(rows.reached, row)})
        # Deep copies: a wrapper may change in place what a VecEnv returned.
        self._rows.result = copy.deepcopy(rows.following), rows.reward.copy(), rows.done.copy(), list(infos)
        self._rows.num_envs = len(rows.done)
        vars(self._copy)["num_envs"] = count = len(rows.done)
        try:
            following, reward, done, shown_infos = self._copy.step_wait()
        except UsageError:
            raise
        except Exception as error:
            raise self._refusal(f"it fails on {count} rows: {brief(error)}") from error
        # An end that the simulator does not know would let values flow across it.
        if not np.array_equal(done, rows.done):
            raise self._refusal("it changes where episodes end")
        # At an end the state reached is in the info, and what was returned is of the next episode.
        reached = following
        if rows.done.any():
            reached = copy.deepcopy(following)
            for row in np.flatnonzero(rows.done):
                _put(reached, row, shown_infos[row][_PASSED_ON[1]])
        return dataclasses.replace(
            rows, reached=reached, following=following, reward=np.asarray(reward, dtype=np.float32)
        )

    def _test_on(self, rows: StepRows) -> None:
        # On a deep copy: a test must not change the user's wrapper, whatever it finds.
        kept = {name: value for name, value in vars(self._original).items() if name not in _NOT_COPIED}
        try:
            own = copy.deepcopy(kept)
        except Exception as error:
            raise self._refusal(f"it holds what cannot be copied: {brief(error)}") from error
        vars(self._copy).update(own, venv=self._rows, class_attributes=self._original.class_attributes)
        # Attributes that change with a step are state, which branches cannot share.
        before = _fingerprint(self._attributes())
        once = self._step(rows)
        if _fingerprint(self._attributes()) != before:
            raise self._refusal("it keeps state from step to step")
        # Equal results of a part of the rows: nothing of a row depends on the others or on how many there are.
        again, part = self._step(rows), self._step(rows.rows(slice(2)))
        if _content(once) != _content(again):
            raise self._refusal("it shows the same step differently the second time")
        if _content(once.rows(slice(2))) != _content(part):
            raise self._refusal("what it shows of one world depends on others")

    def _refusal(self, why: str) -> UsageError:
        return UsageError(
            f"the wrapper {self._name} cannot be forked: {why}; {_FORKABLE}, and wrappers that change only the "
            "observations and rewards of a step"
        )


class _Rows(VecEnv):
    """The environment inside the copied wrapper: its step is one of branches."""

    result: tuple[Any, Any, Any, list[dict[str, Any]]]

    def __init__(self, venv: VecEnv) -> None:
        self.observation_space, self.action_space = venv.observation_space, venv.action_space
        self.num_envs, self.render_mode, self.metadata = venv.num_envs, venv.render_mode, venv.metadata

    def step_wait(self) -> Any:
        return self.result

    def _refuse(self, *args: Any, **kwargs: Any) -> Any:
        raise AttributeError("it asks the environment for more than a step")

    reset = step_async = close = get_attr = set_attr = env_method = env_is_wrapped = _refuse


class _Info(dict[str, Any]):
    """The info of a branch's step: how it ended, and an error for any other key that a wrapper reads."""

    def __init__(self, wrapper: str) -> None:
        super().__init__({_PASSED_ON[0]: False})
        self._wrapper = wrapper

    def _check(self, key: str) -> None:
        if key not in _PASSED_ON and not dict.__contains__(self, key):
            raise UsageError(
                f"the wrapper {self._wrapper} cannot be forked: it looks for '{key}' in an info of a branch"
            )

    def __getitem__(self, key: str) -> Any:
        self._check(key)
        return super().__getitem__(key)

    def __contains__(self, key: object) -> bool:
        self._check(str(key))
        return super().__contains__(key)

    def get(self, key: str, default: Any = None) -> Any:
        self._check(key)
        return super().get(key, default)


def _generated_rows(space: gym.Space[Any]) -> StepRows:
    """Four steps of which the second and fourth end an episode, by termination and by truncation."""
    space = copy.deepcopy(space)
    space.seed(0)
    following, reached = (_stacked([space.sample() for _ in range(_ROWS_TESTED)]) for _ in range(2))
    done = np.arange(_ROWS_TESTED) % 2 == 1
    for row in np.flatnonzero(~done):
        _put(reached, row, _row(following, row))
    reward = np.random.default_rng(0).normal(size=_ROWS_TESTED).astype(np.float32)
    return StepRows(reached, following, reward, done, np.arange(_ROWS_TESTED) == _ROWS_TESTED - 1)


def _stacked(samples: list[Any]) -> Any:
    if isinstance(samples[0], dict):
        return {key: np.stack([sample[key] for sample in samples]) for key in samples[0]}
    return np.stack(samples)


def _row(observation: Any, row: Any) -> Any:
    if isinstance(observation, dict):
        return {key: part[row].copy() for key, part in observation.items()}
    return observation[row].copy()


def _put(observation: Any, row: Any, value: Any) -> None:
    if isinstance(observation, dict):
        for key in observation:
            observation[key][row] = value[key]
    else:
        observation[row] = value


def _content(rows: StepRows) -> Any:
    return _fingerprint([rows.reached, rows.following, rows.reward])


def _fingerprint(value: Any, depth: int = 8) -> Any:
    """A value that differs where two values do: their numbers, and everything else by its identity."""
    if isinstance(value, np.ndarray):
        return value.shape, value.dtype.str, value.tobytes()
    if value is None or isinstance(value, bool | int | float | str | bytes | np.generic):
        return repr(value)
    if depth == 0 or callable(value) or isinstance(value, gym.Space | VecEnv):
        return id(value)
    if isinstance(value, dict):
        return [(repr(key), _fingerprint(part, depth - 1)) for key, part in value.items() if key not in _NOT_COPIED]
    if isinstance(value, np.random.Generator):
        return repr(value.bit_generator.state)
    if hasattr(value, "__iter__"):
        return [_fingerprint(part, depth - 1) for part in value]
    return _fingerprint(vars(value), depth - 1) if hasattr(value, "__dict__") else id(value)
