"""Environments whose hidden state matters late: training on each is stopped by name, and never on a faithful one.

How they are saved is given here without proof, so that it is the watching during training that is tested.
"""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv, VecFrameStack, VecNormalize

from rl_tracking import GRPO, HybridGRPO
from rl_tracking.adapters import build as adapters
from rl_tracking.adapters.strategies import Fields, OwnMethods
from rl_tracking.agents.collect import branching
from rl_tracking.errors import RunError
from rl_tracking.restoring import watching
from rl_tracking.restoring.protocol import NotRestorableError, as_restorable
from rl_tracking.restoring.watching import RestoringFailedError
from tests.agents.toys import SMALL, LineStates, LineVecEnv, one_line
from tests.trust import late_toys

OUTCOME = "the executed step gave another"
HIDDEN = {
    "ClassCounter": f"{OUTCOME} reward",
    "ModuleGenerator": f"{OUTCOME} reward",
    "PythonRandom": "a step moved Python's random,",
    "NumpyRandom": "a step moved NumPy's np.random,",
    "TorchRandom": "a step moved PyTorch's torch,",
    "RandomWithoutEffect": "a step moved Python's random,",
    "RandomInReset": "a step moved NumPy's np.random,",
    "SeedsInReset": "a step moved Python's random,",
    "ClosureCounter": f"{OUTCOME} reward",
    "OwnClosureCounter": f"{OUTCOME} reward",
    "OwnHiddenPlace": "reward",
    "CachedWind": f"{OUTCOME} reward",
    "CLibrary": f"{OUTCOME} reward",
    "CMemory": f"{OUTCOME} reward",
    "SharedBoard": f"{OUTCOME} reward",
    "Clock": f"{OUTCOME} reward",
    "Identity": f"{OUTCOME} reward",
    "Wearing": f"{OUTCOME} observation at index 0",
    "Forgetful": "reward",
    "DictCounter": f"{OUTCOME} observation 'count' at index 0",
    "TerminalCounter": f"{OUTCOME} observation at index 1",
    "EndsAtRandom": f"{OUTCOME} truncation",
}


def train(env, steps=512, algorithm=HybridGRPO, **arguments):
    """Train a little; the same seed gives the same."""
    values = {"n_steps": 128, "n_epochs": 1, "n_samples": 4, "batch_size": 128, "horizon": 1, "seed": 0, **arguments}
    space = getattr(env, "observation_space", None)
    policy = "MultiInputPolicy" if isinstance(space, spaces.Dict) else "MlpPolicy"
    model = algorithm(policy, env, device="cpu", policy_kwargs=SMALL, **values)
    return model.learn(steps)


def stopped(*arguments, **named):
    with pytest.raises(RestoringFailedError) as caught:
        train(*arguments, **named)
    text = str(caught.value)
    assert "\n" not in text
    assert "self.np_random" in text
    assert "after macro-step " in text
    return text


@pytest.fixture
def unproved(monkeypatch):
    """Give environments their way without a proof, and look at nothing that worlds share."""

    class NothingShared:
        def changed(self, **_):
            return None

    def chosen(blueprint):
        own = hasattr(blueprint.env.unwrapped, "get_state")
        return (OwnMethods if own else Fields), NothingShared()

    monkeypatch.setattr(adapters, "_select", chosen)


@pytest.mark.usefixtures("unproved")
@pytest.mark.parametrize("name", HIDDEN)
def test_hidden_state_stops_the_training_and_is_named(name):
    text = stopped(getattr(late_toys, name)())
    assert text.startswith(f"{name} is not restored faithfully: ")
    assert "EpisodeMonitor" not in text
    assert HIDDEN[name] in text


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in HIDDEN if name not in ("Wearing", "Forgetful")])  # copied instead
def test_hidden_state_is_refused_or_stops_the_training(name):
    with pytest.raises((NotRestorableError, RunError)) as caught:
        train(getattr(late_toys, name)(), steps=1024)
    assert name in one_line(caught)


@pytest.mark.usefixtures("unproved")
def test_a_generator_that_only_a_seeded_reset_renews_stops_the_training():
    assert "another reward" in stopped(late_toys.SecondEpisode())


@pytest.mark.usefixtures("unproved")
@pytest.mark.parametrize("name", ["ClassCounter", "PythonRandom", "OwnHiddenPlace"])
@pytest.mark.parametrize(
    "arguments",
    [{"horizon": 4}, {"branch_noise": "independent"}, {"horizon": 3, "branch_noise": "independent"}],
    ids=["horizon", "independent", "both"],
)
def test_branches_with_a_horizon_or_independent_noise_are_watched(name, arguments):
    assert name in stopped(getattr(late_toys, name)(), steps=768, **arguments)


@pytest.mark.usefixtures("unproved")
def test_whole_episodes_are_watched():
    env = gym.wrappers.TimeLimit(late_toys.ClassCounter(), 70)
    assert f"{OUTCOME} reward" in stopped(env, algorithm=GRPO, n_samples=2)


@pytest.mark.usefixtures("unproved")
def test_steps_are_compared_before_wrappers_change_them():
    inner = as_restorable(DummyVecEnv([late_toys.Loud for _ in range(2)]))
    text = stopped(VecFrameStack(VecNormalize(inner), 2), n_steps=64)
    shown = float(text.split("reward (")[1].split(")")[0])
    assert shown > 900  # a normalised reward is 10 at most
    assert "step_wait" not in vars(inner)


@pytest.fixture
def all_looks(monkeypatch):
    """One action is tried in all branches after every look."""
    tried = []

    def counted(self, plain=watching.Watch._try_one_action):
        tried.append(self)
        plain(self)

    monkeypatch.setattr(watching, "_SHARE", float("inf"))
    monkeypatch.setattr(watching.Watch, "_try_one_action", counted)
    return tried


