"""Names to objects: scenarios, rewards, activations, motions, controllers and algorithms.

Built-ins are listed here as ``module:attribute`` strings, so that nothing is imported before it is used.
Installed packages add to a kind by an entry point in the group ``rl_tracking.<kind>s``; rewards and activations
may also be given as ``path/to/file.py:function`` or ``package.module:function``.
"""

from __future__ import annotations

import hashlib
import importlib
import sys
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from rl_tracking import named_code
from rl_tracking.errors import UsageError, account, unknown

_BUILT_IN: dict[str, dict[str, str]] = {
    "scenario": {
        "pursuit": "rl_tracking.envs.scenarios.pursuit.scenario:make_pursuit",
        "track2d": "rl_tracking.envs.scenarios.track2d.scenario:make_track2d",
        "swarm": "rl_tracking.envs.scenarios.swarm.scenario:make_swarm",
        "intercept": "rl_tracking.envs.scenarios.intercept.scenario:make_intercept",
    },
    "motion": {
        "stationary": "rl_tracking.envs.parts.motions:stationary",
        "cube": "rl_tracking.envs.parts.motions:cube",
        "circle": "rl_tracking.envs.parts.motions:circle",
        "lissajous": "rl_tracking.envs.parts.motions:lissajous",
        "random-walk": "rl_tracking.envs.parts.motions_wandering:random_walk",
        "square": "rl_tracking.envs.parts.motions_on_paths:square",
        "waypoints": "rl_tracking.envs.parts.motions_on_paths:waypoints",
        "weave": "rl_tracking.envs.parts.motions_turning:weave",
        "jink": "rl_tracking.envs.parts.motions_turning:jink",
        "random": "rl_tracking.envs.parts.motions_turning:random_axes",
        "evader": "rl_tracking.envs.parts.motions_fleeing:evader",
        "track": "rl_tracking.envs.parts.motions_recorded:track",
    },
    "reward": {
        "tracking": "rl_tracking.envs.parts.rewards:TRACKING",
        "progress": "rl_tracking.envs.parts.rewards:PROGRESS",
        "sparse": "rl_tracking.envs.parts.rewards:SPARSE",
        "catch": "rl_tracking.envs.parts.rewards:CATCH",
        "nearer": "rl_tracking.envs.parts.rewards:NEARER",
        "basic": "rl_tracking.envs.parts.rewards:BASIC",
        "complex": "rl_tracking.envs.parts.rewards:COMPLEX",
        "formation": "rl_tracking.envs.scenarios.swarm.rewards:FORMATION",
        "formation-sandbox": "rl_tracking.envs.scenarios.swarm.rewards:FORMATION_SANDBOX",
        "interception": "rl_tracking.envs.scenarios.intercept.rewards:INTERCEPTION",
        "interception-sandbox": "rl_tracking.envs.scenarios.intercept.rewards:INTERCEPTION_SANDBOX",
        "search-sandbox": "rl_tracking.envs.scenarios.intercept.rewards:SEARCH_SANDBOX",
    },
    "activation": {
        "tanh": "rl_tracking.agents.maths.activations:tanh",
        "identity": "rl_tracking.agents.maths.activations:identity",
        "clip": "rl_tracking.agents.maths.activations:clip",
        "sigmoid": "rl_tracking.agents.maths.activations:sigmoid",
        "symlog": "rl_tracking.agents.maths.activations:symlog",
        "z-score": "rl_tracking.agents.maths.activations:z_score",
        "tanh-z-score": "rl_tracking.agents.maths.activations:tanh_z_score",
    },
    "adapter": {
        "gymnasium": "rl_tracking.adapters.adapt:adapt",
        "description": "rl_tracking.adapters.describing:describe",
    },
    "algo": {
        "hybrid-grpo": "rl_tracking.agents.hybrid_grpo:HybridGRPO",
        "grpo": "rl_tracking.agents.grpo:GRPO",
        "shac": "rl_tracking.agents.shac:SHAC",
        "ppo": "stable_baselines3:PPO",
        "reinforce": "rl_tracking.agents.reinforce:REINFORCE",
        "trpo": "sb3_contrib:TRPO",
        "sac": "stable_baselines3:SAC",
        "tqc": "sb3_contrib:TQC",
        "crossq": "sb3_contrib:CrossQ",
    },
    "controller": {
        "random": "rl_tracking.agents.controllers.guidance:random_policy",
        "hover": "rl_tracking.agents.controllers.guidance:hover",
        "pure-pursuit": "rl_tracking.agents.controllers.guidance:pure_pursuit",
        "lead-pursuit": "rl_tracking.agents.controllers.guidance:lead_pursuit",
        "pronav": "rl_tracking.agents.controllers.navigation:ProportionalNavigation",
        "formation-keeping": "rl_tracking.agents.controllers.formation:formation_keeping",
        "lawn-mower": "rl_tracking.agents.controllers.search:lawn_mower",
        "mppi": "rl_tracking.agents.controllers.mppi:MPPI",
        "mppi-clairvoyant": "rl_tracking.agents.controllers.mppi:ClairvoyantMPPI",
    },
    "recipe": dict.fromkeys(
        (
            "pursuit-drone",
            "pursuit-sandbox",
            "swarm-drone",
            "swarm-sandbox",
            "intercept-drone",
            "intercept-sandbox",
            "track2d",
            "gymnasium-box",
            "gymnasium-discrete",
            "paper",
            "pathwise",
        ),
        "rl_tracking.runs.recipes:FOLDER",
    ),
    # Of scenarios whose parameters can be checked without importing their worlds: a function of those that are given.
    "parameters": {
        "pursuit": "rl_tracking.envs.scenarios.pursuit.parameters:pursuit_parameters",
        "track2d": "rl_tracking.envs.scenarios.track2d.parameters:track2d_parameters",
        "swarm": "rl_tracking.envs.scenarios.swarm.parameters:swarm_parameters",
        "intercept": "rl_tracking.envs.scenarios.intercept.parameters:intercept_parameters",
    },
    "viewer": {
        "scene": "rl_tracking.viewer.show_task:show_scene",
        "pictures": "rl_tracking.viewer.show_task:show_pictures",
    },
}
_FROM_FILES = ("reward", "activation")
_FAILURES = (Exception, SystemExit)  # of a user's module; a script may call sys.exit()


