"""Scene and instruments on a canvas that only remembers: no pygame."""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np
import pytest

from rl_tracking.viewer.camera import camera_for_arena
from rl_tracking.viewer.canvas import CAPTURED, LOSS, TARGET, mix, pursuer_colour, shades
from rl_tracking.viewer.hud import KEYS, draw_hud
from rl_tracking.viewer.scene import draw_scene


class Memory:
    """Remembers what was drawn, in order."""

    size = (1280.0, 720.0)

    def __init__(self) -> None:
        self.texts: dict[str, tuple] = {}
        self.rounds: list[tuple] = []
        self.polygons: list[tuple] = []
        self.bubbles: list[tuple] = []
        self.magnifieds: list[tuple] = []
        self.points: list[np.ndarray] = []

    def backdrop(self) -> None: ...

    def line(self, start, end, colour, width=1.0) -> None:
        self.points.append(np.array([start, end]))

    def lines(self, starts, ends, colours, widths=1.0) -> None:
        assert starts.shape == ends.shape
        assert colours.shape == (len(starts), 3)
        assert ((colours >= 0) & (colours <= 255)).all()
        self.points += [starts, ends]

    def polygon(self, points, colour, alpha=1.0) -> None:
        self.polygons.append((points, colour, alpha))

    def rounded(self, rect, radius, colour, alpha=1.0) -> None:
        self.rounds.append((rect, colour))

    def glow(self, centre, radius, colour, strength=1.0) -> None: ...

    def bubble(self, centre, radius, colour, alpha=1.0) -> None:
        self.bubbles.append((centre, radius, colour))

    def text(self, text, position, height, colour, anchor="left", bold=False) -> float:
        self.texts[text] = (position, colour)
        return 7.0 * len(text)

    @contextmanager
    def magnified(self, rect):
        self.magnifieds.append(rect)
        yield self


@pytest.fixture
def canvas() -> Memory:
    return Memory()


def test_colours_mix() -> None:
    assert mix((0, 0, 0), (100, 200, 50), 0.5) == (50, 100, 25)
    assert mix((0, 0, 0), (100, 200, 50), 7.0) == (100, 200, 50)
    np.testing.assert_allclose(shades((0, 0, 0), (100, 200, 50), np.array([-1.0, 0.5])), [(0, 0, 0), (50, 100, 25)])


def test_the_instruments_say_what_the_frame_says(make, canvas) -> None:
    runtime = make(seed=11)
    runtime.forward(3)
    draw_hud(canvas, runtime.frame())
    for text in ("ahead", "line   seed 11   episode 1", "2.0", "0.3", "step 3 / 8", "paused", "chasing", "1.5 m"):
        assert text in canvas.texts, text
    assert canvas.texts["alive"][1] != LOSS
    for text in ("+1.00", "\N{MINUS SIGN}3.00"):
        assert text in canvas.texts, text
    assert "Keys" not in canvas.texts


def test_reward_bars_grow_from_the_middle(make, canvas) -> None:
    runtime = make()
    runtime.forward(4)
    draw_hud(canvas, runtime.frame())
    (gain,) = [rect for rect, colour in canvas.rounds if colour == CAPTURED and rect[0] > 900]
    (loss,) = [rect for rect, colour in canvas.rounds if colour == LOSS]
    assert loss[0] + loss[2] == pytest.approx(gain[0])
    assert loss[2] == pytest.approx(4 * gain[2])


def test_within_the_radius_the_instruments_change(make, canvas) -> None:
    runtime = make()
    runtime.forward(4)
    draw_hud(canvas, runtime.frame())
    assert canvas.texts["1.0"][1] == CAPTURED
    assert "in radius" in canvas.texts


def test_an_ending_is_announced(make, canvas) -> None:
    runtime = make(terminates=True)
    runtime.forward(99)
    draw_hud(canvas, runtime.frame())
    assert canvas.texts["Captured after 0.4 s"][1] == CAPTURED


def test_help_lists_every_key(make, canvas) -> None:
    draw_hud(canvas, make().frame(), show_help=True)
    for key, meaning in KEYS:
        assert key in canvas.texts
        assert meaning in canvas.texts


def test_long_names_and_many_terms_stay_within_the_picture(make, canvas) -> None:
    runtime = make()
    runtime.pilot.name = "a-very-long-name-of-a-checkpoint-file.zip"
    runtime.forward(1)
    frame = runtime.frame()
    frame.terms.update({f"term number {i}": 0.1 for i in range(40)})
    draw_hud(canvas, frame)
    assert all(len(text) < 40 for text in canvas.texts)
    assert all(rect[1] + rect[3] <= 720 for rect, _ in canvas.rounds)


def test_the_target_is_where_the_camera_projects_it(make, canvas) -> None:
    frame = make().frame()
    camera = camera_for_arena(frame.arena_low, frame.arena_high)
    draw_scene(canvas, camera, frame)
    pixels, depth = camera.project(frame.moment.target_position, canvas.size)
    ((centre, radius, colour),) = canvas.bubbles
    assert centre == pytest.approx(tuple(pixels))
    assert radius == pytest.approx(frame.capture_radius * camera.pixels_per_metre(float(depth), 720))
    assert colour == TARGET


def test_the_capture_sphere_changes_colour(make, canvas) -> None:
    runtime = make()
    runtime.forward(4)
    frame = runtime.frame()
    draw_scene(canvas, camera_for_arena(frame.arena_low, frame.arena_high), frame)
    assert canvas.bubbles[0][2] == CAPTURED


def test_the_far_body_is_drawn_first(make, canvas) -> None:
    # Seen from +x the target (x = 6) hides the pursuer (x = 1); from -x it is the other way round.
    frame = make().frame()
    camera = camera_for_arena(frame.arena_low, frame.arena_high)
    for azimuth, nearest in ((0.0, "target"), (np.pi, "pursuer")):
        canvas.magnifieds.clear()
        draw_scene(canvas, camera.orbited(azimuth - camera.azimuth, 0.0), frame)
        widths = [rect[2] for rect in canvas.magnifieds]
        assert ("target" if widths[1] < widths[0] else "pursuer") == nearest


def test_nothing_behind_the_eye_is_drawn(make, canvas) -> None:
    frame = make().frame()
    camera = camera_for_arena(frame.arena_low, frame.arena_high).orbited(0.0, -1.0)
    inside = camera.zoomed(100.0).looking_at(np.array([5.0, 5.0, 3.0]))  # between pursuer and target
    draw_scene(canvas, inside, frame)
    limit = 1e4 * max(canvas.size)
    assert all(np.abs(points).max() < limit for points in canvas.points if len(points))


def test_a_flat_world_has_no_walls_and_no_altitude(make, canvas) -> None:
    flat, deep = make(dimensions=2).frame(), make().frame()
    draw_scene(canvas, camera_for_arena(flat.arena_low, flat.arena_high), flat)
    few = sum(len(points) for points in canvas.points)
    other = Memory()
    draw_scene(other, camera_for_arena(deep.arena_low, deep.arena_high), deep)
    assert few < 0.75 * sum(len(points) for points in other.points)


def test_pursuers_have_colours_of_their_own() -> None:
    assert len({pursuer_colour(i) for i in range(6)}) == 6
    assert pursuer_colour(6) == pursuer_colour(0)
