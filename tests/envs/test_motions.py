import itertools
import math

import pytest
import torch

from rl_tracking import plugins
from rl_tracking.envs.noise import world_keys
from rl_tracking.envs.parts.arena import Target, square_arena
from rl_tracking.envs.parts.motions import Circle, Cube, Lissajous, Stationary
from rl_tracking.envs.parts.motions_wandering import RandomWalk

BIG = square_arena(500.0, 3, 1.0, whole_units=True, device="cpu")
SMALL = square_arena(60.0, 3, 0.1, whole_units=False, device="cpu")
FLAT = square_arena(60.0, 2, 0.1, whole_units=False, device="cpu")
ARENAS = {"sandbox": (BIG, 500.0, 10.0), "drone": (SMALL, 60.0, 6.0), "flat": (FLAT, 60.0, 6.0)}
MOTIONS = sorted(plugins.names("motion"))


def anchors(arena, worlds, size=0.4):
    """Spawn points spread over a box about the centre; ``size`` 1 fills the arena."""
    spread = torch.rand(worlds, arena.low.shape[0], generator=torch.Generator().manual_seed(worlds))
    return arena.clip(arena.centre + (spread - 0.5) * size * 2 * arena.half)


def path(motion, anchor, key, arena, steps):
    """The targets at steps 0 to ``steps``, stacked: positions ``[T + 1, B, D]``, velocities and memories."""
    target = motion.start(anchor, key, arena)
    seen = [target]
    for step in range(steps):
        target = motion.advance(target, key, torch.full_like(key, step), arena)
        seen.append(target)
    return Target(*(torch.stack(list(column)) for column in zip(*seen, strict=True)))


def test_arenas():
    assert BIG.low.tolist() == [0, 0, 0]
    assert BIG.high.tolist() == [499, 499, 499]
    assert BIG.centre.tolist() == [250, 250, 250]
    assert SMALL.high.tolist() == [60, 60, 60]
    assert SMALL.half.tolist() == [30, 30, 30]
    assert FLAT.low.shape == (2,)
    assert BIG.clip(torch.tensor([[-3.0, 20.0, 600.0]])).tolist() == [[0, 20, 499]]


@pytest.mark.parametrize("place", ARENAS)
@pytest.mark.parametrize("name", MOTIONS)
def test_every_motion_stays_inside_and_below_its_speed(name, place):
    arena, size, speed = ARENAS[place]
    motion = plugins.resolve("motion", name)(speed, size)
    worlds, steps = 64, 2000
    seen = path(motion, anchors(arena, worlds, size=1.0), world_keys(0, worlds), arena, steps)
    assert torch.isfinite(seen.position).all()
    edge = 1e-5 * size
    assert (seen.position >= arena.low - edge).all()
    assert (seen.position <= arena.high + edge).all()
    limit = motion.speed * (1 + 1e-5)
    # Positions are float32: at 500 m they are known to 3e-5 m.
    flown = torch.linalg.vector_norm(seen.position.diff(dim=0), dim=-1) / arena.dt
    assert flown.max().item() <= limit + 2e-7 * size / arena.dt
    assert torch.linalg.vector_norm(seen.velocity, dim=-1).max().item() <= limit + 2e-7 * size / arena.dt


@pytest.mark.parametrize("place", ARENAS)
@pytest.mark.parametrize("name", MOTIONS)
def test_every_motion_follows_from_its_key(name, place):
    arena, size, speed = ARENAS[place]
    motion = plugins.resolve("motion", name)(speed, size)
    anchor, key = anchors(arena, 33), world_keys(3, 33)
    together = path(motion, anchor, key, arena, 80)
    again = path(motion, anchor, key, arena, 80)
    alone = path(motion, anchor[7:8], key[7:8], arena, 80)
    for x, y, z in zip(together, again, alone, strict=True):
        assert x.numpy().tobytes() == y.numpy().tobytes()
        assert x[:, 7:8].contiguous().numpy().tobytes() == z.numpy().tobytes()
    if name != "stationary":
        other = path(motion, anchor, world_keys(4, 33), arena, 80)
        assert (together.position != other.position).any(dim=-1).any(dim=0).all(), "another key moves otherwise"


