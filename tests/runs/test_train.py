import csv
import dataclasses
import io
import json
import math
import tomllib

import msgspec
import pytest
import torch
from stable_baselines3 import PPO

from rl_tracking import HybridGRPO, files, load_policy
from rl_tracking.agents.saving import checkpoint
from rl_tracking.agents.saving.checkpoint import read_description
from rl_tracking.errors import RunError, UsageError
from rl_tracking.runs import callback as run_callback
from rl_tracking.runs import log as run_log
from rl_tracking.runs import train as training
from rl_tracking.runs.evaluate import evaluate
from rl_tracking.runs.settings import resolve
from rl_tracking.runs.train import Progress, resume, run_folder, train
from tests.agents.toys import one_line

TINY = ["num_envs=4", "n_steps=8", "batch_size=32", "n_epochs=2", "max_steps=10", "net_arch=[16]"]
NAMES = {"checkpoint.zip", "config.toml", "metrics.csv"}
KEPT = {"checkpoint-previous-1.zip", "checkpoint-previous-2.zip", "best.zip"}  # which of them depends on the time


def settings(*pairs, steps=96, **given):
    pairs = [*TINY, *pairs, *([] if given.get("algo") == "ppo" else ["n_samples=3", "horizon=1"])]
    return resolve(given={"steps": steps, **given}, pairs=pairs)


def names(folder):
    """The files of a run; the name of an event file has a time in it."""
    found = {file.name for file in folder.iterdir()}
    events = {name for name in found if name.startswith("events.out.tfevents.")}
    return found - events - KEPT, len(events)


