"""Recorded flights from files: a CSV of times and positions, or a PX4 flight log.

A CSV has a line of column names: ``time`` [s] with ``x``, ``y``, ``z`` [m], or with ``latitude``, ``longitude``
[degrees] and ``altitude`` [m]. Heights may be left out; other columns are skipped. A log (``.ulg``) needs pyulog, the
extra ``logs``, and its estimated local position or its global position.
"""

from __future__ import annotations

import csv
import dataclasses
import functools
import math
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

import rl_tracking
from rl_tracking import files
from rl_tracking.errors import UsageError, brief

Array = np.ndarray[Any, Any]

SAMPLE = "sample"  # the track that comes with the package
_LARGEST_TEXT, _LARGEST_LOG = 64 * 2**20, 2**30  # bytes
_EARTH = 6_371_008.8  # mean radius [m], IUGG
_NAMES = {"t": "time", "timestamp": "time", "lat": "latitude", "lon": "longitude", "alt": "altitude"}
_METRES, _DEGREES = ("x", "y", "z"), ("latitude", "longitude", "altitude")
_BOUNDS = {"latitude": 90.0, "longitude": 180.0}
_FARTHEST = 1e8  # of a position from its origin [m]
_NEEDED = "it needs time and x, y, z in metres, or time and latitude, longitude, altitude"


@dataclasses.dataclass(frozen=True, eq=False)
class RecordedTrack:
    """A flight.

    Attributes:
        name: of the file, for what is said of it.
        time: of the samples ``[N]`` float64 [s], rising.
        position: ``[N, 3]`` float64 [m]: east, north and up, or x, y, z as given.
    """

    name: str
    time: Array
    position: Array


def read_track(file: str, longest_gap: float) -> RecordedTrack:
    """The flight in a file.

    Args:
        file: a path; ``sample`` is the track that comes with the package.
        longest_gap: between two samples [s].

    Raises:
        UsageError: one line that says what is wrong with the file, and where.
    """
    path = _sample() if file == SAMPLE else Path(file)
    what = f"track file '{file}'"
    try:
        about = path.stat()
    except OSError as error:
        raise UsageError(f"{what} cannot be read: {error.strerror}") from error
    if not path.is_file():
        raise UsageError(f"{what} is no file")
    return _read(path, what, longest_gap, about.st_mtime_ns, about.st_size)


@functools.lru_cache(maxsize=8)
def _read(path: Path, what: str, longest_gap: float, changed: int, size: int) -> RecordedTrack:
    is_log = path.suffix.lower() == ".ulg"
    largest = _LARGEST_LOG if is_log else _LARGEST_TEXT
    if size > largest:
        raise UsageError(f"{what} has {size:,} bytes; {largest:,} are the most that is read")
    time, position = _of_log(path, what) if is_log else _of_csv(path, what)
    _check(time, position, what, "sample" if is_log else "row", longest_gap)
    return RecordedTrack(path.name, time - time[0], position)


def _sample() -> Path:
    """The sample track: inside a wheel the assets lie in the package, in a checkout beside it."""
    package = Path(rl_tracking.__file__).parent
    places = [folder / "assets" / "tracks" / "sample.csv" for folder in (package, package.parent)]
    return next((place for place in places if place.is_file()), places[0])


def _check(time: Array, position: Array, what: str, row: str, longest_gap: float) -> None:
    """Refuse samples that are no flight; rows are counted from 1, without the line of names.

    Raises:
        UsageError: they are not finite, not in order, with a gap, or only one.
    """
    if len(time) == 0:
        raise UsageError(f"{what} has no {row}s")
    if len(time) == 1:
        raise UsageError(f"{what} has one {row}; a track needs two or more")
    wrong = ~np.isfinite(time) | ~(np.abs(position) <= _FARTHEST).all(axis=1)
    if wrong.any():
        first = int(np.argmax(wrong))
        raise UsageError(f"{what}, {row} {first + 1}: time or position is not finite, or beyond {_FARTHEST:g} m")
    steps = np.diff(time)
    if (steps <= 0).any():
        first = int(np.argmax(steps <= 0))
        raise UsageError(
            f"{what}, {row} {first + 2}: time {time[first + 1]:g} s does not follow {time[first]:g} s; "
            f"sort the {row}s by time, each time once"
        )
    if (steps > longest_gap).any():
        first = int(np.argmax(steps > longest_gap))
        raise UsageError(
            f"{what} has a gap of {steps[first]:g} s after {row} {first + 1} (time {time[first]:g} s), longer than "
            f"{longest_gap:g} s; fill it, cut the file there, or allow it with max_gap={math.ceil(steps[first])}"
        )


# -- CSV ------------------------------------------------------------------------------------------------------------


