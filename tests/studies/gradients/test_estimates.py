"""Gradients that are measured: the reference against an exact gradient, estimators against it, states, inheritance."""

import dataclasses

import msgspec
import pytest
import torch

from rl_tracking.agents.collect.distributions import group_log_prob
from rl_tracking.errors import UsageError
from rl_tracking.runs import settings
from rl_tracking.runs.build import build
from rl_tracking.studies.config.gradients import Estimator, GradientPlan
from rl_tracking.studies.execute.snapshot import Snapshot
from rl_tracking.studies.gradients.estimates import StatePool, build_like, measure, reference, settings_like

PLAN = GradientPlan(
    checkpoints=[0.0],
    estimators=[],
    worlds=32,
    steps=4,
    rollouts=8,
    reference_rollouts=6,
    reference_horizon=8,
    reference_samples=8,
)
ONE_STEP = {"n_samples": 4, "horizon": 1, "gae_lambda": 0.0, "baseline": "none"}


def _base(**values):
    given = {"algo": "hybrid-grpo", "steps": 256, "seed": 0}
    small = {"num_envs": 4, "n_steps": 32, "n_epochs": 1, "horizon": 1, "net_arch": [8], "log_std_init": -1.0}
    small |= {"critic_trust": "full"}
    return settings.resolve(
        given=given,
        values={**small, "reward_activation": "identity", **values},
        parameters={"reward": "progress", "max_steps": 30},
    )


def untrained(base):
    return Snapshot.of(build(msgspec.structs.replace(base, num_envs=1)))


def _pool(base, snapshot):
    estimator = Estimator(name="pool", algo="hybrid-grpo", settings=ONE_STEP)
    return StatePool(build_like(snapshot, base, estimator, PLAN, worlds=1), 64)


@pytest.fixture(scope="module")
def bandit():
    """Only the next reward counts: settings, networks, states."""
    base = _base(gamma=0.0)
    snapshot = untrained(base)
    return base, snapshot, _pool(base, snapshot)


def _exact(base, snapshot, pool):
    """Minus the derivative of the mean next reward, through the simulator, which is differentiable."""
    model = build(msgspec.structs.replace(base, num_envs=1))
    model.policy.load_state_dict(snapshot.policy)
    states = pool.draw(4096, torch.Generator().manual_seed(5))
    simulator = model.env.unwrapped.simulator
    action = model.policy.get_distribution(simulator.observation(states)).distribution.rsample()
    reward = simulator.transition(states, action).reward
    gradients = torch.autograd.grad(-reward.mean(), list(model.policy.parameters()), allow_unused=True)
    return torch.cat([gradient.flatten() for gradient in gradients if gradient is not None])


def test_the_reference_is_the_exact_gradient_in_size_and_direction(bandit):
    base, snapshot, pool = bandit
    exact = _exact(base, snapshot, pool)
    found = reference(snapshot, base, PLAN, pool, torch.Generator().manual_seed(0))
    mean = found.gradients.mean(dim=0)
    assert found.gradients.shape == (6, len(exact))
    assert torch.cosine_similarity(mean, exact, dim=0) > 0.95
    assert mean @ exact / (exact @ exact) == pytest.approx(1.0, abs=0.15)


def test_one_step_estimators_agree_with_the_reference_where_only_the_next_reward_counts(bandit):
    base, snapshot, pool = bandit
    exact = reference(snapshot, base, PLAN, pool, torch.Generator().manual_seed(0)).gradients.mean(dim=0)
    grpo = Estimator(name="grpo", algo="grpo", settings={"n_samples": 8, "horizon": 1, "scale_by_std": False})
    hybrid = Estimator(
        name="hybrid", algo="hybrid-grpo", settings={**ONE_STEP, "n_samples": 8, "baseline": "group-mean"}
    )
    for estimator in (grpo, hybrid):
        model = build_like(snapshot, base, estimator, PLAN)
        found = measure(model, estimator, pool, 12, torch.Generator().manual_seed(1))
        assert torch.cosine_similarity(found.gradients.mean(dim=0), exact, dim=0) > 0.95
        assert (found.macro_steps, found.simulator_steps) == (32 * 4, 32 * 4 * 8)


