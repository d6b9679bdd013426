"""Constructors by declaration: signature, documentation, checks and defaults of what is declared in ``arguments``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar, cast, get_type_hints

from stable_baselines3.common.utils import LinearSchedule

from rl_tracking import schema
from rl_tracking.agents import recipes
from rl_tracking.agents.arguments import NO_SETTINGS, OF_A_CRITIC, algos_of
from rl_tracking.errors import UsageError, unknown
from rl_tracking.schema import REQUIRED, Field, Owner

_Algorithm = TypeVar("_Algorithm", bound=type)
_Arguments = TypeVar("_Arguments", bound=Mapping[str, Any])
_FIRST = ("self", "policy", "env")
_OF_NETWORK = ("net_arch", "log_std_init", "ortho_init")  # of a recipe, which a constructor takes in policy_kwargs


class FromRecipe:
    """The default of an argument in a signature: the recipe's value, or another one where the recipe says nothing."""

    def __init__(self, otherwise: Any) -> None:
        self.otherwise = otherwise

    def __repr__(self) -> str:
        """As a signature shows it."""
        return f"<recipe, else {self.otherwise!r}>"


def takes(declared: type) -> Callable[[_Algorithm], _Algorithm]:
    """Say which arguments an algorithm's constructor takes: its signature and a section of its docstring.

    Args:
        declared: a ``TypedDict`` of :mod:`rl_tracking.agents.arguments`.
    """

    def decorate(algorithm: _Algorithm) -> _Algorithm:
        init = vars(algorithm)["__init__"]
        init.__signature__ = _signature(init, declared, _parameters_of_sb3(algorithm))
        algorithm.declared = declared  # type: ignore[attr-defined]
        algorithm.__doc__ = f"{inspect.getdoc(algorithm)}\n\n{_documentation(declared)}"
        return algorithm

    return decorate


def complete(
    algorithm: type, env: Any, positional: tuple[Any, ...], given: _Arguments
) -> tuple[_Arguments, dict[str, Any]]:
    """The arguments of a constructor, checked; those that are not given come from the recipe of the environment.

    Args:
        algorithm: the class that is constructed.
        env: its environment; None, as while a checkpoint is loaded, needs no recipe.
        positional: what was given by position after policy and env.
        given: what was given by name.

    Returns:
        All arguments, and of them those that Stable-Baselines3's constructor takes.

    Raises:
        UsageError: an unknown name, a value that cannot be, or a recipe that does not exist.
        TypeError: too many arguments by position, or one given twice.
    """
    declared: type = algorithm.declared  # type: ignore[attr-defined]
    fields, of_sb3 = schema.fields(declared), _parameters_of_sb3(algorithm)
    owner = Owner(algorithm.__name__, "argument")
    for name in given:
        if name in of_sb3 and name not in fields:
            why = "has no critic and takes" if name in OF_A_CRITIC else "takes"
            raise UsageError(f"{owner.name} {why} no {name}")
        if name not in fields:
            raise unknown(owner.nowhere(owner.noun), name, fields)
    # By position too, as SB3's constructors are called.
    bound = inspect.signature(vars(algorithm)["__init__"]).bind_partial(*_FIRST, *positional, **given).arguments
    own = schema.check(declared, {name: value for name, value in bound.items() if name not in _FIRST}, owner)
    # In rising order of authority: declared defaults, the recipe, what was given.
    defaults = {name: field.default for name, field in fields.items() if field.default is not REQUIRED}
    # A loaded checkpoint brings its own arguments, so it needs no recipe.
    if env is not None and own.get("_init_setup_model", True):
        of_recipe = _of_recipe(algorithm, env, own.get("recipe"), [*fields, *_OF_NETWORK])
        network = {name: of_recipe.pop(name) for name in _OF_NETWORK if name in of_recipe}
        from_recipe = schema.check(declared, of_recipe, owner)
        defaults |= from_recipe
        if network:
            own["policy_kwargs"] = {**network, **(own.get("policy_kwargs") or {})}
        if "horizon" in defaults:  # where the recipe is another algorithm's and says nothing of branches
            defaults["horizon"] = min(defaults["horizon"], recipes.Recipe.rollout_of(time_limit(env)))
    taken = {name: _schedule(value) for name, value in {**defaults, **own}.items()}
    return cast(_Arguments, taken), {name: value for name, value in taken.items() if name in of_sb3}


