"""What ``rltrack train`` refuses: one line, the right exit code, and nothing left behind."""

from pathlib import Path

import pytest

from rl_tracking.runs import callback as run_callback
from rl_tracking.runs import settings, train

REWARDS = """
import torch

def fine(step): return -step.nearest
def raises(step): raise KeyError("no such\\nthing")
def of_all_pursuers(step): return step.distance
def a_number(step): return 3.0
def nan(step): return step.nearest * float("nan")
def nan_at_step_5(step): return torch.where(step.before.step == 5, torch.inf, step.nearest)
constant = 3
"""
ACTIVATIONS = """
def raises(reward): return 1 / 0
def mean(reward): return reward.mean()
def nan(reward): return reward * float("nan")
def huge(reward): return reward * 1e30
"""


@pytest.fixture
def run(refused, small, tmp_path):
    (tmp_path / "rewards.py").write_text(REWARDS)
    (tmp_path / "activations.py").write_text(ACTIVATIONS)
    (tmp_path / "broken.py").write_text("raise RuntimeError('not\\ntoday')")
    (tmp_path / "leaves.py").write_text("import sys; sys.exit(3)")
    (tmp_path / "syntax.py").write_text("def f(:")

    def run(*arguments, code=2):
        return refused("train", *small, "--out", "run", *arguments, code=code)

    return run


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["--scenario", "persuit"], "did you mean 'pursuit'?"),
        (["--scenario", "chess"], "known: intercept, pursuit, swarm, track2d"),
        (["--algo", "hybrid-gprp"], "did you mean 'hybrid-grpo'?"),
        (["--preset", "sandbocks"], "did you mean 'sandbox'?"),
        (["--reward", "trackng"], "did you mean 'tracking'?"),
        (["--set", "motion=cub"], "did you mean 'cube'?"),
        (["--set", "reward_activation=tahn"], "did you mean 'tanh'?"),
        (["--set", "baseline=group"], "did you mean 'group-mean'?"),
        (["--set", "advantage=literally"], "did you mean 'literal'?"),
        (["--set", "advantage=3"], "must be per-sample or literal, not 3"),
        (["--set", "branch_noise=independant"], "did you mean 'independent'?"),
        (["--set", "activation_fn=Relu"], "ReLU"),
        (["--set", "spawn=nearby"], "near"),
        (["--algo", "ppo", "--set", "n_samples=4"], "ppo has no n_samples, hybrid-grpo and grpo have"),
    ],
)
def test_unknown_names(run, arguments, hint):
    assert hint in run(*arguments)