@pytest.mark.parametrize("name", MOTIONS)
def test_a_motion_leaves_its_arguments_alone(name):
    motion = plugins.resolve("motion", name)(6.0, 60.0)
    anchor, key = anchors(SMALL, 5, size=1.0), world_keys(0, 5)
    kept = anchor.clone()
    start = motion.start(anchor, key, SMALL)
    assert torch.equal(anchor, kept)
    copy = [tensor.clone() for tensor in start]
    for step in range(40):
        motion.advance(start, key, torch.full_like(key, step), SMALL)
    assert all(torch.equal(a, b) for a, b in zip(start, copy, strict=True))


@pytest.mark.parametrize("name", MOTIONS)
def test_a_motion_of_speed_zero_stands_still(name):
    motion = plugins.resolve("motion", name)(0.0, 60.0)
    seen = path(motion, anchors(SMALL, 8), world_keys(0, 8), SMALL, 20)
    assert (seen.velocity == 0).all()
    assert (seen.position == seen.position[0]).all()


def test_stationary_stays_on_its_spot():
    anchor = anchors(BIG, 4)
    seen = path(Stationary(), anchor, world_keys(0, 4), BIG, 10)
    assert (seen.position == anchor).all()
    assert (seen.velocity == 0).all()


class TestCircle:
    def test_radius_height_and_pace(self):
        arena, speed, worlds = SMALL, 6.0, 200
        anchor = anchors(arena, worlds, size=0.3)
        seen = path(Circle(speed, 6.0, 18.0), anchor, world_keys(0, worlds), arena, 300)
        # These circles fit where they were spawned, so their centre is the spawn point.
        offset = seen.position - anchor
        radius = torch.linalg.vector_norm(offset[..., :2], dim=-1)
        assert torch.allclose(radius, radius[0].expand_as(radius), rtol=1e-5)
        assert (seen.position[..., 2] == anchor[:, 2]).all(), "a level circle"
        assert (seen.velocity[..., 2] == 0).all()
        assert torch.allclose(torch.linalg.vector_norm(seen.velocity, dim=-1), torch.tensor(speed), rtol=1e-5)
        # Arc speed: the angle made in 300 steps of 0.1 s is 30 s x speed / radius, either way round.
        angle = torch.atan2(offset[..., 1], offset[..., 0])
        turned = angle.diff(dim=0).add(math.pi).remainder(2 * math.pi).sub(math.pi).sum(dim=0)
        assert torch.allclose(turned.abs(), 30 * speed / radius[0], rtol=1e-4)
        assert 60 < (turned > 0).sum().item() < 140, "both ways round"
        assert 6.0 <= radius.min().item() < 7.0
        assert 17.0 < radius.max().item() <= 18.0 * (1 + 1e-5)

    def test_velocity_is_the_tangent(self):
        seen = path(Circle(6.0, 10.0, 10.0), anchors(SMALL, 20, size=0.1), world_keys(0, 20), SMALL, 2)
        # The central difference of a circle falls short of the tangent by sin(x) / x, x = 0.06 rad.
        chord = (seen.position[2] - seen.position[0]) / 0.2
        assert torch.allclose(chord, seen.velocity[1] * math.sin(0.06) / 0.06, atol=1e-3)

    def test_centre_is_moved_away_from_the_wall(self):
        seen = path(Circle(6.0, 18.0, 18.0), torch.zeros(1, 3), world_keys(0, 1), SMALL, 200)
        middle = (seen.position.amax(dim=0) + seen.position.amin(dim=0)) / 2
        assert middle.flatten().tolist() == pytest.approx([18, 18, 0], abs=0.05)

    def test_radius_is_shortened_to_fit(self):
        seen = path(Circle(6.0, 100.0, 200.0), SMALL.centre.view(1, 3), world_keys(0, 1), SMALL, 400)
        radius = torch.linalg.vector_norm(seen.position - SMALL.centre, dim=-1)
        assert radius.flatten().tolist() == pytest.approx([30.0] * 401, rel=1e-5)


