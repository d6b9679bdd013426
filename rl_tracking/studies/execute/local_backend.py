"""Jobs as processes of this machine: one that crashes takes no other with it.

Processes are forked from a server that has torch and the package in memory, so that a job starts in a tenth of a
second. A process ends itself when its driver has ended, even if the driver was killed.
"""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from multiprocessing import connection, forkserver
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from rl_tracking import files
from rl_tracking.studies.execute.job import Advanced, Event, Failed, Finished, Job, Started, format_error

_PRELOADED = (
    "torch._dynamo",
    "rl_tracking.agents.hybrid_grpo",
    "rl_tracking.agents.grpo",
    "sb3_contrib",
)  # slow to import
_TAIL = 4000  # characters of what a dead process wrote


class LocalBackend:
    """Up to ``jobs`` processes at a time, which write into ``folder``."""

    def __init__(self, folder: Path, jobs: int) -> None:
        self._folder, self._jobs = folder, jobs

    def run(self, jobs: Sequence[Job]) -> Iterator[Event]:
        """See :class:`rl_tracking.studies.execute.job.Backend`."""
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__, *_PRELOADED])
        _start_server()
        waiting, running = list(reversed(jobs)), list[_Worker]()
        with tempfile.TemporaryDirectory(prefix="rl_tracking-study-") as scratch:
            try:
                while waiting or running:
                    while waiting and len(running) < self._jobs:
                        running.append(_Worker(context, waiting.pop(), self._folder, Path(scratch)))
                        yield Started(running[-1].job)
                    connection.wait([handle for worker in running for handle in worker.handles])
                    for worker in list(running):
                        yield from worker.events()
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
    """The process of one job, seen from the driver."""

    def __init__(self, context: Any, job: Job, folder: Path, scratch: Path) -> None:
        self.job, self.over = job, False
        self._folder = folder
        self._output = scratch / f"{str(job).replace('/', ' ')}.txt"
        self._ours, theirs = context.Pipe(duplex=False)
        self._process: ForkServerProcess = context.Process(
            target=_work, args=(job, folder, theirs, self._output), daemon=True
        )
        self._process.start()
        theirs.close()

    @property
    def handles(self) -> list[Any]:
        """What becomes ready when there are events."""
        return [self._ours, self._process.sentinel]

    def events(self) -> Iterator[Event]:
        """What the process has reported since the last call, and how it ended."""
        ended = self._process.exitcode is not None  # read first: reports sent before the end are still received
        try:
            while not self.over and self._ours.poll():
                event: Event = self._ours.recv()
                self.over = not isinstance(event, Advanced)
                yield event
        except (EOFError, OSError):  # it died, perhaps within a report
            ended = True
        if ended and not self.over:
            self._process.join()
            self.over = True
            yield Failed(self.job, _how(self._process.exitcode), self._tail())
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
        for name in self.job.files:
            files.remove_abandoned(self._folder / name)

    def _tail(self) -> str:
        return files.read_text(self._output, errors="replace")[-_TAIL:] if self._output.exists() else ""


def _how(code: int | None) -> str:
    """The exit code of a process that reported no end, in words."""
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        return f"its process was ended by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
    return f"its process left with exit code {code}"


def _work(job: Job, folder: Path, channel: Connection, output_file: Path) -> None:
    """The process of one job."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the driver stops its jobs itself
    threading.Thread(target=_end_with_driver, daemon=True).start()
    output = os.open(output_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    faulthandler.enable(output)
    event: Event
    try:
        job.run(folder, lambda share: channel.send(Advanced(job, share)))
        event = Finished(job)
    except Exception as error:
        event = Failed(job, *format_error(error))
    channel.send(event)
    channel.close()


def _end_with_driver() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)
