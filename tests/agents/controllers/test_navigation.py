"""Proportional navigation against closed forms, in space and in the plane."""

import math
from types import SimpleNamespace

import pytest
import torch

from rl_tracking.agents.controllers.navigation import LineOfSight, ProportionalNavigation
from rl_tracking.agents.controllers.options import NavigationOptions
from rl_tracking.envs.noise import world_keys
from rl_tracking.envs.simulator import Simulator
from rl_tracking.envs.vec_env import make_scenario
from rl_tracking.errors import UsageError
from rl_tracking.runs.evaluate import evaluate
from rl_tracking.runs.tasks import ScenarioTask
from tests.agents.toys import one_line
from tests.helpers import facts, pursuit_state

DRONE = facts(action_scale=20.0, speed_limit=10.0, commands_acceleration=True)


def navigation(constant=3.0):
    return ProportionalNavigation(NavigationOptions(navigation_constant=constant))


def test_the_command_is_n_times_closing_speed_times_the_rate_of_the_line_of_sight():
    # 40 m ahead, pursuer at (8, 0, 0), target at (-2, 3, 4): closing at 10 m/s, the line turns at (0, 3, 4) / 40.
    state = pursuit_state([[[0, 0, 0]]], [[40, 0, 0]], velocity=[[[8, 0, 0]]], target_velocity=[[-2, 3, 4]])
    sight = LineOfSight.of(state)
    torch.testing.assert_close(sight.closing_speed, torch.tensor([[[10.0]]]))
    torch.testing.assert_close(sight.rate, torch.tensor([[[0.0, 0.075, 0.1]]]))
    torch.testing.assert_close(navigation(4.0).turn(sight), torch.tensor([[[0.0, 3.0, 4.0]]]))
    # Along the line: sqrt(10^2 - 5^2) + 2 m/s can be closed at, 10 are, and the rest is to come within 0.4 s.
    along = (math.sqrt(75.0) + 2.0 - 10.0) / 0.4
    world = SimpleNamespace(facts=DRONE, dt=0.5)
    torch.testing.assert_close(navigation(4.0)(world, state), torch.tensor([[along, 3.0, 4.0]]) / 20.0)


