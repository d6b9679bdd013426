"""What a user's function is given: copies, so that nothing it does in place reaches the world."""

from __future__ import annotations

import dataclasses
import difflib
from typing import Any

from torch import Tensor

from rl_tracking.envs.transition import Step


class Handout:
    """A read-only view of a step, a state or constants: every read of a tensor returns a copy of it.

    A copy of what is read costs less than one of everything, and a gradient runs through it.
    """

    __slots__ = ("_origin",)

    def __init__(self, origin: Any) -> None:
        object.__setattr__(self, "_origin", origin)

    def __getattr__(self, name: str) -> Any:
        """A copy of the tensor of that name, or a read-only view of the state of that name."""
        value = getattr(self._origin, name)
        if isinstance(value, Tensor):
            return value.clone()
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return Handout(value)
        if name.startswith("_") or not callable(value) or not hasattr(self._origin, "map"):
            return value
        return getattr(self._origin.map(Tensor.clone), name)  # a method of a state: of a copy of the whole

    def __setattr__(self, name: str, value: Any) -> None:
        """Refuse: what is handed out says how things are.

        Raises:
            AttributeError: always.
        """
        raise AttributeError(f"'{name}' of a {type(self._origin).__name__} cannot be set")

    def __len__(self) -> int:
        """Number of worlds."""
        return len(self._origin)

    def __getitem__(self, worlds: Any) -> Any:
        """Some of the worlds, as a state of their own."""
        return self._origin.map(Tensor.clone)[worlds]

    def __dir__(self) -> list[str]:
        """What can be read."""
        return offered(self._origin)

    def __repr__(self) -> str:
        """As the original."""
        return repr(self._origin)

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        """The original's, so that ``isinstance`` says what it would say of that."""
        return type(self._origin)


def handed_out(tensors: Any) -> Any:
    """A copy of a named tuple, a state or a tensor; whatever else there is as it is."""
    if isinstance(tensors, Tensor):
        return tensors.clone()
    if isinstance(tensors, tuple) and hasattr(tensors, "_fields"):
        return type(tensors)(*map(handed_out, tensors))
    return tensors.map(Tensor.clone) if hasattr(tensors, "map") else tensors


def offered(origin: Any) -> list[str]:
    """The names of what can be read of a step, a state or constants."""
    return sorted(name for name in dir(origin) if not name.startswith("_"))


def missing_name(error: BaseException, given: str) -> str:
    """What there is instead, for an ``AttributeError`` at something that was handed out; else nothing.

    Args:
        error: what a function raised.
        given: what it calls the thing it was given, such as ``step``.
    """
    origin = getattr(error, "obj", None) if isinstance(error, AttributeError) else None
    if type(origin) is Handout:
        origin = object.__getattribute__(origin, "_origin")
    if not dataclasses.is_dataclass(origin):
        return ""
    names = [name for name in offered(origin) if name not in _METHODS]
    close = difflib.get_close_matches(str(getattr(error, "name", "")), names, n=1, cutoff=0.6)
    hint = f"did you mean '{close[0]}'? " if close else ""
    called = given if isinstance(origin, Step) else f"a {type(origin).__name__} of {given}"
    return f"; {hint}{called} offers {', '.join(names)}"


# Of a state, which a reward needs none of.
_METHODS = (
    "cat complete derived device differences equal from_bytes index map put repeat replace tensors to to_bytes where of"
).split()
