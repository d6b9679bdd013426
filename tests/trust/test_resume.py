"""A training that was stopped and resumed is bit for bit the one that was not; each part of what is saved is needed."""

import csv
import dataclasses
import io
import os
import random
import warnings

import msgspec
import numpy as np
import pytest
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecFrameStack, VecMonitor, VecNormalize

from rl_tracking import GRPO, REINFORCE, HybridGRPO, files, make_vec
from rl_tracking.agents.saving import resuming
from rl_tracking.errors import RunWarning, UsageError
from rl_tracking.runs import callback as run_callback
from rl_tracking.runs import folder as run_folder
from rl_tracking.runs import train as training
from rl_tracking.runs.settings import resolve
from tests.agents.toys import one_line
from tests.trust.weights_hash import weights_hash

ROLLOUT = 4 * 16  # macro-steps
SIZES = ("num_envs=4", "n_steps=16", "net_arch=[16]")
MINIBATCHES = ("batch_size=64", "n_epochs=2")
WIND = ("max_steps=10", "wind_speed=2.0")
GROUP = ("n_samples=3", "horizon=1")
PATHS = ("n_samples=3", "horizon=4")
ATTENTION = "features_extractor_kwargs={width = 8, heads = 2, feed_forward = 16, layers = 1}"

PLACES = {
    "pursuit": ({}, WIND),
    "CartPole-v1": ({"env": "CartPole-v1"}, ()),
    "HalfCheetah-v5": ({"env": "HalfCheetah-v5"}, ("max_episode_steps=12", "normalize=true")),
}
ALGORITHMS = {
    "hybrid-grpo": (*MINIBATCHES, *GROUP),
    "grpo": (*MINIBATCHES, *PATHS),
    "ppo": MINIBATCHES,
    "trpo": MINIBATCHES[:1],
    "reinforce": (),
}
EXTENSIONS = {
    "temperature": (*GROUP, "ent_coef=auto"),
    "window": (*GROUP, "reward_window=40"),
    "guided": (*GROUP, "n_candidates=6"),
    "trust": (*GROUP, "critic_trust=explained"),
    "calibrated": (*PATHS, "critic_trust=calibrated", "critic_epochs=2"),
    "horizon": PATHS,
    "all of them": (*PATHS, "ent_coef=auto", "reward_window=40", "n_candidates=6", "critic_trust=explained"),
    "gSDE": (*GROUP, "use_sde=true"),
    "gSDE, new noise on the way": (*PATHS, "use_sde=true", "sde_sample_freq=3", "n_candidates=6"),
    "normalised": (*GROUP, "normalize=true"),
    "schedules": (*GROUP, "learning_rate=linear:0.01", "clip_range=linear:0.3"),
    "independent": (*GROUP, "branch_noise=independent"),
}


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    """No closing evaluation, and no waiting for the disk."""
    monkeypatch.setattr(training, "compare", lambda *given: [{"policy": "HybridGRPO"}])
    monkeypatch.setattr(files, "sync", lambda path: None)


def settings(*pairs, rollouts=4, **given):
    return resolve(given={"steps": rollouts * ROLLOUT, **given}, pairs=[*SIZES, *pairs])


def after(rollouts):
    """Stops a training in the middle of the rollout that follows so many."""
    asked = []

    def should_stop():
        asked.append(True)
        return len(asked) > rollouts * 16 + 5

    return should_stop


def table(folder):
    """The figures of a run, without its times."""
    with (folder / "metrics.csv").open(encoding="utf-8") as file:
        return [
            {name: cell for name, cell in row.items() if not name.startswith("time/")} for row in csv.DictReader(file)
        ]


def outcome(folder):
    return weights_hash(folder / "checkpoint.zip"), table(folder)


def stopped(setting, folder, rollouts=2):
    result = training.train(setting, folder, should_stop=after(rollouts))
    assert (result.interrupted, result.macro_steps) == (True, rollouts * ROLLOUT)
    return folder