def rows(folder):
    with (folder / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


# -- a run ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("algo", "kind", "samples"), [("hybrid-grpo", HybridGRPO, 3), ("ppo", PPO, 1)])
def test_a_run_writes_its_folder(algo, kind, samples, tmp_path):
    out = tmp_path / "deep" / "run"
    result = train(settings(algo=algo), out, episodes=10)
    assert names(out) == (NAMES, 1)
    assert (result.out, result.path, result.interrupted) == (out, out / "checkpoint.zip", False)
    assert (result.macro_steps, result.simulator_steps) == (96, 96 * samples)
    assert result.seconds > 0
    model = kind.load(result.path)
    assert model.num_timesteps == 96
    assert load_policy(result.path).description["algorithm"] == kind.__name__


def test_the_table_at_the_end_is_of_the_same_episodes(tmp_path):
    result = train(settings(), tmp_path / "run", episodes=10)
    assert [row["policy"] for row in result.evaluations] == ["HybridGRPO", *result.task.baselines]
    assert {"random", "pronav"} <= set(result.task.baselines) < set(result.task.controllers)
    assert {(row["episodes"], row["seed"]) for row in result.evaluations} == {(10, 1_000_000)}
    own = evaluate(result.path, 10)
    assert result.evaluations[0] == own
    kept = read_description(result.path)["metrics"]
    assert kept["mean_distance"] == own["mean_distance"]
    assert kept["episodes"] == 10


def test_the_config_gives_the_run_again_bit_for_bit(tmp_path):
    first = settings("wind_speed=1.0", seed=4)
    train(first, tmp_path / "a", episodes=2)
    again = resolve(file=tmp_path / "a" / "config.toml")
    assert again == first
    train(again, tmp_path / "b", episodes=2)
    mine, theirs = (HybridGRPO.load(tmp_path / name / "checkpoint.zip") for name in ("a", "b"))
    for a, b in zip(mine.policy.parameters(), theirs.policy.parameters(), strict=True):
        assert torch.equal(a, b)
    train(msgspec.structs.replace(first, seed=5), tmp_path / "c", episodes=2)
    other = HybridGRPO.load(tmp_path / "c" / "checkpoint.zip")
    assert not torch.equal(next(iter(other.policy.parameters())), next(iter(mine.policy.parameters())))


def test_the_config_is_plain_toml(tmp_path):
    train(settings(), tmp_path / "run", episodes=2)
    content = tomllib.loads((tmp_path / "run" / "config.toml").read_text())
    assert content["algo"] == "hybrid-grpo"
    assert content["parameters"]["max_steps"] == 10
    assert content["arguments"]["n_samples"] == 3


def test_metrics_have_a_row_a_rollout(tmp_path):
    train(settings(), tmp_path / "run", episodes=2)
    found = rows(tmp_path / "run")
    # The last update has a row of its own, without the totals that a rollout writes.
    assert [row["time/total_timesteps"] for row in found] == ["32", "64", "96", ""]
    assert [bool(row["train/n_updates"]) for row in found] == [False, True, True, True]
    last = found[-2]
    for name in ("rollout/ep_rew_mean", "rollout/activated_return_mean", "train/approx_kl", "time/simulator_steps"):
        assert math.isfinite(float(last[name])), name
    assert int(last["time/simulator_steps"]) == 3 * int(last["time/macro_steps"])


def test_progress_is_reported_after_every_rollout(tmp_path):
    seen = []
    train(settings(), tmp_path / "run", on_progress=seen.append, episodes=2)
    assert [(item.macro_steps, item.simulator_steps, item.total) for item in seen] == [
        (32, 96, 96),
        (64, 192, 96),
        (96, 288, 96),
    ]
    # Episodes of ten steps: none has ended within the first eight.
    assert math.isnan(seen[0].success_rate)
    assert seen[0].metrics == {}
    assert math.isnan(seen[0].episode_return)
    assert 0 <= seen[-1].success_rate <= 1
    found = {metric.name: value for metric, value in seen[-1].metrics.items()}
    assert {"capture_rate", "time_in_radius", "mean_distance"} <= set(found)
    assert 0 <= found["time_in_radius"] <= 1
    assert math.isfinite(seen[-1].episode_return)
    assert 0 < seen[0].seconds < seen[1].seconds < seen[2].seconds


def test_rate_and_time_left():
    progress = Progress(100, 800, 400, 2.0, 1.0)
    assert progress.macro_steps_per_second == 50
    assert progress.seconds_left == 6
    assert dataclasses.replace(progress, macro_steps=500).seconds_left == 0
    assert math.isfinite(dataclasses.replace(progress, macro_steps=0, seconds=0.0).seconds_left)


def test_a_run_under_a_normaliser(tmp_path):
    result = train(settings("normalize=true", "gamma=0.8"), tmp_path / "run", episodes=5)
    assert load_policy(result.path)._normalizer is not None
    assert result.evaluations[0] == evaluate(result.path, 5)


@pytest.mark.parametrize("algo", ["hybrid-grpo", "grpo", "ppo", "reinforce"])
def test_the_normaliser_discounts_as_the_algorithm_does(algo):
    for pairs, gamma in ((["gamma=0.8"], 0.8), ([], None)):
        model = training.build(resolve(pairs=["normalize=true", *pairs], given={"algo": algo}))
        assert model.get_vec_normalize_env().gamma == model.gamma == (gamma or model.gamma)


# -- stopping and failing ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algo", ["hybrid-grpo", "ppo"])
def test_a_run_that_is_stopped_is_saved(algo, tmp_path):
    asked = []

    def should_stop():
        asked.append(True)
        return len(asked) == 11

    result = train(settings(algo=algo, steps=10_000), tmp_path / "run", should_stop=should_stop, episodes=5)
    assert result.interrupted
    assert result.evaluations == []
    assert result.macro_steps == 32  # back at the beginning of the rollout in which it was stopped
    assert names(tmp_path / "run") == (NAMES, 1)
    assert read_description(result.path)["macro_steps"] == 32
    assert evaluate(result.path, 3)["episodes"] == 3


def test_a_run_is_saved_now_and_then(tmp_path, monkeypatch):
    monkeypatch.setattr(run_callback, "_SAVE_EVERY", 0.0)
    saved, save = [], checkpoint.save

    def watched(model, path, **arguments):
        save(model, path, **arguments)
        saved.append(model.num_timesteps)

    monkeypatch.setattr(checkpoint, "save", watched)
    train(settings(), tmp_path / "run", episodes=2)
    # At the start of each rollout but the first, at the end, and once more with the figures.
    assert saved == [32, 64, 96, 96]
    kept = ["checkpoint.zip", "checkpoint-previous-1.zip", "checkpoint-previous-2.zip"]
    assert [read_description(tmp_path / "run" / name)["macro_steps"] for name in kept] == [96, 64, 32]


def test_the_first_checkpoint_is_there_after_the_first_rollout(tmp_path):
    seen = []

    def note(progress):
        seen.append((tmp_path / "run" / "checkpoint.zip").exists())

    train(settings(), tmp_path / "run", on_progress=note, episodes=2)
    assert seen == [False, True, True]  # asked before the update of the first rollout, and of the others


def test_the_next_checkpoint_removes_what_a_killed_save_left(tmp_path):
    train(settings(steps=64), tmp_path / "run", should_stop=iter([False] * 10 + [True]).__next__)
    left = [f".{name}.{'0' * 16}.tmp" for name in (*NAMES, *KEPT)]
    for name in left:
        (tmp_path / "run" / name).write_text("half")
    resume(tmp_path / "run", episodes=2)
    assert not [file.name for file in (tmp_path / "run").iterdir() if file.name.startswith(".")]


def test_the_best_checkpoint_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(run_callback, "_SAVE_EVERY", 0.0)
    scores = iter([math.nan, 1.0, 3.0, 2.0, 2.5])
    monkeypatch.setattr(run_callback, "score_of", lambda model: next(scores))
    train(settings(steps=160), tmp_path / "run", episodes=2)
    assert read_description(tmp_path / "run" / "best.zip")["macro_steps"] == 96
    assert read_description(tmp_path / "run" / "checkpoint.zip")["macro_steps"] == 160


def test_a_run_that_fails_keeps_the_last_checkpoint(tmp_path, monkeypatch):
    source = tmp_path / "mine.py"
    source.write_text(
        "import torch\n\ncalls = []\n\n\ndef bad(reward):\n    calls.append(1)\n"
        "    return reward if len(calls) < 3 else reward * torch.nan\n"
    )
    monkeypatch.setattr(run_callback, "_SAVE_EVERY", 0.0)
    with pytest.raises((UsageError, RunError), match="not finite") as caught:
        train(settings(f"reward_activation={source}:bad"), tmp_path / "run", episodes=2)
    one_line(caught)
    assert names(tmp_path / "run") == (NAMES, 1)
    assert read_description(tmp_path / "run" / "checkpoint.zip")["macro_steps"] == 64
    kept = HybridGRPO.load(tmp_path / "run" / "checkpoint.zip", trust=True).policy
    assert all(bool(torch.isfinite(parameter).all()) for parameter in kept.parameters())


@pytest.mark.parametrize("at", [2, 3])
def test_weights_that_are_not_finite_replace_no_checkpoint(at, tmp_path, monkeypatch):
    """PPO does not look at its gradients; the third update is the last one."""
    monkeypatch.setattr(run_callback, "_SAVE_EVERY", 0.0)
    train_once, updates = PPO.train, []

    def blow_up(model):
        train_once(model)
        updates.append(True)
        if len(updates) == at:
            next(model.policy.parameters()).data[0] = math.nan

    monkeypatch.setattr(PPO, "train", blow_up)
    with pytest.raises(RunError, match="not finite") as caught:
        train(settings(algo="ppo"), tmp_path / "run", episodes=2)
    one_line(caught)
    kept = tmp_path / "run" / "checkpoint.zip"
    assert f"the checkpoint '{kept}' of macro-step {32 * (at - 1)} is intact" in str(caught.value)
    assert all(bool(torch.isfinite(parameter).all()) for parameter in load_policy(kept)._policy.parameters())
    monkeypatch.undo()
    assert resume(tmp_path / "run", episodes=2).macro_steps == 96


def test_a_full_disk_is_one_line_that_says_what_is_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(run_callback, "_SAVE_EVERY", 0.0)
    sync, saves = files.sync, []

    def full(path):
        if path.name.startswith(".checkpoint.zip."):
            saves.append(True)
            if len(saves) == 3:  # each is synced twice
                raise OSError(28, "No space left on device")
        sync(path)

    monkeypatch.setattr(files, "sync", full)
    with pytest.raises(RunError, match="no space left on the device") as caught:
        train(settings(), tmp_path / "run", episodes=2)
    one_line(caught)
    kept = tmp_path / "run" / "checkpoint.zip"
    assert str(caught.value).startswith(f"cannot write '{kept}': ")
    assert f"the checkpoint '{kept}' of macro-step 32 is intact" in str(caught.value)
    assert not [file.name for file in kept.parent.iterdir() if file.name.startswith(".")]
    monkeypatch.undo()
    assert resume(tmp_path / "run", episodes=2).macro_steps == 96


def test_a_table_that_cannot_be_written_is_one_line(tmp_path, monkeypatch):
    class Full(io.StringIO):
        def flush(self):
            raise OSError(28, "No space left on device")

    rewrite = run_log.MetricsFile._rewrite

    def full(table, lines):
        rewrite(table, lines)
        if table.columns:
            table._file.close()
            table._file = Full()

    monkeypatch.setattr(run_log.MetricsFile, "_rewrite", full)
    with pytest.raises(RunError, match=r"metrics\.csv': no space left on the device") as caught:
        train(settings(), tmp_path / "run", episodes=2)
    one_line(caught)


def test_a_reward_that_fails_is_one_line(tmp_path):
    source = tmp_path / "mine.py"
    source.write_text("def bad(step):\n    return step.nearest * float('nan')\n")
    with pytest.raises(UsageError, match="must be finite") as caught:
        train(settings(f"reward={source}:bad"), tmp_path / "run", episodes=2)
    one_line(caught)
    # It failed before there was anything to keep but what repeats the step.
    assert [file.name for file in (tmp_path / "run").iterdir()] == ["crash-0.zip"]


def test_a_run_that_fails_at_once_leaves_an_empty_folder_empty(tmp_path):
    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(settings(), tmp_path, should_stop=stop)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["file.txt", "checkpoint.zip", ".hidden"])
