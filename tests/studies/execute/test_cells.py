"""What one cell trains, when it evaluates, and where its budget ends."""

import dataclasses
import itertools

import pytest
import torch

import rl_tracking
from rl_tracking.envs.vec_env import make_scenario
from rl_tracking.errors import RunError
from rl_tracking.runs.build import build
from rl_tracking.runs.evaluate import EVALUATION_SEED, evaluate
from rl_tracking.studies.execute.cells import cells_of
from rl_tracking.studies.execute.snapshot import Snapshot
from tests.studies.conftest import records, timeless

ROLLOUT = 4 * 16  # macro-steps
OF_HYBRID = 2  # simulator steps a macro-step: its branches, along the first of which it goes on


@pytest.fixture
def result(tiny, tmp_path):
    """The records of the first cell of a variant."""
    number = itertools.count()

    def run(variant, *changes):
        (cell, *_) = cells_of(tiny(*changes), f"*/{variant}")
        folder = tmp_path / f"{next(number)}"
        cell.run(folder, lambda share: None)
        assert list(folder.rglob(".*")) == []
        return cell.results(folder)

    return run


def test_a_record_says_what_was_measured(result):
    before, middle, end = records(result("hybrid"))
    assert [record["macro_steps"] for record in (before, middle, end)] == [0, 128, 256]
    assert [record["simulator_steps"] for record in (before, middle, end)] == [0, 128 * OF_HYBRID, 256 * OF_HYBRID]
    assert before["seconds"] == 0 < middle["seconds"] < end["seconds"]
    assert (before["task"], before["variant"], before["seed"]) == ("near", "hybrid", 0)
    assert set(before["metrics"]) >= {"time_in_radius", "capture_rate", "return", "time_to_capture", "mean_distance"}
    assert before["updates"] == {}
    assert {"approx_kl", "clip_fraction", "explained_variance"} <= set(middle["updates"])
    assert before["versions"]["rl_tracking"] == rl_tracking.__version__
    assert set(before["versions"]) == {"python", "torch", "stable_baselines3", "gymnasium", "numpy", "rl_tracking"}


def test_updates_are_means_since_the_evaluation_before(result):
    # The figure counts epochs: 1, 2, 3, 4 after the four rollouts.
    path = result("ppo")
    assert [record["updates"].get("n_updates") for record in records(path)] == [None, 0.5 + 1, 2.5 + 1]


def test_ppo_takes_one_simulator_step_a_macro_step(result):
    assert [(r["macro_steps"], r["simulator_steps"]) for r in records(result("ppo"))] == [
        (0, 0),
        (128, 128),
        (256, 256),
    ]


def test_all_variants_are_evaluated_on_the_same_episodes_and_start_equal(result, tiny):
    hybrid, ppo = (records(result(name))[0]["metrics"] for name in ("hybrid", "ppo"))
    assert hybrid == ppo
    cell = cells_of(tiny(), "*/ppo")[0]
    scenario = make_scenario("pursuit", **cell.task.parameters)
    flown = evaluate(build(cell.settings), 3, scenario=scenario, seed=EVALUATION_SEED)
    assert {name: flown[name]["value"] for name in ppo} == ppo


def test_evaluations_do_not_change_what_is_learned(result):
    often, seldom = (timeless(result("hybrid", ("points = 2", f"points = {points}"))) for points in (4, 1))
    assert [record["macro_steps"] for record in often] == [0, 64, 128, 192, 256]
    assert [record["macro_steps"] for record in seldom] == [0, 256]
    assert often[-1]["metrics"] == seldom[-1]["metrics"]


def test_points_within_one_rollout_are_one_evaluation_after_it(result):
    taken = records(result("ppo", ("points = 2", "points = 20"), ("macro_steps = 256", "macro_steps = 200")))
    assert [record["macro_steps"] for record in taken] == [0, 64, 128, 192, 256]


@pytest.mark.parametrize("rollouts", [2, 2.5])
def test_simulator_steps_end_at_the_budget(result, rollouts):
    budget = int(rollouts * ROLLOUT * OF_HYBRID)
    path = result("hybrid", ("macro_steps = 256", f"simulator_steps = {budget}"))
    assert [record["simulator_steps"] for record in records(path)][-1] == budget
    assert [record["macro_steps"] for record in records(path)][-1] == rollouts * ROLLOUT


def test_a_rollout_that_the_budget_cuts_is_not_learned_from(result):
    constant = ("n_samples = 2", "n_samples = 2, learning_rate = 0.001")
    whole, cut = (
        timeless(result("hybrid", constant, ("macro_steps = 256", f"simulator_steps = {int(n * ROLLOUT * OF_HYBRID)}")))
        for n in (2, 2.5)
    )
    assert cut[-1]["metrics"] == whole[-1]["metrics"]


