"""Hybrid GRPO with branches that run on for a horizon (eq. 16)."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecNormalize

from rl_tracking import HybridGRPO, load_policy
from rl_tracking.adapters.build import RestorableGymVecEnv
from rl_tracking.agents.collect.branch_rollout import OneStepLookahead, PathLookahead
from rl_tracking.agents.collect.rollout import GroupRollout, PathRollout
from rl_tracking.agents.saving import checkpoint
from rl_tracking.errors import UsageError
from rl_tracking.runs.settings import resolve
from rl_tracking.runs.train import train
from tests.agents.toys import ADVANTAGES, BASELINES, PLAIN, SMALL, LineVecEnv, hybrid, logged, one_line, tracking

GAMMA = 0.9


def running_on(env=None, horizon=3, **arguments):
    """A small model whose branches run on: two roots a rollout, in worlds whose episodes end within them."""
    env = LineVecEnv(4, limit=4, edge=1.0) if env is None else env
    return hybrid(env, horizon=horizon, **{"gamma": GAMMA, "reward_activation": "identity", **arguments})


def rolled_out(**arguments):
    """A model with a rollout that it has not learned from."""
    model = running_on(**arguments)
    train, model.train = model.train, lambda: None
    model.learn(1)
    model.train = train
    return model


def parameters(model):
    return [parameter.detach().clone() for parameter in model.policy.parameters()]


def same(mine, theirs):
    return all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True))


def to_the_end(rollout, reward):
    """What each step brings up to the end of its branch or episode, less what the critic expected; in numpy."""
    advantage = np.zeros(reward.shape)
    value, after = rollout.value.numpy(), rollout.next_value.numpy()
    terminated, episode_end = rollout.terminated.numpy(), rollout.episode_end.numpy()
    last = reward.shape[1] - 1
    for k in reversed(range(last + 1)):
        bootstrap = np.where(terminated[:, k], 0.0, after[:, k])
        goes_on = (
            bootstrap if k == last else np.where(episode_end[:, k], bootstrap, advantage[:, k + 1] + value[:, k + 1])
        )
        advantage[:, k] = reward[:, k] + GAMMA * goes_on - value[:, k]
    return advantage


def sampled(model):
    """The batches that updates learn from."""
    seen, samples = [], model._samples

    def watch(rollout, estimate):
        seen.append(samples(rollout, estimate))
        return seen[-1]

    model._samples = watch
    return seen


# -- arguments --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("horizon", "text"),
    [
        (0, "horizon of HybridGRPO must be a whole number of 1 or more, not 0"),
        (-2, "not -2"),
        (2.0, "not 2.0"),
        ("16", "not '16'"),
        (6, "a horizon of 6 is longer than an episode, which has 5 steps"),
    ],
)
def test_bad_horizons_are_refused_in_one_line(horizon, text):
    with pytest.raises(UsageError, match=text) as caught:
        hybrid(tracking(), horizon=horizon)
    one_line(caught)


def test_a_branch_may_last_as_long_as_an_episode():
    model = hybrid(tracking(), horizon=5).learn(20)
    assert model.rollout.reward.shape[1] == 5


def test_a_horizon_of_1_is_the_way_without_one():
    plain, one = hybrid(LineVecEnv(4)), hybrid(LineVecEnv(4), horizon=1)
    for model in (plain, one):
        torch.manual_seed(0)
        model.learn(48)
        assert isinstance(model._lookahead_in_use, OneStepLookahead)
        assert isinstance(model.rollout, GroupRollout)
    assert same(parameters(plain), parameters(one))
    assert plain.num_simulator_steps == one.num_simulator_steps
    longer = running_on(horizon=2).learn(48)
    assert isinstance(longer._lookahead_in_use, PathLookahead)
    assert isinstance(longer.rollout, PathRollout)


# -- the estimate -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("horizon", [2, 3, 6])
def test_the_estimate_of_a_rollout_worked_out_step_by_step(horizon):
    model = rolled_out(horizon=horizon, reward_scale=0.5, reward_activation="tanh", n_steps=12)
    rollout, estimate = model.rollout, model.estimate(model.rollout)
    reward = np.tanh(0.5 * rollout.reward.numpy())
    expected = to_the_end(rollout, reward)
    # Episodes end within branches, both ways, and are followed by others.
    assert bool(rollout.terminated[:, :-1].any())
    assert bool((rollout.episode_end & ~rollout.terminated)[:, :-1].any())
    np.testing.assert_allclose(estimate.advantage.numpy(), expected, rtol=1e-4, atol=1e-5)
    target = expected + rollout.value.numpy()
    np.testing.assert_allclose(estimate.action_value.numpy(), target[:, 0], rtol=1e-4, atol=1e-5)
    target[:, 0] = target[:, 0].mean(axis=1, keepdims=True)  # a root has one target, the group's
    np.testing.assert_allclose(estimate.value_target.numpy(), target, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(estimate.reward.numpy(), reward, rtol=1e-6)
    assert estimate.keep is None


def test_after_the_end_of_an_episode_steps_are_of_the_next_one():
    """They are samples too: with advantages of their own episode, untouched by what came before."""
    model = rolled_out(horizon=6, n_steps=12)
    rollout = model.rollout
    before = model.estimate(rollout).advantage
    rollout.reward[rollout.valid] += 100.0
    changed = model.estimate(rollout).advantage != before
    assert torch.equal(changed, rollout.valid)
    assert not bool(rollout.valid.all())


def test_a_termination_takes_no_value_and_a_time_limit_takes_the_final_state_s():
    model = rolled_out(horizon=3)
    rollout = model.rollout
    rollout.reward.zero_()
    rollout.value.fill_(10.0)
    rollout.next_value.fill_(10.0)
    rollout.episode_end.zero_()
    rollout.terminated.zero_()
    rollout.episode_end[0, 1], rollout.episode_end[1, 1], rollout.terminated[1, 1] = True, True, True
    advantage = model.estimate(rollout).advantage
    for root, reached in ((0, [GAMMA**2 * 10, GAMMA * 10, GAMMA * 10]), (1, [0.0, 0.0, GAMMA * 10])):
        wanted = (torch.tensor(reached) - 10.0).view(3, 1, 1).expand(3, 3, 4)
        torch.testing.assert_close(advantage[root], wanted, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("baseline", "share"), [("group-mean", False), ("leave-one-out", True)])
def test_every_step_of_the_branches_has_its_group_s_baseline(baseline, share):
    """Among the branches whose episodes began at the same step: the root's, or the next one after the same end."""
    model = rolled_out()
    plain, ends = model.estimate(model.rollout), model.rollout.episode_end
    model.baseline = baseline
    centred = model.estimate(model.rollout)
    assert torch.equal(centred.value_target, plain.value_target)
    assert not model.rollout.valid.all()
    for root, step, world in np.ndindex(2, 3, 4):
        history = ends[root, :step, :, world]
        began = [max((k + 1 for k in range(step) if history[k, branch]), default=0) for branch in range(3)]
        before, after = (item.advantage[root, step, :, world] for item in (plain, centred))
        for start in set(began):
            group = torch.tensor([one == start for one in began])
            count = int(group.sum())
            scale = count / (count - 1) if share and count > 1 else 1.0
            baseline_there = before[group].mean() if count > 1 else 0.0
            torch.testing.assert_close(after[group], scale * (before[group] - baseline_there))


