from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pygame
import pytest
from PIL import Image

from rl_tracking.errors import UsageError
from rl_tracking.viewer import app
from rl_tracking.viewer import show as show_module
from rl_tracking.viewer.app import watch
from rl_tracking.viewer.show import Show


@pytest.fixture
def dummy(monkeypatch) -> None:
    """SDL draws into memory."""
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")


def test_headless_films_one_episode(make, tmp_path) -> None:
    runtime = make(hold=0.2)
    path = tmp_path / "flight.gif"
    assert watch(runtime, headless=True, record=path) == [path]
    with Image.open(path) as image:
        assert image.size == (640, 360)
        lengths = []
        for i in range(image.n_frames):
            image.seek(i)
            lengths.append(image.info["duration"])
    # 8 steps of 0.1 s and the hold, at 20 pictures a second; pictures that do not change are shown longer.
    assert sum(lengths) == pytest.approx(1000 * (0.8 + 0.2), abs=101)
    assert len(lengths) >= 16
    assert runtime.episode == 1


def test_a_film_is_cut_after_its_greatest_length(make, tmp_path) -> None:
    path = tmp_path / "flight.gif"
    watch(make(steps=100), headless=True, record=path, max_seconds=0.5)
    with Image.open(path) as image:
        assert image.n_frames == 10


def test_a_screenshot_at_a_step(make, tmp_path) -> None:
    runtime = make()
    path = tmp_path / "flight.png"
    assert watch(runtime, headless=True, screenshot=path, screenshot_step=3, size=(320, 180)) == [path]
    assert runtime.step == 3
    with Image.open(path) as image:
        assert image.size == (320, 180)
        assert np.asarray(image).std() > 5


def test_a_screenshot_shows_a_pursuer_near_a_zone_if_no_step_is_given(make, tmp_path) -> None:
    # Within three capture radii (4.5 m) from step 1 on; a sixth of the episode is step 8; a quarter is 12.
    runtime = make(steps=48)
    watch(runtime, headless=True, screenshot=tmp_path / "a.png", size=(160, 90))
    assert runtime.step == 8
    runtime = make(steps=48, radius=0.01)
    watch(runtime, headless=True, screenshot=tmp_path / "b.png", size=(160, 90))
    assert runtime.step == 12


def test_a_screenshot_of_a_step_that_no_episode_has_is_refused(make, tmp_path) -> None:
    for step, message in ((9, "--screenshot-step 9 comes after the end: an episode has 8 steps"), (-1, "0 or more")):
        with pytest.raises(UsageError, match=message):
            watch(make(), headless=True, screenshot=tmp_path / "a.png", screenshot_step=step)
    assert list(tmp_path.iterdir()) == []
    runtime = make()
    watch(runtime, headless=True, screenshot=tmp_path / "a.png", screenshot_step=8, size=(160, 90))
    assert runtime.step == 8


def test_a_screenshot_of_a_step_that_never_comes_shows_the_end(make, tmp_path) -> None:
    runtime = make(steps=48, terminates=True)  # which ends with the capture, in the first steps
    watch(runtime, headless=True, screenshot=tmp_path / "a.png", screenshot_step=40, size=(160, 90))
    assert 0 < runtime.step < 40


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "--headless shows nothing by itself"),
        ({"screenshot": "a.jpg"}, r"--screenshot: '.*a\.jpg' must end in \.png"),
        ({"record": "a.webm"}, r"--record: '.*a\.webm' must end in \.gif or \.mp4"),
        ({"record": "none/a.gif"}, "does not exist"),
    ],
)
def test_bad_files_are_refused_before_the_first_step(make, tmp_path, files, message) -> None:
    runtime = make()
    with pytest.raises(UsageError, match=message):
        watch(runtime, headless=True, **{option: tmp_path / name for option, name in files.items()})
    assert runtime.simulator.calls == 0
    assert list(tmp_path.iterdir()) == []


def test_an_error_in_a_step_leaves_no_film(make, tmp_path, monkeypatch) -> None:
    class Unfinished:
        discarded = False

        def add(self, picture) -> None: ...

        def discard(self) -> None:
            self.discarded = True

    film = Unfinished()
    monkeypatch.setattr(show_module, "open_film", lambda path, fps: film)
    runtime = make(steps=50)
    runtime.forward(2)
    runtime.play()

    def broken(state, observation):
        raise UsageError("the reward raised")

    runtime.pilot.act = broken
    with pytest.raises(UsageError, match="the reward raised"):
        watch(runtime, headless=True, record=tmp_path / "a.gif")
    assert film.discarded
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_keeps_what_was_filmed(make, tmp_path) -> None:
    runtime = make(steps=50)
    act, path = runtime.pilot.act, tmp_path / "a.gif"

    def interrupted(state, observation):
        if state.step == 5:
            raise KeyboardInterrupt
        return act(state, observation)

    runtime.pilot.act = interrupted
    assert watch(runtime, headless=True, record=path) == [path]
    with Image.open(path) as image:
        assert image.n_frames >= 9


