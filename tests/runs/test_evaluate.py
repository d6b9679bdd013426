import json

import numpy as np
import pytest
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecNormalize

import rl_tracking
from rl_tracking import load_policy
from rl_tracking.agents.saving import checkpoint
from rl_tracking.envs.noise import world_keys
from rl_tracking.envs.scenarios.pursuit.metrics import METRICS
from rl_tracking.envs.simulator import Simulator
from rl_tracking.envs.totals import Totals
from rl_tracking.envs.vec_env import make_scenario
from rl_tracking.errors import UsageError
from rl_tracking.runs.evaluate import evaluate
from rl_tracking.runs.tasks import PolicyPilot, ScenarioTask, choose_task, pilot_of
from rl_tracking.runs.tasks.scenario_episodes import Episodes, fly
from tests.agents.toys import SMALL, LineVecEnv, hybrid, one_line, tracking
from tests.helpers import figures

FIGURES = ("capture_rate", "time_in_radius", "time_to_capture", "mean_distance", "return")
SHORT = {"max_steps": 30}


def short(**parameters):
    return make_scenario("pursuit", **{**SHORT, **parameters})


@pytest.fixture(scope="module")
def model():
    return hybrid(tracking(**SHORT)).learn(24)


@pytest.fixture(scope="module")
def path(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "checkpoint.zip"
    model.save(path)
    return path


def episodes(captured, distance=None, reward=None, alive=None, dt=0.5, in_radius=None, skip=0):
    """Hand-made episodes from rows of steps, ``[T, B]``."""
    captured = torch.tensor(captured, dtype=torch.bool)
    inside = captured if in_radius is None else torch.tensor(in_radius, dtype=torch.bool)
    alive = torch.ones_like(captured) if alive is None else torch.tensor(alive, dtype=torch.bool)
    fill = torch.ones(captured.shape)
    distance = fill if distance is None else torch.tensor(distance, dtype=torch.float32)
    reward = fill if reward is None else torch.tensor(reward, dtype=torch.float32)
    layout = Totals(METRICS)
    totals = skipped = layout.start(captured.shape[1])
    for step, (near, within, way, flying) in enumerate(zip(captured, inside, distance, alive, strict=True)):
        measures = {"captured": near, "in_radius": within, "distance": way}
        after = layout.updated(totals, measures, torch.full_like(near, step + 1, dtype=torch.int64))
        totals = torch.where(flying.unsqueeze(-1), after, totals)
        skipped = totals if step + 1 == skip else skipped
    return Episodes(layout, totals, (reward * alive).sum(dim=0), alive.sum(dim=0), dt, skip, skipped)


# -- figures of episodes made by hand ---------------------------------------------------------------------------------


def values(flown):
    return {name: figure["value"] for name, figure in figures(flown).items()}


def test_figures_by_hand():
    flown = episodes(
        captured=[[0, 1, 0], [1, 1, 0], [0, 1, 0], [1, 1, 0]],
        distance=[[9, 1, 5], [1, 1, 5], [3, 1, 5], [1, 1, 5]],
        reward=[[1, 0, 0], [1, 2, -1], [1, 0, 0], [1, 0, 0]],
    )
    found = values(flown)
    assert found["capture_rate"] == pytest.approx(2 / 3)
    assert found["time_in_radius"] == pytest.approx((2 / 4 + 1 + 0) / 3)
    # Captured at the end of the second and of the first step of .5 s; the third episode doesn't count.
    assert found["time_to_capture"] == pytest.approx((1.0 + 0.5) / 2)
    assert found["mean_distance"] == pytest.approx((14 / 4 + 1 + 5) / 3)
    assert found["return"] == pytest.approx((4 + 2 - 1) / 3)


def test_a_capture_within_a_step_adds_no_time_in_radius():
    found = values(episodes(captured=[[0, 0], [1, 1], [0, 1]], in_radius=[[0, 0], [0, 0], [0, 1]]))
    assert found["capture_rate"] == 1.0
    assert found["time_to_capture"] == pytest.approx(1.0)
    assert found["time_in_radius"] == pytest.approx((0 + 1 / 3) / 2)


def test_skipped_steps_count_for_time_and_distance_alone():
    flown = episodes(
        captured=[[1, 0], [0, 0], [1, 0], [1, 1]],
        distance=[[2, 90], [9, 80], [1, 30], [2, 10]],
        reward=[[5, 1], [1, 1], [1, 1], [1, 1]],
        skip=2,
    )
    found = values(flown)
    assert found["time_in_radius"] == pytest.approx((1 + 0.5) / 2)
    assert found["mean_distance"] == pytest.approx((1.5 + 20) / 2)
    assert found["capture_rate"] == 1.0
    assert found["time_to_capture"] == pytest.approx((0.5 + 2.0) / 2)
    assert found["return"] == pytest.approx((8 + 4) / 2)


def test_steps_after_the_end_do_not_count():
    flown = episodes(
        captured=[[0, 0], [1, 0], [1, 0], [1, 0]],
        distance=[[8, 4], [2, 4], [99, 4], [99, 4]],
        reward=[[1, 1], [2, 1], [50, 1], [50, 1]],
        alive=[[1, 1], [1, 1], [0, 1], [0, 1]],
    )
    found = values(flown)
    assert found["time_in_radius"] == pytest.approx((1 / 2 + 0) / 2)
    assert found["mean_distance"] == pytest.approx((5 + 4) / 2)
    assert found["return"] == pytest.approx((3 + 4) / 2)


def test_an_episode_shorter_than_the_skipped_steps_has_no_share():
    flown = episodes(
        captured=[[1, 0], [1, 0], [1, 1]], distance=[[1, 7], [99, 7], [99, 3]], alive=[[1, 1], [0, 1], [0, 1]], skip=1
    )
    found = values(flown)
    assert found["time_in_radius"] == pytest.approx(0.5)
    assert found["mean_distance"] == pytest.approx(5)
    assert found["capture_rate"] == 1.0


def test_episodes_without_a_capture_have_no_time_to_capture():
    found = figures(episodes(captured=[[0, 0], [0, 0]]))
    assert found["time_to_capture"] == {"value": None, "ci95": [None, None]}
    assert found["capture_rate"]["value"] == 0.0
    json.dumps(found, allow_nan=False)


# -- flying -----------------------------------------------------------------------------------------------------------


class Steady:
    """Flies one way, and remembers what it was shown."""

    def __init__(self, action):
        self.name, self.action, self.shown, self.states = "steady", action, [], []

    def act(self, state, observation):
        self.shown.append(observation)
        self.states.append(state)
        return torch.tensor(self.action).expand(len(state), -1)


def test_two_policies_meet_the_same_episodes():
    scenario = short(wind_speed=3.0)
    left, right = Steady([-1.0, 0.0, 0.0]), Steady([1.0, 0.0, 0.0])
    for pilot in (left, right):
        evaluate(pilot, 7, scenario=scenario)
    assert torch.equal(left.shown[0], right.shown[0])
    for mine, theirs in zip(left.states, right.states, strict=True):
        assert torch.equal(mine.target_position, theirs.target_position)
        assert torch.equal(mine.wind, theirs.wind)
    assert not torch.equal(left.states[-1].position, right.states[-1].position)


def test_evaluated_episodes_equal_those_of_the_vec_env():
    """Against the vectorised env with the same keys, step by step."""
    scenario = short()
    flown = fly(Simulator(scenario), Steady([0.3, -0.2, 0.5]), world_keys(5, 6))
    env = tracking(6, seed=5, **SHORT)
    env.reset()
    action = np.tile(np.array([0.3, -0.2, 0.5], np.float32), (6, 1))
    total, distance, inside = np.zeros(6), np.zeros(6), np.zeros(6)
    for _ in range(30):
        _, reward, done, _ = env.step(action)
        measures = env.last_transition.measures
        total += reward
        distance += measures["distance"].numpy()
        inside += measures["in_radius"].numpy()
    assert done.all()
    found = flown.values()
    np.testing.assert_allclose(found["return"], total, rtol=1e-5)
    np.testing.assert_allclose(found["mean_distance"], distance / 30, rtol=1e-5)
    np.testing.assert_array_equal(found["time_in_radius"], inside / 30)
    assert flown.steps.tolist() == [30] * 6
    assert flown.dt == scenario.dt


def test_steps_after_a_terminating_capture_are_not_counted():
    scenario = short(capture_terminates=True, motion="stationary", max_steps=200)
    flown = fly(Simulator(scenario), pilot_of(ScenarioTask(scenario), "pure-pursuit"), world_keys(0, 20))
    found, lengths = flown.values(), flown.steps.numpy()
    # The step of the capture is the last one of its episode, and the only one within the radius.
    assert found["capture_rate"].tolist() == [1.0] * 20
    np.testing.assert_allclose(found["time_to_capture"], lengths * scenario.dt)
    np.testing.assert_allclose(found["time_in_radius"], 1.0 / lengths)
    assert lengths.min() < lengths.max() < 200


def test_the_same_seed_gives_the_same_figures_and_another_seed_others():
    scenario = short(wind_speed=2.0)
    first = evaluate("random", 20, scenario=scenario, seed=3)
    assert first == evaluate("random", 20, scenario=scenario, seed=3)
    assert first["mean_distance"] != evaluate("random", 20, scenario=scenario, seed=4)["mean_distance"]


def test_episodes_do_not_depend_on_how_many_are_flown():
    scenario, pilot = short(), Steady([0.1, 0.2, 0.3])
    few, many = (fly(Simulator(scenario), pilot, world_keys(0, number)) for number in (3, 9))
    assert torch.equal(few.totals, many.totals[:3])


def test_the_result_of_an_evaluation():
    found = evaluate("pure-pursuit", 11, scenario=short(), seed=5, skip=3)
    assert {name: found[name] for name in ("policy", "scenario", "preset", "episodes", "seed", "skip")} == {
        "policy": "pure-pursuit",
        "scenario": "pursuit",
        "preset": "drone",
        "episodes": 11,
        "seed": 5,
        "skip": 3,
    }
    for name in FIGURES:
        low, high = found[name]["ci95"]
        if name == "time_to_capture" and low is None:
            assert found["capture_rate"]["value"] <= 1 / 11, "of one episode or none"
        else:
            assert low <= found[name]["value"] <= high
    json.dumps(found, allow_nan=False)
    assert rl_tracking.evaluate is evaluate


# -- policies ---------------------------------------------------------------------------------------------------------


def test_a_model_its_file_and_the_loaded_policy_have_the_same_figures(model, path):
    by_path, by_policy, by_model = (evaluate(policy, 15) for policy in (path, load_policy(path), model))
    assert by_path == by_policy == by_model
    assert by_path["policy"] == "HybridGRPO"
    assert evaluate(str(path), 15) == by_path
    assert choose_task([load_policy(path)]).max_steps == 30


def test_parameters_of_a_checkpoint_s_task_can_be_replaced(path):
    policy = load_policy(path)
    found = evaluate(policy, 5, task=choose_task([policy], parameters={"max_steps": 7}))
    assert found["return"] != evaluate(policy, 5)["return"]
    task = choose_task([policy], parameters={"max_steps": 7, "wind_speed": 1.0})
    assert (task.parameters["wind_speed"], task.max_steps) == (1.0, 7)


def test_a_normalised_model_flies_with_its_moments(tmp_path):
    env = VecNormalize(tracking(**SHORT))
    model = PPO("MlpPolicy", env, n_steps=6, batch_size=24, policy_kwargs=SMALL, device="cpu", seed=0).learn(48)
    checkpoint.save(model, tmp_path / "x.zip")
    mine, theirs = evaluate(model, 15), evaluate(tmp_path / "x.zip", 15)
    for name in ("mean_distance", "return"):
        assert mine[name]["value"] == pytest.approx(theirs[name]["value"], rel=1e-4)
    assert env.obs_rms.count == pytest.approx(48 + 4, abs=1e-3)


def test_policies_are_evaluated_deterministically(model):
    pilot = PolicyPilot("mine", model)
    observation = torch.from_numpy(model.env.reset())
    np.testing.assert_array_equal(pilot.act(None, observation), pilot.act(None, observation))
    expected, _ = model.predict(observation.numpy(), deterministic=True)
    np.testing.assert_array_equal(pilot.act(None, observation), expected)


# -- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"policy": "pure-pursit"}, "'pure-pursit' is neither a checkpoint file nor a controller .*'pure-pursuit'"),
        ({"policy": "nowhere.zip"}, "checkpoint 'nowhere.zip' does not exist"),
        ({"policy": "hover", "episodes": 0}, "episodes must be 1 or more, not 0"),
        ({"policy": "hover", "skip": 400}, "skip must lie in 0..399, the episode's steps, not 400"),
        ({"policy": "hover", "skip": -1}, "not -1"),
    ],
)
def test_bad_arguments_are_refused_in_one_line(arguments, text):
    with pytest.raises(UsageError, match=text) as caught:
        evaluate(**arguments)
    one_line(caught)


