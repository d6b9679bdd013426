"""The tables of a report, in Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from rl_tracking.studies.config.study import OF_UPDATES, UNITS, Claim
from rl_tracking.studies.report.numbers import arrival, short, with_bounds
from rl_tracking.studies.statistics import MIN_SEEDS, Aggregate, ClaimVerdict, Interval, Row, Unfinished

_NOTHING = "-"


def table(header: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1) -> str:
    """A table whose first columns (``left`` of them) are words and the others numbers, aligned to the right."""
    lines = [header, [":--"] * left + ["--:"] * (len(header) - left), *([_cell(text) for text in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|") or _NOTHING


def verdicts(judged: Sequence[ClaimVerdict]) -> str:
    """One line a claim."""
    header = ("claim", "verdict", "compared", "measured [95 %]", "claimed", "P(better)", "runs")
    return table(
        header,
        (
            (
                each.claim.text,
                f"**{each.answer}**",
                compared(each.claim, is_ratio=each.is_ratio),
                _bounded(each.effect, MIN_SEEDS),
                claimed(each.claim, each.against),
                _share(each.improvement),
                _counts(each.seeds),
            )
            for each in judged
        ),
        left=3,
    )


def verdict_on_tasks(judged: ClaimVerdict) -> str:
    """One line a task of a claim."""
    return table(
        ("task", "verdict", "note", "measured [95 %]", "P(better) [95 %]", "runs"),
        (
            (
                each.task,
                each.answer,
                each.note,
                _bounded(each.effect, min(each.seeds)),
                _bounded(each.improvement, min(each.seeds)),
                _counts(each.seeds),
            )
            for each in judged.tasks
        ),
        left=3,
    )


def compared(claim: Claim, *, is_ratio: bool) -> str:
    """What is divided or subtracted over all tasks."""
    measure = claim.measure.removeprefix(OF_UPDATES).replace("_", " ")
    scaled = "" if is_ratio or claim.measure.startswith(OF_UPDATES) else " (scaled)"
    return f"{measure}{scaled}: {claim.variant} {'/' if is_ratio else '-'} {claim.than}"


def claimed(claim: Claim, against: float) -> str:
    """``below 0.333``."""
    return f"{'below' if claim.better == 'lower' else 'above'} {short(against)}"


def scores(rows: Sequence[Row]) -> str:
    """Scores of the variants on one task."""
    return table(
        ("variant", "runs", "last evaluation", "mean over the budget", "largest fall"),
        (
            (
                row.variant,
                str(row.runs),
                *(with_bounds(spread.interval, row.runs) for spread in (row.final, row.area, row.drawdown)),
            )
            for row in rows
        ),
    )


def arrivals(rows: Sequence[Row]) -> str:
    """Times to the threshold of the variants on one task, in every unit."""
    return table(
        ("variant", "reached by", *(UNITS[unit] for unit in UNITS)),
        (
            (row.variant, _reached(row), *(arrival(row.arrivals[unit].median, row.runs) for unit in UNITS))
            for row in rows
        ),
    )


def _reached(row: Row) -> str:
    reached = row.arrivals["macro_steps"].times.reached
    return f"{int(reached.sum())} of {len(reached)}"


def aggregates(found: Sequence[Aggregate]) -> str:
    """Normalised scores of the variants over all tasks."""
    names = list(found[0].final)
    return table(
        ("variant", *(f"{name} at the end" for name in names), "IQM over the budget"),
        (
            (each.variant, *(with_bounds(figure, each.runs) for figure in (*each.final.values(), each.area)))
            for each in found
        ),
    )


def unfinished(runs: Sequence[Unfinished]) -> str:
    """Failed runs and why, or missing ones; those of one task and variant with one reason share a line."""
    groups: dict[tuple[str, str, str], list[int]] = {}
    for run in runs:
        groups.setdefault((run.task, run.variant, run.error), []).append(run.seed)
    return table(
        ("task", "variant", "seeds", "why"),
        (
            (task, variant, ", ".join(map(str, seeds)), error or "no results")
            for (task, variant, error), seeds in groups.items()
        ),
        left=4,
    )


def _bounded(interval: Interval | None, runs: int) -> str:
    if interval is None:
        return _NOTHING
    return "not a number" if math.isnan(interval.value) else with_bounds(interval, runs)


def _share(interval: Interval | None) -> str:
    return _NOTHING if interval is None else short(interval.value)


def _counts(seeds: tuple[int, int]) -> str:
    return f"{seeds[0]}" if seeds[0] == seeds[1] else f"{seeds[0]} and {seeds[1]}"
