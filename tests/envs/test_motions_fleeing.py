"""The evader against its law; what every motion keeps is in ``test_motions.py``."""

import pytest
import torch

from rl_tracking.envs.noise import world_keys
from rl_tracking.envs.parts.arena import Target, advance, responds
from rl_tracking.envs.parts.checked_motion import CheckedMotion
from rl_tracking.envs.parts.motions import Stationary
from rl_tracking.envs.parts.motions_fleeing import Evader
from rl_tracking.envs.scenarios.pursuit.scenario import make_pursuit
from rl_tracking.envs.simulator import Simulator
from rl_tracking.errors import EnvironmentStepError
from rl_tracking.runs.evaluate import evaluate
from tests.envs.test_motions import SMALL, anchors, path

EVADER = Evader(6.0, 8.0, 1000.0)


def chased(position, velocity, pursuers, motion=EVADER):
    """The target a step later: positions ``[D]``, pursuers ``[P, D]``, as nested lists."""
    target = Target(torch.tensor([position]), torch.tensor([velocity]), torch.zeros(1, 0))
    return motion.respond(target, torch.tensor([pursuers]), SMALL)


def test_it_accelerates_away_from_the_pursuer():
    moved = chased([30.0, 30.0, 30.0], [0.0, 0.0, 0.0], [[20.0, 30.0, 30.0]])
    # 8 m/s^2 for 0.1 s along +x.
    assert moved.velocity[0].tolist() == pytest.approx([0.8, 0.0, 0.0])
    assert moved.position[0].tolist() == pytest.approx([30.08, 30.0, 30.0])
    # From 3 m/s along y to the wanted 6 m/s along x: 0.8 m/s of the difference (6, -3).
    moved = chased([30.0, 30.0, 30.0], [0.0, 3.0, 0.0], [[20.0, 30.0, 30.0]])
    assert moved.velocity[0].tolist() == pytest.approx([0.8 * 6 / 45**0.5, 3 - 0.8 * 3 / 45**0.5, 0.0])


def test_the_nearer_pursuer_counts_more():
    # Pushes of 1/5 from the left and 1/10 from below: a direction of (2, 1).
    moved = chased([30.0, 30.0, 30.0], [0.0, 0.0, 0.0], [[25.0, 30.0, 30.0], [30.0, 20.0, 30.0]])
    x, y, z = moved.velocity[0].tolist()
    assert (x / y, z) == (pytest.approx(2.0), 0.0)
    assert (x * x + y * y) ** 0.5 == pytest.approx(0.8)


def test_who_is_out_of_sight_is_not_fled_from():
    moved = chased([30.0, 30.0, 30.0], [0.0, 2.0, 0.0], [[20.0, 30.0, 30.0]], Evader(6.0, 8.0, 9.0))
    assert moved.velocity[0].tolist() == [0.0, 2.0, 0.0]


def test_it_turns_off_before_a_wall():
    # Driven at the wall from behind, it is there without a hit and flies along it at full speed, over the middle.
    target = Target(torch.tensor([[45.0, 20.0, 30.0]]), torch.tensor([[6.0, 0.0, 0.0]]), torch.zeros(1, 0))
    for step in range(60):
        behind = target.position - torch.tensor([[5.0, 0.0, 0.0]])
        target = EVADER.respond(target, behind.unsqueeze(1), SMALL)
        assert target.velocity[0, 0] > -0.5, f"it is not thrown back at step {step}"
    assert target.velocity[0].tolist() == pytest.approx([0.0, 6.0, 0.0], abs=0.01)
    assert 40 < target.position[0, 1] < 55


def test_a_pursuer_on_the_target_is_no_division_by_zero():
    moved = chased([30.0, 30.0, 30.0], [1.0, 0.0, 0.0], [[30.0, 30.0, 30.0]])
    assert torch.isfinite(moved.position).all()
    assert moved.velocity[0].tolist() == [1.0, 0.0, 0.0]


def test_without_pursuers_it_flies_on_at_full_speed_and_walls_reflect_it():
    seen = path(EVADER, anchors(SMALL, 50), world_keys(0, 50), SMALL, 300)
    assert torch.linalg.vector_norm(seen.velocity, dim=-1).min().item() == pytest.approx(6.0, rel=1e-4)
    assert (seen.velocity != seen.velocity[0]).any(dim=-1).any(dim=0).all()


def test_speeds_of_their_own():
    slow = Evader(torch.tensor([[0.0], [3.0]]), 8.0, 1000.0)
    target = slow.start(anchors(SMALL, 2), world_keys(0, 2), SMALL)
    for _ in range(30):
        target = slow.respond(target, target.position.unsqueeze(1) - 3.0, SMALL)
    assert torch.linalg.vector_norm(target.velocity, dim=-1).tolist() == pytest.approx([0.0, 3.0])


def test_it_is_harder_to_hold_than_a_target_that_sees_nobody():
    held = {
        motion: evaluate("pure-pursuit", 40, scenario=make_pursuit(motion=motion, target_speed=9.0, max_steps=150))
        for motion in ("evader", "jink")
    }
    assert held["evader"]["mean_distance"]["value"] > held["jink"]["mean_distance"]["value"]


@pytest.mark.parametrize("spawn", ["anywhere", "at-target"])
def test_a_gradient_through_it_is_finite(spawn):
    simulator = Simulator(make_pursuit(motion="evader", spawn=spawn))
    state, actions, earned = simulator.initial(world_keys(0, 16)), [], torch.zeros(())
    for _ in range(20):
        actions.append(torch.full((16, 3), 0.3).requires_grad_())
        made = simulator.transition(state, actions[-1])
        state, earned = made.after, earned + made.reward.sum()
    assert all(torch.isfinite(part).all() for part in torch.autograd.grad(earned, actions))


def test_no_bound_is_said_where_pursuers_move_the_target():
    key = world_keys(0, 2)
    assert make_pursuit(motion="evader").bound(key) is None
    assert make_pursuit(motion="jink", max_steps=5).bound(key) is not None


class Shy(Stationary):
    """A plugin's motion that responds."""

    def __init__(self, grow=0):
        object.__setattr__(self, "grow", grow)

    def respond(self, target, pursuers, arena):
        pursuers.add_(1.0)  # a copy
        memory = target.memory.new_zeros(len(target.memory), self.grow)
        return Target(target.position + 0.1 * pursuers[:, 0], target.velocity, memory)


def test_a_plugins_motion_may_respond_too():
    place, pursuers = torch.zeros(2, 3), torch.ones(2, 1, 3)
    target, key = Target(place, place, torch.zeros(2, 0)), world_keys(0, 2)
    checked = CheckedMotion("shy", Shy())
    assert responds(checked) and not responds(CheckedMotion("still", Stationary()))
    moved = advance(checked, target, pursuers, key, torch.zeros_like(key), SMALL)
    assert torch.allclose(moved.position, torch.tensor(0.2))
    assert (pursuers == 1).all()
    with pytest.raises(EnvironmentStepError, match=r"a memory of shape \[2, 2\] from respond\(\)"):
        advance(CheckedMotion("shy", Shy(2)), target, pursuers, key, torch.zeros_like(key), SMALL)
