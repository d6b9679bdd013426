"""The loop that is shared: collect, estimate, update, log."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback, CheckpointCallback, StopTrainingOnMaxEpisodes

from rl_tracking.agents.collect.batches import Batch
from rl_tracking.agents.collect.figures import tied_groups
from rl_tracking.agents.collect.rollout import Estimate, GroupRollout, PathRollout
from rl_tracking.agents.group_policy import GroupPolicyAlgorithm
from rl_tracking.agents.maths.estimators import explained_variance
from rl_tracking.errors import RunError, UsageError
from tests.agents.toys import SMALL, LineVecEnv, hybrid, logged, one_line, tracking


def parameters(model):
    return [parameter.detach().clone() for parameter in model.policy.parameters()]


def same(mine, theirs):
    return all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True))


class Watch(BaseCallback):
    """Counts what Stable-Baselines3 promises to call, and keeps what it is shown."""

    def __init__(self):
        super().__init__()
        self.calls, self.seen, self.steps, self.logged = [], [], [], []

    def _on_training_start(self):
        self.calls.append("training start")

    def _on_rollout_start(self):
        self.calls.append("rollout start")

    def _on_step(self):
        self.calls.append("step")
        self.steps.append(self.num_timesteps)
        self.seen.append({name: self.locals[name] for name in ("infos", "dones")})
        return True

    def _on_rollout_end(self):
        self.calls.append("rollout end")

    def _on_training_end(self):
        self.calls.append("training end")


# -- collecting -------------------------------------------------------------------------------------------------------


def test_callbacks_fire_as_for_ppo():
    watches = []
    for make in (hybrid, lambda **arguments: PPO("MlpPolicy", tracking(), device="cpu", **arguments)):
        watch = Watch()
        model = make(n_steps=6, batch_size=24, n_epochs=1, seed=0, policy_kwargs=SMALL)
        model.learn(48, callback=watch)
        watches.append(watch)
    mine, theirs = watches
    assert mine.calls == theirs.calls
    assert mine.calls == ["training start", *(["rollout start", *["step"] * 6, "rollout end"] * 2), "training end"]
    assert mine.steps == theirs.steps == [4 * step for step in range(1, 13)]
    assert [shown["dones"].tolist() for shown in mine.seen] == [shown["dones"].tolist() for shown in theirs.seen]
    assert all(len(shown["infos"]) == 4 for shown in mine.seen)


def test_a_callback_that_says_stop_ends_the_training():
    class Stop(Watch):
        def _on_step(self):
            return super()._on_step() and self.n_calls < 4

    watch = Stop()
    model = hybrid()
    before = parameters(model)
    model.learn(480, callback=watch)
    assert model.num_timesteps == 16
    assert watch.calls[-1] == "training end"
    assert "rollout end" not in watch.calls
    assert same(parameters(model), before)


def test_callbacks_that_stable_baselines3_brings_along(tmp_path):
    model = hybrid()
    model.learn(
        10_000, callback=[CheckpointCallback(6, str(tmp_path)), StopTrainingOnMaxEpisodes(max_episodes=3, verbose=0)]
    )
    # Episodes of five steps in four worlds: the third one per world ends with step 15.
    assert model.num_timesteps == 60
    assert {file.name for file in tmp_path.iterdir()} == {"rl_model_24_steps.zip", "rl_model_48_steps.zip"}
    assert type(model).load(tmp_path / "rl_model_48_steps.zip").num_timesteps == 48


@pytest.mark.parametrize("make", [tracking, LineVecEnv], ids=["tracking", "by hand"])
def test_the_shapes_of_a_rollout(make):
    env = make(3)
    model = hybrid(env, n_samples=4, n_steps=7, batch_size=21)
    model.learn(21)
    rollout, observed, acted = model.rollout, env.observation_space.shape, env.action_space.shape
    assert rollout.observation.shape == (7, 3, *observed)
    assert rollout.action.shape == (7, 4, 3, *acted)
    for name in ("log_prob", "reward", "next_value", "terminated"):
        assert getattr(rollout, name).shape == (7, 4, 3), name
    assert rollout.value.shape == rollout.episode_end.shape == (7, 3)


def test_time_limits_end_episodes_and_do_not_terminate():
    model = hybrid(tracking(4, max_steps=5), n_steps=12, batch_size=48)
    model.train = lambda: None
    model.learn(48)
    rollout = model.rollout
    assert rollout.episode_end.all(dim=1).nonzero().flatten().tolist() == [4, 9]
    assert rollout.episode_end.any(dim=1).sum() == 2
    assert not bool(rollout.terminated.any())
    # The final state is bootstrapped with its own value, which is not that of the next episode's first state.
    assert bool((rollout.next_value[4, 0] != rollout.value[5]).all())
    torch.testing.assert_close(rollout.next_value[:4, 0], rollout.value[1:5], rtol=1e-5, atol=1e-6)


def test_the_final_state_is_the_one_that_is_bootstrapped():
    class Watched(Watch):
        def _on_step(self):
            self.last = [info["terminal_observation"] for info in self.locals["infos"] if info]
            return super()._on_step()

    watch = Watched()
    model = hybrid(tracking(4, max_steps=5), n_steps=5, batch_size=20)
    model.train = lambda: None
    model.learn(20, callback=watch)
    final = model.policy.predict_values(torch.as_tensor(np.stack(watch.last))).flatten()
    torch.testing.assert_close(model.rollout.next_value[4, 0], final.detach())


def test_captures_terminate_where_the_scenario_says_so():
    easy = {"spawn": "near", "spawn_radius": 3.0, "capture_radius": 4.0, "max_steps": 5}
    for terminates in (False, True):
        model = hybrid(tracking(8, capture_terminates=terminates, **easy), n_steps=12, batch_size=96, n_samples=4)
        model.train = lambda: None
        model.learn(96)
        rollout = model.rollout
        assert bool(rollout.terminated.any()) is terminates
        assert bool((rollout.episode_end | ~rollout.terminated[:, 0]).all())
        if not terminates:
            continue
        ended = rollout.terminated[:, 0]
        estimate = model.estimate(rollout)
        # Where the executed branch ended there is no future: its residual is the reward less the value.
        residual = estimate.reward[:, 0] - rollout.value
        torch.testing.assert_close(estimate.advantage[:, 0][ended], residual[ended])
        model.gae_lambda = 0.95
        torch.testing.assert_close(model.estimate(rollout).advantage[:, 0][ended], residual[ended])


def test_actions_are_executed_within_the_space_and_kept_as_sampled():
    class Recording(LineVecEnv):
        largest = 0.0

        def step_async(self, actions):
            Recording.largest = max(Recording.largest, float(np.abs(actions).max()))
            super().step_async(actions)

        def spawn(self, num_envs):
            return Recording(num_envs)

    model = hybrid(Recording(), policy_kwargs={**SMALL, "log_std_init": 1.5})
    model.train = lambda: None
    model.learn(18)
    assert Recording.largest == 1.0
    assert float(model.rollout.action.abs().max()) > 1.5


@pytest.mark.parametrize("low", [-2.0, 0.0])
def test_squashed_actions_are_stretched_to_the_space(low):
    model = hybrid(LineVecEnv(action_space=spaces.Box(low, 4.0, (1,), np.float32)))
    model.policy._squash_output, half = True, (4.0 - low) / 2
    executed = model._executable(torch.tensor([[-1.0], [0.0], [1.0]]))
    assert executed.flatten().tolist() == [low, low + half, 4.0]


def test_simulator_steps_are_counted_beside_macro_steps():
    model = hybrid(n_samples=5)
    model.learn(48)
    assert (model.num_timesteps, model.num_simulator_steps) == (48, 240)
    model.learn(24, reset_num_timesteps=False)
    assert (model.num_timesteps, model.num_simulator_steps) == (72, 360)
    model.learn(24)
    assert (model.num_timesteps, model.num_simulator_steps) == (24, 120)


def test_learning_goes_on_without_a_reset():
    env = tracking(4, max_steps=50)
    model = hybrid(env)
    model.learn(24)
    model.learn(24, reset_num_timesteps=False)
    assert env.get_state().step.tolist() == [12] * 4
    model.learn(24)
    assert env.get_state().step.tolist() == [6] * 4


def test_branches_run_on_the_env_that_was_set_last():
    first, second = LineVecEnv(4), LineVecEnv(4, reward=lambda place, push: np.full(len(place), 3.0))
    model = hybrid(first)
    model.learn(24)
    steps = first.counts["steps"]
    model.set_env(second)
    model.learn(24)
    assert first.counts["steps"] == steps
    assert bool((model.rollout.reward == 3.0).all())


# -- updating ---------------------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_parameters_bit_for_bit():
    def trained(seed):
        model = hybrid(tracking(4, seed=None, wind_speed=2.0), seed=seed)
        return parameters(model.learn(96))

    first = trained(5)
    torch.rand(7)
    np.random.rand(7)
    assert same(first, trained(5))
    assert not same(first, trained(6))


def test_target_kl_stops_the_epochs():
    free, held = (hybrid(n_epochs=30, learning_rate=1e-2, batch_size=24, target_kl=target) for target in (None, 0.001))
    free.learn(24)
    held.learn(24)
    assert free._n_updates == 30
    assert 1 < held._n_updates < 30


def test_an_update_stops_at_one_and_a_half_times_target_kl():
    """As in PPO: a minibatch beyond that is counted and not learned from, and ends the epochs."""
    divergences = iter([0.01, 0.0149, 0.0151])
    model = hybrid(n_epochs=9, batch_size=24, target_kl=0.01)
    loss, step, steps = model._loss, model._step, []

    def measured(batch):
        value, figures = loss(batch)
        return value, figures | {"approx_kl": torch.tensor(next(divergences))}

    model._loss, model._step = measured, lambda value: steps.append(step(value))
    model.learn(24)
    assert (len(steps), model._n_updates) == (2, 3)
    assert next(divergences, None) is None
    assert model.logger.name_to_value["train/approx_kl"] == pytest.approx((0.01 + 0.0149 + 0.0151) / 3)


def test_every_state_is_used_once_an_epoch():
    model = hybrid(n_epochs=3, batch_size=8)
    used, loss = [], model._loss

    def watched(batch):
        used.append(batch)
        return loss(batch)

    model._loss = watched
    model.learn(24)
    assert len(used) == 9
    for epoch in range(3):
        batches = used[3 * epoch : 3 * epoch + 3]
        seen = torch.cat([batch.value_target for batch in batches]).sort().values
        everything = model.estimate(model.rollout).value_target.flatten().sort().values
        torch.testing.assert_close(seen, everything, rtol=0, atol=0)
        assert all(batch.action.shape == (3, 8, 3) for batch in batches)
    assert not torch.equal(used[0].value, used[3].value)


def test_a_batch_keeps_samples_with_their_states():
    """Rows are told apart by numbers that say which step, branch and world they are."""
    steps, branches, worlds = 3, 4, 2
    t, n, e = torch.meshgrid(*(torch.arange(size) for size in (steps, branches, worlds)), indexing="ij")
    code = (100 * t + 10 * n + e).float()
    rollout = GroupRollout(
        code[:, 0, :, None], code[..., None], code, code, code[:, 0], code, code > 0, code[:, 0] > 0, code
    )
    batch = rollout.batch(Estimate(code, code[:, 0], code)).rows(torch.tensor([5, 0]))
    assert isinstance(batch, Batch)
    # State 5 is the second world of the third step.
    assert batch.value.tolist() == batch.value_target.tolist() == batch.observation.flatten().tolist() == [201, 0]
    for tensor in (batch.advantage, batch.log_prob, batch.action.squeeze(-1), batch.weight):
        assert tensor.tolist() == [[201, 0], [211, 10], [221, 20], [231, 30]]


def test_the_policy_moves_towards_the_better_samples():
    """The surrogate's gradient at the sampling policy, against the sum over samples of A grad log pi."""
    model = hybrid(n_samples=4, normalize_advantage=False, ent_coef=0.0, vf_coef=0.0)
    model.train = lambda: None
    model.learn(24)
    rollout, estimate = model.rollout, model.estimate(model.rollout)
    loss, _ = model._loss(rollout.batch(estimate))
    mine = torch.autograd.grad(loss, model.policy.action_net.bias)[0]
    weighted = 0.0
    for sample in range(4):
        action = rollout.action[:, sample].flatten(0, 1)
        _, log_prob, _ = model.policy.evaluate_actions(rollout.observation.flatten(0, 1), action)
        weighted = weighted + (estimate.advantage[:, sample].flatten() * log_prob).mean() / 4
    theirs = torch.autograd.grad(-weighted, model.policy.action_net.bias)[0]
    torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-6)


