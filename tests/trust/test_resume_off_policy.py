"""A training of SAC, TQC or CrossQ that was stopped and resumed is bit for bit the one that was not."""

import csv

import numpy as np
import pytest
import torch

from rl_tracking import files
from rl_tracking.agents.saving import resumed_replay, resuming
from rl_tracking.agents.saving.archive import open_members
from rl_tracking.errors import RunError, RunWarning, UsageError
from rl_tracking.runs import train as training
from rl_tracking.runs.build import build
from rl_tracking.runs.settings import resolve
from tests.agents.toys import one_line
from tests.trust.weights_hash import weights_hash

ROLLOUT = 2 * 4  # macro-steps
STEPS = 10 * ROLLOUT
TINY = (
    "num_envs=4",
    "train_freq=2",
    "gradient_steps=2",
    "batch_size=8",
    "buffer_size=48",  # it is full before the training ends, and rows are written over
    "learning_starts=16",
    "net_arch=[16]",
    "normalize=false",
)
PLACES = {
    "pursuit": ({}, ("max_steps=10", "wind_speed=2.0")),
    "Pendulum-v1": ({"env": "Pendulum-v1"}, ("max_episode_steps=12",)),
    "normalised": ({}, ("max_steps=10", "normalize=true")),
}
SETTINGS = {
    "n-step targets": ("n_steps=3",),
    "gSDE": ("use_sde=true", "sde_sample_freq=1", "use_sde_at_warmup=true"),
    "schedule": ("learning_rate=linear:0.01",),
    "fixed entropy": ("ent_coef=0.1",),
    "as many minibatches as steps": ("gradient_steps=-1", "train_freq=1"),
}


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    """No closing evaluation, and no waiting for the disk."""
    monkeypatch.setattr(training, "compare", lambda *given: [{"policy": "SAC"}])
    monkeypatch.setattr(files, "sync", lambda path: None)


def settings(*pairs, algo="sac", steps=STEPS, **given):
    return resolve(given={"algo": algo, "steps": steps, **given}, pairs=[*TINY, *pairs])


def outcome(folder):
    with (folder / "metrics.csv").open(encoding="utf-8") as file:
        rows = [{key: cell for key, cell in row.items() if not key.startswith("time/")} for row in csv.DictReader(file)]
    with open_members(folder / "checkpoint.zip", "the checkpoint") as members:
        read = {name: members.read(name, limit) for name, limit in resuming.LIMITS.items()}
    replay = resuming.from_members(read, "the checkpoint")["replay_buffer"]
    assert replay.full
    return (
        weights_hash(folder / "checkpoint.zip"),
        rows,
        {name: array.tobytes() for name, array in replay.arrays.items()},
    )


def after(times):
    """Stops a training once it was asked so often."""
    asked = []

    def should_stop():
        asked.append(True)
        return len(asked) > times

    return should_stop


def check_equal(setting, tmp_path, asked=19):
    training.train(setting, tmp_path / "straight")
    stopped = training.train(setting, tmp_path / "resumed", should_stop=after(asked))
    assert stopped.interrupted
    assert 0 < stopped.macro_steps < setting.steps
    training.resume(tmp_path / "resumed")
    assert outcome(tmp_path / "resumed") == outcome(tmp_path / "straight")


@pytest.mark.parametrize("place", PLACES)
def test_two_halves_of_sac_are_the_whole(place, tmp_path):
    given, pairs = PLACES[place]
    check_equal(settings(*pairs, **given), tmp_path)


@pytest.mark.parametrize("algo", ["tqc", "crossq"])
def test_two_halves_of_the_others_are_the_whole(algo, tmp_path):
    check_equal(settings(*PLACES["pursuit"][1], algo=algo), tmp_path)


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow) for name in SETTINGS])
def test_two_halves_are_the_whole_with_other_settings(name, tmp_path):
    check_equal(settings(*PLACES["pursuit"][1], *SETTINGS[name]), tmp_path)


@pytest.mark.parametrize("asked", [1, 9, 10, 11])
def test_a_stop_before_the_first_update_and_within_a_rollout(asked, tmp_path):
    setting = settings(*PLACES["pursuit"][1])
    training.train(setting, tmp_path / "straight")
    stopped = training.train(setting, tmp_path / "resumed", should_stop=after(asked))
    assert (stopped.interrupted, stopped.macro_steps % ROLLOUT) == (True, 0)
    training.resume(tmp_path / "resumed")
    assert outcome(tmp_path / "resumed") == outcome(tmp_path / "straight")


def test_a_finished_run_goes_on_with_a_greater_budget(tmp_path):
    pairs = (*PLACES["pursuit"][1], "learning_rate=0.003")  # a schedule would follow the budget
    training.train(settings(*pairs), tmp_path / "straight")
    training.train(settings(*pairs, steps=STEPS // 2), tmp_path / "resumed")
    training.resume(tmp_path / "resumed", steps=STEPS)
    assert outcome(tmp_path / "resumed") == outcome(tmp_path / "straight")


@pytest.mark.parametrize("name", ["replay_buffer", "entropy_coefficient", "episodes_so_far", "original_observation"])
def test_each_part_is_needed(name, tmp_path, monkeypatch):
    given, pairs = PLACES["normalised"]
    setting = settings(*pairs, **given)
    training.train(setting, tmp_path / "straight")
    training.train(setting, tmp_path / "resumed", should_stop=after(22))
    part = resuming.PARTS[name]
    forgetful = resuming.Part(part.schema, part.get, lambda model, value: None, part.pack, part.unpack, optional=True)
    monkeypatch.setitem(resuming.PARTS, name, forgetful)
    try:
        training.resume(tmp_path / "resumed")
        assert outcome(tmp_path / "resumed") != outcome(tmp_path / "straight")
    except (AssertionError, RunError, ValueError):
        return  # without it nothing can be sampled or acted on, or the buffer is not full at the end


def test_a_replay_buffer_too_large_to_keep_is_announced_and_its_run_is_not_resumed(tmp_path, monkeypatch):
    monkeypatch.setattr(resumed_replay, "LARGEST", 2_000)
    setting = settings(*PLACES["pursuit"][1])
    with pytest.warns(RunWarning, match="this run cannot be resumed: its replay buffer of 48 transitions takes up to"):
        training.train(setting, tmp_path / "run", should_stop=after(19))
    with pytest.raises(UsageError, match=r"its replay buffer of 48 transitions .* set buffer_size=0 or less") as caught:
        training.resume(tmp_path / "run")
    one_line(caught)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda replay: setattr(replay, "position", 99), "another size"),
        (lambda replay: replay.arrays.pop("actions"), "other fields"),
        (lambda replay: replay.arrays.update(rewards=replay.arrays["rewards"].astype(np.float64)), "float64"),
        (lambda replay: replay.arrays.update(actions=replay.arrays["actions"][:, :1]), "actions of shape"),
    ],
)
def test_a_replay_buffer_of_another_training_is_refused(change, says):
    model = build(settings(*PLACES["pursuit"][1]))
    model.learn(32)
    taken = resuming.capture(model)
    change(taken["replay_buffer"])
    with pytest.raises(UsageError, match=says) as caught:
        resuming.put(model, taken, ["replay_buffer"])
    one_line(caught)


def test_the_optimiser_keeps_the_entropy_coefficient_that_was_put_back():
    model = build(settings(*PLACES["pursuit"][1]))
    held = model.log_ent_coef
    resumed_replay.put_entropy_coefficient(model, torch.tensor([0.5]))
    assert model.log_ent_coef is held
    assert model.ent_coef_optimizer.param_groups[0]["params"][0] is held
    assert held.item() == 0.5
