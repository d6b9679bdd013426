"""Scene and instruments on a canvas that records what is drawn on it, without pygame."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest

from rl_tracking.viewer.camera import camera_for_arena
from rl_tracking.viewer.canvas import CAPTURED, LOSS, OBSTACLE, TARGET, TEXT, ZONE, mix, pursuer_colour, shades
from rl_tracking.viewer.hud import KEYS, draw_hud
from rl_tracking.viewer.moment import Number
from rl_tracking.viewer.scene import draw_scene


class RecordingCanvas:
    """Records what is drawn, in order."""

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
def canvas() -> RecordingCanvas:
    return RecordingCanvas()


def test_colours_mix() -> None:
    assert mix((0, 0, 0), (100, 200, 50), 0.5) == (50, 100, 25)
    assert mix((0, 0, 0), (100, 200, 50), 7.0) == (100, 200, 50)
    np.testing.assert_allclose(shades((0, 0, 0), (100, 200, 50), np.array([-1.0, 0.5])), [(0, 0, 0), (50, 100, 25)])


def test_the_instruments_say_what_the_frame_says(make, canvas) -> None:
    runtime = make(seed=11)
    runtime.forward(3)
    draw_hud(canvas, runtime.frame())
    for text in (
        "ahead",
        "line   seed 11   episode 1",
        "2.0",
        "0.3",
        "step 3 / 8",
        "paused",
        "capture radius",
        "1.5 m",
    ):
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
    assert canvas.texts["capture radius"][1] == CAPTURED
    assert "0.1 s" in canvas.texts
    for text in ("least", "1.0 m", "greatest", "5.0 m"):
        assert text in canvas.texts, text
    assert canvas.texts["lap"][0][1] == canvas.texts["3"][0][1]


def test_an_ending_is_announced_with_the_metrics_of_the_episode(make, canvas) -> None:
    runtime = make(terminates=True)
    runtime.forward(99)
    draw_hud(canvas, runtime.frame())
    assert canvas.texts["Captured after 0.4 s"][1] == CAPTURED
    assert canvas.texts["mean distance [m]"][0][1] == canvas.texts["2.50"][0][1]


def test_an_ending_that_is_no_success_is_not_green(fleet, canvas) -> None:
    runtime = fleet()
    runtime.forward(99)
    draw_hud(canvas, runtime.frame())
    assert canvas.texts["Crashed into rock after 4.0 s"][1] == TEXT


def test_a_scene_without_a_chart_has_a_clock_and_no_curve(fleet, canvas) -> None:
    runtime = fleet()
    runtime.forward(6)
    draw_hud(canvas, runtime.frame())
    assert "step 6 / 60" in canvas.texts
    assert "least" not in canvas.texts
    assert canvas.polygons == []
    assert canvas.texts["0.25"][1] == TEXT
    assert canvas.texts["20.8 m"][0][1] == canvas.texts["spacing"][0][1]


def test_a_number_that_is_not_finite_is_a_dash(fleet, canvas) -> None:
    frame = fleet().frame()
    frame.moment.numbers["spacing"] = Number(np.nan, "s")
    draw_hud(canvas, frame)
    assert "\N{EN DASH} s" in canvas.texts


def test_a_chart_of_negative_and_missing_values_stays_in_its_panel(make, canvas) -> None:
    frame = make().frame()
    history = np.array([3.0, np.nan, -7.0, 2.0])
    draw_hud(canvas, replace(frame, history=history, step=3, time=0.3))
    ((points, _, _),) = [shape for shape in canvas.polygons if len(shape[0]) > 3]
    assert all(613 <= y <= 683.001 for _, y in points)
    assert "\N{MINUS SIGN}7 m" in canvas.texts or "-7 m" in canvas.texts


def test_each_agent_has_a_column_of_rewards(fleet, canvas) -> None:
    runtime = fleet(pursuers=8)
    runtime.forward(4)
    draw_hud(canvas, runtime.frame())
    cells = [canvas.texts[text] for text in ("+0.050", "+0.350", "+0.650", "+2.15")]
    assert len({place[1] for place, _ in cells}) == 1
    assert [place[0] for place, _ in cells] == sorted(place[0] for place, _ in cells)
    dots = [colour for rect, colour in canvas.rounds if rect[2] == 7.0]
    assert dots == [pursuer_colour(i) for i in range(8)]
    assert "0  1  2  3  4  5  6  7" in canvas.texts
    assert all(rect[0] >= 400 or rect[0] < 300 for rect, _ in canvas.rounds)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_zones_of_every_shape_are_drawn_in_their_colours(fleet, canvas, dimensions) -> None:
    runtime = fleet(dimensions=dimensions)
    colours: dict[bool, set] = {}
    for step, lit in ((1, False), (14, True)):
        runtime.forward(step - runtime.step)
        frame = runtime.frame()
        memory = RecordingCanvas()
        draw_scene(memory, camera_for_arena(frame.low, frame.high), frame)
        assert [colour for _, _, colour in memory.bubbles][:1] != []
        colours[lit] = {colour for _, _, colour in memory.bubbles} | {
            fill for _, fill, alpha in memory.polygons if alpha == 0.12
        }
    assert {TARGET, ZONE} <= colours[False]
    assert CAPTURED not in colours[False]
    assert {CAPTURED, ZONE} <= colours[True]


def test_bodies_of_every_kind_are_drawn(fleet) -> None:
    frame = fleet().frame()
    full = RecordingCanvas()
    camera = camera_for_arena(frame.low, frame.high)
    draw_scene(full, camera, frame)
    for index, body in enumerate(frame.moment.bodies):
        if body.kind == "ball" and body.role == "obstacle":
            pixels, depth = camera.project(frame.moment.position[index], full.size)
            radius = body.size * camera.pixels_per_metre(float(depth), 720)
            assert (pytest.approx(tuple(pixels)), pytest.approx(radius), OBSTACLE) in full.bubbles
    # Drones, gems and boxes are meshes of their own, enlarged one by one: 3 drones, 2 gems, 3 boxes.
    assert len(full.magnifieds) == 8


def test_lines_carry_their_length_and_keep_clear_of_bodies(make, canvas) -> None:
    frame = make().frame()
    camera = camera_for_arena(frame.low, frame.high)
    draw_scene(canvas, camera, frame)
    assert "5.0 m" in canvas.texts
    near = make()
    near.forward(4)
    close = RecordingCanvas()
    draw_scene(close, camera, near.frame())
    assert "1.0 m" not in close.texts


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
    frame.shown.terms.update({f"term number {i}": np.array([0.1]) for i in range(40)})
    frame.moment.numbers.update({f"a very long name of a number {i}": Number(0.1, "m") for i in range(40)})
    draw_hud(canvas, frame)
    assert all(len(text) < 40 for text in canvas.texts)
    assert all(rect[1] + rect[3] <= 720 for rect, _ in canvas.rounds)


def test_the_target_is_where_the_camera_projects_it(make, canvas) -> None:
    frame = make().frame()
    camera = camera_for_arena(frame.low, frame.high)
    draw_scene(canvas, camera, frame)
    pixels, depth = camera.project(frame.moment.of_role("target")[0], canvas.size)
    ((centre, radius, colour),) = canvas.bubbles
    assert centre == pytest.approx(tuple(pixels))
    assert radius == pytest.approx(1.5 * camera.pixels_per_metre(float(depth), 720))
    assert colour == TARGET


def test_the_capture_sphere_changes_colour(make, canvas) -> None:
    runtime = make()
    runtime.forward(4)
    frame = runtime.frame()
    draw_scene(canvas, camera_for_arena(frame.low, frame.high), frame)
    assert canvas.bubbles[0][2] == CAPTURED


def test_the_far_body_is_drawn_first(make, canvas) -> None:
    # Seen from +x the target (x = 6) hides the pursuer (x = 1); from -x it is the other way round.
    frame = make().frame()
    camera = camera_for_arena(frame.low, frame.high)
    for azimuth, nearest in ((0.0, "target"), (np.pi, "pursuer")):
        canvas.magnifieds.clear()
        draw_scene(canvas, camera.orbited(azimuth - camera.azimuth, 0.0), frame)
        widths = [rect[2] for rect in canvas.magnifieds]
        assert ("target" if widths[1] < widths[0] else "pursuer") == nearest


def test_nothing_behind_the_eye_is_drawn(make, canvas) -> None:
    frame = make().frame()
    camera = camera_for_arena(frame.low, frame.high).orbited(0.0, -1.0)
    inside = camera.zoomed(100.0).looking_at(np.array([5.0, 5.0, 3.0]))  # between pursuer and target
    draw_scene(canvas, inside, frame)
    limit = 1e4 * max(canvas.size)
    assert all(np.abs(points).max() < limit for points in canvas.points if len(points))


def test_a_flat_world_has_no_walls_and_no_altitude(make, canvas) -> None:
    flat, deep = make(dimensions=2).frame(), make().frame()
    draw_scene(canvas, camera_for_arena(flat.low, flat.high), flat)
    few = sum(len(points) for points in canvas.points)
    other = RecordingCanvas()
    draw_scene(other, camera_for_arena(deep.low, deep.high), deep)
    assert few < 0.75 * sum(len(points) for points in other.points)


def test_pursuers_have_colours_of_their_own() -> None:
    assert len({pursuer_colour(i) for i in range(6)}) == 6
    assert pursuer_colour(6) == pursuer_colour(0)