# -- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("activation", ["tanh", "identity"])
def test_a_reward_that_is_not_finite_stops_the_run_and_leaves_the_policy(bad, activation):
    env = LineVecEnv(3, reward=lambda place, push: np.where(place > 0.4, bad, 0.0))
    model = hybrid(env, reward_activation=activation)
    before = parameters(model)
    with pytest.raises(RunError, match=r"the reward of branch \d in world \d is not finite, in step \d of") as caught:
        model.learn(180)
    one_line(caught)
    assert same(parameters(model), before)


def test_the_place_of_a_bad_reward_is_named():
    class Bad(LineVecEnv):
        """World 1 pays NaN for its third step."""

        def spawn(self, num_envs):
            return Bad(num_envs, limit=9, edge=99.0)

        def step_wait(self):
            steps = self.state.step
            observation, reward, done, infos = super().step_wait()
            reward[1::3][steps[1::3] == 2] = np.nan
            return observation, reward, done, infos

    with pytest.raises(RunError, match="of branch 0 in world 1 is not finite, in step 3 of the rollout that ends at"):
        hybrid(Bad(3, limit=9, edge=99.0)).learn(18)


def test_an_advantage_that_is_not_finite_stops_the_run():
    class Broken(GroupPolicyAlgorithm):
        n_samples, branch_noise = 2, "common"

        def estimate(self, rollout):
            advantage = torch.zeros_like(rollout.reward)
            advantage[2, 1, 0] = torch.nan
            return Estimate(advantage, rollout.value, rollout.reward)

    model = Broken("MlpPolicy", LineVecEnv(3), n_steps=6, batch_size=18, device="cpu", seed=0)
    before = parameters(model)
    with pytest.raises(RunError, match="the advantage of branch 1 in world 0 is not finite, in step 3"):
        model.learn(18)
    assert same(parameters(model), before)