def test_the_gradient_equals_that_of_a_loss_computed_by_hand(bandit):
    base, snapshot, pool = bandit
    estimator = Estimator(name="plain", algo="hybrid-grpo", settings={**ONE_STEP, "normalize_advantage": False})
    model = build_like(snapshot, base, estimator, PLAN, worlds=2)
    found = measure(model, estimator, pool, 1, torch.Generator().manual_seed(2)).gradients[0]
    rollout = model.rollout
    batch = rollout.batch(model.estimate(rollout))
    delta = rollout.reward - rollout.value.unsqueeze(1)  # gamma is 0
    advantage = delta.transpose(0, 1).flatten(1)
    torch.testing.assert_close(batch.advantage, advantage)
    log_prob = group_log_prob(model.policy.get_distribution(batch.observation), batch.action)
    by_hand = torch.autograd.grad(-(advantage * log_prob).mean(), list(model.policy.parameters()), allow_unused=True)
    torch.testing.assert_close(found, torch.cat([part.flatten() for part in by_hand if part is not None]))


def test_states_are_of_all_times_and_each_has_noise_of_its_own(bandit):
    _, _, pool = bandit
    generator = torch.Generator().manual_seed(0)
    states = pool.draw(600, generator)
    assert set(states.step.tolist()) == set(range(30))
    assert len(set(states.key.tolist())) == 600
    again = pool.draw(600, generator)
    assert not set(again.key.tolist()) & set(states.key.tolist())
    assert torch.isfinite(states.position).all()
    starts = pool.draw(50, generator, from_start=True)
    assert starts.step.unique().tolist() == [0]
    assert len(starts.position.unique(dim=0)) == 50


def test_the_same_seed_measures_the_same_and_another_one_does_not(bandit):
    base, snapshot, pool = bandit
    estimator = Estimator(name="plain", algo="hybrid-grpo", settings=ONE_STEP)

    def gradients(seed):
        model = build_like(snapshot, base, estimator, PLAN)
        return measure(model, estimator, pool, 2, torch.Generator().manual_seed(seed)).gradients

    first = gradients(3)
    assert torch.equal(gradients(3), first)
    assert not torch.equal(gradients(4), first)
    assert not torch.equal(first[0], first[1])


def test_an_estimator_takes_the_objective_and_the_network_of_the_run_unless_it_has_its_own():
    base = _base(gamma=0.7, reward_scale=0.5)
    inherits = settings_like(base, Estimator(name="a", algo="grpo", settings={"horizon": 2}), PLAN)
    assert {name: inherits.arguments[name] for name in ("gamma", "reward_scale", "net_arch", "n_steps")} == {
        "gamma": 0.7,
        "reward_scale": 0.5,
        "net_arch": [8],
        "n_steps": 4,
    }
    whole = Estimator(name="b", algo="grpo", settings={"horizon": 0, "gamma": 0.9}, from_start=True)
    own = settings_like(base, whole, PLAN).arguments
    assert (own["gamma"], own["n_steps"]) == (0.9, 30)
    of_tanh = settings_like(_base(reward_activation="tanh"), Estimator(name="c", algo="grpo", settings={}), PLAN)
    assert of_tanh.arguments["reward_activation"] == "tanh"


@pytest.mark.parametrize(
    ("algo", "values", "hint"),
    [
        ("ppo", {}, "algo must be one of groups"),
        ("hybrid-grpo", {"net_arch": [9]}, "its network differs"),
        ("hybrid-grpo", {"critic_trust": "explained"}, "is learned along the run"),
        ("hybrid-grpo", {"critic_trust": "calibrated"}, "'calibrated' is learned along the run"),
        ("grpo", {"max_steps": 9}, "max_steps would change the task"),
    ],
)
def test_settings_that_no_estimator_can_have_are_refused(algo, values, hint):
    base = _base()
    with pytest.raises(UsageError, match=hint):
        build_like(untrained(base), base, Estimator(name="x", algo=algo, settings=values), PLAN, worlds=1)


def test_a_model_takes_over_the_networks_and_the_trust_of_a_snapshot_that_was_written(tmp_path):
    base = _base(critic_trust="explained")
    written = dataclasses.replace(untrained(base), trust=0.25)
    written.save(tmp_path / "networks.pt")
    estimator = Estimator(name="trust", algo="hybrid-grpo", settings={**ONE_STEP, "critic_trust": "explained"})
    model = build_like(Snapshot.load(tmp_path / "networks.pt"), base, estimator, PLAN, worlds=1)
    assert model.critic_weight.share == 0.25
    assert all(torch.equal(model.policy.state_dict()[name], tensor) for name, tensor in written.policy.items())
