"""Declared settings: kind, bounds, unit and a sentence of documentation, from which checks, errors and tables come.

A declaration is a msgspec ``Struct`` or a ``TypedDict`` whose fields are ``Annotated`` with :func:`about`::

    class Drone(Struct, kw_only=True, frozen=True):
        max_speed: Annotated[Positive, about("greatest speed", unit="m/s")] = 18.0

    read(Drone, {"max_speed": 3}, Owner("the drone", "parameter"))

Kinds are those of msgspec (``int``, ``float``, ``bool``, ``str``, ``Literal``, ``list``, ``dict``, another ``Struct``),
``Callable`` for any function, ``Path``, and unions of them. ``tuple[K, K]`` of a number K is a range, ``[low, high]``.
Numbers must be finite unless they are declared otherwise. A whole number serves as a float; nothing else is converted.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import math
import types
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints, is_typeddict

import msgspec
from msgspec import Meta, Struct

from rl_tracking.errors import UsageError, unknown

Count = Annotated[int, Meta(ge=1)]
CountOrZero = Annotated[int, Meta(ge=0)]
Positive = Annotated[float, Meta(gt=0)]
NonNegative = Annotated[float, Meta(ge=0)]
Share = Annotated[float, Meta(ge=0, le=1)]

REQUIRED = msgspec.NODEFAULT
_Declared = TypeVar("_Declared", bound=Struct)
_WORDS: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    dict: "a table",
    Path: "a path",
}


def about(description: str, *, unit: str = "", kind: str = "", default: Any = REQUIRED, finite: bool = True) -> Meta:
    """The documentation of a field.

    Args:
        description: one sentence, without the field's name and without a full stop.
        unit: such as ``m/s``.
        kind: what a value must be, in words, where the words made from the type say too little.
        default: of a field of a ``TypedDict``; a ``Struct`` has it behind the ``=``.
        finite: False where a number may be infinite.
    """
    said = {"unit": unit or None, "words": kind or None, "finite": None if finite else False}
    extra: dict[str, Any] = {name: value for name, value in said.items() if value is not None}
    return Meta(description=description, extra=extra if default is REQUIRED else extra | {"default": default})


@dataclasses.dataclass(frozen=True)
class Owner:
    """What has the fields, for the errors.

    Attributes:
        name: such as ``scenario 'pursuit'``; empty for settings that need none.
        noun: what a field is called: ``parameter``, ``argument``, ``key``.
        is_table: of a file: errors then begin with the name.
    """

    name: str = ""
    noun: str = "setting"
    is_table: bool = False

    @classmethod
    def table(cls, name: str) -> Owner:
        """Of a table of a file, such as ``study 'x', [budget]``."""
        return cls(name, "key", is_table=True)

    def subject(self, field: str) -> str:
        """A field as the subject of a sentence."""
        if self.is_table:
            return f"{self.name}: {field}"
        return f"{field} of {self.name}" if self.name else field

    def nowhere(self, field: str) -> str:
        """What an unknown name is: ``parameter of scenario 'pursuit':``, ``sensor of scenario 'pursuit':``."""
        if not self.name:
            return field if field == self.noun else f"{field}:"
        return f"{field} {'in' if self.is_table else 'of'} {self.name}:"

    def part(self, key: str) -> Owner:
        """Of the table under a key."""
        return self.table(f"{self.name}, [{key}]" if self.name else f"[{key}]")

    def item(self, key: str, value: Any) -> Owner:
        """Of one of the tables of a list under a key: called by its ``name``, if it has one."""
        name = value.get("name") if isinstance(value, dict) else None
        one = key.removesuffix("s")
        return self.table(f"{self.name}, {one} '{name}'" if isinstance(name, str) else f"{self.name}, a {one}")


@dataclasses.dataclass(frozen=True)
class Field:
    """One declared field.

    Attributes:
        name: of the field.
        members: the kinds that a value may have.
        default: :data:`REQUIRED` if there is none.
        description: a sentence without the name.
        unit: such as ``m/s``; may be empty.
        words: for the kind, where those made from the members say too little.
        finite: whether numbers must be.
    """

    name: str
    members: tuple[Any, ...]
    default: Any = REQUIRED
    description: str = ""
    unit: str = ""
    words: str = ""
    finite: bool = True

    @property
    def kind(self) -> str:
        """What a value must be, in words: ``a number from 0 to 200 m/s``."""
        if self.words:
            return self.words
        known = dict.fromkeys(words for member in self.members for words in _words(self.name, member, self.unit))
        return " or ".join(known)

    @property
    def bounds(self) -> str:
        """The bounds alone, for tables: ``0 to 200``, ``above 0``; empty without any."""
        found = [_bounds(*_split(member)) for member in self.members]
        return next((words.removeprefix(" of").removeprefix(" from").strip() for words in found if words), "")

    @property
    def choices(self) -> tuple[Any, ...]:
        """The values of ``Literal`` members."""
        kinds = [_split(member)[0] for member in self.members]
        return tuple(choice for kind in kinds if get_origin(kind) is Literal for choice in get_args(kind))

    def check(self, value: Any, owner: Owner) -> Any:
        """``value`` as the first of the kinds that it is.

        Raises:
            UsageError: it is none of them.
        """
        if type(value).__module__ == "numpy" and getattr(value, "shape", None) == ():
            value = value.item()
        for member in self.members:
            try:
                return _converted(self, value, member, owner)
            except msgspec.ValidationError:
                pass
        if isinstance(value, str) and any(isinstance(choice, str) for choice in self.choices):
            raise unknown(owner.nowhere(self.name), value, map(str, self.choices))
        raise UsageError(f"{owner.subject(self.name)} must be {self.kind}, not {value!r}")


@lru_cache(maxsize=256)
def fields(declaration: type) -> Mapping[str, Field]:
    """The fields of a ``Struct`` or a ``TypedDict`` by name, in the order of their declaration."""
    hints = get_type_hints(declaration, include_extras=True)
    if is_typeddict(declaration):
        return {name: _field(name, hint, REQUIRED) for name, hint in hints.items()}
    return {
        field.name: _field(field.name, hints[field.name], _default(field))
        for field in msgspec.structs.fields(declaration)
    }


def check(declaration: type, values: Mapping[str, Any], owner: Owner) -> dict[str, Any]:
    """The given values, checked; fields that are not given are left out.

    Raises:
        UsageError: an unknown name, or a value that its field cannot have.
    """
    known = fields(declaration)
    for name in values:
        if name not in known:
            raise unknown(owner.nowhere(owner.noun), str(name), known)
    return {name: known[name].check(value, owner) for name, value in values.items()}


def read(declaration: type[_Declared], values: Any, owner: Owner) -> _Declared:
    """The values as the declared ``Struct``, its defaults filled in.

    Raises:
        UsageError: they are no table, a required one is missing, a name is unknown, or a value cannot be.
    """
    if not isinstance(values, dict):
        raise UsageError(f"{owner.name} must be a table, not {values!r}")
    checked = check(declaration, values, owner)
    for name, field in fields(declaration).items():
        if field.default is REQUIRED and name not in checked:
            raise UsageError(f"{owner.subject(name)} is missing; it must be {field.kind}")
    return declaration(**checked)


# -- kinds --------------------------------------------------------------------------------------------------------


def _field(name: str, hint: Any, default: Any) -> Field:
    kind, metas = _split(hint)
    members = get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (Annotated[kind, *metas, None],)
    description, extra = "", dict[str, Any]()
    for meta in metas:
        description, extra = meta.description or description, extra | (meta.extra or {})
    return Field(name, tuple(members), **{"default": default, "description": description, **extra})


def _default(field: msgspec.structs.FieldInfo) -> Any:
    return field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()


def _split(hint: Any) -> tuple[Any, tuple[Meta, ...]]:
    """A type and the metas it is annotated with."""
    if get_origin(hint) is not Annotated:
        return hint, ()
    kind, *metas = get_args(hint)
    return kind, tuple(meta for meta in metas if isinstance(meta, Meta))


def _converted(field: Field, value: Any, member: Any, owner: Owner) -> Any:
    """``value`` as one kind.

    Raises:
        msgspec.ValidationError: it is of another kind, or out of bounds.
        UsageError: it is a table, or a list of tables, in which something is wrong.
    """
    kind, metas = _split(member)
    origin, inside = get_origin(kind) or kind, get_args(kind)
    if kind is Any:
        return value
    if origin is collections.abc.Callable or kind is Path:  # which msgspec does not convert
        if not (isinstance(value, Path) if kind is Path else callable(value)):
            raise msgspec.ValidationError
        return value
    if _is_struct(kind) and isinstance(value, dict):
        return read(kind, value, owner.part(field.name))
    if origin is list and _is_struct(inside[0]) and isinstance(value, list):
        converted: Any = [read(inside[0], item, owner.item(field.name, item)) for item in value]
    elif origin is dict and isinstance(value, dict):
        inner = {key: dataclasses.replace(field, name=f"{field.name}.{key}") for key in value}
        keys = {key: _converted(field, key, inside[0], owner) for key in value}
        converted = {keys[key]: _converted(inner[key], item, inside[1], owner) for key, item in value.items()}
    else:
        converted = msgspec.convert(value, member)
    if (
        (kind is float and (math.isnan(converted) or (field.finite and math.isinf(converted))))
        or (origin is tuple and not (all(map(math.isfinite, converted)) and converted[0] <= converted[1]))
        or (isinstance(converted, list | str) and len(converted) < _least_length(metas))
    ):
        raise msgspec.ValidationError
    return converted


def _least_length(metas: tuple[Meta, ...]) -> int:
    return max((meta.min_length or 0 for meta in metas), default=0)


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Struct)


def _words(name: str, member: Any, unit: str) -> Iterator[str]:
    """What values of one kind are called."""
    kind, metas = _split(member)
    origin, inside, bounds = get_origin(kind) or kind, get_args(kind), _bounds(kind, metas)
    behind = f" {unit}" if unit and bounds else ""
    if kind is types.NoneType:
        return
    if origin is Literal:
        *first, last = map(str, inside)
        yield f"{', '.join(first)} or {last}" if first else last
    elif kind is float and not bounds:
        yield "a finite number"
    elif origin is tuple:
        yield "a range [low, high]"
    elif origin is list:
        yield f"{_least_length(metas)} or more tables, [[{name}]]" if _is_struct(inside[0]) else "a list"
    elif origin is collections.abc.Callable:
        yield "a function"
    elif _is_struct(kind):
        yield f"a table, [{name}]"
    else:
        yield f"{_WORDS.get(origin, 'anything')}{bounds}{behind}"


def _bounds(kind: Any, metas: tuple[Meta, ...]) -> str:
    """The bounds of a number, to follow its kind."""
    low, above, high, below = (
        next((getattr(meta, key) for meta in metas if getattr(meta, key) is not None), None)
        for key in ("ge", "gt", "le", "lt")
    )
    if low is not None and high is not None:
        return f" from {_number(low)} to {_number(high)}"
    found = [(" of {} or more", low), (" above {}", above), (" of {} or less", high), (" below {}", below)]
    return " and".join(words.format(_number(value)) for words, value in found if value is not None)


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.10g}"
