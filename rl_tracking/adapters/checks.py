"""What an environment may return, checked: whatever is wrong is named by environment, world and field."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from rl_tracking.errors import EnvironmentStepError, RunError, UsageError, account
from rl_tracking.restoring.protocol import name_of

Env = gym.Env[Any, Any]
Stepped = tuple[Any, float, bool, bool, dict[str, Any]]

_STEP = "(observation, reward, terminated, truncated, info)"
_NUMBERS = (float, int, np.floating, np.integer, np.bool_)
_FLAGS = (bool, np.bool_)
_LARGEST = float(np.finfo(np.float32).max)
_LEAST = -_LARGEST
_ARRAY = np.ndarray
_REWARDS, _WHOLE = frozenset((float, np.float64, int)), frozenset((int, np.int64))  # what most environments return


class Checks:
    """Steps and resets of environments with one observation space.

    Args:
        name: what errors call the environment.
        space: of its observations.
    """

    def __init__(self, name: str, space: gym.Space[Any]) -> None:
        self.name = f"environment '{name}'"
        self._leaves = dict(_leaves(space))
        alone = space if isinstance(space, spaces.Box) else None
        self._shape: Any = getattr(alone, "shape", None)
        self._dtype: Any = getattr(alone, "dtype", None)
        self._whole = _WHOLE if isinstance(space, spaces.Discrete) else frozenset()

    @classmethod
    def of(cls, env: Env) -> Checks:
        """The checks of an environment, by its id or class."""
        return cls(name_of(env), env.observation_space)

    def step(self, env: Env, action: Any, world: int | None = None) -> Stepped:
        """``env.step``, checked; whether the observation is finite is left to :meth:`finite`.

        Raises:
            EnvironmentStepError: it raised, or returned what it must not.
        """
        try:
            returned: Any = env.step(action)
        except (UsageError, RunError, KeyboardInterrupt):
            raise
        except BaseException as error:  # sys.exit() too
            self._raised("step", error, world)
        try:
            observation, reward, terminated, truncated, info = returned
        except (TypeError, ValueError):
            self._wrong_form("step", returned, _STEP, world)
        # What nearly every step returns, in one expression: this runs at every step of every branch.
        if (
            type(reward) in _REWARDS
            and _LEAST <= reward <= _LARGEST
            and type(terminated) is bool
            and type(truncated) is bool
            and type(info) is dict
            and (
                (type(observation) is _ARRAY and observation.dtype == self._dtype and observation.shape == self._shape)
                or type(observation) in self._whole
            )
        ):
            as_usual: Stepped = returned
            return as_usual
        return self._checked(observation, reward, terminated, truncated, info, world)

    def _checked(
        self, observation: Any, reward: Any, terminated: Any, truncated: Any, info: Any, world: int | None
    ) -> Stepped:
        """What a step returned, part by part."""
        number = self._number(reward, world)
        if not _LEAST <= number <= _LARGEST:
            self._refuse("step", "reward", str(number), "finite, and a number that float32 can hold", world)
        ends = self._flag("terminated", terminated, world), self._flag("truncated", truncated, world)
        if not isinstance(info, dict):
            self._refuse("step", "info", _kind(info), "a dict", world)
        self.observation(observation, world)
        return observation, number, *ends, info

    def reset(self, env: Env, world: int | None = None, **arguments: Any) -> tuple[Any, dict[str, Any]]:
        """``env.reset``, checked likewise.

        Raises:
            EnvironmentStepError: as :meth:`step`.
        """
        returned = self._called("reset", env.reset, world, **arguments)
        if not isinstance(returned, tuple) or len(returned) != 2:
            self._wrong_form("reset", returned, "(observation, info)", world)
        observation, info = returned
        if not isinstance(info, dict):
            self._refuse("reset", "info", _kind(info), "a dict", world)
        self.observation(observation, world, "reset")
        return observation, info

    def render(self, env: Env) -> Any:
        """``env.render``.

        Raises:
            EnvironmentStepError: it raised.
        """
        return self._called("render", env.render, None)

    def _called(self, verb: str, function: Callable[..., Any], world: int | None, **arguments: Any) -> Any:
        try:
            return function(**arguments)
        except (UsageError, RunError, KeyboardInterrupt):
            raise
        except BaseException as error:  # sys.exit() too
            self._raised(verb, error, world)

    def observation(self, observation: Any, world: int | None = None, verb: str = "step") -> None:
        """Check its form: keys, shape and type of numbers.

        Raises:
            EnvironmentStepError: it has another.
        """
        for key, space in self._leaves.items():
            field, value = "observation", observation
            if key != "":
                field = f"observation[{key!r}]"
                try:
                    value = observation[key]
                except (KeyError, IndexError, TypeError):
                    self._refuse(verb, "observation", _kind(observation), f"one with the key {key!r}", world)
            self._leaf(verb, field, value, space, world)

    def _leaf(self, verb: str, field: str, value: Any, space: gym.Space[Any], world: int | None) -> None:
        if (
            type(value) is _ARRAY
            and value.dtype == space.dtype
            and value.dtype != object
            and value.shape == space.shape
        ):
            return  # as nearly all are
        try:
            array = np.asarray(value)
        except ValueError:
            array = np.empty((), dtype=object)
        right = f"{_dtype(space)} of shape {space.shape}"
        if value is None or array.dtype == object or array.dtype.kind not in "biuf":
            self._refuse(verb, field, _kind(value), right, world)
        if array.shape != space.shape:
            self._refuse(verb, field, f"of shape {array.shape}", right, world)
        if not np.can_cast(array.dtype, _dtype(space), "same_kind") and not _fits(array, _dtype(space)):
            self._refuse(verb, field, f"of dtype {array.dtype}", right, world)

    def finite(self, observation: Any, world: int | None = None, verb: str = "step") -> None:
        """Check that an observation is of finite numbers.

        Raises:
            EnvironmentStepError: it is not.
        """
        for key in self._leaves:
            value = np.asarray(observation[key] if key != "" else observation)
            if value.dtype.kind == "f" and not np.isfinite(value).all():
                self._not_finite(verb, key, value, world)

    def not_finite(self, observations: dict[Any, np.ndarray[Any, Any]], verb: str) -> NoReturn:
        """Name what is not finite in the observations of some worlds by key, ``[E, ...]`` each.

        Raises:
            EnvironmentStepError: always.
        """
        for key, batch in observations.items():
            if batch.dtype.kind == "f" and not np.isfinite(batch).all():
                world = int(np.argwhere(~np.isfinite(batch))[0][0])
                self._not_finite(verb, "" if key is None else key, batch[world], world)
        raise EnvironmentStepError(f"{self.name} returned observations from {verb}() that are not finite")

    def _not_finite(self, verb: str, key: Any, value: np.ndarray[Any, Any], world: int | None) -> NoReturn:
        field = f"observation[{key!r}]" if key != "" else "observation"
        places = np.argwhere(~np.isfinite(value))[0].tolist()
        number = value[tuple(places)]
        where = f" at index {places[0] if len(places) == 1 else tuple(places)}" if places else ""
        raise EnvironmentStepError(
            f"{self.name} returned {field} with {number}{where} from {verb}(); it must be finite", world
        )

    def _number(self, reward: Any, world: int | None) -> float:
        array = isinstance(reward, np.ndarray) and reward.ndim == 0 and reward.dtype.kind in "biuf"
        if not array and not isinstance(reward, _NUMBERS):
            self._refuse("step", "reward", _kind(reward), "one real number", world)
        return float(reward)

    def _flag(self, field: str, flag: Any, world: int | None) -> bool:
        array = isinstance(flag, np.ndarray) and flag.ndim == 0 and flag.dtype == bool
        if not array and not isinstance(flag, _FLAGS):
            self._refuse("step", field, _kind(flag), "True or False", world)
        return bool(flag)

    def _wrong_form(self, verb: str, returned: Any, right: str, world: int | None) -> NoReturn:
        what = f"a tuple of {len(returned)}" if isinstance(returned, tuple) else _kind(returned)
        raise EnvironmentStepError(f"{self.name} must return {right} from {verb}(), not {what}", world)

    def _refuse(self, verb: str, field: str, what: str, right: str, world: int | None) -> NoReturn:
        raise EnvironmentStepError(f"{self.name} returned {field} {what} from {verb}(); it must be {right}", world)

    def _raised(self, verb: str, error: BaseException, world: int | None) -> NoReturn:
        """Name what was raised, or what was returned that a wrapper between raised at."""
        if isinstance(error, TypeError | ValueError | AttributeError | AssertionError):
            self._look_for_cause(verb, error, world)
        raise EnvironmentStepError(f"{self.name} raised {account(error)} in {verb}()", world) from error

    def _look_for_cause(self, verb: str, error: BaseException, world: int | None) -> None:
        """Check what a wrapper was given where it is a wrapper that raised."""
        frames = [frame for frame in _frames(error.__traceback__) if frame.f_code.co_name == verb]
        if not frames or not isinstance(frames[-1].f_locals.get("self"), gym.Wrapper):
            return
        if "unpack" in str(error):
            form = _STEP if verb == "step" else "(observation, info)"
            text = str(error)
            raise EnvironmentStepError(f"{self.name} must return {form} from {verb}(): {text}", world) from error
        given = frames[-1].f_locals
        if "reward" in given:
            self._number(given["reward"], world)
        for field in ("terminated", "truncated"):
            if field in given:
                self._flag(field, given[field], world)
        if "info" in given and not isinstance(given["info"], dict):
            self._refuse(verb, "info", _kind(given["info"]), "a dict", world)


def _leaves(space: gym.Space[Any]) -> Iterator[tuple[Any, gym.Space[Any]]]:
    """The parts that hold numbers, by key; the key of a space without parts is empty."""
    if isinstance(space, spaces.Dict):
        yield from space.spaces.items()
    elif isinstance(space, spaces.Tuple):
        yield from enumerate(space.spaces)
    elif space.shape is not None:
        yield "", space


def _dtype(space: gym.Space[Any]) -> np.dtype[Any]:
    return np.dtype(space.dtype)


def _fits(array: np.ndarray[Any, Any], dtype: np.dtype[Any]) -> bool:
    """Whether whole numbers lie within those of another type."""
    if array.dtype.kind not in "biu" or dtype.kind not in "iu":
        return False
    limits = np.iinfo(dtype)
    return bool((array >= limits.min).all() and (array <= limits.max).all())


def _kind(value: Any) -> str:
    """What a value is, in few words."""
    if value is None:
        return "None"
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype}, shape {value.shape}"
    text = " ".join(repr(value).split())
    return f"{text if len(text) <= 40 else text[:37] + '...'} ({type(value).__name__})"


def _frames(trace: types.TracebackType | None) -> Iterator[types.FrameType]:
    while trace is not None:
        yield trace.tb_frame
        trace = trace.tb_next
