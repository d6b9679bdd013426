"""The command line as tests see it: called in this process, which is quick, or in one of its own."""

import contextlib
import dataclasses
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import PATIENCE

ROOT = Path(__file__).parents[2]
CALL = "from rl_tracking.cli.main import main; main()"
# A few updates of a few short episodes.
SMALL = {"num_envs": 8, "n_steps": 64, "batch_size": 512, "n_epochs": 2, "max_steps": 40}


@dataclasses.dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str


@pytest.fixture
def small():
    """Arguments of a training that takes a second; options that follow overrule them."""
    return ["--steps", "1024", *(f"--set={name}={value}" for name, value in SMALL.items())]


def environment():
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    return {
        **{name: value for name, value in os.environ.items() if name not in ("FORCE_COLOR", "GITHUB_ACTIONS")},
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "100",
    }


# Calls the command line with each list of arguments, and prints what it answered and which modules are imported then.
CALLS = """
import contextlib, io, json, sys
from rl_tracking.cli.main import main
answers = []
for arguments in json.loads(sys.argv[1]):
    sys.argv = ["rltrack", *arguments]
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as left:
            code = left.code
    answers.append([code, out.getvalue(), err.getvalue()])
print(json.dumps([answers, list(sys.modules)]))
"""


def together(calls, cwd, **variables):
    """What ``rltrack`` answers to each of some calls in one process of its own, and the modules that they imported."""
    ended = subprocess.run(
        [sys.executable, "-c", CALLS, json.dumps([list(map(str, call)) for call in calls])],
        cwd=cwd,
        env=environment() | variables,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    answers, modules = json.loads(ended.stdout)
    return [Ended(*answer) for answer in answers], set(modules)


@pytest.fixture
def start():
    """``rltrack`` in a process of its own, started in a folder."""
    started = []

    def start(*arguments, cwd):
        process = subprocess.Popen(
            [sys.executable, "-c", CALL, *map(str, arguments)],
            cwd=cwd,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # Ctrl-C is ignored by whatever is started from a script in the background, and that is inherited.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        started.append(process)
        return process

    yield start
    for process in started:
        with process:  # which closes its pipes
            process.kill()


def terminal(changed):
    """A terminal that is 100 columns wide and without colours."""
    changed.setenv("COLUMNS", "100")
    changed.delenv("FORCE_COLOR", raising=False)


def called(*arguments):
    """``rltrack`` in this process."""
    from rl_tracking.cli.main import main

    out, err = io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as changed,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        changed.setattr(sys, "argv", ["rltrack", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            main()
    return Ended(left.value.code, out.getvalue(), err.getvalue())


@pytest.fixture
def rltrack(monkeypatch, tmp_path):
    """``rltrack`` in this process and in an empty folder."""
    monkeypatch.chdir(tmp_path)
    terminal(monkeypatch)
    return called


@pytest.fixture
def refused(rltrack, tmp_path):
    """The one line with which a command is refused; nothing may be left behind by it."""

    def call(*arguments, code=2):
        before = sorted(tmp_path.rglob("*"))
        ended = rltrack(*arguments)
        lines = ended.err.splitlines()
        assert ended.code == code, ended.err
        assert len(lines) == 1
        assert lines[0].startswith("rltrack: ")
        assert "Traceback" not in ended.out
        assert sorted(tmp_path.rglob("*")) == before
        return lines[0]

    return call


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A finished run, and what it said."""
    cwd = tmp_path_factory.mktemp("trained")
    settings = [f"--set={name}={value}" for name, value in SMALL.items()]
    with pytest.MonkeyPatch.context() as changed:
        changed.chdir(cwd)
        terminal(changed)
        return Run(cwd / "run", called("train", "--steps", 4096, "--out", "run", *settings))


@dataclasses.dataclass(frozen=True)
class Run:
    folder: Path
    ended: Ended

    @property
    def checkpoint(self):
        return self.folder / "checkpoint.zip"