def test_schedules_follow_the_share_of_simulator_steps(result):
    schedule = ("n_samples = 2", 'n_samples = 2, learning_rate = "linear:1.0:0.0"')
    budget = 4 * ROLLOUT * OF_HYBRID
    taken = records(
        result("hybrid", schedule, ("macro_steps = 256", f"simulator_steps = {budget}"), ("points = 2", "points = 4"))
    )
    assert [record["updates"]["learning_rate"] for record in taken[1:]] == pytest.approx([0.75, 0.5, 0.25, 0.0])


def test_seconds_of_training_end_the_cell(result):
    taken = records(result("ppo", ("macro_steps = 256", "seconds = 0.5")))
    assert 0.5 <= taken[-1]["seconds"] < 1.5
    assert taken[-1]["macro_steps"] > ROLLOUT


def test_a_budget_within_the_first_rollout_is_a_failure(result, tmp_path):
    with pytest.raises(RunError, match="the budget of 90 simulator steps ended within the first rollout"):
        result("hybrid", ("macro_steps = 256", "simulator_steps = 90"))
    assert list(tmp_path.rglob("*.jsonl")) == []


def test_a_gymnasium_task_with_normalised_observations_is_trained_reproducibly(result):
    changes = (
        ('scenario = "pursuit"\nparameters = { reward = "progress", max_steps = 20 }', 'env = "Pendulum-v1"'),
        ('"time_in_radius"', '"return"'),
        ("n_samples = 2", "n_samples = 2, normalize = true"),
    )
    taken = timeless(result("hybrid", *changes))
    assert taken == timeless(result("hybrid", *changes))
    assert set(taken[0]["metrics"]) == {"return", "episode_length"}


def test_without_a_metric_the_score_is_the_headline_of_the_task(tiny, result):
    without = ('metric = "time_in_radius"\n', "")
    (cell, *_) = cells_of(tiny(without), "*/ppo")
    assert (cell.task.metric, cell.task.better) == ("time_in_radius", "up")
    assert {(line["metric"], line["better"]) for line in records(result("ppo", without))} == {("time_in_radius", "up")}


def test_less_of_a_metric_may_be_better_by_itself_or_in_the_study(tiny):
    metric = 'metric = "time_in_radius"'
    (cell, *_) = cells_of(tiny((metric, 'metric = "mean_distance"')))
    assert cell.task.better == "down"
    (cell, *_) = cells_of(tiny((metric, 'metric = "mean_distance"\nbetter = "up"')))
    assert cell.task.better == "up"


def test_networks_are_kept_at_the_checkpoints_with_the_critic_weight_of_that_time(tiny, tmp_path):
    explained = ("n_samples = 2", 'n_samples = 2, critic_trust = "explained"')
    (cell, *_) = cells_of(tiny(explained, ("points = 2", "points = 1")), "*/hybrid")
    cell = dataclasses.replace(cell, checkpoints=(0.0, 0.3, 1.0))
    cell.run(tmp_path, lambda share: None)
    assert cell.finished(tmp_path)
    taken = [(line["macro_steps"], line["checkpoints"]) for line in records(cell.results(tmp_path))]
    assert taken == [(0, [0.0]), (128, [0.3]), (256, [1.0])]
    first, later, last = (Snapshot.load(tmp_path / cell.snapshot(share)) for share in cell.checkpoints)
    assert first.trust == 0.0
    assert not torch.equal(first.policy["log_std"], later.policy["log_std"])
    assert not torch.equal(later.policy["log_std"], last.policy["log_std"])


def test_a_metric_that_the_environment_does_not_give_is_a_failure(result):
    with pytest.raises(RunError, match="task 'near' has no success_rate; it has return, episode_length"):
        result(
            "ppo",
            ('scenario = "pursuit"\nparameters = { reward = "progress", max_steps = 20 }', 'env = "CartPole-v1"'),
            ('"time_in_radius"', '"success_rate"'),
        )


def test_the_digest_is_of_what_decides_the_results(tiny, tmp_path):
    reward = tmp_path / "reward.py"
    reward.write_text("def near(step): return -step.nearest")
    own = ('"progress"', f'"{reward}:near"')

    def of(*changes):
        return [cell.digest for cell in cells_of(tiny(*changes))]

    assert len(set(of())) == 4
    assert of() == of(("threshold = 0.5", "threshold = 0.9"), ('better = "lower"', 'better = "higher"'))
    assert of(("seeds = 2", "seeds = 1")) == of()[:2]
    assert of(("seeds = 2", "seeds = 1\nfirst_seed = 1")) == of()[2:]
    assert not set(of(("macro_steps = 256", "macro_steps = 257"))) & set(of())
    assert not set(of(("episodes = 3", "episodes = 4"))) & set(of())
    assert [a == b for a, b in zip(of(("n_samples = 2", "n_samples = 3")), of(), strict=True)] == [False, True] * 2
    before = of(own)
    reward.write_text("def near(step): return -2 * step.nearest")
    assert not set(of(own)) & set(before)
