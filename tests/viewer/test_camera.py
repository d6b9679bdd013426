from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from rl_tracking.viewer.camera import ELEVATION_LIMITS, Camera, camera_for_arena

SIZE = (400, 200)
LEVEL = Camera(azimuth=0.0, elevation=0.0, distance=10.0, field_of_view=math.pi / 2)
"""Eye at (10, 0, 0), looking along -x, with y to the right; a metre at 1 m depth covers 100 pixels."""


def test_projection_by_hand() -> None:
    points = np.array([(0.0, 0.0, 0.0), (0.0, 1.0, 2.0), (5.0, -1.0, 0.0)])
    pixels, depth = LEVEL.project(points, SIZE)
    np.testing.assert_allclose(pixels, [(200, 100), (210, 80), (180, 100)], atol=1e-9)
    np.testing.assert_allclose(depth, [10, 10, 5], atol=1e-9)


def test_seen_from_above_the_picture_is_a_map() -> None:
    # From straight above with the eye's azimuth at -90 degrees, x points right and y up.
    above = Camera(azimuth=-math.pi / 2, elevation=math.pi / 2, distance=4.0, field_of_view=math.pi / 2)
    pixels, depth = above.project(np.array([(1.0, 0.0, 0.0), (0.0, 1.0, 2.0)]), SIZE)
    np.testing.assert_allclose(pixels, [(225, 100), (200, 50)], atol=1e-9)
    np.testing.assert_allclose(depth, [4, 2], atol=1e-9)


def test_shift_moves_the_picture() -> None:
    pixels, _ = replace(LEVEL, shift=(0.25, -0.1)).project(np.zeros((1, 3)), SIZE)
    np.testing.assert_allclose(pixels, [(300, 80)], atol=1e-9)


def test_basis_is_orthonormal_and_right_handed() -> None:
    basis = Camera(azimuth=0.7, elevation=0.4).basis
    np.testing.assert_allclose(basis @ basis.T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(np.cross(basis[0], basis[1]), -basis[2], atol=1e-12)


def test_a_pixel_and_its_depth_lead_back_to_the_point() -> None:
    camera = Camera(azimuth=2.0, elevation=0.5, distance=30.0, target=(1.0, -2.0, 3.0))
    points = np.random.default_rng(0).uniform(-5, 5, size=(20, 3))
    pixels, depth = camera.project(points, SIZE)
    scale = depth / camera.focal_length(SIZE[1])
    right, up, forward = camera.basis
    back = (
        camera.eye
        + ((pixels[:, 0] - 200) * scale)[:, None] * right
        + ((100 - pixels[:, 1]) * scale)[:, None] * up
        + depth[:, None] * forward
    )
    np.testing.assert_allclose(back, points, atol=1e-9)


def test_segments_are_cut_at_the_near_plane() -> None:
    # near = 0.2, so the plane is x = 9.8; the eye is at x = 10.
    starts = np.array([(0.0, 1.0, 0.0), (20.0, 0.0, 0.0), (11.0, 0.0, 0.0), (1.0, 0.0, 0.0)])
    ends = np.array([(19.6, 3.0, 0.0), (0.0, 0.0, 2.0), (12.0, 0.0, 0.0), (2.0, 0.0, 0.0)])
    first, last, visible = LEVEL.clip_segments(starts, ends)
    assert visible.tolist() == [True, True, False, True]
    np.testing.assert_allclose(first[0], starts[0])
    np.testing.assert_allclose(last[0], (9.8, 2.0, 0.0), atol=1e-9)
    np.testing.assert_allclose(first[1], (9.8, 0.0, 1.02), atol=1e-9)
    np.testing.assert_allclose(last[1], ends[1])
    np.testing.assert_allclose((first[3], last[3]), (starts[3], ends[3]))


def test_points_behind_the_eye_have_finite_pixels() -> None:
    pixels, depth = LEVEL.project(np.array([(10.0, 1.0, 1.0), (15.0, 1.0, 1.0)]), SIZE)
    assert np.isfinite(pixels).all()
    assert (depth < LEVEL.near).all()


def test_orbit_keeps_the_distance_and_stops_at_its_limits() -> None:
    camera = Camera(azimuth=0.0, elevation=0.5, distance=7.0, target=(1.0, 2.0, 3.0))
    turned = camera.orbited(1.0, 0.1)
    assert np.linalg.norm(turned.eye - np.array(turned.target)) == pytest.approx(7.0)
    assert turned.azimuth == pytest.approx(1.0)
    assert camera.orbited(0.0, 9.0).elevation == ELEVATION_LIMITS[1]
    assert camera.orbited(0.0, -9.0).elevation == ELEVATION_LIMITS[0]
    np.testing.assert_allclose(camera.orbited(2 * math.pi, 0.0).eye, camera.eye, atol=1e-9)


def test_zoom_enlarges_and_stops_at_its_limits() -> None:
    camera = Camera(distance=8.0, distance_limits=(2.0, 20.0))
    assert camera.zoomed(2.0).distance == 4.0
    assert camera.zoomed(100.0).distance == 2.0
    assert camera.zoomed(0.01).distance == 20.0
    assert camera.zoomed(2.0).pixels_per_metre(4.0, 200) == camera.pixels_per_metre(4.0, 200)


@pytest.mark.parametrize("high", [(10.0, 10.0, 10.0), (10.0, 10.0, 0.0), (500.0, 200.0, 100.0)])
@pytest.mark.parametrize("azimuth", [0.0, 0.8, 2.4, -1.9])
def test_the_whole_arena_is_in_the_picture(high: tuple[float, float, float], azimuth: float) -> None:
    camera = replace(camera_for_arena(np.zeros(3), np.array(high)), azimuth=azimuth)
    corners = np.array([[high[i] * (k >> i & 1) for i in range(3)] for k in range(8)])
    pixels, depth = camera.project(corners, (1280, 720))
    assert (depth > camera.near).all()
    assert (pixels >= 0).all()
    assert (pixels <= (1280, 720)).all()
