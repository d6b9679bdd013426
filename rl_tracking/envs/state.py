"""State as a value: a frozen dataclass of tensors that share a leading axis of worlds."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor
from torch.compiler import is_dynamo_compiling

from rl_tracking.envs import layout, noise


@dataclasses.dataclass(frozen=True)
class State:
    """A batch of world states; every field is a tensor ``[B, ...]``, worlds fastest in memory (see ``layout``).

    A state is never changed in place: every operation returns a new one, so keeping a reference saves
    a world and assigning it restores the world. Subclasses only add tensor fields.
    """

    __slots__ = ("__dict__", "__weakref__", "_derived")

    @property
    def derived(self) -> dict[str, Tensor]:
        """What was computed from the fields, by name, for the step that begins here; not part of the value."""
        try:
            found: dict[str, Tensor] = object.__getattribute__(self, "_derived")
        except AttributeError:
            found = {}
            if not is_dynamo_compiling():
                object.__setattr__(self, "_derived", found)
        return found

    def derive(self, **values: Tensor) -> None:
        """Keep what was computed from the fields for the step that begins here; see :attr:`derived`."""
        if not is_dynamo_compiling():
            object.__setattr__(self, "_derived", values)

    def __getstate__(self) -> dict[str, Tensor]:
        """The fields alone are copied and pickled."""
        return dict(vars(self))

    def tensors(self) -> dict[str, Tensor]:
        """The fields by name, in order of declaration."""
        # vars() rather than dataclasses.fields(): this runs several times a step.
        return vars(self)

    def __len__(self) -> int:
        """Number of worlds B."""
        return int(next(iter(vars(self).values())).size(0))

    @property
    def device(self) -> torch.device:
        """The device that holds every field."""
        return next(iter(self.tensors().values())).device

    def map(self, function: Callable[[Tensor], Tensor]) -> Self:
        """Apply ``function`` to every field."""
        return self.replace(**{name: function(tensor) for name, tensor in self.tensors().items()})

    def replace(self, **changes: Tensor) -> Self:
        """This state with some fields replaced; like :func:`dataclasses.replace`, at a fraction of its cost."""
        new = object.__new__(type(self))
        object.__setattr__(new, "__dict__", {**vars(self), **changes})  # costs less than an update of what `vars` makes
        return new

    def complete(self, **last: Tensor) -> None:
        """Set fields of a state that is still being made: for its maker alone, before it is given to anybody."""
        vars(self).update(last)

    def index(self, worlds: int | slice | Tensor) -> Self:
        """The chosen worlds, as a state of their own; one integer keeps the leading axis (B = 1).

        A slice gives views, as in torch; indices or a mask give copies.
        """
        if isinstance(worlds, int):
            if not -len(self) <= worlds < len(self):
                raise IndexError(f"world {worlds} of {len(self)}")
            worlds = slice(worlds % len(self), worlds % len(self) + 1)
        if isinstance(worlds, slice):
            return self.map(lambda tensor: tensor[worlds])
        return self.map(lambda tensor: layout.take(tensor, worlds))

    __getitem__ = index

    def repeat(self, n: int) -> Self:
        """``n`` copies of every world, branch-major: rows ``[i * B, (i + 1) * B)`` are copy ``i``."""
        if n < 1:
            raise ValueError(f"a state can be repeated 1 time or more, not {n}")
        return self.map(lambda tensor: layout.repeated(tensor, n))

    def imagined(self, n: int) -> Self:
        """:meth:`repeat` with noise keys of their own: what is still to be drawn differs from what the worlds draw."""
        key, step = (self.tensors()[name] for name in ("key", "step"))
        return self.repeat(n).replace(key=noise.imagined_keys(key, step, n))

    def where(self, mask: Tensor, other: Self) -> Self:
        """This state where ``mask`` (``[B]`` bool) holds, ``other`` elsewhere."""
        theirs = other.tensors()
        masks = {dim: mask.reshape(-1, *[1] * (dim - 1)) for dim in {tensor.dim() for tensor in theirs.values()}}
        return self.replace(
            **{name: torch.where(masks[mine.dim()], mine, theirs[name]) for name, mine in self.tensors().items()}
        )

    def put(self, worlds: Tensor, other: Self) -> Self:
        """This state with the rows ``worlds`` (``[K]`` int64) taken from ``other`` (K worlds)."""
        theirs = other.tensors()
        return self.replace(
            **{name: tensor.index_put((worlds,), theirs[name]) for name, tensor in self.tensors().items()}
        )

    @classmethod
    def cat(cls, states: list[Self]) -> Self:
        """The worlds of several states, one batch after the other."""
        columns = [state.tensors() for state in states]
        return cls(**{name: layout.cat([column[name] for column in columns]) for name in columns[0]})

    def equal(self, other: object) -> bool:
        """True when every field has the same shape, type and bits (NaN equals NaN)."""
        return not self.differences(other)

    def differences(self, other: object) -> list[str]:
        """Names of the fields that differ from ``other``; the class name if the classes do."""
        if type(other) is not type(self):
            return [f"{type(self).__name__} is not {type(other).__name__}"]
        theirs = other.tensors()
        return [name for name, tensor in self.tensors().items() if not _bits_equal(tensor, theirs[name])]

    def controller_noise(self, rows: int, lanes: int) -> Tensor:
        """Uniform numbers in [0, 1) for a controller that acts at random, ``[B, rows, lanes]``, from key and step."""
        key, step = (self.tensors()[name] for name in ("key", "step"))
        draws = [noise.uniform(key, step * rows + row, noise.Stream.POLICY, lanes) for row in range(rows)]
        return torch.stack(draws, dim=1)

    def to(self, device: torch.device | str) -> Self:
        """The same state on ``device``."""
        if self.device == torch.device(device):
            return self
        return self.map(lambda tensor: layout.worlds_fastest(tensor.to(device)))

    def to_bytes(self) -> bytes:
        """A self-describing copy without pickled objects; see :meth:`from_bytes`."""
        buffer = io.BytesIO()
        # Contiguous copies: the bytes of equal states are equal, and hold nothing of other worlds.
        kept = self.map(lambda tensor: tensor.cpu().clone(memory_format=torch.contiguous_format))
        fields: dict[str, Any] = dict(kept.tensors())
        torch.save({"class": type(self).__name__, "fields": fields}, buffer)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The state that :meth:`to_bytes` wrote.

        Raises:
            ValueError: the bytes are no state, or one of another class or with other fields.
        """
        try:
            content = torch.load(io.BytesIO(data), weights_only=True)
            name, fields = content["class"], content["fields"]
        except Exception as error:
            raise ValueError(f"these bytes hold no saved {cls.__name__}") from error
        expected = [field.name for field in dataclasses.fields(cls)]
        if name != cls.__name__:
            raise ValueError(f"these bytes hold a {name}, not a {cls.__name__}")
        if list(fields) != expected:
            differing = ", ".join(sorted(set(expected) ^ set(fields))) or "order"
            raise ValueError(f"these bytes hold a {name} of another version; its fields differ in {differing}")
        return cls(**fields).map(layout.worlds_fastest)


def _bits_equal(a: Tensor, b: Tensor) -> bool:
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if a.is_floating_point():
        integer = {2: torch.int16, 4: torch.int32, 8: torch.int64}[a.element_size()]
        a, b = a.contiguous().view(integer), b.contiguous().view(integer)
    return torch.equal(a, b)
