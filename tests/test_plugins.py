"""Names to objects: built-ins, functions in files and modules, entry points, and a package that is really installed."""

import hashlib
import json
import os
import py_compile
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import torch

import rl_tracking
from rl_tracking import plugins
from rl_tracking.agents.maths import activations
from rl_tracking.agents.saving import checkpoint
from rl_tracking.errors import UsageError
from tests.cli.conftest import environment, together
from tests.helpers import judged, pursuit_state

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "reward_plugin"
KINDS = ("scenario", "motion", "reward", "activation", "algo", "controller")


def write(path, text):
    path.write_text(text)
    return path


def distribution(folder, name, **points):
    """What an installed package looks like to Python: its metadata, with entry points ``kind="name = module:attr"``."""
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    write(info / "METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    groups = [f"[{plugins.group(kind)}]\n{line}\n" for kind, line in points.items()]
    write(info / "entry_points.txt", "\n".join(groups))
    return folder


# -- built-ins ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in KINDS for name in plugins.names(kind)])
def test_every_built_in_name_leads_somewhere(kind, name):
    assert callable(plugins.resolve(kind, name))


@pytest.mark.parametrize("kind", KINDS)
def test_unknown_names_are_refused_with_those_that_are_known(kind):
    with pytest.raises(UsageError, match=f"unknown {kind} 'xyz'; known: ") as refused:
        plugins.resolve(kind, "xyz")
    for name in plugins.names(kind):
        assert name in str(refused.value)


def test_a_close_name_is_suggested():
    with pytest.raises(UsageError, match="did you mean 'random-walk'\\?"):
        plugins.resolve("motion", "randomwalk")


def test_origin_of_a_built_in():
    assert plugins.origin("reward", "tracking") == {"name": "tracking", "source": "built-in"}


# -- functions in files and modules ---------------------------------------------------------------------------------


def test_a_reward_from_a_file(tmp_path):
    file = write(tmp_path / "mine.py", "def near(step):\n    return -step.nearest\n")
    env = rl_tracking.make_vec("pursuit", 3, seed=0, reward=f"{file}:near")
    env.reset()
    _, reward, _, _ = env.step(torch.zeros(3, 3).numpy())
    assert env.last_transition is not None
    torch.testing.assert_close(torch.as_tensor(reward), -env.last_transition.measures["distance"], rtol=0, atol=0)
    assert list(env.last_transition.terms) == ["near"]


def test_a_reward_may_ask_for_past_positions(tmp_path):
    text = "def way(step):\n    return (step.after.position - step.after.trail[:, -3]).norm(dim=-1).sum(dim=-1)\n"
    file = write(tmp_path / "mine.py", text + "way.lookback = 3\n")
    env = rl_tracking.make_vec("pursuit", 2, seed=0, reward=f"{file}:way")
    env.reset()
    assert env.get_state().trail.shape[1] == 3
    env.step(torch.ones(2, 3).numpy())


def test_a_reward_from_a_module():
    found = plugins.resolve("reward", "rl_tracking.envs.parts.rewards:proximity")
    env = rl_tracking.make_vec("pursuit", 1, reward="rl_tracking.envs.parts.rewards:proximity")
    ((_, weight, term),) = env.scenario.reward_terms.terms
    assert (weight, term.function) == (1.0, found)


def test_an_activation_from_a_file_and_from_a_module(tmp_path):
    file = write(tmp_path / "mine.py", "def half(reward):\n    return 0.5 * reward\n")
    reward = torch.tensor([[[2.0, -4.0]]])
    assert activations.resolve(f"{file}:half", 3.0)(reward).tolist() == [[[3.0, -6.0]]]
    assert activations.resolve("torch:relu", 1.0)(reward).tolist() == [[[2.0, 0.0]]]


def test_two_files_of_one_name_stay_two(tmp_path):
    for number, folder in enumerate(("one", "two")):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder / "mine.py", f"def f(step):\n    return {number}\n")
    one, two = (plugins.resolve("reward", str(tmp_path / folder / "mine.py") + ":f") for folder in ("one", "two"))
    assert (one(None), two(None)) == (0, 1)
    assert one.__module__ != two.__module__
    assert "mine" not in sys.modules


def test_a_file_that_changed_is_read_anew(tmp_path):
    file = write(tmp_path / "mine.py", "def f(step):\n    return 'before'\n")
    assert plugins.resolve("reward", f"{file}:f")(None) == "before"
    write(file, "def f(step):\n    return 'after, and longer'\n")
    assert plugins.resolve("reward", f"{file}:f")(None) == "after, and longer"


