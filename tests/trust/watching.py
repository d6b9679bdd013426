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


def _peak():
    """The largest resident memory of this process since :func:`_forget` [bytes]."""
    for line in _STATUS.read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    return 0


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
        self.count = self.refused = 0
        self.seconds = 0.0
        _forget()
        self.before = _peak()

    @contextlib.contextmanager
    def reading(self):
        _RUN.clear()
        self.count += 1
        started = time.process_time()  # of this process alone: others may share its core
        yield
        self.seconds = max(self.seconds, time.process_time() - started)
        assert not _RUN, _RUN
        assert not Path("ran").exists()

    @property
    def memory(self):
        """What was taken above what the process had before [bytes]."""
        return _peak() - self.before

    def report(self, what):
        print(
            f"\n{what}: {self.count} files, {self.refused} refused, worst {self.seconds:.2f} s, "
            f"{self.memory / 2**20:.0f} MiB above {self.before / 2**20:.0f} MiB"
        )
        assert self.seconds < 5.0
        assert self.memory + self.before < 2**30 or self.memory < 2**29