def test_literal_is_equation_16_shared_by_the_samples_of_the_root():
    model = rolled_out(advantage="literal")
    rollout, estimate = model.rollout, model.estimate(model.rollout)
    equation = to_the_end(rollout, rollout.reward.numpy())[:, 0].mean(axis=1)  # [R, E]
    assert estimate.keep[:, 0].all()
    assert not estimate.keep[:, 1:].any()
    for branch in range(3):
        np.testing.assert_allclose(estimate.advantage[:, 0, branch].numpy(), equation, rtol=1e-4, atol=1e-5)
    batch = rollout.batch(estimate)
    assert batch.advantage.shape == (1, 2 * 3 * 4)
    assert torch.equal(batch.observation, rollout.observation[:, 0, 0].flatten(0, 1))
    assert torch.equal(batch.action[0], rollout.action[:, 0].transpose(1, 2).flatten(0, 2))


def test_the_estimate_is_a_pure_function():
    model = rolled_out()
    before = {name: tensor.clone() for name, tensor in vars(model.rollout).items()}
    first, second = model.estimate(model.rollout), model.estimate(model.rollout)
    assert torch.equal(first.advantage, second.advantage)
    assert not first.advantage.requires_grad
    assert all(torch.equal(before[name], tensor) for name, tensor in vars(model.rollout).items())


# -- training ---------------------------------------------------------------------------------------------------------


def test_every_step_of_every_branch_is_a_sample():
    model = running_on()
    seen = sampled(model)
    model.learn(1)
    rollout = model.rollout
    assert rollout.reward.shape == (2, 3, 3, 4)
    assert not bool(rollout.valid.all())
    assert seen[0].observation.shape == (2 * 4 + 2 * 2 * 3 * 4, 2)
    # The roots' groups, then every later step.
    for mine, theirs in (
        (seen[0].of_samples(seen[0].observation), rollout.observation),
        (seen[0].action[0], rollout.action),
    ):
        assert torch.equal(mine[:24], theirs[:, 0].transpose(1, 2).flatten(0, 2))
        assert torch.equal(mine[24:], theirs[:, 1:].flatten(0, 3))
    # The critic is asked and taught too.
    assert seen[0].value.shape == (72,)
    assert bool(rollout.value.any())


