"""The package from outside: what an import costs, and the names it offers."""

import os
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

import rl_tracking

ROOT = Path(__file__).parents[1]
HEAVY = {"torch", "stable_baselines3", "pygame", "matplotlib", "tensorboard", "imageio", "pandas"}


def python(*arguments, cwd):
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    variables = {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *map(str, arguments)], cwd=cwd, env={**os.environ, **variables}, capture_output=True, text=True
    )


def imported(code, cwd):
    """Top-level packages that are loaded after some code has run."""
    lines = ["import atexit, sys", "atexit.register(lambda: print(*sys.modules, file=sys.stderr))", code]
    done = python("-c", "\n".join(lines), cwd=cwd)
    assert done.returncode == 0, done.stderr
    return {name.partition(".")[0] for name in done.stderr.split()}, done.stdout


def call(*arguments):
    return f"from rl_tracking.cli.main import main\nsys.argv = ['rltrack', *{arguments!r}]\nmain()"


@pytest.mark.parametrize(
    "code",
    [
        "import rl_tracking",
        "import rl_tracking; dir(rl_tracking); rl_tracking.__version__",
        "import gymnasium, rl_tracking; gymnasium.spec('rl_tracking/Pursuit-v0')",
        "import rl_tracking.plugins; rl_tracking.plugins.names('reward')",
        "import rl_tracking.cli.main",
        call("--help"),
        call("--version"),
        call("train", "--help"),
    ],
)
def test_nothing_heavy_is_imported_before_it_is_needed(tmp_path, code):
    packages, _ = imported(code, tmp_path)
    assert "rl_tracking" in packages
    assert not packages & HEAVY


def test_nothing_but_the_viewer_needs_pygame(tmp_path):
    code = "import rl_tracking\nfor name in rl_tracking.__all__: getattr(rl_tracking, name)"
    packages, _ = imported(code, tmp_path)
    assert "torch" in packages
    assert "pygame" not in packages


def test_every_public_name_is_there_and_listed():
    for name in rl_tracking.__all__:
        assert getattr(rl_tracking, name) is not None
        assert name in dir(rl_tracking)


def test_other_names_are_not():
    with pytest.raises(AttributeError, match="module 'rl_tracking' has no attribute 'make_vek'"):
        rl_tracking.make_vek  # noqa: B018


def test_the_console_script_leads_to_a_function():
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    module, name = scripts["rltrack"].split(":")
    assert callable(getattr(import_module(module), name))


def test_the_package_says_that_it_is_typed():
    assert (Path(rl_tracking.__file__).parent / "py.typed").is_file()


def test_the_example_script_trains_saves_and_measures(tmp_path):
    done = python(ROOT / "examples" / "train_without_cli.py", "--steps", 2048, "--out", "mine.zip", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "rl_tracking/Pursuit-v0: restorable" in done.stdout
    figures = dict(line.split(maxsplit=1) for line in done.stdout.splitlines()[7:])
    assert figures["policy"] == "HybridGRPO"
    assert figures["episodes"] == "100"
    assert 0 <= float(figures["capture_rate"]) <= 1
    assert [path.name for path in tmp_path.iterdir()] == ["mine.zip"]


def test_the_example_of_sb3_s_habits_runs(tmp_path):
    done = python(ROOT / "examples" / "sb3_habits.py", "--steps", 1024, "--out", "habits", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split()[:2] for line in done.stdout.splitlines()] == [["CartPole-v1", "1024"], ["Pendulum-v1", "1024"]]
    names = {path.name for path in (tmp_path / "habits").iterdir()}
    assert names == {"best_model.zip", "models", "pendulum.zip", "pendulum.pkl"}