def _of_recipe(algorithm: type, env: Any, name: str | None, known: Collection[str]) -> dict[str, Any]:
    scenario = _scenario_of(env)
    said = None if scenario is None else {"name": scenario.name, "parameters": scenario.parameters}
    recipe = recipes.find(name, said, env.action_space, algos_of(algorithm))
    reward = "" if said is None else str(said["parameters"].get("reward", ""))
    return recipe.arguments_for(reward, time_limit(env), known)


def time_limit(env: Any) -> int | None:
    """Steps after which an episode is truncated, where an environment or a ``VecEnv`` says so."""
    scenario = _scenario_of(env)
    if scenario is not None:
        return int(scenario.max_steps)
    inner = getattr(env, "unwrapped", env)
    # The spec of a wrapped environment has the limit that was asked for.
    first = inner.envs[0] if getattr(inner, "envs", None) else env
    limit = getattr(getattr(first, "spec", None), "max_episode_steps", None)
    return None if limit is None else int(limit)


def _scenario_of(env: Any) -> Any:
    """The scenario of an environment, or of the first of a ``VecEnv``, where all are alike; None without one."""
    inner = getattr(env, "unwrapped", env)
    world = inner.envs[0].unwrapped if getattr(inner, "envs", None) else inner
    scenario = getattr(world, "scenario", None)
    # Other environments may call something else so.
    return scenario if all(hasattr(scenario, name) for name in ("name", "parameters", "max_steps")) else None


def linear(text: str) -> LinearSchedule:
    """``linear:START:END`` as a schedule over the whole training; without END down to 0."""
    start, end = (*map(float, text.split(":")[1:]), 0.0)[:2]
    return LinearSchedule(start, end, 1.0)


def _schedule(value: Any) -> Any:
    return linear(value) if isinstance(value, str) and value.startswith("linear:") else value


# -- signatures ---------------------------------------------------------------------------------------------------


def _parameters_of_sb3(algorithm: type) -> Mapping[str, inspect.Parameter]:
    """The arguments of the nearest constructor of Stable-Baselines3, in their order."""
    nearest = next(
        cls for cls in algorithm.__mro__ if "stable_baselines3.common" not in cls.__module__ and _is_sb3(cls)
    )
    parameters = inspect.signature(vars(nearest)["__init__"]).parameters
    return {name: parameter for name, parameter in parameters.items() if name not in _FIRST}


def _is_sb3(cls: type) -> bool:
    return cls.__module__.startswith(("stable_baselines3.", "sb3_contrib."))


def _signature(init: Callable[..., None], declared: type, of_sb3: Mapping[str, inspect.Parameter]) -> inspect.Signature:
    fields, hints = schema.fields(declared), get_type_hints(declared)
    first = [inspect.signature(init).parameters[name] for name in _FIRST]
    by_place = [name for name in of_sb3 if name in fields]
    by_name = [name for name in fields if name not in of_sb3]
    kinds = {**dict.fromkeys(by_place, inspect.Parameter.POSITIONAL_OR_KEYWORD)}
    rest = [
        inspect.Parameter(
            name,
            kinds.get(name, inspect.Parameter.KEYWORD_ONLY),
            default=_default(fields[name], of_sb3.get(name)),
            annotation=hints[name],
        )
        for name in [*by_place, *by_name]
    ]
    return inspect.Signature([*first, *rest])


def _default(field: Field, of_sb3: inspect.Parameter | None) -> Any:
    default = field.default if field.default is not REQUIRED or of_sb3 is None else of_sb3.default
    return default if field.name in NO_SETTINGS else FromRecipe(default)


def _documentation(declared: type) -> str:
    """The section of a docstring that lists the arguments."""
    lines = ["Arguments (what is not given comes from the recipe of the task):"]
    for name, field in schema.fields(declared).items():
        if not name.startswith("_"):
            lines.append(f"    {name}: {field.description}; {field.kind}.")
    return "\n".join(lines)
