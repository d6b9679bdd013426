"""Options given behind a name: ``pronav:3``, ``mppi:branches=256,horizon=20``, ``jink:turn=[45,135]``.

Nothing here imports torch, so that a wrong option is refused at once.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from typing import Any, TypeVar

from msgspec import Struct

from rl_tracking import plugins, schema
from rl_tracking.errors import UsageError
from rl_tracking.schema import Owner

_Declared = TypeVar("_Declared", bound=Struct)
_COMMA = re.compile(r",(?![^\[\]]*\])")  # not those of a range in brackets


def parsed(kind: str, spec: str, options: Mapping[str, type[Struct]]) -> tuple[str, Struct | None]:
    """A name with options as the name, and its options if it has any; nothing is imported.

    Args:
        kind: of :mod:`rl_tracking.plugins`, such as ``motion``.
        spec: a name of that kind, with or without options.
        options: the Struct of each name that takes some.

    Raises:
        UsageError: nobody bears the name, or an option is unknown or has a value that it cannot have.
    """
    name, colon, text = spec.partition(":")
    if name not in plugins.names(kind):
        plugins.check(kind, spec)
    if not colon:
        return name, options[name]() if name in options else None
    if name not in options:
        raise UsageError(f"{kind} '{name}' takes no options; leave out '{colon}{text}'")
    return name, read(kind, name, text, options[name])


def summary(kind: str, name: str, options: Mapping[str, type[Struct]]) -> str:
    """What a name of a kind is in a line, and its options with their defaults."""
    line = plugins.summary(kind, name)
    return f"{line}; {as_text(name, options[name])}" if name in options else line


def read(what: str, name: str, text: str, declared: type[_Declared]) -> _Declared:
    """The options in ``text`` as their declared Struct; those that are not given have their defaults.

    Args:
        what: has the options, in a word: ``controller``, ``motion``.
        name: of it.
        text: behind its name and the colon.
        declared: the Struct.

    Raises:
        UsageError: an option is unknown, given twice, or has a value that it cannot have.
    """
    given: dict[str, Any] = {}
    for key, value in (_pair(what, name, part, declared) for part in _COMMA.split(text)):
        if key in given:
            raise UsageError(f"{key} of {what} '{name}' is given twice")
        given[key] = value
    return schema.read(declared, given, Owner(f"{what} '{name}'", "option"))


def as_text(name: str, declared: type[Struct]) -> str:
    """Every option with its default, as it may be given: ``jink:interval=1.5,turn=[45,135]``."""
    found = schema.fields(declared).values()
    return f"{name}:{','.join(f'{field.name}={_text(field.default)}' for field in found)}"


def _text(default: Any) -> str:
    if isinstance(default, tuple):
        return f"[{','.join(map(_text, default))}]"
    if isinstance(default, bool):
        return str(default).lower()
    return f"{default:g}" if isinstance(default, float) else str(default)


def _pair(what: str, name: str, text: str, declared: type[Struct]) -> tuple[str, Any]:
    """``key=value``, or the value of the first option alone.

    Raises:
        UsageError: there is no key or no value.
    """
    first = next(iter(schema.fields(declared)))
    key, value = (part.strip() for part in (text if "=" in text else f"{first}={text}").split("=", 1))
    if not key or not value:
        raise UsageError(f"options of {what} '{name}' are given as {name}:{first}=VALUE, not '{text}'")
    try:
        return key, tomllib.loads(f"value = {value}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError):
        return key, value
