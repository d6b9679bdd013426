from __future__ import annotations

import math

import numpy as np
import pytest

from rl_tracking.viewer.meshes import (
    GRAVITY,
    LEAN_LIMIT,
    attitude,
    checkers,
    circle,
    drone_parts,
    gem,
    great_circles,
    tick_spacing,
    ticks,
    wall_grid,
)

X, Y, Z = np.eye(3)


def test_a_hovering_drone_is_level_with_its_nose_forward() -> None:
    np.testing.assert_allclose(attitude(np.zeros(3), Y), np.column_stack((Y, -X, Z)), atol=1e-9)


def test_a_drone_leans_into_its_acceleration() -> None:
    # Thrust balances gravity and accelerates by as much: 45 degrees.
    axes = attitude(GRAVITY * X, X)
    np.testing.assert_allclose(axes[:, 2], (math.sqrt(0.5), 0, math.sqrt(0.5)), atol=1e-9)
    np.testing.assert_allclose(axes[:, 0], (math.sqrt(0.5), 0, -math.sqrt(0.5)), atol=1e-9)


@pytest.mark.parametrize("acceleration", [1e4 * X, -GRAVITY * Z, (5.0, -3.0, 2.0), (0.0, 0.0, -50.0)])
@pytest.mark.parametrize("forward", [X, -Y, Z, np.zeros(3), np.array((1.0, 1.0, 0.2))])
def test_an_attitude_is_a_rotation_within_the_limit(acceleration, forward) -> None:
    axes = attitude(np.asarray(acceleration), forward)
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-9)
    assert np.linalg.det(axes) == pytest.approx(1.0)
    assert axes[2, 2] >= math.cos(LEAN_LIMIT) - 1e-9


def test_circles_have_their_radius() -> None:
    np.testing.assert_allclose(np.linalg.norm(circle(2.0, 12), axis=1), 2.0)
    rings = great_circles(3.0, 12)
    assert rings.shape == (3, 13, 3)
    np.testing.assert_allclose(np.linalg.norm(rings, axis=2), 3.0)
    np.testing.assert_allclose(rings[:, 0], rings[:, -1])


def test_the_drone_has_four_rotors_and_mirror_symmetry() -> None:
    discs = [part for part in drone_parts() if part.outlined]
    middles = np.array([part.points.mean(axis=0) for part in discs])
    assert len(discs) == 4
    np.testing.assert_allclose(middles.mean(axis=0)[:2], 0.0, atol=1e-9)
    np.testing.assert_allclose(np.abs(middles[:, 0]), np.abs(middles[:, 1]))
    assert sorted(np.sign(middles[:, 0] * middles[:, 1])) == [-1, -1, 1, 1]


def test_the_gem_is_a_closed_octahedron() -> None:
    faces = [part.points for part in gem(2.0, 0.3)]
    assert len(faces) == 8
    corners = np.unique(np.round(np.concatenate(faces), 9), axis=0)
    assert len(corners) == 6
    assert corners[:, 2].tolist().count(2.0) == corners[:, 2].tolist().count(-2.0) == 1


@pytest.mark.parametrize(("extent", "spacing"), [(60.0, 10.0), (500.0, 100.0), (8.0, 1.0), (1.0, 0.2), (37.0, 5.0)])
def test_ticks_are_round(extent: float, spacing: float) -> None:
    assert tick_spacing(extent) == pytest.approx(spacing)


def test_ticks_stay_within_the_range() -> None:
    assert ticks(-12.0, 27.0) == pytest.approx((-10, -5, 0, 5, 10, 15, 20, 25))


def test_a_wall_lies_in_its_plane_and_reaches_its_edges() -> None:
    segments, edges = wall_grid((0.0, 0.0, 0.0), (10.0, 20.0, 30.0), 1, True)
    assert (segments[..., 1] == 20.0).all()
    assert segments[..., 0].min() == segments[..., 2].min() == 0.0
    assert (segments[..., 0].max(), segments[..., 2].max()) == (10.0, 30.0)
    middle = segments[edges == 0].mean(axis=1)
    assert ((middle[:, 0] > 0) & (middle[:, 0] < 10) | (middle[:, 2] > 0) & (middle[:, 2] < 30)).all()
    length = np.linalg.norm(segments[:, 1] - segments[:, 0], axis=1)[edges == 1].sum()
    assert length == pytest.approx(2 * (10 + 30))


def test_checkers_cover_half_of_an_even_floor() -> None:
    tiles = checkers((0.0, 0.0, 1.0), (60.0, 60.0, 9.0))
    sides = tiles.max(axis=1) - tiles.min(axis=1)
    assert (sides[:, 0] * sides[:, 1]).sum() == pytest.approx(0.5 * 60 * 60)
    assert (tiles[..., 2] == 1.0).all()