def group(kind: str) -> str:
    """The entry point group of a kind."""
    return f"rl_tracking.{kind}s"


def names(kind: str) -> dict[str, str]:
    """Every known name of a kind and where it comes from (``built-in`` or the distribution).

    Raises:
        UsageError: an installed plugin bears a name that is taken already.
    """
    known = dict.fromkeys(_BUILT_IN[kind], "built-in")
    for point in _points(group(kind), tuple(sys.path)):
        owner = _owner(point)
        if point.name in known:
            raise UsageError(
                f"the {kind} '{point.name}' of {owner} is already defined by {known[point.name]}; "
                f"rename the entry point in group '{group(kind)}' or uninstall {owner}"
            )
        known[point.name] = owner
    return known


def every_name(kind: str) -> list[str]:
    """Every name of a kind, those that two packages bear included; nothing is imported or refused."""
    return list(dict.fromkeys([*_BUILT_IN[kind], *(point.name for point in _points(group(kind), tuple(sys.path)))]))


@lru_cache(maxsize=64)
def _points(group_name: str, search_path: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    """The entry points of a group; to find them, the metadata of every installed package is read."""
    return tuple(entry_points(group=group_name))


def _owner(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist is not None else point.value


def check(kind: str, spec: str) -> None:
    """Refuse a name that nothing bears; nothing is imported.

    Args:
        kind: one of the kinds above.
        spec: as for :func:`resolve`; of a file or a module it is not looked at whether it holds such a function.

    Raises:
        UsageError: nothing bears that name, two plugins do, or the file does not exist.
    """
    if kind in _FROM_FILES and ":" in spec:
        source, _, _function = spec.rpartition(":")
        if source.endswith(".py"):
            _check_file(kind, Path(source))
        return
    known = names(kind)  # refuses a name that is taken twice, whichever was asked for
    if spec not in known:
        if kind in _FROM_FILES and spec.endswith(".py"):
            raise UsageError(f"{kind} '{spec}' names no function; write {spec}:function")
        raise unknown(kind, spec, known)


def resolve(kind: str, spec: str) -> Any:
    """The object that ``spec`` names.

    Args:
        kind: one of the kinds above.
        spec: a name, or for rewards and activations ``file.py:function`` or ``package.module:function``.

    Raises:
        UsageError: nothing bears that name or two plugins do, or the file or module cannot be loaded.
    """
    if kind in _FROM_FILES and ":" in spec:
        source, _, function = spec.rpartition(":")
        return _from_file(kind, Path(source), function) if source.endswith(".py") else _from_module(kind, spec)
    check(kind, spec)
    if spec in _BUILT_IN[kind]:
        return _attribute(*_BUILT_IN[kind][spec].split(":"))
    (point,) = (point for point in _points(group(kind), tuple(sys.path)) if point.name == spec)
    try:
        return point.load()
    except _FAILURES as error:
        raise UsageError(f"the {kind} '{spec}' of {_owner(point)} failed to load: {account(error)}") from error


def summary(kind: str, name: str) -> str:
    """One line about an object: the first of its docstring, or the module's for objects that have none."""
    found = resolve(kind, name)
    text = getattr(found, "summary", None) or getattr(found, "__doc__", None) or ""
    return str(text).strip().split("\n")[0].rstrip(".")


def origin(kind: str, spec: str) -> dict[str, Any]:
    """What a checkpoint says of a plugin it was trained with: where it comes from, and the digest of code by name."""
    code = named_code.find(spec, kind, always=True) if kind in _FROM_FILES else None
    if code is not None:
        return {"name": spec, "source": code.source, "sha256": code.sha256}
    return {"name": spec, "source": names(kind).get(spec, "unknown")}


def _attribute(module: str, name: str) -> Any:
    return getattr(importlib.import_module(module), name)


def _from_module(kind: str, spec: str) -> Any:
    module_name, _, function = spec.rpartition(":")
    try:
        module = importlib.import_module(module_name)
    except _FAILURES as error:
        raise UsageError(f"{kind} module '{module_name}' cannot be imported: {account(error)}") from error
    return _function(kind, module, function, module_name)


def _check_file(kind: str, path: Path) -> None:
    if not path.is_file():
        raise UsageError(f"{kind} file '{path}' does not exist")


def _from_file(kind: str, path: Path, function: str) -> Any:
    _check_file(kind, path)
    # The name depends on the path, so that two files with one name stay two modules.
    name = f"rl_tracking_plugin_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]}"
    module = ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module
    try:
        # Not by an import, which would run compiled code that lies beside the file: only the file has been looked at.
        exec(compile(path.read_bytes(), str(path), "exec"), vars(module))
    except _FAILURES as error:
        del sys.modules[name]
        raise UsageError(f"{kind} file '{path}' cannot be imported: {account(error)}") from error
    return _function(kind, module, function, str(path))


def _function(kind: str, module: Any, name: str, where: str) -> Any:
    value = getattr(module, name, None)
    if value is None or not callable(value):
        public = [key for key, item in vars(module).items() if callable(item) and not key.startswith("_")]
        local = [key for key in public if getattr(vars(module)[key], "__module__", None) == module.__name__]
        raise unknown(f"{kind} function in {where}:", name, local or public or ["(none)"])
    return value
