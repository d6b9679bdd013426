"""One step of a batch of worlds, and what the simulator makes of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Generic, Self, TypeVar, overload

from torch import Tensor

Value = TypeVar("Value")


class cached(Generic[Value]):  # noqa: N801 - used as a decorator, like functools.cached_property
    """``functools.cached_property`` as it is from Python 3.12 on: before, it takes a lock at every first read."""

    def __init__(self, function: Callable[[Any], Value]) -> None:
        self._function, self._name, self.__doc__ = function, function.__name__, function.__doc__

    @overload
    def __get__(self, owner: None, kind: type) -> cached[Value]: ...
    @overload
    def __get__(self, owner: object, kind: type) -> Value: ...
    def __get__(self, owner: Any, kind: type) -> Any:
        """Compute the value and put it where the next read finds it first."""
        if owner is None:
            return self
        value = self._function(owner)
        vars(owner)[self._name] = value
        return value


@dataclasses.dataclass(frozen=True)
class Step:
    """One control step of B worlds: the states before and after it, and the action between them.

    A scenario may define a step of its own that computes more of it (distances, say) when it is read: its method
    ``step(before, action, after)`` then makes that one.

    Attributes:
        before: the scenario's states before the step.
        action: ``[B, *action_space.shape]``, within the action space.
        after: the states after it.
    """

    before: Any
    action: Tensor
    after: Any

    @classmethod
    def of(cls, **fields: Any) -> Self:
        """A step from its fields; like the constructor, at a fraction of its cost."""
        new = object.__new__(cls)
        vars(new).update(fields)
        return new


@dataclasses.dataclass(frozen=True)
class Transition(Step):
    """A step and the scenario's answers about it.

    Attributes:
        observation: of the state after the step, ``[B, ...]``; may be a view of it, so that it must not be changed.
        reward: of the world, ``[B]``.
        rewards: ``[B]``, or ``[B, P]`` where each agent has its own; :attr:`reward` is then their sum.
        terms: the parts of the reward by name.
        measures: the scenario's measures of the step by name, ``[B]`` each.
        terminated: ``[B]`` bool: the task is over, the future is worth nothing.
        truncated: ``[B]`` bool: the time limit was reached.
    """

    observation: Tensor
    reward: Tensor
    rewards: Tensor
    terms: dict[str, Tensor]
    measures: dict[str, Tensor]
    terminated: Tensor
    truncated: Tensor

    def rows(self, worlds: int) -> Self:
        """The first ``worlds`` worlds."""
        return self.of(**{name: _first(value, worlds) for name, value in vars(self).items()})

    def detached(self) -> Self:
        """The same numbers outside of any graph."""
        return self.of(**{name: _detached(value) for name, value in vars(self).items()})

    @property
    def done(self) -> Tensor:
        """``[B]`` bool: the episode ended here."""
        return self.terminated | self.truncated


class SummedTerms(dict[str, Tensor]):
    """Terms of a reward whose sum is known already."""

    def __init__(self, terms: dict[str, Tensor], total: Tensor) -> None:
        super().__init__(terms)
        self.total = total


def total(terms: dict[str, Tensor]) -> Tensor:
    """The sum of the terms of a reward."""
    if isinstance(terms, SummedTerms):
        return terms.total
    first, *rest = terms.values()
    for term in rest:
        first = first + term
    return first


def _first(value: Any, worlds: int) -> Any:
    if isinstance(value, dict):
        return {name: part[:worlds] for name, part in value.items()}
    return value[:worlds]  # a tensor or a state


def _detached(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: part.detach() for name, part in value.items()}
    return value.detach() if isinstance(value, Tensor) else value.map(Tensor.detach)
