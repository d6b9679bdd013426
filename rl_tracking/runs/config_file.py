"""The config file of a training run and ``key=value`` pairs, read and checked as far as that needs no algorithm."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta, Struct

from rl_tracking import limits, named_code, schema, toml_files
from rl_tracking.errors import UsageError, unknown
from rl_tracking.schema import Owner, about

CODE = ("env", "reward", "reward_activation")  # settings where a name with a colon is code
_TABLES = ("parameters", "arguments", "reward", "code")
DEFAULT_ALGO, DEFAULT_SCENARIO = "hybrid-grpo", "pursuit"
PLACES = ("algo", "scenario", "env", "recipe")  # what decides which other keys there are, and their defaults


class RunSettings(Struct, frozen=True, kw_only=True):
    """What a training run can be told beside the parameters of its task and the arguments of its algorithm."""

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


def read(file: Path) -> dict[str, Any]:
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
