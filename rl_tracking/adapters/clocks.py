"""Fields that hold the time of day: saved and put back, but never the same in two runs."""

from __future__ import annotations

from collections.abc import Iterable

_CLOCKS = ("episode_start_time", "time_queue", "episode.t")


def without_clocks(fields: Iterable[str]) -> list[str]:
    """The names of differing fields, sorted, without those of clocks."""
    return sorted(field for field in fields if not any(clock in field for clock in _CLOCKS))
