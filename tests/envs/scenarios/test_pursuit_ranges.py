"""Parameters of a pursuit that are given as a range: drawn for every episode and kept in the state."""

import json

import pytest
import torch

from rl_tracking.envs.noise import world_keys
from rl_tracking.envs.parts.dynamics import Body
from rl_tracking.envs.scenarios.pursuit.drawn import MAY_VARY
from rl_tracking.envs.scenarios.pursuit.scenario import make_pursuit
from rl_tracking.envs.simulator import Simulator
from rl_tracking.envs.vec_env import make_vec
from rl_tracking.errors import UsageError
from tests.helpers import play, random_actions

RANGES = {
    "max_acceleration": [5.0, 15.0],
    "max_speed": [9.0, 18.0],
    "drag": [0.0, 0.6],
    "motor_lag": [0.0, 0.3],
    "wind_speed": [0.0, 4.0],
    "target_speed": [2.0, 6.0],
}
MOTIONS = ("stationary", "cube", "circle", "lissajous", "random-walk")


def drawn(name, parameters, worlds=2000):
    state = Simulator(make_pursuit(**parameters)).initial(world_keys(0, worlds))
    return state.drawn[:, [key for key in MAY_VARY if key in parameters].index(name)]


def test_every_parameter_that_may_vary_is_tested_here():
    assert set(RANGES) == set(MAY_VARY)


@pytest.mark.parametrize("name", RANGES)
def test_draws_fill_the_range_and_differ_between_episodes(name):
    low, high = RANGES[name]
    values = drawn(name, RANGES)
    assert low <= values.min() < low + 0.02 * (high - low)
    assert high - 0.02 * (high - low) < values.max() <= high
    assert values.mean().item() == pytest.approx((low + high) / 2, rel=0.05)
    simulator = Simulator(make_pursuit(**RANGES))
    first = simulator.initial(world_keys(0, 50))
    assert (simulator.restart(first).drawn != first.drawn).all()
    after = simulator.transition(first, torch.zeros(50, 3)).after
    assert torch.equal(after.drawn, first.drawn)


@pytest.mark.parametrize("motion", MOTIONS)
@pytest.mark.parametrize("pursuers", [1, 2])
def test_a_range_without_width_is_its_number(motion, pursuers):
    numbers = {"max_acceleration": 12.0, "max_speed": 11.0, "drag": 0.3, "motor_lag": 0.2, "wind_speed": 2.0}
    numbers["target_speed"] = 5.0
    common = {"motion": motion, "pursuers": pursuers, "max_steps": 30}
    fixed = make_vec("pursuit", 6, seed=3, **common, **numbers)
    ranged = make_vec("pursuit", 6, seed=3, **common, **{name: [value, value] for name, value in numbers.items()})
    fixed.reset(), ranged.reset()
    for action in random_actions(fixed, 25):
        fixed.step(action), ranged.step(action)
        one, other = fixed.get_state(), ranged.get_state()
        for name in ("position", "velocity", "target_position", "target_velocity", "wind"):
            torch.testing.assert_close(getattr(one, name), getattr(other, name), rtol=1e-4, atol=1e-3)


def test_each_world_flies_by_its_own_numbers():
    simulator = Simulator(make_pursuit(motion="stationary", **{**RANGES, "wind_speed": 0.0, "target_speed": 1.0}))
    scenario, worlds = simulator.scenario, 5
    state = simulator.initial(world_keys(1, worlds))
    action = torch.rand(worlds, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1
    for _ in range(20):
        before, state = state, simulator.transition(state, action).after
    for world in range(worlds):
        numbers = dict(
            zip(("max_acceleration", "max_speed", "drag", "motor_lag"), before.drawn[world, :4].tolist(), strict=True)
        )
        alone = make_pursuit(motion="stationary", wind_speed=0.0, target_speed=1.0, **numbers).dynamics
        body = Body(*(getattr(before, name)[world : world + 1] for name in ("position", "velocity", "acceleration")))
        expected = alone.step(body, action[world : world + 1].unsqueeze(1), None)
        inside = (expected.position == scenario.arena.clip(expected.position)).all()
        torch.testing.assert_close(state.acceleration[world : world + 1], expected.acceleration, rtol=1e-4, atol=1e-4)
        if inside:
            torch.testing.assert_close(state.velocity[world : world + 1], expected.velocity, rtol=1e-4, atol=1e-4)


def test_targets_keep_to_their_own_speed():
    simulator = Simulator(make_pursuit(motion="random-walk", target_speed=[1.0, 8.0]))
    state = simulator.initial(world_keys(0, 200))
    for _ in range(40):
        state = simulator.transition(state, torch.zeros(200, 3)).after
    share = state.target_velocity.norm(dim=-1) / state.drawn[:, 0]
    assert share.max() <= 1 + 1e-5
    assert share.max() > 0.99


def test_drawn_parameters_survive_a_restore():
    env = make_vec("pursuit", 4, seed=0, max_steps=12, **RANGES)
    env.reset()
    actions = random_actions(env, 30)
    play(env, actions[:5])
    saved = env.get_state()
    first = play(env, actions)
    env.set_state(type(saved).from_bytes(saved.to_bytes()))
    assert play(env, actions) == first


def test_parameters_with_ranges_are_json_and_make_the_same_scenario():
    scenario = make_pursuit(**RANGES)
    again = make_pursuit(**json.loads(json.dumps(scenario.parameters)))
    assert again.parameters == scenario.parameters
    assert scenario.facts.speed_limit == 18.0
    assert scenario.facts.action_scale == 15.0


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ([3.0, 1.0], "wind_speed of scenario 'pursuit' must be "),
        ([1.0], "wind_speed of scenario 'pursuit' must be "),
        ([0.0, 1e9], "wind_speed of scenario 'pursuit' must be "),
    ],
)
def test_ranges_that_make_no_sense(value, said):
    with pytest.raises(UsageError, match=said) as error:
        make_pursuit(wind_speed=value)
    assert "\n" not in str(error.value)
