"""Groups of branches against each other, without a critic."""

import copy
import dataclasses
import io

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecNormalize

from rl_tracking import load_policy
from rl_tracking.agents.arguments import settable
from rl_tracking.agents.collect.rollout import PathRollout
from rl_tracking.agents.grpo import GRPO
from rl_tracking.agents.saving import checkpoint
from rl_tracking.errors import RunError, UsageError
from rl_tracking.runs.build import build
from rl_tracking.runs.settings import resolve
from rl_tracking.runs.train import train
from tests.agents.toys import SMALL, LineVecEnv, OddWrapper, PartsVecEnv, logged, one_line, tracking


def grpo(env=None, **arguments):
    """A small GRPO that learns within milliseconds: 4 worlds, 3 branches of 3 steps, 2 roots a rollout."""
    env = tracking() if env is None else env
    values = {
        "recipe": "paper",
        "n_steps": 6,
        "batch_size": 24,
        "n_epochs": 2,
        "n_samples": 3,
        "horizon": 3,
        "seed": 0,
        **arguments,
    }
    values.setdefault("policy_kwargs", SMALL)
    return GRPO("MlpPolicy", env, device="cpu", **values)


def parameters(model):
    return [parameter.detach().clone() for parameter in model.policy.parameters()]


def same(mine, theirs):
    return all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True))


def one_step_worlds(action_space=None, reward=None, num_envs=16):
    """A bandit: every step terminates, and the state it is taken in is always 0, 0."""
    env = LineVecEnv(num_envs, action_space, edge=-1.0, reward=reward or (lambda place, push: -((push - 0.4) ** 2)))
    env.fresh = lambda: type(env.state)(np.zeros(env.num_envs), np.zeros(env.num_envs, dtype=np.int64))
    return env


def bandit(action_space=None, reward=None, **arguments):
    """A policy for the worlds of one step, not yet trained."""
    values = {"learning_rate": 3e-2, "n_steps": 8, "batch_size": 1024, "n_epochs": 6, "n_samples": 8, "horizon": 1}
    return grpo(one_step_worlds(action_space, reward), **{**values, **arguments})


def best(model):
    """The action that the policy takes for the best one."""
    return model.predict(np.zeros((1, 2), np.float32), deterministic=True)[0][0]


# -- arguments --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"n_samples": 1}, "n_samples of GRPO must be a whole number of 2 or more, not 1"),
        ({"n_samples": 2.5}, "not 2.5"),
        ({"horizon": -1}, "horizon of GRPO must be a whole number of 0 or more, not -1"),
        ({"horizon": "long"}, "not 'long'"),
        ({"horizon": 6}, "a horizon of 6 is longer than an episode, which has 5 steps"),
        ({"reference_interval": -1}, "reference_interval of GRPO must be a whole number of 0 or more"),
        ({"reuse": 1.5}, "reuse of GRPO must be a whole number of 0 or more, not 1.5"),
        ({"kl_coef": -0.1}, "kl_coef of GRPO must be a number of 0 or more, not -0.1"),
        ({"kl_coef": float("nan")}, "kl_coef of GRPO must be a number of 0 or more, not nan"),
        ({"supervision": "process"}, "unknown supervision of GRPO: 'process'; known: outcome, reward-to-go"),
        ({"baseline": "none"}, "unknown baseline of GRPO: 'none'"),
        ({"baseline": "leave-1-out"}, "did you mean 'leave-one-out'"),
        ({"kl_estimator": "k4"}, "unknown kl_estimator of GRPO: 'k4'"),
        ({"branch_noise": "comon"}, "unknown branch_noise of GRPO: 'comon'; did you mean 'common'"),
        ({"reward_activation": "tahn"}, "unknown activation 'tahn'; did you mean 'tanh'"),
        ({"vf_coef": 0.5}, "GRPO has no critic and takes no vf_coef"),
        ({"clip_range_vf": 0.2}, "GRPO has no critic and takes no clip_range_vf"),
        ({"gae_lambda": 0.95}, "GRPO has no critic and takes no gae_lambda"),
    ],
)
def test_bad_values_are_refused_in_one_line(arguments, text):
    with pytest.raises(UsageError, match=text) as caught:
        grpo(**arguments)
    one_line(caught)


