"""What any training needs of an environment, checked before a snapshot strategy is selected."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import gymnasium as gym
from gymnasium import spaces

from rl_tracking.adapters import registry
from rl_tracking.adapters.blueprint import Blueprint
from rl_tracking.adapters.checks import Checks
from rl_tracking.adapters.reached_code import of_library
from rl_tracking.adapters.stacks import layers_of
from rl_tracking.errors import RunError, UsageError, account

Env = gym.Env[Any, Any]


def made_by(make: Callable[[], Env], name: str = "") -> Env:
    """The environment that a function makes.

    Args:
        make: the function.
        name: what an error calls it.

    Raises:
        UsageError: it raises, or makes something else than an environment.
    """
    name = name or getattr(make, "__qualname__", type(make).__name__)
    try:
        made = make()
    except (UsageError, RunError):
        raise
    except Exception as error:  # whatever the environment's constructor may raise
        raise UsageError(f"{name} cannot be made: {account(error)}") from error
    if not isinstance(made, gym.Env):
        raise UsageError(f"{name} must make a gymnasium.Env, not a {type(made).__name__}")
    return made


def maker_of(env: str | Callable[[], Env], parameters: dict[str, Any]) -> tuple[Callable[[], Env], Env]:
    """A function that makes environments, from an id with parameters or as it is, and what it has made."""
    if isinstance(env, str):
        make = functools.partial(registry.make, env, **parameters)
        return make, made_by(make, f"environment '{env}'")
    if parameters:
        raise UsageError(f"parameters ({', '.join(parameters)}) go with an id, not with a function")
    return env, made_by(env)


def refuse_unusable(blueprint: Blueprint) -> None:
    """Try a reset and a step of a sibling, unless the environment is a library's.

    Raises:
        UsageError: what is wrong, and what would be right.
        EnvironmentStepError: it raises, or returns what it must not.
    """
    env, name = blueprint.env, blueprint.name
    for what, space in (("observation", env.observation_space), ("action", env.action_space)):
        _refuse_text(name, what, space)
    if all(map(of_library, layers_of(env))):
        return
    _refuse_reset_without_seed(env.unwrapped)
    sibling = blueprint.build()
    checks = Checks.of(sibling)
    try:
        checks.reset(sibling, seed=0)
        checks.step(sibling, sibling.action_space.sample())
    finally:
        sibling.close()


def _refuse_text(name: str, what: str, space: gym.Space[Any]) -> None:
    inner = list(space.spaces.values()) if isinstance(space, spaces.Dict) else list(getattr(space, "spaces", ()))
    for part in (space, *inner):
        if isinstance(part, spaces.Text | spaces.Graph | spaces.Sequence | spaces.OneOf):
            raise UsageError(
                f"the {what} space of {name} is a {type(part).__name__}, which no policy here takes; "
                "wrap the environment so that it is a Box, Discrete, MultiDiscrete, MultiBinary or Dict of these"
            )


def _refuse_reset_without_seed(env: Any) -> None:
    try:
        inspect.signature(env.reset).bind(seed=0)
    except TypeError as error:
        raise UsageError(
            f"{type(env).__name__}.reset takes no seed; define reset(self, *, seed=None, options=None) and call "
            "super().reset(seed=seed) in it"
        ) from error
    except ValueError:  # no signature can be had
        return
