"""What is measured of a reader of damaged files: time, memory, and whether anything was run."""

import contextlib
import sys
import time
from pathlib import Path

_STATUS = Path("/proc/self/status")
_RUN: list[str] = []
_hooked = False


def _hook(event, arguments):
    if event in ("os.system", "subprocess.Popen", "pickle.find_class") or (
        event == "import" and str(arguments[0]).startswith("evil")
    ):
        _RUN.append(f"{event} {arguments!r}"[:200])


def _of_status(name):
    """``VmRSS``, the resident memory of this process, or ``VmHWM``, its largest since :func:`_forget` [bytes]."""
    lines = _STATUS.read_text().splitlines() if _STATUS.exists() else []
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(name)), 0)


def _forget():
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


class Watch:
    """The worst of many readings."""

    def __init__(self):
        global _hooked
        if not _hooked:
            sys.addaudithook(_hook)  # which stays for the life of the process
            _hooked = True
        self.count = self.refused = self.memory = 0
        self.seconds = 0.0

    @contextlib.contextmanager
    def reading(self):
        _RUN.clear()
        self.count += 1
        _forget()
        before = _of_status("VmRSS")
        started = time.process_time()  # of this process alone: others may share its core
        yield
        self.seconds = max(self.seconds, time.process_time() - started)
        self.memory = max(self.memory, _of_status("VmHWM") - before)
        assert not _RUN, _RUN
        assert not Path("ran").exists()

    def report(self, what):
        print(
            f"\n{what}: {self.count} files, {self.refused} refused, worst {self.seconds:.2f} s of CPU time and "
            f"{self.memory / 2**20:.0f} MiB more than before"
        )
        assert self.seconds < 5.0
        assert self.memory < 2**29  # and an idle process has less than that
