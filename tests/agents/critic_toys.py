"""A world on which the value function and the policy gradient are known exactly."""

import dataclasses

import numpy as np
from gymnasium import spaces

from tests.bare_vec_env import BareVecEnv

GAMMA = 0.95
A, B = 0, 1


@dataclasses.dataclass(frozen=True)
class ChainStates:
    """Episodes of a :class:`DelayedChain`: steps made, the choice at the first of them, and the key of the noise."""

    step: np.ndarray
    choice: np.ndarray
    key: np.ndarray

    def __len__(self):
        return len(self.step)

    def __getitem__(self, worlds):
        return ChainStates(self.step[worlds], self.choice[worlds], self.key[worlds])

    def repeat(self, n):
        return ChainStates(*(np.tile(part, n) for part in (self.step, self.choice, self.key)))

    def to_bytes(self):
        return self.step.tobytes() + self.choice.tobytes() + self.key.tobytes()

    def differences(self, other):
        return [] if self.to_bytes() == other.to_bytes() else ["bytes"]


def mixed(number):
    """A random number of 64 bits for each (the finaliser of splitmix64)."""
    number = number.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    number = (number ^ (number >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    number = (number ^ (number >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return number ^ (number >> np.uint64(31))


def normal(key, step):
    """A standard normal number for each key and step (Box, Muller 1958)."""
    first = mixed(mixed(key) + step.astype(np.uint64))
    u, v = ((part >> np.uint64(11)).astype(np.float64) / 2.0**53 for part in (first, mixed(first)))
    return np.sqrt(-2.0 * np.log1p(-u)) * np.cos(2.0 * np.pi * v)


class DelayedChain(BareVecEnv):
    """The first action of an episode decides it: A pays .3 at once, B pays 3 after ``delay`` more steps.

    With gamma .95 and 24 more steps Q(A) = .300 and Q(B) = 3 * .95 ** 24 = .876. Later actions change nothing. A branch
    of 16 steps does not reach B's reward, so only the critic can prefer it. Every reward has normal noise on top.

    The observation is whether the choice is still open, whether it was B, and the share of the episode that is over.

    Args:
        num_envs: E.
        noise: standard deviation of the noise of each reward.
        delay: steps after the first one.
        ends: whether A ends the episode.
        seed: of the noise.
    """

    pays = (0.3, 3.0)

    def __init__(self, num_envs=8, noise=0.0, delay=24, ends=False, seed=0):
        self.noise, self.delay, self.ends, self.render_mode = noise, delay, ends, None
        super().__init__(num_envs, spaces.Box(0.0, 1.0, (3,), np.float32), spaces.Discrete(2))
        self.state = ChainStates(
            np.zeros(num_envs, dtype=np.int64),
            np.zeros(num_envs, dtype=np.int64),
            mixed(np.arange(num_envs) + 1000 * seed).astype(np.int64),
        )

    @property
    def values(self):
        """Q of A and of B in the first state."""
        return self.pays[0], self.pays[1] * GAMMA**self.delay

    def value_of(self, observation, p_of_b):
        """V of observations ``[..., 3]`` under a policy that takes B with probability ``p_of_b``."""
        is_open, was_b, over = np.moveaxis(np.asarray(observation, dtype=np.float64), -1, 0)
        step = np.rint(over * (self.delay + 1))
        after = was_b * self.pays[1] * GAMMA ** (self.delay - step) * (step <= self.delay)
        return np.where(is_open > 0.5, (1 - p_of_b) * self.values[A] + p_of_b * self.values[B], after)

    def get_state(self):
        return self.state

    def set_state(self, states):
        self.state = states

    def spawn(self, num_envs):
        return DelayedChain(num_envs, self.noise, self.delay, self.ends)

    def fork(self, n, noise):
        copies = self.state.repeat(n)
        if noise == "common":
            return copies
        # Branch 0 keeps the noise of the world that is executed.
        branch = np.repeat(np.arange(n), len(self.state))
        return dataclasses.replace(
            copies, key=np.where(branch == 0, copies.key, mixed(copies.key + branch).astype(np.int64))
        )

    def observe(self, states):
        over = states.step / (self.delay + 1)
        return np.stack([states.step == 0, (states.step > 0) & (states.choice == B), over], axis=1).astype(np.float32)

    def reset(self):
        self.state = dataclasses.replace(
            self.state, step=np.zeros_like(self.state.step), choice=np.zeros_like(self.state.step)
        )
        return self.observe(self.state)

    def step_async(self, actions):
        self.actions = np.asarray(actions).reshape(self.num_envs)

    def step_wait(self):
        before = self.state
        choice = np.where(before.step == 0, self.actions, before.choice)
        reward = np.where((before.step == 0) & (choice == A), self.pays[0], 0.0)
        reward = reward + np.where((before.step == self.delay) & (choice == B), self.pays[1], 0.0)
        reward = reward + self.noise * normal(before.key, before.step)
        after = ChainStates(before.step + 1, choice, before.key)
        done = (after.step > self.delay) | (self.ends & (choice == A))
        reached = self.observe(after)
        infos = [{} for _ in range(self.num_envs)]
        for world in np.flatnonzero(done):
            infos[world] = {"terminal_observation": reached[world], "TimeLimit.truncated": False}
        fresh = np.zeros_like(after.step)
        # The next episode has noise of its own.
        key = np.where(done, mixed(after.key).astype(np.int64), after.key)
        self.state = ChainStates(np.where(done, fresh, after.step), np.where(done, fresh, choice), key)
        return self.observe(self.state), reward.astype(np.float32), done, infos
