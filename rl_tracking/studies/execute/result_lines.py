"""Files of results: where they lie in the folder of a study, and the schema of their lines, one JSON object each.

Lines are checked as they are read, since any file may be there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from rl_tracking import files
from rl_tracking.errors import UsageError, brief

SCHEMA = 1  # of a line
_LONGEST = 256 * 2**20  # bytes of a file
Kind = TypeVar("Kind", bound=Struct)
Count = Annotated[int, Meta(ge=0)]
Length = Annotated[float, Meta(ge=0)]
Direction = Literal["up", "down"]


def cell_name(task: str, variant: str, seed: int) -> str:
    """The name of a cell, which is unique in its study."""
    return f"{task}/{variant}/seed-{seed}"


def results_of(cell: str) -> str:
    """The evaluations along a cell's training."""
    return f"cells/{cell}.jsonl"


def checkpoint_of(cell: str, share: float) -> str:
    """The folder of what is kept of a cell at a share of its budget, and measured there."""
    return f"gradients/{cell}/at-{share:g}"


class Origin(Struct, kw_only=True):
    """What made the results.

    Attributes:
        versions: of the packages it was made with.
        schema: :data:`SCHEMA` of that version.
        digest: of the job.
    """

    versions: dict[str, str]
    schema: int
    digest: str


class EvaluationLine(Origin, kw_only=True):
    """One evaluation of one training run.

    Attributes:
        task: its name.
        variant: its name.
        seed: of the run.
        macro_steps: decisions so far.
        simulator_steps: steps of the simulator so far, in all branches.
        seconds: of training so far, evaluations not counted [s].
        metrics: figures of the evaluation; None where there is none, such as the time to a capture without captures.
        updates: means of what the updates logged since the evaluation before; empty before training.
        checkpoints: shares of the budget whose snapshot was taken here.
        metric: the figure that is the task's score; empty in results of older versions.
        better: which direction of the score is better.
    """

    task: str
    variant: str
    seed: int
    macro_steps: Length
    simulator_steps: Length
    seconds: Length
    metrics: dict[str, float | None]
    updates: dict[str, float]
    checkpoints: tuple[float, ...] = ()
    metric: str = ""
    better: Direction = "up"


class GradientLine(Origin, kw_only=True):
    """The products of the gradients of K rollouts.

    Attributes:
        macro_steps: of a rollout.
        simulator_steps: of a rollout.
        gram: g_j . g_k, the lower triangle of a matrix ``[K, K]``.
        onto: g_k . r with the mean r of the reference, ``[K]``; empty for the reference itself.
        size: |r|, its own noise subtracted.
    """

    macro_steps: Count
    simulator_steps: Count
    gram: list[list[float]]
    onto: list[float] = []
    size: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what is no triangle."""
        if not self.gram or any(len(row) != at for at, row in enumerate(self.gram, start=1)):
            raise ValueError("gram is no lower triangle")
        if self.onto and len(self.onto) != len(self.gram):
            raise ValueError(f"onto has {len(self.onto)} numbers; it must have {len(self.gram)}, as gram has rows")


class UnreadableError(UsageError):
    """A file of results that holds something else; which line, and why."""


def read(path: Path, kind: type[Kind]) -> list[Kind]:
    """Every line of a file, at least one.

    Args:
        path: the file.
        kind: the schema of a line.

    Raises:
        UnreadableError: a line is of another kind, or there is none.
    """
    if path.stat().st_size > _LONGEST:
        raise UnreadableError(f"it has more than {_LONGEST:,} bytes")
    found: list[Kind] = []
    try:
        for line in files.read_text(path).splitlines():
            found.append(msgspec.json.decode(line, type=kind))
    except (ValueError, RecursionError, msgspec.MsgspecError) as error:
        raise UnreadableError(f"line {len(found) + 1} is not what it should be ({brief(error)})") from error
    if not found:
        raise UnreadableError("it is empty")
    return found
