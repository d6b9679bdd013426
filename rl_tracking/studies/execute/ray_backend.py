"""Cells on a Ray cluster: results come back to the driver, so that the nodes share no disk.

The driver sends its own ``rl_tracking`` along, so that every node runs the same code. What it depends on (torch,
Stable-Baselines3, Gymnasium, the simulators) must be installed on the nodes, with the driver's Python and Ray; so must
a reward or an activation that a study names by its file or module. Every line of results says which versions made it.
A cell whose worker or node is lost begins again elsewhere. Of a cell one hears the start and the end only.
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
from rl_tracking.errors import RunError, UsageError
from rl_tracking.studies.execute.cells import Cell, run_cell
from rl_tracking.studies.execute.events import Event, Failed, Finished, Started, told

ATTEMPTS = 4  # of a cell whose worker dies; a node that dies takes one of each of its cells
_REACHED_WITHIN = 5.0  # seconds
_LOOK_AGAIN = 1.0  # seconds, for nodes that came or went
_QUIET = {"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0", "RAY_USAGE_STATS_ENABLED": "0"}


class RayBackend:
    """Up to ``jobs`` cells at a time on a cluster, or as many as it has cores if ``jobs`` is 0.

    Args:
        address: ``host:port`` or ``ray://host:port``; None for the cluster that runs on this machine or that
            ``RAY_ADDRESS`` names.
        jobs: see above.

    Raises:
        UsageError: the extra is missing, or nobody answers at the address.
    """

    def __init__(self, address: str | None, jobs: int) -> None:
        self._ray = _import_ray()
        self._address = address or os.environ.get("RAY_ADDRESS") or "auto"
        self._jobs = jobs
        if self._address != "auto":
            _knock(self._address)

    def run(self, cells: Sequence[Cell]) -> Iterator[Event]:
        """See :class:`rl_tracking.studies.execute.events.Backend`."""
        if not cells:
            return
        waiting, attempts = list(reversed(cells)), dict[str, int]()
        running: dict[Any, Cell] = {}
        with _connected(self._ray, self._address):
            # Retries are counted here: Ray's own would hide that a cell began again.
            work = self._ray.remote(num_cpus=1, max_retries=0)(_work)
            try:
                while waiting or running:
                    while waiting and len(running) < self._room():
                        cell = waiting.pop()
                        attempts[str(cell)] = attempts.get(str(cell), 0) + 1
                        running[work.remote(cell)] = cell
                        yield Started(cell)
                    ready, _ = self._ray.wait(list(running), timeout=_LOOK_AGAIN)
                    for reference in ready:
                        cell = running.pop(reference)
                        event = self._outcome(cell, reference, attempts[str(cell)])
                        if event is None:
                            waiting.append(cell)
                        else:
                            yield event
            finally:
                for reference in running:
                    with suppress(Exception):
                        self._ray.cancel(reference, force=True)

    def _room(self) -> int:
        """How many cells may run now."""
        return self._jobs or max(1, int(self._ray.cluster_resources().get("CPU", 1)))

    def _outcome(self, cell: Cell, reference: Any, attempt: int) -> Event | None:
        """How a cell ended; None if its worker was lost and it is to begin again."""
        try:
            content, error, trace = self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as failure:  # it never got to the cell: an import failed
            return Failed(cell, *told(failure.cause if failure.cause is not None else failure))
        except self._ray.exceptions.RayError as lost:
            if attempt < ATTEMPTS:
                return None
            what, trace = told(lost)
            return Failed(cell, f"its worker was lost {attempt} times, at last by {what.split('.')[0]}", trace)
        return Finished(cell, content) if content is not None else Failed(cell, error, trace)


def _work(cell: Cell) -> tuple[bytes | None, str, str]:
    """On a worker: the results of a cell, or why there are none."""
    with tempfile.TemporaryDirectory(prefix="rl_tracking-study-") as scratch:
        path = Path(scratch) / "results.jsonl"
        try:
            run_cell(cell, path)
        except Exception as error:
            return None, *told(error)
        return path.read_bytes(), "", ""


def _import_ray() -> Any:
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    try:
        return import_module("ray")
    except ImportError as error:
        raise UsageError("--backend ray needs the extra 'ray': pip install \"rl-tracking[ray]\"") from error


def _knock(address: str) -> None:
    """Ask whether anybody answers there: Ray itself would try for minutes."""
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
        raise RunError(f"the Ray cluster at '{address}' refuses: {told(error)[0][:300]}") from error
    try:
        yield
    finally:
        ray.shutdown()
