"""What tests of files that mean harm share."""

import sys

import gymnasium as gym
import pytest

# Whoever runs it leaves a file behind, and then does what it promises.
EVIL = """
from pathlib import Path
import sys
Path({marker!r}).write_text("it ran")
import gymnasium, gymnasium.envs.classic_control

def f(step, *rest):
    return -getattr(step, "nearest", step)

class Evil(gymnasium.envs.classic_control.CartPoleEnv):
    pass

if "Evil-v0" not in gymnasium.registry:
    gymnasium.register("Evil-v0", entry_point=Evil, max_episode_steps=20)
"""


@pytest.fixture
def evil(tmp_path, monkeypatch):
    """A folder to work in with code that leaves ``ran`` behind; as a file, a module, a package and one within."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    text = EVIL.format(marker=str(tmp_path / "ran"))
    (tmp_path / "evilpkg").mkdir()
    for name in ("evil.py", "evilpkg/__init__.py", "evilpkg/mod.py"):
        (tmp_path / name).write_text(text)
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("evil")]:
        del sys.modules[name]
    gym.registry.pop("Evil-v0", None)