@pytest.mark.parametrize("advantage", ADVANTAGES)
@pytest.mark.parametrize("baseline", BASELINES)
@pytest.mark.parametrize("make", [tracking, lambda: LineVecEnv(4)], ids=["tracking", "by hand"])
def test_every_combination_trains(advantage, baseline, make):
    model = running_on(make(), advantage=advantage, baseline=baseline)
    before = parameters(model)
    dumps = logged(model, 72)
    assert all(bool(torch.isfinite(parameter).all()) for parameter in model.policy.parameters())
    assert not same(parameters(model), before)
    for name in ("train/value_loss", "train/explained_variance", "train/group_spread", "rollout/raw_reward_mean"):
        assert np.isfinite(dumps[-1][name]), name


@pytest.mark.parametrize("space", [spaces.Discrete(3), spaces.MultiDiscrete([2, 3]), spaces.MultiBinary(2)])
def test_other_action_spaces_train(space):
    model = running_on(LineVecEnv(4, space))
    before = parameters(model)
    model.learn(48)
    assert not same(parameters(model), before)


@pytest.mark.parametrize("samples", [1, 2])
def test_small_groups_train(samples):
    model = running_on(n_samples=samples).learn(48)
    assert model.rollout.reward.shape == (2, 3, samples, 4)


def test_training_under_a_normaliser():
    env = VecNormalize(tracking(), gamma=GAMMA)
    model = running_on(env).learn(96)
    # The reset and the executed steps, not those of branches.
    assert env.obs_rms.count == pytest.approx(4 + 96, abs=1e-3)
    assert model.num_timesteps == 96


# -- counting ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("horizon", "roots"), [(2, 3), (3, 2), (4, 2), (6, 1), (9, 1)])
def test_a_root_is_as_many_macro_steps_as_its_horizon(horizon, roots):
    """A rollout of six steps a world ends with the branch that reaches them."""
    model = running_on(LineVecEnv(4, limit=30, edge=99.0), horizon=horizon)
    env = model.env
    env.counts["steps"] = 0
    steps = []
    model.learn(1, callback=lambda local, _: steps.append(local["self"].num_timesteps) or True)
    assert model.rollout.reward.shape[:2] == (roots, horizon)
    assert steps == [4 * step for step in range(1, roots * horizon + 1)]
    assert model.num_timesteps == roots * horizon * 4
    # Three branches, and branch 0 once more as it is executed.
    assert model.num_simulator_steps == env.counts["steps"] == roots * horizon * 4 * (3 + 1)


def test_the_world_goes_on_along_branch_0():
    env, steps = LineVecEnv(4, limit=4, edge=1.0), []
    wait = env.step_wait

    def step_wait():
        steps.append(wait())
        return steps[-1]

    env.step_wait = step_wait
    model = running_on(env)
    model.train = lambda: None
    model.learn(1)
    rollout = model.rollout
    np.testing.assert_array_equal(rollout.executed(rollout.reward).numpy(), np.stack([step[1] for step in steps]))
    np.testing.assert_array_equal(rollout.executed_episode_end.numpy(), np.stack([step[2] for step in steps]))
    # The next root is where branch 0 has led to, in the next episode if need be; all branches start there.
    for branch in range(3):
        np.testing.assert_array_equal(rollout.observation[1, 0, branch].numpy(), steps[2][0])
    assert model._last_obs is steps[-1][0]


@pytest.mark.parametrize("horizon", [2, 4])
def test_the_figures_are_of_the_executed_branch(horizon):
    model = running_on(horizon=horizon, n_steps=8, batch_size=32, reward_activation="tanh")
    model.learn(1)
    rollout, figures = model.rollout, model.logger.name_to_value
    executed = rollout.reward[:, :, 0]
    assert figures["rollout/raw_reward_mean"] == pytest.approx(float(executed.mean()), rel=1e-5)
    assert figures["rollout/activated_reward_mean"] == pytest.approx(float(executed.tanh().mean()), rel=1e-5)
    assert figures["time/macro_steps"] == 32
    assert figures["time/simulator_steps"] == 32 * 4


# -- what it is for ---------------------------------------------------------------------------------------------------


