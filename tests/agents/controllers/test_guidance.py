from types import SimpleNamespace

import pytest
import torch

from rl_tracking import plugins
from rl_tracking.agents.controllers import guidance, options
from rl_tracking.envs.noise import world_keys
from rl_tracking.envs.simulator import Simulator
from rl_tracking.envs.vec_env import make_scenario
from rl_tracking.runs.evaluate import evaluate
from rl_tracking.runs.tasks.scenario_episodes import ControllerPilot, fly
from tests.helpers import facts, figures, pursuit_state

NAMES = ("random", "hover", "pure-pursuit", "lead-pursuit", "pronav")
ELSEWHERE = ("formation-keeping", "lawn-mower")  # controllers of other scenarios, tested beside this file
WORLDS = {
    "drone": {"motion": "stationary"},
    "drone in wind": {"motion": "stationary", "wind_speed": 2.0},
    "kinematic": {"preset": "sandbox", "motion": "stationary", "whole_units": False},
    "sandbox": {"preset": "sandbox", "motion": "stationary"},
    "flat": {"motion": "stationary", "dimensions": 2},
    "three pursuers": {"motion": "stationary", "pursuers": 3},
}


def length(vector):
    return torch.linalg.vector_norm(vector, dim=-1)


def flown(name, episodes=20, skip=0, **parameters):
    scenario = make_scenario("pursuit", **parameters)
    pilot = ControllerPilot(name, options.make(name), scenario)
    return fly(Simulator(scenario), pilot, world_keys(0, episodes), skip)


def test_every_controller_that_does_not_plan_is_tested_here():
    assert {*NAMES, *ELSEWHERE, *options.PLANNERS} == set(plugins.names("controller"))


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("name", ["pure-pursuit", "lead-pursuit", "pronav"])
def test_a_stationary_target_is_captured_and_kept(name, world):
    found = flown(name, skip=300, **WORLDS[world]).values()  # of 400 steps
    assert found["capture_rate"].tolist() == [1.0] * 20
    assert found["time_in_radius"].mean() > 0.95


@pytest.mark.parametrize("name", ["random", "hover"])
def test_who_does_not_look_does_not_capture_by_skill(name):
    found = figures(flown(name, 100, motion="stationary"))
    assert found["capture_rate"]["value"] < 0.3
    assert found["time_in_radius"]["value"] < 0.05


def test_leading_beats_chasing_a_target_that_moves():
    chased, led = (
        figures(flown(name, 60, skip=100, motion="lissajous", target_speed=12.0))
        for name in ("pure-pursuit", "lead-pursuit")
    )
    assert led["mean_distance"]["value"] < 0.8 * chased["mean_distance"]["value"]


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("name", NAMES)
def test_actions_are_within_the_space(name, world):
    scenario = make_scenario("pursuit", **{**WORLDS[world], "motion": "random-walk"})
    simulator = Simulator(scenario)
    controller, state = options.make(name), simulator.initial(world_keys(3, 50))
    for _ in range(30):
        action = controller(scenario, state)
        assert action.shape == (50, *simulator.action_shape)
        assert float(action.abs().max()) <= 1.0 + 1e-6
        assert bool(torch.isfinite(action).all())
        state = simulator.transition(state, action).after


def test_a_kinematic_pursuer_makes_the_wanted_displacement_at_once():
    world = SimpleNamespace(facts=facts(action_scale=5.0, commands_acceleration=False))
    state = pursuit_state([[[10, 10, 10]], [[0, 0, 0]]], [[12, 10, 6], [50, -50, 0]])
    expected = torch.tensor([[0.4, 0.0, -0.8], [1.0, -1.0, 0.0]])
    torch.testing.assert_close(guidance.pure_pursuit(world, state), expected)


def test_a_drone_brings_its_velocity_to_the_wanted_one():
    world = SimpleNamespace(facts=facts(action_scale=20.0, speed_limit=10.0, commands_acceleration=True))
    # 4 m away: wanted 4 / .8 = 5 m/s, flown 3 m/s, so (5 - 3) / .4 = 5 m/s^2 of 20.
    near = pursuit_state([[[0, 0, 0]]], [[4, 0, 0]], velocity=[[[3, 0, 0]]])
    torch.testing.assert_close(guidance.pure_pursuit(world, near), torch.tensor([[0.25, 0.0, 0.0]]))
    # 80 m away: the speed limit, and the command at its limit too.
    far = pursuit_state([[[0, 0, 0]]], [[0, 80, 0]])
    torch.testing.assert_close(guidance.pure_pursuit(world, far), torch.tensor([[0.0, 1.0, 0.0]]))


def test_on_the_target_at_its_velocity_nothing_is_commanded():
    world = SimpleNamespace(facts=facts(action_scale=20.0, commands_acceleration=True))
    state = pursuit_state([[[5, 5, 5]]], [[5, 5, 5]], velocity=[[[2, 0, 1]]], target_velocity=[[2, 0, 1]])
    torch.testing.assert_close(guidance.lead_pursuit(world, state), torch.zeros(1, 3))
    assert float(guidance.pure_pursuit(world, state).abs().max()) > 0.1


