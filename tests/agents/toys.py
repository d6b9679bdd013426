"""Small worlds and models that several tests of the agents need."""

import dataclasses

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import VecEnvWrapper

from rl_tracking import GRPO, HybridGRPO, make_vec, schema
from rl_tracking.agents.arguments import HybridGRPOArguments
from tests.bare_vec_env import BareVecEnv

SMALL = {"net_arch": [16]}
ADVANTAGES, BASELINES = (schema.fields(HybridGRPOArguments)[name].choices for name in ("advantage", "baseline"))


@dataclasses.dataclass(frozen=True)
class LineStates:
    """Points on a line: where they are and how many steps they have made."""

    place: np.ndarray
    step: np.ndarray

    def __len__(self):
        return len(self.place)

    def __getitem__(self, worlds):
        return LineStates(self.place[worlds], self.step[worlds])

    def repeat(self, n):
        return LineStates(np.tile(self.place, n), np.tile(self.step, n))

    def to_bytes(self):
        return self.place.tobytes() + self.step.tobytes()

    def differences(self, other):
        return [] if self.to_bytes() == other.to_bytes() else ["bytes"]


class LineVecEnv(BareVecEnv):
    """The least that can be forked: get_state, set_state and spawn, written in numpy, without step_branches.

    A point is pushed along a line by its action. Beyond ``edge`` the episode terminates, after ``limit`` steps it is
    truncated. The reward is ``reward(place, push)``, minus the distance to 1 unless given.
    """

    def __init__(self, num_envs=3, action_space=None, limit=4, edge=2.0, reward=None, dtype=np.float32):
        space = spaces.Box(-1.0, 1.0, (1,), np.float32) if action_space is None else action_space
        self.limit, self.edge, self.dtype = limit, edge, dtype
        self.reward = reward or (lambda place, push: -np.abs(place - 1.0))
        self.render_mode = None
        self.counts = {"spawned": 0, "steps": 0}
        self.saved = 0
        super().__init__(num_envs, spaces.Box(-10.0, 10.0, (2,), np.float32), space)
        self.state = self.fresh()

    def fresh(self):
        worlds = np.arange(self.num_envs)
        return LineStates(0.05 * (worlds % 5).astype(np.float64), np.zeros(self.num_envs, dtype=np.int64))

    def get_state(self):
        self.saved += 1
        return self.state

    def set_state(self, states):
        assert len(states) == self.num_envs
        self.state = states

    def spawn(self, num_envs):
        sibling = LineVecEnv(num_envs, self.action_space, self.limit, self.edge, self.reward, self.dtype)
        sibling.counts = self.counts
        self.counts["spawned"] += 1
        return sibling

    def push(self, actions):
        values = np.asarray(actions, dtype=np.float64).reshape(self.num_envs, -1).sum(axis=1)
        if isinstance(self.action_space, spaces.Box):
            return values
        highest = {
            spaces.Discrete: lambda space: space.n - 1,
            spaces.MultiDiscrete: lambda space: (space.nvec - 1).sum(),
            spaces.MultiBinary: lambda space: space.n,
        }[type(self.action_space)](self.action_space)
        return values - highest / 2

    def observe(self, states):
        return np.stack([states.place, states.step / self.limit], axis=1).astype(np.float32)

    def reset(self):
        self.state = self.fresh()
        return self.observe(self.state)

    def step_async(self, actions):
        self.actions = actions

    def step_wait(self):
        self.counts["steps"] += self.num_envs
        push = self.push(self.actions)
        after = LineStates(self.state.place + push, self.state.step + 1)
        reward = np.asarray(self.reward(after.place, push)).astype(self.dtype)
        terminated = np.abs(after.place) > self.edge
        done = terminated | (after.step >= self.limit)
        reached, fresh = self.observe(after), self.fresh()
        infos = [{} for _ in range(self.num_envs)]
        for world in np.flatnonzero(done):
            infos[world] = {
                "terminal_observation": reached[world],
                "TimeLimit.truncated": bool(not terminated[world]),
            }
        self.state = LineStates(np.where(done, fresh.place, after.place), np.where(done, fresh.step, after.step))
        return self.observe(self.state), reward, done, infos


