"""Runs the jobs of a gradient study that are not there yet, stage by stage."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import Any, cast

import rl_tracking
from rl_tracking import files
from rl_tracking.errors import UsageError
from rl_tracking.studies.execute import folder as folders
from rl_tracking.studies.execute.events import Event, Failed
from rl_tracking.studies.execute.local_backend import LocalBackend
from rl_tracking.studies.execute.run import Plan
from rl_tracking.studies.gradients.jobs import SCHEMA, Job, run_job, stages
from rl_tracking.studies.gradients.spec import GradientStudy

STUDY_FILE = "gradients.toml"
_NEW = "give another --out"


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a run did: how many jobs it finished, and those that failed."""

    finished: int
    failed: tuple[Failed, ...]


def run(
    study: GradientStudy,
    folder: Path,
    jobs: int,
    *,
    on_plan: Callable[[Plan], None],
    on_event: Callable[[Event], None],
) -> Outcome:
    """Run what is missing of a gradient study; jobs that failed before are tried again.

    Args:
        study: what to run.
        folder: of the results.
        jobs: processes at a time.
        on_plan: called once, before the first job.
        on_event: called for everything that happens to a job.

    Raises:
        UsageError: the folder holds something else.
    """
    with folders.locked(folder):
        everything = stages(study, folder)
        _prepare(folder, study, list(chain.from_iterable(everything)))
        waiting = [[job for job in stage if not job.file(folder).exists()] for stage in everything]
        on_plan(Plan(*(sum(map(len, part)) for part in (everything, waiting))))
        failed: list[Failed] = []
        finished = 0
        for stage in waiting:
            failed += _run_stage(stage, folder, jobs, on_event)
            finished += sum(job.file(folder).exists() for job in stage)
            if failed:  # what comes after needs it
                break
    return Outcome(finished, tuple(failed))


def _run_stage(stage: list[Job], folder: Path, jobs: int, on_event: Callable[[Event], None]) -> list[Failed]:
    failed: list[Failed] = []
    events = LocalBackend(folder, jobs, run_job).run(cast(Any, stage))
    with closing(cast(Any, events)):  # which ends the running jobs, on an error and on Ctrl-C too
        for event in events:
            if isinstance(event, Failed):
                failed.append(event)
                _record_failure(folder, event)
            on_event(event)
    return failed


def _record_failure(folder: Path, event: Failed) -> None:
    file = event.cell.file(folder).with_suffix(".failed.json")
    file.parent.mkdir(parents=True, exist_ok=True)
    files.write_text(file, json.dumps({"error": event.error, "traceback": event.traceback}, indent=1))


def _prepare(folder: Path, study: GradientStudy, jobs: list[Job]) -> None:
    """Make the folder ready for a run.

    Raises:
        UsageError: it holds something else, or results that this study would not make again.
    """
    inside = [path for path in folder.iterdir() if path.name != ".lock"]
    if inside and not (folder / STUDY_FILE).is_file():
        raise UsageError(f"'{folder}' is not empty and holds no gradient study; {_NEW}")
    for job in jobs:
        if job.file(folder).exists():
            _refuse_other(folder, job)
    files.write_text(folder / STUDY_FILE, study.text)
    for failure in folder.rglob("*.failed.json"):
        failure.unlink()


def _refuse_other(folder: Path, job: Job) -> None:
    """Refuse results that were made with other settings or another version."""
    line = folders.origin(job.file(folder))
    version = line.versions.get("rl_tracking")
    if line.schema != SCHEMA or version != rl_tracking.__version__:
        raise UsageError(f"{job} in '{folder}' is of rl_tracking {version}, this is {rl_tracking.__version__}; {_NEW}")
    if line.digest != job.digest:
        raise UsageError(f"{job} in '{folder}' was made with other settings; {_NEW}")
