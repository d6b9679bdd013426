import numpy as np
import pytest

from rl_tracking.studies.statistics.records import Cells
from rl_tracking.studies.statistics.verdicts import TaskVerdict, judge, judge_claim, over_tasks
from tests.studies.synthetic import a_claim, cell, study, task

JITTER = (-0.02, -0.01, 0.0, 0.01, 0.02)


def rng():
    return np.random.default_rng(0)


def cells(*runs):
    return Cells(tuple(runs), (), ())


def ends(variant, score, *, on="reach", seeds=5):
    """Runs that end about a score."""
    return [cell([0, score + JITTER[seed]], variant=variant, task=on, seed=seed) for seed in range(seeds)]


def arrives(variant, evaluation, *, of=10, on="reach", seeds=5):
    """Runs of ``of`` evaluations, 100 macro-steps apart, at the threshold from one of them on, or never."""
    runs = []
    for seed in range(seeds):
        at = of + 1 if evaluation is None else evaluation + seed % 2
        runs.append(cell([0.0] * at + [0.8] * (of + 1 - at), variant=variant, task=on, seed=seed))
    return runs


def verdict(claim, *runs, tasks=None):
    return judge_claim(claim, study(tasks, [claim]), cells(*runs), rng())


def test_a_higher_score_holds_with_the_difference_that_decides():
    found = verdict(a_claim("final"), *ends("hybrid", 0.9), *ends("ppo", 0.5))
    assert found.answer == "holds"
    assert (found.against, found.is_ratio) == (0.0, False)
    assert found.effect.value == pytest.approx(0.4)
    assert 0.36 < found.effect.low < 0.4 < found.effect.high < 0.44
    assert found.improvement.value == 1.0
    assert found.tasks[0].seeds == found.seeds == (5, 5)


def test_the_same_claim_about_the_other_variant_does_not_hold():
    claim = a_claim("final", variant="ppo", than="hybrid")
    assert verdict(claim, *ends("hybrid", 0.9), *ends("ppo", 0.5)).answer == "does not hold"


def test_equal_scores_are_undecided():
    found = verdict(a_claim("final"), *ends("hybrid", 0.5), *ends("ppo", 0.505))
    assert found.answer == "undecided"
    assert found.effect.low < 0 < found.effect.high


def test_a_lower_figure_can_be_the_better_one():
    runs = [
        *(cell([0.9, 0.5 + x, 0.9], seed=i) for i, x in enumerate(JITTER)),
        *(cell([0, 1, 1], variant="ppo", seed=i) for i in range(5)),
    ]
    assert verdict(a_claim("drawdown", better="lower"), *runs).answer == "does not hold"
    assert verdict(a_claim("drawdown", better="higher"), *runs).answer == "holds"
    assert verdict(a_claim("area", better="lower"), *runs).answer == "holds"  # 0.7 against 0.75


def test_figures_of_updates_can_be_compared():
    runs = [
        cell([0, 1], variant=variant, seed=seed, updates={"clip_fraction": figure + JITTER[seed] / 10})
        for variant, figure in (("hybrid", 0.1), ("ppo", 0.3))
        for seed in range(5)
    ]
    found = verdict(a_claim("update:clip_fraction", "lower", factor=0.5), *runs)
    assert found.answer == "holds"
    assert found.effect.value == pytest.approx(1 / 3)
    unlogged = verdict(a_claim("update:explained_variance"), *runs)
    assert unlogged.answer == "undecided"
    assert unlogged.tasks[0].note == "the runs of hybrid log no explained_variance"


@pytest.mark.parametrize(
    ("factor", "answer"), [(None, "holds"), (0.5, "holds"), (0.2, "does not hold"), (0.34, "undecided")]
)
def test_a_ratio_is_held_against_the_claimed_one(factor, answer):
    found = verdict(a_claim("macro_steps_to_threshold", "lower", factor), *arrives("hybrid", 2), *arrives("ppo", 6))
    # Straight lines: hybrid arrives at 200, 300, 200, 300, 200; PPO at 600, 700, 600, 700, 600.
    assert found.effect.value == pytest.approx(240 / 640)
    assert found.answer == answer
    assert found.improvement.value == 1.0  # earlier is better
    assert found.tasks[0].note == ""


