"""What ``rltrack bench`` measures: that every figure is there and means what its name says. Not how large it is."""

import json

import pytest
import torch

from rl_tracking.agents.collect import branching
from rl_tracking.envs.simulator import Simulator, world_keys
from rl_tracking.envs.vec_env import make_scenario
from rl_tracking.errors import UsageError
from rl_tracking.restoring import watching
from rl_tracking.runs import benchmark
from rl_tracking.runs.benchmark import measuring, simulation, training
from tests.helpers import BENCH

BENCH_PARTS = "device threads simulator gym_make branches state adapter watching training training_attention"


@pytest.fixture(scope="module")
def result():
    return benchmark.run("cpu", BENCH)


def test_every_part_is_measured_and_is_json(result):
    assert list(result) == [*BENCH_PARTS.split(), "training_best_batch"]
    assert json.loads(json.dumps(result, allow_nan=False)) == result


def test_the_simulator_steps_every_batch_of_every_preset(result):
    rows = [(row["preset"], row["worlds"], row["threads"], row["compiled"]) for row in result["simulator"]]
    assert rows == [(preset, worlds, 1, False) for preset in ("drone", "sandbox") for worlds in BENCH.worlds]
    for row in result["simulator"]:
        assert row["steps_per_second"] == pytest.approx(row["worlds"] / row["seconds"])
    assert [row["preset"] for row in result["gym_make"]] == ["drone", "sandbox"]
    assert all(row["steps_per_second"] > 0 for row in result["gym_make"])


@pytest.mark.parametrize("part", ["training", "training_attention"])
def test_ratios_to_ppo_follow_from_the_rates(result, part):
    ppo, hybrid, ppo_all = result[part]["rows"]
    assert [row["algorithm"] for row in (ppo, hybrid, ppo_all)] == ["PPO", "HybridGRPO", "PPO"]
    assert (ppo["worlds"], hybrid["worlds"], ppo_all["worlds"]) == (4, 4, 32)
    assert hybrid["simulator_steps_per_second"] == 8 * hybrid["macro_steps_per_second"]
    same = hybrid["macro_steps_per_second"] / ppo["macro_steps_per_second"]
    assert result[part]["macro_steps_ratio_to_ppo"] == pytest.approx(same)
    for_steps = hybrid["simulator_steps_per_second"] / ppo_all["simulator_steps_per_second"]
    assert result[part]["simulator_steps_ratio_to_ppo_with_all_worlds"] == pytest.approx(for_steps)


def test_the_best_batch_is_the_fastest_and_says_its_settings(result):
    measured = result["training_best_batch"]
    assert [(row["worlds"], row["n_steps"], row["batch_size"], row["n_epochs"]) for row in measured["rows"]] == [
        (4, 4, 4, 4),
        (8, 4, 8, 4),
    ]
    assert measured["best"]["macro_steps_per_second"] == max(row["macro_steps_per_second"] for row in measured["rows"])


def test_the_adapter_is_measured_against_its_steps():
    pytest.importorskip("mujoco")
    measured = simulation.adapter(BENCH)
    assert measured["branching_ratio_to_steps"] > 1
    assert measured["us_per_world"] > 0


def test_the_adapter_says_why_it_was_not_measured(monkeypatch):
    monkeypatch.setattr(simulation, "ADAPTED", "NoSuchEnv-v0")
    measured = simulation.adapter(BENCH)
    assert set(measured) == {"environment", "skipped"}
    assert "NoSuchEnv-v0" in measured["skipped"]


def test_watching_is_measured_against_the_same_training_without(monkeypatch):
    watched = []

    class Counted(watching.Watch):
        def execute(self, step, *, wrapped):
            watched.append(self)
            return super().execute(step, wrapped=wrapped)

    monkeypatch.setattr(branching, "Watch", Counted)
    monkeypatch.setattr(training, "WATCHED", ("CartPole-v1", "NoSuchEnv-v0"))
    measured, missing = training.watching(BENCH)
    assert (measured["environment"], measured["samples"], measured["turns"]) == ("CartPole-v1", 4, 1)
    assert 0.2 < measured["ratio"] < 5
    assert len(watched) == 2 * training._TURN  # of the four rollouts, those that are watched
    assert "NoSuchEnv-v0" in missing["skipped"]


def test_a_device_that_is_not_there_is_refused_before_anything_is_measured():
    with pytest.raises(UsageError, match="device 'gpu' cannot be used here, try 'cpu'"):
        benchmark.run("gpu")


def test_cuda_has_more_worlds():
    sizes = measuring.Sizes()
    assert sizes.worlds_on("cuda")[-1] == 1_048_576
    assert sizes.worlds_on("cuda:0") == sizes.worlds_on("cuda")
    assert sizes.worlds_on("cpu")[-1] == 16_384


@pytest.mark.filterwarnings("ignore")  # of the compiler
@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_what_is_compiled_is_the_simulators_step(compiled):
    simulator = Simulator(make_scenario("pursuit"))
    state = simulator.initial(world_keys(0, 3))
    action = torch.full((3, *simulator.action_shape), 0.5)
    after, observation, reward, terminated, truncated = simulation.stepper(simulator, compiled=compiled)(state, action)
    expected = simulator.transition(state, action)
    torch.testing.assert_close(after.tensors(), expected.after.tensors())
    torch.testing.assert_close(observation, expected.observation)
    torch.testing.assert_close(reward, expected.reward)
    assert torch.equal(terminated | truncated, expected.done)


def test_a_step_that_fails_is_named_and_the_others_are_measured(monkeypatch):
    def no_compiler(simulator, *, compiled):
        def fail(state, action):
            raise RuntimeError("no compiler\nmore words")

        return fail

    monkeypatch.setattr(simulation, "stepper", no_compiler)
    rows = simulation.steps("cpu", BENCH)
    assert {row["skipped"] for row in rows} == {"no compiler"}


@pytest.mark.gpu
def test_every_part_is_measured_on_cuda():
    measured = benchmark.run("cuda", BENCH)
    assert {row["compiled"] for row in measured["simulator"]} == {False, True}
    assert max(row["worlds"] for row in measured["simulator"]) == 256
