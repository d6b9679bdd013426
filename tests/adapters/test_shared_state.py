"""What all worlds share is found by what the code can reach, and must not change."""

import functools
import types

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from rl_tracking.adapters.build import RestorableGymVecEnv
from rl_tracking.adapters.reached_code import ReachedCode
from rl_tracking.restoring.check import check_restorable
from rl_tracking.restoring.protocol import NotRestorableError, SharedStateError
from tests.adapters.gym_toys import Drift
from tests.adapters.test_adapters import assert_faithful, started

TABLE = np.linspace(0, 1, 50)
SPEED = {"slow": 0.1}
LOADED = None


def load():
    """At the first use, as people load models."""
    global LOADED
    if LOADED is None:
        LOADED = {"scale": 1.0}
    return LOADED["scale"]


class Constants(Drift):
    """Shares much that nobody changes."""

    names = ("a", "b")
    layout = [[0, 1], [1, 0]]  # noqa: RUF012
    weights = np.ones(3)

    def noise(self):
        return load() * SPEED["slow"] * TABLE[3] * self.layout[0][1] * self.weights[0] * super().noise()

    @functools.lru_cache(None)  # noqa: B019
    def area(self, side):
        return side * side

    def step(self, action):
        self.area(int(action))
        return super().step(action)


def test_shared_values_that_do_not_change_are_accepted():
    env = started(RestorableGymVecEnv(Constants, 2), 20)
    assert_faithful(env)
    assert check_restorable(Constants).ok


def save_often(env):
    """Until what takes long to compare has had its turn."""
    for _ in range(16):
        env.get_state()


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (
            lambda: TABLE.__setitem__(7, TABLE[7] + 1),
            "variable 'TABLE' of module tests.adapters.test_shared_state changes",
        ),
        (lambda: SPEED.update(slow=SPEED["slow"] + 0.1), "variable 'SPEED' of module"),
        (lambda: Constants.layout[1].append(1), "Constants.layout changes"),
        (lambda: Constants.weights.__imul__(2), "Constants.weights changes"),
        (lambda: LOADED.update(scale=LOADED["scale"] + 1), "variable 'LOADED' of module"),
    ],
)
def test_a_shared_value_that_changes_later_is_named(change, name):
    env = started(RestorableGymVecEnv(Constants, 2))
    env.get_state()
    change()
    with pytest.raises(SharedStateError, match=f"Constants cannot be forked any more: .*{name}") as caught:
        save_often(env)
    assert "keep it in self" in str(caught.value)


def test_shared_values_that_only_render_reaches_may_change():
    pictures = []

    class Draws(Drift):
        def render(self):
            pictures.append(1)

    env = started(RestorableGymVecEnv(Draws))
    env.get_state()
    pictures.append(1)
    env.get_state()


def test_a_helper_that_two_worlds_hold_is_named():
    class Helper:
        def __init__(self):
            self.total = 0.0

    helper = Helper()

    class Holding(Drift):
        def __init__(self, helper):
            super().__init__()
            self.helper = helper

        def noise(self):
            self.helper.total += 0.01
            return self.helper.total

    with pytest.raises(
        NotRestorableError, match=r"Holding.helper changes, and all worlds share it; give each world its own"
    ):
        RestorableGymVecEnv(functools.partial(Holding, helper))


def test_a_world_that_holds_its_own_helper_may_change_it():
    class Counter:
        def __init__(self):
            self.total = 0

        def __call__(self):
            self.total += 1
            return 0.01 * self.total

    class Holding(Drift):
        def __init__(self):
            super().__init__()
            self.helper = Counter()

        def noise(self):
            return self.helper()

    assert_faithful(started(RestorableGymVecEnv(Holding, 2)))
    assert_faithful(started(RestorableGymVecEnv(Holding(), 2)))


def test_a_space_whose_bounds_change_at_every_reset_is_refused():
    class Growing(Drift):
        level = 0

        def reset(self, *, seed=None, options=None):
            self.level += 1
            self.limits = spaces.Box(-self.level, self.level, (1,), np.float64)
            return super().reset(seed=seed)

        def noise(self):
            return float(self.limits.high[0]) * 0.01

    with pytest.raises(NotRestorableError, match=r"the bounds of Growing.limits change; a space is not saved"):
        RestorableGymVecEnv(Growing)


def test_environments_of_libraries_are_not_searched():
    env = RestorableGymVecEnv("CartPole-v1")
    assert env._shared._parts == []


def test_modules_that_hold_each_other_are_searched_once():
    first, second = types.ModuleType("first_of_two"), types.ModuleType("second_of_two")
    first.second, second.first = second, first

    class Ring(gym.Env):
        def step(self, action):
            return first.second, second.first

    assert set(ReachedCode([Ring()]).modules) == {"first_of_two", "second_of_two"}
