"""``rltrack bench``, on a few small worlds."""

import json

import pytest

from rl_tracking.runs import benchmark
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