class TestLissajous:
    def test_closed_form(self):
        arena, worlds, steps = BIG, 50, 137
        seen = path(Lissajous(10.0), anchors(arena, worlds), world_keys(0, worlds), arena, steps)
        amplitude, omega, phase = seen.memory[0].double().chunk(3, dim=-1)
        t = steps * arena.dt
        expected = 250 + amplitude * torch.sin(omega * t + phase)
        assert torch.allclose(seen.position[-1].double(), expected, atol=0.02)
        velocity = amplitude * omega * torch.cos(omega * t + phase)
        assert torch.allclose(seen.velocity[-1].double(), velocity, atol=1e-3)

    def test_shape(self):
        memory = Lissajous(10.0).start(anchors(BIG, 2000), world_keys(0, 2000), BIG).memory
        amplitude, omega, phase = memory.chunk(3, dim=-1)
        assert torch.allclose(omega / omega[:, 2:], torch.tensor([2.0, 3.0, 1.0]).expand(2000, 3), rtol=1e-5)
        # Between half of 0.8 half sides and all of it.
        assert 100 <= amplitude.min().item() < 101
        assert 199 < amplitude.max().item() <= 200
        assert 0 <= phase.min().item() < 0.01
        # All cosines at 1: the fastest this figure could ever be.
        fastest = torch.linalg.vector_norm(amplitude * omega, dim=-1)
        assert torch.allclose(fastest, torch.full((2000,), 10.0), rtol=1e-5)

    def test_in_the_plane(self):
        memory = Lissajous(6.0).start(anchors(FLAT, 10), world_keys(0, 10), FLAT).memory
        assert memory.shape == (10, 6)
        assert torch.allclose(memory[:, 3] / memory[:, 2], torch.tensor(1.5), rtol=1e-5)


