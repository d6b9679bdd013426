"""Environments that hide their state, each in an early and in a late form; what is to become of each is in ``CASES``.

Early: the hidden state matters from the first step on. Late: it is first used after 200 steps of an episode, long after
every proof that is made before training.
"""

import collections
import contextvars
import ctypes
import dataclasses
import functools
import itertools
import os
import random
import tempfile
import time
import types
import weakref

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces

from rl_tracking.adapters import registry

LATE = 200  # steps of an episode after which a late environment begins to use what it hides


class Awkward(gym.Env):
    """A point that drifts with noise; subclasses add something that they hide."""

    metadata = {"render_modes": []}  # noqa: RUF012

    def __init__(self, late=False):
        self.observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float64)
        self.action_space = spaces.Discrete(3)
        self.late, self.length = late, LATE + 30 if late else 25
        self.prepare()

    def prepare(self):
        """What is made once."""

    def begin(self, seed):
        """What is made at every reset."""

    def hidden(self, action):
        """A number that depends on what is hidden, and changes it."""
        return 0.0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t, self.x = 0, float(self.np_random.normal())
        self.begin(seed)
        return self.seen(), {}

    def seen(self):
        return np.array([self.x, self.t / self.length])

    def step(self, action):
        self.t += 1
        extra = float(self.hidden(int(action))) if self.t > LATE or not self.late else 0.0
        self.x += 0.1 * (int(action) - 1) + 0.01 * float(self.np_random.normal()) + 0.1 * extra
        return self.seen(), extra - abs(self.x), False, self.t >= self.length, {}


# -- generators that others share ------------------------------------------------------------------------------------


class PythonRandom(Awkward):
    def hidden(self, action):
        return random.choice([0.1, 0.2, 0.3, 0.5])


class NumpyRandom(Awkward):
    def hidden(self, action):
        return np.random.normal()


class TorchRandom(Awkward):
    def hidden(self, action):
        return torch.rand(()).item()


MODULE_GENERATOR = np.random.default_rng(0)


class ModuleGenerator(Awkward):
    def hidden(self, action):
        return MODULE_GENERATOR.random()


def closure_generator(late):
    """Renewed by a seeded reset alone; the class's methods share it."""
    generator = np.random.default_rng(0)

    class ClosureGenerator(Awkward):
        def begin(self, seed):
            nonlocal generator
            if seed is not None:
                generator = np.random.default_rng(seed)

        def hidden(self, action):
            return generator.random()

    return functools.partial(ClosureGenerator, late)


LIBC = ctypes.CDLL(None)


class SharedLibrary(Awkward):
    """A C library's generator, one for the whole process."""

    def begin(self, seed):
        if seed is not None:
            LIBC.srandom(seed % 2**31)

    def hidden(self, action):
        return LIBC.random() / 2**31


class OwnLibrary(Awkward):
    """A C library's generator, one a world; a seeded reset alone brings it back."""

    def prepare(self):
        self.memory = ctypes.c_uint(1)

    def begin(self, seed):
        if seed is not None:
            self.memory = ctypes.c_uint(seed % 2**31)

    def hidden(self, action):
        return LIBC.rand_r(ctypes.byref(self.memory)) / 2**31


class FrameGenerator(Awkward):
    """In the frame of a coroutine, renewed by a seeded reset alone."""

    def begin(self, seed):
        if seed is not None:
            self.numbers = self._draw(np.random.default_rng(seed))

    def _draw(self, generator):
        while True:
            yield generator.random()

    def hidden(self, action):
        return next(self.numbers)


class SeededReset(Awkward):
    """``default_rng(seed)`` in reset, which draws a seed of its own where it gets none."""

    def begin(self, seed):
        self.rng = np.random.default_rng(seed)
        self.x = self.rng.normal()

    def hidden(self, action):
        return self.rng.random()


class Spawned(Awkward):
    def hidden(self, action):
        return self.np_random.spawn(1)[0].random()


# -- counters that others share --------------------------------------------------------------------------------------


def closure_counter(late):
    count = 0

    class ClosureCounter(Awkward):
        def hidden(self, action):
            nonlocal count
            count += 1
            return 0.01 * count

    return functools.partial(ClosureCounter, late)


