from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from rl_tracking.envs.scene import Scene
from rl_tracking.viewer.moment import moment_of
from rl_tracking.viewer.rig import TURN, CameraRig


def glide(rig, frame, seconds: float = 20.0) -> None:
    for _ in range(int(seconds * 30)):
        rig.advance(1 / 30, frame)


def test_it_looks_at_the_chase_or_at_the_whole_arena(make) -> None:
    frame = make().frame()
    rig = CameraRig(frame, turning=False)
    near = rig.camera.distance
    rig.toggle_follow()
    glide(rig, frame)
    np.testing.assert_allclose(rig.camera.target, (5, 5, 5), atol=1e-3)
    assert rig.camera.distance > 1.5 * near
    rig.toggle_follow()
    glide(rig, frame)
    # Pursuer at (1, 5, 3), target at (6, 5, 3): nearer to their middle than to the arena's.
    assert np.linalg.norm(np.subtract(rig.camera.target, (3.5, 5, 3))) < np.linalg.norm(
        np.subtract(rig.camera.target, (5, 5, 5))
    )
    assert rig.camera.distance == pytest.approx(near, rel=1e-3)


def test_a_scene_without_pursuers_and_targets_is_shown_whole(make) -> None:
    frame = make().frame()
    rig = CameraRig(replace(frame, moment=moment_of(Scene(torch.zeros(3), torch.full((3,), 10.0)))), turning=False)
    np.testing.assert_allclose(rig.camera.target, (5, 5, 5))
    whole = CameraRig(frame, following=False, turning=False)
    assert rig.camera.distance == pytest.approx(whole.camera.distance)


def test_it_glides_and_arrives(make) -> None:
    frame = make().frame()
    rig = CameraRig(frame, turning=False)
    before = rig.camera
    rig.orbit(1.0, 0.2)
    rig.advance(0.02, frame)
    assert before.azimuth < rig.camera.azimuth < before.azimuth + 0.5
    glide(rig, frame)
    assert rig.camera.azimuth == pytest.approx(before.azimuth + 1.0, abs=1e-3)
    assert rig.camera.elevation == pytest.approx(before.elevation + 0.2, abs=1e-3)


def test_one_long_glide_is_many_short_ones(make) -> None:
    frame = make().frame()
    short, long = CameraRig(frame, turning=False), CameraRig(frame, turning=False)
    for rig in (short, long):
        rig.orbit(0.8, 0.0)
        rig.zoom(2.0)
    for _ in range(10):
        short.advance(0.01, frame)
    long.advance(0.1, frame)
    assert short.camera.azimuth == pytest.approx(long.camera.azimuth, abs=1e-9)
    assert short.camera.distance == pytest.approx(long.camera.distance, rel=1e-9)


def test_zoom_has_limits(make) -> None:
    frame = make().frame()
    rig = CameraRig(frame, turning=False)
    before = rig.camera.distance
    rig.zoom(2.0)
    glide(rig, frame)
    assert rig.camera.distance == pytest.approx(before / 2, rel=1e-3)
    for _ in range(100):
        rig.zoom(2.0)
    glide(rig, frame)
    assert rig.camera.distance == pytest.approx(max(before / 8, rig.camera.distance_limits[0]), rel=1e-3)


def test_it_turns_slowly_until_switched_off(make) -> None:
    frame = make().frame()
    rig = CameraRig(frame)
    start = rig.camera.azimuth
    glide(rig, frame, 10.0)
    assert math.remainder(rig.camera.azimuth - start, 2 * math.pi) == pytest.approx(10 * TURN, rel=0.05)
    rig.toggle_turn()
    glide(rig, frame, 5.0)
    stood = rig.camera.azimuth
    glide(rig, frame, 5.0)
    assert rig.camera.azimuth == pytest.approx(stood, abs=1e-6)


def test_a_calm_camera_stands_still_until_the_chase_strays(make) -> None:
    runtime = make(steps=40)
    rig = CameraRig(runtime.frame(), turning=False, calm=True)
    start = rig.camera
    runtime.forward(1)
    glide(rig, runtime.frame(), 2.0)
    assert rig.camera is start
    runtime.forward(20)  # 16 m beyond the target
    glide(rig, runtime.frame())
    moved = rig.camera
    assert moved.target[0] > start.target[0] + 1
    glide(rig, runtime.frame(), 1.0)
    assert rig.camera is moved


def test_a_cut_does_not_glide(make) -> None:
    runtime = make(steps=40)
    rig = CameraRig(runtime.frame(), turning=False)
    runtime.forward(20)
    rig.cut(runtime.frame())
    there = rig.camera
    glide(rig, runtime.frame())
    np.testing.assert_allclose(rig.camera.target, there.target)
