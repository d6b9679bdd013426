"""What shows the world is no state, whatever it is called; and what is called so may be state."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from rl_tracking import HybridGRPO
from rl_tracking.adapters import registry
from rl_tracking.adapters.build import RestorableGymVecEnv
from tests.adapters.gym_toys import Drift
from tests.adapters.test_adapters import actions_for, assert_faithful, started
from tests.agents.toys import PLAIN


@pytest.fixture(autouse=True)
def _no_window(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")


@pytest.mark.parametrize("form", ["environment", "function"])
@pytest.mark.parametrize("env_id", ["CartPole-v1", "Acrobot-v1"])
def test_only_worlds_open_windows(env_id, form, monkeypatch):
    drawn = []
    cls = type(registry.make(env_id).unwrapped)
    render = cls.render

    def noted(env):
        drawn.append(env)
        return render(env)

    monkeypatch.setattr(cls, "render", noted)
    make = lambda: gym.make(env_id, render_mode="human")  # noqa: E731
    env = RestorableGymVecEnv(make() if form == "environment" else make, 2, seed=0)
    env.reset()
    sibling, action = env.spawn(4), np.zeros(2, int)
    for _ in range(3):
        sibling.set_state(env.fork(2))
        branches = sibling.step(np.zeros(4, int))[0]
        assert env.step(action)[0].tobytes() == branches[:2].tobytes() == branches[2:].tobytes()
    worlds = [world.unwrapped for world in env.envs]
    screens = [(world.screen, world.clock) for world in worlds]
    assert {id(each) for each in drawn} == {id(world) for world in worlds}
    saved = env.get_state()
    env.step(action)
    env.set_state(saved)
    assert [(world.screen, world.clock) for world in worlds] == screens
    assert all(world.unwrapped.screen is None for world in sibling.envs)
    assert len(saved.to_bytes()) < 8000
    env.close()


def test_training_with_a_window_gives_the_same_weights():
    env = gym.make("CartPole-v1", render_mode="human")
    model = HybridGRPO("MlpPolicy", env, **PLAIN, n_steps=40, batch_size=40, n_epochs=1, seed=0)
    model.learn(40)
    assert env.unwrapped.screen is not None
    silent = HybridGRPO("MlpPolicy", "CartPole-v1", **PLAIN, n_steps=40, batch_size=40, n_epochs=1, seed=0)
    silent.learn(40)
    weights = (
        np.concatenate([p.detach().numpy().ravel() for p in each.policy.parameters()]) for each in (model, silent)
    )
    np.testing.assert_array_equal(*weights)


def test_a_sibling_keeps_its_screen_and_the_world_its_own():
    env = started(RestorableGymVecEnv(gym.make("CartPole-v1", render_mode="rgb_array")))
    sibling = env.spawn(1)
    sibling.set_state(env.get_state())
    before = env.get_state()
    for venv in (env, sibling):
        assert venv.render().shape[-1] == 3
    worlds = [venv.envs[0].unwrapped for venv in (env, sibling)]
    screens = [world.screen for world in worlds]
    for states in (before, env.get_state(), sibling.get_state()):
        for venv in (env, sibling):
            venv.set_state(states)
        assert [world.screen for world in worlds] == screens
        assert all(venv.render().shape[-1] == 3 for venv in (env, sibling))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of a context that could not be made
def test_mujoco_is_restored_between_pictures(monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "egl")
    try:
        env = started(RestorableGymVecEnv(registry.make("HalfCheetah-v5", render_mode="rgb_array")))
        picture = env.render()
    except Exception as error:
        pytest.skip(f"no offscreen rendering here: {type(error).__name__}")
    saved = env.get_state()
    assert_faithful(env, 10)
    env.set_state(saved)
    assert (env.render() == picture).all()
    env.close()


class Handle:
    """Something of a library that cannot be copied, as windows are."""

    def __reduce_ex__(self, protocol):
        raise TypeError("a window is no value")


class Painter:
    """Belongs to drawing by what it holds."""

    def __init__(self):
        self.window, self.lines, self.stream = Handle(), [], iter([1])

    def draw(self, place):
        self.lines.append(place)
        return np.zeros((2, 2, 3), np.uint8)


class Shows(Drift):
    """Makes what it draws with when it is first asked to, under a name that says nothing."""

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012

    def __init__(self):
        super().__init__()
        self.render_mode, self.thing, self.pictures = "rgb_array", None, 0

    def render(self):
        self.thing = self.thing or Painter()
        self.pictures += 1
        return self.thing.draw(self.place)


def test_what_render_makes_is_neither_saved_nor_restored():
    env = started(RestorableGymVecEnv(Shows))
    before = env.get_state()
    env.render()
    world = env.envs[0].unwrapped
    thing = world.thing
    after = env.get_state()
    assert not [name for name in after.differences(before) if "thing" in name]
    sibling = env.spawn(2)
    for states in (before, after):
        env.set_state(states)
        sibling.set_state(states.repeat(2))
        assert world.thing is thing
        assert all(each.unwrapped.thing is None for each in sibling.envs)
    assert_faithful(env)


class Watched(gym.ObservationWrapper):
    """Observes pictures, as an environment of pixels does."""

    def __init__(self, env):
        super().__init__(env)
        self.observation_space = spaces.Box(0, 255, (4, 4, 3), np.uint8)

    def observation(self, observation):
        return self.env.render()[::100, ::150][:4, :4].copy()


def test_observed_pictures_are_those_of_the_branch():
    env = started(RestorableGymVecEnv(lambda: Watched(gym.make("CartPole-v1", render_mode="rgb_array"))))
    assert_faithful(env, 20)
    actions_for(env, 1)
    env.close()
