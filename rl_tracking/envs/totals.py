"""What an episode was worth: metrics, and the running totals of a scenario's measures that they are computed from."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.compiler import is_dynamo_compiling

from rl_tracking.envs.operations import MANY

Statistic = Literal["sum", "mean", "least", "greatest", "first", "ever"]
SHARE = "%"  # unit of a number between 0 and 1
_NEVER = torch.inf  # the first step at which a flag held, as long as it never did
# What a metric's statistic is computed from, and what that total is before the first step.
_KEPT_AS = {"sum": "sum", "mean": "sum", "least": "least", "greatest": "greatest", "first": "first", "ever": "first"}
_START = {"sum": 0.0, "first": _NEVER, "least": torch.inf, "greatest": -torch.inf}


@dataclasses.dataclass(frozen=True)
class Metric:
    """One figure of an episode.

    Attributes:
        name: as in tables, reports and JSON, such as ``time_in_radius``.
        measure: the scenario's measure that it is computed from; empty for what is known without one (``return``).
        statistic: of the measure over the steps of the episode: ``sum``, ``mean``, ``least``, ``greatest``; ``first``,
            the time [s] at which a flag first held (NaN if it never did); ``ever``, 1 if a flag held at some step.
        unit: ``%`` for a share between 0 and 1; else the unit of the number, empty where it has none.
        better: whether more is better (``up``) or less (``down``).
        headline: the one that says most of a policy.
        success: 1 for an episode that succeeded and 0 for another.
    """

    name: str
    measure: str = ""
    statistic: Statistic = "mean"
    unit: str = ""
    better: Literal["up", "down"] = "up"
    headline: bool = False
    success: bool = False

    @property
    def title(self) -> str:
        """The name in words, with the unit."""
        words = self.name.replace("_", " ")
        return f"{words} [{self.unit}]" if self.unit not in ("", SHARE) else words

    def text(self, value: float) -> str:
        """A value as tables show it."""
        if self.unit == SHARE:
            return f"{value:.1%}"
        return f"{value:.1f}" if self.unit in ("", "steps") else f"{value:.2f}"


class Totals:
    """Keeps, for every world, the totals that the metrics need, as columns of one float32 tensor ``[B, K]``.

    Columns are in the order sum, first, least, greatest. A total is kept once, however many metrics need it.

    Args:
        metrics: of the scenario.
    """

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self.metrics = tuple(metrics)
        wanted = {(_KEPT_AS[metric.statistic], metric.measure): None for metric in self.metrics}
        self.columns = tuple(sorted(wanted, key=lambda column: list(_START).index(column[0])))
        kinds = [kind for kind, _ in self.columns]
        self._start = [_START[kind] for kind in kinds]
        self._place = {column: place for place, column in enumerate(self.columns)}
        self._rows = [(place, kind, name) for place, (kind, name) in enumerate(self.columns)]

    def start(self, worlds: int, device: torch.device | str = "cpu") -> Tensor:
        """The totals ``[B, K]`` before the first step."""
        return torch.tensor(self._start, dtype=torch.float32, device=device).expand(worlds, -1).clone()

    def updated(self, totals: Tensor, measures: dict[str, Tensor], step: Tensor) -> Tensor:
        """The totals ``[B, K]`` after a step.

        Args:
            totals: before it.
            measures: of the step, ``[B]`` each.
            step: the number of the step ``[B]``, the first one being 1.
        """
        if step.is_cpu and not is_dynamo_compiling() and not _needs_gradient(totals, measures):
            worlds = step.numel()
            if worlds == 1:
                return self._of_one_world(totals, measures, step)
            return (self._of_few if worlds < MANY else self._by_numpy)(totals, measures, step)
        rows = list(totals.unbind(-1))
        for place, kind, name in self._rows:
            row, value = rows[place], measures[name]
            if kind == "sum":
                rows[place] = row + value
            elif kind == "first":
                rows[place] = torch.minimum(row, step / value)  # infinite where the flag does not hold
            else:
                rows[place] = (torch.minimum if kind == "least" else torch.maximum)(row, value)
        return torch.stack(rows).T if rows else totals

    def _of_few(self, totals: Tensor, measures: dict[str, Tensor], step: Tensor) -> Tensor:
        """:meth:`updated` of a few worlds, to the last bit: each row is written to where it lies."""
        new = totals.t().clone()
        rows = new.unbind()
        for place, kind, name in self._rows:
            row, value = rows[place], measures[name]
            if kind == "sum":
                row.add_(value)
            elif kind != "first":
                (torch.minimum if kind == "least" else torch.maximum)(row, value, out=row)
            elif value.any().item():
                torch.minimum(row, step / value, out=row)  # infinite where the flag does not hold
        return new.t()

    def _by_numpy(self, totals: Tensor, measures: dict[str, Tensor], step: Tensor) -> Tensor:
        """:meth:`updated` of many worlds, to the last bit: NumPy adds flags to numbers in a third of torch's time."""
        new = totals.numpy().copy(order="K")
        columns = new.T
        for place, kind, name in self._rows:
            row, value = columns[place], measures[name].numpy()
            if kind == "sum":
                row += value
            elif kind != "first":
                (np.minimum if kind == "least" else np.maximum)(row, value, out=row)
            elif value.any():
                np.minimum(row, step.numpy(), out=row, where=value != 0)
        return torch.from_numpy(new)

    def _of_one_world(self, totals: Tensor, measures: dict[str, Tensor], step: Tensor) -> Tensor:
        """:meth:`updated` for a single world, to the last bit: its numbers cost less in Python than as tensors."""
        new = totals.numpy().copy()
        row = new[0]
        for place, kind, name in self._rows:
            value = measures[name].item()
            if kind == "sum":
                row[place] += value
            elif kind != "first":
                row[place] = (min if kind == "least" else max)(row[place], value)
            elif value:
                row[place] = min(row[place], step.item())
        return torch.from_numpy(new)

    def values(
        self, totals: Tensor, steps: Tensor, dt: float, *, skip: int = 0, skipped: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Every metric by name, ``[B]`` float64, of the episodes so far; NaN where an episode has no value.

        Args:
            totals: ``[B, K]``.
            steps: made in each episode ``[B]``.
            dt: control step [s].
            skip: steps at the start of each episode that a ``mean`` leaves out.
            skipped: the totals after those steps ``[B, K]``.
        """
        counted = steps - skip
        return {
            metric.name: self._value(metric, totals, dt, torch.where(counted > 0, counted, torch.nan), skipped)
            for metric in self.metrics
        }

    def value(self, metric: Metric, totals: Tensor, steps: Tensor, dt: float) -> Tensor:
        """One of :meth:`values` alone, which costs less."""
        counted = torch.where(steps > 0, steps, torch.nan) if metric.statistic == "mean" else steps
        return self._value(metric, totals, dt, counted, None)

    def held(self, metric: Metric, totals: Tensor) -> Tensor:
        """Whether the flag of a ``first`` or ``ever`` held at some step, ``[B]`` bool."""
        return totals[:, self._place["first", metric.measure]] < _NEVER

    def held_in(self, metric: Metric, row: list[float]) -> bool:
        """:meth:`held` of one world, whose totals ``row`` are."""
        return row[self._place["first", metric.measure]] < _NEVER

    def _value(self, metric: Metric, totals: Tensor, dt: float, counted: Tensor, skipped: Tensor | None) -> Tensor:
        place = self._place[_KEPT_AS[metric.statistic], metric.measure]
        total = totals[:, place].double()
        if metric.statistic == "mean":
            return (total if skipped is None else total - skipped[:, place]) / counted
        if metric.statistic == "ever":
            return self.held(metric, totals).double()
        if metric.statistic == "first":
            return torch.where(total < _NEVER, total * dt, torch.nan)
        return total


def _needs_gradient(totals: Tensor, measures: dict[str, Tensor]) -> bool:
    # Outside of grad mode, too, a tensor that requires a gradient has no array.
    if totals.requires_grad:
        return True
    for value in measures.values():  # noqa: SIM110 - a generator would cost as much as an operation
        if value.requires_grad:
            return True
    return False
