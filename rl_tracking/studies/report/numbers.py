"""Numbers as people read them."""

from __future__ import annotations

import math

from rl_tracking.studies.statistics import Interval

NOT_REACHED = "not reached"


def short(value: float) -> str:
    """Three digits: ``0.0123``, ``41.2k``, ``1.5M``."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if math.isfinite(value) and abs(value) >= 0.9995 * size:
            return f"{value / size:.3g}{letter}"
    if 0 < abs(value) < 5e-5:
        return f"{value:.1e}"
    return f"{round(value, 4) + 0.0:.3g}"


def with_bounds(interval: Interval, runs: int) -> str:
    """``0.5 [0.4, 0.6]``; the bounds of a single run say nothing."""
    if runs == 1:
        return short(interval.value)
    return f"{short(interval.value)} [{short(interval.low)}, {short(interval.high)}]"


def arrival(interval: Interval, runs: int) -> str:
    """The same of a time, where infinite is not reached."""
    value, low, high = (_time(time) for time in (interval.value, interval.low, interval.high))
    return value if runs == 1 or low == NOT_REACHED else f"{value} [{low}, {high}]"


def _time(value: float) -> str:
    return short(value) if math.isfinite(value) else NOT_REACHED


def duration(seconds: float) -> str:
    """``42 s``, ``3 min 5 s``, ``2 h 15 min``."""
    whole = round(seconds)
    hours, minutes = whole // 3600, whole % 3600 // 60
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {whole % 60} s" if minutes else f"{whole} s"
