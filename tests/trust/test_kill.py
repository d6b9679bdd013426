"""Whatever moment a training is killed at, the newest checkpoint is whole, goes on, and nothing is left behind."""

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import PATIENCE, wait_for
from tests.trust.weights_hash import weights_hash

ROOT = Path(__file__).parents[2]
CALL = "from rl_tracking.cli.main import main; main()"


def environment():
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "COLUMNS": "120"}


COUNTS = [pytest.param(4, id="few"), pytest.param(200, id="200", marks=pytest.mark.slow)]


@pytest.fixture(scope="module", params=COUNTS)
def kills(request, tmp_path_factory):
    """What was found after as many kills of trainings and as many of saves."""
    script, folder = Path(__file__).with_name("killing.py"), tmp_path_factory.mktemp("kills")
    arguments = [sys.executable, "-W", "ignore", script, str(request.param), folder]
    ended = subprocess.run(arguments, env=environment(), capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]
    said = json.loads(ended.stdout.splitlines()[-1])
    assert len(said["training"]) == len(said["saving"]) == request.param
    return said


def test_a_training_that_is_killed_at_any_moment_goes_on(kills):
    straight, outcomes = kills["straight"], kills["training"]
    count = len(outcomes)
    begun = [outcome for outcome in outcomes if outcome["had"] is not None]
    for outcome in begun:
        assert (outcome["hash"], outcome["left"], outcome["wrong"]) == (straight, [], None)
    for outcome in outcomes:  # killed before the first checkpoint
        if outcome["had"] is None:
            assert (
                "no folder yet" in outcome["refused"]
                or "continue from yet" in outcome["refused"]
                or ("has no config.toml" in outcome["refused"])
            )
    assert len({outcome["had"] for outcome in begun}) >= min(3, count // 4)  # at moments that differ
    assert len(begun) >= count // 4


def test_a_save_that_is_killed_at_any_moment_loses_nothing(kills):
    outcomes = kills["saving"]
    for outcome in outcomes:
        assert (outcome["hash"], outcome["left"], outcome["wrong"]) == (kills["straight"], [], None)
    assert any(outcome["before"] for outcome in outcomes)  # some were killed as they wrote


# -- the command line --------------------------------------------------------------------------------------------------


def started(*arguments, cwd):
    return subprocess.Popen(
        [sys.executable, "-c", CALL, *map(str, arguments)],
        cwd=cwd,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_hear_all,
    )


def _hear_all():
    """Signals that whoever runs the tests ignores are inherited: those of nohup, and Ctrl-C in the background."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


def rltrack(*arguments, cwd):
    process = started(*arguments, cwd=cwd)
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, err) == (0, ""), err
    return out


def rows(folder):
    with (folder / "metrics.csv").open(encoding="utf-8") as file:
        found = list(csv.DictReader(file))
    return [{name: cell for name, cell in row.items() if not name.startswith("time/")} for row in found]


PURSUIT = ("--set=wind_speed=2", "--set=num_envs=8", "--set=n_steps=32", "--set=batch_size=256")
CHEETAH = ("--env=HalfCheetah-v5", "--set=num_envs=2", "--set=n_steps=32", "--set=batch_size=64", "--set=n_samples=2")
CHEETAH = (*CHEETAH, "--set=horizon=1", "--set=n_epochs=2", "--set=max_episode_steps=50", "--set=normalize=true")


@pytest.mark.slow
@pytest.mark.parametrize(("place", "rollout"), [(PURSUIT, 256), (CHEETAH, 64)], ids=["pursuit", "HalfCheetah-v5"])
def test_killed_and_resumed_by_hand(place, rollout, tmp_path):
    arguments = ["train", *place, "--steps", 40 * rollout]
    rltrack(*arguments, "--out", "straight", cwd=tmp_path)
    process = started(*arguments, "--out", "resumed", cwd=tmp_path)
    metrics = tmp_path / "resumed" / "metrics.csv"
    wait_for(lambda: process.poll() is not None or (metrics.exists() and len(metrics.read_text().splitlines()) > 20))
    assert process.poll() is None, process.communicate()
    process.kill()
    process.communicate()
    rltrack("train", "--resume", "resumed", cwd=tmp_path)
    straight, resumed = tmp_path / "straight", tmp_path / "resumed"
    assert weights_hash(resumed / "checkpoint.zip") == weights_hash(straight / "checkpoint.zip")
    assert rows(resumed) == rows(straight)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signals_save_as_ctrl_c_does(number, tmp_path):
    process = started("train", *PURSUIT, "--steps", 10_000_000, "--out", "run", cwd=tmp_path)
    metrics = tmp_path / "run" / "metrics.csv"
    wait_for(lambda: process.poll() is not None or (metrics.exists() and metrics.stat().st_size))
    assert process.poll() is None, process.communicate()
    process.send_signal(number)
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, err) == (0, "")
    assert "interrupted; saved what was learned so far to run/checkpoint.zip" in out
    assert "continue it:  rltrack train --resume run" in out
    assert (tmp_path / "run" / "checkpoint.zip").exists()