@pytest.mark.parametrize("horizon", [0, 1, 5])
def test_horizons_up_to_the_episode_s_length(horizon):
    assert grpo(horizon=horizon).horizon == horizon


def test_what_cannot_be_forked_is_refused():
    with pytest.raises(UsageError, match="OddWrapper cannot be forked") as caught:
        grpo(OddWrapper(tracking()))
    one_line(caught)


def test_without_arguments_the_recipe_of_the_task_is_taken_and_warns_of_nothing():
    """A minibatch counts samples of all branches: one of 512 is not too large for 8 steps of one world."""
    model = GRPO("MlpPolicy", "rl_tracking/Pursuit-v0", device="cpu")
    chosen = (model.supervision, model.baseline, model.scale_by_std, model.kl_coef, model.reuse, model.horizon)
    assert chosen == ("reward-to-go", "group-mean", True, 0.0, 0, 16)
    assert (model.n_steps, model.batch_size, model.clip_range(1.0)) == (8, 512, 0.4)
    assert not model.normalize_advantage
    assert model.reward_activation == "identity"


# -- the estimate -----------------------------------------------------------------------------------------------------


def test_horizon_1_is_the_paper_s_form_a_sample():
    """A_i = (r_i - mean) / std over the actions tried from one state (eqs. 7 and 8)."""
    model = grpo(LineVecEnv(4, edge=1.0), horizon=1, n_samples=5, n_steps=8)
    model.learn(32)
    rollout, estimate = model.rollout, model.estimate(model.rollout)
    reward = rollout.reward.numpy()
    assert reward.shape == (8, 1, 5, 4)
    expected = (reward - reward.mean(axis=2, keepdims=True)) / reward.std(axis=2, keepdims=True)
    np.testing.assert_allclose(estimate.advantage.numpy(), expected, rtol=1e-4, atol=1e-5)
    assert bool(estimate.keep.all())
    # What became of the episode counts for nothing: no value is added.
    assert bool(rollout.terminated.any())
    assert not bool(estimate.value_target.any())


def test_the_same_forms_without_the_deviation_and_with_the_others_mean():
    model = grpo(LineVecEnv(4), horizon=1, n_samples=5, scale_by_std=False)
    model.learn(24)
    reward = model.rollout.reward
    torch.testing.assert_close(model.estimate(model.rollout).advantage, reward - reward.mean(dim=2, keepdim=True))
    model.baseline = "leave-one-out"
    others = (reward.sum(dim=2, keepdim=True) - reward) / 4
    torch.testing.assert_close(model.estimate(model.rollout).advantage, reward - others, rtol=1e-4, atol=1e-5)


def paths(reward, valid=None):
    """A rollout of one root in one world from rewards ``reward[k][i]``."""
    reward = torch.tensor(reward, dtype=torch.float32).unsqueeze(0).unsqueeze(-1)
    valid = torch.ones_like(reward) if valid is None else torch.tensor(valid).view_as(reward)
    never = torch.zeros_like(reward, dtype=torch.bool)
    made = torch.ones(reward.shape[:2], dtype=torch.bool)
    zeros = torch.zeros_like(reward)
    seen = torch.zeros(*reward.shape, 2)
    return PathRollout(
        seen, seen[..., :1], zeros, reward, zeros, zeros, never, never, valid.bool(), made, torch.ones_like(zeros)
    )


def test_outcome_and_reward_to_go_by_hand():
    """The first branch brings 4 at once, the second 3 later: over all the first did better, at the end the second."""
    rollout = paths([[4, 0], [0, 3]])
    model = grpo(gamma=1.0, supervision="outcome")
    assert model.estimate(rollout).advantage[0, ..., 0].tolist() == [[1, -1], [1, -1]]
    model.supervision = "reward-to-go"
    assert model.estimate(rollout).advantage[0, ..., 0].tolist() == [[1, -1], [-1, 1]]
    model.scale_by_std = False
    assert model.estimate(rollout).advantage[0, ..., 0].tolist() == [[0.5, -0.5], [-1.5, 1.5]]
    model.gamma, model.supervision = 0.5, "outcome"
    # 4 against 3 / 2.
    assert model.estimate(rollout).advantage[0, ..., 0].tolist() == [[1.25, -1.25], [1.25, -1.25]]