class ClassCounter(Awkward):
    count = 0

    def hidden(self, action):
        ClassCounter.count += 1
        return 0.01 * ClassCounter.count


class NamelessCounter(Awkward):
    """In the class, by a name that no code spells."""

    def hidden(self, action):
        name = "".join(["hi", "ts"])
        setattr(type(self), name, getattr(type(self), name, 0) + 1)
        return 0.01 * getattr(type(self), name)


MODULE_COUNT = 0


class ModuleCounter(Awkward):
    def hidden(self, action):
        global MODULE_COUNT
        MODULE_COUNT += 1
        return 0.01 * MODULE_COUNT


class ClassList(Awkward):
    seen_actions = []  # noqa: RUF012

    def hidden(self, action):
        self.seen_actions.append(action)
        return 0.01 * len(self.seen_actions)


class DefaultArgument(Awkward):
    def hidden(self, action, memory=[]):  # noqa: B006
        memory.append(action)
        return 0.01 * len(memory)


def counted(action):
    counted.calls += 1
    return 0.01 * counted.calls


counted.calls = 0


class FunctionAttribute(Awkward):
    def hidden(self, action):
        return counted(action)


class Score:
    def __init__(self):
        self.best = 0.0

    def note(self, number):
        self.best += 0.01 * number
        return self.best


SCORE = Score()


class SharedHelper(Awkward):
    """All of them hold one object."""

    def prepare(self):
        self.score = SCORE

    def hidden(self, action):
        return self.score.note(action)


NUMBERS = itertools.count()


class ModuleIterator(Awkward):
    def hidden(self, action):
        return 0.01 * next(NUMBERS)


CONTEXT = contextvars.ContextVar("count", default=0)


class ContextVariable(Awkward):
    def hidden(self, action):
        CONTEXT.set(CONTEXT.get() + 1)
        return 0.01 * CONTEXT.get()


class Bounds(Awkward):
    """Keeps a number in the bounds of a space."""

    def prepare(self):
        self.limits = spaces.Box(-1.0, 1.0, (1,), np.float64)

    def hidden(self, action):
        self.limits.low[0] -= 0.01
        return float(self.limits.low[0])


# -- the world outside -----------------------------------------------------------------------------------------------


class OfSpace(Awkward):
    def hidden(self, action):
        self.observation_space.extra = getattr(self.observation_space, "extra", 0) + action
        return 0.001 * self.observation_space.extra


class WallClock(Awkward):
    def hidden(self, action):
        return time.perf_counter_ns() % 1000 / 1000


class InFile(Awkward):
    path = os.path.join(tempfile.gettempdir(), f"awkward-{os.getpid()}")

    def hidden(self, action):
        with open(self.path, "a+b") as file:
            file.write(b".")
            return 0.01 * file.tell()


class InProcess(Awkward):
    def hidden(self, action):
        os.environ["AWKWARD"] = str(int(os.environ.get("AWKWARD", "0")) + 1)
        return 0.01 * int(os.environ["AWKWARD"])


class Identity(Awkward):
    """Depends on where in memory it is."""

    def hidden(self, action):
        return id(self) // 16 % 997 / 997


class InDescriptor(Awkward):
    """Keeps a number outside of itself, by a weak reference."""

    numbers = weakref.WeakKeyDictionary()  # noqa: RUF012

    def begin(self, seed):
        InDescriptor.numbers[self] = 0

    def hidden(self, action):
        InDescriptor.numbers[self] += 1
        return 0.01 * InDescriptor.numbers[self]


# -- what can be read ------------------------------------------------------------------------------------------------


def counter():
    count = 0

    def tick():
        nonlocal count
        count += 1
        return 0.01 * count

    return tick


class FieldClosure(Awkward):
    def prepare(self):
        self.tick = counter()

    def hidden(self, action):
        return self.tick()


class PrivateSlot:
    __slots__ = ("__n",)

    def __init__(self):
        self.__n = 0

    def tick(self):
        self.__n += 1
        return 0.01 * self.__n


class HelperSlot(Awkward):
    def prepare(self):
        self.helper = PrivateSlot()

    def hidden(self, action):
        return self.helper.tick()


class OwnSlot(Awkward):
    __slots__ = ("__n",)

    def prepare(self):
        self.__n = 0

    def hidden(self, action):
        self.__n += 1
        return 0.01 * self.__n


