"""What all worlds share and steps only ever raise: no single step shows it, so it has to be found where it is kept."""

import array
import contextvars
import ctypes
import functools
import mmap
import os
import threading

import numpy as np
import pytest
from gymnasium import spaces

from rl_tracking.adapters.build import RestorableGymVecEnv
from rl_tracking.restoring.protocol import NotRestorableError
from tests.trust.awkward import Awkward


class Levels(Awkward):
    """The best score of any world so far is the level at which the next episode begins."""

    def prepare(self):
        self.observation_space = spaces.Box(-np.inf, np.inf, (3,), np.float64)

    def begin(self, seed):
        self.level, self.score = self.best(), 0

    def seen(self):
        return np.array([self.x, self.t / self.length, self.level], np.float64)

    def hidden(self, action):
        self.score += action == 2
        if self.t >= self.length and self.score > self.best():
            self.keep(self.score)
        return 0.0


class OwnArray(np.ndarray):
    pass


class OwnDict(dict):
    pass


class OwnList(list):
    pass


class WithLock:
    def __init__(self):
        self.lock, self.best = threading.Lock(), 0


ARRAY, DICT, LIST, LOCKED = np.zeros(1).view(OwnArray), OwnDict(best=0), OwnList([0]), WithLock()
MASKED, NUMBERS, NUMBER = np.ma.zeros(1), array.array("i", [0]), ctypes.c_int(0)
MAP, VIEW = mmap.mmap(-1, 8), memoryview(bytearray(8))
OF_THREAD, CONTEXT = threading.local(), contextvars.ContextVar("best", default=0)


@functools.lru_cache
def records():
    return [0]


class OfClasses(type):
    best_of_all = 0


class InClassOfClass(Levels, metaclass=OfClasses):
    def best(self):
        return type(type(self)).best_of_all

    def keep(self, score):
        type(type(self)).best_of_all = score


class InContext(Levels):
    def best(self):
        return CONTEXT.get()

    def keep(self, score):
        CONTEXT.set(score)


class InThread(Levels):
    def best(self):
        return getattr(OF_THREAD, "best", 0)

    def keep(self, score):
        OF_THREAD.best = score


class InProcess(Levels):
    def best(self):
        return int(os.environ.get("BEST_OF_ALL", "0"))

    def keep(self, score):
        os.environ["BEST_OF_ALL"] = str(score)


class InNumber(Levels):
    def best(self):
        return NUMBER.value

    def keep(self, score):
        NUMBER.value = score


class InLocked(Levels):
    def best(self):
        return LOCKED.best

    def keep(self, score):
        with LOCKED.lock:
            LOCKED.best = score


class InDict(Levels):
    def best(self):
        return DICT["best"]

    def keep(self, score):
        DICT["best"] = score


class InCache(Levels):
    def best(self):
        return records()[0]

    def keep(self, score):
        records()[0] = score


def first_of(name):
    """A class whose worlds keep the best score in the first element of a variable of this module."""
    place = globals()[name]

    class InFirst(Levels):
        def best(self):
            return int(place[0])

        def keep(self, score):
            place[0] = score

    return InFirst


FIRST = {name: first_of(name) for name in ("ARRAY", "MASKED", "LIST", "NUMBERS", "MAP", "VIEW")}
KINDS = [InClassOfClass, InContext, InThread, InProcess, InNumber, InLocked, InDict, InCache]


@pytest.mark.parametrize("kind", [*KINDS, *FIRST.values()], ids=[*[kind.__name__ for kind in KINDS], *FIRST])
def test_a_shared_value_that_only_grows_is_found(kind, monkeypatch):
    monkeypatch.setenv("BEST_OF_ALL", "0")
    with pytest.raises(NotRestorableError, match="changes, and all worlds share it"):
        RestorableGymVecEnv(kind, 2, seed=5)


@pytest.mark.parametrize("place", ["ARRAY", "MASKED", "LIST", "NUMBERS", "MAP", "VIEW"])
def test_a_shared_value_that_is_only_read_is_accepted(place):
    class Reads(FIRST[place]):
        def keep(self, score):
            self.mine = score

    assert RestorableGymVecEnv(Reads, 2, seed=5).strategy == "a copy of its fields"
