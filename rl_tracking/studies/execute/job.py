"""The job, which a study runs in a process of its own, and the events that say what happens to it.

A job reads and writes files of the study's folder alone. A backend yields the events.
"""

from __future__ import annotations

import abc
import dataclasses
import json
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from rl_tracking import files
from rl_tracking.agents.saving.description import versions
from rl_tracking.studies.execute.result_lines import SCHEMA


class Job(abc.ABC):
    """One job of a study, and all that its results depend on.

    ``str(job)`` is its name, unique in the study. Paths of files are relative to the study's folder, so that a job runs
    equally well in a folder of its own on another machine.
    """

    needs: tuple[str, ...] = ()
    """Files of other jobs that it reads."""

    @property
    @abc.abstractmethod
    def digest(self) -> str:
        """Of everything that decides its results."""

    @property
    @abc.abstractmethod
    def files(self) -> tuple[str, ...]:
        """Files that it writes; the last one holds its results and is written last."""

    @abc.abstractmethod
    def run(self, folder: Path, on_progress: Callable[[float], None]) -> None:
        """Do it.

        Args:
            folder: of the study, or one with the files that the job needs.
            on_progress: called now and then with the share that is done.
        """

    def results(self, folder: Path) -> Path:
        """The file of its results: one JSON object a line, complete or not there."""
        return folder / self.files[-1]

    def finished(self, folder: Path) -> bool:
        """Whether everything that it writes is there."""
        return all((folder / name).exists() for name in self.files)

    def ready(self, folder: Path) -> bool:
        """Whether everything that it needs is there."""
        return all((folder / name).exists() for name in self.needs)

    @contextmanager
    def writing(self, folder: Path) -> Iterator[Callable[[dict[str, Any]], None]]:
        """Write the file of results: calls of what is yielded add a line, which also says what made it."""
        path = self.results(folder)
        path.parent.mkdir(parents=True, exist_ok=True)
        closing = {"versions": versions(), "schema": SCHEMA, "digest": self.digest}
        with files.atomic(path) as temporary, temporary.open("w", encoding="utf-8") as file:

            def write(line: dict[str, Any]) -> None:
                file.write(json.dumps({**line, **closing}, allow_nan=False) + "\n")
                file.flush()

            yield write


@dataclasses.dataclass(frozen=True)
class Started:
    """A job began, or began again."""

    job: Job


@dataclasses.dataclass(frozen=True)
class Advanced:
    """A share of a job is done."""

    job: Job
    share: float


@dataclasses.dataclass(frozen=True)
class Finished:
    """A job is done, and its files are in the folder."""

    job: Job


@dataclasses.dataclass(frozen=True)
class Failed:
    """A job raised an error or its process died; ``error`` is one line."""

    job: Job
    error: str
    traceback: str


Event = Started | Advanced | Finished | Failed


class Backend(Protocol):
    """Where jobs are run."""

    def run(self, jobs: Sequence[Job]) -> Iterator[Event]:
        """Run jobs in this order, as far as there is room; closing the iterator stops those that still run."""


def format_error(error: BaseException) -> tuple[str, str]:
    """An error as one line, and its traceback."""
    line = " ".join(str(error).split()) or "no message"
    ours = type(error).__module__.startswith("rl_tracking.")
    return (line if ours else f"{type(error).__name__}: {line}"), "".join(traceback.format_exception(error))