def check_equal(setting, tmp_path):
    training.train(setting, tmp_path / "straight")
    stopped(setting, tmp_path / "resumed")
    assert outcome(tmp_path / "resumed") != outcome(tmp_path / "straight")
    result = training.resume(tmp_path / "resumed")
    assert (result.interrupted, result.macro_steps) == (False, setting.steps)
    assert outcome(tmp_path / "resumed") == outcome(tmp_path / "straight")


# -- two halves are the whole ------------------------------------------------------------------------------------------


def _slow_unless(cases, quick):
    return [pytest.param(*case, marks=() if case in quick else pytest.mark.slow, id=" ".join(case)) for case in cases]


@pytest.mark.parametrize(
    ("algo", "place"),
    _slow_unless(
        [(algo, place) for algo in ALGORITHMS for place in PLACES],
        [("hybrid-grpo", "pursuit"), ("ppo", "CartPole-v1")],
    ),
)
def test_two_halves_are_the_whole(algo, place, tmp_path):
    given, pairs = PLACES[place]
    check_equal(settings(*pairs, *ALGORITHMS[algo], algo=algo, **given), tmp_path)


@pytest.mark.parametrize("name", _slow_unless([(name,) for name in EXTENSIONS], [("all of them",)]))
def test_two_halves_are_the_whole_with_extensions(name, tmp_path):
    check_equal(settings(*WIND, *MINIBATCHES, *EXTENSIONS[name]), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("algo", ["grpo", "ppo", "reinforce"])
def test_two_halves_are_the_whole_with_state_dependent_noise(algo, tmp_path):
    check_equal(settings(*WIND, *ALGORITHMS[algo], "use_sde=true", algo=algo), tmp_path)


@pytest.mark.slow
def test_two_halves_are_the_whole_with_a_reference_and_rollouts_used_again(tmp_path):
    more = ("kl_coef=0.1", "reference_interval=3", "reuse=2")
    check_equal(settings(*WIND, *ALGORITHMS["grpo"], *more, algo="grpo"), tmp_path)


@pytest.mark.slow
def test_two_halves_are_the_whole_with_attention(tmp_path):
    network = ("features_extractor=mha", ATTENTION)
    check_equal(settings("max_steps=10", *MINIBATCHES, *GROUP, *network, preset="sandbox"), tmp_path)


def test_two_halves_are_the_whole_where_branches_of_an_environment_have_their_own_noise(tmp_path):
    setting = settings(*MINIBATCHES, *GROUP, "branch_noise=independent", env="FrozenLake-v1")
    check_equal(setting, tmp_path)
    stopped(setting, tmp_path / "early", rollouts=1)
    training.resume(tmp_path / "early")
    assert outcome(tmp_path / "early") == outcome(tmp_path / "straight")


@pytest.mark.slow
@pytest.mark.parametrize("algo", ["hybrid-grpo", "ppo"])
def test_two_halves_are_the_whole_where_episodes_are_played_again(algo, tmp_path):
    pairs = ("max_episode_steps=12", *ALGORITHMS[algo])
    check_equal(settings(*pairs, algo=algo, env="LunarLander-v3"), tmp_path)


def test_a_run_that_was_stopped_twice(tmp_path):
    setting = settings(*WIND, *MINIBATCHES, *GROUP, "normalize=true", rollouts=5)
    training.train(setting, tmp_path / "straight")
    stopped(setting, tmp_path / "resumed", rollouts=1)
    assert training.resume(tmp_path / "resumed", should_stop=after(2)).interrupted
    training.resume(tmp_path / "resumed")
    assert outcome(tmp_path / "resumed") == outcome(tmp_path / "straight")


def test_a_finished_run_goes_on_with_a_greater_budget(tmp_path):
    pairs = (*WIND, *MINIBATCHES, *GROUP, "learning_rate=0.003")
    short, long = (settings(*pairs, rollouts=rollouts) for rollouts in (2, 4))
    training.train(long, tmp_path / "straight")
    training.train(short, tmp_path / "resumed")
    training.resume(tmp_path / "resumed", steps=long.steps)
    assert outcome(tmp_path / "resumed") == outcome(tmp_path / "straight")
    assert (tmp_path / "resumed/config.toml").read_text() == (tmp_path / "straight/config.toml").read_text()


def test_schedules_follow_the_new_budget(tmp_path):
    def rates(folder):
        return [float(row["train/learning_rate"]) for row in table(folder) if row["train/learning_rate"]]

    pairs = (*WIND, *MINIBATCHES, *GROUP, "learning_rate=linear:0.01")
    training.train(settings(*pairs, rollouts=2), tmp_path / "run")
    training.resume(tmp_path / "run", steps=4 * ROLLOUT)
    assert rates(tmp_path / "run") == pytest.approx([0.005, 0.0, 0.0025, 0.0])


def test_figures_beyond_the_checkpoint_are_cut_and_no_row_is_there_twice(tmp_path):
    stopped(settings(*WIND, *MINIBATCHES, *GROUP), tmp_path / "run")
    metrics = tmp_path / "run" / "metrics.csv"
    lines = metrics.read_text().splitlines()
    metrics.write_text("\n".join([*lines, lines[-1], lines[-1][:20]]))  # of a run that was killed as it wrote
    training.resume(tmp_path / "run")
    with metrics.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["time/total_timesteps"] for row in rows] == ["64", "128", "192", "256", ""]
    assert [row["time/iterations"] for row in rows] == ["1", "2", "3", "4", ""]
    times = [float(row["time/time_elapsed"]) for row in rows[:-1]]
    assert times == sorted(times)


