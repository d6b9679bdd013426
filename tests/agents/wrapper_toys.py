"""Wrappers as users write them: some show each step by itself, the others do more."""

import numpy as np
from stable_baselines3.common.vec_env import VecEnvWrapper, VecNormalize


class Passing(VecEnvWrapper):
    """Shows what it is shown."""

    def reset(self):
        return self.show(self.venv.reset())

    def step_wait(self):
        observation, reward, done, infos = self.venv.step_wait()
        for info in infos:
            if "terminal_observation" in info:
                info["terminal_observation"] = self.show(info["terminal_observation"])
        return self.show(observation), self.pay(reward), done, infos

    def show(self, observation):
        return observation

    def pay(self, reward):
        return reward


class Scaled(Passing):
    """Other units, set by hand."""

    def __init__(self, venv, unit=0.5):
        super().__init__(venv)
        self.unit = unit

    def show(self, observation):
        return observation * np.float32(self.unit)

    def pay(self, reward):
        return np.float32(3.0) * reward - np.float32(self.unit)


class Squared(Passing):
    """Works in place."""

    def show(self, observation):
        observation *= observation
        return observation

    def pay(self, reward):
        reward[:] = np.tanh(reward)
        return reward


class Counting(Passing):
    """Pays less and less."""

    steps = 0

    def pay(self, reward):
        self.steps += 1
        return reward / self.steps


class Summing(Passing):
    """Adds up what was paid, in place."""

    def __init__(self, venv):
        super().__init__(venv)
        self.total = np.zeros(1)

    def pay(self, reward):
        self.total += reward.sum()
        return reward


class Late(Passing):
    """Begins to count with the first large reward."""

    def __init__(self, venv):
        super().__init__(venv)
        self.large = 0

    def pay(self, reward):
        if (np.abs(reward) > 100).any():
            self.large += 1
        return reward


class Noisy(Passing):
    """Draws from the generator of NumPy itself."""

    def show(self, observation):
        return observation + np.random.normal(size=observation.shape).astype(np.float32)


class Comparing(Passing):
    """Pays a world what it has more than the others."""

    def pay(self, reward):
        return reward - reward.mean()


class Acting(Passing):
    """Turns actions round."""

    def step_async(self, actions):
        self.venv.step_async(-actions)


class Ending(Passing):
    """Says that no episode ends."""

    def step_wait(self):
        observation, reward, done, infos = super().step_wait()
        return observation, reward, np.zeros_like(done), infos


class Curious(Passing):
    """Looks for more in the info than there is of a branch."""

    def step_wait(self):
        observation, reward, done, infos = super().step_wait()
        return observation, reward + sum(info.get("bonus", 0.0) for info in infos), done, infos


class Asking(Passing):
    """Asks the environment for an attribute of it."""

    def pay(self, reward):
        return reward * self.venv.get_attr("limit")[0]


class Failing(Passing):
    """Knows its own worlds only."""

    def __init__(self, venv):
        super().__init__(venv)
        self.units = np.ones(venv.num_envs, np.float32)

    def pay(self, reward):
        return reward * self.units


class OwnNormalizer(VecNormalize):
    """Pays what the other one does not."""

    def step_wait(self):
        observation, reward, done, infos = super().step_wait()
        return observation, reward + 1.0, done, infos