class Buffers(Awkward):
    def prepare(self):
        self.network = torch.nn.BatchNorm1d(1).double()

    def hidden(self, action):
        with torch.no_grad():
            self.network(torch.tensor([[float(action)], [self.x]], dtype=torch.float64))
        return self.network.running_mean.item()


class Weights(Awkward):
    def prepare(self):
        self.network = torch.nn.Linear(1, 1, dtype=torch.float64)
        torch.nn.init.constant_(self.network.weight, 0.5)

    def hidden(self, action):
        with torch.no_grad():
            self.network.weight += 0.01 * action
        return self.network.weight.item()


class SceneRenderer:
    """Draws nothing."""

    def __init__(self):
        self.frames = 0


class Renderer(Awkward):
    def prepare(self):
        self.renderer = SceneRenderer()

    def hidden(self, action):
        self.renderer.frames += 1
        return 0.01 * self.renderer.frames


class SceneViewer(dict):
    """Shows nothing, and is a dict."""


class Viewer(Awkward):
    def begin(self, seed):
        self.viewer = SceneViewer(frames=0)

    def hidden(self, action):
        self.viewer["frames"] += 1
        return 0.01 * self.viewer["frames"]


class CachedNoise(Awkward):
    @functools.lru_cache(None)  # noqa: B019
    def noise(self, cell):
        return self.np_random.normal()

    def hidden(self, action):
        return self.noise(round(self.x, 1))


class CachedTable(Awkward):
    @functools.lru_cache(None)  # noqa: B019
    def table(self, cell):
        return np.sin(cell) * self.length

    def hidden(self, action):
        return 0.01 * self.table(round(self.x, 1))


class FreshSpace(Awkward):
    """A space without a seed at every reset, and a sample of it in the info."""

    def reset(self, *, seed=None, options=None):
        self.action_space = spaces.Discrete(3)
        observation, _ = super().reset(seed=seed)
        return observation, {"action": self.action_space.sample()}


class Metres(float):
    """A number of one's own class."""


class OwnNumber(Awkward):
    def begin(self, seed):
        self.gone = Metres(0)

    def hidden(self, action):
        self.gone = Metres(self.gone + 0.01 * action)
        return self.gone


class FieldIterator(Awkward):
    def begin(self, seed):
        self.numbers = itertools.count()

    def hidden(self, action):
        return 0.01 * next(self.numbers)


class TensorViews(Awkward):
    def prepare(self):
        self.all = torch.zeros(4, dtype=torch.float64)
        self.part, self.array = self.all[1:3], self.all.numpy()

    def hidden(self, action):
        self.part += 0.01 * action
        self.array[2] += 0.01
        return float(self.all.sum())


class Aliases(Awkward):
    def prepare(self):
        board = np.zeros((3, 3))
        self.memory = collections.deque([[board[0]], {"column": board[:, 1]}], maxlen=2)
        self.flat = types.SimpleNamespace(board=board.reshape(-1))

    def hidden(self, action):
        self.memory[0][0][action] += 0.01
        self.memory[1]["column"][2] += 0.01
        return self.flat.board.sum()


class Painted(Awkward):
    """Draws on a picture and looks at it."""

    def prepare(self):
        import pygame

        self.picture = pygame.Surface((16, 16))

    def hidden(self, action):
        self.picture.set_at((int(self.np_random.integers(16)), 3 * action), (7 * self.t % 255, 0, 50))
        return sum(self.picture.get_at((x, y))[0] for x in range(16) for y in (0, 3, 6)) / 1000


class Shown(Awkward):
    """Shows every step by itself."""

    metadata = {"render_modes": ["human"], "render_fps": 1000}  # noqa: RUF012
    drawn = 0

    def __init__(self, late=False):
        super().__init__(late)
        self.render_mode, self.screen = "human", None

    def render(self):
        import pygame

        if self.screen is None:
            self.screen, self.clock = pygame.display.set_mode((20, 20)), pygame.time.Clock()
            self.painter = type("Painter", (), {"surface": self.screen, "draws": self.clock.tick})()
        self.screen.fill((int(self.t) % 255, 0, 0))

    def step(self, action):
        result = super().step(action)
        if self.render_mode == "human":
            self.render()
        return result

    def hidden(self, action):
        return 0.01 * self.t


