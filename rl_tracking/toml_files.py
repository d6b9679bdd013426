"""TOML that may be anybody's: read with bounds on its size, its depth and its numbers, and refused in one line."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from rl_tracking import files
from rl_tracking.errors import UsageError, brief

DEEPEST = 32  # levels of tables and lists within each other
_LONGEST = 256 * 1024  # characters
_LONGEST_LINE = 8192  # tomllib takes the square of a key's parts
_WHOLE = 2**63  # TOML's own bound


def read(path: Path, what: str) -> str:
    """The text of a file: UTF-8, with a byte order mark or without.

    Args:
        path: the file.
        what: what errors call it, such as ``config file 'x.toml'``.

    Raises:
        UsageError: it cannot be read, is no UTF-8 or too long.
    """
    try:
        if path.stat().st_size > 4 * _LONGEST:
            raise UsageError(f"{what} has more than {_LONGEST:,} characters")
        return files.read_text(path)
    except UnicodeDecodeError as error:
        raise UsageError(f"{what} is no text in UTF-8: {error.reason} at byte {error.start}") from error
    except OSError as error:
        raise UsageError(f"{what} cannot be read: {error.strerror}") from error


def parse(text: str, what: str) -> dict[str, Any]:
    """The tables of a text.

    Raises:
        UsageError: it is no TOML, too long or nested too deeply, or holds a date or a number of more than 64 bits.
    """
    if len(text) > _LONGEST or max(map(len, text.split("\n"))) > _LONGEST_LINE:
        raise UsageError(
            f"{what} is too long: {_LONGEST:,} characters at most, and {_LONGEST_LINE:,} at most in a line"
        )
    try:
        content = tomllib.loads(text)
    except RecursionError as error:
        raise UsageError(f"{what} is nested too deeply; {DEEPEST} levels at most") from error
    except ValueError as error:  # TOMLDecodeError, and what int() says of 5,000 digits
        raise UsageError(f"{what} is not TOML: {brief(error)}") from error
    _check(content, what, "", DEEPEST)
    return content


def _check(value: Any, what: str, key: str, left: int) -> None:
    """Refuse what no setting can be."""
    if isinstance(value, dict | list):
        if left == 0:
            raise UsageError(f"{what} is nested too deeply; {DEEPEST} levels at most")
        for name, item in value.items() if isinstance(value, dict) else ((key, item) for item in value):
            _check(item, what, name, left - 1)
    elif isinstance(value, int):
        if not -_WHOLE <= value < _WHOLE:
            raise UsageError(f"{what}: {key[:100]} is a number of more than 64 bits")
    elif not isinstance(value, str | float):
        raise UsageError(f"{what}: {key[:100]} must not be a date or a time, {value}")