class TestCube:
    """Against the author's own paths it is tested in ``scenarios/test_golden_traces.py``."""

    CUBE = Cube(10.0, 50.0, 200.0, 500.0)

    def drawn(self, worlds, place=250.0):
        """The memory of worlds that have just drawn their first rectangle."""
        anchor, key = torch.full((worlds, 3), place), world_keys(0, worlds)
        return self.CUBE.advance(self.CUBE.start(anchor, key, BIG), key, torch.zeros_like(key), BIG).memory

    @pytest.mark.parametrize("world", range(6))
    def test_a_rectangle_once_then_a_climb(self, world):
        start = torch.full((1, 3), 250.0)
        key = world_keys(9, 6)[world : world + 1]
        seen = path(self.CUBE, start, key, BIG, 160)
        positions = seen.position[:, 0]
        length, width = (2 * seen.memory[1, 0, 2:4]).tolist()
        assert 50 <= length <= 200
        assert 50 <= width <= 200
        corners = torch.tensor([(sx * length / 2, sy * width / 2) for sx, sy in ((1, 1), (-1, 1), (-1, -1), (1, -1))])
        corners = torch.cat([corners + 250, torch.full((4, 1), 250.0)], dim=1)
        arrivals = [0]
        for corner in corners:
            exactly = (positions[arrivals[-1] + 1 :] == corner).all(dim=-1)
            assert exactly.any(), f"never exactly on {corner.tolist()}"
            arrivals.append(arrivals[-1] + 1 + int(exactly.nonzero()[0]))
        # Ten metres a step and one shorter step onto the corner: a leg takes ceil(side / 10) steps.
        assert [b - a for a, b in itertools.pairwise(arrivals[1:])] == [
            math.ceil(side / 10) for side in (length, width, length)
        ]
        assert (positions[: arrivals[-1] + 1, 2] == 250).all(), "the rectangle is level"
        # Then straight up or down, x and y untouched, to a height inside the arena.
        climb = positions[arrivals[-1] :]
        height = seen.memory[1, 0, 4].item()
        assert 0 <= height < 500
        steps = math.ceil(abs(height - 250) / 10)
        assert climb[steps, 2].item() == min(height, 499)
        assert (climb[: steps + 1, :2] == corners[-1, :2]).all()
        assert climb[: steps + 1, 2].diff()[:-1].abs().tolist() == pytest.approx([10] * (steps - 1), rel=1e-4)
        # The next rectangle is drawn in the next step, about the place where the climb ended, and is another one.
        after = seen.memory[arrivals[-1] + steps + 1, 0]
        assert after[:2].tolist() == corners[-1, :2].tolist()
        assert (2 * after[2:4]).tolist() != [length, width]

    def test_sides_and_heights_are_uniform(self):
        worlds = 4096
        memory = self.drawn(worlds)
        assert (memory[:, :2] == 250).all()
        for side in 2 * memory[:, 2:4].T:
            assert 50 <= side.min().item() < 51
            assert 199 < side.max().item() <= 200
            assert side.mean().item() == pytest.approx(125, abs=4 * 150 / math.sqrt(12 * worlds))
        height = memory[:, 4]
        assert 0 <= height.min().item() < 2
        assert 498 < height.max().item() <= 500
        assert height.mean().item() == pytest.approx(250, abs=4 * 500 / math.sqrt(12 * worlds))

    def test_the_named_motion_has_the_sandbox_sides(self):
        assert plugins.resolve("motion", "cube")(10.0, 500.0) == self.CUBE

    def test_snaps_to_a_corner_nearer_than_one_step(self):
        memory = torch.tensor([[250.0, 250.0, 30.0, 40.0, 100.0, 3.0]])  # on the way to (280, 210)
        key = world_keys(0, 1)
        for x, expected, leg in ((269.0, 279.0, 3), (270.0, 280.0, 3), (270.5, 280.0, 4), (280.0, 280.0, 4)):
            target = Target(torch.tensor([[x, 210.0, 250.0]]), torch.zeros(1, 3), memory)
            moved = self.CUBE.advance(target, key, torch.zeros_like(key), BIG)
            assert moved.position.tolist() == [[expected, 210, 250]]
            assert moved.velocity.tolist() == [[expected - x, 0, 0]]
            assert moved.memory[0, 5].item() == leg

    def test_stands_still_against_a_wall_that_hides_its_corner(self):
        # The first corner lies at (580, 240), the target comes no nearer than (499, 240): for good.
        memory = self.CUBE.rectangle(*(torch.tensor([row]) for row in ([490.0, 190.0], [180.0, 100.0], [300.0])))
        target = Target(torch.tensor([[490.0, 190.0, 250.0]]), torch.zeros(1, 3), memory)
        key, seen = world_keys(0, 1), []
        for step in range(300):
            target = self.CUBE.advance(target, key, torch.full_like(key, step), BIG)
            seen.append(target)
        assert seen[10].position[0, 0].item() == 499
        assert target.position[0].tolist() == [499, pytest.approx(240, abs=1e-3), 250]
        assert target.velocity.abs().max().item() < 1e-3
        assert target.memory[0, 5].item() == 0, "still on its first leg"

    def test_reaches_a_corner_just_outside(self):
        # (505, 240) is nearer than a step from the wall: snapped to, clipped, and on to the next.
        memory = self.CUBE.rectangle(*(torch.tensor([row]) for row in ([450.0, 190.0], [110.0, 100.0], [300.0])))
        target = Target(torch.tensor([[498.0, 240.0, 250.0]]), torch.zeros(1, 3), memory)
        moved = self.CUBE.advance(target, world_keys(0, 1), torch.ones(1, dtype=torch.int64), BIG)
        assert moved.position.tolist() == [[499, 240, 250]]
        assert moved.velocity.tolist() == [[1, 0, 0]]
        assert moved.memory[0, 5].item() == 1

    def test_drifts_climbs_and_stands_as_the_author_says(self):
        """It leaves each rectangle at large x and small y, climbs in 13 % of 400 steps, stands in a quarter of 300."""
        worlds = 1000
        seen = path(self.CUBE, torch.full((worlds, 3), 250.0), world_keys(0, worlds), BIG, 400)
        x, y, _ = seen.position[-1].mean(dim=0).tolist()
        assert x > 300
        assert y < 200
        moves = seen.position.diff(dim=0)
        climbing = (moves[..., 2] != 0).double().mean().item()
        still = (moves[:300].norm(dim=-1) < 1).double().mean().item()
        assert climbing == pytest.approx(0.13, abs=0.015)
        assert still == pytest.approx(0.25, abs=0.05)

    def test_the_plane_has_no_climb(self):
        flat = square_arena(500.0, 2, 1.0, whole_units=True, device="cpu")
        seen = path(Cube(10.0, 50.0, 60.0, 500.0), torch.full((1, 2), 250.0), world_keys(0, 1), flat, 200)
        leg = seen.memory[:, 0, 5]
        assert set(leg.tolist()) == {0, 1, 2, 3, 5}
        done = (leg[:-1] == 5).nonzero().flatten()
        assert len(done) > 5
        for step in done.tolist():
            assert seen.memory[step + 1, 0, :2].tolist() == seen.position[step, 0].tolist()


