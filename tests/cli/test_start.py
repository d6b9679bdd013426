"""What is asked by name is answered before anything heavy is imported."""

import subprocess
import sys

from tests.cli.conftest import environment, together

HEAVY = ("torch", "stable_baselines3", "pygame", "matplotlib")
MISSPELT = {
    ("trian",): "trian",
    ("train", "--stepps", "3"): "--steps",
    ("train", "--steps", "many"): "--steps",
    ("train", "--algo", "hybrid-grp"): "did you mean 'hybrid-grpo'?",
    ("train", "--scenario", "persuit"): "did you mean 'pursuit'?",
    ("train", "--preset", "dron"): "did you mean 'drone'?",
    ("eval", "random", "--preset", "sandbocks"): "did you mean 'sandbox'?",
    ("bench", "--preset", "dron"): "did you mean 'drone'?",
    ("watch", "random", "--preset", "dron"): "did you mean 'drone'?",
    ("train", "--reward", "spars"): "did you mean 'sparse'?",
    ("train", "--reward", "nowhere.py:f"): "reward file 'nowhere.py' does not exist",
    ("train", "--set", "gama=0.9"): "did you mean 'gamma'?",
    ("train", "--set", "arena_sise=9"): "did you mean 'arena_size'?",
    ("train", "--set", "threads=many"): "threads must be a whole number from 1 to 1,024, not 'many'",
    ("train", "--set", "wind_speed=-1"): "wind_speed of scenario 'pursuit' must be a number from 0 to 200 m/s",
    ("train", "--algo", "ppo", "--set", "n_samples=4"): "ppo has no n_samples",
    ("train", "--env", "CartPole-v1", "--set", "advantage=litteral"): "did you mean 'literal'?",
    ("eval", "random", "--set", "arena_sise=9"): "did you mean 'arena_size'?",
    ("train", "--env", "CartPoll-v1"): "did you mean 'CartPole-v1'?",
    ("eval", "pure-pursit"): "did you mean 'pure-pursuit'?",
    ("eval", "random", "--env", "CartPoll-v1"): "did you mean 'CartPole-v1'?",
    ("watch", "pure-pursit"): "did you mean 'pure-pursuit'?",
    ("check", "CartPoll-v1"): "did you mean 'CartPole-v1'?",
    ("list", "scenario"): "did you mean 'scenarios'?",
    ("study", "run", "clams"): "did you mean 'claims'?",
    ("study", "run", "claims", "--backend", "rey"): "--backend must be local or ray, not 'rey'",
    ("tune", "tunin"): "did you mean 'tuning'?",
}
COMMANDS = ("train", "watch", "eval", "study", "tune", "bench", "list", "check", "replay")
STUDY_COMMANDS = ("list", "run", "report", "gradients")
HELP = [["--help"], *([name, "--help"] for name in COMMANDS), *(["study", name, "--help"] for name in STUDY_COMMANDS)]


def heavy(modules):
    """Which modules are there that take long to import."""
    return [name for name in HEAVY if name in modules]


def test_the_package_imports_nothing_heavy(tmp_path):
    code = f"import sys, rl_tracking; print([name for name in {HEAVY} if name in sys.modules])"
    ended = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True)
    assert ended.stdout == "[]\n"


def test_misspelt_names_are_answered_without_anything_heavy(tmp_path):
    answers, modules = together(MISSPELT, tmp_path, COLUMNS="80")
    assert heavy(modules) == []
    for (arguments, hint), ended in zip(MISSPELT.items(), answers, strict=True):
        assert (ended.code, ended.out) == (2, ""), arguments
        assert ended.err.count("\n") == 1, ended.err
        assert hint in ended.err, (arguments, ended.err)


def test_help_imports_nothing_heavy_and_fits_in_80_columns(tmp_path):
    answers, modules = together(HELP, tmp_path, COLUMNS="80")
    assert heavy(modules) == []
    for arguments, ended in zip(HELP, answers, strict=True):
        assert (ended.code, ended.err) == (0, ""), arguments
        assert max(map(len, ended.out.splitlines())) <= 80, arguments
        assert "…" not in ended.out, f"something is cut in {arguments}:\n{ended.out}"