@pytest.mark.parametrize(("factor", "answer"), [(1.5, "holds"), (2.5, "does not hold")])
def test_a_score_can_be_claimed_to_be_a_multiple(factor, answer):
    found = verdict(a_claim("final", factor=factor), *ends("hybrid", 0.8), *ends("ppo", 0.4))
    assert found.effect.value == pytest.approx(2.0)
    assert (found.answer, found.against, found.is_ratio) == (answer, factor, True)


def test_runs_that_do_not_reach_the_threshold_count_as_late_and_are_noted():
    found = verdict(a_claim("seconds_to_threshold", "lower"), *arrives("hybrid", 2), *arrives("ppo", None))
    assert found.answer == "holds"
    assert found.effect.value == pytest.approx(240 / 1000)
    assert found.tasks[0].note == "threshold reached by 5 of 5 runs, against 0 of 5"


def test_runs_that_had_the_score_before_training_are_noted():
    claim = a_claim("macro_steps_to_threshold", "lower")
    found = verdict(claim, *arrives("hybrid", 0), *arrives("ppo", None))
    assert found.effect.value == pytest.approx(40 / 1000)  # 0, 100, 0, 100, 0
    assert found.tasks[0].note == (
        "threshold reached by 5 of 5 runs, against 0 of 5; before training already by 3, against 0"
    )
    # 0 of 0 is no ratio.
    both = verdict(claim, *(cell([1, 1], variant=name, seed=seed) for name in ("hybrid", "ppo") for seed in range(5)))
    assert both.answer == "undecided"
    assert np.isnan(both.effect.value)


def test_without_a_run_at_the_threshold_a_claim_is_undecided():
    for factor in (None, 1 / 3, 3.0):
        claim = a_claim("macro_steps_to_threshold", "lower", factor)
        found = verdict(claim, *arrives("hybrid", None), *arrives("ppo", None))
        assert found.answer == "undecided"
        assert found.effect.value == pytest.approx(factor or 1)
        assert found.improvement.value == 0.5


def test_a_factor_is_not_refuted_by_the_end_of_the_budget():
    # Hybrid arrives at 400 to 500 and PPO not within 1000: the ratio may well be below a third, or above.
    runs = [*arrives("hybrid", 4), *arrives("ppo", None)]
    assert verdict(a_claim("macro_steps_to_threshold", "lower", 1 / 3), *runs).answer == "undecided"
    assert verdict(a_claim("macro_steps_to_threshold", "lower", 0.6), *runs).answer == "holds"
    # PPO arriving at 900 to 1000 does refute it.
    assert (
        verdict(a_claim("macro_steps_to_threshold", "lower", 1 / 3), *arrives("hybrid", 4), *arrives("ppo", 9)).answer
        == "does not hold"
    )


def test_without_a_threshold_there_is_no_time_to_it():
    found = verdict(
        a_claim("macro_steps_to_threshold", "lower"),
        *arrives("hybrid", 1),
        *arrives("ppo", 3),
        tasks=[task(threshold=None)],
    )
    assert found.answer == "undecided"
    assert found.effect is None
    assert found.tasks[0].note == "the task has no threshold"


def test_few_runs_decide_nothing_but_are_shown():
    found = verdict(a_claim("final"), *ends("hybrid", 0.9), *ends("ppo", 0.1, seeds=4))
    assert found.answer == "undecided"
    assert found.effect is None
    assert found.tasks[0].effect.value == pytest.approx(0.8, abs=0.02)
    assert found.tasks[0].seeds == (5, 4)
    assert found.tasks[0].note == "a verdict needs 5 runs of each"


def test_a_variant_without_runs_is_named():
    found = verdict(a_claim("final"), *ends("hybrid", 0.9))
    assert found.answer == "undecided"
    assert found.tasks[0].note == "no finished run of ppo"