def test_a_branch_that_is_over_still_has_an_outcome():
    """Three branches of which the first ends with its first step; what it met in its next episode is not its own."""
    rollout = paths([[6, 1, 0], [100, 1, 1]], valid=[[1, 1, 1], [0, 1, 1]])
    model = grpo(gamma=1.0, supervision="outcome", scale_by_std=False)
    estimate = model.estimate(rollout)
    # Outcomes 6, 2, 1, with a mean of 3, for the living and the dead.
    assert estimate.advantage[0, ..., 0].tolist() == [[3, -1, -2], [0, -1, -2]]
    assert torch.equal(estimate.keep, rollout.valid)
    assert rollout.batch(estimate).advantage.tolist() == [[3, -1, -2, -1, -2]]
    model.supervision = "reward-to-go"
    # In the second step only the other two are compared.
    assert model.estimate(rollout).advantage[0, ..., 0].tolist() == [[3, -1, -2], [0, 0, 0]]


def test_rewards_go_through_scale_and_activation_first():
    model = grpo(gamma=1.0, reward_activation="tanh", reward_scale=0.5, scale_by_std=False)
    estimate = model.estimate(paths([[4, 0]]))
    assert estimate.reward[0, 0, :, 0].tolist() == pytest.approx([np.tanh(2), 0], rel=1e-6)
    assert estimate.advantage[0, 0, :, 0].tolist() == pytest.approx([np.tanh(2) / 2, -np.tanh(2) / 2], rel=1e-6)


def test_groups_without_a_difference_change_nothing():
    """A reward that is the same for all teaches nothing, whatever its size."""
    model = grpo(LineVecEnv(4, edge=99.0, reward=lambda place, push: np.full_like(place, 0.1)), n_samples=7)
    before = parameters(model)
    model.learn(48)
    assert same(parameters(model), before)


# -- what is trained on -----------------------------------------------------------------------------------------------


def watched(model):
    """Every batch that an update learns from, and the policy that the update starts from."""
    seen, samples = [], model._samples

    def watch(rollout, estimate):
        batch = samples(rollout, estimate)
        seen.append((rollout.batch(estimate), batch, copy.deepcopy(model.policy)))
        return batch

    model._samples = watch
    return seen


def rows(batch):
    """The samples of a batch, in an order of their own."""
    columns = [batch.of_samples(batch.observation), batch.action[0], batch.log_prob.T, batch.advantage.T]
    return sorted(map(tuple, torch.cat(columns, dim=1).tolist()))


def test_every_living_step_of_every_branch_is_a_sample():
    model = grpo(LineVecEnv(4, edge=1.0), horizon=4, n_steps=8)
    seen = watched(model)
    model.learn(32)
    (_, batch, _), rollout = seen[0], model.rollout
    assert 0 < int(rollout.valid.sum()) < rollout.valid.numel() == 2 * 4 * 3 * 4
    assert batch.value.shape == (int(rollout.valid.sum()),)
    assert batch.observation.shape == (2 * 4 + int(rollout.valid[:, 1:].sum()), 2)
    estimate = model.estimate(rollout)
    expected = zip(
        rollout.observation[rollout.valid].tolist(),
        rollout.action[rollout.valid].flatten().tolist(),
        rollout.log_prob[rollout.valid].tolist(),
        estimate.advantage[rollout.valid].tolist(),
        strict=True,
    )
    assert rows(batch) == sorted((*o, a, p, g) for o, a, p, g in expected)


@pytest.mark.parametrize("reuse", [0, 1, 3])
def test_earlier_rollouts_are_trained_on_again(reuse):
    model = grpo(reuse=reuse, learning_rate=1e-2)
    seen = watched(model)
    model.learn(24 * 5)
    assert len(seen) == 5
    for latest in range(5):
        together = seen[latest][1]
        parts = [seen[earlier][0] for earlier in range(max(0, latest - reuse), latest + 1)]
        assert rows(together) == sorted(row for part in parts for row in rows(part))