def test_a_longer_horizon_is_not_led_astray_by_a_wrong_critic():
    """The reward is near 1 on the line; the critic, held fast, says that it is better the further back one is."""

    def learned(horizon):
        env = LineVecEnv(8, spaces.Box(-0.2, 0.2, (1,), np.float32), limit=12, edge=99.0)
        model = hybrid(
            env,
            horizon=horizon,
            n_steps=12,
            batch_size=96,
            n_epochs=4,
            gamma=0.95,
            vf_coef=0.0,
            learning_rate=1e-2,
            reward_activation="identity",
            policy_kwargs={**SMALL, "log_std_init": -1.5},
        )
        model.policy.predict_values = lambda observation: -5.0 * observation[:, :1]
        model.learn(96 * 6)
        observation, places = env.reset(), []
        for _ in range(11):
            observation, _, _, _ = env.step(model.predict(observation, deterministic=True)[0])
            places.append(observation[:, 0].mean())
        return places

    astray, home = learned(2)[5], learned(12)[5]
    assert astray < -0.5
    assert home > 0.8


# -- a trip through a file --------------------------------------------------------------------------------------------


def test_a_trip_through_a_file(tmp_path):
    model = running_on(tracking(), horizon=4, baseline="group-mean").learn(48)
    model.save(tmp_path / "model.zip")
    loaded = HybridGRPO.load(tmp_path / "model.zip", tracking())
    assert (loaded.horizon, loaded.baseline, loaded.num_timesteps) == (4, "group-mean", 64)
    assert same(parameters(loaded), parameters(model))
    loaded.learn(16, reset_num_timesteps=False)
    assert isinstance(loaded.rollout, PathRollout)
    assert loaded.num_timesteps == 96
    assert checkpoint.read_description(tmp_path / "model.zip")["hyper_parameters"]["horizon"] == 4


def test_a_shorter_episode_refuses_a_loaded_horizon(tmp_path):
    running_on(tracking(), horizon=5).learn(20).save(tmp_path / "model.zip")
    with pytest.raises(UsageError, match="a horizon of 5 is longer than an episode, which has 3 steps") as caught:
        HybridGRPO.load(tmp_path / "model.zip", tracking(max_steps=3))
    one_line(caught)


def test_a_run_through_settings(tmp_path):
    pairs = ["num_envs=4", "n_steps=8", "batch_size=32", "max_steps=10", "net_arch=[16]", "n_samples=3", "horizon=4"]
    settings = resolve(given={"steps": 96}, pairs=pairs)
    result = train(settings, tmp_path / "run", episodes=5)
    assert (result.macro_steps, result.simulator_steps) == (96, 96 * 3)
    assert load_policy(result.path).description["algorithm"] == "HybridGRPO"
    assert resolve(file=tmp_path / "run" / "config.toml") == settings


# -- what a horizon is for --------------------------------------------------------------------------------------------


class LateReward(gym.Env):
    """The reward of a step is the action of four steps ago; the observation holds the latest four."""

    observation_space = spaces.Box(-np.inf, np.inf, (4,), np.float32)
    action_space = spaces.Box(-10.0, 10.0, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.latest = np.zeros(4, np.float32)
        return self.latest.copy(), {}

    def step(self, action):
        reward = float(self.latest[0])
        self.latest = np.append(self.latest[1:], np.float32(action[0]))
        return self.latest.copy(), reward, False, False, {}


def test_a_longer_horizon_takes_the_bias_off_the_advantage_of_an_action_that_pays_late():
    """Exactly, an action a is worth gamma^4 a more than the mean one; a critic that knows nothing shows none of it."""
    gamma = 0.9

    def bias(horizon):
        env = RestorableGymVecEnv(LateReward, 16, seed=0)
        model = HybridGRPO(
            "MlpPolicy", env, **PLAIN, n_samples=8, horizon=horizon, gamma=gamma, reward_activation="identity", seed=0,
            n_steps=12 * horizon, batch_size=10_000, device="cpu", policy_kwargs={"net_arch": [4]},
        )  # fmt: skip
        for parameter in model.policy.value_net.parameters():
            torch.nn.init.zeros_(parameter)
        model.train = lambda: None
        model.learn(16 * 12 * horizon)
        estimate = model.estimate(model.rollout)
        _, action = model.rollout.roots
        advantage = estimate.advantage if horizon == 1 else estimate.advantage[:, 0]
        action, advantage = action.flatten(), advantage.flatten()
        centred = action - action.mean()
        slope = float((centred * advantage).sum() / (centred * centred).sum())
        return abs(slope - gamma**4)

    found = {horizon: bias(horizon) for horizon in (1, 4, 6)}
    assert found[1] == pytest.approx(gamma**4, abs=0.02)
    assert found[4] > 0.4
    assert found[6] < 0.2