class OwnMetadata(Awkward):
    def prepare(self):
        self.metadata = {"render_modes": [], "hits": 0}

    def hidden(self, action):
        self.metadata["hits"] += 1
        return 0.01 * self.metadata["hits"]


class Board(Awkward):
    def prepare(self):
        self.board = bytearray(4)

    def hidden(self, action):
        self.board[action] = (self.board[action] + 1) % 256
        return 0.01 * sum(self.board)


class Trail(Awkward):
    """A linked list that grows by many links at once."""

    def begin(self, seed):
        self.trail = None

    def hidden(self, action):
        for _ in range(250):
            self.trail = [self.trail]
        return 0.1 * action


class Phase(Awkward):
    """Changes its class."""

    def begin(self, seed):
        self.__class__ = Phase

    def hidden(self, action):
        self.__class__ = SecondPhase
        return 0.1


class SecondPhase(Phase):
    def hidden(self, action):
        return 0.5


class Rebuilt(gym.Wrapper):
    """Puts another environment in place of the one that it wraps."""

    def __init__(self, late):
        super().__init__(Awkward(late))
        self.late, self.t = late, 0

    def reset(self, **arguments):
        if not self.late or self.t > LATE:
            self.env = Awkward(self.late)
        self.t = 0
        return self.env.reset(**arguments)

    def step(self, action):
        self.t += 1
        return self.env.step(action)


class Slippery(gym.Wrapper):
    """Changes the tables of a library's environment."""

    def __init__(self, late):
        super().__init__(registry.make("FrozenLake-v1", max_episode_steps=LATE + 30 if late else 25))
        self.late, self.t = late, 0

    def step(self, action):
        self.t += 1
        if not self.late or self.t > LATE:
            self.unwrapped.P[0][int(action)][0] = (1.0, 0, 0.01 * self.t, False)
        return self.env.step(action)


# -- MuJoCo ----------------------------------------------------------------------------------------------------------


class ChangingModel(gym.Wrapper):
    """Masses and gravity that change within the episode."""

    def __init__(self, late):
        super().__init__(registry.make("HalfCheetah-v5", max_episode_steps=LATE + 30 if late else 25))
        self.late, self.t = late, 0

    def reset(self, **arguments):
        self.t = 0
        return self.env.reset(**arguments)

    def step(self, action):
        self.t += 1
        if self.t > LATE or not self.late:
            model = self.unwrapped.model
            model.body_mass[1] *= 1.01
            model.opt.gravity[2] -= 0.1 * self.np_random.random()
        return self.env.step(action)


class DeeperData(Awkward):
    """MuJoCo one object deeper than usual."""

    def prepare(self):
        import mujoco

        text = "<mujoco><worldbody><body><joint type='slide' axis='1 0 0'/><geom size='1'/></body></worldbody></mujoco>"
        model = mujoco.MjModel.from_xml_string(text)
        self.sim = types.SimpleNamespace(model=model, data=mujoco.MjData(model))

    def begin(self, seed):
        import mujoco

        mujoco.mj_resetData(self.sim.model, self.sim.data)

    def hidden(self, action):
        import mujoco

        self.sim.data.qfrc_applied[0] = action - 1.0
        mujoco.mj_step(self.sim.model, self.sim.data)
        return 100 * self.sim.data.qpos[0]


# -- what is to become of them ---------------------------------------------------------------------------------------

EXACT, REFUSED, STOPPED = "exact", "refused", "stopped while training"


@dataclasses.dataclass(frozen=True)
class Case:
    """An environment, what is expected of its early and its late form, and a part of what is said."""

    make: object
    early: str
    late: str
    says: str = ""

    def maker(self, late):
        """A function that makes one."""
        if isinstance(self.make, types.FunctionType):
            return self.make(late)
        return functools.partial(self.make, late)

    def expected(self, late):
        """What is to become of one form."""
        return self.late if late else self.early


