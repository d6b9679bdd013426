"""The checks of a restorable env, on ours and on envs that are broken on purpose, each in one way."""

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

import rl_tracking
from rl_tracking.envs.vec_env import TrackingVecEnv, make_vec
from rl_tracking.errors import UsageError
from rl_tracking.restoring.check import Check, Report, check_restorable
from rl_tracking.restoring.protocol import (
    NotRestorableError,
    Restorable,
    StepsBranches,
    as_restorable,
    why_not_restorable,
)
from tests.bare_vec_env import BareVecEnv

SAME_STEPS = "save, step, restore: the same steps again"
BRANCH_ORDER = "branches in forward and reverse order"
PARENT = "branching leaves the parent untouched"
MEMORY = "a saved state shares no memory with the world"
BYTES = "a state written as bytes and read back is the same"
DONE = "a state saved before the end of an episode can be restored after it"
LATER = "in a later episode, a restored sibling repeats the steps of the world"


class Columns:
    """States of a toy: arrays by name, a row for each world."""

    def __init__(self, **columns):
        self.columns = columns

    def __len__(self):
        return len(self.columns["place"])

    def __getitem__(self, worlds):
        return type(self)(**{name: column[worlds] for name, column in self.columns.items()})

    def repeat(self, n):
        return type(self)(**{name: np.tile(column, n) for name, column in self.columns.items()})

    def to_bytes(self):
        return b"".join(self.columns[name].tobytes() for name in sorted(self.columns))

    @classmethod
    def from_bytes(cls, data):
        names = ("count", "key", "place")
        rows = np.frombuffer(data, dtype=np.float64).reshape(len(names), -1)
        return cls(**dict(zip(names, rows, strict=True)))

    def differences(self, other):
        return [name for name, column in self.columns.items() if column.tobytes() != other.columns[name].tobytes()]


class Walk(BareVecEnv):
    """A walk on a line with chaotic noise, faithful in every way; the classes below each break one thing."""

    limit = 200
    render_mode = None

    def __init__(self, num_envs):
        box = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)
        super().__init__(num_envs, gym.spaces.Box(-np.inf, np.inf, (1,), np.float64), box)
        self.place = np.zeros(num_envs)
        self.key = np.linspace(0.1, 0.9, num_envs)
        self.count = np.zeros(num_envs)

    def get_state(self):
        return Columns(place=self.place.copy(), key=self.key.copy(), count=self.count.copy())

    def set_state(self, states):
        self.place, self.key, self.count = (states.columns[name].copy() for name in ("place", "key", "count"))

    def spawn(self, num_envs):
        return type(self)(num_envs)

    def noise(self):
        self.key[:] = 3.99 * self.key * (1 - self.key)
        return self.key - 0.5

    def step_async(self, actions):
        self.actions = actions[:, 0]

    def step_wait(self):
        self.place[:] = self.place + self.actions + self.noise()
        self.count[:] = self.count + 1
        reward = -np.abs(self.place)
        done = self.count >= self.limit
        infos = [{} for _ in done]
        for world in np.flatnonzero(done):
            infos[world] = {"terminal_observation": self.place[[world]], "TimeLimit.truncated": True}
        self.place[done], self.count[done] = 0.0, 0.0
        return self.place[:, None].copy(), reward, done, infos

    def seed(self, seed=None):
        return [seed] * self.num_envs

    def reset(self):
        self.place[:], self.count[:] = 0.0, 0.0
        return self.place[:, None].copy()


class RandomnessOutside(Walk):
    """Draws from a generator of its own, which no state holds."""

    def __init__(self, num_envs):
        super().__init__(num_envs)
        self.generator = np.random.default_rng(0)

    def noise(self):
        return self.generator.uniform(-0.5, 0.5, self.num_envs)


class NoiseForgotten(Walk):
    """Saves its noise and does not put it back."""

    def set_state(self, states):
        kept = self.key
        super().set_state(states)
        self.key = kept if len(kept) == self.num_envs else self.key


class LiveMemory(Walk):
    """Hands out the arrays it goes on working in."""

    def get_state(self):
        return Columns(place=self.place, key=self.key, count=self.count)


class HiddenCounter(Walk):
    """Counts towards the time limit in an attribute, as a wrapper would."""

    def __init__(self, num_envs):
        super().__init__(num_envs)
        self.elapsed = 0

    def reset(self):
        self.elapsed = 0
        return super().reset()

    def step_wait(self):
        self.count[:] = self.elapsed
        self.elapsed = (self.elapsed + 1) % self.limit
        return super().step_wait()


class SharedWeather(Walk):
    """A gust that the whole family blows together: a sibling's steps change it for the parent."""

    def __init__(self, num_envs, weather=None):
        super().__init__(num_envs)
        self.weather = {"key": 0.3} if weather is None else weather

    def spawn(self, num_envs):
        return type(self)(num_envs, self.weather)

    def get_state(self):
        self.key = np.full(self.num_envs, self.weather["key"])
        return super().get_state()

    def set_state(self, states):
        super().set_state(states)
        self.weather["key"] = float(self.key[0])

    def noise(self):
        self.weather["key"] *= 3.99 * (1 - self.weather["key"])
        return self.weather["key"] - 0.5


class LiveWeather(SharedWeather):
    """The same, hidden: the state of yesterday is the object of today, brought up to date when it is asked for."""

    state = None

    def get_state(self):
        if self.state is None:
            self.state = super().get_state()
        self.state.columns.update(super().get_state().columns)
        return self.state


