import json
from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv

import rl_tracking
from rl_tracking import load_policy, plugins
from rl_tracking.agents.saving import checkpoint, description
from rl_tracking.envs.vec_env import make_scenario
from rl_tracking.errors import UsageError
from rl_tracking.runs.evaluate import evaluate
from rl_tracking.runs.tasks import GymnasiumTask, choose_task
from rl_tracking.runs.tasks.finding import task_of_worlds
from rl_tracking.runs.tasks.pilots import check_fits
from tests.agents.toys import PLAIN, one_line

CARTPOLE = GymnasiumTask("CartPole-v1")


class Leaning:
    """Pushes to where the pole falls: good for some tens of steps."""

    name = "leaning"

    def act(self, worlds, observations):
        return [int(observation[2] > 0) for observation in observations]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    file = tmp_path_factory.mktemp("env") / "cartpole.zip"
    env = GymnasiumTask("CartPole-v1", {"max_episode_steps": 60}).worlds(2, 0, must_restore=True)
    rl_tracking.HybridGRPO("MlpPolicy", env, **PLAIN, n_steps=8, batch_size=8, n_samples=2, seed=3, device="cpu").save(
        file
    )
    return file


def test_another_action_space_is_refused_in_one_line():
    """A row of bounds and a column of them are not the same actions."""
    row, column = (
        gym.spaces.Box(np.zeros(shape, np.float32), np.arange(2, dtype=np.float32).reshape(shape) + 1)
        for shape in ((1, 2), (2, 1))
    )
    observation = gym.spaces.Box(-1.0, 1.0, (3,))
    policy = SimpleNamespace(observation_space=observation, action_space=row)
    task = GymnasiumTask("Toy-v0")
    vars(task)["_spaces"] = observation, column, None
    with pytest.raises(UsageError, match=r"has actions Box\(.*environment 'Toy-v0' has Box") as caught:
        check_fits(policy, task)
    one_line(caught)
    check_fits(SimpleNamespace(observation_space=observation, action_space=column), task)


class PatchedTimeLimit(gym.wrappers.TimeLimit):
    """The time limit that rl_zoo3 puts in the place of Gymnasium's."""


def test_an_environment_of_rl_zoo3_is_known_by_its_id():
    env = DummyVecEnv([lambda: PatchedTimeLimit(gym.make("CartPole-v1").env, 500)])
    assert task_of_worlds(env) == CARTPOLE


def by_hand(seed, act):
    """One episode with nothing but Gymnasium."""
    env = gym.make("CartPole-v1")
    observation, _ = env.reset(seed=seed)
    total, steps, over = 0.0, 0, False
    while not over:
        observation, reward, terminated, truncated, _ = env.step(act(observation))
        total, steps, over = total + reward, steps + 1, terminated or truncated
    return total, steps


def test_the_figures_are_those_of_the_episodes_played_by_hand():
    found = evaluate(Leaning(), 11, task=CARTPOLE, seed=5)
    played = [by_hand(5 + episode, lambda o: int(o[2] > 0)) for episode in range(11)]
    assert found["return"]["value"] == pytest.approx(np.mean([total for total, _ in played]))
    assert found["episode_length"]["value"] == pytest.approx(np.mean([steps for _, steps in played]))
    assert len({steps for _, steps in played}) > 3
    assert (found["policy"], found["env"], found["episodes"], found["seed"]) == ("leaning", "CartPole-v1", 11, 5)
    assert "success_rate" not in found
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize("policy", ["random", "checkpoint"])
def test_an_episode_is_the_same_among_others(policy, path):
    policy = load_policy(path) if policy == "checkpoint" else policy
    alone = [evaluate(policy, 1, task=CARTPOLE, seed=100 + episode)["return"]["value"] for episode in range(10)]
    assert evaluate(policy, 10, task=CARTPOLE, seed=100)["return"]["value"] == pytest.approx(np.mean(alone))
    assert len(set(alone)) > 1


