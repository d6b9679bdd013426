"""Code that a file names, such as a reward ``mine.py:f``: found without running any of it, and run only if trusted.

Built-in names and those of installed entry points are no such code: see :mod:`rl_tracking.plugins`.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

from rl_tracking.errors import UsageError

_MODULE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
_IN_MODULE = re.compile(r"\w[\w./-]*")  # a function, or the id of an environment
_FILES = (".py", ".pyw", ".pyc", ".pyz", ".so", ".pyd")
TO_ALLOW = "if you trust it, add --trust (trust=True in Python)"
OTHERWISE = ", or name it yourself on the command line"  # what can be done instead of allowing it


@dataclass(frozen=True)
class NamedCode:
    """A file or a module that a name leads to.

    Attributes:
        place: where the name stands, such as ``reward``.
        name: as it is written there.
        source: ``file`` or ``module``.
        sha256: of the file, or of the module's file; None if there is none.
    """

    place: str
    name: str
    source: str
    sha256: str | None

    def __str__(self) -> str:
        where = self.name if self.name.endswith(_FILES) else self.name.rpartition(":")[0] or self.name
        digest = f"sha256 {self.sha256}" if self.sha256 else "which is not there"
        return f"{self.place} {self.name!r} is code in {self.source} {where!r} ({digest})"

    def to_dict(self) -> dict[str, Any]:
        """As a description keeps it."""
        return {"kind": self.place, "name": self.name, "source": self.source, "sha256": self.sha256}


def find(name: str, place: str, *, always: bool = False) -> NamedCode | None:
    """The code that a text names; None if it names none.

    Args:
        name: any text.
        place: where it stands.
        always: it stands where ``a:b`` can mean nothing else.
    """
    head, colon, tail = name.rpartition(":")
    file = head if head.endswith(_FILES) else name
    if file.endswith(_FILES):
        return NamedCode(place, name, "file", _digest_of_file(Path(file)))
    if colon and always:
        return NamedCode(place, name, "module", _digest_of_module(head))
    # Elsewhere a text of that form means what it will, unless there is such a module.
    digest = None
    if colon and _MODULE.fullmatch(head) and _IN_MODULE.fullmatch(tail):
        digest = _digest_of_module(head)
    elif "." in name and _MODULE.fullmatch(name):  # package.module.function
        digest = _digest_of_module(name) or _digest_of_module(name.rpartition(".")[0])
    return NamedCode(place, name, "module", digest) if digest else None


def find_all(value: Any, place: str, always: Collection[str] = ()) -> Iterator[NamedCode]:
    """All code named in a value of a JSON or TOML file, at any depth.

    Args:
        value: a table, a list or a plain value.
        place: where it stands.
        always: keys at whose values ``a:b`` can mean nothing else.
    """
    if isinstance(value, dict):
        for key, item in value.items():
            yield from find_all(key, "key")
            yield from find_all(item, key, always)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from find_all(item, place, always)
    elif isinstance(value, str):
        found = find(value, place, always=place in always)
        yield from [found] if found else []


def refuse(
    named: Iterable[NamedCode],
    what: str,
    *,
    trust: bool,
    digests: Mapping[str, str | None] | None,
    otherwise: str = "",
) -> None:
    """Refuse code that is not trusted, or that is not what it was.

    Args:
        named: what a file names and what would be run.
        what: the file, in words.
        trust: the user said so.
        digests: what the file says of the digest of each name; None for a file that need not say.
        otherwise: what else can be done, for the error.

    Raises:
        UsageError: in one line: which code, and how to allow it.
    """
    for code in named:
        if not trust:
            raise UsageError(f"{what} names code, which is not run: {code}; {TO_ALLOW}{otherwise}")
        if digests is not None and digests.get(code.name) != code.sha256:
            said = digests.get(code.name)
            then = (
                f", which has changed since (then sha256 {said}); put it back" if said else "; nothing says what it was"
            )
            raise UsageError(f"{what} names code, which is not run: {code}{then}{otherwise}")


def _digest_of_file(path: Path) -> str | None:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
    except (OSError, ValueError):  # unreadable, or no name of a file
        return None


def _digest_of_module(name: str) -> str | None:
    """Of the file that ``import name`` would run; packages around it are found, and not run."""
    spec = _spec(name)
    if spec is None or spec.origin is None:
        return None
    if not spec.has_location:  # a part of the interpreter
        return hashlib.sha256(f"{spec.origin} {sys.version}".encode()).hexdigest()
    return _digest_of_file(Path(spec.origin))


def _spec(name: str) -> ModuleSpec | None:
    """As ``importlib.util.find_spec``, which would import the packages around a module."""
    try:
        package, *parts = name.split(".")
        spec = importlib.util.find_spec(package)
        for part in parts:
            if spec is None or spec.submodule_search_locations is None:
                return None
            spec = PathFinder.find_spec(f"{spec.name}.{part}", spec.submodule_search_locations)
    except (ImportError, ValueError, AttributeError):  # no name of a module, or one that lies about itself
        return None
    return spec
