"""Reads the fields of a TOML table one by one, with their kinds, and refuses what is left over."""

from __future__ import annotations

import math
import re
from typing import Any

from rl_tracking.errors import UsageError, unknown

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_MISSING = object()


class Fields:
    """One table; ``where`` stands in front of every complaint.

    Every method raises a UsageError in one line if the field is of the wrong kind, or missing and without a default.
    """

    def __init__(self, table: Any, where: str) -> None:
        if not isinstance(table, dict):
            raise UsageError(f"{where} must be a table, not {table!r}")
        self._left, self._where, self._known = dict(table), where, list[str]()

    def _take(self, key: str, kind: str, default: Any) -> Any:
        self._known.append(key)
        if key not in self._left:
            if default is _MISSING:
                raise UsageError(f"{self._where}: {key} is missing; it must be {kind}")
            return default
        return self._left.pop(key)

    def _refuse(self, key: str, kind: str, value: Any) -> UsageError:
        return UsageError(f"{self._where}: {key} must be {kind}, not {value!r}")

    def text(self, key: str, default: Any = _MISSING) -> Any:
        """A text that is not empty."""
        value = self._take(key, "a text", default)
        if value is not default and (not isinstance(value, str) or not value.strip()):
            raise self._refuse(key, "a text", value)
        return value

    def name(self, key: str) -> str:
        """A name that can be a folder's on any system."""
        kind = "a name of letters, digits, '.', '_' and '-' that starts with a letter or digit"
        value = self._take(key, kind, _MISSING)
        if not isinstance(value, str) or not _NAME.fullmatch(value) or value.endswith("."):
            raise self._refuse(key, kind, value)
        return value

    def one_of(self, key: str, choices: tuple[str, ...], default: Any = _MISSING) -> Any:
        """One of some words."""
        kind = " or ".join(choices)
        value = self._take(key, kind, default)
        if value is not default and value not in choices:
            raise self._refuse(key, kind, value)
        return value

    def count(self, key: str, default: Any = _MISSING, least: int = 1, most: int | None = None) -> Any:
        """A whole number."""
        kind = f"a whole number of {least} or more" if most is None else f"a whole number from {least} to {most:,}"
        value = self._take(key, kind, default)
        if value is not default and (type(value) is not int or value < least or (most is not None and value > most)):
            raise self._refuse(key, kind, value)
        return value

    def number(self, key: str, default: Any = _MISSING, *, positive: bool = False) -> Any:
        """A finite number."""
        kind = "a number above 0" if positive else "a finite number"
        value = self._take(key, kind, default)
        if value is default:
            return value
        if not is_number(value) or (positive and value <= 0):
            raise self._refuse(key, kind, value)
        return float(value)

    def numbers(self, key: str, default: tuple[float, float]) -> tuple[float, float]:
        """Two numbers, the lower one first."""
        kind = "two numbers, [low, high]"
        if not self.given(key):
            return default
        value = self._take(key, kind, default)
        if not isinstance(value, list) or len(value) != 2 or not all(map(is_number, value)) or value[0] >= value[1]:
            raise self._refuse(key, kind, value)
        return float(value[0]), float(value[1])

    def flag(self, key: str, default: bool) -> bool:
        """True or false."""
        value = self._take(key, "true or false", default)
        if type(value) is not bool:
            raise self._refuse(key, "true or false", value)
        return value

    def texts(self, key: str, default: tuple[str, ...]) -> tuple[str, ...]:
        """Some texts, one at least."""
        kind = "a list of texts"
        if not self.given(key):
            return default
        value = self._take(key, kind, default)
        if not isinstance(value, list) or not value or not all(isinstance(item, str) for item in value):
            raise self._refuse(key, kind, value)
        return tuple(value)

    def values(self, key: str) -> tuple[Any, ...]:
        """A list of anything, empty if not given."""
        value = self._take(key, "a list", [])
        if not isinstance(value, list):
            raise self._refuse(key, "a list", value)
        return tuple(value)

    def table(self, key: str) -> dict[str, Any]:
        """A table, empty if not given."""
        value = self._take(key, "a table", {})
        if not isinstance(value, dict):
            raise self._refuse(key, "a table", value)
        return value

    def tables(self, key: str, *, least: int) -> list[Any]:
        """An array of tables."""
        kind = f"{least} or more tables, [[{key}]]"
        value = self._take(key, kind, [])
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise self._refuse(key, kind, value)
        if len(value) < least:
            raise UsageError(f"{self._where}: there must be {kind}")
        return value

    def given(self, key: str) -> bool:
        """Whether the field is there and has not been read."""
        self._known.append(key)
        return key in self._left

    def end(self) -> None:
        """Refuse the fields that nobody asked for."""
        for key in self._left:
            raise unknown(f"key in {self._where}:", key, dict.fromkeys(self._known))


def is_number(value: Any) -> bool:
    """A finite number, and no truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