def test_an_occupied_folder_is_refused(name, tmp_path):
    (tmp_path / name).write_text("mine")
    with pytest.raises(UsageError, match="is not empty; give a folder that does not exist yet or is empty") as caught:
        train(settings(), tmp_path)
    one_line(caught)
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [(name, "mine")]


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "run").write_text("mine")
    with pytest.raises(UsageError, match="is a file; give a folder") as caught:
        train(settings(), tmp_path / "run")
    one_line(caught)


def test_an_empty_folder_is_taken(tmp_path):
    assert train(settings(steps=32), tmp_path, episodes=2).path == tmp_path / "checkpoint.zip"


def test_refused_settings_leave_no_folder(tmp_path):
    with pytest.raises(UsageError, match="unknown baseline"):
        train(settings("baseline=none-such"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_folders_are_named_after_the_run_and_never_taken_twice(tmp_path):
    first = run_folder(settings(seed=3), tmp_path)
    assert first == tmp_path / "pursuit-drone-hybrid-grpo-seed3"
    first.mkdir()
    second = run_folder(settings(seed=3), tmp_path)
    assert second.name == "pursuit-drone-hybrid-grpo-seed3-2"
    second.mkdir()
    assert run_folder(settings(seed=3), tmp_path).name == "pursuit-drone-hybrid-grpo-seed3-3"
    assert run_folder(settings(seed=4), tmp_path).name == "pursuit-drone-hybrid-grpo-seed4"


def test_figures_are_json(tmp_path):
    result = train(settings(steps=32), tmp_path / "run", episodes=2)
    json.dumps(result.evaluations, allow_nan=False)
