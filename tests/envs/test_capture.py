"""Capture is tested on the way of a step, not at its end alone; time in radius is counted at the ends."""

import numpy as np
import pytest
import torch

from rl_tracking.envs.geometry import least_length
from rl_tracking.envs.gym_env import TrackingEnv
from rl_tracking.envs.noise import world_keys
from rl_tracking.envs.parts.target_step import TargetStep
from rl_tracking.envs.scenarios.pursuit.scenario import make_pursuit
from rl_tracking.envs.simulator import Simulator
from rl_tracking.envs.vec_env import make_vec
from rl_tracking.runs.tasks.scenario_episodes import ControllerPilot, fly
from tests.helpers import figures, judged, pursuit_state, step_of

pytestmark = pytest.mark.filterwarnings("ignore:in one step of scenario", "ignore:the target of scenario")

# Ten metres a step past a target of radius 1: at no end of a step is the pursuer nearer than 5 m.
FAST = {
    "dynamics": "kinematic",
    "step_length": 10.0,
    "motion": "stationary",
    "target_spawn": "centre",
    "spawn": "at-target",
    "capture_radius": 1.0,
    "reward": "sparse",
}
THROUGH = [[1.0, 0.0, 0.0]]


def beside(state, x, y=0.0):
    """``state`` with the pursuer at an offset from the target."""
    return state.replace(position=state.target_position.unsqueeze(1) + torch.tensor([x, y, 0.0]))


def fast_env(**more):
    env = make_vec("pursuit", 1, seed=0, **FAST, **more)
    env.reset()
    return env


@pytest.mark.parametrize(("miss", "captured"), [(0.0, True), (0.99, True), (1.01, False), (3.0, False)])
def test_a_pursuer_flies_through_its_target(miss, captured):
    env = fast_env(max_steps=3)
    env.set_state(beside(env.get_state(), -15.0, miss))
    seen = []
    for _ in range(3):
        _, reward, _, infos = env.step(np.array(THROUGH))
        seen.append((*(env.last_transition.measures[name].item() for name in ("captured", "in_radius")), reward.item()))
    # It passes between the ends of the second step. What is paid for being there at the end of a step is not paid.
    assert seen == [(False, False, 0.0), (captured, False, 0.0), (False, False, 0.0)]
    assert infos[0]["is_success"] is captured
    assert infos[0]["episode"]["time_in_radius"] == 0.0


def test_it_ends_the_episode_where_capture_does():
    env = fast_env(capture_terminates=True)
    env.set_state(beside(env.get_state(), -15.0))
    ends = [env.step(np.array(THROUGH))[2].item() for _ in range(2)]
    assert ends == [False, True]


def test_gym_env_says_so_from_then_on():
    env = TrackingEnv("pursuit", **FAST)
    env.reset(seed=0)
    env.set_state(beside(env.get_state(), -15.0))
    assert [env.step(np.array(THROUGH[0]))[4]["is_success"] for _ in range(4)] == [False, True, True, True]


def test_evaluation_counts_the_capture_and_its_time_but_no_time_in_radius():
    simulator = Simulator(make_pursuit(**FAST, max_steps=4))

    def ahead(facts, state):
        return torch.tensor(THROUGH).expand(len(state), -1)

    # All start 15 m beside the target and fly over it in the second step, which ends after 0.2 s.
    initial = simulator.initial
    simulator.initial = lambda keys: beside(initial(keys), -15.0)
    flown = figures(fly(simulator, ControllerPilot("ahead", ahead, simulator.scenario), world_keys(0, 5)))
    found = {name: flown[name]["value"] for name in ("capture_rate", "time_to_capture", "time_in_radius")}
    assert found == {"capture_rate": 1.0, "time_to_capture": pytest.approx(0.2), "time_in_radius": 0.0}


def passed(start, end, target, then, **constants):
    """Whether a pursuer from ``start`` to ``end`` captures a target from ``target`` to ``then``, within 1 m."""
    step = judged(pursuit_state([[start]], [target]), pursuit_state([[end]], [then]), capture_radius=1.0, **constants)
    return step.captured.item()


def test_the_target_may_come_too():
    for last in (False, True):
        assert passed((0, 0, 0), (0, 0, 0), (-5, 0, 0), (5, 0.5, 0), target_moves_last=last)
        assert not passed((0, 0, 0), (0, 0, 0), (-5, 1.5, 0), (5, 1.5, 0), target_moves_last=last)


def test_who_moves_first_matters():
    # They change places: at the same time they meet half-way; one after the other they meet where each stands.
    assert passed((0, 0, 0), (6, 0, 0), (6, 0, 0), (0, 0, 0))
    # Side by side at the same pace they keep their 3 m; if the pursuer goes first it runs into the target.
    side_by_side = ((0, 0, 0), (6, 0, 0), (3, 0, 0), (9, 0, 0))
    assert not passed(*side_by_side)
    assert passed(*side_by_side, target_moves_last=True)
    # Across each other's way: at the same time they meet in (3, 0); else each passes when the other is not there.
    across = ((0, 0, 0), (6, 0, 0), (3, -3, 0), (3, 3, 0))
    assert passed(*across)
    assert not passed(*across, target_moves_last=True)