def whole(batch):
    """Every number of a batch."""
    fields = [getattr(batch, field.name) for field in dataclasses.fields(batch)]
    parts = [part for field in fields for part in (field.values() if isinstance(field, dict) else [field])]
    return [torch.as_tensor(part) for part in parts]


@pytest.mark.parametrize(("policy", "worlds"), [("MlpPolicy", tracking), ("MultiInputPolicy", lambda: PartsVecEnv(4))])
def test_a_loaded_model_trains_on_the_same_earlier_rollouts(policy, worlds, tmp_path):
    values = {
        "recipe": "paper",
        "n_steps": 6,
        "batch_size": 24,
        "n_epochs": 2,
        "n_samples": 3,
        "horizon": 3,
        "seed": 0,
        "reuse": 2,
    }
    model = GRPO(policy, worlds(), device="cpu", policy_kwargs=SMALL, **values).learn(24 * 3)
    model.save(tmp_path / "model")
    loaded = GRPO.load(tmp_path / "model", worlds(), device="cpu")
    updates = []
    for each in (model, loaded):
        seen = watched(each)
        each.env.seed(7)
        each._last_obs = None
        torch.manual_seed(7)
        each.learn(24 * 2, reset_num_timesteps=False)
        updates.append(seen)
    assert len(updates[0]) == len(updates[1]) == 2
    for (own, going_on, _), (_, after_loading, _) in zip(*updates, strict=True):
        assert going_on.action.shape[1] > 2 * own.action.shape[1], "two earlier rollouts are in it"
        for mine, theirs in zip(whole(going_on), whole(after_loading), strict=True):
            assert torch.equal(mine, theirs)
    assert same(parameters(model), parameters(loaded))


def test_earlier_rollouts_of_another_form_are_refused():
    model = grpo(reuse=1).learn(24)
    state = model._earlier.state_dict()
    state["batches"][0]["odd"] = torch.zeros(1)
    with pytest.raises(UsageError, match="earlier rollouts saved with this model cannot be read") as caught:
        model._earlier.load_state_dict(state)
    assert "odd" in one_line(caught)


def test_ratios_are_taken_against_the_policy_that_sampled():
    """The log-probabilities of a rollout stay those of its own policy, however often it is used again."""
    model = grpo(reuse=2, learning_rate=3e-2)
    seen = watched(model)
    model.learn(24 * 4)
    for latest, (own, together, policy) in enumerate(seen):
        _, log_prob, _ = policy.evaluate_actions(own.of_samples(own.observation), own.action[0])
        torch.testing.assert_close(own.log_prob[0], log_prob.detach(), rtol=1e-4, atol=1e-5)
        # So that at the start of the update the ratios of the latest samples are 1 and those of earlier ones are not.
        _, figures = model_loss(model, policy, own)
        assert float(figures["clip_fraction"]) == 0.0
        if latest > 0:
            _, figures = model_loss(model, policy, together)
            assert float(figures["clip_fraction"]) > 0.0


def model_loss(model, policy, batch):
    """The loss that a model would have with another policy in its place."""
    present, model.policy = model.policy, policy
    try:
        return model._loss(batch)
    finally:
        model.policy = present


def test_the_loss_at_the_policy_that_sampled_is_the_policy_gradient():
    model = grpo(ent_coef=0.0)
    seen = watched(model)
    model.learn(24)
    own, _, policy = seen[0]
    loss, _ = model_loss(model, policy, own)
    loss.backward()
    gradients = {name: p.grad.clone() for name, p in policy.named_parameters() if p.grad is not None}
    policy.zero_grad()
    _, log_prob, _ = policy.evaluate_actions(own.of_samples(own.observation), own.action[0])
    (-(log_prob * own.advantage[0]).mean()).backward()
    assert gradients
    for name, parameter in policy.named_parameters():
        if name in gradients:
            torch.testing.assert_close(gradients[name], parameter.grad, rtol=1e-4, atol=1e-6)
    assert max(float(gradient.abs().max()) for gradient in gradients.values()) > 1e-3