CASES = {
    "Python's random": Case(PythonRandom, REFUSED, STOPPED, "Python's random"),
    "np.random": Case(NumpyRandom, REFUSED, STOPPED, "NumPy's np.random"),
    "torch.rand": Case(TorchRandom, REFUSED, STOPPED, "PyTorch's torch"),
    "generator of a module": Case(ModuleGenerator, REFUSED, STOPPED, "'MODULE_GENERATOR'"),
    "generator of a closure": Case(closure_generator, REFUSED, REFUSED, "variable 'generator' around"),
    "generator of a C library": Case(SharedLibrary, REFUSED, STOPPED, "another"),
    "generator of a C library, one a world": Case(OwnLibrary, EXACT, EXACT),
    "generator in a frame": Case(FrameGenerator, EXACT, EXACT),
    "default_rng(seed) in reset": Case(SeededReset, EXACT, EXACT),
    "spawned generators": Case(Spawned, EXACT, EXACT),
    "counter of a closure": Case(closure_counter, REFUSED, STOPPED, "variable 'count' around"),
    "counter of a class": Case(ClassCounter, REFUSED, STOPPED, "ClassCounter.count changes"),
    "counter without a name": Case(NamelessCounter, REFUSED, STOPPED, "another"),
    "counter of a module": Case(ModuleCounter, REFUSED, STOPPED, "'MODULE_COUNT'"),
    "list of a class": Case(ClassList, REFUSED, STOPPED, "ClassList.seen_actions changes"),
    "default argument": Case(DefaultArgument, REFUSED, STOPPED, "a default argument of DefaultArgument.hidden"),
    "attribute of a function": Case(FunctionAttribute, REFUSED, STOPPED, "counted.calls changes"),
    "helper that all hold": Case(SharedHelper, REFUSED, STOPPED, "SCORE|score changes"),
    "iterator of a module": Case(ModuleIterator, REFUSED, REFUSED, "'NUMBERS'"),
    "context variable": Case(ContextVariable, REFUSED, STOPPED, "'CONTEXT'"),
    "bounds of a space": Case(Bounds, REFUSED, STOPPED, "the bounds of Bounds.limits change"),
    "attribute of a space": Case(OfSpace, REFUSED, STOPPED, "another"),
    "wall clock": Case(WallClock, REFUSED, STOPPED, "another"),
    "file": Case(InFile, REFUSED, STOPPED, "another"),
    "variable of the process": Case(InProcess, REFUSED, STOPPED, "os.environ changes"),
    "address in memory": Case(Identity, REFUSED, STOPPED, "another"),
    "number kept by a weak reference": Case(
        InDescriptor, REFUSED, REFUSED, "InDescriptor.numbers holds something for each world"
    ),
    "closure in a field": Case(FieldClosure, EXACT, EXACT),
    "private slot of a helper": Case(HelperSlot, EXACT, EXACT),
    "private slot of its own": Case(OwnSlot, EXACT, EXACT),
    "buffers of a network": Case(Buffers, EXACT, EXACT),
    "weights of a network": Case(Weights, EXACT, EXACT),
    "state called renderer": Case(Renderer, EXACT, EXACT),
    "state called viewer": Case(Viewer, EXACT, EXACT),
    "cached noise": Case(CachedNoise, REFUSED, REFUSED, "CachedNoise.noise is cached"),
    "cached table": Case(CachedTable, EXACT, EXACT),
    "fresh space at every reset": Case(FreshSpace, EXACT, EXACT),
    "number of its own class": Case(OwnNumber, EXACT, EXACT),
    "iterator in a field": Case(FieldIterator, EXACT, EXACT),
    "views of tensors": Case(TensorViews, EXACT, EXACT),
    "views in containers": Case(Aliases, EXACT, EXACT),
    "picture that it looks at": Case(Painted, EXACT, EXACT),
    "shows itself": Case(Shown, EXACT, EXACT),
    "metadata of its own": Case(OwnMetadata, EXACT, EXACT),
    "bytes": Case(Board, EXACT, EXACT),
    "list of many links": Case(Trail, EXACT, STOPPED, "nested too deep"),
    "class that changes": Case(Phase, REFUSED, STOPPED, "another class than Phase"),
    "environment that is replaced": Case(Rebuilt, REFUSED, STOPPED, "Rebuilt has put another environment inside it"),
    "tables of a library": Case(Slippery, REFUSED, STOPPED, "FrozenLakeEnv.P"),
    "MuJoCo model that changes": Case(ChangingModel, EXACT, EXACT),
    "MuJoCo one object deeper": Case(DeeperData, EXACT, EXACT),
}