def _of_csv(path: Path, what: str) -> tuple[Array, Array]:
    """Times ``[N]`` [s] and positions ``[N, 3]`` [m].

    Raises:
        UsageError: it is no such table.
    """
    try:
        lines = files.read_text(path).splitlines()
    except UnicodeDecodeError as error:
        raise UsageError(f"{what} is no text in UTF-8: {error.reason} at byte {error.start}") from error
    except OSError as error:
        raise UsageError(f"{what} cannot be read: {error.strerror}") from error
    try:
        rows = [row for row in csv.reader(lines) if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise UsageError(f"{what} is no CSV: {brief(error)}") from error
    if not rows:
        raise UsageError(f"{what} is empty; {_NEEDED}")
    header = [_NAMES.get(name, name) for name in (cell.strip().lower() for cell in rows[0])]
    columns = _columns(header, what)
    values = np.array([_numbers(row, columns, header, f"{what}, row {place}") for place, row in enumerate(rows[1:], 1)])
    values = values.reshape(-1, len(columns))
    named = {header[column]: values[:, place] for place, column in enumerate(columns)}
    heights = named.get("z", named.get("altitude", np.zeros(len(values))))
    if "x" in named:
        return named["time"], np.stack([named["x"], named["y"], heights], axis=1)
    return named["time"], _in_metres(named["latitude"], named["longitude"], heights)


def _columns(header: Sequence[str], what: str) -> list[int]:
    """Where the columns stand that are read: time, then those of the position that are there.

    Raises:
        UsageError: some are missing, or there twice.
    """
    for place in (_METRES, _DEGREES):
        if {"time", *place[:2]} <= set(header):
            names = ["time", *(name for name in place if name in header)]
            twice = [name for name in names if header.count(name) > 1]
            if twice:
                raise UsageError(f"{what} has the column {twice[0]} twice")
            return [header.index(name) for name in names]
    raise UsageError(f"{what} has the columns {', '.join(header)}; {_NEEDED}")


def _numbers(row: list[str], columns: list[int], header: list[str], where: str) -> list[float]:
    """The numbers of one row.

    Raises:
        UsageError: one is missing, is no finite number, or an angle that does not exist.
    """
    found = []
    for column in columns:
        text, name = row[column].strip() if column < len(row) else "", header[column]
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise UsageError(f"{where}: {name} must be a finite number, not '{text}'")
        bound = _BOUNDS.get(name)
        if bound is not None and abs(number) > bound:
            raise UsageError(f"{where}: {name} must be a number from {-bound:g} to {bound:g} degrees, not {number:g}")
        found.append(number)
    return found


def _in_metres(latitude: Array, longitude: Array, altitude: Array) -> Array:
    """East, north and up of the first sample ``[N, 3]`` [m], on the plane that touches a round earth there.

    Over the few kilometres of a flight this differs from the ellipsoid by less than a percent.
    """
    if len(latitude) == 0:
        return np.zeros((0, 3))
    east = np.radians((longitude - longitude[0] + 180.0) % 360.0 - 180.0) * math.cos(math.radians(latitude[0]))
    return np.stack([_EARTH * east, _EARTH * np.radians(latitude - latitude[0]), altitude - altitude[0]], axis=1)


# -- PX4 logs -------------------------------------------------------------------------------------------------------

_LOCAL, _GLOBAL = "vehicle_local_position", "vehicle_global_position"


def _of_log(path: Path, what: str) -> tuple[Array, Array]:
    """Times ``[N]`` [s] and positions ``[N, 3]`` [m]: east, north, up.

    Raises:
        UsageError: pyulog is missing, or the log is damaged or has no positions.
    """
    try:
        pyulog = import_module("pyulog")
    except ImportError as error:
        raise UsageError(
            f"{what} is a PX4 log: it needs the extra 'logs', pip install \"rl-tracking[logs]\""
        ) from error
    try:
        with path.open("rb") as file:  # it leaves a file that it opens itself open, if that is damaged
            log = pyulog.ULog(file, [_LOCAL, _GLOBAL])
        topics = {topic.name: topic.data for topic in log.data_list if topic.multi_id == 0}
    except Exception as error:  # a damaged file makes its parser raise anything
        raise UsageError(f"{what} is no PX4 log that can be read: {brief(error)}") from error
    for topic, names, convert in (
        (_LOCAL, ("timestamp", "x", "y", "z"), lambda north, east, down: np.stack([east, north, -down], axis=1)),
        (_GLOBAL, ("timestamp", "lat", "lon", "alt"), _in_metres),
    ):
        data = topics.get(topic, {})
        if all(len(data.get(name, ())) for name in names):
            keep = _valid(data)
            time, *place = (np.asarray(data[name], dtype=np.float64)[keep] for name in names)
            if len(time):
                return time * 1e-6, convert(*place)
    raise UsageError(f"{what} has no positions: no valid sample of {_LOCAL} or {_GLOBAL}")


def _valid(data: dict[str, Array]) -> Array:
    """The samples that the estimator calls valid, ``[N]`` bool."""
    keep = np.ones(len(data["timestamp"]), dtype=bool)
    for flag in ("xy_valid", "z_valid", "lat_lon_valid", "alt_valid"):
        if flag in data:
            keep &= np.asarray(data[flag]) != 0
    return keep
