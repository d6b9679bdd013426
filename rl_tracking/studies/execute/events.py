"""What happens to the jobs of a run, as values: a backend yields them, and the caller of the run receives them."""

from __future__ import annotations

import dataclasses
import traceback
from collections.abc import Iterator, Sequence
from typing import Protocol

from rl_tracking.studies.execute.job import Job


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
