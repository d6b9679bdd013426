"""``rltrack bench``, on a few small worlds."""

import functools
import json

import pytest

from rl_tracking.restoring.protocol import NotRestorableError
from rl_tracking.runs import benchmark
from rl_tracking.runs.benchmark import one_task
from rl_tracking.runs.tasks import GymnasiumTask, environment
from tests.helpers import BENCH


@pytest.fixture(scope="module")
def measured():
    return benchmark.run("cpu", BENCH)


@pytest.fixture
def quick(monkeypatch, measured):
    monkeypatch.setattr(benchmark, "run", {"cpu": measured}.__getitem__)


def test_tables_for_people(rltrack, quick):
    ended = rltrack("bench")
    assert (ended.code, ended.err) == (0, "")
    for said in (
        "World-steps a second on cpu",
        "HalfCheetah-v5",
        "training on CartPole-v1, watched / not watched",
        "MLP 64-64",
        "MHA of width",
        "(best)",
    ):
        assert said in ended.out
    assert max(map(len, ended.out.splitlines())) <= 100


def test_json_has_the_ratios(rltrack, quick):
    ended = rltrack("bench", "--json")
    assert (ended.code, ended.err) == (0, "")
    result = json.loads(ended.out)
    assert result["training"]["simulator_steps_ratio_to_ppo_with_all_worlds"] > 0
    assert result["training_best_batch"]["best"]["macro_steps_per_second"] > 0


def test_a_device_that_is_not_there_is_refused(refused):
    assert "device 'gpu' cannot be used here, try 'cpu'" in refused("bench", "--device", "gpu")


@pytest.mark.parametrize(
    ("where", "title"), [(["--env", "CartPole-v1"], "CartPole-v1"), (["--preset", "drone"], "drone")]
)
def test_one_task_is_measured(rltrack, monkeypatch, where, title):
    monkeypatch.setattr(one_task, "run", functools.partial(one_task.run, sizes=BENCH))
    ended = rltrack("bench", *where)
    assert (ended.code, ended.err) == (0, "")
    for said in (where[1], "world-steps/s", "8 branches / 8 steps", "HybridGRPO, N = 8", "PPO"):
        assert said in ended.out
    result = json.loads(rltrack("bench", *where, "--json").out)
    assert [row["worlds"] for row in result["steps"]] == list(BENCH.worlds)
    assert result["branches"]["branching_ratio_to_steps"] > 1
    ppo, hybrid = result["training"]["rows"]
    ratio = hybrid["macro_steps_per_second"] / ppo["macro_steps_per_second"]
    assert result["training"]["macro_steps_ratio_to_ppo"] == pytest.approx(ratio)


def test_a_task_that_cannot_branch_is_measured_without(monkeypatch):
    def refuse(*given, **more):
        raise NotRestorableError("CartPole-v1 is not restorable today")

    monkeypatch.setattr(environment, "RestorableGymVecEnv", refuse)
    result = one_task.run(GymnasiumTask("CartPole-v1"), sizes=BENCH)
    assert result["branches"]["skipped"] == result["training"]["skipped"] == "CartPole-v1 is not restorable today"
    assert len(result["steps"]) == len(BENCH.worlds)