# -- no critic --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [{}, {"horizon": 0}, {"kl_coef": 0.1}, {"reuse": 2}, {"n_epochs": 5}])
def test_no_value_is_ever_asked_for_and_no_value_is_learned(arguments, monkeypatch):
    model = grpo(LineVecEnv(4, edge=1.0), **arguments)

    def fail(*_):
        pytest.fail("the value network was run")

    critic = [model.policy.value_net, model.policy.mlp_extractor.value_net]
    for network in critic:
        monkeypatch.setattr(network, "forward", fail)
    monkeypatch.setattr(model.policy, "predict_values", fail)
    values = {id(parameter) for network in critic for parameter in network.parameters()}
    before = [(parameter, parameter.detach().clone()) for parameter in model.policy.parameters()]
    model.learn(96)
    for parameter, was in before:
        assert torch.equal(parameter, was) == (id(parameter) in values)
    assert len(values) == 4


# -- the reference ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("interval", "expected"), [(0, [0, 0, 0, 0, 0]), (1, [0, 1, 2, 3, 4]), (2, [0, 0, 2, 2, 4]), (3, [0, 0, 0, 3, 3])]
)
def test_the_reference_is_refreshed_when_its_time_has_come(interval, expected):
    model = grpo(kl_coef=0.1, reference_interval=interval, learning_rate=1e-2)
    seen, references = watched(model), []
    epochs = model._update

    def watch(batch):
        references.append(copy.deepcopy(model._reference))
        return epochs(batch)

    model._update = watch
    model.learn(24 * 5)
    for reference, rollout in zip(references, expected, strict=True):
        its_own = [same(reference.parameters(), policy.parameters()) for _, _, policy in seen]
        assert its_own == [start == rollout for start in range(5)]


def test_without_a_weight_there_is_no_reference():
    model = grpo()
    dumps = logged(model, 48)
    assert model._reference is None
    assert not any("train/reference_kl" in dump for dump in dumps)


@pytest.mark.parametrize(
    ("estimator", "figure"),
    [("k1", lambda x: -x), ("k2", lambda x: x**2 / 2), ("k3", lambda x: np.exp(x) - 1 - x)],
)
def test_the_loss_is_the_surrogate_and_the_weighted_divergence(estimator, figure):
    model = grpo(kl_coef=0.7, kl_estimator=estimator, reference_interval=0, n_epochs=1, learning_rate=1e-2)
    seen = watched(model)
    model.learn(96)
    _, batch, policy = seen[-1]
    observation = batch.of_samples(batch.observation)
    with torch.no_grad():
        _, mine, _ = policy.evaluate_actions(observation, batch.action[0])
        _, theirs, _ = model._reference.evaluate_actions(observation, batch.action[0])
        loss, figures = model_loss(model, policy, batch)
        model._reference = None
        plain, _ = model_loss(model, policy, batch)
    divergence = figure((theirs - mine).numpy().astype(np.float64)).mean()
    assert float(figures["reference_kl"]) == pytest.approx(divergence, rel=1e-3, abs=1e-6)
    assert float(loss - plain) == pytest.approx(0.7 * divergence, rel=1e-2, abs=1e-6)
    assert abs(divergence) > 1e-4


@pytest.fixture(scope="module")
def unbound():
    """What a policy becomes that nothing holds back: its divergence from the one that it started as."""
    return drift(kl_coef=0.0)


def drift(**arguments):
    model = bandit(**{"reference_interval": 0, **arguments})
    state, first = torch.zeros(1, 2), copy.deepcopy(model.policy)
    model.learn(128 * 8)
    with torch.no_grad():
        now, then = (policy.get_distribution(state).distribution for policy in (model.policy, first))
        return float(torch.distributions.kl_divergence(now, then).sum())


@pytest.mark.parametrize("estimator", ["k1", "k2", "k3"])
def test_the_penalty_keeps_the_policy_near_its_reference(estimator, unbound):
    held = drift(kl_coef=2.0, kl_estimator=estimator)
    assert held < 0.2 * unbound
    assert held > 0  # and lets it move


def test_a_reference_that_follows_holds_less():
    assert drift(kl_coef=2.0, reference_interval=1) > 3 * drift(kl_coef=2.0, reference_interval=0)


# -- learning ---------------------------------------------------------------------------------------------------------

