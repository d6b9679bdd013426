"""Text is UTF-8 whatever the locale says, and a terminal that lacks a character is no error."""

import os
import subprocess
import sys
import tomllib

import pytest

from tests.cli.conftest import CALL, environment

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

    def rltrack(*arguments):
        ended = subprocess.run(
            [sys.executable, "-c", CALL, *arguments],
            cwd=tmp_path,
            env={**environment(), **ascii_alone},
            capture_output=True,
            check=False,
        )
        assert (ended.returncode, ended.stderr) == (0, b""), ended.stderr.decode(errors="replace")

    rltrack("train", "--config", "konfig.toml", "--trust", "--out", "läuf€")
    config = (tmp_path / "läuf€" / "config.toml").read_bytes().decode("utf-8")
    assert tomllib.loads(config)["parameters"]["reward"] == "rewards.py:näher"
    rltrack("train", "--resume", "läuf€", "--steps", "128", "--trust")
    assert tomllib.loads((tmp_path / "läuf€" / "config.toml").read_text(encoding="utf-8"))["steps"] == 128
