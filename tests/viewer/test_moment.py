from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from rl_tracking.envs.scene import Bodies, Lines, Scene, Zone
from rl_tracking.viewer.moment import SMOOTHING, Moment, between, moment_of, padded

ARENA = {"low": torch.zeros(3), "high": torch.full((3,), 10.0)}


def along_x(value: float) -> torch.Tensor:
    return torch.tensor([[[value, 0.0, 0.0]]])


def moving(x: float, v: float, a: float = 0.0) -> Moment:
    """A pursuer on the x axis in a sphere, with a line from it to a place on the y axis with the same number."""
    position, other = along_x(x), torch.tensor([[[0.0, x, 0.0]]])
    return moment_of(
        Scene(
            **ARENA,
            bodies=(Bodies("one", "drone", "pursuer", position, along_x(v), along_x(a)),),
            zones=(Zone("near", "sphere", position[:, 0], torch.tensor([1.0 + x])),),
            lines=(Lines("reach", torch.stack((position, other), dim=2)),),
            numbers={"x": (torch.tensor([x]), "m")},
            chart="x",
        )
    )


def test_two_dimensions_are_padded() -> None:
    assert padded(torch.tensor([[1.0, 2.0]])).tolist() == [[1.0, 2.0, 0.0]]
    assert padded(torch.tensor([1.0, 2.0, 3.0])).tolist() == [1.0, 2.0, 3.0]


def test_an_empty_scene_has_nothing_to_draw() -> None:
    view = moment_of(Scene(**ARENA))
    assert (view.bodies, view.zones, view.numbers) == ((), (), {})
    assert view.position.shape == view.centre.shape == (0, 3)
    assert view.ends.shape == (0, 2, 3)
    assert between(view, view, 0.5, 0.1).position.shape == (0, 3)


def test_world_0_of_a_flat_scene_is_taken() -> None:
    positions = torch.tensor([[[1.0, 2.0], [3.0, 4.0]], [[9.0, 9.0], [9.0, 9.0]]])
    view = moment_of(
        Scene(
            torch.zeros(2),
            torch.ones(2),
            bodies=(
                Bodies("rocks", "ball", "obstacle", positions, size=0.5),
                Bodies("rock", "box", "obstacle", positions[:, :1], size=0.5),
            ),
            zones=(
                Zone(
                    "slot", "box", positions[:, 0], torch.tensor([[2.0, 1.0], [9.0, 9.0]]), torch.tensor([True, False])
                ),
                Zone("ring", "ring", positions[:, 1], torch.tensor([5.0, 9.0])),
            ),
        )
    )
    assert view.position.tolist() == [[1, 2, 0], [3, 4, 0], [1, 2, 0]]
    assert [body.index for body in view.bodies] == [0, 1, 2]
    assert not any(body.has_velocity for body in view.bodies)
    assert view.extent.tolist() == [[2, 1, 0], [5, 5, 5]]
    assert view.active.tolist() == [True, False]
    assert [region.lights for region in view.zones] == [True, False]
    assert view.centre_body.tolist() == [0, 1]


def test_the_ends_are_the_states_themselves() -> None:
    start, end = moving(1.0, 2.0), moving(5.0, -3.0)
    assert between(start, end, 0.0, 0.1) is start
    assert between(start, end, 1.0, 0.1) is end


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9])
def test_constant_acceleration_is_followed_exactly(fraction: float) -> None:
    # x = t + 2 t^2 from t = 0 to 0.5: a parabola, which a cubic through both ends with their slopes contains.
    dt, t = 0.5, 0.5 * fraction
    moment = between(moving(0.0, 1.0, 4.0), moving(1.0, 3.0, 4.0), fraction, dt)
    assert moment.position[0, 0] == pytest.approx(t + 2 * t * t)
    assert moment.velocity[0, 0] == pytest.approx(1 + 4 * t)
    assert moment.lean[0, 0] == pytest.approx(4.0)


def test_zones_and_lines_move_with_the_bodies_they_are_attached_to() -> None:
    # The body is at t + 2 t^2 = 0.375 halfway in time; what is attached to none moves evenly, to 0.5.
    moment = between(moving(0.0, 1.0, 4.0), moving(1.0, 3.0, 4.0), 0.5, 0.5)
    assert moment.centre[0].tolist() == pytest.approx([0.375, 0.0, 0.0])
    assert moment.ends[0].tolist() == [pytest.approx([0.375, 0.0, 0.0]), pytest.approx([0.375, 0.0, 0.0])]
    moment = between(moving(2.0, 1.0, 4.0), moving(3.0, 3.0, 4.0), 0.5, 0.5)
    assert moment.ends[0].tolist() == [pytest.approx([2.375, 0.0, 0.0]), pytest.approx([0.0, 2.5, 0.0])]
    assert moment.extent[0, 0] == pytest.approx(3.5)
    assert moment.numbers["x"] == (pytest.approx(2.5), "m")


def test_a_body_without_a_velocity_moves_evenly() -> None:
    def at(x: float) -> Moment:
        return moment_of(Scene(**ARENA, bodies=(Bodies("one", "ball", "other", along_x(x)),)))

    moments = [between(at(1.0), at(3.0), share, 0.5).position[0, 0] for share in (0.25, 0.5, 0.75)]
    assert moments == pytest.approx([1.5, 2.0, 2.5])


def test_bodies_that_come_or_go_do_not_move_between_the_steps() -> None:
    alone = moving(1.0, 2.0)
    position = torch.tensor([[[5.0, 0.0, 0.0], [6.0, 0.0, 0.0]]])
    two = moment_of(Scene(**ARENA, bodies=(Bodies("one", "drone", "pursuer", position, torch.zeros_like(position)),)))
    moment = between(alone, two, 0.5, 0.1)
    assert moment.position.tolist() == [[1.0, 0.0, 0.0]]
    assert moment.zones == alone.zones
    assert moment.numbers["x"].value == 1.0


def test_a_body_held_by_a_wall_does_not_move() -> None:
    moment = between(moving(3.0, 9.0), moving(3.0, 9.0), 0.4, 1.0)
    assert moment.position[0, 0] == pytest.approx(3.0)


def test_a_velocity_that_contradicts_the_displacement_does_not_throw_the_body_out() -> None:
    points = [between(moving(0.0, 100.0), moving(1.0, 100.0), s, 1.0).position[0, 0] for s in np.linspace(0, 1, 101)]
    assert min(points) >= -1e-9
    assert max(points) <= 1.0 + 1e-9


def test_lean_follows_the_acceleration_gradually() -> None:
    def scene(acceleration: float) -> Scene:
        zeros = torch.zeros(1, 1, 2)
        bodies = Bodies("one", "drone", "pursuer", zeros, zeros, torch.full((1, 1, 2), acceleration))
        return Scene(torch.zeros(2), torch.ones(2), bodies=(bodies,))

    first = moment_of(scene(0.0))
    second = moment_of(scene(2.0), first)
    assert second.lean[0].tolist() == pytest.approx([2 * SMOOTHING, 2 * SMOOTHING, 0.0])
    other = replace(first, bodies=(replace(first.bodies[0], name="other"),))
    assert moment_of(scene(2.0), other).lean[0].tolist() == [2.0, 2.0, 0.0]
