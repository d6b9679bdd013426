"""Cells as processes of this machine: one that crashes takes no other with it.

Processes are forked from a server that has torch and the package in memory, so that a cell starts in a tenth of a
second. A process whose driver is gone ends itself, even if the driver was killed.
"""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import connection, forkserver
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from rl_tracking import files
from rl_tracking.studies.execute.cells import Cell, run_cell
from rl_tracking.studies.execute.events import Advanced, Event, Failed, Finished, Started, told

_PRELOADED = (
    "torch._dynamo",
    "rl_tracking.agents.hybrid_grpo",
    "rl_tracking.agents.grpo",
    "sb3_contrib",
)  # slow to import
_TAIL = 4000  # characters of what a dead process wrote
Work = Callable[[Any, Path, Callable[[float], None]], None]


class LocalBackend:
    """Up to ``jobs`` cells at a time, whose results go to ``folder``.

    Args:
        folder: of the results.
        jobs: how many at a time.
        work: runs a cell, writes its results to a path and tells the share that is done; a function of a module.
    """

    def __init__(self, folder: Path, jobs: int, work: Work = run_cell) -> None:
        self._folder, self._jobs, self._work = folder, jobs, work

    def run(self, cells: Sequence[Cell]) -> Iterator[Event]:
        """See :class:`rl_tracking.studies.execute.events.Backend`."""
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__, *_PRELOADED])
        _start_server()
        waiting, running = list(reversed(cells)), list[_Worker]()
        with tempfile.TemporaryDirectory(prefix="rl_tracking-study-") as scratch:
            try:
                while waiting or running:
                    while waiting and len(running) < self._jobs:
                        running.append(_Worker(context, waiting.pop(), self._work, self._folder, Path(scratch)))
                        yield Started(running[-1].cell)
                    connection.wait([handle for worker in running for handle in worker.handles])
                    for worker in list(running):
                        yield from worker.news()
                        if worker.over:
                            running.remove(worker)
            finally:
                for worker in running:
                    worker.stop()


def _start_server() -> None:
    """Start the server, unless it runs: with this process's search path, which it would not take over otherwise."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(map(os.path.abspath, sys.path))
    try:
        forkserver.ensure_running()
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


class _Worker:
    """The process of one cell, seen from the driver."""

    def __init__(self, context: Any, cell: Cell, work: Work, folder: Path, scratch: Path) -> None:
        self.cell, self.over = cell, False
        self._path = cell.file(folder)
        self._said = scratch / f"{str(cell).replace('/', ' ')}.txt"
        self._ours, theirs = context.Pipe(duplex=False)
        self._process: ForkServerProcess = context.Process(
            target=_work, args=(cell, work, self._path, theirs, self._said), daemon=True
        )
        self._process.start()
        theirs.close()

    @property
    def handles(self) -> list[Any]:
        """What becomes ready when there is news."""
        return [self._ours, self._process.sentinel]

    def news(self) -> Iterator[Event]:
        """What the process said since, and how it ended."""
        ended = self._process.exitcode is not None  # asked first: what it said before it ended is still read
        try:
            while not self.over and self._ours.poll():
                event: Event = self._ours.recv()
                self.over = not isinstance(event, Advanced)
                yield event
        except (EOFError, OSError):  # it died, in the middle of a word perhaps
            ended = True
        if ended and not self.over:
            self._process.join()
            self.over = True
            yield Failed(self.cell, _how(self._process.exitcode), self._tail())
        if self.over:
            self._process.join()
            self._tidy()

    def stop(self) -> None:
        """End the process and what it began to write."""
        self._process.kill()
        self._process.join()
        self._tidy()

    def _tidy(self) -> None:
        self._ours.close()
        files.remove_abandoned(self._path)

    def _tail(self) -> str:
        return files.read_text(self._said, errors="replace")[-_TAIL:] if self._said.exists() else ""


def _how(code: int | None) -> str:
    """What an exit code says about a process that told nothing."""
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        return f"its process was ended by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
    return f"its process left with exit code {code}"


def _work(cell: Cell, work: Work, path: Path, channel: Connection, said: Path) -> None:
    """The process of one cell."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the driver stops its cells itself
    threading.Thread(target=_end_with_driver, daemon=True).start()
    output = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    faulthandler.enable(output)
    event: Event
    try:
        work(cell, path, lambda share: channel.send(Advanced(cell, share)))
        event = Finished(cell)
    except Exception as error:
        event = Failed(cell, *told(error))
    channel.send(event)
    channel.close()


def _end_with_driver() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)
