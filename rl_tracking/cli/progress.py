"""Live progress of jobs that run side by side."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from rl_tracking.studies.execute.job import Advanced, Event, Failed, Started

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from rl_tracking.studies.execute.run import Plan


@contextmanager
def watched(console: Any, title: str) -> Iterator[tuple[Callable[[Plan], None], Callable[[Event], None]]]:
    """Bars for a run of a study: what to call with its plan, and with each event."""
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    columns = TextColumn("{task.description}"), BarColumn(bar_width=20), TaskProgressColumn()
    with Progress(*columns, TextColumn("{task.fields[figures]}"), console=console) as progress:
        bars = _Bars(progress, title)
        try:
            yield bars.plan, bars.tell
        except KeyboardInterrupt:
            console.print(f"interrupted; {bars.finished} cells finished; the same command continues", highlight=False)
            raise


class _Bars:
    """One bar for all, and one for each job that runs."""

    def __init__(self, progress: Progress, title: str) -> None:
        self._progress, self._title = progress, title
        self._running: dict[str, tuple[TaskID, float]] = {}
        self.finished = self._failed = self._total = 0
        self._started = time.monotonic()

    def plan(self, plan: Plan) -> None:
        """Show what there is to do."""
        self._total = plan.waiting
        there = plan.jobs - self._total
        text = f"{self._title}\n{plan.jobs} cells" + (f", {there} of them there already" if there else "")
        self._progress.console.print(text, highlight=False, markup=False)
        self._all = self._progress.add_task("cells", total=max(self._total, 1), figures="")
        self._show()

    def tell(self, event: Event) -> None:
        """Show what happened to a job."""
        job = str(event.job)
        if isinstance(event, Started):
            self._forget(job)  # one that was lost begins again
            self._running[job] = self._progress.add_task(f"  {job}", total=1.0, figures=""), 0.0
        elif isinstance(event, Advanced):
            bar, _ = self._running[job]
            self._running[job] = bar, event.share
            self._progress.update(bar, completed=event.share)
        else:
            self._forget(job)
            self.finished += not isinstance(event, Failed)
            if isinstance(event, Failed):
                self._failed += 1
                self._progress.console.print(f"failed: {job}: {event.error}", highlight=False, markup=False)
        self._show()

    def _forget(self, job: str) -> None:
        if job in self._running:
            self._progress.remove_task(self._running.pop(job)[0])

    def _show(self) -> None:
        ended = self.finished + self._failed
        done = ended + sum(share for _, share in self._running.values())
        figures = f"{ended}/{self._total} done, {len(self._running)} running, {self._failed} failed"
        if done >= 0.1 and done < self._total:
            seconds = (time.monotonic() - self._started) * (self._total - done) / done
            figures += f", {timedelta(seconds=round(seconds))} left"
        self._progress.update(self._all, completed=done, figures=figures)