@pytest.mark.parametrize(
    ("pair", "hint"),
    [
        ("n_samplse=4", "did you mean 'n_samples'?"),
        ("max_stepz=4", "did you mean 'max_steps'?"),
        ("n_samples", "--set takes key=value, not 'n_samples'"),
        ("=4", "--set takes key=value"),
        ("n_samples=", "--set takes key=value"),
        ("n_samples=many", "n_samples must be a whole number of 1 or more, not 'many'"),
        ("n_samples=2.5", "n_samples must be a whole number of 1 or more, not 2.5"),
        ("n_epochs=true", "n_epochs must be a whole number of 1 or more, not True"),
        ("batch_size=64.5", "batch_size must be a whole number of 1 or more, not 64.5"),
        ("ent_coef=some", "ent_coef must be a number, 'auto' or"),
        ("log_std_init=x", "log_std_init must be a finite number, not 'x'"),
        ("normalize_advantage=1", "normalize_advantage must be true or false, not 1"),
        ("num_envs=1.5", "num_envs must be a whole number from 1 to 1,000,000,000, not 1.5"),
        ("normalize=1", "normalize must be true or false, not 1"),
        ("max_steps=1.5", "max_steps of scenario 'pursuit' must be a whole number"),
        ("dt=true", "dt of scenario 'pursuit' must be a number"),
        ("learning_rate=fast", "learning_rate must be a number of 0 or more, 'linear:START'"),
        ("learning_rate=linear:fast", "learning_rate must be a number of 0 or more, 'linear:START'"),
        ("n_samples=0", "n_samples must be a whole number of 1 or more, not 0"),
        ("n_epochs=0", "n_epochs must be a whole number of 1 or more, not 0"),
        ("gamma=1.1", "gamma must be a number from 0 to 1, not 1.1"),
        ("gae_lambda=-0.1", "gae_lambda must be a number from 0 to 1, not -0.1"),
        ("clip_range=-1", "clip_range must be a number of 0 or more, 'linear:START' or 'linear:START:END', not -1"),
        ("target_kl=-1", "target_kl must be a number of 0 or more, not -1"),
        ("reward_scale=inf", "reward_scale must be a finite number, not inf"),
        ("max_grad_norm=nan", "max_grad_norm must be a number of 0 or more, not nan"),
        ("num_envs=0", "num_envs must be a whole number from 1 to 1,000,000,000, not 0"),
        ("n_steps=0", "n_steps must be a whole number of 1 or more, not 0"),
        ("batch_size=0", "batch_size"),
        ("dt=0", "dt of scenario 'pursuit' must be a number from 0.0001 to 10 s, not 0"),
        ("arena_size=nan", "arena_size of scenario 'pursuit' must be a number from 0.1 to 100,000 m, not nan"),
        ("drag=-1", "drag of scenario 'pursuit' must be a number from 0 to 1,000 1/s or a range [low, high], not -1"),
        ("dimensions=4", "must be 2 or 3, not 4"),
        ("capture_radius=1000", "capture_radius of scenario 'pursuit' must fit in the arena"),
        (
            "learning_rate=-1",
            "learning_rate must be a number of 0 or more, ",
        ),
        ("device=tpu", "tpu"),
    ],
)
def test_bad_pairs(run, pair, hint):
    assert hint in run("--set", pair)


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["--steps", 0], "steps must be a whole number from 1 to 1,000,000,000,000, not 0"),
        (["--seed", -1], "seed must be a whole number from 0 to 4,294,967,295, not -1"),
        (["--seed", 2**40], "eed must be"),
        (["--device", "tpu"], "tpu"),
        (["--device", ""], "device"),
    ],
)
def test_options_out_of_range(run, arguments, hint):
    assert hint in run(*arguments)


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        (None, "config file 'c.toml' does not exist"),
        ("steps = ", "config file 'c.toml' is not TOML"),
        ("\udcff", "config file 'c.toml' is no text in UTF-8"),
        ("step = 5", "did you mean 'steps'?"),
        (
            "steps = 'many'",
            "config file 'c.toml': steps must be a whole number from 1 to 1,000,000",
        ),
        ("algo = 3", "algo"),
        ("scenario = ['pursuit']", "scenario"),
        ("parameters = 3", "parameters"),
        ("arguments = ['n_steps']", "arguments"),
        ("[parameters]\nmax_stepz = 5", "did you mean 'max_steps'?"),
        ("[arguments]\nn_sampels = 5", "did you mean 'n_samples'?"),
        ("[parameters]\npreset = 3", "must be drone or sandbox, not 3"),
    ],
)
def test_config_files(refused, tmp_path, content, hint):
    if content is not None:
        (tmp_path / "c.toml").write_bytes(content.encode("utf-8", "surrogateescape"))
    assert hint in refused("train", "--config", "c.toml", "--out", "run")


@pytest.mark.parametrize(
    ("spec", "hint"),
    [
        ("nowhere.py:f", "reward file 'nowhere.py' does not exist"),
        ("rewards.py", "write rewards.py:function"),
        ("rewards.py:nothing_alike_", "known: a_number, fine, nan, nan_at_step_5, of_all_pursuers, raises"),
        ("rewards.py:fine_", "did you mean 'fine'?"),
        ("rewards.py:constant", "unknown reward function in rewards.py: 'constant'"),
        ("rewards.py:", "unknown reward function in rewards.py"),
        ("broken.py:f", "cannot be imported: RuntimeError: not today"),
        ("leaves.py:f", "cannot be imported: SystemExit: 3"),
        ("syntax.py:f", "cannot be imported: SyntaxError"),
        ("no_such_package.rewards:f", "cannot be imported: ModuleNotFoundError"),
        (":f", "cannot be imported"),
    ],
)
def test_bad_rewards(run, spec, hint):
    assert hint in run("--reward", spec)