class WarmStart(Walk):
    """Siblings start each stretch where the last one left a solver, so it matters which branch comes first."""

    warm = None

    def spawn(self, num_envs):
        sibling = type(self)(num_envs)
        sibling.warm = 0
        return sibling

    def noise(self):
        if self.warm is None:
            return super().noise()
        # After 4 branches of 3 steps it is back where it was: the same order would give the same again.
        self.warm = (self.warm + 1) % 12
        return super().noise() + 1e-9 * self.warm


class RoundedColumns(Columns):
    def to_bytes(self):
        return type(self)(**{name: column.round(3) for name, column in self.columns.items()}).raw()

    def raw(self):
        return super().to_bytes()


class RoundedBytes(Walk):
    """Its bytes hold three digits."""

    def get_state(self):
        return RoundedColumns(**super().get_state().columns)


def failures(env):
    return {check.name: check.detail for check in check_restorable(env).checks if not check.passed}


def test_a_faithful_env_passes():
    report = check_restorable(Walk(3))
    assert report.ok
    assert [check.name for check in report.checks] == [SAME_STEPS, BRANCH_ORDER, PARENT, MEMORY, BYTES, DONE, LATER]


@pytest.mark.parametrize(
    ("broken", "found"),
    [
        (RandomnessOutside, {SAME_STEPS, BRANCH_ORDER, DONE, LATER}),
        (NoiseForgotten, {SAME_STEPS, BRANCH_ORDER, DONE, LATER}),
        (LiveMemory, {SAME_STEPS, MEMORY, DONE, LATER}),
        (HiddenCounter, {DONE, LATER}),
        (SharedWeather, {PARENT}),
        (LiveWeather, {PARENT}),
        (WarmStart, {BRANCH_ORDER, LATER}),
        (RoundedBytes, {BYTES}),
    ],
)
def test_a_broken_env_is_caught_by_the_right_check(broken, found):
    assert set(failures(broken(3))) == found


def test_the_report_says_what_differs():
    found = failures(RandomnessOutside(3))
    assert found[SAME_STEPS] == "reward of step 1 differs in world 0"
    assert failures(SharedWeather(3))[PARENT] == "key"
    assert failures(LiveMemory(3))[MEMORY] == "its bytes changed"
    assert failures(RoundedBytes(3))[BYTES] == "key, place"
    text = str(check_restorable(SharedWeather(3)))
    assert text.splitlines()[0] == "SharedWeather: NOT restorable"
    assert f"  FAIL {PARENT}: key" in text.splitlines()
    assert f"  ok   {BYTES}" in text.splitlines()


def test_a_report_is_ok_if_every_check_passed():
    good, bad = Check("a", True), Check("b", False, "it differs")
    assert Report("x", (good, good)).ok
    assert not Report("x", (good, bad)).ok
    assert str(Report("x", (good,))).splitlines() == ["x: restorable", "  ok   a"]


@pytest.mark.parametrize(
    "parameters",
    [{"wind_speed": 2.0, "max_steps": 70}, {"preset": "sandbox"}, {"capture_terminates": True, "spawn": "near"}],
    ids=["drone", "sandbox", "capture"],
)
def test_pursuit_worlds_pass(parameters):
    report = check_restorable(make_vec("pursuit", 4, **parameters))
    assert report.ok, str(report)
    assert str(report).startswith("TrackingVecEnv: restorable by its own get_state and set_state\n")


def test_an_id_or_a_gymnasium_env_is_accepted():
    assert check_restorable("rl_tracking/Pursuit-v0").environment == "rl_tracking/Pursuit-v0"
    report = rl_tracking.check_restorable(gym.make("rl_tracking/Pursuit-v0", wind_speed=1.0, max_steps=60))
    assert report.ok, str(report)
    assert report.environment == "TrackingEnv of rl_tracking/Pursuit-v0"


def test_as_restorable_returns_restorable_envs_unchanged():
    env = make_vec("pursuit", 2)
    assert as_restorable(env) is env
    assert isinstance(as_restorable(gym.make("rl_tracking/Pursuit-v0")), TrackingVecEnv)
    assert isinstance(env, Restorable)
    assert isinstance(env, StepsBranches)
    assert not isinstance(Walk(1), StepsBranches)
    assert why_not_restorable(env) is None
    assert why_not_restorable(VecNormalize(make_vec("pursuit", 2))) is None


def test_why_a_vec_env_without_the_methods_is_not_restorable():
    env = DummyVecEnv([lambda: gym.make("CartPole-v1")])
    reason = why_not_restorable(env)
    assert reason.startswith(
        "DummyVecEnv of CartPole-v1 is not restorable: it has no get_state, set_state, spawn; use "
    )
    assert "\n" not in reason
    env.close()

    class Stubborn(Walk):
        set_state = None

    for given in (Stubborn(2), VecNormalize(Stubborn(2))):
        with pytest.raises(NotRestorableError, match="Stubborn is not restorable: it has no set_state; use") as error:
            check_restorable(given)
        assert isinstance(error.value, UsageError)


def test_a_pursuit_env_in_a_wrapper_that_keeps_state_is_adapted():
    for env in (
        gym.wrappers.TimeLimit(gym.make("rl_tracking/Pursuit-v0"), 10),
        gym.make("rl_tracking/Pursuit-v0", max_episode_steps=10),
    ):
        adapted = as_restorable(env)
        assert adapted.strategy == "its own get_state and set_state"
        report = check_restorable(adapted, steps=25)
        assert report.ok, str(report)
