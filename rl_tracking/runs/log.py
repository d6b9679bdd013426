"""The figures of a run as files: ``metrics.csv`` and TensorBoard events, which a resumed run continues."""

from __future__ import annotations

import contextlib
import csv
import errno
import importlib
import io
import itertools
import os
import socket
import time
import warnings
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta
from stable_baselines3.common.logger import KVWriter, Logger, filter_excluded_keys

from rl_tracking import files
from rl_tracking.agents.saving.scalars import Scalar, from_scalar, to_scalar
from rl_tracking.errors import RunWarning, UsageError, brief

METRICS = "metrics.csv"
_LONGEST = 2**30  # bytes of it
_ITERATIONS = "time/iterations"
_number = itertools.count()

Count = Annotated[int, Meta(ge=0, le=2**31)]


class Position(msgspec.Struct, forbid_unknown_fields=True):
    """How far a log is written, and what was recorded since.

    Attributes:
        rows: of ``metrics.csv``, without its header.
        columns: of ``metrics.csv``.
        iterations: rollouts of all training so far.
        pending: recorded since the last row: name, value, and the formats that leave it out.
    """

    rows: Count = 0
    columns: Count = 0
    iterations: Count = 0
    pending: list[tuple[str, Scalar, list[str]]] = []


class RunLog(Logger):
    """SB3's logger that writes the files of a run.

    Args:
        folder: of the run.
        position: where an earlier part of the run stopped; what the files hold beyond it is removed.
        macro_steps: decisions that the earlier part made.
    """

    def __init__(self, folder: Path, position: Position | None = None, macro_steps: int = 0) -> None:
        start = position or Position()
        self._table = MetricsFile(folder / METRICS, start.rows, start.columns)
        self._iterations_before = self._iterations = start.iterations
        super().__init__(str(folder), [self._table, _Events(folder, macro_steps if position else None)])
        self._put(start)

    def record(self, key: str, value: Any, exclude: str | tuple[str, ...] | None = None) -> None:
        """As in SB3, with rollouts counted from the beginning of the run."""
        if key == _ITERATIONS:
            value = self._iterations = self._iterations_before + value
        super().record(key, value, exclude)

    def position(self) -> Position:
        """Where it is now."""
        pending = []
        for name, value in self.name_to_value.items():
            scalar = to_scalar(value)
            if scalar is not None:
                pending.append((name, scalar, list(self.name_to_excluded[name])))
        return Position(self._table.rows, len(self._table.columns), self._iterations, pending)

    def rewind(self, position: Position) -> None:
        """Forget what was recorded since a position; no row was written since."""
        self.name_to_value.clear()
        self.name_to_count.clear()
        self.name_to_excluded.clear()
        self._put(position)

    def _put(self, position: Position) -> None:
        for name, scalar, excluded in position.pending:
            super().record(name, from_scalar(scalar), tuple(excluded))

    def sync(self) -> None:
        """Flush the table to the disk."""
        self._table.sync()


def _read(path: Path) -> list[list[str]]:
    """The lines of a table.

    Raises:
        UsageError: it cannot be read, or is no table.
    """
    try:
        if path.stat().st_size > _LONGEST:
            raise OSError(errno.EFBIG, "it is too long", str(path))
        return list(csv.reader(io.StringIO(files.read_text(path))))
    except (OSError, ValueError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"'{path}' cannot be read: {reason}; move it away to continue the run without it") from error


class MetricsFile(KVWriter):
    """A CSV file with a row for each dump; columns stand in the order in which they were first recorded.

    Args:
        path: the file.
        rows: that are kept of what it holds.
        columns: likewise.
    """

    def __init__(self, path: Path, rows: int = 0, columns: int = 0) -> None:
        self._path = path
        self.columns: list[str] = []
        self.rows = 0
        lines: list[list[str]] = []
        if rows and path.exists():
            header, *content = _read(path) or [[]]
            self.columns = header[:columns]
            lines = [line[:columns] for line in content[:rows]]
        self.rows = len(lines)
        if self.rows < rows:
            warnings.warn(
                f"'{path}' has {self.rows} of {rows} rows of the checkpoint; the run continues from there",
                RunWarning,
                stacklevel=2,
            )
        self._rewrite(lines)

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0) -> None:
        """Append a row."""
        values = filter_excluded_keys(key_values, key_excluded, "csv")
        added = [key for key in values if key not in self.columns]
        if added:
            self._file.close()
            lines = _read(self._path)[1:]
            self.columns += added
            self._rewrite([line + [""] * len(added) for line in lines])
        try:
            self._file.write(_line([_text(values.get(key)) for key in self.columns]))
            self._file.flush()
        except OSError as error:
            raise files.write_error(self._path, error) from error
        self.rows += 1

    def _rewrite(self, lines: list[list[str]]) -> None:
        files.write_text(self._path, "".join(_line(line) for line in [self.columns, *lines] if line))
        self._file = self._path.open("a", encoding="utf-8", newline="")

    def sync(self) -> None:
        """Have the disk hold it."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        with contextlib.suppress(OSError):  # reported when it was written
            self._file.close()


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _line(cells: list[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue()


class _Events(KVWriter):
    """Numbers as TensorBoard events, not written by a thread, so that a failure is noticed and ends nothing.

    Args:
        folder: where.
        resumed_after: macro-steps of the checkpoint that a run continues from; later events are ignored.
    """

    def __init__(self, folder: Path, resumed_after: int | None) -> None:
        self._file: Any = None
        self._folder = folder
        try:
            self._open(resumed_after)
        except Exception as error:
            self._give_up(error)

    def _open(self, resumed_after: int | None) -> None:
        # Without types, so not by an import statement.
        self._proto = importlib.import_module("tensorboard.compat.proto.event_pb2")
        self._summary = importlib.import_module("tensorboard.compat.proto.summary_pb2").Summary
        writer = importlib.import_module("tensorboard.summary.writer.record_writer")
        name = f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}.{next(_number)}"
        self._file = (self._folder / name).open("xb")
        self._records = writer.RecordWriter(self._file)
        self._add(file_version="brain.Event:2")
        if resumed_after is not None:
            started = self._proto.SessionLog(status=self._proto.SessionLog.START)
            self._add(step=resumed_after + 1, session_log=started)
        self._file.flush()

    def _add(self, **fields: Any) -> None:
        event = self._proto.Event(wall_time=time.time(), **fields)
        self._records.write(event.SerializeToString())

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0) -> None:
        """Write the numbers of a row."""
        if self._file is None:
            return
        values = filter_excluded_keys(key_values, key_excluded, "tensorboard")
        numbers = {key: value for key, value in values.items() if isinstance(value, int | float | np.number)}
        try:
            for key, value in numbers.items():
                number = self._summary.Value(tag=key, simple_value=float(value))
                self._add(step=step, summary=self._summary(value=[number]))
            self._file.flush()
        except Exception as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        reason = files.reason_of(error) if isinstance(error, OSError) else brief(error)
        warnings.warn(
            f"TensorBoard's events in '{self._folder}' cannot be written any more ({reason}); the training continues, "
            f"and {METRICS} has the same figures",
            RunWarning,
            stacklevel=2,
        )
        self.close()

    def close(self) -> None:
        """Close the file."""
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(OSError):  # what is still to be written cannot be
                file.close()