@pytest.mark.parametrize(
    ("spec", "hint"),
    [
        ("rewards.py:raises", "reward 'rewards.py:raises' raised KeyError: 'no such\\nthing' (rewards.py:5)"),
        ("rewards.py:of_all_pursuers", "must return one number a world"),
        ("rewards.py:a_number", "returned a float; it must return a tensor"),
        ("rewards.py:nan", "returned nan; it must be finite, in branch 0 of world 0 after macro-step 0 at step 0 of"),
        ("rewards.py:nan_at_step_5", "returned inf; it must be finite, in branch 0 of world 0 after macro-step 0 at"),
    ],
)
def test_a_step_that_fails_leaves_nothing_but_its_crash_file(rltrack, small, spec, hint, tmp_path):
    (tmp_path / "rewards.py").write_text(REWARDS)
    ended = rltrack("train", *small, "--out", "run", "--reward", spec)
    (line,) = ended.err.splitlines()
    assert ended.code == 1
    assert line.startswith("rltrack: reward 'rewards.py:")
    assert hint in line
    assert line.endswith("; `rltrack replay run/crash-0.zip --trust` repeats the step; no checkpoint exists yet")
    assert [file.name for file in (tmp_path / "run").iterdir()] == ["crash-0.zip"]
    # The same command goes again once the reward is mended.
    ended = rltrack("train", *small, "--out", "run", "--reward", spec)
    assert sorted(file.name for file in (tmp_path / "run").iterdir()) == ["crash-0-2.zip", "crash-0.zip"]


@pytest.mark.parametrize(
    ("spec", "hint"),
    [
        ("nowhere.py:f", "activation file 'nowhere.py' does not exist"),
        ("activations.py:rases", "did you mean 'raises'?"),
    ],
)
def test_bad_activations(run, spec, hint):
    assert hint in run("--set", f"reward_activation={spec}")


@pytest.mark.parametrize(
    ("spec", "hint"),
    [
        ("activations.py:raises", "raised ZeroDivisionError: division by zero"),
        ("activations.py:mean", "turned shape [4, 16, 4, 8] into []; keep it"),
        ("activations.py:nan", "returned a number that is not finite"),
    ],
)
def test_an_activation_that_fails_ends_with_1(run, spec, hint):
    assert hint in run("--set", f"reward_activation={spec}", code=1)


def test_a_run_that_fails_ends_with_1(run):
    assert "not finite" in run("--set", "reward_activation=activations.py:huge", code=1)


@pytest.mark.parametrize("algo", ["hybrid-grpo", "ppo"])
def test_a_run_that_blows_up_ends_with_1(run, algo):
    assert "try a lower learning_rate" in run("--algo", algo, "--set", "learning_rate=1e30", code=1)


def test_an_occupied_folder_is_refused_and_stays_as_it_is(refused, small, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    assert "--out 'run' is not empty" in refused("train", *small, "--out", "run")
    assert (tmp_path / "run" / "notes.txt").read_text() == "mine"


def test_a_file_in_place_of_the_folder_is_refused(refused, small, tmp_path):
    (tmp_path / "run").write_text("mine")
    assert "--out 'run' is a file" in refused("train", *small, "--out", "run")
    assert "Not a directory" in refused("train", *small, "--out", "run/inside", code=1)
    assert (tmp_path / "run").read_text() == "mine"


@pytest.fixture
def quick():
    """Settings of a training in which a rollout takes no time."""
    return settings.resolve(given={"steps": 1024}, pairs=["num_envs=4", "n_steps=16", "batch_size=64", "n_epochs=1"])


def test_a_run_that_fails_before_its_first_checkpoint_leaves_an_empty_folder_empty(quick, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train.train(quick, tmp_path, on_progress=interrupt)
    assert not list(tmp_path.iterdir())


def test_a_run_that_fails_later_keeps_its_checkpoint(quick, tmp_path, monkeypatch):
    monkeypatch.setattr(run_callback, "_SAVE_EVERY", 0.0)

    def fail(progress):
        if progress.macro_steps > 64:
            raise RuntimeError("the disk is gone")

    with pytest.raises(RuntimeError, match="the disk is gone"):
        train.train(quick, tmp_path / "run", on_progress=fail)
    kept = sorted(path.name for path in (tmp_path / "run").iterdir())
    assert kept[:2] == ["checkpoint.zip", "config.toml"]


def test_a_run_that_fails_removes_nothing_of_others(quick, tmp_path):
    def fail(progress):
        Path(tmp_path, "run", "notes.txt").write_text("mine")
        interrupt(progress)

    with pytest.raises(KeyboardInterrupt):
        train.train(quick, tmp_path / "run", on_progress=fail)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["notes.txt"]


def interrupt(progress):
    raise KeyboardInterrupt
