"""Monte Carlo returns of whole episodes, and the policy gradient with them."""

import copy
import io

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from rl_tracking import load_policy
from rl_tracking.agents.arguments import settable
from rl_tracking.agents.reinforce import REINFORCE, MonteCarloBuffer
from rl_tracking.agents.saving import checkpoint
from rl_tracking.errors import RunError, UsageError
from rl_tracking.runs.build import build
from rl_tracking.runs.settings import resolve
from rl_tracking.runs.train import train
from tests.agents.toys import SMALL, LineVecEnv, one_line, tracking

BOX = spaces.Box(-1.0, 1.0, (1,), np.float32)


def filled(rewards, starts, dones, gamma=0.5):
    """A buffer with ``rewards[t][e]``, where ``starts`` says which steps begin an episode and ``dones`` what ended.

    Observation, action and log-probability of a sample all say where it stands: 10 t + e.
    """
    rewards = np.array(rewards, dtype=np.float32)
    steps, worlds = rewards.shape
    buffer = MonteCarloBuffer(steps, BOX, BOX, "cpu", gae_lambda=1.0, gamma=gamma, n_envs=worlds)
    for t in range(steps):
        place = 10.0 * t + np.arange(worlds, dtype=np.float32)
        values = torch.full((worlds,), 1e6)  # what a critic would say is not looked at
        buffer.add(place[:, None], place[:, None], rewards[t], np.array(starts[t]), values, torch.as_tensor(place))
    buffer.compute_returns_and_advantage(torch.full((worlds,), 1e6), np.array(dones))
    return buffer


def reinforce(env=None, **arguments):
    env = LineVecEnv(4) if env is None else env
    values = {
        "learning_rate": 1e-3,
        "gamma": 0.99,
        "n_steps": 8,
        "seed": 0,
        "device": "cpu",
        "policy_kwargs": {**SMALL},
        **arguments,
    }
    return REINFORCE("MlpPolicy", env, **values)


def parameters(model):
    return [parameter.detach().clone() for parameter in model.policy.parameters()]


def same(mine, theirs):
    return all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True))


# -- returns ----------------------------------------------------------------------------------------------------------


def test_returns_by_hand():
    """Two worlds over six steps.

    The first: an episode of three steps, one of a single step, and one that is still going. The second: an episode
    that began before the rollout and ends with its fourth step, then one that ends with the rollout.
    """
    buffer = filled(
        rewards=[[1, 4], [2, 4], [4, 8], [7, 16], [9, 1], [9, 2]],
        starts=[[1, 0], [0, 0], [0, 0], [1, 0], [1, 1], [0, 0]],
        dones=[False, True],
    )
    assert buffer.known.T.tolist() == [[True] * 4 + [False] * 2, [True] * 6]
    # 1 + .5 (2 + .5 * 4), 2 + .5 * 4, 4, and 7 alone.
    assert buffer.returns[:4, 0].tolist() == [3, 4, 4, 7]
    # 4 + .5 (4 + .5 (8 + .5 * 16)), 4 + .5 (8 + .5 * 16), 8 + .5 * 16, 16; then 1 + .5 * 2, 2.
    assert buffer.returns[:, 1].tolist() == [10, 12, 16, 16, 2, 2]
    np.testing.assert_array_equal(buffer.advantages, buffer.returns)


@pytest.mark.parametrize(("gamma", "expected"), [(0.0, [1, 2, 4]), (1.0, [7, 6, 4])])
def test_the_ends_of_the_discount(gamma, expected):
    buffer = filled([[1], [2], [4]], [[1], [0], [0]], [True], gamma)
    assert buffer.returns[:, 0].tolist() == expected


def test_nothing_is_known_before_an_episode_has_ended():
    buffer = filled([[1, 1], [1, 1]], [[1, 0], [0, 0]], [False, False])
    assert not buffer.known.any()
    assert list(buffer.get()) == []