def test_a_gradient_that_is_not_finite_stops_the_run():
    model = hybrid(n_epochs=1)
    before = parameters(model)
    loss = model._loss
    model._loss = lambda batch: (loss(batch)[0] * torch.inf, loss(batch)[1])
    with pytest.raises(RunError, match="the gradient is not finite at macro-step 24"):
        model.learn(24)
    assert same(parameters(model), before)


# -- logging ----------------------------------------------------------------------------------------------------------


KEYS = {
    "rollout/ep_rew_mean",
    "rollout/ep_len_mean",
    "rollout/success_rate",
    "rollout/raw_reward_mean",
    "rollout/activated_reward_mean",
    "rollout/activated_return_mean",
    "time/macro_steps",
    "time/simulator_steps",
    "time/macro_steps_per_second",
    "time/simulator_steps_per_second",
    "time/total_timesteps",
    "train/group_spread",
    "train/tied_groups",
    "train/clip_fraction",
    "train/clip_range",
    "train/approx_kl",
    "train/explained_variance",
    "train/policy_gradient_loss",
    "train/value_loss",
    "train/entropy_loss",
    "train/loss",
    "train/learning_rate",
    "train/std",
    "train/n_updates",
}


def test_what_is_logged():
    dumps = logged(hybrid(n_samples=5), 72)
    # A rollout's update is logged with the next rollout.
    latest = dumps[-1]
    assert set(latest) >= KEYS
    assert all(np.isfinite(latest[name]) for name in KEYS)
    assert latest["time/total_timesteps"] in (72, 48)
    assert latest["time/simulator_steps"] == 5 * latest["time/macro_steps"]
    ratio = latest["time/simulator_steps_per_second"] / latest["time/macro_steps_per_second"]
    assert ratio == pytest.approx(5)
    assert latest["time/macro_steps_per_second"] > 10


