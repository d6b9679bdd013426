"""Environments that do one thing wrong at one step, and what is to be said of it."""

import sys

import gymnasium as gym
import numpy as np

ID = "Failing-v0"
FILE = __file__


class Failing(gym.Env):
    """A point on a plane that is pushed along; at step ``at`` of the first episode, or of all, it does ``wrong``.

    The count of episodes is in ``reset``'s hands, so that a failure can be put into a later one.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 30}  # noqa: RUF012

    def __init__(self, wrong="nothing", at=220, length=20, space="box", render_mode=None):
        self.wrong, self.at, self.length = wrong, at, length
        self.render_mode = render_mode
        self.steps = 0
        box = gym.spaces.Box(-10.0, 10.0, (2,), np.float32)
        pixels = gym.spaces.Box(0, 255, (2,), np.uint8)
        self.observation_space = {"box": box, "dict": gym.spaces.Dict({"a": box, "b": box}), "pixels": pixels}[space]
        self.action_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place, self.made = np.zeros(2, np.float32), 0
        if self.steps >= self.at and self.wrong in RESETS:
            return RESETS[self.wrong](self)
        return self.seen(), {}

    def seen(self):
        if isinstance(self.observation_space, gym.spaces.Dict):
            return {"a": self.place.copy(), "b": self.place.copy()}
        return self.place.astype(self.observation_space.dtype)

    def step(self, action):
        self.steps, self.made = self.steps + 1, self.made + 1
        self.place = (self.place + 0.1 * action + 0.01 * self.np_random.normal()).astype(np.float32)
        returned = self.seen(), float(-abs(self.place[0])), False, self.made >= self.length, {}
        return STEPS[self.wrong](self, *returned) if self.steps >= self.at and self.wrong in STEPS else returned

    def render(self):
        if self.steps >= self.at and self.wrong in RENDERS:
            return RENDERS[self.wrong](self)
        return np.zeros((8, 8, 3), np.uint8)


def _raises(error):
    def fail(*_):
        raise error

    return fail


def _with(index, change):
    """A step in which one of the five things that are returned is another."""
    return lambda env, *five: (*five[:index], change(five[index]), *five[index + 1 :])


STEPS = {
    "raises": _raises(KeyError("no such\nthing")),
    "raises a type of its own": _raises(type("Lost", (Exception,), {})("it is gone")),
    "asserts": lambda *_: exec("assert 1 == 2, 'not so'"),
    "leaves": lambda *_: sys.exit(3),
    "observation (1,)": _with(0, lambda seen: seen[:1]),
    "observation ()": _with(0, lambda seen: seen[0]),
    "observation (1, 2)": _with(0, lambda seen: seen[None]),
    "observation complex": _with(0, lambda seen: seen * 1j),
    "observation text": _with(0, lambda seen: "here"),
    "observation None": _with(0, lambda seen: None),
    "observation ragged": _with(0, lambda seen: [[1.0], [1.0, 2.0]]),
    "observation nan": _with(0, lambda seen: seen * np.float32("nan")),
    "observation inf": _with(0, lambda seen: np.array([0, np.inf], np.float32)),
    "last observation nan": lambda env, seen, reward, *_: (seen * np.float32("nan"), reward, True, False, {}),
    "reward nan": _with(1, lambda reward: float("nan")),
    "reward inf": _with(1, lambda reward: np.float64("-inf")),
    "reward too large": _with(1, lambda reward: 1e300),
    "reward None": _with(1, lambda reward: None),
    "reward vector": _with(1, lambda reward: np.ones(2)),
    "reward (1,)": _with(1, lambda reward: np.ones(1)),
    "reward complex": _with(1, lambda reward: 1j),
    "reward text": _with(1, lambda reward: "much"),
    "terminated text": _with(2, lambda flag: "no"),
    "terminated None": _with(2, lambda flag: None),
    "terminated array": _with(2, lambda flag: np.array([False])),
    "truncated number": _with(3, lambda flag: 1),
    "info None": _with(4, lambda info: None),
    "info list": _with(4, lambda info: []),
    "four": lambda env, seen, reward, end, limit, info: (seen, reward, end, info),
    "six": lambda env, *five: (*five, None),
    "None": lambda *_: None,
}
RESETS = {
    "reset raises": _raises(OSError("no connection")),
    "reset observation alone": lambda env: env.seen(),
    "reset observation (1,)": lambda env: (env.seen()[:1], {}),
    "reset observation nan": lambda env: (env.seen() * np.float32("nan"), {}),
    "reset info None": lambda env: (env.seen(), None),
}
RENDERS = {
    "render raises": _raises(ZeroDivisionError("no light")),
    "render None": lambda env: None,
    "render grey": lambda env: np.zeros((8, 8)),
}

# What the line says, beside the environment's name; in order.
SAYS = {
    "raises": [r"raised KeyError: 'no such\nthing' ({file}:", ") in step()"],
    "raises a type of its own": ["raised Lost: it is gone ({file}:", ") in step()"],
    "asserts": ["raised AssertionError: not so ({file}:", ") in step()"],
    "leaves": ["raised SystemExit: 3 ({file}:", ") in step()"],
    "observation (1,)": ["returned observation of shape (1,) from step(); it must be float32 of shape (2,)"],
    "observation ()": ["returned observation of shape () from step(); it must be float32 of shape (2,)"],
    "observation (1, 2)": ["returned observation of shape (1, 2) from step(); it must be float32 of shape (2,)"],
    "observation complex": ["returned observation an array of complex64, shape (2,) from step(); it must be float32"],
    "observation text": ["returned observation 'here' (str) from step(); it must be float32 of shape (2,)"],
    "observation None": ["returned observation None from step(); it must be float32 of shape (2,)"],
    "observation ragged": ["returned observation [[1.0], [1.0, 2.0]] (list) from step(); it must be float32"],
    "observation nan": ["returned observation with nan at index 0 from step(); it must be finite"],
    "observation inf": ["returned observation with inf at index 1 from step(); it must be finite"],
    "last observation nan": ["returned observation with nan at index 0 from step(); it must be finite"],
    "reward nan": ["returned reward nan from step(); it must be finite"],
    "reward inf": ["returned reward -inf from step(); it must be finite"],
    "reward too large": ["returned reward 1e+300 from step(); it must be finite, and a number that float32 can hold"],
    "reward None": ["returned reward None from step(); it must be one real number"],
    "reward vector": ["returned reward an array of float64, shape (2,) from step(); it must be one real number"],
    "reward (1,)": ["returned reward an array of float64, shape (1,) from step(); it must be one real number"],
    "reward complex": ["returned reward 1j (complex) from step(); it must be one real number"],
    "reward text": ["returned reward 'much' (str) from step(); it must be one real number"],
    "terminated text": ["returned terminated 'no' (str) from step(); it must be True or False"],
    "terminated None": ["returned terminated None from step(); it must be True or False"],
    "terminated array": ["returned terminated an array of bool, shape (1,) from step(); it must be True or False"],
    "truncated number": ["returned truncated 1 (int) from step(); it must be True or False"],
    "info None": ["returned info None from step(); it must be a dict"],
    "info list": ["returned info [] (list) from step(); it must be a dict"],
    "four": ["must return (observation, reward, terminated, truncated, info) from step()"],
    "six": ["must return (observation, reward, terminated, truncated, info) from step()"],
    "None": ["must return (observation, reward, terminated, truncated, info) from step()"],
    "reset raises": ["raised OSError: no connection ({file}:", ") in reset()"],
    "reset observation alone": ["must return (observation, info) from reset()"],
    "reset observation (1,)": ["returned observation of shape (1,) from reset(); it must be float32 of shape (2,)"],
    "reset observation nan": ["returned observation with nan at index 0 from reset(); it must be finite"],
    "reset info None": ["returned info None from reset(); it must be a dict"],
}

gym.register(ID, entry_point=Failing)


def check_line(line, wrong):
    """Whether a line names the environment and says what is right to say of ``wrong``."""
    assert "\n" not in line
    at = line.index(f"environment '{ID}'")
    for part in SAYS[wrong]:
        at = line.index(part.format(file=FILE), at)
