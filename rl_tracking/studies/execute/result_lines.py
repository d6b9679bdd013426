"""Files of results, one JSON object a line: read through a schema, as they may come from anywhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta, Struct

from rl_tracking import files
from rl_tracking.errors import UsageError

_LONGEST = 256 * 2**20  # bytes of a file
Kind = TypeVar("Kind", bound=Struct)
Count = Annotated[int, Meta(ge=0)]
Names = dict[str, str]


class Origin(Struct):
    """What every line says of what made it."""

    versions: Names
    schema: int
    digest: str


class Evaluated(Origin):
    """A line of a training run of a gradient study."""

    share: float
    macro_steps: Count
    metrics: dict[str, float | None]


class Estimated(Origin):
    """A line of an estimator or of the reference: products of gradients as the lower triangle of a matrix."""

    macro_steps: Count
    simulator_steps: Count
    gram: list[list[float]]
    onto: list[float] = []
    size: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what is no triangle."""
        if not self.gram or any(len(row) != at for at, row in enumerate(self.gram, start=1)):
            raise ValueError("gram is no triangle")


def read(path: Path, kind: type[Kind], again: str) -> list[tuple[Kind, dict[str, Any]]]:
    """Every line of a file, as far as its schema goes and as a whole.

    Args:
        path: the file.
        kind: the schema of a line.
        again: what deleting it leads to, for the error.

    Raises:
        UsageError: one of them is something else, or there is none.
    """
    try:
        if path.stat().st_size > _LONGEST:
            raise ValueError("it is too long")
        lines = [json.loads(line) for line in files.read_text(path).splitlines()]
        if not lines:
            raise ValueError("it is empty")
        return [(msgspec.convert(line, kind), line) for line in lines]
    except (ValueError, RecursionError, msgspec.MsgspecError) as error:
        text = " ".join(str(error).split())[:200]
        raise UsageError(f"'{path}' is damaged; delete it to {again} ({text})") from error
