"""``rltrack train`` when all goes well, and when it is stopped."""

import signal
import tomllib
import zipfile

import numpy as np
import pytest

import rl_tracking
from rl_tracking.cli.train import _stoppable
from tests.helpers import PATIENCE, wait_for


def weights(checkpoint):
    with zipfile.ZipFile(checkpoint) as archive:
        return archive.read("policy.pth")


def test_a_run_prints_its_result(trained):
    ended = trained.ended
    assert (ended.code, ended.err) == (0, "")
    first, *_ = ended.out.splitlines()
    assert first.startswith("hybrid-grpo on pursuit (drone, reward tracking), 4,096 macro-steps in 8 worlds")
    assert "4,096 macro-steps (16,384 simulator steps)" in ended.out
    table = ended.out[ended.out.index("the same 200 episodes") :]
    for policy in ("HybridGRPO", "random", "pure-pursuit"):
        assert f"{policy} " in table
    assert ended.out.rstrip().endswith("watch it:  rltrack watch run/checkpoint.zip")


def test_a_run_leaves_its_files(trained):
    names = sorted(path.name for path in trained.folder.iterdir() if path.name != "checkpoint-previous-2.zip")
    assert names[:4] == ["best.zip", "checkpoint-previous-1.zip", "checkpoint.zip", "config.toml"]
    assert names[4].startswith("events.out.tfevents.")
    assert names[5:] == ["metrics.csv"]


def test_the_config_holds_every_setting(trained):
    config = tomllib.loads((trained.folder / "config.toml").read_text())
    assert (config["algo"], config["scenario"], config["seed"], config["steps"]) == ("hybrid-grpo", "pursuit", 0, 4096)
    assert config["num_envs"] == 8
    assert config["parameters"]["max_steps"] == 40
    assert config["parameters"]["reward"] == "tracking"
    assert (config["arguments"]["n_steps"], config["arguments"]["n_samples"]) == (64, 4)


def test_the_metrics_count_both_kinds_of_steps(trained):
    table = np.genfromtxt(trained.folder / "metrics.csv", delimiter=",", names=True, deletechars="", dtype=float)
    assert {512.0 * (i + 1) for i in range(8)} <= set(table["time/total_timesteps"])
    known = ~np.isnan(table["time/macro_steps"])
    assert known.sum() >= 7
    # 8 branches, of which the executed one is not worked out again.
    assert (table["time/simulator_steps"][known] == 4 * table["time/macro_steps"][known]).all()


def test_a_config_file_and_another_seed_give_the_same_run_but_for_the_seed(rltrack, trained, tmp_path):
    ended = rltrack("train", "--config", trained.folder / "config.toml", "--seed", 1, "--out", "other")
    assert (ended.code, ended.err) == (0, "")
    old, new = (tomllib.loads((run / "config.toml").read_text()) for run in (trained.folder, tmp_path / "other"))
    assert new == {**old, "seed": 1}
    assert weights(trained.checkpoint) != weights(tmp_path / "other" / "checkpoint.zip")


def test_the_same_seed_gives_the_same_weights_to_the_last_bit(rltrack, trained, tmp_path):
    ended = rltrack("train", "--config", trained.folder / "config.toml", "--out", "again")
    assert ended.code == 0
    assert weights(trained.checkpoint) == weights(tmp_path / "again" / "checkpoint.zip")


def test_without_out_every_run_gets_a_folder_of_its_own(rltrack, small, tmp_path):
    for _ in range(2):
        assert rltrack("train", *small, "--seed", 5).code == 0
    made = sorted(path.name for path in (tmp_path / "runs").iterdir())
    assert made == ["pursuit-drone-hybrid-grpo-seed5", "pursuit-drone-hybrid-grpo-seed5-2"]


def test_ppo_is_trained(rltrack, small, tmp_path):
    ended = rltrack("train", *small, "--algo", "ppo", "--out", "run")
    assert (ended.code, ended.err) == (0, "")
    assert "1,024 macro-steps (1,024 simulator steps)" in ended.out
    assert rltrack("eval", "run/checkpoint.zip", "--episodes", 2).code == 0


def test_what_to_type_next_has_trust_where_the_reward_is_a_file(rltrack, small, tmp_path):
    (tmp_path / "mine.py").write_text("def near(step):\n    return -step.nearest\n")
    ended = rltrack("train", *small, "--reward", "mine.py:near", "--out", "run")
    assert ended.out.rstrip().endswith("watch it:  rltrack watch run/checkpoint.zip --trust")


def test_values_of_every_kind_survive_the_config(rltrack, small, tmp_path):
    values = {
        "reward_activation": "symlog",
        "baseline": "leave-one-out",
        "net_arch": [16, 8],
        "learning_rate": 0.001,
        "normalize": True,
        "wind_speed": 1.5,
    }
    pairs = [f"--set={name}={str(value).lower()}" for name, value in values.items()]
    assert rltrack("train", *small, *pairs, "--preset", "sandbox", "--reward", "basic", "--out", "run").code == 0
    config = tomllib.loads((tmp_path / "run" / "config.toml").read_text())
    merged = {**config, **config["parameters"], **config["arguments"]}
    assert {name: merged[name] for name in values} == values
    assert (merged["preset"], merged["reward"]) == ("sandbox", "basic")
    ended = rltrack("eval", "run/checkpoint.zip", "--episodes", 2)
    assert (ended.code, ended.err) == (0, "")
    assert "pursuit sandbox" in ended.out


