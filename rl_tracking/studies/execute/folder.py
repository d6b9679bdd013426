"""The folder of a study's results: what is in it, and whether a run may add to it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import rl_tracking
from rl_tracking import files
from rl_tracking.errors import UsageError
from rl_tracking.studies.config.study import Study
from rl_tracking.studies.execute import result_lines
from rl_tracking.studies.execute.cells import SCHEMA, Cell
from rl_tracking.studies.execute.result_lines import Origin

STUDY_FILE = "study.toml"
_RESULT = re.compile(r"seed-[0-9]+(\.jsonl|\.failed\.json)")
_MOST_SEEDS = 10_000
_NEW = "give another --out"


def finished(folder: Path, cell: Cell) -> bool:
    """Whether the results of a cell are there."""
    return cell.file(folder).exists()


def seeds_in(folder: Path) -> int:
    """How many seeds a folder has results of: one more than the highest.

    Raises:
        UsageError: more than a study can have.
    """
    names = [file.name for file in folder.glob("cells/*/*/seed-*.jsonl") if _RESULT.fullmatch(file.name)]
    strange = [name for name in names if len(name) > len(f"seed-{_MOST_SEEDS}.jsonl") or _seed(name) >= _MOST_SEEDS]
    if strange:
        raise UsageError(
            f"'{folder}' holds {strange[0][:60]}, and a study has {_MOST_SEEDS:,} seeds at most; delete it"
        )
    return max((_seed(name) + 1 for name in names), default=0)


def _seed(name: str) -> int:
    return int(name.removeprefix("seed-").removesuffix(".jsonl"))


def failure_file(folder: Path, cell: Cell) -> Path:
    """Where it is said why a cell failed."""
    return cell.file(folder).with_name(f"seed-{cell.seed}.failed.json")


def record_failure(folder: Path, cell: Cell, error: str, traceback: str) -> None:
    """Say why a cell failed, in one line and with its traceback."""
    file = failure_file(folder, cell)
    file.parent.mkdir(parents=True, exist_ok=True)
    files.write_text(file, json.dumps({"error": error, "traceback": traceback}, indent=1))


def record_results(folder: Path, cell: Cell, content: bytes) -> None:
    """Write results that came from elsewhere; the file is complete or not there."""
    file = cell.file(folder)
    file.parent.mkdir(parents=True, exist_ok=True)
    files.write_bytes(file, content)


def prepare(folder: Path, study: Study, cells: Sequence[Cell]) -> list[Cell]:
    """Make the folder ready for a run, and say which cells are still to be done.

    Raises:
        UsageError: the folder holds something else, or results that this study would not make again.
    """
    _refuse_strangers(folder, study)
    stored = [cell for cell in cells if finished(folder, cell)]
    for cell in stored:
        refuse_other_results(folder, cell)
    folder.mkdir(parents=True, exist_ok=True)
    files.write_text(folder / STUDY_FILE, study.text)
    for cell in cells:
        files.remove_abandoned(cell.file(folder))  # of a run that was killed
    return [cell for cell in cells if cell not in stored]


def _refuse_strangers(folder: Path, study: Study) -> None:
    """Refuse a folder of something else, or with cells of tasks or variants that this study does not have."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"'{folder}' is a file; {_NEW}")
    inside = [path for path in folder.iterdir() if path.name != ".lock"] if folder.exists() else []
    if inside and not (folder / STUDY_FILE).is_file():
        raise UsageError(f"'{folder}' is not empty and holds no study; {_NEW}")
    tasks, variants = ({item.name for item in items} for items in (study.tasks, study.variants))
    for file in sorted(folder.glob("cells/*/*/seed-*")):
        task, variant = file.parts[-3:-1]
        if _RESULT.fullmatch(file.name) and (task not in tasks or variant not in variants):
            raise UsageError(
                f"'{folder}' holds another study: its cell {task}/{variant} is none of study '{study.name}'; {_NEW}"
            )


def refuse_other_results(folder: Path, cell: Cell) -> None:
    """Refuse results of a cell that were made with other settings or another version.

    Raises:
        UsageError: they were, or the file is damaged.
    """
    line = origin(cell.file(folder))
    if line.schema != SCHEMA:
        raise UsageError(
            f"cell {cell} in '{folder}' has schema {line.schema}, this rl_tracking writes {SCHEMA}; {_NEW}"
        )
    version = line.versions.get("rl_tracking")
    if version != rl_tracking.__version__:
        raise UsageError(
            f"cell {cell} in '{folder}' is of rl_tracking {version}, this is {rl_tracking.__version__}; {_NEW}"
        )
    if line.digest != cell.digest:
        raise UsageError(f"cell {cell} in '{folder}' was made with other settings, budget or evaluations; {_NEW}")


def origin(file: Path) -> Origin:
    """What the first line of a file of results says of what made it.

    Raises:
        UsageError: the file is damaged.
    """
    return result_lines.read(file, Origin, "run that cell again")[0][0]


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
    file = folder / ".lock"
    handle = os.open(file, os.O_RDWR | os.O_CREAT)
    try:
        _lock(handle, folder)
        yield
    finally:
        os.close(handle)
        if made and [path.name for path in folder.iterdir()] == [".lock"]:  # refused before anything was written
            file.unlink()
            folder.rmdir()


def _lock(handle: int, folder: Path) -> None:
    try:
        import fcntl
    except ImportError:  # Windows has none, and there a second run is the user's to avoid
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise UsageError(f"another run is writing to '{folder}'; wait for it, or {_NEW}") from error