@pytest.mark.parametrize("seed", range(5))
def test_returns_are_those_of_the_episodes_taken_one_by_one(seed):
    rng = np.random.default_rng(seed)
    steps, worlds, gamma = 20, 3, 0.9
    rewards = rng.normal(size=(steps, worlds))
    ends = rng.random((steps, worlds)) < 0.2
    starts = np.concatenate([np.ones((1, worlds), dtype=bool), ends[:-1]])
    buffer = filled(rewards, starts, ends[-1], gamma)
    for world in range(worlds):
        first = 0
        for last in [*np.flatnonzero(ends[:, world]).tolist(), None]:
            if last is None:
                assert not buffer.known[first:, world].any()
                continue
            for t in range(first, last + 1):
                expected = sum(gamma ** (j - t) * rewards[j, world] for j in range(t, last + 1))
                assert buffer.known[t, world]
                assert buffer.returns[t, world] == pytest.approx(expected, rel=1e-5, abs=1e-6)
            first = last + 1


# -- samples ----------------------------------------------------------------------------------------------------------

MIXED = {
    "rewards": [[1, 4, 1], [2, 4, 1], [4, 8, 1], [7, 16, 1]],
    "starts": [[1, 1, 1], [0, 0, 0], [1, 0, 0], [0, 0, 0]],
    "dones": [False, True, False],
}
KNOWN = [0, 10, 1, 11, 21, 31]  # 10 t + e


