"""Keys of settings and their values, checked without torch, so that a misspelt one is answered at once."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from msgspec import Struct

from rl_tracking import plugins, schema
from rl_tracking.agents.arguments import ALGORITHMS, settable
from rl_tracking.errors import UsageError, unknown
from rl_tracking.runs.config_file import DEFAULT_ALGO, DEFAULT_SCENARIO, PLACES, TOP_LEVEL, RunSettings, parse_pair
from rl_tracking.schema import Field, Owner


def check_pairs(
    pairs: list[str], *, algo: str | None, scenario: str | None, env: str | None, preset: str | None
) -> None:
    """Check a preset and the pairs of ``--set``, as far as that needs neither worlds nor networks.

    Args:
        pairs: ``key=value``.
        algo: name of the algorithm; None for the default one.
        scenario: name of the scenario; None for the default one.
        env: id of a Gymnasium environment in its place.
        preset: of the scenario.

    Raises:
        UsageError: an unknown preset or key, or a value that its key cannot have.
    """
    algo = algo or DEFAULT_ALGO
    of_preset = {} if preset is None else {"preset": preset}
    declared = None if env else declared_parameters(scenario, of_preset)
    if algo not in ALGORITHMS or (declared is None and not env):
        return  # of another package: its keys are known once it is imported
    arguments = settable(algo)
    parameters = None if declared is None else schema.fields(type(declared))
    given: dict[str, dict[str, Any]] = {"top": {}, "parameters": {}, "arguments": {}}
    for key, value in map(parse_pair, pairs):
        given[place_of(key, algo, parameters, arguments)][key] = value
    schema.check(RunSettings, given["top"], Owner())
    if not env:
        declared_parameters(scenario, given["parameters"] | of_preset)
    for key, value in given["arguments"].items():
        check_argument(arguments[key], value)


def declared_parameters(scenario: str | None, given: Mapping[str, Any]) -> Struct | None:
    """The parameters of a scenario that can check them without its worlds; None for another scenario.

    Raises:
        UsageError: an unknown preset or parameter, or a value that it cannot have.
    """
    name = scenario or DEFAULT_SCENARIO
    if name not in plugins.names("parameters"):
        return None
    checked: Struct = plugins.resolve("parameters", name)(given)
    return checked


def place_of(key: str, algo: str, parameters: Collection[str] | None, arguments: Mapping[str, Field]) -> str:
    """The table that a key belongs to: ``top``, ``parameters`` or ``arguments``.

    Args:
        key: of a setting.
        algo: name of the algorithm, for errors.
        parameters: names of the task's; None for those of an environment, which are not known beforehand.
        arguments: of the algorithm.

    Raises:
        UsageError: it belongs to none.
    """
    top = [name for name in TOP_LEVEL if name not in PLACES]
    if key in top:
        return "top"
    if parameters is not None and key in parameters:
        return "parameters"
    if key in arguments:
        return "arguments"
    refuse_argument_of_others(algo, key)
    if parameters is None:
        return "parameters"
    raise unknown("setting", key, [*top, *parameters, *arguments])


def refuse_argument_of_others(algo: str, key: str) -> None:
    """Name the algorithms that take an argument which this one lacks.

    Raises:
        UsageError: there are some.
    """
    others = [name for name in ALGORITHMS if key in settable(name)]
    if others:
        raise UsageError(f"{algo} has no {key}, {_names(others)}; use --algo {others[0]}, or leave {key} out")


def _names(algos: list[str]) -> str:
    return f"{algos[0]} has" if len(algos) == 1 else f"{', '.join(algos[:-1])} and {algos[-1]} have"


def check_argument(field: Field, value: Any) -> Any:
    """An argument's value as its kind.

    Raises:
        UsageError: it cannot be; where another algorithm's argument of that name can, it says so.
    """
    try:
        return field.check(value, Owner())
    except UsageError as error:
        for other in ALGORITHMS:
            same = settable(other).get(field.name)
            if same is not None and same.members != field.members and _fits(same, value):
                raise UsageError(f"{error}; {other} takes that") from None
        raise


def _fits(field: Field, value: Any) -> bool:
    try:
        field.check(value, Owner())
    except UsageError:
        return False
    return True
