from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pygame
import pytest
import torch

from rl_tracking import plugins
from rl_tracking.envs.scene import Scene
from rl_tracking.envs.simulator import Simulator
from rl_tracking.envs.vec_env import make_scenario
from rl_tracking.viewer.camera import camera_for_arena
from rl_tracking.viewer.canvas import BACKGROUND, CAPTURED, TARGET, pursuer_colour
from rl_tracking.viewer.draw import PygameCanvas, draw_frame, picture
from rl_tracking.viewer.moment import moment_of
from rl_tracking.viewer.rig import CameraRig
from rl_tracking.viewer.runtime import Runtime

SIZE = (640, 360)


def blank(size=SIZE) -> pygame.Surface:
    return pygame.Surface(size, 0, 32)


def pixels_of(surface: pygame.Surface) -> np.ndarray:
    return pygame.surfarray.array3d(surface).transpose(1, 0, 2).astype(int)


def drawn(frame, camera=None, size=SIZE, **options) -> np.ndarray:
    surface = blank(size)
    draw_frame(surface, camera or camera_for_arena(frame.low, frame.high), frame, **options)
    return pixels_of(surface)


def around(pixels: np.ndarray, centre: np.ndarray, radius: int) -> np.ndarray:
    x, y = np.round(centre).astype(int)
    return pixels[y - radius : y + radius + 1, x - radius : x + radius + 1].reshape(-1, 3)


def nearness(colours: np.ndarray, colour: tuple[int, int, int]) -> float:
    """Least angle between ``colour`` and any bright one of ``colours`` [rad]."""
    bright = colours[colours.max(axis=1) > 110]
    cosine = bright @ np.array(colour) / np.linalg.norm(bright, axis=1) / np.linalg.norm(colour)
    return float(np.arccos(np.clip(cosine, -1, 1)).min()) if len(bright) else np.inf


def test_target_and_pursuer_are_drawn_in_their_colours_where_they_are(make) -> None:
    frame = make().frame()
    camera = camera_for_arena(frame.low, frame.high)
    pixels = drawn(frame, camera)
    assert pixels.std() > 5
    target, _ = camera.project(frame.moment.of_role("target")[0], SIZE)
    pursuer, _ = camera.project(frame.moment.position[0], SIZE)
    assert nearness(around(pixels, target, 4), TARGET) < 0.06
    assert nearness(around(pixels, pursuer, 8), pursuer_colour(0)) < 0.1
    assert nearness(around(pixels, target, 4), pursuer_colour(0)) > 0.3


def test_the_picture_follows_the_flight(make) -> None:
    runtime = make()
    runtime.forward(1)
    first = runtime.frame()
    camera = camera_for_arena(first.low, first.high)
    runtime.forward(1)
    second = runtime.frame()
    place, _ = camera.project(second.moment.position[0], SIZE)
    before, after = (around(drawn(frame, camera), place, 3).max(axis=0).sum() for frame in (first, second))
    assert after > before + 100


def test_the_same_frame_gives_the_same_picture(make) -> None:
    frame = make().frame()
    np.testing.assert_array_equal(drawn(frame), drawn(frame))


def test_help_covers_the_middle(make) -> None:
    frame = make().frame()
    changed = (drawn(frame) != drawn(frame, show_help=True)).any(axis=2)
    assert changed[150:210, 250:390].mean() > 0.5
    assert not changed[:, :100].any()


@pytest.mark.parametrize("size", [(1280, 720), (320, 200), (900, 1200), (64, 48)])
@pytest.mark.parametrize("world", [{}, {"dimensions": 2}])
def test_any_size_any_world(make, fleet, size, world) -> None:
    for runtime in (make(**world), fleet(**world)):
        runtime.forward(5)
        assert drawn(runtime.frame(), size=size).std() > 2


def test_an_empty_scene_shows_its_arena(make) -> None:
    frame = make().frame()
    empty = replace(
        frame,
        moment=moment_of(Scene(torch.zeros(3), torch.ones(3))),
        trails=np.zeros((0, 1, 3)),
        history=np.zeros(0),
    )
    assert drawn(empty, CameraRig(empty).camera).std() > 2


def test_every_view_of_the_arena_can_be_drawn(make) -> None:
    runtime = make()
    runtime.forward(3)
    frame = runtime.frame()
    camera = camera_for_arena(frame.low, frame.high)
    for zoom in (0.2, 1.0, 100.0):
        for azimuth in np.linspace(0, 6, 7):
            for point in frame.moment.of_role("target")[0], np.array([0.0, 0.0, 0.0]):
                drawn(frame, camera.zoomed(zoom).orbited(azimuth, -1.0).looking_at(point), size=(160, 90))


