"""Environments that cannot be forked and do not show it at once: what is wrong with each first matters at step 61.

Each is made for one kind of hidden state. None can be seen in the first steps, where environments are proved.
"""

import ctypes
import functools
import random
import time

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces

PERIOD = 61


class Late(gym.Env):
    """A point that drifts, 150 steps an episode. Every 61st step of an environment adds ``late()`` to its reward."""

    metadata = {"render_modes": []}  # noqa: RUF012

    def __init__(self):
        self.observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float64)
        self.action_space = spaces.Discrete(3)
        self.age = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place, self.count = self.np_random.normal() * 0.1, 0
        return self.seen(), {}

    def seen(self):
        return np.array([self.place, float(self.count)])

    def late(self):
        return 0.0

    def step(self, action):
        self.place += 0.1 * (float(action) - 1) + 0.05 * self.np_random.normal()
        self.count += 1
        self.age += 1
        reward = -abs(self.place) + (self.late() if self.age % PERIOD == 0 else 0.0)
        return self.seen(), reward, self.count >= 150, False, {}


class ClassCounter(Late):
    """A counter in the class."""

    shared = 0

    def late(self):
        ClassCounter.shared += 1
        return ClassCounter.shared


_generator = np.random.default_rng(5)


class ModuleGenerator(Late):
    """A generator in the module."""

    def late(self):
        return _generator.normal()


class PythonRandom(Late):
    """Python's own generator."""

    def late(self):
        return random.choice([1.0, 2.0])


class NumpyRandom(Late):
    """NumPy's own generator."""

    def late(self):
        return np.random.randint(1000)


class TorchRandom(Late):
    """PyTorch's own generator."""

    def late(self):
        return float(torch.rand(()))


class RandomWithoutEffect(Late):
    """Draws from Python's own generator and does nothing with it."""

    def late(self):
        random.random()
        return 0.0


class RandomInReset(Late):
    """The reset after an episode draws from NumPy's own generator."""

    def reset(self, *, seed=None, options=None):
        observation, info = super().reset(seed=seed)
        if self.age >= PERIOD:
            np.random.shuffle([1, 2, 3])
        return observation, info


class SeedsInReset(Late):
    """The reset after an episode seeds Python's own generator."""

    def reset(self, *, seed=None, options=None):
        if self.age >= PERIOD:
            random.seed(3)
        return super().reset(seed=seed)


def _counter():
    made = 0

    def tick():
        nonlocal made
        made += 1
        return made

    return tick


_tick = _counter()


class ClosureCounter(Late):
    """A counter in a closure of the module."""

    def late(self):
        return _tick()


_own = {}


class OwnClosureCounter(Late):
    """A counter of its own in a closure, kept where no field leads to; it counts every step."""

    def step(self, action):
        number = _own.setdefault(id(self), _counter())()
        observation, reward, *ends = super().step(action)
        return observation, reward + (number % PERIOD == 0), *ends


class OwnHiddenPlace(Late):
    """Remembers its actions where no field leads to."""

    def reset(self, *, seed=None, options=None):
        _own[id(self)] = 0
        return super().reset(seed=seed)

    def step(self, action):
        _own[id(self)] = _own.get(id(self), 0) + int(action)
        return super().step(action)

    def late(self):
        return _own[id(self)]


@functools.lru_cache(maxsize=1)
def _wind(place):
    return _tick()


class CachedWind(Late):
    """A cache that remembers the latest place."""

    def late(self):
        return _wind(self.place)


_LIBRARY = ctypes.CDLL(None)


class CLibrary(Late):
    """The generator of the C library."""

    def late(self):
        return _LIBRARY.rand() % 1000


class LaterCLibrary(CLibrary):
    """The generator of the C library, from the 400th step on."""

    def late(self):
        return super().late() if self.age > 400 else 0.0


_buffer = (ctypes.c_int * 1)()


class CMemory(Late):
    """Memory that Python does not manage."""

    def late(self):
        _buffer[0] += 1
        return _buffer[0]


class SharedBoard(Late):
    """An array that all of them write into."""

    board = np.zeros(1)

    def step(self, action):
        result = super().step(action)
        SharedBoard.board[0] = 0.9 * SharedBoard.board[0] + self.place
        return result

    def late(self):
        return SharedBoard.board[0]


class Clock(Late):
    """The time of day."""

    def late(self):
        return time.perf_counter() % 1.0  # rewards are float32: a long uptime would round away what a step takes


class Identity(Late):
    """Which of the objects it is."""

    def late(self):
        return float(id(self) % 100003)


class Wearing(Late):
    """Its own methods put it back, but not more than 60 times."""

    restored = 0

    def get_state(self):
        return {"place": self.place, "count": self.count, "age": self.age}

    def set_state(self, state):
        self.__dict__ |= state
        Wearing.restored += 1
        self.place += 1e-9 * (Wearing.restored > 60)


class Loud(ClassCounter):
    """A counter in the class, in large steps."""

    def late(self):
        return 1000.0 * (1 + super().late())


class Forgetful(Wearing):
    """Its own methods forget what it has summed up."""

    restored = -(10**9)

    def reset(self, *, seed=None, options=None):
        self.sum = 0.0
        return super().reset(seed=seed)

    def step(self, action):
        self.sum += self.place
        return super().step(action)

    def set_state(self, state):
        self.__dict__ |= state

    def late(self):
        return self.sum


class SecondEpisode(Late):
    """A generator that only a seeded reset renews, out of reach of any copy."""

    def reset(self, *, seed=None, options=None):
        if seed is not None:
            _own[id(self)] = np.random.default_rng(seed)
        return super().reset(seed=seed)

    def step(self, action):
        observation, reward, *ends = super().step(action)
        return (
            observation,
            reward + (self.age > 150) * _own.setdefault(id(self), np.random.default_rng(0)).normal(),
            *ends,
        )


class DictCounter(ClassCounter):
    """A counter in the class, shown in one part of the observation."""

    def __init__(self):
        super().__init__()
        one = spaces.Box(-np.inf, np.inf, (1,), np.float64)
        self.observation_space = spaces.Dict({"count": one, "place": one})

    def seen(self):
        late = ClassCounter.late(self) if self.age and self.age % PERIOD == 0 else 0.0
        return {"count": np.array([late]), "place": np.array([self.place])}

    def late(self):
        return 0.0


class TerminalCounter(ClassCounter):
    """A counter in the class, shown in terminal observations."""

    def seen(self):
        return np.array([self.place, float(ClassCounter.late(self)) if self.count >= 150 else 0.0])

    def late(self):
        return 0.0


class EndsAtRandom(Late):
    """When an episode is truncated is decided by a generator in the module."""

    def step(self, action):
        observation, reward, terminated, _, info = super().step(action)
        return observation, reward, terminated, self.age % PERIOD == 0 and _generator.random() < 0.5, info


class KeepsActions(Late):
    """Keeps the actions as they were handed over, which is no fault."""

    def __init__(self):
        super().__init__()
        self.action_space = spaces.Box(-1.0, 1.0, (2,), np.float32)
        self.actions = []

    def step(self, action):
        self.actions = [*self.actions[-3:], action]
        return super().step(sum(float(kept.sum()) for kept in self.actions))


class InPlace(Late):
    """Hands out its own array and changes it in later steps, which is no fault."""

    def seen(self):
        if not hasattr(self, "array"):
            self.array = np.zeros(2)
        self.array[:] = self.place, self.count
        return self.array
