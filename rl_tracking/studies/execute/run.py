"""Runs the jobs of a study that are not finished yet, stage by stage."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import Any, cast

from rl_tracking.studies.config.study import Study
from rl_tracking.studies.execute import folder as folders
from rl_tracking.studies.execute.cells import cells_of
from rl_tracking.studies.execute.job import Backend, Event, Failed, Finished, Job, Started
from rl_tracking.studies.gradients.jobs import measurements


@dataclasses.dataclass(frozen=True)
class Plan:
    """How many jobs a run has, and how many of them are still to do."""

    jobs: int
    waiting: int


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a run did."""

    finished: tuple[Job, ...]
    failed: tuple[Failed, ...]


def stages(study: Study, only: str | None = None) -> list[list[Job]]:
    """All jobs of a study: the trainings, then what is measured of them. A stage needs files of those before.

    Args:
        study: what to run.
        only: a glob on ``task/variant``.

    Raises:
        UsageError: the settings of a variant are refused, or ``only`` matches no variant on any task.
    """
    cells = cells_of(study, only)
    return [[*cells], *(measurements(study.gradients, cells) if study.gradients else [])]


def run(
    study: Study,
    folder: Path,
    backend: Backend,
    *,
    only: str | None = None,
    on_plan: Callable[[Plan], None] | None = None,
    on_event: Callable[[Event], None] | None = None,
) -> Outcome:
    """Run what is missing of a study; jobs that failed before are tried again.

    Args:
        study: what to run.
        folder: of the results; see :mod:`rl_tracking.studies.execute.folder`.
        backend: where the jobs run.
        only: a glob on ``task/variant``.
        on_plan: called once, before the first job.
        on_event: called for everything that happens to a job, after the folder shows it.

    Raises:
        UsageError: the folder holds something else.
    """
    done, failed = list[Job](), list[Failed]()
    parts = stages(study, only)
    with folders.locked(folder):
        waiting = folders.prepare(folder, study, list(chain.from_iterable(parts)))
        if on_plan is not None:
            on_plan(Plan(sum(map(len, parts)), len(waiting)))
        for part in parts:
            # A job whose training failed has nothing to measure.
            ready = [job for job in part if job in waiting and job.ready(folder)]
            with closing(run_jobs(ready, folder, backend)) as events:
                for event in events:
                    if isinstance(event, Finished):
                        done.append(event.job)
                    if isinstance(event, Failed):
                        failed.append(event)
                    if on_event is not None:
                        on_event(event)
    return Outcome(tuple(done), tuple(failed))


def run_jobs(jobs: Sequence[Job], folder: Path, backend: Backend) -> Generator[Event, None, None]:
    """Run jobs and yield what happens to them, once the folder shows it."""
    # The generator's close() is what ends the running jobs, on an error and on Ctrl-C too.
    with closing(cast(Any, backend.run(jobs))) as events:
        for event in events:
            if isinstance(event, Started):
                folders.failure_file(folder, event.job).unlink(missing_ok=True)
            if isinstance(event, Failed):
                folders.record_failure(folder, event)
            yield event
