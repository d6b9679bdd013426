"""Weave, jink and random against their laws; what every motion keeps is in ``test_motions.py``."""

import math

import pytest
import torch

from rl_tracking.envs.noise import world_keys
from rl_tracking.envs.parts.arena import square_arena
from rl_tracking.envs.parts.motion_options import JinkOptions, WeaveOptions
from rl_tracking.envs.parts.motions_turning import Jink, RandomAxes, Weave, jink, weave
from tests.envs.test_motions import BIG, FLAT, SMALL, anchors, path

WIDE = square_arena(1e5, 3, 0.1, whole_units=False, device="cpu")  # no wall is met
WIDE_FLAT = square_arena(1e5, 2, 0.1, whole_units=False, device="cpu")


def angles(first, second):
    """Between vectors ``[..., D]`` [degrees]."""
    cosine = torch.cosine_similarity(first.double(), second.double(), dim=-1).clamp(-1, 1)
    return cosine.arccos() * (180 / math.pi)


class TestWeave:
    @pytest.mark.parametrize("arena", [WIDE, WIDE_FLAT], ids=["space", "plane"])
    def test_the_closed_form(self, arena):
        worlds, dimensions = 50, arena.low.shape[0]
        seen = path(Weave(6.0, 1.0, (2.0, 4.0)), anchors(arena, worlds, 0.1), world_keys(0, worlds), arena, 100)
        course, side, phase, rate = seen.memory.double().split([dimensions, dimensions, 1, 1], dim=-1)
        assert torch.equal(course[0], course[-1])
        assert (course * side).sum(dim=-1).abs().max() < 1e-6
        periods = 2 * math.pi / rate[0]
        assert 2 <= periods.min() < 2.4
        assert 3.6 < periods.max() <= 4.0001
        angle = torch.sin(phase[0] + rate[0] * 100 * 0.1)  # an amplitude of 1 rad
        expected = 6 * (torch.cos(angle) * course[0] + torch.sin(angle) * side[0])
        assert torch.allclose(seen.velocity[-1].double(), expected, atol=2e-3)

    def test_it_swings_to_the_amplitude_on_both_sides(self):
        seen = path(weave(6.0, 1e5), anchors(WIDE, 20, 0.1), world_keys(0, 20), WIDE, 60)
        found = angles(seen.velocity[1:], seen.memory[1:, :, :3])
        assert found.amax(dim=0).tolist() == pytest.approx([60.0] * 20, abs=1.0)
        sides = (seen.velocity[1:] * seen.memory[1:, :, 3:6]).sum(dim=-1)
        assert (sides.amax(dim=0) > 5).all() and (sides.amin(dim=0) < -5).all()

    def test_walls_turn_the_course_and_the_swing_goes_on(self):
        seen = path(weave(6.0, 60.0), anchors(SMALL, 50), world_keys(0, 50), SMALL, 600)
        course, side = seen.memory[..., :3], seen.memory[..., 3:6]
        assert (course[0] != course[-1]).any(dim=-1).float().mean() > 0.9
        assert (course * side).sum(dim=-1).abs().max() < 1e-5
        assert torch.linalg.vector_norm(seen.velocity[1:], dim=-1).min() > 5.999

    def test_no_swing_is_straight_flight(self):
        seen = path(weave(6.0, 1e5, WeaveOptions(amplitude=0.0)), anchors(WIDE, 5, 0.1), world_keys(0, 5), WIDE, 50)
        assert torch.allclose(seen.velocity[1:], seen.velocity[1:2].expand(50, 5, 3), atol=1e-4)


class TestJink:
    @pytest.mark.parametrize("arena", [WIDE, WIDE_FLAT], ids=["space", "plane"])
    def test_turns_come_at_random_times_by_angles_of_the_range(self, arena):
        worlds, steps = 400, 200
        motion = Jink(6.0, 1.5, (math.radians(45), math.radians(135)))
        seen = path(motion, anchors(arena, worlds, 0.1), world_keys(0, worlds), arena, steps)
        turned = angles(seen.velocity[1:], seen.velocity[:-1])
        jinks = turned > 1
        # Poisson: the chance of a step is 1 - exp(-0.1 / 1.5), and the next step's does not depend on it.
        chance = 1 - math.exp(-0.1 / 1.5)
        assert jinks.float().mean().item() == pytest.approx(chance, rel=0.05)
        assert (jinks[1:] & jinks[:-1]).float().mean().item() == pytest.approx(chance**2, rel=0.2)
        sizes = turned[jinks]
        assert 44.9 < sizes.min() < 46
        assert 134 < sizes.max() < 135.1
        assert sizes.mean().item() == pytest.approx(90, abs=1.5)
        assert torch.allclose(torch.linalg.vector_norm(seen.velocity, dim=-1), torch.tensor(6.0), rtol=1e-5)

    def test_to_all_sides(self):
        seen = path(jink(6.0, 1e5), anchors(WIDE_FLAT, 400, 0.1), world_keys(0, 400), WIDE_FLAT, 100)
        before, after = seen.velocity[:-1], seen.velocity[1:]
        cross = before[..., 0] * after[..., 1] - before[..., 1] * after[..., 0]
        left = (cross[cross.abs() > 1] > 0).float().mean().item()
        assert left == pytest.approx(0.5, abs=0.03)

    def test_one_angle_alone(self):
        options = JinkOptions(interval=0.2, turn=90.0)
        seen = path(jink(6.0, 1e5, options), anchors(WIDE, 50, 0.1), world_keys(0, 50), WIDE, 50)
        turned = angles(seen.velocity[1:], seen.velocity[:-1])
        assert turned[turned > 1].tolist() == pytest.approx([90.0] * int((turned > 1).sum()), abs=0.1)


class TestRandom:
    @pytest.mark.parametrize(("arena", "shares"), [(BIG, (0.4, 0.4, 0.2)), (FLAT, (0.4, 0.6))], ids=["space", "plane"])
    def test_axes_and_lengths(self, arena, shares):
        dimensions, worlds = arena.low.shape[0], 2000
        speed = 10 * math.sqrt(dimensions)
        seen = path(RandomAxes(speed), arena.centre.expand(worlds, -1), world_keys(0, worlds), arena, 10)
        moved = seen.velocity[1:]
        axes = (moved != 0).sum(dim=-1)
        for number, share in enumerate(shares, 1):
            assert (axes == number).float().mean().item() == pytest.approx(share, abs=0.015)
        for axis in range(dimensions):
            found = moved[..., axis][moved[..., axis] != 0]
            # The author's U(-10, 10): its greatest and its mean square, 100 / 3.
            assert 9.9 < found.abs().max() <= 10.001
            assert (found**2).mean().item() == pytest.approx(100 / 3, rel=0.05)
            mean_axes = sum(number * share for number, share in enumerate(shares, 1))
            assert (moved[..., axis] != 0).float().mean().item() == pytest.approx(mean_axes / dimensions, abs=0.02)
