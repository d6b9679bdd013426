"""Gymnasium environments made for tests: each does one thing that makes it easy, or hard, to save."""

import random

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from gymnasium.utils import EzPickle


class Drift(gym.Env):
    """A point that drifts with noise; the end is beyond 3. Subclasses change one thing."""

    metadata = {"render_modes": []}  # noqa: RUF012

    def __init__(self):
        self.observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float64)
        self.action_space = spaces.Discrete(3)

    def noise(self):
        return self.np_random.normal()

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = np.array([self.noise() * 0.1, 0.0])
        return self.place.copy(), {}

    def step(self, action):
        self.place = self.place + np.array([0.3 * (int(action) - 1) + 0.1 * self.noise(), 1.0])
        return self.place.copy(), -abs(float(self.place[0])), bool(abs(self.place[0]) > 3), False, {}


class Pickled(Drift, EzPickle):
    """A deep copy of it is a fresh one."""

    def __init__(self, strength=1.0):
        super().__init__()
        EzPickle.__init__(self, strength)
        self.strength = strength

    def noise(self):
        return self.strength * super().noise()


class GlobalNoise(Drift):
    """Draws from the generator of NumPy itself."""

    def noise(self):
        return np.random.normal()


class PythonNoise(Drift):
    """Draws from the generator of Python itself."""

    def noise(self):
        return random.gauss(0, 1)


class TorchNoise(Drift):
    """Draws from the generator of PyTorch itself."""

    def noise(self):
        return float(torch.randn(()))


class ClassNoise(Drift):
    """Keeps a number in its class, where all of them share it."""

    shared = 0.5

    def noise(self):
        ClassNoise.shared = 3.99 * ClassNoise.shared * (1 - ClassNoise.shared)
        return ClassNoise.shared


class InPlace(Drift):
    """Works in arrays, lists and objects that it keeps, and hands them out."""

    class Helper:
        def __init__(self, env):
            self.env, self.trail = env, []

        def note(self):
            self.trail.append(float(self.env.board[0, 0]))

    def __init__(self):
        super().__init__()
        self.board = np.zeros((2, 2))
        self.row = self.board[0]
        self.helper = InPlace.Helper(self)
        self.note = self.helper.note
        self.memory = {"seen": [], "last": None}

    def reset(self, *, seed=None, options=None):
        gym.Env.reset(self, seed=seed)
        self.board[:] = 0
        self.helper.trail.clear()
        self.memory["seen"].clear()
        return self.row, {"trail": self.helper.trail}

    def step(self, action):
        self.board[0] += [0.3 * (int(action) - 1) + 0.1 * self.noise(), 1.0]
        self.note()
        self.memory["seen"].append(self.row[0])
        self.memory["last"] = self.memory["seen"]
        ends = len(self.memory["seen"]) >= 12
        return self.row, sum(self.helper.trail), ends, False, {"trail": self.helper.trail}


class Growing(Drift):
    """Gets new fields, and fields of other types, as it steps."""

    def reset(self, *, seed=None, options=None):
        for name in ("later", "steps"):
            vars(self).pop(name, None)
        self.last, self.count = None, 0
        return super().reset(seed=seed, options=options)

    def step(self, action):
        observation, reward, terminated, *rest = super().step(action)
        if self.last is None:
            self.last = observation.copy()
        self.last *= 0.5
        self.last += observation
        self.count += 1
        if self.count == 4:
            self.later = 7.0
        return self.last.copy(), reward + getattr(self, "later", 0.0), terminated or self.count == 9, *rest


class Own(Drift):
    """Has methods of its own to save it, which leave the generator out."""

    calls = 0

    def get_state(self):
        return {"place": self.place}

    def set_state(self, state):
        Own.calls += 1
        self.place = state["place"]


class Forgetful(Own):
    """Its own methods forget what it counts."""

    def reset(self, *, seed=None, options=None):
        self.count = 0
        return super().reset(seed=seed, options=options)

    def step(self, action):
        self.count += 1
        observation, reward, *ends = super().step(action)
        return observation, reward + self.count, *ends


class Opaque(Drift):
    """Keeps its place where it cannot be read: in a generator's frame."""

    def reset(self, *, seed=None, options=None):
        observation, info = super().reset(seed=seed)
        self.walk = self._walk(observation)
        next(self.walk)
        return observation, info

    def _walk(self, place):
        while True:
            action = yield place
            place = place + np.array([0.3 * (int(action) - 1) + 0.1 * self.noise(), 1.0])

    def step(self, action):
        place = self.walk.send(action)
        return place.copy(), -abs(float(place[0])), bool(abs(place[0]) > 3), False, {}


class Stream(Opaque):
    """Steps differently each time an episode is repeated."""

    def __init__(self):
        super().__init__()
        self.numbers = iter(range(10**6))

    def step(self, action):
        observation, _, *ends = super().step(action)
        return observation, float(next(self.numbers)), *ends


class Spaces(Drift):
    """Observations of any space."""

    def __init__(self, space=None):
        super().__init__()
        self.observation_space = space

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.seen(), {}

    def seen(self):
        self.observation_space.seed(abs(hash(self.place.tobytes())) % 2**31)
        return self.observation_space.sample()

    def step(self, action):
        _, reward, *ends = super().step(action)
        return self.seen(), reward, *ends


class SpaceNoise(Drift):
    """Draws from a space of spaces."""

    def __init__(self):
        super().__init__()
        self.dice = spaces.Tuple((spaces.Discrete(5), spaces.Dict({"push": spaces.Box(-1, 1, (2,), np.float64)})))

    def noise(self):
        number, pushes = self.dice.sample()
        return number - 2 + pushes["push"].sum()


def drawn_from(space):
    """A number from a space that is given."""
    return 0.01 * space.sample()


class LateNoise(Drift):
    """Draws from its action space, in the tenth step of an episode for the first time."""

    def reset(self, *, seed=None, options=None):
        self.count = 0
        return super().reset(seed=seed, options=options)

    def step(self, action):
        self.count += 1
        observation, reward, *ends = super().step(action)
        return observation, reward + (self.action_space.sample() if self.count >= 10 else 0), *ends


class ManyNoises(Drift):
    """Keeps spaces in a list and in a helper, and a method of one."""

    class Helper:
        def __init__(self, space):
            self.space = space

    def __init__(self):
        super().__init__()
        self.dice = [spaces.Discrete(6), spaces.Discrete(6)]
        self.helper = ManyNoises.Helper(self.dice[0])
        self.coin = spaces.Discrete(2).sample

    def noise(self):
        return 0.1 * (self.dice[0].sample() + self.dice[1].sample() + 10 * self.helper.space.sample() + self.coin())


class HiddenSharing(Drift):
    """Draws from a space that all of them share, where nobody looks for it."""

    helper_space = spaces.Discrete(100)

    def __init__(self):
        super().__init__()
        self.helper = ManyNoises.Helper(HiddenSharing.helper_space)

    def noise(self):
        return 0.01 * self.helper.space.sample()


class Jitter(gym.ObservationWrapper):
    """A wrapper that draws from a space of its own."""

    def __init__(self, env):
        super().__init__(env)
        self.jitter = spaces.Box(-0.1, 0.1, (2,), np.float64)

    def observation(self, observation):
        return observation + self.jitter.sample()
