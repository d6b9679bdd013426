"""Jobs on a Ray cluster: files that a job needs go with it and its own come back, so that the nodes share no disk.

The driver sends its own ``rl_tracking`` along, so that every node runs the same code. What it depends on (torch,
Stable-Baselines3, Gymnasium, the simulators) must be installed on the nodes, with the driver's Python and Ray; so must
a reward or an activation that a study names by its file or module. Every line of results says which versions made it.
A job whose worker or node is lost begins again elsewhere. Only the start and the end of a job are reported.
"""

from __future__ import annotations

import logging
import os
import socket
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import rl_tracking
from rl_tracking import files
from rl_tracking.errors import RunError, UsageError
from rl_tracking.studies.execute.job import Event, Failed, Finished, Job, Started, format_error

ATTEMPTS = 4  # of a job whose worker dies; a node that dies costs each of its jobs one
_REACHED_WITHIN = 5.0  # seconds
_LOOK_AGAIN = 1.0  # seconds, for nodes that came or went
_QUIET = {"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0", "RAY_USAGE_STATS_ENABLED": "0"}


class RayBackend:
    """Up to ``jobs`` jobs at a time on a cluster, or as many as it has cores if ``jobs`` is 0.

    Args:
        folder: of the study, on this machine.
        jobs: see above.
        address: ``host:port`` or ``ray://host:port``; None for the cluster that runs on this machine or that
            ``RAY_ADDRESS`` names.

    Raises:
        UsageError: the extra is missing, or nothing answers at the address.
    """

    def __init__(self, folder: Path, jobs: int, address: str | None = None) -> None:
        self._ray = _import_ray()
        self._folder, self._jobs = folder, jobs
        self._address = address or os.environ.get("RAY_ADDRESS") or "auto"
        if self._address != "auto":
            _ping(self._address)

    def run(self, jobs: Sequence[Job]) -> Iterator[Event]:
        """See :class:`rl_tracking.studies.execute.job.Backend`."""
        if not jobs:
            return
        waiting, attempts = list(reversed(jobs)), dict[str, int]()
        running: dict[Any, Job] = {}
        with _connected(self._ray, self._address):
            # Retries are counted here: Ray's own would hide that a job began again.
            work = self._ray.remote(num_cpus=1, max_retries=0)(_work)
            try:
                while waiting or running:
                    while waiting and len(running) < self._room():
                        job = waiting.pop()
                        attempts[str(job)] = attempts.get(str(job), 0) + 1
                        running[work.remote(job, _read(self._folder, job.needs))] = job
                        yield Started(job)
                    ready, _ = self._ray.wait(list(running), timeout=_LOOK_AGAIN)
                    for reference in ready:
                        job = running.pop(reference)
                        event = self._outcome(job, reference, attempts[str(job)])
                        if event is None:
                            waiting.append(job)
                        else:
                            yield event
            finally:
                for reference in running:
                    with suppress(Exception):
                        self._ray.cancel(reference, force=True)

    def _room(self) -> int:
        """How many jobs may run now."""
        return self._jobs or max(1, int(self._ray.cluster_resources().get("CPU", 1)))

    def _outcome(self, job: Job, reference: Any, attempt: int) -> Event | None:
        """How a job ended, its files written; None if its worker was lost and it is to begin again."""
        try:
            written, error, trace = self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as failure:  # an import failed before the job began
            return Failed(job, *format_error(failure.cause if failure.cause is not None else failure))
        except self._ray.exceptions.RayError as lost:
            if attempt < ATTEMPTS:
                return None
            what, trace = format_error(lost)
            return Failed(job, f"its worker was lost {attempt} times, the last time by {what.split('.')[0]}", trace)
        if written is None:
            return Failed(job, error, trace)
        _write(self._folder, written)
        return Finished(job)


def _work(job: Job, needs: dict[str, bytes]) -> tuple[dict[str, bytes] | None, str, str]:
    """On a worker: the files that a job writes, or why there are none."""
    with tempfile.TemporaryDirectory(prefix="rl_tracking-study-") as scratch:
        folder = Path(scratch)
        try:
            _write(folder, needs)
            job.run(folder, lambda share: None)
            return _read(folder, job.files), "", ""
        except Exception as error:
            return None, *format_error(error)


def _read(folder: Path, names: Sequence[str]) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in names}


def _write(folder: Path, contents: dict[str, bytes]) -> None:
    """Write files in their order; each is complete or not there."""
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        files.write_bytes(folder / name, content)


def _import_ray() -> Any:
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    try:
        return import_module("ray")
    except ImportError as error:
        raise UsageError("--backend ray needs the extra 'ray': pip install \"rl-tracking[ray]\"") from error


def _ping(address: str) -> None:
    """Refuse an address at which nothing answers: Ray itself would try for minutes."""
    parts = urlsplit(address if "://" in address else f"//{address}")
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or not port:
        raise UsageError(f"--address must be HOST:PORT or ray://HOST:PORT, not '{address}'")
    try:
        socket.create_connection((host, port), timeout=_REACHED_WITHIN).close()
    except OSError as error:
        reason = error.strerror or str(error) or "no answer"
        raise UsageError(f"no Ray cluster answers at '{address}' ({reason}); is it running?") from error


@contextmanager
def _connected(ray: Any, address: str) -> Iterator[None]:
    """A quiet connection to the cluster, which takes this package along."""
    package = Path(rl_tracking.__file__).parent
    try:
        ray.init(
            address=address,
            runtime_env={"py_modules": [str(package)], "excludes": ["**/__pycache__", "assets"]},
            log_to_driver=False,
            logging_level=logging.CRITICAL,
        )
    except Exception as error:
        if address == "auto" and isinstance(error, ConnectionError):
            raise UsageError(
                "no Ray cluster runs here; start one with `ray start --head`, or give --address"
            ) from error
        raise RunError(f"the Ray cluster at '{address}' refuses: {format_error(error)[0][:300]}") from error
    try:
        yield
    finally:
        ray.shutdown()
