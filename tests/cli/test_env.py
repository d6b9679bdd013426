"""The command line in Gymnasium environments."""

import json
import tomllib

import gymnasium as gym
import pytest

from rl_tracking.agents.saving.checkpoint import read_description
from rl_tracking.restoring.protocol import NotRestorableError
from rl_tracking.runs.tasks import environment
from tests.trust.late_toys import LaterCLibrary

TINY = ["--steps", "200", "--set=num_envs=2", "--set=max_episode_steps=20"]
PER_ALGO = {"ppo": ["--set=batch_size=32"], "reinforce": ["--set=n_steps=30"]}


@pytest.mark.parametrize("algo", ["hybrid-grpo", "grpo", "ppo", "trpo", "reinforce"])
def test_every_algorithm_trains_and_its_checkpoint_is_measured_and_shown(algo, rltrack, tmp_path):
    ended = rltrack("train", "--algo", algo, "--env", "CartPole-v1", *TINY, *PER_ALGO.get(algo, []), "--out", "run")
    assert ended.code == 0, ended.err
    assert "CartPole-v1 (max_episode_steps=20)" in ended.out
    assert "random" in ended.out
    assert "lead-pursuit" not in ended.out
    kept = read_description(tmp_path / "run" / "checkpoint.zip")
    assert kept["env"] == {"id": "CartPole-v1", "parameters": {"max_episode_steps": 20}}
    measured = rltrack("eval", "run/checkpoint.zip", "random", "--episodes", 3, "--json")
    own, random = json.loads(measured.out)
    assert (own["env"], random["policy"], random["seed"]) == ("CartPole-v1", "random", own["seed"])
    assert own["episode_length"]["value"] <= 20
    shown = rltrack("watch", "run/checkpoint.zip", "--headless", "--screenshot", "there.png", "--screenshot-step", 2)
    assert shown.out == "wrote there.png\n"


@pytest.mark.parametrize(("algo", "place"), [("sac", ["--env", "Pendulum-v1"]), ("crossq", ["--preset", "sandbox"])])
def test_an_off_policy_algorithm_trains_goes_on_and_is_measured_and_shown(algo, place, rltrack, tmp_path):
    limit = "max_episode_steps" if place[0] == "--env" else "max_steps"
    small = [
        f"--set={limit}=10",
        "--set=num_envs=2",
        "--set=train_freq=1",
        "--set=learning_starts=20",
        "--set=net_arch=[8]",
    ]
    ended = rltrack("train", "--algo", algo, *place, "--steps", 60, *small, "--out", "run")
    assert ended.code == 0, ended.err
    assert "60 macro-steps (60 simulator steps)" in ended.out
    ended = rltrack("train", "--resume", "run", "--steps", 80)
    assert ended.code == 0, ended.err
    kept = read_description(tmp_path / "run" / "checkpoint.zip")
    assert (kept["macro_steps"], kept["simulator_steps"]) == (80, 80)
    measured = rltrack("eval", "run/checkpoint.zip", "--episodes", 3, "--json")
    assert json.loads(measured.out)["policy"] == kept["algorithm"]
    shown = rltrack("watch", "run/checkpoint.zip", "--headless", "--screenshot", "there.png", "--screenshot-step", 2)
    assert shown.out == "wrote there.png\n"


def test_an_off_policy_algorithm_refuses_actions_that_are_choices(refused):
    line = refused("train", "--algo", "tqc", "--env", "CartPole-v1", "--steps", 60)
    assert "tqc takes Box actions alone, and those of environment 'CartPole-v1' are Discrete(2)" in line
    assert "use --algo hybrid-grpo or ppo" in line


def test_the_config_gives_the_run_again(rltrack, tmp_path):
    first = rltrack(
        "train",
        "--env",
        "Pendulum-v1",
        "--set=g=5.0",
        "--set=num_envs=2",
        "--set=batch_size=64",
        "--steps",
        100,
        "--out",
        "a",
    )
    assert first.code == 0, first.err
    config = tmp_path / "a" / "config.toml"
    content = tomllib.loads(config.read_text())
    assert (content["env"], content["scenario"], content["parameters"]) == ("Pendulum-v1", "", {"g": 5.0})
    assert content["normalize"] is True
    again = rltrack("train", "--config", "a/config.toml", "--out", "b")
    assert again.code == 0, again.err
    assert (tmp_path / "b" / "config.toml").read_text() == config.read_text()
    figures = [read_description(tmp_path / name / "checkpoint.zip")["metrics"] for name in ("a", "b")]
    assert figures[0] == figures[1]