FORMS = {
    "defaults": {},
    "leave one out": {"baseline": "leave-one-out"},
    "no deviation": {"scale_by_std": False},
    "old rollouts": {"reuse": 2},
    "following reference": {"kl_coef": 0.1, "reference_interval": 1},
    "tanh": {"reward_activation": "tanh"},
}


@pytest.mark.parametrize("form", FORMS)
def test_the_best_action_of_a_bandit_is_found(form):
    """The reward -(a - 0.4)^2 is greatest at 0.4."""
    assert best(bandit(**FORMS[form]).learn(128 * 10)).item() == pytest.approx(0.4, abs=0.05)


@pytest.mark.parametrize(
    ("space", "expected"),
    [(spaces.Discrete(5), 3), (spaces.MultiDiscrete([3, 4]), [2, 3]), (spaces.MultiBinary(4), [1, 1, 1, 1])],
)
def test_the_best_of_countable_actions_is_found(space, expected):
    reward = (
        (lambda place, push: -np.abs(push - 1.0)) if isinstance(space, spaces.Discrete) else lambda place, push: push
    )
    np.testing.assert_array_equal(best(bandit(space, reward).learn(128 * 10)), expected)


@pytest.mark.parametrize("horizon", [0, 6])
def test_what_pays_later_is_learned_without_a_critic(horizon):
    """The reward comes with the sixth and last step alone: the distance to 1 that the pushes have left by then."""

    def late(line):
        wait, spawn = line.step_wait, line.spawn

        def step_wait():
            last, place = line.state.step == line.limit - 1, line.state.place + line.push(line.actions)
            observation, _, done, infos = wait()
            return observation, np.where(last, -np.abs(place - 1.0), 0.0).astype(np.float32), done, infos

        line.step_wait = step_wait
        line.spawn = lambda num_envs: late(spawn(num_envs))
        return line

    env = late(LineVecEnv(8, spaces.Box(-0.2, 0.2, (1,), np.float32), limit=6, edge=99.0))
    model = grpo(
        env,
        horizon=horizon,
        n_samples=8,
        batch_size=384,
        n_epochs=4,
        learning_rate=1e-2,
        policy_kwargs={**SMALL, "log_std_init": -1.5},
    )
    model.learn(48 * 25)
    observation = env.reset()
    for _ in range(6):
        observation, reward, _, _ = env.step(model.predict(observation, deterministic=True)[0])
    assert float(np.abs(reward).mean()) < 0.15


@pytest.mark.parametrize("supervision", ["outcome", "reward-to-go"])
@pytest.mark.parametrize("baseline", ["group-mean", "leave-one-out"])
@pytest.mark.parametrize("horizon", [0, 4])
def test_every_combination_trains(supervision, baseline, horizon):
    model = grpo(supervision=supervision, baseline=baseline, horizon=horizon, kl_coef=0.1, reuse=1, ent_coef=0.01)
    before = parameters(model)
    model.learn(60)
    assert all(bool(torch.isfinite(parameter).all()) for parameter in model.policy.parameters())
    assert not same(parameters(model), before)


def test_training_under_a_normaliser():
    env = VecNormalize(tracking(), gamma=0.9)
    model = grpo(env)
    model.learn(96)
    # The reset and the executed steps, not those of branches.
    assert env.obs_rms.count == pytest.approx(4 + 96, abs=1e-3)
    assert float(model.rollout.observation.abs().max()) <= env.clip_obs


def test_the_same_seed_gives_the_same_policy():
    first, again, other = (grpo(tracking(seed=1), seed=seed).learn(48) for seed in (3, 3, 4))
    assert same(parameters(first), parameters(again))
    assert not same(parameters(first), parameters(other))


# -- counting ---------------------------------------------------------------------------------------------------------


def test_counts_go_by_whole_branches():
    """Six steps a rollout are two roots with branches of four: eight steps of four worlds are executed."""
    model = grpo(LineVecEnv(4), horizon=4)
    env = model.env
    env.counts["steps"] = 0
    model.learn(1)
    assert model.rollout.reward.shape == (2, 4, 3, 4)
    assert model.num_timesteps == 2 * 4 * 4
    assert model.num_simulator_steps == env.counts["steps"] == 2 * 4 * 4 * (3 + 1)