def test_least_length():
    start = torch.tensor([[3.0, 4.0], [3.0, 4.0], [-3.0, 4.0], [3.0, 4.0], [0.0, 0.0]])
    end = torch.tensor([[3.0, 4.0], [6.0, 8.0], [3.0, 4.0], [3.0, -9.0], [1.0, 1.0]])
    assert least_length(start, end).tolist() == pytest.approx([5, 5, 4, 3, 0])


VARIANTS = {
    "drone": {"wind_speed": 2.0, "spawn": "near", "max_acceleration": 200.0, "max_speed": 40.0, "capture_radius": 0.5},
    "sandbox": {"preset": "sandbox", "spawn": "near", "capture_radius": 3.0},
    "sandbox-wind": {"preset": "sandbox", "spawn": "near", "capture_radius": 3.0, "wind_speed": 3.0},
    "bugs": {"preset": "sandbox", "spawn": "at-target", "author_bugs": True, "pursuers": 2},
    "swarm": {"pursuers": 4, "dynamics": "kinematic", "step_length": 1.0, "spawn": "near", "capture_radius": 0.4},
    "flat": {"dimensions": 2, "motion": "circle", "spawn": "near", "spawn_radius": 8.0},
}


def transitions(parameters, worlds=200, steps=25):
    simulator = Simulator(make_pursuit(**parameters))
    state = simulator.initial(world_keys(5, worlds))
    generator = torch.Generator().manual_seed(0)
    for _ in range(steps):
        made = simulator.transition(state, torch.rand(worlds, *simulator.action_shape, generator=generator) * 2 - 1)
        yield step_of(simulator, made)
        state = made.after


def sampled(made, count=400):
    """The least distance of some pursuer at so many moments of a step ``[B]``."""
    before, after = made.before, made.after
    target, then = before.target_position.unsqueeze(1), after.target_position.unsqueeze(1)
    legs = [(target - before.position, then - after.position)]
    if made.facts.target_moves_last:
        judged_at = after.target_judged.unsqueeze(1)
        legs = [(judged_at - before.position, judged_at - after.position)]
        legs.append((legs[0][1], then - after.position))
    share = torch.linspace(0, 1, count).view(-1, 1, 1, 1)
    return torch.stack([(a + share * (b - a)).norm(dim=-1).amin(dim=(0, 2)) for a, b in legs]).amin(dim=0)


@pytest.mark.parametrize("name", VARIANTS)
def test_against_many_moments_of_every_step(name, monkeypatch):
    radius = make_pursuit(**VARIANTS[name]).facts.capture_radius
    on_the_way = 0
    for made in transitions(VARIANTS[name]):
        nearest = sampled(made)
        clear = (nearest - radius).abs() > 0.05 * radius  # nearer than that the moments may fall beside the pass
        assert torch.equal(made.captured[clear], (nearest <= radius)[clear])
        on_the_way += (made.captured & ~made.in_radius).sum().item()
        assert (made.captured | ~made.in_radius).all()
        # One world and a batch on another device take other ways to the same answer.
        alone = [_row(made, world).captured.item() for world in range(20)]
        assert alone == made.captured[:20].tolist()
        with monkeypatch.context() as patch:
            patch.setattr(torch.compiler, "is_compiling", lambda: True)
            again = _row(made, slice(None)).captured
        assert torch.equal(again, made.captured)
    assert on_the_way > 0


def _row(made, worlds):
    at = slice(worlds, worlds + 1) if isinstance(worlds, int) else worlds
    return TargetStep(made.before[at], made.action[at], made.after[at], made.facts)


@pytest.mark.parametrize("name", VARIANTS)
def test_no_step_is_longer_than_is_said(name):
    for made in transitions(VARIANTS[name], steps=10):
        gone = (made.after.position - made.before.position).norm(dim=-1).amax(dim=-1)
        came = (made.after.target_position - made.before.target_position).norm(dim=-1)
        together = torch.maximum(gone, came) if made.facts.target_moves_last else gone + came
        assert together.max().item() <= made.facts.longest_approach


def test_a_drone_leaves_the_straight_line_by_two_centimetres_at_most():
    """What the straight line leaves out: a dt^2 / 8 of a turn under full acceleration and drag."""
    scenario = make_pursuit(motion="stationary")
    fine = make_pursuit(motion="stationary", dt=0.01, substeps=1, max_steps=4000)
    simulator, finely = Simulator(scenario), Simulator(fine)
    state = simulator.initial(world_keys(0, 200))
    generator = torch.Generator().manual_seed(1)
    worst = 0.0
    for _ in range(30):
        action = (torch.rand(200, 3, generator=generator) * 2 - 1).sign()
        after, inner = simulator.transition(state, action).after, state
        for part in range(1, 10):
            inner = finely.transition(inner, action).after
            straight = state.position + (after.position - state.position) * part / 10
            free = (after.position > 0).all(-1) & (after.position < 60).all(-1)
            worst = max(worst, (inner.position - straight).norm(dim=-1)[free].max().item())
        state = after
    limit = (15 + 0.3 * 18) * 0.1**2 / 8  # drag at full speed adds to the thrust
    assert limit / 10 < worst < limit