def test_options_go_before_pairs_and_pairs_before_the_file(rltrack, small, tmp_path):
    (tmp_path / "file.toml").write_text("seed = 1\nnum_envs = 3\nsteps = 7\n[parameters]\nmax_steps = 9\n")
    given = ["--config", "file.toml", *small, "--set", "seed=2", "--set", "steps=99", "--out", "run"]
    assert rltrack("train", *given).code == 0
    config = tomllib.loads((tmp_path / "run" / "config.toml").read_text())
    assert (config["seed"], config["num_envs"], config["steps"], config["parameters"]["max_steps"]) == (2, 8, 1024, 40)


def test_brackets_in_a_path_are_printed_as_they_are(rltrack, small):
    ended = rltrack("train", *small, "--out", "[/b]")
    assert ended.code == 0
    assert ended.out.rstrip().endswith("rltrack watch [/b]/checkpoint.zip")


def test_ctrl_c_saves_what_was_learned(start, tmp_path):
    process = start(
        "train", "--out", "run", "--set=num_envs=8", "--set=n_steps=64", "--set=batch_size=512", cwd=tmp_path
    )
    metrics = tmp_path / "run" / "metrics.csv"
    wait_for(lambda: process.poll() is not None or (metrics.exists() and metrics.stat().st_size))
    assert process.poll() is None, process.communicate()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, err) == (0, "")
    assert "interrupted; saved what was learned so far to run/checkpoint.zip" in out
    assert "continue it:  rltrack train --resume run" in out
    assert "watch it:  rltrack watch run/checkpoint.zip" in out
    policy = rl_tracking.load_policy(tmp_path / "run" / "checkpoint.zip")
    assert policy.description["macro_steps"] % 512 == 0
    assert rl_tracking.evaluate(policy, episodes=2)["episodes"] == 2
    assert not list((tmp_path / "run").glob("*.tmp"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_signals_ask_to_stop_as_ctrl_c_does(number):
    before = signal.signal(number, signal.SIG_DFL)  # the tests may run under nohup themselves
    try:
        with _stoppable() as asked:
            signal.raise_signal(number)
            assert asked == [number]
        assert signal.getsignal(number) is signal.SIG_DFL
    finally:
        signal.signal(number, before)


def test_a_run_under_nohup_ignores_the_hangup():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with _stoppable() as asked:
            signal.raise_signal(signal.SIGHUP)
            assert not asked
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_second_ctrl_c_ends_at_once():
    before = signal.getsignal(signal.SIGINT)
    with _stoppable() as asked:
        assert not asked
        signal.raise_signal(signal.SIGINT)
        assert asked
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_attention_is_trained_evaluated_and_watched(rltrack, small, tmp_path):
    sizes = "features_extractor_kwargs={width = 8, heads = 2, feed_forward = 16, layers = 1}"
    network = ["--set", "features_extractor=mha", "--set", sizes]
    ended = rltrack("train", "--preset", "sandbox", *small, *network, "--steps", 512, "--out", "run")
    assert (ended.code, ended.err) == (0, "")
    assert "encoder" in str(rl_tracking.load_policy(tmp_path / "run" / "checkpoint.zip")._policy.features_extractor)
    ended = rltrack("eval", "run/checkpoint.zip", "--episodes", 4, "--json")
    assert (ended.code, ended.err) == (0, "")
    ended = rltrack("watch", "run/checkpoint.zip", "--headless", "--screenshot", "there.png")
    assert (ended.code, ended.out) == (0, "wrote there.png\n")


def test_attention_is_trained_with_second_derivatives(rltrack, small):
    sizes = "features_extractor_kwargs={width = 8, heads = 2, feed_forward = 16, layers = 1}"
    network = ["--set", "features_extractor=mha", "--set", sizes]
    ended = rltrack(
        "train",
        "--preset",
        "sandbox",
        "--algo",
        "trpo",
        *network,
        "--set",
        "n_steps=16",
        "--set",
        "max_steps=40",
        "--steps",
        256,
        "--out",
        "run",
    )
    assert (ended.code, ended.err) == (0, "")


def test_attention_without_a_history_is_refused(refused, small):
    line = refused("train", *small, "--set", "features_extractor=mha", "--out", "run")
    assert line.endswith("add --set sensor=history, or --preset sandbox")


@pytest.mark.filterwarnings("default")
def test_an_unlikely_setting_is_warned_of_once(rltrack, small):
    ended = rltrack("train", *small, "--set", "target_speed=100", "--out", "run")
    lines = ended.err.splitlines()
    assert ended.code == 0
    assert lines and len(set(lines)) == len(lines), lines
    assert all(line.startswith("warning: ") for line in lines)