FAITHFUL = {
    "CartPole-v1": {},
    "FrozenLake-v1": {},
    "Pendulum-v1": {"horizon": 4},
    "Acrobot-v1": {"branch_noise": "independent"},
    "HalfCheetah-v5": {"needs": "mujoco"},
    "LunarLander-v3": {"needs": "Box2D", "horizon": 4},
}


@pytest.mark.parametrize("name", ["CartPole-v1", "HalfCheetah-v5", "InPlace", "KeepsActions", "Late"])
def test_faithful_environments_are_never_stopped(name, all_looks):
    arguments = dict(FAITHFUL.get(name, {}))
    pytest.importorskip(arguments.pop("needs", "gymnasium"))
    train(getattr(late_toys, name)() if hasattr(late_toys, name) else name, steps=128, **arguments)
    assert len(all_looks) == 128


@pytest.mark.slow
@pytest.mark.parametrize("name", [*FAITHFUL, "InPlace", "KeepsActions", "Late"])
@pytest.mark.parametrize("noise", ["common", "independent"])
def test_faithful_environments_are_never_stopped_in_longer_trainings(name, noise, all_looks):
    arguments = {"branch_noise": noise, **FAITHFUL.get(name, {})}
    pytest.importorskip(arguments.pop("needs", "gymnasium"))
    train(getattr(late_toys, name)() if hasattr(late_toys, name) else name, steps=2048, **arguments)
    assert len(all_looks) >= 512


def weights(model):
    return b"".join(part.detach().numpy().tobytes() for part in model.policy.parameters())


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("CartPole-v1", {}),
        ("CartPole-v1", {"horizon": 3, "branch_noise": "independent"}),
        ("FrozenLake-v1", {}),
        ("CartPole-v1", {"algorithm": GRPO, "n_samples": 3}),
    ],
)
def test_weights_are_those_of_a_training_that_is_not_watched(name, arguments, all_looks, monkeypatch):
    arguments = {"n_steps": 64, **arguments}
    watched = train(name, steps=128, **arguments)
    assert len(all_looks) > 2
    looks = len(all_looks)
    monkeypatch.setattr(branching, "Watch", lambda env, branches: None)
    plain = train(name, steps=128, **arguments)
    assert len(all_looks) == looks
    assert weights(plain) == weights(watched)
    assert plain.num_simulator_steps == watched.num_simulator_steps


def test_one_action_is_tried_in_all_branches_for_a_hundredth_of_their_cost(monkeypatch):
    tried, plain = [], watching.Watch._try_one_action
    monkeypatch.setattr(watching.Watch, "_try_one_action", lambda self: (tried.append(1), plain(self)))
    env = LineVecEnv(num_envs=1, limit=30)
    model = train(env, steps=1024)
    steps_and_restores = 2 * 1024
    assert len(tried) == steps_and_restores // 100 // watching._TRIAL == 5
    assert env.counts["steps"] - model.num_simulator_steps == 5 * 4  # not counted: nothing is learned from them


class ForgetfulLine(LineVecEnv):
    """Puts back where points are, but from its 100th step on not their steps."""

    made = 0

    def set_state(self, states):
        ForgetfulLine.made += 1
        late = ForgetfulLine.made > 100
        super().set_state(LineStates(states.place, self.state.step * 0 + 1) if late else states)

    def spawn(self, num_envs):
        return type(self)(num_envs, self.action_space, self.limit, self.edge, self.reward, self.dtype)


def test_a_vec_env_of_the_users_is_watched():
    ForgetfulLine.made = 0
    with pytest.raises(RestoringFailedError) as caught:
        train(ForgetfulLine(limit=50))
    text = str(caught.value)
    assert text.startswith("ForgetfulLine is not restored faithfully: the executed step gave another observation at ")
    assert "; afterwards bytes differs; " in text


class ReusingLine(LineVecEnv):
    """Returns the same arrays at every step, with other numbers in them."""

    def step_wait(self):
        observation, reward, done, infos = super().step_wait()
        if not hasattr(self, "returned"):
            self.returned = observation, reward, done
        for kept, new in zip(self.returned, (observation, reward, done), strict=True):
            kept[...] = new
        return (*self.returned, infos)

    def reset(self):
        observation = super().reset()
        if not hasattr(self, "returned"):
            return observation
        self.returned[0][...] = observation
        return self.returned[0]

    def spawn(self, num_envs):
        return type(self)(num_envs, self.action_space, self.limit, self.edge, self.reward, self.dtype)


@pytest.mark.parametrize("horizon", [1, 3])
def test_an_env_may_reuse_the_arrays_that_it_returns(horizon):
    plain, reusing = (train(env(limit=20), steps=384, horizon=horizon) for env in (LineVecEnv, ReusingLine))
    assert weights(plain) == weights(reusing)


class RoundedLine(LineVecEnv):
    """Rounds otherwise for other numbers of worlds, by ``error``."""

    error = 1e-6

    def observe(self, states):
        return super().observe(states) * np.float32(1 + self.error * self.num_envs)

    def spawn(self, num_envs):
        return type(self)(num_envs, self.action_space, self.limit, self.edge, self.reward, self.dtype)


class WrongLine(RoundedLine):
    """Differs by more than rounding."""

    error = 1e-4


def test_a_vec_env_of_the_users_may_differ_by_rounding(all_looks):
    train(RoundedLine(limit=20), steps=128)
    with pytest.raises(RestoringFailedError):
        train(WrongLine(limit=20), steps=128)
