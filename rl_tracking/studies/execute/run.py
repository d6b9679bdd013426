"""Runs the cells of a study that are not there yet."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, cast

from rl_tracking.studies.config.study import Study
from rl_tracking.studies.execute import folder as folders
from rl_tracking.studies.execute.cells import Cell, cells_of
from rl_tracking.studies.execute.events import Backend, Event, Failed, Finished, Started


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a run has before it: how many cells there are, and how many of them are still to do."""

    cells: int
    waiting: int


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a run did."""

    finished: tuple[Cell, ...]
    failed: tuple[Failed, ...]


def run(
    study: Study,
    folder: Path,
    backend: Backend,
    *,
    only: str | None = None,
    on_plan: Callable[[Plan], None] | None = None,
    on_event: Callable[[Event], None] | None = None,
) -> Outcome:
    """Run what is missing of a study; cells that failed before are tried again.

    Args:
        study: what to run.
        folder: of the results; see :mod:`rl_tracking.studies.execute.folder`.
        backend: where the cells run.
        only: a glob on ``task/variant``.
        on_plan: called once, before the first cell.
        on_event: called for everything that happens to a cell, after the folder shows it.

    Raises:
        UsageError: the folder holds something else.
    """
    done, failed = list[Cell](), list[Failed]()
    cells = cells_of(study, only)
    with folders.locked(folder):
        waiting = folders.prepare(folder, study, cells)
        if on_plan is not None:
            on_plan(Plan(len(cells), len(waiting)))
        with closing(run_cells(waiting, folder, backend)) as events:
            for event in events:
                if isinstance(event, Finished):
                    done.append(event.cell)
                if isinstance(event, Failed):
                    failed.append(event)
                if on_event is not None:
                    on_event(event)
    return Outcome(tuple(done), tuple(failed))


def run_cells(cells: Sequence[Cell], folder: Path, backend: Backend) -> Generator[Event, None, None]:
    """Run cells and say what happens to them, once the folder shows it."""
    # The generator's close() is what ends the running cells, on an error and on Ctrl-C too.
    with closing(cast(Any, backend.run(cells))) as events:
        for event in events:
            _keep(folder, event)
            yield event


def _keep(folder: Path, event: Event) -> None:
    """Let the folder show what happened."""
    if isinstance(event, Started):
        folders.failure_file(folder, event.cell).unlink(missing_ok=True)
    if isinstance(event, Finished) and event.content is not None:
        folders.record_results(folder, event.cell, event.content)
    if isinstance(event, Failed):
        folders.record_failure(folder, event.cell, event.error, event.traceback)