@pytest.mark.parametrize(
    ("offset", "velocity", "speed", "expected"),
    [
        ((10, 0, 0), (0, 0, 0), 4.0, 2.5),
        ((10, 0, 0), (-1, 0, 0), 4.0, 2.0),
        ((10, 0, 0), (1, 0, 0), 4.0, 10 / 3),
        ((3, 0, 0), (0, 4, 0), 5.0, 1.0),  # 9 + 16 t^2 = 25 t^2
        ((10, 0, 0), (5, 0, 0), 4.0, torch.inf),
        ((0, 10, 0), (5, 0, 0), 3.0, torch.inf),  # 100 + 25 t^2 > 9 t^2
        ((10, 0, 0), (-5, 0, 0), 3.0, 1.25),  # meets at 1.25 s and, having passed, again at 5 s
        ((10, 0, 0), (-4, 0, 0), 4.0, 1.25),
        ((10, 0, 0), (-2.4, 3.2, 0), 4.0, 100 / 48),  # equal speeds: 100 = 48 t
        ((10, 0, 0), (4, 0, 0), 4.0, torch.inf),
        ((10, 0, 0), (0, 4, 0), 4.0, torch.inf),
        ((0, 0, 0), (0, 0, 0), 4.0, 0.0),
        ((0, 0, 0), (3, 0, 0), 4.0, 0.0),
        ((0, 0, 0), (5, 0, 0), 4.0, 0.0),
        ((10, 0, 0), (0, 0, 0), 0.0, torch.inf),
        ((10, 0, 0), (-2, 0, 0), 0.0, 5.0),
        ((6, 8), (0, 0), 5.0, 2.0),
    ],
)
def test_intercept_time(offset, velocity, speed, expected):
    offset, velocity = torch.tensor([[offset], [velocity]], dtype=torch.float32)
    assert guidance.intercept_time(offset, velocity, speed).item() == pytest.approx(expected)


def test_an_intercept_is_where_both_are_at_that_time():
    generator = torch.Generator().manual_seed(0)
    offset = torch.randn(5000, 3, generator=generator, dtype=torch.float64) * 30
    velocity = torch.randn(5000, 3, generator=generator, dtype=torch.float64) * 6
    time = guidance.intercept_time(offset, velocity, 8.0)
    met = torch.isfinite(time)
    flown = 8.0 * time[met]
    assert torch.allclose(length(offset + time.unsqueeze(-1) * velocity)[met], flown, rtol=1e-6)
    slower = length(velocity) < 8.0
    assert met[slower].all(), "a faster pursuer meets every target"
    assert 1000 < (~met).sum() < 4000
    # Nothing is met earlier: until then the target stays out of the reach of the pursuer.
    for share in (0.25, 0.5, 0.9, 0.999):
        earlier = (time * share)[met]
        gap = length(offset[met] + earlier.unsqueeze(-1) * velocity[met])
        assert (gap > 8.0 * earlier).all()


def test_lead_pursuit_flies_at_the_meeting_point():
    world = SimpleNamespace(facts=facts(action_scale=100.0, speed_limit=10.0, commands_acceleration=False))
    # The target crosses with 6 m/s at a range of 8 m: they meet after 1 s, 6 m to the side.
    state = pursuit_state([[[0, 0, 0]]], [[8, 0, 0]], target_velocity=[[0, 6, 0]])
    torch.testing.assert_close(guidance.lead_pursuit(world, state), torch.tensor([[0.08, 0.06, 0.0]]))


def test_a_target_too_fast_to_be_met_is_still_flown_at():
    world = SimpleNamespace(facts=facts(action_scale=100.0, speed_limit=10.0, commands_acceleration=False))
    state = pursuit_state([[[0, 0, 0]]], [[10, 0, 0]], target_velocity=[[30, 0, 0]])
    action = guidance.lead_pursuit(world, state)
    assert bool(torch.isfinite(action).all())
    assert float(action[0, 0]) > 0.1


def test_hover_and_random():
    scenario = make_scenario("pursuit", pursuers=2)
    state = Simulator(scenario).initial(world_keys(0, 2000))
    assert not bool(guidance.hover(scenario, state).any())
    action = guidance.random_policy(scenario, state)
    assert torch.equal(action, guidance.random_policy(scenario, state))
    assert float(action.mean()) == pytest.approx(0, abs=0.02)
    assert float(action.std()) == pytest.approx(1 / 3**0.5, rel=0.02)
    assert not torch.equal(action[:, :3], action[:, 3:])
    later = guidance.random_policy(scenario, state.replace(step=state.step + 1))
    assert float((later - action).abs().mean()) > 0.3


def test_controllers_fly_by_name():
    assert evaluate("lead-pursuit", 20)["capture_rate"]["value"] > 0.9