def test_the_origin_of_a_file_has_its_hash(tmp_path):
    file = write(tmp_path / "mine.py", "def f(step):\n    return step.nearest\n")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert plugins.origin("reward", f"{file}:f") == {"name": f"{file}:f", "source": "file", "sha256": digest}
    digest = hashlib.sha256(Path(torch.__file__).read_bytes()).hexdigest()
    assert plugins.origin("reward", "torch:relu") == {"name": "torch:relu", "source": "module", "sha256": digest}


def test_a_file_is_run_and_not_what_was_compiled_beside_it(tmp_path):
    """Whoever looks at a file has seen what is run: compiled code that claims to be of the file is not."""
    file = write(tmp_path / "mine.py", "def f(step):\n    return 'harm'\n")
    compiled = Path(py_compile.compile(str(file), doraise=True))
    stat = file.stat()
    write(file, "def f(step):\n    return 'good'\n")
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert file.stat().st_size == stat.st_size
    assert compiled.is_file()
    assert plugins.resolve("reward", f"{file}:f")(None) == "good"


@pytest.mark.parametrize("kind", ["reward", "activation"])
@pytest.mark.parametrize(
    ("text", "function", "hint"),
    [
        ("def nearest(x): ...", "nearst", "did you mean 'nearest'\\?"),
        ("def nearest(x): ...", "zzz", "known: nearest$"),
        ("from os import path\nfrom os.path import join\ndef mine(x): ...", "zzz", "known: mine$"),
        ("value = 3", "value", "known: \\(none\\)$"),
        ("def f(x): ...", "", "unknown"),
        ("1 / 0", "f", "cannot be imported: ZeroDivisionError: division by zero"),
        ("raise SystemExit('usage:\\nnone')", "f", "cannot be imported: SystemExit: usage: none"),
        ("def f(x) ...", "f", "cannot be imported: SyntaxError"),
        ("import no_such_package", "f", "No module named 'no_such_package'"),
    ],
)
def test_bad_files_are_refused_in_one_line(tmp_path, kind, text, function, hint):
    file = write(tmp_path / "mine.py", text)
    with pytest.raises(UsageError, match=hint) as refused:
        plugins.resolve(kind, f"{file}:{function}")
    assert "\n" not in str(refused.value)
    assert str(file) in str(refused.value)


def test_missing_files_and_modules_are_refused(tmp_path):
    with pytest.raises(UsageError, match=r"reward file '.*none.py' does not exist"):
        plugins.resolve("reward", f"{tmp_path / 'none.py'}:f")
    with pytest.raises(UsageError, match="does not exist"):
        plugins.resolve("reward", f"{tmp_path}.py:f")
    with pytest.raises(UsageError, match="reward module 'no_such_package' cannot be imported"):
        plugins.resolve("reward", "no_such_package:f")
    with pytest.raises(UsageError, match=r"write mine.py:function"):
        plugins.resolve("reward", "mine.py")


@pytest.mark.parametrize("kind", ["scenario", "motion", "algo", "controller"])
def test_other_kinds_take_names_only(tmp_path, kind):
    file = write(tmp_path / "mine.py", "def f(x): ...")
    with pytest.raises(UsageError, match=f"unknown {kind}"):
        plugins.resolve(kind, f"{file}:f")


# -- entry points ---------------------------------------------------------------------------------------------------


def test_an_entry_point_is_found_in_every_group(tmp_path, monkeypatch):
    points = {kind: f"mine-{kind} = plugin_of_every_kind:{kind}" for kind in KINDS}
    distribution(tmp_path, "of-every-kind", **points)
    lines = [f"def {kind}(x):\n    '''The {kind} of mine.'''" for kind in KINDS]
    write(tmp_path / "plugin_of_every_kind.py", "\n".join(lines))
    monkeypatch.syspath_prepend(tmp_path)
    for kind in KINDS:
        assert plugins.names(kind)[f"mine-{kind}"] == "of-every-kind 1.0"
        assert plugins.resolve(kind, f"mine-{kind}").__name__ == kind
        assert plugins.summary(kind, f"mine-{kind}") == f"The {kind} of mine"
        assert plugins.origin(kind, f"mine-{kind}") == {"name": f"mine-{kind}", "source": "of-every-kind 1.0"}


def test_a_name_that_a_built_in_has_is_an_error_at_once(tmp_path, monkeypatch):
    distribution(tmp_path, "usurper", reward="tracking = json:dumps")
    monkeypatch.syspath_prepend(tmp_path)
    line = "the reward 'tracking' of usurper 1.0 is already defined by built-in; rename .* or uninstall usurper 1.0"
    for attempt in (
        lambda: plugins.names("reward"),
        lambda: plugins.resolve("reward", "tracking"),
        lambda: plugins.resolve("reward", "sparse"),
        lambda: rl_tracking.make_vec("pursuit", 1),
    ):
        with pytest.raises(UsageError, match=line):
            attempt()
    assert callable(plugins.resolve("motion", "cube"))


