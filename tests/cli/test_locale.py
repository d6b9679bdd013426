"""Text is UTF-8 whatever the locale says, and a terminal that lacks a character is no error."""

import os
import subprocess
import sys
import tomllib

import pytest

from tests.cli.conftest import environment

# Both in one process, of which the import of torch takes longer than either.
CALLS = """
import sys
from rl_tracking.cli.main import main
arguments = sys.argv[1:]
first = arguments.index("then")
for call in (arguments[:first], arguments[first + 1 :]):
    sys.argv = ["rltrack", *call]
    try:
        main()
    except SystemExit as left:
        assert left.code == 0
"""

CONFIG = """# Grüße
steps = 64
num_envs = 4
[arguments]
n_steps = 16
batch_size = 64
n_samples = 2
horizon = 1
net_arch = [8]
[parameters]
max_steps = 4
reward = "rewards.py:näher"
"""


@pytest.mark.parametrize("terminal", [os.EX_OK, pytest.param("latin-1", marks=pytest.mark.slow)])
def test_training_and_resuming_where_the_locale_knows_ascii_alone(terminal, tmp_path):
    (tmp_path / "konfig.toml").write_bytes(b"\xef\xbb\xbf" + CONFIG.encode())
    (tmp_path / "rewards.py").write_text("def näher(step):\n    return -step.nearest\n", encoding="utf-8")
    ascii_alone = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    if terminal:
        ascii_alone["PYTHONIOENCODING"] = terminal

    trains = ["train", "--config", "konfig.toml", "--trust", "--out", "läuf€"]
    resumes = ["train", "--resume", "läuf€", "--steps", "128", "--trust"]
    ended = subprocess.run(
        [sys.executable, "-c", CALLS, *trains, "then", *resumes],
        cwd=tmp_path,
        env={**environment(), **ascii_alone},
        capture_output=True,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, b""), ended.stderr.decode(errors="replace")
    config = tomllib.loads((tmp_path / "läuf€" / "config.toml").read_bytes().decode("utf-8"))
    assert config["parameters"]["reward"] == "rewards.py:näher"
    assert config["steps"] == 128
