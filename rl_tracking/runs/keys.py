"""Settings as they are given, in a config file and as ``key=value``: read, and checked as far as that needs no torch.

A misspelt key is therefore answered at once.
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta, Struct

from rl_tracking import limits, named_code, plugins, schema, toml_files
from rl_tracking.agents.arguments import ALGORITHMS, settable
from rl_tracking.errors import UsageError, unknown
from rl_tracking.schema import Field, Owner, about

CODE = ("env", "reward", "reward_activation")  # settings where a name with a colon is code
_TABLES = ("parameters", "arguments", "reward", "code")
DEFAULT_ALGO, DEFAULT_SCENARIO = "hybrid-grpo", "pursuit"
PLACES = ("algo", "scenario", "env", "recipe")  # what decides which other keys there are, and their defaults


class RunSettings(Struct, frozen=True, kw_only=True):
    """Settings of a training run besides the parameters of its task and the arguments of its algorithm."""

    algo: Annotated[str, about("algorithm (`rltrack list algos`)", kind="a name")] = DEFAULT_ALGO
    scenario: Annotated[str, about("scenario (`rltrack list scenarios`)", kind="a name")] = ""
    env: Annotated[str, about("Gymnasium environment in place of a scenario, such as CartPole-v1", kind="a name")] = ""
    recipe: Annotated[
        str,
        about("recipe of the defaults (`rltrack list recipes`), such as paper; by default the task's", kind="a name"),
    ] = ""
    steps: Annotated[int, Meta(ge=1, le=10**12), about("budget in macro-steps (decisions), all worlds together")]
    num_envs: Annotated[int, Meta(ge=1, le=10**9), about("number of worlds simulated together")]
    seed: Annotated[int, Meta(ge=0, le=limits.MAX_SEED), about("seed of networks, sampling and worlds")] = 0
    normalize: Annotated[bool, about("normalise observations and rewards (VecNormalize)")]
    device: Annotated[str, about("where worlds and networks live: cpu or cuda", kind="a name")] = "cpu"
    threads: Annotated[
        int, Meta(ge=1, le=1024), about("threads of torch on the CPU; one is best for small networks")
    ] = 1


TOP_LEVEL = tuple(schema.fields(RunSettings))


def parse_pair(text: str) -> tuple[str, Any]:
    """``key=value`` with a TOML value; a bare word is a name.

    Raises:
        UsageError: it has no key or no value.
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip() or not value.strip():
        raise UsageError(f"--set takes key=value, not '{text}'")
    line = f"value = {value.strip()}"
    try:
        tomllib.loads(line)
    except tomllib.TOMLDecodeError:
        return key.strip(), value.strip()
    except (ValueError, RecursionError):
        pass  # of which parse() says what is wrong
    return key.strip(), toml_files.parse(line, f"--set {key.strip()}")["value"]


def read_file(file: Path) -> dict[str, Any]:
    """The tables of a config file, their keys at the top checked.

    Raises:
        UsageError: what is wrong, in one line.
    """
    if not file.is_file():
        raise UsageError(f"config file '{file}' does not exist")
    what = f"config file '{file}'"
    content = toml_files.parse(toml_files.read(file, what), what)
    for key in content:
        if key not in TOP_LEVEL and key not in _TABLES:
            raise unknown(f"key in {what}:", key, [*TOP_LEVEL, *_TABLES])
    schema.check(RunSettings, {key: value for key, value in content.items() if key in TOP_LEVEL}, Owner.table(what))
    for name in _TABLES:
        if not isinstance(content.get(name, {}), dict):
            raise UsageError(f"{name} in {what} must be a table, [{name}], not {content[name]!r}")
    return content


def refuse_code(
    file: Path,
    content: dict[str, Any],
    over: list[dict[str, Any]],
    *,
    trust: bool,
    otherwise: str = named_code.OTHERWISE,
) -> None:
    """Refuse code that a config file names, and take its table of digests out of the content.

    Args:
        file: for errors.
        content: of the file.
        over: settings that overrule those of the file.
        trust: see :func:`rl_tracking.runs.settings.resolve`.
        otherwise: likewise.

    Raises:
        UsageError: it is not trusted, or not what it was.
    """
    digests = content.pop("code", None)
    tables = [{name: value for name, value in content.items() if name not in _TABLES}]
    tables += [content.get("parameters", {}), content.get("arguments", {}), *content.get("reward", {}).values()]
    # One by one: a key of one table must not hide that of another.
    stays = [{key: value for key, value in table.items() if not any(key in o for o in over)} for table in tables]
    named = named_code.find_all(stays, "setting", CODE)
    named_code.refuse(named, f"config file '{file}'", trust=trust, digests=digests, otherwise=otherwise)


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