def test_a_name_that_two_plugins_have_is_an_error(tmp_path, monkeypatch):
    for name in ("first", "second"):
        monkeypatch.syspath_prepend(distribution(tmp_path / name, name, reward="mine = json:dumps"))
    with pytest.raises(UsageError, match=r"the reward 'mine' of .* 1.0 is already defined by .* 1.0"):
        plugins.resolve("reward", "mine")


def test_one_package_on_two_paths_is_one(tmp_path, monkeypatch):
    for folder in ("here", "there"):
        monkeypatch.syspath_prepend(distribution(tmp_path / folder, "twice", reward="mine = json:dumps"))
    assert plugins.resolve("reward", "mine") is json.dumps


@pytest.mark.parametrize("target", ["no_such_package:f", "json:no_such_function", "plugin_that_leaves:f"])
def test_an_entry_point_that_cannot_be_loaded_is_refused(tmp_path, monkeypatch, target):
    write(tmp_path / "plugin_that_leaves.py", "raise SystemExit(1)")
    monkeypatch.syspath_prepend(distribution(tmp_path, "broken", reward=f"mine = {target}"))
    with pytest.raises(UsageError, match=r"the reward 'mine' of broken 1.0 failed to load: "):
        plugins.resolve("reward", "mine")


# -- the example ----------------------------------------------------------------------------------------------------


def test_the_example_pays_closing_speed_and_taxes_the_change_of_the_action(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLE)
    from smooth_pursuit import CHANGE_PENALTY, smooth_pursuit

    # 10 m away, then 7 m: 3 m in 0.5 s of a top speed of 10 m/s. The second pursuer goes 1 m away.
    before = pursuit_state([[[10.0, 0, 0], [0, 4.0, 0]]], [[0.0, 0, 0]], action=[[[0.5, 0, 0], [0, 0, 0]]])
    after = pursuit_state([[[7.0, 0, 0], [0, 5.0, 0]]], [[0.0, 0, 0]])
    step = judged(before, after, [[[-0.5, 0, 0], [0, 0, 1.0]]])
    expected = ((0.6 - CHANGE_PENALTY) + (-0.2 - CHANGE_PENALTY)) / 2
    torch.testing.assert_close(smooth_pursuit(step), torch.tensor([expected]))


def test_the_example_names_the_group_of_rewards():
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    assert list(project["entry-points"]) == [plugins.group("reward")]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The example, installed by pip into a folder of its own; no index is asked."""
    target = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "install", "--no-index"]
    done = subprocess.run(
        [*pip, "--no-deps", "--no-build-isolation", "--target", target, EXAMPLE], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return target


def test_the_installed_example_is_listed_trained_with_and_measured(installed, tmp_path):
    pairs = ["num_envs=8", "n_steps=32", "batch_size=256", "max_steps=30"]
    settings = ["--steps", 512, "--out", "run", *(f"--set={pair}" for pair in pairs)]
    calls = (
        ["list", "rewards"],
        ["train", "--reward", "smooth-pursuit", *settings],
        ["eval", "run/checkpoint.zip", "--episodes", 5, "--json"],
    )
    places = os.pathsep.join([str(installed), environment()["PYTHONPATH"]])
    (listed, trained, measured), _ = together(calls, tmp_path, PYTHONPATH=places, COLUMNS="120")
    assert listed.code == 0, listed.err
    (line,) = [line for line in listed.out.splitlines() if line.startswith("smooth-pursuit ")]
    assert "rl-tracking-smooth-pursuit 0.1.0" in line
    assert "Closing speed" in line

    assert (trained.code, trained.err) == (0, "")
    assert "reward smooth-pursuit" in trained.out
    used = checkpoint.read_description(tmp_path / "run" / "checkpoint.zip")["plugins"]
    assert {"kind": "reward", "name": "smooth-pursuit", "source": "rl-tracking-smooth-pursuit 0.1.0"} in used

    assert (measured.code, measured.err) == (0, "")
    assert json.loads(measured.out)["return"]["value"] is not None


def test_without_the_package_its_reward_is_unknown(tmp_path):
    (ended,), _ = together([["train", "--reward", "smooth-pursuit"]], tmp_path)
    assert ended.code == 2
    assert ended.err.startswith("rltrack: unknown reward 'smooth-pursuit'; known: ")
    assert not list(tmp_path.iterdir())
