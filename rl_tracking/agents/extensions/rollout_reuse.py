"""The rollouts that are trained on again, saved beside the policy."""

from __future__ import annotations

import dataclasses
from collections import deque
from typing import Any, Generic, TypeVar

from rl_tracking.agents.collect.batches import Batch
from rl_tracking.errors import UsageError

Kind = TypeVar("Kind", bound=Batch)


class RolloutReuse(Generic[Kind]):
    """The latest batches, oldest first. SB3 saves what has a ``state_dict``: here tensors by name, no pickled object.

    Args:
        kind: class of the batches.
        most: how many are kept.
    """

    def __init__(self, kind: type[Kind], most: int) -> None:
        self._kind = kind
        self._batches: deque[Kind] = deque(maxlen=most)

    def with_latest(self, batch: Kind) -> list[Kind]:
        """``batch`` and the kept ones; then ``batch`` is kept, and the oldest dropped if there are too many."""
        together = [batch, *self._batches]
        self._batches.append(batch)
        return together

    def state_dict(self) -> dict[str, Any]:
        """Every field of every batch by name: tensors, dicts of tensors and numbers."""
        names = [field.name for field in dataclasses.fields(self._kind)]
        return {"batches": [{name: getattr(batch, name) for name in names} for batch in self._batches]}

    def load_state_dict(self, state: dict[str, Any], strict: bool = True) -> None:
        """Put back what :meth:`state_dict` gave.

        Raises:
            UsageError: it has other fields, whatever ``strict`` says.
        """
        # Batches by the names of their fields, so a file of another version is refused and not misread.
        try:
            batches = [self._kind(**fields) for fields in state["batches"]]
        except (TypeError, KeyError) as error:
            raise UsageError(f"the earlier rollouts saved with this model cannot be read: {error}") from error
        self._batches = deque(batches, maxlen=self._batches.maxlen)
