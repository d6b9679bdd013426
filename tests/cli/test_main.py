"""The program as a whole: help, version, and commands and options that do not exist."""

import pytest

import rl_tracking
from rl_tracking.cli import main as main_module
from rl_tracking.errors import RewardError, RunError, UsageError
from tests.helpers import PATIENCE

COMMANDS = ("train", "watch", "eval", "bench", "list", "check")


def test_help_names_every_command(rltrack):
    ended = rltrack("--help")
    assert ended.code == 0
    assert ended.err == ""
    for command in COMMANDS:
        assert f" {command} " in ended.out


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command(rltrack, command):
    ended = rltrack(command, "--help")
    assert ended.code == 0
    assert f"rltrack {command}" in ended.out


def test_without_a_command_the_help_is_shown(rltrack):
    ended = rltrack()
    assert ended.code == 2
    assert ended.err == ""
    assert " train " in ended.out


def test_version(rltrack):
    ended = rltrack("--version")
    assert (ended.code, ended.out) == (0, f"rltrack {rl_tracking.__version__}\n")


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["trian"], "Did you mean 'train'?"),
        (["train", "--presett", "drone"], "--preset"),
        (["train", "--steps", "many"], "--steps"),
        (["train", "--steps"], "--steps"),
        (["train", "surplus"], "surplus"),
        (["eval"], "CHECKPOINT"),
        (["watch"], "CHECKPOINT"),
        (["list"], "scenarios"),
        (["check"], "ENV_ID"),
    ],
)
def test_wrong_usage_is_one_line(refused, arguments, hint):
    assert hint in refused(*arguments)


def test_a_process_of_its_own_ends_the_same_way(start, tmp_path):
    process = start("train", "--preset", "dron", cwd=tmp_path)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2
    assert out == ""
    assert err == "rltrack: unknown preset of scenario 'pursuit': 'dron'; did you mean 'drone'?\n"


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (RunError("it\nbroke"), 1, "rltrack: it broke"),
        (UsageError("a\nwrong word"), 2, "rltrack: a wrong word"),
        (RewardError("reward 'f' failed", 3), 1, "rltrack: reward 'f' failed, in world 3"),
        (KeyboardInterrupt(), 130, "rltrack: interrupted"),
        (FileNotFoundError(2, "No such file", "x.zip"), 1, "rltrack: No such file 'x.zip'"),
    ],
)
def test_what_stops_a_command_is_one_line(rltrack, monkeypatch, error, code, line):
    def stop(**options):
        raise error

    monkeypatch.setattr(main_module, "app", stop)
    ended = rltrack("train")
    assert (ended.code, ended.err) == (code, line + "\n")
