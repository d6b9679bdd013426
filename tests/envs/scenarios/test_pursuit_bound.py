"""The bound of a pursuit: against closed forms, and against everything that flies, episode by episode."""

import math

import pytest
import torch

from rl_tracking.agents.saving.checkpoint import load_policy
from rl_tracking.envs.noise import world_keys
from rl_tracking.envs.scenarios.pursuit.bound import reach_at_start
from rl_tracking.envs.simulator import Simulator
from rl_tracking.envs.vec_env import make_scenario
from rl_tracking.runs.shipped import shipped_checkpoints
from rl_tracking.runs.tasks import ScenarioTask, pilot_of
from rl_tracking.runs.tasks.scenario_episodes import ControllerPilot, fly

pytestmark = pytest.mark.filterwarnings("ignore::rl_tracking.errors.SettingWarning")  # fast targets, long steps
STILL = {"motion": "stationary", "max_steps": 80}
ROUNDING = 1e-9


def flown(scenario, pilot, keys, skip=0):
    """Each metric of each episode ``[B]``, NaN where it has none."""
    episodes = fly(Simulator(scenario), pilot, keys, skip)
    totals = episodes.layout.values(episodes.totals, episodes.steps, episodes.dt, skip=skip, skipped=episodes.skipped)
    return {name: value.double() for name, value in totals.items()}


def check_not_beaten(scenario, pilot, keys, skip=0):
    bound, found = scenario.bound(keys, skip), flown(scenario, pilot, keys, skip)
    for metric in scenario.metrics:
        if metric.name not in bound:
            continue
        best, value = bound[metric.name], found[metric.name]
        if metric.statistic == "first":  # never, where there is no number
            best, value = best.nan_to_num(math.inf), value.nan_to_num(math.inf)
        margin = value - best if metric.better == "down" else best - value
        margin = margin.nan_to_num(0.0)  # never and never
        assert float(margin.min()) >= -ROUNDING, f"{metric.name} of {pilot.name} in episode {int(margin.argmin())}"


def straight_at(aim):
    """A controller at full thrust towards a point of every world, ``[B, D]``."""

    def act(scenario, state):
        offset = aim.unsqueeze(1) - state.position
        return (offset / offset.norm(dim=-1, keepdim=True).clamp(min=1e-6)).flatten(1)

    return act


@pytest.mark.parametrize("parameters", [{}, {"drag": [0.1, 0.5], "max_speed": [8, 18]}, {"dimensions": 2}])
def test_full_thrust_at_a_still_target_is_as_soon_as_the_bound(parameters):
    scenario = make_scenario("pursuit", **STILL, **parameters)
    keys = world_keys(3, 100)
    target = Simulator(scenario).initial(keys).target_position
    found = flown(scenario, ControllerPilot("straight", straight_at(target), scenario), keys)
    # Equal but for one step where rounding, for which the bound leaves room, decides.
    late = (found["time_to_capture"] - scenario.bound(keys)["time_to_capture"]) / scenario.dt
    assert float(late.min()) >= -ROUNDING
    assert float((late > 0.5).double().mean()) <= 0.02
    assert float(late.max()) < 1.5


def test_without_drag_lag_and_speed_limit_the_way_is_half_a_t_squared():
    scenario = make_scenario("pursuit", **STILL, drag=0.0, motor_lag=0.0, max_speed=500.0, max_acceleration=10.0)
    keys = world_keys(0, 50)
    state = Simulator(scenario).initial(keys)
    way = (state.target_position - state.position[:, 0]).norm(dim=-1) - 2.0
    steps = (torch.sqrt(2.0 * way.clamp(min=0.0) / 10.0) / 0.1).ceil().clamp(min=1.0)
    torch.testing.assert_close(scenario.bound(keys)["time_to_capture"], steps.double() * 0.1)


def test_a_kinematic_pursuer_comes_one_step_length_nearer_on_every_axis():
    scenario = make_scenario("pursuit", **STILL, dynamics="kinematic", step_length=0.5, spawn="near", spawn_radius=30.0)
    keys = world_keys(0, 50)
    state = Simulator(scenario).initial(keys)
    offset = (state.target_position - state.position[:, 0]).abs().double()
    bound = scenario.bound(keys)
    for world in range(50):
        near = [(offset[world] - 0.5 * step).clamp(min=0.0).norm() <= 2.0 for step in range(1, 81)]
        assert bound["time_in_radius"][world] == pytest.approx(sum(near) / 80)


def test_a_target_is_met_on_its_way_through_a_step():
    # It passes within reach in the middle of a step, with both ends out of reach.
    scenario = make_scenario("pursuit", dt=1.0, capture_radius=0.5, max_acceleration=0.001, substeps=1)
    state = Simulator(scenario).initial(world_keys(0, 1))
    reach = reach_at_start(scenario, state)
    later = reach.after(state.wind)
    before, after = (torch.tensor([[[x, 0.4, 0.0]]], dtype=torch.float64) for x in (-3.0, 3.0))
    assert float(reach.gap(before)) > 0.5 < float(later.gap(after))
    assert bool(reach.passed(later, before, after, 0.5))
    assert not bool(reach.passed(later, before + 0.2, after + 0.2, 0.5))