def keys(monkeypatch, *presses: str | int) -> list[pygame.Surface]:
    """Press one key a picture (characters, or key codes), then ``q``; the pictures shown are collected."""
    shown: list[pygame.Surface] = []
    waiting = [*presses, "q"]

    def get() -> list[pygame.event.Event]:
        if not waiting:
            return []
        press = waiting.pop(0)
        code, character = (press, "") if isinstance(press, int) else (ord(press), press)
        return [pygame.event.Event(pygame.KEYDOWN, key=code, unicode=character)]

    monkeypatch.setattr(pygame.event, "get", get)
    monkeypatch.setattr(pygame.display, "flip", lambda: shown.append(pygame.display.get_surface().copy()))
    return shown


def test_the_window_shows_the_flight_and_q_closes_it(make, dummy, monkeypatch) -> None:
    shown = keys(monkeypatch, "h")
    assert watch(make(), size=(320, 180)) == []
    assert len(shown) == 2
    assert pygame.surfarray.array3d(shown[0]).std() > 5
    assert not pygame.display.get_init()


@pytest.mark.parametrize("press", ["q", "Q", pygame.K_ESCAPE])
def test_q_and_escape_close_the_window(make, dummy, monkeypatch, press) -> None:
    shown = keys(monkeypatch, press, "x", "x")
    watch(make(), size=(160, 90))
    assert len(shown) == 1


def test_keys_play_the_flight(make, dummy, monkeypatch) -> None:
    runtime = make()
    keys(monkeypatch, " ", ".", ".", ".", ",")
    watch(runtime, size=(160, 90))
    assert runtime.paused
    assert runtime.step == 2
    assert runtime.episode == 0

    keys(monkeypatch, "r", "]")
    watch(runtime, size=(160, 90))
    assert (runtime.episode, runtime.seed, runtime.paused, runtime.speed) == (1, 1, False, 2.0)


def test_arrows_and_zoom_move_the_camera_while_held(make) -> None:
    show = Show(make(), (160, 90))
    window = app._Window(show, (160, 90), 60, None)
    show.runtime.pause()

    def hold(code: int, character: str = "") -> None:
        window._handle(pygame.event.Event(pygame.KEYDOWN, key=code, unicode=character))
        for _ in range(30):
            window._move_camera(1 / 60)
        window._handle(pygame.event.Event(pygame.KEYUP, key=code))
        for _ in range(120):
            window._move_camera(1 / 60)
            show.advance(1 / 60)

    start = show.rig.camera
    hold(pygame.K_RIGHT)
    assert show.rig.camera.azimuth == pytest.approx(start.azimuth + 0.5 * app.ORBIT_SPEED, abs=0.01)
    hold(pygame.K_UP)
    assert show.rig.camera.elevation > start.elevation + 0.3
    hold(pygame.K_PLUS, "+")
    assert show.rig.camera.distance == pytest.approx(start.distance / app.ZOOM_SPEED**0.5, rel=0.01)
    hold(pygame.K_MINUS, "-")
    assert show.rig.camera.distance == pytest.approx(start.distance, rel=0.01)


def test_the_mouse_orbits_and_zooms(make) -> None:
    show = Show(make(), (160, 90))
    window = app._Window(show, (160, 90), 60, None)
    show.runtime.pause()
    start = show.rig.camera
    window._handle(pygame.event.Event(pygame.MOUSEMOTION, buttons=(0, 0, 0), rel=(100, 0)))
    assert show.rig.turning
    window._handle(pygame.event.Event(pygame.MOUSEMOTION, buttons=(1, 0, 0), rel=(100, 40)))
    window._handle(pygame.event.Event(pygame.MOUSEWHEEL, y=2))
    assert not show.rig.turning
    for _ in range(300):
        show.advance(1 / 60)
    assert show.rig.camera.azimuth == pytest.approx(start.azimuth - 0.6, abs=0.01)
    assert show.rig.camera.elevation == pytest.approx(start.elevation + 0.2, abs=0.01)
    assert show.rig.camera.distance < 0.85 * start.distance


def test_the_window_closes_when_the_last_episode_is_over(make, dummy) -> None:
    runtime = make(steps=3, episodes=1, hold=0.1)
    watch(runtime, size=(160, 90))
    assert runtime.finished


def test_the_window_films_too(make, dummy, tmp_path) -> None:
    path = tmp_path / "a.gif"
    assert watch(make(steps=4, episodes=1, hold=0.05), size=(160, 90), record=path) == [path]
    with Image.open(path) as image:
        assert image.size == (640, 360)
        assert image.n_frames >= 4


def test_without_a_display_the_error_names_headless() -> None:
    hidden = {name: os.environ[name] for name in os.environ if name not in ("DISPLAY", "WAYLAND_DISPLAY")}
    hidden.pop("SDL_VIDEODRIVER", None)
    code = "from rl_tracking.viewer.app import _open_window; _open_window((160, 90), 'x')"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=hidden, check=False)
    assert result.returncode == 1
    assert "UsageError: no window can be opened here" in result.stderr
    assert "use --headless" in result.stderr
    assert "Hello from the pygame community" not in result.stdout