def test_the_rate_of_the_line_of_sight_is_the_derivative_of_its_direction():
    generator = torch.Generator().manual_seed(0)
    for dimensions in (2, 3):
        place, aim, own, other = (
            torch.randn(50, dimensions, generator=generator, dtype=torch.float64) * scale
            for scale in (30.0, 30.0, 5.0, 5.0)
        )

        def direction(time, start=aim - place, relative=other - own):
            offset = start + time * relative
            return offset / offset.norm(dim=-1, keepdim=True)

        state = SimpleNamespace(
            position=place.unsqueeze(1), velocity=own.unsqueeze(1), target_position=aim, target_velocity=other
        )
        rate = (direction(1e-5) - direction(-1e-5)) / 2e-5
        torch.testing.assert_close(LineOfSight.of(state).rate.squeeze(1), rate, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("constant", [2.0, 3.0, 5.0])
def test_on_a_collision_course_at_full_speed_nothing_is_commanded(constant):
    # The target crosses at 6 m/s; (8, 6, 0) m/s meets it in 5 s: the line of sight keeps its direction.
    state = pursuit_state([[[0, 0, 0]]], [[40, 0, 0]], velocity=[[[8, 6, 0]]], target_velocity=[[0, 6, 0]])
    action = navigation(constant)(SimpleNamespace(facts=DRONE, dt=0.5), state)
    torch.testing.assert_close(action, torch.zeros(1, 3), atol=1e-6, rtol=0)


def test_a_kinematic_pursuer_on_a_collision_course_flies_on():
    world = SimpleNamespace(facts=facts(action_scale=5.0, commands_acceleration=False), dt=0.5)
    # Both cross with 6 m/s; the pursuer's limit is 10 m/s on each axis.
    state = pursuit_state([[[0, 0, 0]]], [[40, 0, 0]], velocity=[[[10, 6, 0]]], target_velocity=[[0, 6, 0]])
    torch.testing.assert_close(navigation()(world, state), torch.tensor([[1.0, 0.6, 0.0]]))
    # Flying straight at the target instead, closing at 10 m/s, it turns by 3 * 10 * 6 / 40 m/s^2 * 0.5 s = 2.25 m/s.
    state = state.replace(velocity=torch.tensor([[[10.0, 0.0, 0.0]]]))
    torch.testing.assert_close(navigation()(world, state), torch.tensor([[1.0, 0.225, 0.0]]))


def test_a_kinematic_pursuer_turns_no_further_than_the_line_of_sight_asks_for():
    world = SimpleNamespace(facts=facts(action_scale=5.0, commands_acceleration=False), dt=0.5)
    # 3 * 10 * 0.5 / 6 is more than 1: in this step it takes over all of the target's 4 m/s, and not 2.5 times as much.
    state = pursuit_state([[[0, 0, 0]]], [[6, 0, 0]], velocity=[[[10, 0, 0]]], target_velocity=[[0, 4, 0]])
    torch.testing.assert_close(navigation()(world, state), torch.tensor([[1.0, 0.4, 0.0]]))


def miss_distance(constant, target_velocity):
    """Least distance of the pure law, without limits on thrust: x'' = N Vc dlambda/dt, at constant steps of 1 ms."""
    law, step = navigation(constant), 1e-3
    position, velocity = torch.zeros(1, 1, 3, dtype=torch.float64), torch.zeros(1, 1, 3, dtype=torch.float64)
    velocity[..., 0], least = 10.0, math.inf
    target = torch.tensor([[40.0, 5.0, -8.0]], dtype=torch.float64)
    moving = torch.tensor([target_velocity], dtype=torch.float64)
    for _ in range(8000):
        state = SimpleNamespace(position=position, velocity=velocity, target_position=target, target_velocity=moving)
        sight = LineOfSight.of(state)
        least = min(least, sight.distance.item())
        if sight.closing_speed.item() < 0:
            break
        velocity = velocity + step * law.turn(sight)
        position, target = position + step * velocity, target + step * moving
    return least


@pytest.mark.parametrize("target_velocity", [(0.0, 0.0, 0.0), (-2.0, 4.0, 1.0)])
def test_it_hits_a_target_that_does_not_manoeuvre(target_velocity):
    assert miss_distance(3.0, target_velocity) < 0.05
    assert miss_distance(5.0, target_velocity) < 0.05


@pytest.mark.parametrize("parameters", [{}, {"dimensions": 2}, {"pursuers": 2}])
def test_it_captures_sooner_than_lead_pursuit_and_stays_as_much(parameters):
    task = ScenarioTask(make_scenario("pursuit", max_steps=150, **parameters))
    navigated, led = (evaluate(name, 40, task=task, seed=7) for name in ("pronav", "lead-pursuit"))
    assert navigated["capture_rate"]["value"] == 1.0
    assert navigated["time_to_capture"]["value"] < led["time_to_capture"]["value"] - 0.2
    assert navigated["time_in_radius"]["value"] > led["time_in_radius"]["value"] - 0.01


def test_options_are_read_from_the_name():
    task = ScenarioTask(make_scenario("pursuit", max_steps=40))
    values = [evaluate(name, 8, task=task) for name in ("pronav", "pronav:3", "pronav:navigation_constant=5")]
    assert [value["policy"] for value in values] == ["pronav", "pronav:3", "pronav:navigation_constant=5"]
    distances = [value["mean_distance"]["value"] for value in values]
    assert distances[0] == distances[1] != distances[2]


@pytest.mark.parametrize(
    ("spec", "hint"),
    [
        ("pronav:0", "navigation_constant of controller 'pronav' must be a number from 1 to 20, not 0"),
        ("pronav:fast", "navigation_constant of controller 'pronav' must be a number from 1 to 20, not 'fast'"),
        (
            "pronav:constant=3",
            "unknown option of controller 'pronav': 'constant'; known: navigation_constant",
        ),
        ("pronav:", "options of controller 'pronav' are given as pronav:navigation_constant=VALUE, not ''"),
        ("pronav:3,4", "navigation_constant of controller 'pronav' is given twice"),
        ("hover:3", "controller 'hover' takes no options; leave out ':3'"),
        ("pronaw:3", "unknown controller 'pronaw:3'; did you mean 'pronav'?"),
    ],
)
def test_wrong_options_are_refused_in_one_line(spec, hint):
    task = ScenarioTask(make_scenario("pursuit"))
    with pytest.raises(UsageError) as refused:
        task.controller(spec)
    assert one_line(refused) == hint


def test_it_acts_at_any_place_in_the_state_space():
    scenario = make_scenario("pursuit")
    state = Simulator(scenario).initial(world_keys(0, 3))
    on_target = state.replace(position=state.target_position.unsqueeze(1))
    assert bool(torch.isfinite(navigation()(scenario, on_target)).all())