def test_where_the_target_moves_last_it_can_be_captured_while_it_moves():
    scenario = make_scenario("pursuit", preset="sandbox", motion="lissajous", target_speed=150.0, max_steps=60)
    keys = world_keys(0, 300)
    simulator = Simulator(scenario)
    states = [simulator.initial(keys)]
    for _ in range(60):
        states.append(simulator.transition(states[-1], torch.zeros(300, 3)).after)
    target = torch.stack([state.target_position for state in states]).double()
    # The target on its way through each step, and its distance from all places that are reached before it moves.
    share = torch.linspace(0, 1, 101, dtype=torch.float64).view(-1, 1, 1, 1)
    way = target[:-1] + share * (target[1:] - target[:-1]) - states[0].position[:, 0].double()
    half = 10.0 * torch.arange(1, 61).view(1, -1, 1, 1)
    met = ((way.abs() - half).clamp(min=0).norm(dim=-1) <= 15.0).any(dim=0)
    first = torch.where(met.any(dim=0), met.double().argmax(dim=0) + 1.0, math.nan)
    early = first - scenario.bound(keys)["time_to_capture"]
    assert float(early.min()) >= 0.0
    assert float((early == 0.0).double().mean()) > 0.9


WORLDS = {
    "drone": {},
    "plane": {"dimensions": 2, "target_speed": [2, 12]},
    "gusts, ranges, three pursuers": {
        "wind_speed": 6.0,
        "pursuers": 3,
        "drag": [0.1, 0.9],
        "max_acceleration": [5, 20],
    },
    "a fast target": {"motion": "lissajous", "target_speed": 25.0, "max_speed": 6.0},
    "capture ends": {"capture_terminates": True},
    "kinematic in wind": {"dynamics": "kinematic", "step_length": 0.5, "wind_speed": 3.0},
    "sandbox": {"preset": "sandbox"},
    "sandbox, two pursuers": {"preset": "sandbox", "pursuers": 2, "motion": "circle", "target_speed": 30.0},
}


@pytest.mark.parametrize("world", WORLDS)
def test_no_controller_beats_it_in_any_episode(world):
    scenario = make_scenario("pursuit", **{"max_steps": 80, **WORLDS[world]})
    task, keys = ScenarioTask(scenario), world_keys(11, 50)
    for name in ("random", "pure-pursuit", "lead-pursuit", "pronav"):
        check_not_beaten(scenario, task.controller(name), keys, skip=10)


@pytest.mark.parametrize("name", ["mppi:branches=64,horizon=12", "mppi-clairvoyant:branches=64,horizon=12"])
def test_no_planner_beats_it_in_any_episode(name):
    scenario = make_scenario("pursuit", max_steps=60)
    check_not_beaten(scenario, ScenarioTask(scenario).controller(name), world_keys(11, 20))


@pytest.mark.parametrize("name", sorted(shipped_checkpoints()))
def test_no_trained_policy_beats_it_in_any_episode(name):
    preset = name.removeprefix("pursuit-")
    scenario = make_scenario("pursuit", preset=preset, max_steps=80)
    check_not_beaten(
        scenario, pilot_of(ScenarioTask(scenario), load_policy(shipped_checkpoints()[name])), world_keys(7, 100)
    )


@pytest.mark.parametrize("world", ["drone", "gusts, ranges, three pursuers", "kinematic in wind"])
def test_who_knows_where_to_meet_the_target_does_not_beat_it_either(world):
    scenario = make_scenario("pursuit", **{"max_steps": 80, **WORLDS[world]})
    keys = world_keys(5, 40)
    simulator = Simulator(scenario)
    state = simulator.initial(keys)
    steps = (scenario.bound(keys)["time_to_capture"] / scenario.dt).nan_to_num(1.0).round()
    aim = state.target_position
    for step in range(1, 81):
        state = simulator.transition(state, torch.zeros(40, *simulator.action_shape)).after
        aim = torch.where((steps == step).unsqueeze(-1), state.target_position, aim)
    check_not_beaten(scenario, ControllerPilot("straight", straight_at(aim), scenario), keys)


def test_where_pursuers_move_the_target_there_is_none():
    task = ScenarioTask(make_scenario("pursuit", preset="sandbox", author_bugs=True))
    assert task.bound(5, 0) is None


def test_the_default_task():
    found = ScenarioTask(make_scenario("pursuit")).bound(200, 1_000_000)
    figures = {name: round(figure["value"], 2) for name, figure in found.items()}
    assert figures == {"capture_rate": 1.0, "time_in_radius": 0.94, "time_to_capture": 2.7, "mean_distance": 1.54}