@pytest.mark.parametrize("size", [None, 1, 4, 6, 100])
def test_every_known_sample_comes_once_with_what_belongs_to_it(size):
    buffer = filled(**MIXED)
    returns = buffer.returns.copy()
    parts = list(buffer.get(size))
    assert [len(part.returns) for part in parts] == {None: [6], 1: [1] * 6, 4: [4, 2], 6: [6], 100: [6]}[size]
    seen = []
    for part in parts:
        place = part.observations[:, 0].int().tolist()
        assert part.actions[:, 0].int().tolist() == part.old_log_prob.int().tolist() == place
        expected = [float(returns[p // 10, p % 10]) for p in place]
        assert part.returns.tolist() == part.advantages.tolist() == expected
        seen += place
    assert sorted(seen) == sorted(KNOWN)


def test_samples_can_be_taken_again_and_come_in_another_order():
    buffer = filled(**MIXED)
    np.random.seed(0)
    orders = [next(buffer.get()).observations[:, 0].int().tolist() for _ in range(5)]
    assert all(sorted(order) == sorted(KNOWN) for order in orders)
    assert len(set(map(tuple, orders))) > 1


def test_an_incomplete_rollout_has_no_samples():
    buffer = MonteCarloBuffer(4, BOX, BOX, "cpu", n_envs=1)
    with pytest.raises(AssertionError, match="not complete"):
        next(buffer.get())


def test_a_second_rollout_forgets_the_first():
    buffer = filled(**MIXED)
    list(buffer.get())
    buffer.reset()
    for t in range(4):
        zeros = np.zeros((3, 1))
        buffer.add(zeros, zeros, np.ones(3), np.full(3, t == 0), torch.zeros(3), torch.zeros(3))
    buffer.compute_returns_and_advantage(torch.zeros(3), np.array([False, False, True]))
    assert buffer.known.sum(axis=0).tolist() == [0, 0, 4]
    (part,) = buffer.get()
    assert sorted(part.returns.tolist()) == [1, 1.5, 1.75, 1.875]


# -- the algorithm ----------------------------------------------------------------------------------------------------


def recorded(model):
    """Rewards and ends of every step that the env makes, ``[steps][E]``."""
    rewards, dones, wait = [], [], model.env.step_wait

    def step_wait():
        step = wait()
        rewards.append(step[1].copy())
        dones.append(step[2].copy())
        return step

    model.env.step_wait = step_wait
    return rewards, dones


def test_a_time_limit_ends_the_return():
    """What would have come after it is not added: the returns are those of the rewards alone."""
    model = reinforce(LineVecEnv(4, limit=4, edge=99.0), gamma=0.5)
    rewards, dones = recorded(model)
    model.train = lambda: None
    model.learn(32)
    assert np.stack(dones).any(axis=1).nonzero()[0].tolist() == [3, 7]
    reward = np.stack(rewards)
    expected = reward.copy()
    for t in (2, 1, 0, 6, 5, 4):
        expected[t] += 0.5 * expected[t + 1]
    np.testing.assert_allclose(model.rollout_buffer.rewards, reward, rtol=1e-6)
    np.testing.assert_allclose(model.rollout_buffer.returns, expected, rtol=1e-5)
    assert model.rollout_buffer.known.all()


def test_there_is_no_critic_and_none_comes_about():
    model = reinforce(LineVecEnv(4, limit=4), learning_rate=1e-2)
    before = {name: value.clone() for name, value in model.policy.state_dict().items()}
    states = torch.randn(50, 2)
    assert not bool(model.policy.predict_values(states).any())
    model.learn(32 * 5)
    assert not bool(model.policy.predict_values(states).any())
    for name, value in model.policy.state_dict().items():
        assert torch.equal(value, before[name]) == ("value_net" in name), name


def test_the_update_is_the_policy_gradient_of_known_steps():
    """Adam's first step has the size of the learning rate and the sign of the gradient, worked out here by itself."""
    model = reinforce(LineVecEnv(4, limit=3, edge=99.0), normalize_advantage=False, max_grad_norm=1e9, gamma=0.9)
    update, model.train = model.train, lambda: None
    model.learn(32)
    buffer = copy.deepcopy(model.rollout_buffer)
    known = torch.as_tensor(buffer.known)
    assert known[:6].all() and not known[6:].any()
    observation, action = torch.as_tensor(buffer.observations)[known], torch.as_tensor(buffer.actions)[known]
    _, log_prob, _ = model.policy.evaluate_actions(observation, action)
    loss = -(torch.as_tensor(buffer.returns)[known] * log_prob).mean()
    wanted = torch.autograd.grad(loss, list(model.policy.parameters()), allow_unused=True)
    seen, step = [], model.policy.optimizer.step

    def watched(*args, **kwargs):
        seen.extend(None if p.grad is None else p.grad.clone() for p in model.policy.parameters())
        return step(*args, **kwargs)

    model.policy.optimizer.step = watched
    update()
    assert max(float(gradient.abs().max()) for gradient in wanted if gradient is not None) > 1e-3
    for gradient, expected in zip(seen, wanted, strict=True):
        none = torch.zeros(()) if gradient is None else torch.zeros_like(gradient)
        torch.testing.assert_close(
            none if gradient is None else gradient, none if expected is None else expected, rtol=1e-4, atol=1e-6
        )


def test_no_episode_within_a_rollout_is_an_error_that_changes_nothing():
    model = reinforce(LineVecEnv(4, limit=50, edge=99.0))
    before = parameters(model)
    with pytest.raises(RunError, match="no episode ended within a rollout of 8 steps") as caught:
        model.learn(32)
    assert "n_steps must be at least as long as an episode" in one_line(caught)
    assert same(parameters(model), before)


@pytest.mark.parametrize("normalize", [True, False])
def test_one_known_return_has_no_deviation(normalize):
    model = reinforce(LineVecEnv(1, edge=-1.0), n_steps=1, normalize_advantage=normalize)
    before = parameters(model)
    model.learn(1)
    assert all(bool(torch.isfinite(parameter).all()) for parameter in model.policy.parameters())
    assert not same(parameters(model), before)
    assert model.normalize_advantage is normalize


def test_the_share_of_known_steps_is_logged():
    model = reinforce(LineVecEnv(4, limit=3, edge=99.0))
    model.learn(32)
    assert model.logger.name_to_value["train/known_returns"] == pytest.approx(6 / 8)


@pytest.mark.parametrize("name", ["gae_lambda", "vf_coef"])
def test_arguments_of_a_critic_are_refused(name):
    with pytest.raises(UsageError, match=f"REINFORCE has no critic and takes no {name}") as caught:
        reinforce(**{name: 0.5})
    one_line(caught)


def test_a_rollout_buffer_of_one_s_own_is_refused():
    with pytest.raises(UsageError, match="REINFORCE takes no rollout_buffer_class"):
        reinforce(rollout_buffer_class=RolloutBuffer)


@pytest.mark.parametrize(
    ("env", "n_steps", "learning_rate"),
    [("CartPole-v1", 500, 1e-2), (tracking(2, max_steps=7), 400, 3e-3), (LineVecEnv(2), 2048, 1e-2)],
)
def test_without_arguments_the_recipe_of_the_task_is_taken(env, n_steps, learning_rate):
    model = REINFORCE("MlpPolicy", env, device="cpu")
    assert (model.n_steps, model.learning_rate, model.normalize_advantage) == (n_steps, learning_rate, True)


@pytest.mark.parametrize(("given", "kind"), [({}, torch.optim.Adam), ({"use_rms_prop": True}, torch.optim.RMSprop)])
def test_the_optimizer(given, kind):
    assert isinstance(reinforce(**given).policy.optimizer, kind)


# -- learning ---------------------------------------------------------------------------------------------------------


def bandit(action_space=None, reward=None, **arguments):
    env = LineVecEnv(64, action_space, edge=-1.0, reward=reward or (lambda place, push: -((push - 0.4) ** 2)))
    env.fresh = lambda: type(env.state)(np.zeros(env.num_envs), np.zeros(env.num_envs, dtype=np.int64))
    return reinforce(env, **{"n_steps": 4, "learning_rate": 2e-2, **arguments})


def best(model):
    return model.predict(np.zeros((1, 2), np.float32), deterministic=True)[0][0]


@pytest.mark.parametrize("seed", [0, 1])
def test_the_best_action_of_a_bandit_is_found(seed):
    """The reward -(a - 0.4)^2 is greatest at 0.4."""
    assert best(bandit(seed=seed).learn(256 * 120)).item() == pytest.approx(0.4, abs=0.1)


def test_the_best_of_countable_actions_is_found():
    model = bandit(spaces.Discrete(5), lambda place, push: -np.abs(push - 1.0))
    assert best(model.learn(256 * 60)) == 3


def test_it_needs_no_env_that_can_be_forked():
    model = REINFORCE("MlpPolicy", "CartPole-v1", n_steps=256, learning_rate=1e-2, seed=0, device="cpu")
    before = parameters(model)
    model.learn(256 * 3)
    assert model.num_timesteps == 768
    assert model._n_updates == 3
    assert not same(parameters(model), before)
    assert all(bool(torch.isfinite(parameter).all()) for parameter in model.policy.parameters())


def test_cart_poles_stay_up_longer():
    env = DummyVecEnv([lambda: gym.make("CartPole-v1", max_episode_steps=100) for _ in range(4)])
    model = reinforce(env, n_steps=128, learning_rate=1e-2)
    falls = []
    model.learn(512 * 20, callback=lambda local, _: falls.append(int(local["dones"].sum())) or True)
    assert sum(falls[-640:]) < 0.6 * sum(falls[:640])
    env.close()


@pytest.mark.parametrize("space", [spaces.MultiDiscrete([2, 3]), spaces.MultiBinary(2)])
def test_other_action_spaces(space):
    model = reinforce(LineVecEnv(4, space))
    before = parameters(model)
    model.learn(64)
    assert not same(parameters(model), before)


def test_training_under_a_normaliser():
    env = VecNormalize(LineVecEnv(4), gamma=0.9)
    reinforce(env).learn(96)
    assert env.obs_rms.count == pytest.approx(4 + 96, abs=1e-3)


# -- a trip through a file --------------------------------------------------------------------------------------------


def observations(model):
    return np.random.default_rng(0).normal(size=(9, *model.observation_space.shape)).astype(np.float32)


def test_a_trip_through_a_file():
    model = reinforce(gamma=0.8, ent_coef=0.01, normalize_advantage=False).learn(64)
    file = io.BytesIO()
    model.save(file)
    file.seek(0)
    loaded = REINFORCE.load(file, LineVecEnv(4))
    seen = observations(model)
    np.testing.assert_array_equal(
        loaded.predict(seen, deterministic=True)[0], model.predict(seen, deterministic=True)[0]
    )
    assert same(parameters(loaded), parameters(model))
    assert (loaded.gamma, loaded.ent_coef, loaded.n_steps, loaded.normalize_advantage) == (0.8, 0.01, 8, False)
    assert isinstance(loaded.policy.optimizer, torch.optim.Adam)
    loaded.learn(32, reset_num_timesteps=False)
    assert loaded.num_timesteps == 96
    assert isinstance(loaded.rollout_buffer, MonteCarloBuffer)
    assert not bool(loaded.policy.predict_values(torch.randn(9, 2)).any())


def test_the_policy_is_read_without_a_pickle(tmp_path):
    model = reinforce(tracking(4)).learn(32)
    checkpoint.save(model, tmp_path / "model.zip")
    policy = load_policy(tmp_path / "model.zip")
    seen = observations(model)
    np.testing.assert_array_equal(
        policy.predict(seen, deterministic=True)[0], model.predict(seen, deterministic=True)[0]
    )
    assert policy.description["algorithm"] == "REINFORCE"
    assert policy.description["macro_steps"] == policy.description["simulator_steps"] == 32
    assert policy.description["scenario"]["name"] == "pursuit"


# -- settings and training runs ---------------------------------------------------------------------------------------


def test_its_settings_know_no_critic():
    known = settable("reinforce")
    assert {"learning_rate", "n_steps", "gamma", "ent_coef", "normalize_advantage", "net_arch"} <= set(known)
    assert not {"gae_lambda", "vf_coef", "rollout_buffer_class", "env", "kwargs", "n_samples"} & set(known)


def test_every_known_setting_can_be_set():
    flags = ["use_rms_prop=true", "rms_prop_eps=1e-4", "normalize_advantage=false", "net_arch=[8]"]
    model = build(resolve(given={"algo": "reinforce", "num_envs": 4}, pairs=flags))
    assert isinstance(model.policy.optimizer, torch.optim.RMSprop)
    assert model.policy.optimizer.defaults["eps"] == 1e-4


@pytest.mark.parametrize("preset", ["drone", "sandbox"])
def test_its_defaults_reach_the_end_of_episodes(preset):
    settings = resolve(given={"algo": "reinforce", "preset": preset, "num_envs": 4})
    assert settings.arguments["n_steps"] >= settings.parameters["max_steps"]
    assert isinstance(build(settings), REINFORCE)


def test_a_run_writes_its_folder(tmp_path):
    pairs = ["num_envs=4", "n_steps=10", "max_steps=10", "net_arch=[16]"]
    settings = resolve(given={"algo": "reinforce", "steps": 80}, pairs=pairs)
    result = train(settings, tmp_path / "run", episodes=5)
    assert (result.macro_steps, result.simulator_steps) == (80, 80)
    assert result.evaluations[0]["policy"] == "REINFORCE"
    assert load_policy(result.path).description["algorithm"] == "REINFORCE"
    assert REINFORCE.load(result.path).num_timesteps == 80
    assert resolve(file=tmp_path / "run" / "config.toml") == settings


def test_a_run_whose_episodes_are_too_long_ends_in_one_line(tmp_path):
    pairs = ["num_envs=4", "n_steps=9", "max_steps=10", "net_arch=[16]"]
    settings = resolve(given={"algo": "reinforce", "steps": 80}, pairs=pairs)
    with pytest.raises(RunError, match="no episode ended within a rollout of 9 steps") as caught:
        train(settings, tmp_path / "run", episodes=5)
    one_line(caught)
