"""The folder of a study's results: what is in it, and whether a run may add to it.

====================================================  ==========================================================
``study.toml``                                        the study's file as it was when the folder was last run
``cells/<task>/<variant>/seed-<n>.jsonl``             evaluations along a training run
``gradients/<task>/<variant>/seed-<n>/at-<share>/``   of a study of gradients: the networks at that share of the run
                                                      and the gradients that were measured there
``*.failed.json``                                     why a job failed, beside where its results would be
====================================================  ==========================================================
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import rl_tracking
from rl_tracking import files
from rl_tracking.errors import UsageError
from rl_tracking.studies.config.study import MOST_SEEDS, Study
from rl_tracking.studies.execute import result_lines
from rl_tracking.studies.execute.job import Failed, Job
from rl_tracking.studies.execute.result_lines import SCHEMA, Origin, UnreadableError

STUDY_FILE = "study.toml"
_RESULT = re.compile(r"seed-[0-9]+(\.jsonl|\.failed\.json)")
_NEW = "give another --out"


def seeds_in(folder: Path, first: int = 0) -> int:
    """How many seeds a folder has results of, from the first one to the highest.

    Args:
        folder: of the study.
        first: the study's first seed.

    Raises:
        UsageError: more than a study can have.
    """
    names = [file.name for file in folder.glob("cells/*/*/seed-*.jsonl") if _RESULT.fullmatch(file.name)]
    end = first + MOST_SEEDS
    strange = [name for name in names if len(name) > len(f"seed-{end}.jsonl") or _seed(name) >= end]
    if strange:
        raise UsageError(f"'{folder}' holds {strange[0][:60]}, and a study has {MOST_SEEDS:,} seeds at most; delete it")
    return max((_seed(name) + 1 - first for name in names), default=0)


def _seed(name: str) -> int:
    return int(name.removeprefix("seed-").removesuffix(".jsonl"))


def failure_file(folder: Path, job: Job) -> Path:
    """Where the reason is kept that a job failed for."""
    return job.results(folder).with_suffix(".failed.json")


def record_failure(folder: Path, failed: Failed) -> None:
    """Keep the reason that a job failed for, in one line and with its traceback."""
    file = failure_file(folder, failed.job)
    file.parent.mkdir(parents=True, exist_ok=True)
    files.write_text(file, json.dumps({"error": failed.error, "traceback": failed.traceback}, indent=1))


def prepare(folder: Path, study: Study, jobs: Sequence[Job]) -> list[Job]:
    """Make the folder ready for a run, and return the jobs that are still to be done.

    Raises:
        UsageError: the folder holds something else, or results that this study would not make again.
    """
    _refuse_other_study(folder, study)
    for job in jobs:
        refuse_other_results(folder, job)
    files.write_text(folder / STUDY_FILE, study.text)
    for job in jobs:
        for name in job.files:
            files.remove_abandoned(folder / name)  # of a run that was killed
    return [job for job in jobs if not job.finished(folder)]


def _refuse_other_study(folder: Path, study: Study) -> None:
    """Refuse a folder of something else, or with cells of tasks or variants that this study does not have."""
    if any(folder.iterdir()) and not (folder / STUDY_FILE).is_file():
        raise UsageError(f"'{folder}' is not empty and holds no study; {_NEW}")
    tasks, variants = ({item.name for item in items} for items in (study.tasks, study.variants))
    for file in sorted(folder.glob("cells/*/*/seed-*")):
        task, variant = file.parts[-3:-1]
        if _RESULT.fullmatch(file.name) and (task not in tasks or variant not in variants):
            raise UsageError(
                f"'{folder}' holds another study: its cell {task}/{variant} is none of study '{study.name}'; {_NEW}"
            )


def refuse_other_results(folder: Path, job: Job) -> None:
    """Refuse results of a job, if there are any, that were made with other settings or another version.

    Raises:
        UsageError: they were, or the file is damaged.
    """
    file = job.results(folder)
    if not file.exists():
        return
    try:
        line = result_lines.read(file, Origin)[0]
    except UnreadableError as error:
        raise UsageError(f"'{file}' is damaged; delete it to run {job} again ({error})") from error
    if line.schema != SCHEMA:
        raise UsageError(f"{job} in '{folder}' has schema {line.schema}, this rl_tracking writes {SCHEMA}; {_NEW}")
    version = line.versions.get("rl_tracking")
    if version != rl_tracking.__version__:
        raise UsageError(f"{job} in '{folder}' is of rl_tracking {version}, this is {rl_tracking.__version__}; {_NEW}")
    if line.digest != job.digest:
        raise UsageError(f"{job} in '{folder}' was made with other settings, budget or evaluations; {_NEW}")


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder, so that no second run writes to it; the lock goes with the process, however that ends.

    Raises:
        UsageError: another run holds it, or a file bears its name.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"'{folder}' is a file; {_NEW}")
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with files.held(folder, f"another run is writing to '{folder}'; wait for it, or {_NEW}"):
            yield
    finally:
        if made:
            with suppress(OSError):  # it is empty only if the run was refused before anything was written
                folder.rmdir()