@pytest.mark.parametrize("policy", [str, load_policy], ids=["path", "policy"])
def test_a_checkpoint_of_another_scenario_is_refused(policy, path):
    with pytest.raises(UsageError, match=r"trained in scenario pursuit drone, has observations Box\(.*\(18,\)") as c:
        evaluate(policy(path), scenario=make_scenario("pursuit", preset="sandbox"))
    assert "scenario pursuit sandbox has Box(" in one_line(c)
    with pytest.raises(UsageError, match="trained in scenario pursuit drone") as c:
        evaluate(path, scenario=short(dimensions=2))
    one_line(c)


def test_a_policy_without_a_task_is_refused():
    with pytest.raises(UsageError, match="needs a task or a scenario: this policy does not say where") as caught:
        evaluate(hybrid(LineVecEnv()))
    one_line(caught)
    with pytest.raises(UsageError, match="needs a task or a scenario"):
        evaluate(Steady([0.0, 0.0, 0.0]))


def test_a_preset_is_that_of_the_checkpoint_s_scenario(path):
    policy = load_policy(path)
    assert choose_task([policy], parameters={"preset": "sandbox"}).title == "pursuit sandbox"
    policy.description["scenario"] = {"name": "chess", "parameters": {}}
    with pytest.raises(UsageError, match="unknown scenario 'chess'"):
        choose_task([policy], parameters={"preset": "sandbox"})