def test_raw_and_activated_rewards_are_logged_separately():
    env = LineVecEnv(3, reward=lambda place, push: np.full(len(place), 2.0), edge=99.0)
    model = hybrid(env, reward_activation="identity", reward_scale=0.25)
    latest = logged(model, 54)[-1]
    assert latest["rollout/raw_reward_mean"] == pytest.approx(2.0)
    assert latest["rollout/activated_reward_mean"] == pytest.approx(0.5)
    # Episodes of four steps, also those that began in an earlier rollout of six.
    assert latest["rollout/activated_return_mean"] == pytest.approx(2.0)
    assert latest["train/group_spread"] > 0


def test_returns_of_unfinished_episodes_are_forgotten_with_a_new_start():
    env = LineVecEnv(3, reward=lambda place, push: np.ones(len(place)), edge=99.0, limit=4)
    model = hybrid(env, reward_activation="identity")
    model.learn(18)
    assert list(model._figures.returns) == [4.0] * 3
    model.learn(18)
    assert list(model._figures.returns) == [4.0] * 3


def test_group_spread_is_the_mean_deviation_within_groups():
    model = hybrid()
    model.learn(24)
    estimate = dataclasses.replace(model.estimate(model.rollout), advantage=torch.randn(6, 3, 4))
    value = model._figures.of_update(model.rollout, estimate, 1.0)
    advantage = estimate.advantage.numpy()
    assert value["train/group_spread"] == pytest.approx(float(np.std(advantage, axis=1, ddof=1).mean()), rel=1e-5)
    assert value["train/explained_variance"] == explained_variance(estimate.value_target, model.rollout.value)