def test_success_is_counted_where_the_environment_says_so():
    class Judged(gym.Wrapper):
        def step(self, action):
            *step, info = self.env.step(action)
            return *step, info | {"is_success": self.env.unwrapped.state[0] > 0}

    class JudgedTask(GymnasiumTask):
        def make(self, **more):
            return Judged(super().make(**more))

    found = evaluate("random", 20, task=JudgedTask("CartPole-v1"), seed=0)
    assert 0 < found["success_rate"]["value"] < 1


# -- a checkpoint says where it is from --------------------------------------------------------------------------------


def test_a_checkpoint_runs_in_its_own_environment(path):
    assert load_policy(path).description["env"] == {"id": "CartPole-v1", "parameters": {"max_episode_steps": 60}}
    assert load_policy(path).description["scenario"] is None
    found = evaluate(path, 4)
    assert found["parameters"] == {"max_episode_steps": 60}
    assert found["episode_length"]["value"] <= 60
    assert evaluate(load_policy(path), 4) == found


@pytest.mark.parametrize("make", [lambda: gym.make("CartPole-v1", sutton_barto_reward=True), lambda: "CartPole-v1"])
def test_a_model_of_plain_sb3_knows_its_environment(make, tmp_path):
    made = make()
    model = PPO("MlpPolicy", made, n_steps=8, batch_size=8, device="cpu")
    given = {} if isinstance(made, str) else {"sutton_barto_reward": True}
    assert description.describe(model)["env"] == {"id": "CartPole-v1", "parameters": given}
    checkpoint.save(model, tmp_path / "ppo.zip")
    assert evaluate(model, 3) == evaluate(tmp_path / "ppo.zip", 3)


def test_an_environment_in_a_reward_wrapper_is_not_named_by_its_id():
    wrapped = gym.wrappers.TransformReward(gym.make("CartPole-v1"), lambda reward: -reward)
    assert description.describe(PPO("MlpPolicy", wrapped, device="cpu"))["env"] is None


# -- what does not fit -------------------------------------------------------------------------------------------------


def test_policies_that_do_not_fit_the_task_are_refused(path):
    for spec, task, hint in (
        (str(path), GymnasiumTask("Pendulum-v1"), "environment 'Pendulum-v1' has Box"),
        ("pursuit-drone", CARTPOLE, "was trained in scenario pursuit drone, not in environment 'CartPole-v1'"),
        ("lead-pursuit", CARTPOLE, "does not apply to environment 'CartPole-v1'; there is 'random'"),
        ("lead-pursui", CARTPOLE, "did you mean"),
    ):
        with pytest.raises(UsageError, match=hint) as refused:
            evaluate(spec, 1, task=task)
        one_line(refused)
    with pytest.raises(UsageError, match="was trained in environment 'CartPole-v1', not in scenario pursuit drone"):
        evaluate(path, 1, scenario=make_scenario("pursuit"))
    with pytest.raises(UsageError, match="not in a scenario; reward is for scenarios"):
        choose_task([load_policy(path)], parameters={"reward": "sparse"})
    with pytest.raises(UsageError, match="episodes must be 1 or more"):
        evaluate(path, 0)
    with pytest.raises(UsageError, match="skip is for scenarios"):
        evaluate(path, 1, skip=3)


def test_a_controller_of_another_package_is_for_scenarios_alone(monkeypatch):
    monkeypatch.setattr(plugins, "names", lambda kind: {"random": "built-in", "mine": "my-package 1.0"})
    with pytest.raises(UsageError, match="'mine' does not apply to environment 'CartPole-v1'; there is 'random'"):
        evaluate("mine", 1, task=CARTPOLE)


def test_pictures_may_have_their_channels_first():
    class Seen(GymnasiumTask):
        def make(self, **more):
            return gym.wrappers.TransformObservation(super().make(), lambda o: o, gym.spaces.Box(0, 255, (96, 96, 3)))

    class Policy:
        observation_space, action_space = gym.spaces.Box(0, 255, (3, 96, 96)), gym.spaces.Discrete(2)

    check_fits(Policy(), Seen("CartPole-v1"))