TWO = [task("a"), task("b", high=10.0)]


def test_a_claim_that_holds_on_one_task_and_not_on_another_depends_on_the_task():
    found = verdict(
        a_claim("final"),
        *ends("hybrid", 0.9, on="a"), *ends("ppo", 0.5, on="a"),
        *ends("hybrid", 0.5, on="b"), *ends("ppo", 0.6, on="b"),
        tasks=TWO,
    )  # fmt: skip
    assert found.answer == "depends on the task"
    assert (found.on("holds"), found.on("does not hold"), found.on("undecided")) == (("a",), ("b",), ())


@pytest.mark.parametrize(
    ("answers", "together", "expected"),
    [
        (("holds", "undecided"), "holds", "holds"),
        (("undecided", "undecided"), "does not hold", "does not hold"),
        (("holds", "undecided"), "undecided", "undecided"),
        (("does not hold", "undecided"), "holds", "depends on the task"),  # small there, and large elsewhere
        (("holds", "undecided"), "does not hold", "depends on the task"),
    ],
)
def test_a_task_with_the_opposite_verdict_makes_the_claim_depend_on_the_task(answers, together, expected):
    tasks = tuple(TaskVerdict(f"task {at}", answer, (5, 5)) for at, answer in enumerate(answers))
    assert over_tasks(tasks, together) == expected


def test_scores_of_tasks_are_scaled_before_they_are_taken_together():
    found = verdict(
        a_claim("final"),
        *ends("hybrid", 0.9, on="a"), *ends("ppo", 0.5, on="a"),
        *ends("hybrid", 5.0, on="b"), *ends("ppo", 2.0, on="b"),
        tasks=TWO,
    )  # fmt: skip
    assert found.answer == "holds"
    # On the common scale hybrid is at 0.9 and 0.5 and PPO at 0.5 and 0.2; the middle half has as much of both tasks.
    assert found.effect.value == pytest.approx((0.9 + 0.5) / 2 - (0.5 + 0.2) / 2, abs=0.02)
    assert found.tasks[1].effect.value == pytest.approx(3.0, abs=0.02)


def test_an_undecided_task_does_not_stop_the_others():
    found = verdict(
        a_claim("final"),
        *ends("hybrid", 0.9, on="a"), *ends("ppo", 0.5, on="a"),
        *ends("hybrid", 0.9, on="b", seeds=3), *ends("ppo", 0.2, on="b"),
        tasks=TWO,
    )  # fmt: skip
    assert found.answer == "holds"
    assert found.on("undecided") == ("b",)
    assert found.seeds == (3, 5)
    assert found.effect.value == pytest.approx(0.4)  # task b would have made it 0.55


def test_a_claim_is_about_the_tasks_its_patterns_name():
    tasks = [task("drone-near"), task("drone-far"), task("pendulum")]
    names = {
        patterns: [found.name for found in study(tasks).tasks_of(a_claim(tasks=list(patterns)))]
        for patterns in (("drone-*",), ("*-far", "pendulum"), ("*",))
    }
    assert names[("drone-*",)] == ["drone-near", "drone-far"]
    assert names[("*-far", "pendulum")] == ["drone-far", "pendulum"]
    assert len(names[("*",)]) == 3


def test_a_claim_about_no_task_is_undecided():
    found = verdict(a_claim(tasks=("quadrotor-*",)), *ends("hybrid", 1), *ends("ppo", 0))
    assert (found.answer, found.tasks, found.effect, found.seeds) == ("undecided", (), None, (0, 0))


def test_all_claims_are_judged_in_their_order_and_the_same_again():
    claims = [a_claim("final"), a_claim("area", name="second")]
    plan, runs = study(claims=claims), cells(*ends("hybrid", 0.9), *ends("ppo", 0.5))
    first, again = judge(plan, runs, rng()), judge(plan, runs, rng())
    assert [found.claim.name for found in first] == ["better", "second"]
    assert first == again
