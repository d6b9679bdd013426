"""Gymnasium's registered environments by id, with errors that say what to do."""

from __future__ import annotations

import contextlib
import difflib
import importlib
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import gymnasium as gym

from rl_tracking.errors import UsageError, brief

# What an entry point's module begins with: the module it needs, and the extra that brings it.
_NEEDS = {"gymnasium.envs.mujoco": ("mujoco", "mujoco"), "gymnasium.envs.box2d": ("Box2D", "box2d")}


def make(env_id: str, **parameters: Any) -> gym.Env[Any, Any]:
    """Like ``gymnasium.make``.

    Raises:
        UsageError: nothing bears that id, or a package it needs is missing.
    """
    _import_needed(env_id)
    try:
        with warnings.catch_warnings(record=True) as said, quiet_mujoco():
            warnings.simplefilter("always")
            # Its own checker complains of the first step in several lines; here every step is checked.
            made = gym.make(env_id, **{"disable_env_checker": True, **parameters})
    except gym.error.UnregisteredEnv as error:
        raise UsageError(f"no environment '{env_id}'; {_suggestion(env_id)}") from error
    except (gym.error.Error, ImportError) as error:
        raise UsageError(f"no environment '{env_id}': {brief(error)}") from error
    for warning in said:  # of an environment that there is
        warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    return made


@contextlib.contextmanager
def quiet_mujoco() -> Iterator[None]:
    """Keep MuJoCo from printing its warnings of a model, and writing them to a file, once for every sibling."""
    mujoco: Any = sys.modules.get("mujoco")
    if mujoco is None:
        yield
        return
    before = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(lambda message: None)
    try:
        yield
    finally:
        mujoco.set_mju_user_warning(before)


def check_id(env_id: str) -> None:
    """Refuse an id whose name nothing bears; nothing is imported, and the version is left to :func:`make`.

    Raises:
        UsageError: no environment has that name.
    """
    known = {_name_of(other) for other in gym.registry}
    if ":" not in env_id and env_id not in gym.registry and _name_of(env_id) not in known:
        raise UsageError(f"no environment '{env_id}'; {_suggestion(env_id)}")


def _name_of(env_id: str) -> str:
    """An id without its version."""
    name, _, version = env_id.rpartition("-v")
    return name if version.isdigit() else env_id


def _import_needed(env_id: str) -> None:
    spec = gym.registry.get(env_id)
    entry = str(spec.entry_point) if spec is not None else ""
    module, extra = next((need for start, need in _NEEDS.items() if entry.startswith(start)), ("", ""))
    if not module:
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Box2D crashes where its warnings are errors
            importlib.import_module(module)
    except ImportError as error:
        raise UsageError(
            f"environment '{env_id}' needs {module}, which is not installed: pip install \"rl-tracking[{extra}]\""
        ) from error


def _suggestion(env_id: str) -> str:
    """The id whose name, without the version, is the nearest."""
    names = {_name_of(known).lower(): known for known in gym.registry}
    close = difflib.get_close_matches(_name_of(env_id).lower(), names, n=1, cutoff=0.7)
    return f"did you mean '{names[close[0]]}'?" if close else "gymnasium.pprint_registry() lists the known ones"