def _pipe(path):
    os.mkfifo(path)


SPOILT = {
    "pipe": (_pipe, "it is no regular file"),
    "device": (lambda path: path.symlink_to("/dev/zero"), "it is no regular file"),
    "folder": (lambda path: path.mkdir(), "Is a directory"),
    "bytes": (lambda path: path.write_bytes(b"a,b\n\xff,1\n"), "can't decode byte"),
    "long field": (lambda path: path.write_text("a,b\n" + "x" * 200_000 + ",1\n"), "field larger than"),
}


@pytest.mark.parametrize("kind", SPOILT)
def test_a_table_that_is_none_is_named(kind, tmp_path):
    stopped(settings(*WIND, *MINIBATCHES, *GROUP, rollouts=3), tmp_path / "run", rollouts=1)
    metrics = tmp_path / "run" / "metrics.csv"
    metrics.unlink()
    spoil, says = SPOILT[kind]
    spoil(metrics)
    with pytest.raises(UsageError, match=says) as caught:
        training.resume(tmp_path / "run")
    assert str(metrics) in one_line(caught)
    metrics.rename(tmp_path / "away")
    with pytest.warns(RunWarning, match="has 0 of 1 rows"):
        assert not training.resume(tmp_path / "run").interrupted


def test_tensorboard_forgets_what_is_made_again(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    stopped(settings(*WIND, *MINIBATCHES, *GROUP), tmp_path / "run")
    training.resume(tmp_path / "run")
    events = EventAccumulator(str(tmp_path / "run"))
    events.Reload()
    steps = [event.step for event in events.Scalars("rollout/ep_rew_mean")]
    assert steps == [64, 128, 192, 256]


# -- every part is needed ----------------------------------------------------------------------------------------------

NORMALISED = settings(*WIND, *MINIBATCHES, *GROUP, "normalize=true")
PLAIN = settings(*WIND, *MINIBATCHES, *GROUP, "critic_trust=explained")
REFERENCE = settings(
    *WIND, *ALGORITHMS["grpo"], "kl_coef=0.5", "reference_interval=2", "reuse=1", algo="grpo", rollouts=6
)
EXTENDED = settings(*WIND, *MINIBATCHES, *EXTENSIONS["all of them"])
LEARNS = ("n_samples=4", "horizon=8", "gamma=0.9", "batch_size=16", "n_epochs=10", "learning_rate=0.01")
TRUSTED = settings(*LEARNS, "critic_trust=explained", env="CartPole-v1", rollouts=6)  # the critic explains some by then
CALIBRATED = settings(*WIND, *MINIBATCHES, *EXTENSIONS["calibrated"])
NOISY = settings(*WIND, *MINIBATCHES, "use_sde=true", algo="ppo")
OF_RUNS = {
    "macro_steps": PLAIN,
    "worlds": PLAIN,
    "observation": PLAIN,
    "observation_moments": NORMALISED,
    "reward_moments": NORMALISED,
    "discounted_returns": NORMALISED,
    "simulator_steps": PLAIN,
    "updates": PLAIN,
    "rollouts": REFERENCE,
    "episodes": PLAIN,
    "successes": PLAIN,
    "activated_so_far": PLAIN,
    "activated_returns": PLAIN,
    "critic_trust": TRUSTED,
    "critic_evidence": CALIBRATED,
    "exploration_noise": NOISY,
    "numpy": NOISY,
    "torch": PLAIN,
}
LEARNED = {
    "policy": PLAIN,
    "policy.optimizer": PLAIN,
    "temperature": EXTENDED,
    "reward_normalizer": EXTENDED,
    "sampler": EXTENDED,
    "sampler.optimizer": EXTENDED,
    "_reference": REFERENCE,
    "_earlier": REFERENCE,
}
OF_MODELS = ("episode_starts", "wrappers", "spaces", "python")  # which no run of the command line changes; see below
QUICK = (
    "worlds",
    "critic_evidence",
    "observation_moments",
    "simulator_steps",
    "torch",
    "policy.optimizer",
    "sampler",
    "pending",
)


def quick(names):
    return [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in names]


@pytest.fixture(scope="module")
def halves(tmp_path_factory):
    """A training that was not stopped, and a copy of one that was, for each of the settings."""
    made = {}

    def of(setting, folder):
        key = str(setting)
        if key not in made:
            place = tmp_path_factory.mktemp("halves")
            training.train(setting, place / "straight")
            made[key] = place, outcome_with_counts(place / "straight")
            stopped(setting, place / "stopped", rollouts=setting.steps // ROLLOUT // 2)
        place, straight = made[key]
        folder.mkdir()
        for file in (place / "stopped").iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
        return straight

    return of


def outcome_with_counts(folder):
    with (folder / "metrics.csv").open(encoding="utf-8") as file:
        counts = [(row["time/total_timesteps"], row.get("time/simulator_steps")) for row in csv.DictReader(file)]
    return outcome(folder), counts


def resumed_without(folder):
    """What comes of resuming a run that lacks something; an error is another outcome, too."""
    try:
        training.resume(folder)
    except Exception as error:
        return repr(error)
    return outcome_with_counts(folder)


def without(name):
    return dataclasses.replace(resuming.PARTS[name], put=lambda model, value: None)


def test_all_parts_are_under_test():
    of_off_policy = {name for name, part in resuming.PARTS.items() if part.optional}  # in test_resume_off_policy.py
    assert {*OF_RUNS, *OF_MODELS} == set(resuming.PARTS) - of_off_policy
    assert set(QUICK) <= {*OF_RUNS, *LEARNED, "pending"}


@pytest.mark.parametrize("name", quick(OF_RUNS))
def test_every_part_of_a_run_is_needed(name, halves, tmp_path, monkeypatch):
    straight = halves(OF_RUNS[name], tmp_path / "whole")
    if name in ("macro_steps", "torch"):  # once for each of the settings would be the same again
        assert resumed_without(tmp_path / "whole") == straight
    halves(OF_RUNS[name], tmp_path / "lacking")
    monkeypatch.setitem(resuming.PARTS, name, without(name))
    assert resumed_without(tmp_path / "lacking") != straight


@pytest.mark.parametrize("name", quick(LEARNED))
def test_everything_that_learns_is_needed(name, halves, tmp_path, monkeypatch):
    straight = halves(LEARNED[name], tmp_path / "whole")
    if name in ("sampler", "_earlier"):
        assert resumed_without(tmp_path / "whole") == straight
    halves(LEARNED[name], tmp_path / "lacking")
    whole = BaseAlgorithm.set_parameters

    def lacking(model, read, **given):
        return whole(model, {key: value for key, value in read.items() if key != name}, exact_match=False)

    assert name in run_folder.read_boundary(tmp_path / "lacking" / "checkpoint.zip").weights
    monkeypatch.setattr(BaseAlgorithm, "set_parameters", lacking)
    assert resumed_without(tmp_path / "lacking") != straight


@pytest.mark.parametrize("name", quick(["rows", "columns", "pending"]))
def test_every_part_of_the_log_is_needed(name, halves, tmp_path, monkeypatch):
    value = {"rows": 0, "columns": 1, "pending": []}[name]
    straight = halves(PLAIN, tmp_path / "run")
    read = run_folder.read_boundary

    def lacking(path):
        boundary = read(path)
        boundary.state.log = msgspec.structs.replace(boundary.state.log, **{name: value})
        return boundary

    monkeypatch.setattr(run_folder, "read_boundary", lacking)
    assert resumed_without(tmp_path / "run") != straight


def test_the_best_score_is_kept(tmp_path, monkeypatch):
    scores = iter([5.0, 4.0, 3.0, 6.0])
    monkeypatch.setattr(run_callback, "score_of", lambda model: next(scores))
    stopped(settings(*WIND, *MINIBATCHES, *GROUP, rollouts=3), tmp_path / "run", rollouts=2)  # saved twice
    best = (tmp_path / "run" / "best.zip").read_bytes()
    training.resume(tmp_path / "run")
    assert (tmp_path / "run" / "best.zip").read_bytes() == best
    training.resume(tmp_path / "run", steps=4 * ROLLOUT)
    assert (tmp_path / "run" / "best.zip").read_bytes() != best


# -- from Python -------------------------------------------------------------------------------------------------------


class Draws(BaseCallback):
    """Draws from generators that the algorithm does not draw from, and reads where episodes start."""

    def __init__(self):
        super().__init__()
        self.drawn = []

    def _on_rollout_start(self):
        self.drawn.append(np.array(self.model._last_episode_starts).tolist())

    def _on_step(self):
        self.drawn.append((random.random(), self.training_env.action_space.sample().tolist()))
        return True


def worlds():
    inner = VecNormalize(VecFrameStack(make_vec("pursuit", 4, max_steps=10, wind_speed=2.0), 3))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The environment is already wrapped")
        return VecMonitor(inner)


MODELS = {
    "hybrid-grpo": (HybridGRPO, {"n_samples": 3, "batch_size": 32, "use_sde": True, "ent_coef": "auto"}),
    "grpo": (GRPO, {"n_samples": 3, "horizon": 4, "batch_size": 32, "kl_coef": 0.1, "reuse": 1}),
    "reinforce": (REINFORCE, {"use_sde": True}),
}


def quick_models():
    return [pytest.param(name, marks=() if name == "hybrid-grpo" else pytest.mark.slow) for name in MODELS]


def model_of(name, env=None):
    kind, more = MODELS[name]
    return kind("MlpPolicy", worlds() if env is None else env, seed=3, n_steps=16, **more)


def state_of(model, draws):
    numbers = [parameter.detach().clone() for parameter in model.policy.parameters()]
    episodes = [(float(episode["r"]), episode["l"]) for episode in model.ep_info_buffer]
    return torch.cat([number.flatten() for number in numbers]).tolist(), draws.drawn, episodes


def learned_on(model):
    draws = Draws()
    model.learn(2 * ROLLOUT, callback=draws, reset_num_timesteps=False)
    return state_of(model, draws)


@pytest.fixture(scope="module", params=quick_models())
def saved(request, tmp_path_factory):
    """A saved model's class and file, and what became of the model when it learned on."""
    path = tmp_path_factory.mktemp("saved") / "model.zip"
    model = model_of(request.param)
    model.learn(2 * ROLLOUT, callback=Draws())
    model.save(path, resume=True)
    return type(model), path, learned_on(model)


def shaken():
    """Generators somewhere else."""
    random.seed(5)
    np.random.seed(5)
    torch.manual_seed(5)


def test_a_model_goes_on_as_if_it_had_never_stopped(saved):
    kind, path, straight = saved
    shaken()
    assert learned_on(kind.load(path, env=worlds())) == straight
    with path.open("rb") as file:
        assert learned_on(kind.load(io.BytesIO(file.read()), env=worlds(), resume=True)) == straight
    shaken()
    assert learned_on(kind.load(path, env=worlds(), resume=False)) != straight


@pytest.mark.parametrize("name", OF_MODELS)
def test_every_part_of_a_model_is_needed(name, saved, monkeypatch):
    kind, path, straight = saved
    shaken()
    monkeypatch.setitem(resuming.PARTS, name, without(name))
    assert learned_on(kind.load(path, env=worlds())) != straight


def test_another_environment_is_not_touched(saved):
    kind, path, _ = saved
    env = VecFrameStack(make_vec("pursuit", 2, max_steps=10, wind_speed=2.0), 3)
    model = kind.load(path, env=env)
    assert model._last_obs is None
    with pytest.raises(UsageError, match="is of another task or number of worlds than env") as caught:
        kind.load(path, env=env, resume=True)
    one_line(caught)


def test_a_file_without_it_is_refused_only_where_it_is_asked_for(tmp_path):
    model = model_of("reinforce")
    model.save(tmp_path / "model.zip")
    assert REINFORCE.load(tmp_path / "model.zip", env=worlds()).num_timesteps == 0
    with pytest.raises(UsageError, match="was not saved with resume=True") as caught:
        REINFORCE.load(tmp_path / "model.zip", env=worlds(), resume=True)
    one_line(caught)


@pytest.mark.parametrize("name", ["hybrid-grpo", "reinforce"])
def test_the_middle_of_a_rollout_is_refused(name, tmp_path):
    class Saves(BaseCallback):
        def _on_step(self):
            self.model.save(tmp_path / "model.zip", resume=True)
            return True

    with pytest.raises(UsageError, match="in the middle of a rollout"):
        model_of(name).learn(ROLLOUT, callback=Saves())
    assert list(tmp_path.iterdir()) == []


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished") / "run"
    training.train(settings(*WIND, *MINIBATCHES, *GROUP, rollouts=2), folder)
    return folder


@pytest.fixture
def run(finished, tmp_path):
    """A copy of a finished run."""
    folder = tmp_path / "run"
    folder.mkdir()
    for file in finished.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


def refused(match, *given, **more):
    with pytest.raises(UsageError, match=match) as caught:
        training.resume(*given, **more)
    one_line(caught)


def test_what_cannot_be_resumed(run, tmp_path):
    refused("is finished: it made 128 of 128 macro-steps; give a greater --steps", run)
    refused("--steps 64 is below the 128 of run", run, steps=64)
    refused("there is no run in .*nowhere", tmp_path / "nowhere")
    refused("give the run's folder", run / "checkpoint.zip")
    (tmp_path / "empty").mkdir()
    refused("holds no run: it has no config.toml", tmp_path / "empty")
    for name in ("checkpoint.zip", "checkpoint-previous-1.zip"):
        (run / name).unlink()
    refused("has no checkpoint.zip to continue from yet", run, steps=999)


def test_a_damaged_checkpoint_is_named_and_the_one_before_it_taken(run):
    content = (run / "checkpoint.zip").read_bytes()
    (run / "checkpoint.zip").write_bytes(content[: len(content) // 2])
    with pytest.warns(RunWarning, match=r"checkpoint.zip' .*; continuing from '.*checkpoint-previous-1.zip'"):
        assert training.resume(run).macro_steps == 128


def test_a_checkpoint_that_holds_nothing_to_continue_from_is_refused(run):
    model_of("reinforce").save(run / "checkpoint.zip")
    (run / "checkpoint-previous-1.zip").unlink()
    refused("holds nothing that a training could continue from", run, steps=999)


def test_a_newer_version_is_refused(run, monkeypatch):
    monkeypatch.setattr(resuming, "VERSION", 0)
    refused("written by a newer rl_tracking", run, steps=999)


def test_other_versions_are_said(run, monkeypatch):
    from rl_tracking.agents.saving import description

    here = description.versions()
    monkeypatch.setattr(description, "versions", lambda: here | {"torch": "9.9"})
    with pytest.warns(RunWarning, match=r"not bit for bit: torch .*, now 9\.9$"):
        training.resume(run, steps=3 * ROLLOUT)


def test_code_of_a_run_is_run_only_if_it_is_trusted_and_what_it_was(tmp_path):
    source = tmp_path / "mine.py"
    source.write_text("def near(step):\n    return -step.nearest\n")
    folder = stopped(settings(*WIND, *MINIBATCHES, *GROUP, f"reward={source}:near"), tmp_path / "run")
    refused("names code, which is not run", folder)
    source.write_text("def near(step):\n    return -2 * step.nearest\n")
    refused("which has changed since .*; put it back$", folder, trust=True)  # a run takes no other reward
    source.write_text("def near(step):\n    return -step.nearest\n")
    assert training.resume(folder, trust=True).macro_steps == 4 * ROLLOUT


def test_another_network_is_refused(run):
    config = run / "config.toml"
    config.write_text(config.read_text().replace("    16,\n", "    8,\n"))
    refused("no training can continue from checkpoint", run, steps=999)


def test_a_run_is_trained_by_one_process(run):
    with files.held(run, "held"):
        refused("another process is training in", run, steps=999)


def test_worlds_that_cannot_be_saved_begin_new_episodes_and_a_line_says_so(tmp_path, monkeypatch):
    from stable_baselines3.common.monitor import Monitor
    from stable_baselines3.common.vec_env import DummyVecEnv

    from rl_tracking.runs.tasks import GymnasiumTask

    def plain(task, num_envs, seed, device, *, must_restore):
        env = DummyVecEnv([lambda: Monitor(task.make())] * num_envs)
        env.seed(seed)
        return env

    monkeypatch.setattr(GymnasiumTask, "worlds", plain)
    setting = settings(*MINIBATCHES, algo="ppo", env="CartPole-v1")
    stopped(setting, tmp_path / "run")
    with pytest.warns(RunWarning, match="continues in new episodes, and not bit for bit") as caught:
        result = training.resume(tmp_path / "run")
    assert "the state of DummyVecEnv cannot be saved" in str(caught[0].message)
    assert "\n" not in str(caught[0].message)
    assert result.macro_steps == setting.steps


def test_no_pickle_is_read(run, monkeypatch):
    import pickle

    import cloudpickle

    def refuse(*given, **more):
        raise AssertionError("a pickle was read")

    for module in (pickle, cloudpickle):
        for name in ("load", "loads"):
            monkeypatch.setattr(module, name, refuse)
    assert training.resume(run, steps=3 * ROLLOUT).macro_steps == 3 * ROLLOUT


# -- TensorBoard and the table -----------------------------------------------------------------------------------------


def test_a_failure_of_tensorboard_is_one_line_and_ends_nothing(tmp_path, monkeypatch):
    class Full(io.BytesIO):
        def write(self, content):
            raise OSError(28, "whatever")

    from tensorboard.summary.writer import record_writer

    original = record_writer.RecordWriter
    monkeypatch.setattr(record_writer, "RecordWriter", lambda file: original(Full()))
    setting = settings(*WIND, *MINIBATCHES, *GROUP, rollouts=2)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = training.train(setting, tmp_path / "run")
    lines = [str(warning.message) for warning in caught if warning.category is RunWarning]
    assert len(lines) == 1
    assert "no space left on the device); the training continues, and metrics.csv has the same figures" in lines[0]
    assert result.macro_steps == setting.steps
    assert len(table(tmp_path / "run")) == 3