class SeenLineVecEnv(LineVecEnv):
    """The same world seen otherwise: ``show`` makes of the two numbers ``[E, 2]`` an observation in ``space``."""

    space = None

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.observation_space = self.space

    def spawn(self, num_envs):
        sibling = type(self)(num_envs, self.action_space, self.limit, self.edge, self.reward, self.dtype)
        sibling.counts = self.counts
        return sibling

    def reset(self):
        return self.show(super().reset())

    def step_wait(self):
        observation, reward, done, infos = super().step_wait()
        for info in infos:
            if "terminal_observation" in info:
                alone = self.show(info["terminal_observation"][None])
                one = {key: part[0] for key, part in alone.items()} if isinstance(alone, dict) else alone[0]
                info["terminal_observation"] = one
        return self.show(observation), reward, done, infos


class PartsVecEnv(SeenLineVecEnv):
    """A Dict of the place, and of the step as a whole number."""

    space = spaces.Dict({"place": spaces.Box(-10.0, 10.0, (1,), np.float32), "step": spaces.Discrete(20)})

    def show(self, observation):
        step = np.rint(observation[:, 1] * self.limit).astype(np.int64)
        return {"place": observation[:, :1].astype(np.float32), "step": step}


def picture(observation):
    """An image of 36 x 36 in three channels, the last axis."""
    rows = np.arange(36)[None, :, None, None] * 3
    columns = np.arange(36)[None, None, :, None]
    place, step = (observation[:, i, None, None, None] for i in (0, 1))
    shade = 100.0 + 40.0 * place + rows + columns * np.array([0, 1, 2]) + 20.0 * step
    return np.clip(shade, 0, 255).astype(np.uint8)


class PictureVecEnv(SeenLineVecEnv):
    """An image, channels last."""

    space = spaces.Box(0, 255, (36, 36, 3), np.uint8)

    def show(self, observation):
        return picture(observation)


class ScenesVecEnv(SeenLineVecEnv):
    """A Dict of an image and of the place."""

    space = spaces.Dict(
        {"image": spaces.Box(0, 255, (36, 36, 3), np.uint8), "place": spaces.Box(-10.0, 10.0, (1,), np.float32)}
    )

    def show(self, observation):
        return {"image": picture(observation), "place": observation[:, :1].astype(np.float32)}


class OddWrapper(VecEnvWrapper):
    """A wrapper that nobody knows, and that counts."""

    def __init__(self, venv):
        super().__init__(venv)
        self.steps = 0

    def reset(self):
        return self.venv.reset()

    def step_wait(self):
        self.steps += 1
        return self.venv.step_wait()


def tracking(num_envs=4, seed=0, **parameters):
    """A few worlds with short episodes, so that a short rollout sees them end."""
    return make_vec("pursuit", num_envs, seed=seed, **{"max_steps": 5, **parameters})


# One step a branch and nothing else, but each sample with its own residual.
PLAIN = {"recipe": "paper", "advantage": "per-sample"}


def plain_arguments(kind):
    """What makes an algorithm of any class as plain as those that are tested beside it."""
    return {HybridGRPO: PLAIN, GRPO: {"recipe": "paper", "horizon": 16}}.get(kind, {})


def hybrid(env=None, **arguments):
    """A small HybridGRPO that learns within milliseconds."""
    env = tracking() if env is None else env
    values = {
        **PLAIN,
        "n_steps": 6,
        "batch_size": 6 * env.num_envs,
        "n_epochs": 2,
        "n_samples": 3,
        "seed": 0,
        **arguments,
    }
    values.setdefault("policy_kwargs", SMALL)
    return HybridGRPO("MlpPolicy", env, device="cpu", **values)


class Kept(Logger):
    """A logger that keeps every dump."""

    def __init__(self):
        super().__init__(None, [])
        self.dumps = []

    def dump(self, step=0):
        self.dumps.append(dict(self.name_to_value))
        super().dump(step)


def logged(model, steps):
    """Train, and return what was logged after every rollout."""
    logger = Kept()
    model.set_logger(logger)
    model.learn(steps)
    return logger.dumps


def one_line(caught):
    """The text of a caught error, which has to be a single line."""
    text = str(caught.value)
    assert text
    assert "\n" not in text
    return text
