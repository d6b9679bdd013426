"""An environment's own pictures, in files and in a window of SDL in memory."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pygame
import pytest
from PIL import Image

from rl_tracking.errors import RunError, UsageError
from rl_tracking.runs.tasks import GymnasiumTask
from rl_tracking.runs.tasks.environment_episodes import RandomPilot
from rl_tracking.viewer.app import watch_pictures
from rl_tracking.viewer.pictures import Player, write
from tests.failing_envs import ID

SHORT = GymnasiumTask("CartPole-v1", {"max_episode_steps": 6})


def left(envs, observations):
    return [0 for _ in envs]


def by_hand(steps, seed):
    """What Gymnasium renders after so many steps to the left."""
    env = gym.make("CartPole-v1", render_mode="rgb_array")
    env.reset(seed=seed)
    for _ in range(steps):
        env.step(0)
    picture = env.render()
    env.close()
    return picture


@pytest.mark.parametrize(("wanted", "shown"), [(3, 3), (None, 6), (6, 6)])
def test_a_screenshot_is_of_its_step_or_of_the_last_one(wanted, shown, tmp_path) -> None:
    path = tmp_path / "there.png"
    player = Player(SHORT, left, seed=4)
    assert watch_pictures(player, headless=True, screenshot=path, screenshot_step=wanted) == [path]
    assert np.array_equal(np.asarray(Image.open(path)), by_hand(shown, seed=4))


def test_a_screenshot_of_a_step_that_no_episode_has_is_refused(tmp_path) -> None:
    with pytest.raises(UsageError, match="--screenshot-step 7 comes after the end: an episode has 6 steps"):
        watch_pictures(Player(SHORT, left), headless=True, screenshot=tmp_path / "a.png", screenshot_step=7)
    assert list(tmp_path.iterdir()) == []


def test_a_film_is_one_episode_at_the_environment_s_own_pace(tmp_path) -> None:
    film, still = tmp_path / "film.gif", tmp_path / "there.png"
    player = Player(SHORT, left)
    assert watch_pictures(player, headless=True, record=film, screenshot=still, screenshot_step=2) == [still, film]
    assert np.array_equal(np.asarray(Image.open(still)), by_hand(2, seed=0))
    with Image.open(film) as image:
        assert image.size == (600, 400)
        durations = []
        for i in range(image.n_frames):
            image.seek(i)
            durations.append(image.info["duration"])
    # The start and 6 steps at 50 pictures a second; pictures that do not change are shown longer.
    assert sum(durations) == 7 * 20


def test_the_next_episode_has_the_next_seed() -> None:
    player = Player(SHORT, left, seed=7)
    while not player.episode.over:
        player.step()
    assert (player.episode.seed, player.episode.steps, player.episode.total) == (7, 6, 6.0)
    player.step()
    assert (player.episode.seed, player.episode.steps, player.episode.over) == (8, 0, False)
    player.close()


def test_the_keys_of_the_window(monkeypatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    player = Player(GymnasiumTask("CartPole-v1"), left)
    pressed = [" ", ".", ".", "r", " ", "q"]
    seen = []

    def events():
        seen.append((player.playing, player.episode.seed, player.episode.steps))
        key = pressed.pop(0)
        return [pygame.event.Event(pygame.KEYDOWN, key=ord(key), unicode=key)]

    monkeypatch.setattr(pygame.event, "get", events)
    assert watch_pictures(player) == []
    assert [playing for playing, _, _ in seen] == [True, False, False, False, True, False]
    assert [(seed, steps) for _, seed, steps in seen[1:4]] == [(0, 0), (0, 1), (0, 2)]
    assert seen[4][1] == 1
    assert not pygame.display.get_init()


def test_an_environment_without_pictures_is_refused() -> None:
    with pytest.raises(UsageError, match=r"renders no pictures \(rgb_array\)"):
        Player(GymnasiumTask("rl_tracking/Pursuit-v0"), left)


def test_a_missing_package_is_one_line(monkeypatch, tmp_path) -> None:
    player = Player(SHORT, left)

    def missing():
        raise gym.error.DependencyNotInstalled("pygame is not installed,\nrun `pip install x`")

    monkeypatch.setattr(player._env.unwrapped, "render", missing)
    with pytest.raises(UsageError, match=r"'CartPole-v1' cannot be rendered here: pygame is not installed, run"):
        watch_pictures(player, headless=True, record=tmp_path / "film.gif")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (
            "render raises",
            r"cannot be rendered here: ZeroDivisionError: no light \(.*failing_envs.py:\d+\), at step 5 of",
        ),
        (
            "render None",
            "cannot be watched: it rendered a NoneType; it must be a picture .height, width, 3., at step 5",
        ),
        (
            "render grey",
            r"cannot be watched: it rendered an array of shape \(8, 8\); it must be a picture .*, at step 5",
        ),
        ("raises", r"raised KeyError: .* in step\(\), at step 4 of its episode in the episode of seed 0"),
        ("observation nan", r"returned observation with nan at index 0 from step\(\).*, at step 4 of its episode"),
    ],
)
def test_an_environment_that_fails_is_named(wrong, said, tmp_path):
    player = Player(GymnasiumTask(ID, {"wrong": wrong, "at": 5}), RandomPilot().act)
    film = tmp_path / "film.gif"
    with pytest.raises(RunError, match=said) as caught:
        write(player, record=film)
    assert not film.exists()
    assert "\n" not in str(caught.value)