def test_a_run_without_a_folder_is_named_after_its_environment(rltrack, tmp_path):
    assert rltrack("train", "--env", "CartPole-v1", "--algo", "ppo", *TINY).code == 0
    assert (tmp_path / "runs" / "CartPole-v1-ppo-seed0" / "checkpoint.zip").is_file()


def test_a_table_of_random_needs_no_checkpoint(rltrack):
    ended = rltrack("eval", "random", "--env", "CartPole-v1", "--episodes", 4)
    assert "CartPole-v1: the same 4 episodes" in ended.out
    assert "episode" in ended.out
    assert "capture" not in ended.out


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["train", "--env", "CartPoll-v1"], "did you mean 'CartPole-v1'?"),
        (["train", "--env", "CartPole-v1", "--scenario", "pursuit"], "exclude each other"),
        (["train", "--env", "CartPole-v1", "--preset", "drone"], "exclude each other"),
        (["train", "--env", "CartPole-v1", "--reward", "tracking"], "exclude each other"),
        (["train", "--env", "CartPole-v1", "--set", "graviti=3"], "(graviti=3)"),
        (["train", "--env", "CartPole-v1", "--set", "horizon=501"], "longer than an episode, which has 500 steps"),
        (["train", "--env", "CarRacing-v3"], "CarRacing-v3"),
        (["eval", "random", "--env", "CartPole-v1", "--preset", "drone"], "exclude each other"),
        (["eval", "lead-pursuit", "--env", "CartPole-v1"], "there is 'random'"),
        (["eval", "pursuit-drone", "random", "--env", "CartPole-v1"], "was trained in scenario pursuit"),
        (["eval", "random", "--env", "CartPole-v1", "--skip", 3], "skip is for scenarios"),
        (["watch", "random", "--env", "CartPole-v1", "--headless"], "--headless shows nothing"),
        (["watch", "random", "--env", "rl_tracking/Pursuit-v0", "--headless", "--record", "a.gif"], "no pictures"),
    ],
)
def test_bad_combinations_are_refused_in_one_line(refused, arguments, hint):
    assert hint in refused(*arguments)


def test_observations_that_are_tuples_are_flattened(rltrack):
    ended = rltrack("train", "--env", "Blackjack-v1", "--steps", 40, "--set=num_envs=2", "--out", "run")
    assert ended.code == 0, ended.err
    measured = rltrack("eval", "run/checkpoint.zip", "--episodes", 5, "--json")
    assert json.loads(measured.out)["env"] == "Blackjack-v1"


def test_an_environment_that_cannot_be_restored_trains_algorithms_that_do_not_branch(rltrack, refused, monkeypatch):
    def refuse(*arguments, **more):
        raise NotRestorableError("CartPole-v1 is not restorable today")

    monkeypatch.setattr(environment, "RestorableGymVecEnv", refuse)
    assert "not restorable today" in refused("train", "--env", "CartPole-v1", "--algo", "grpo", *TINY)
    ended = rltrack("train", "--env", "CartPole-v1", "--algo", "trpo", *TINY, "--out", "run")
    assert ended.code == 0, ended.err
    assert "CartPole-v1" in rltrack("eval", "run/checkpoint.zip", "--episodes", 2).out


def test_a_restore_that_is_found_unfaithful_ends_the_run_and_keeps_its_checkpoint(rltrack, tmp_path):
    gym.register("Late/CLibrary-v0", LaterCLibrary)
    try:
        ended = rltrack(
            *("train", "--env", "Late/CLibrary-v0", "--steps", 512, "--out", "run"),
            *("--set=num_envs=1", "--set=n_steps=64", "--set=batch_size=64", "--set=n_epochs=1"),
        )
    finally:
        del gym.registry["Late/CLibrary-v0"]
    assert ended.code == 1
    assert ended.err.count("\n") == 1
    assert "Late/CLibrary-v0 is not restored faithfully: the executed step gave another reward (" in ended.err
    assert "in world 0 after macro-step 426; " in ended.err
    assert "C library), and draw random numbers from self.np_random" in ended.err
    (kept,) = (tmp_path / "run").glob("checkpoint*.zip")
    assert str(kept.name) in ended.err
    assert read_description(kept)["env"]["id"] == "Late/CLibrary-v0"