@pytest.mark.parametrize("activation", ["identity", "sigmoid"])
def test_figures_are_of_the_steps_that_were_executed(activation):
    """Whole episodes of different length; what fills them up to the longest is nobody's reward."""
    env, steps = LineVecEnv(4, limit=9, edge=0.6), []
    wait = env.step_wait

    def step_wait():
        step = wait()
        steps.append((step[1].copy(), step[2]))
        return step

    env.step_wait = step_wait
    model = grpo(env, horizon=0, n_steps=12, reward_activation=activation)
    model.train_again, collected = model.train, []
    model.train = lambda: collected.append(len(steps)) or model.train_again()
    model.learn(1)
    lengths = model.rollout.unpadded.sum(dim=1).tolist()
    assert len(set(lengths)) > 1
    assert sum(lengths) == collected[0] == len(steps) == model.num_timesteps / 4
    reward, done = (np.stack(part) for part in zip(*steps, strict=True))
    figures = model.logger.name_to_value
    assert figures["rollout/raw_reward_mean"] == pytest.approx(reward.mean(), rel=1e-5)
    activated = 1 / (1 + np.exp(-reward)) if activation == "sigmoid" else reward
    so_far, returns = np.zeros(4), []
    for now, ended in zip(activated, done, strict=True):
        so_far = so_far + now
        returns += so_far[ended].tolist()
        so_far[ended] = 0.0
    assert figures["rollout/activated_return_mean"] == pytest.approx(np.mean(returns[-100:]), rel=1e-4)


def test_a_reward_that_is_not_finite_names_its_branch_and_changes_nothing():
    calls = []

    def reward(place, push):
        calls.append(1)
        # The second step of the paths: branch 2, world 1.
        return np.where((np.arange(len(place)) == 2 * 4 + 1) & (len(calls) == 2), np.nan, -np.abs(place))

    model = grpo(LineVecEnv(4, reward=reward, edge=99.0))
    before = parameters(model)
    with pytest.raises(RunError, match="the reward of branch 2 in world 1 is not finite, in step 2 of the") as caught:
        model.learn(24)
    one_line(caught)
    assert same(parameters(model), before)


def test_a_callback_stops_within_a_branch():
    model = grpo()
    before = parameters(model)
    model.learn(240, callback=lambda local, _: local["self"].num_timesteps < 16)
    assert model.num_timesteps == 16
    assert same(parameters(model), before)


# -- a trip through a file --------------------------------------------------------------------------------------------


def observations(model):
    return np.random.default_rng(0).normal(size=(9, *model.observation_space.shape)).astype(np.float32)


def test_a_trip_through_a_file(tmp_path):
    chosen = {
        "n_samples": 4,
        "horizon": 2,
        "supervision": "outcome",
        "baseline": "leave-one-out",
        "scale_by_std": False,
        "kl_coef": 0.2,
        "kl_estimator": "k2",
        "reference_interval": 3,
        "reuse": 2,
        "reward_activation": "tanh",
        "reward_scale": 0.5,
        "branch_noise": "independent",
    }
    model = grpo(**chosen).learn(48)
    model.save(tmp_path / "model.zip")
    loaded = GRPO.load(tmp_path / "model.zip", tracking())
    seen = observations(model)
    np.testing.assert_array_equal(
        loaded.predict(seen, deterministic=True)[0], model.predict(seen, deterministic=True)[0]
    )
    assert {name: getattr(loaded, name) for name in chosen} == chosen
    assert (loaded.num_timesteps, loaded.num_simulator_steps) == (48, 48 * 4)
    assert same(parameters(loaded), parameters(model))
    loaded.learn(24, reset_num_timesteps=False)
    assert (loaded.num_timesteps, loaded.num_simulator_steps) == (72, 72 * 4)
    said = checkpoint.read_description(tmp_path / "model.zip")["hyper_parameters"]
    assert {name: said[name] for name in chosen} == chosen