def test_a_picture_is_an_array_with_smoothed_edges(make) -> None:
    frame = make().frame()
    camera = camera_for_arena(frame.low, frame.high)
    array = picture(camera, frame, SIZE)
    assert array.shape == (360, 640, 3)
    assert array.dtype == np.uint8
    target, _ = camera.project(frame.moment.of_role("target")[0], SIZE)
    assert nearness(around(array.astype(int), target, 4), TARGET) < 0.06


def test_a_line_has_its_width_and_smooth_edges() -> None:
    surface = blank((40, 40))
    PygameCanvas(surface, 2.0).line((2.0, 10.0), (18.0, 10.0), (200, 100, 50), 3.0)
    column = pixels_of(surface)[:, 20, 0]
    assert column.sum() == pytest.approx(6 * 200, rel=0.25)
    assert column[20] == 200
    assert column[:15].max() == column[26:].max() == 0


def test_a_glow_adds_light_and_fades() -> None:
    surface = blank((40, 40))
    surface.fill((10, 20, 30))
    PygameCanvas(surface, 1.0).glow((20.0, 20.0), 10.0, (100, 0, 0))
    pixels = pixels_of(surface)
    assert pixels[20, 20, 0] > 90
    assert 10 < pixels[20, 26, 0] < pixels[20, 22, 0]
    assert pixels[20, 32].tolist() == [10, 20, 30]
    assert (pixels[..., 1:] == (20, 30)).all()


def test_a_magnified_patch_is_put_back_in_its_place() -> None:
    surface = blank((60, 60))
    canvas = PygameCanvas(surface, 1.0)
    with canvas.magnified((10.0, 20.0, 20.0, 20.0)) as fine:
        fine.polygon([(14.0, 24.0), (24.0, 24.0), (24.0, 34.0), (14.0, 34.0)], (240, 240, 240))
    pixels = pixels_of(surface)[..., 0]
    assert (pixels[26:32, 16:22] == 240).all()
    assert pixels[:23].max() == pixels[:, :13].max() == pixels[36:].max() == pixels[:, 26:].max() == 0


def test_a_patch_beyond_the_picture_is_drawn_directly() -> None:
    canvas = PygameCanvas(blank((30, 30)), 1.0)
    with canvas.magnified((100.0, 100.0, 10.0, 10.0)) as same:
        assert same is canvas


def test_text_is_anchored() -> None:
    surface = blank((200, 40))
    canvas = PygameCanvas(surface, 1.0)
    width = canvas.text("12.3", (150.0, 5.0), 16.0, (255, 255, 255), "right")
    lit = np.flatnonzero(pixels_of(surface).max(axis=(0, 2)) > 60)
    assert 150 - width - 1 <= lit.min()
    assert lit.max() <= 150
    assert 10 < width < 80


def test_a_huge_polygon_is_left_out_and_a_bubble_shows_its_rim() -> None:
    surface = blank((60, 60))
    canvas = PygameCanvas(surface, 1.0)
    canvas.polygon([(-1e6, 0.0), (1e6, 0.0), (0.0, 1e6)], (255, 255, 255), 0.5)
    assert pixels_of(surface).max() == 0
    canvas.bubble((30.0, 30.0), 20.0, CAPTURED)
    pixels = pixels_of(surface)
    assert pixels[30, 47].sum() > 1.5 * pixels[34, 34].sum() > 0
    assert pixels[30, 52].sum() == 0


def test_the_backdrop_is_dark_and_lit_in_the_middle() -> None:
    surface = blank()
    PygameCanvas(surface, 1.0).backdrop()
    pixels = pixels_of(surface)
    assert pixels[165, 320].sum() > pixels[2, 2].sum()
    assert np.abs(pixels[2, 2] - BACKGROUND).max() <= 1


def test_a_camera_shift_moves_the_flight_only(make) -> None:
    frame = make().frame()
    camera = camera_for_arena(frame.low, frame.high)
    moved = drawn(frame, replace(camera, shift=(0.1, 0.0)))
    place, _ = replace(camera, shift=(0.1, 0.0)).project(frame.moment.of_role("target")[0], SIZE)
    assert nearness(around(moved, place, 4), TARGET) < 0.06


@pytest.mark.parametrize("name", sorted(plugins.names("scenario")))
def test_every_scenario_can_be_watched(name) -> None:
    simulator = Simulator(make_scenario(name))
    action = torch.as_tensor(simulator.scenario.action_space.sample())[None]
    runtime = Runtime(simulator, SimpleNamespace(name="constant", act=lambda state, observation: action))
    runtime.forward(3)
    frame = runtime.frame()
    assert frame.step == 3
    assert drawn(frame, CameraRig(frame).camera).std() > 2