class TestRandomWalk:
    def test_walls_reflect(self):
        # Fast outwards at two walls, and so long a heading that the noise of a step is small.
        motion = RandomWalk(6.0, time_constant=1e4)
        target = Target(torch.tensor([[59.9, 30.0, 0.1]]), torch.tensor([[3.0, 1.0, -4.0]]), torch.zeros(1, 0))
        moved = motion.advance(target, world_keys(0, 1), torch.zeros(1, dtype=torch.int64), SMALL)
        assert moved.position[0, 0].item() == 60
        assert moved.position[0, 2].item() == 0
        assert moved.position[0, 1].item() == pytest.approx(30.1, abs=0.02)
        assert moved.velocity.flatten().tolist() == pytest.approx([-3, 1, 4], abs=0.1)
        away = motion.advance(moved, world_keys(0, 1), torch.ones(1, dtype=torch.int64), SMALL)
        assert away.position[0, 0].item() == pytest.approx(59.7, abs=0.02)

    def test_heading_lasts_for_its_time_constant(self):
        worlds = 4000
        start = torch.tensor([[3.0, 0.0, 0.0]]).repeat(worlds, 1)
        target = Target(SMALL.centre.expand(worlds, 3), start, torch.zeros(worlds, 0))
        keys = world_keys(0, worlds)
        velocity = RandomWalk(6.0, time_constant=2.0).advance(target, keys, torch.zeros_like(keys), SMALL).velocity
        # 0.1 s of 2 s; the deviation an axis is 6 / sqrt(3), of which sqrt(1 - rho^2) is new.
        rho = math.exp(-0.05)
        new = 6 / math.sqrt(3) * math.sqrt(1 - rho**2)
        assert velocity.mean(dim=0).tolist() == pytest.approx([3 * rho, 0, 0], abs=4 * new / math.sqrt(worlds))
        assert velocity.std(dim=0).tolist() == pytest.approx([new] * 3, rel=4 / math.sqrt(2 * worlds))

    def test_each_step_draws_anew(self):
        worlds = 4000
        seen = path(RandomWalk(6.0, time_constant=2.0), SMALL.centre.expand(worlds, 3), world_keys(0, worlds), SMALL, 3)
        rho = math.exp(-0.05)
        draws = [seen.velocity[0], *(seen.velocity[1:] - rho * seen.velocity[:-1])]
        for first, second in itertools.combinations(draws, 2):
            correlation = (first * second).mean() / (first.std() * second.std())
            # The speed limit, met now and then, leaves a little; a draw used twice would leave 1.
            assert abs(correlation.item()) < 0.2

    def test_keeps_moving_in_all_directions(self):
        worlds = 4000
        seen = path(RandomWalk(6.0), SMALL.centre.expand(worlds, 3), world_keys(0, worlds), SMALL, 50)
        speed = torch.linalg.vector_norm(seen.velocity, dim=-1)
        assert speed.max().item() == pytest.approx(6.0, rel=1e-5)
        assert 3.5 < speed[-1].mean().item() < 6.0
        assert seen.velocity[-1].mean(dim=0).abs().max().item() < 0.25
