"""What happens to the cells of a run, as values: a backend says it, whoever runs the study listens."""

from __future__ import annotations

import dataclasses
import traceback
from collections.abc import Iterator, Sequence
from typing import Protocol

from rl_tracking.studies.execute.cells import Cell


@dataclasses.dataclass(frozen=True)
class Started:
    """A cell began, or began again."""

    cell: Cell


@dataclasses.dataclass(frozen=True)
class Advanced:
    """A cell has spent a share of its budget."""

    cell: Cell
    share: float


@dataclasses.dataclass(frozen=True)
class Finished:
    """A cell is done; ``content`` has its results where the backend did not write them itself."""

    cell: Cell
    content: bytes | None = None


@dataclasses.dataclass(frozen=True)
class Failed:
    """A cell raised an error or its process died; ``error`` is one line."""

    cell: Cell
    error: str
    traceback: str


Event = Started | Advanced | Finished | Failed


class Backend(Protocol):
    """Where cells are run."""

    def run(self, cells: Sequence[Cell]) -> Iterator[Event]:
        """Run cells in this order, as far as there is room; closing the iterator stops what is still running."""


def told(error: BaseException) -> tuple[str, str]:
    """An error as one line, and its traceback."""
    line = " ".join(str(error).split()) or "no message"
    ours = type(error).__module__.startswith("rl_tracking.")
    return (line if ours else f"{type(error).__name__}: {line}"), "".join(traceback.format_exception(error))