def test_one_sample_has_no_spread():
    figures = logged(hybrid(n_samples=1), 48)[-1]
    assert figures["train/group_spread"] == 0.0
    assert "train/tied_groups" not in figures


@pytest.mark.parametrize("horizon", [1, 3])
@pytest.mark.parametrize("tied", [0.0, 1.0])
def test_groups_whose_branches_earn_the_same_are_counted(horizon, tied):
    def reward(place, push):
        return np.full(len(place), 0.1) if tied else push

    model = hybrid(LineVecEnv(3, reward=reward, edge=99.0, limit=99), horizon=horizon)
    assert logged(model, 54)[-1]["train/tied_groups"] == tied


def test_what_is_earned_after_the_root_s_episode_makes_no_difference():
    """Of two groups of two branches, one is tied; steps after the end of an episode are no part of the root's."""
    reward = torch.tensor([[[1.0, 2.0], [1.0, 2.0]], [[5.0, 0.0], [7.0, 1.0]]]).unsqueeze(0)  # [1, 2, 2, 2]
    valid = torch.tensor([[[True, True], [True, True]], [[False, True], [False, True]]]).unsqueeze(0)
    earned = PathRollout.earned(SimpleNamespace(valid=valid), reward)
    assert earned.tolist() == [[[1.0, 2.0], [1.0, 3.0]]]
    assert tied_groups(earned) == 0.5


@pytest.mark.parametrize("horizon", [1, 3])
def test_a_reward_that_is_not_finite_is_named_with_its_branch(horizon, tmp_path):
    file = tmp_path / "bad.py"
    file.write_text(
        "import torch\n"
        "def late(step):\n"
        "    bad = (step.before.step == 2) & (torch.arange(len(step.nearest)) == 9)\n"
        "    return torch.where(bad, torch.nan, 0.0)\n"
    )
    model = hybrid(tracking(4, reward=f"{file}:late"), horizon=horizon)
    before = [parameter.clone() for parameter in model.policy.parameters()]
    with pytest.raises(UsageError) as caught:
        model.learn(100)
    after = 8 if horizon == 1 else 0
    text = f"returned nan; it must be finite, in branch 2 of world 1 after macro-step {after} at step 2 of its episode"
    assert text in one_line(caught)
    assert all(torch.equal(was, now) for was, now in zip(before, model.policy.parameters(), strict=True))