def test_the_policy_is_read_without_a_pickle(tmp_path):
    model = grpo().learn(24)
    model.save(tmp_path / "model.zip")
    policy = load_policy(tmp_path / "model.zip")
    seen = observations(model)
    np.testing.assert_array_equal(
        policy.predict(seen, deterministic=True)[0], model.predict(seen, deterministic=True)[0]
    )
    assert policy.description["algorithm"] == "GRPO"
    assert policy.description["macro_steps"] == 24
    assert policy.description["simulator_steps"] == 24 * 3


def test_a_model_is_loaded_without_an_env_and_given_one():
    file = io.BytesIO()
    grpo(kl_coef=0.1, reuse=1).learn(24).save(file)
    file.seek(0)
    loaded = GRPO.load(file)
    loaded.set_env(LineVecEnv(4) if loaded.observation_space.shape == (2,) else tracking())
    loaded.learn(24)
    assert loaded.num_timesteps == 24


# -- settings and training runs ---------------------------------------------------------------------------------------


def test_its_settings_know_no_critic():
    known = settable("grpo")
    assert {"n_samples", "horizon", "kl_coef", "reuse", "supervision", "clip_range", "gamma", "net_arch"} <= set(known)
    assert not {"vf_coef", "clip_range_vf", "gae_lambda", "self", "env", "policy", "kwargs"} & set(known)
    assert len(known) == len(set(known))


@pytest.mark.parametrize(("preset", "horizon"), [("drone", 16), ("sandbox", 8)])
def test_its_defaults_resolve_and_build(preset, horizon):
    settings = resolve(given={"algo": "grpo", "preset": preset, "num_envs": 4})
    assert set(settings.arguments) <= set(settable("grpo"))
    model = build(settings)
    assert isinstance(model, GRPO)
    assert (model.n_samples, model.horizon) == (8, horizon)


@pytest.mark.parametrize(
    ("pairs", "text"),
    [
        (["gae_lambda=0.9"], "grpo has no gae_lambda, hybrid-grpo, ppo, shac and trpo have"),
        (["vf_coef=0.9"], "grpo has no vf_coef, hybrid-grpo and ppo have"),
        (["kl_coef=-1"], "kl_coef must be a number of 0 or more, not -1"),
        (["scale_by_std=1"], "scale_by_std must be true or false, not 1"),
        (["n_samples=1"], "n_samples must be a whole number of 2 or more"),
        (["max_steps=10", "horizon=16"], "a horizon of 16 is longer than an episode, which has 10 steps"),
    ],
)
def test_bad_settings_are_refused_in_one_line(pairs, text):
    with pytest.raises(UsageError, match=text) as caught:
        build(resolve(given={"algo": "grpo", "num_envs": 4}, pairs=pairs))
    one_line(caught)


def test_its_default_horizon_is_no_longer_than_the_episodes_asked_for():
    model = build(resolve(given={"algo": "grpo", "num_envs": 4}, pairs=["max_steps=5"]))
    assert model.horizon == 5


def test_a_run_writes_its_folder(tmp_path):
    pairs = ["num_envs=4", "n_steps=8", "batch_size=32", "max_steps=10", "net_arch=[16]", "n_samples=3", "horizon=4"]
    settings = resolve(given={"algo": "grpo", "steps": 96}, pairs=[*pairs, "kl_coef=0.05", "reuse=1"])
    result = train(settings, tmp_path / "run", episodes=5)
    assert (result.macro_steps, result.simulator_steps) == (96, 96 * 3)
    assert result.evaluations[0]["policy"] == "GRPO"
    assert load_policy(result.path).description["algorithm"] == "GRPO"
    assert GRPO.load(result.path).num_timesteps == 96
    assert resolve(file=tmp_path / "run" / "config.toml") == settings


def test_the_reference_is_saved_with_the_model(tmp_path):
    model = grpo(kl_coef=0.1, reference_interval=0, learning_rate=1e-2)
    model.learn(72)
    model.save(tmp_path / "m.zip")
    again = GRPO.load(tmp_path / "m.zip", env=model.env)
    assert same(again._reference.parameters(), model._reference.parameters())
    assert not same(again._reference.parameters(), again.policy.parameters())
    assert again._rollouts_seen == 3
    again.learn(24, reset_num_timesteps=False)
