"""Motions from point to point against their geometry; what every motion keeps is in ``test_motions.py``."""

import pytest
import torch

from rl_tracking.envs.noise import world_keys
from rl_tracking.envs.parts.motion_options import SquareOptions
from rl_tracking.envs.parts.motions_on_paths import Waypoints, square
from tests.envs.test_motions import FLAT, SMALL, anchors, path


class TestSquare:
    def test_it_stays_on_the_square_at_its_speed(self):
        motion, worlds = square(6.0, 60.0), 200
        seen = path(motion, anchors(SMALL, worlds), world_keys(0, worlds), SMALL, 200)
        # A side of 0.3 x 60 = 18 m: the greater of the two offsets is 9 m everywhere.
        offset = (seen.position[..., :2] - 30).abs()
        assert torch.allclose(offset.amax(dim=-1), torch.tensor(9.0), atol=1e-4)
        assert (seen.position[..., 2] == seen.position[0, :, 2]).all(), "level"
        assert torch.allclose(torch.linalg.vector_norm(seen.velocity, dim=-1), torch.tensor(6.0))

    def test_it_is_where_it_started_after_a_round(self):
        # 4 x 18 m at 6 m/s are 12 s, 120 steps.
        seen = path(square(6.0, 60.0), anchors(FLAT, 50), world_keys(0, 50), FLAT, 120)
        assert torch.allclose(seen.position[0], seen.position[-1], atol=1e-3)
        assert (torch.linalg.vector_norm(seen.position[60] - seen.position[0], dim=-1) >= 18 * (1 - 1e-4)).all()

    @pytest.mark.parametrize(("way", "shares"), [("left", (1.0, 1.0)), ("right", (0.0, 0.0)), ("either", (0.4, 0.6))])
    def test_the_way_round(self, way, shares):
        seen = path(square(6.0, 60.0, SquareOptions(way=way)), anchors(FLAT, 500), world_keys(0, 500), FLAT, 1)
        arm, velocity = seen.position[0] - 30, seen.velocity[0]
        left = (arm[:, 0] * velocity[:, 1] - arm[:, 1] * velocity[:, 0] > 0).float().mean().item()
        assert shares[0] <= left <= shares[1]

    def test_speeds_of_their_own(self):
        speed = torch.tensor([[0.0], [3.0], [6.0]])
        motion = square(6.0, 60.0)
        slowed = type(motion)(speed, motion.side, motion.ways)
        seen = path(slowed, anchors(FLAT, 3), world_keys(0, 3), FLAT, 5)
        assert torch.linalg.vector_norm(seen.velocity[-1], dim=-1).tolist() == pytest.approx([0.0, 3.0, 6.0])


class TestWaypoints:
    def test_it_flies_straight_and_stops_on_every_point(self):
        worlds = 20
        seen = path(Waypoints(6.0), anchors(SMALL, worlds), world_keys(0, worlds), SMALL, 300)
        points = seen.memory[..., :3]
        for world in range(worlds):
            changes = (points[1:, world] != points[:-1, world]).any(dim=-1).nonzero().flatten().tolist()
            assert len(changes) >= 2
            for step in changes:  # a new point is drawn in the step that arrives
                assert torch.equal(seen.position[step + 1, world], points[step, world])
            first, last = changes[0] + 1, changes[1]
            flown = seen.velocity[first + 1 : last, world]
            assert torch.allclose(flown, flown[:1].expand_as(flown), atol=2e-3), "straight, at one speed"
            assert torch.linalg.vector_norm(flown, dim=-1).tolist() == pytest.approx([6.0] * len(flown), rel=1e-3)

    def test_points_are_drawn_everywhere_and_anew(self):
        worlds = 500
        seen = path(Waypoints(60.0, extent=0.5), anchors(SMALL, worlds), world_keys(0, worlds), SMALL, 30)
        points = seen.memory[..., :3]
        assert ((points - 30).abs() <= 15 + 1e-4).all(), "half of the arena's sides"
        assert ((points - 30).abs().amax(dim=(0, 1)) > 14.5).all()
        first, last = points[0], points[-1]
        assert (first != last).any(dim=-1).all()
        for axis in range(3):
            assert abs(torch.corrcoef(torch.stack([first[:, axis], last[:, axis]]))[0, 1].item()) < 0.15

    def test_a_pause_at_every_point(self):
        # Half a second are 5 steps without a move.
        seen = path(Waypoints(6.0, pause=0.5), anchors(SMALL, 1), world_keys(3, 1), SMALL, 400)
        still = (seen.velocity[1:, 0] == 0).all(dim=-1).tolist()
        runs = "".join("." if rest else "x" for rest in still).strip("x").split("x")
        assert {len(run) for run in runs if run} == {5}
