"""Against Stable-Baselines3's own distributions, sample by sample; and how often the networks run."""

import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.distributions import (
    BernoulliDistribution,
    CategoricalDistribution,
    DiagGaussianDistribution,
    MultiCategoricalDistribution,
    SquashedDiagGaussianDistribution,
    StateDependentNoiseDistribution,
)
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor

from rl_tracking.agents.collect.distributions import evaluate_states, group_log_prob, sample_group
from rl_tracking.errors import UsageError
from tests.agents.toys import SMALL, LineVecEnv, hybrid, tracking

STATES, SAMPLES = 5, 7


def random(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def make(kind):
    """A distribution over five states, and the shape of one of its actions."""
    if kind == "gaussian":
        return DiagGaussianDistribution(2).proba_distribution(random(STATES, 2), torch.tensor([-0.5, 0.2])), (2,)
    if kind == "squashed":
        squashed = SquashedDiagGaussianDistribution(2)
        return squashed.proba_distribution(random(STATES, 2), torch.tensor([-0.5, 0.2])), (2,)
    if kind.startswith("state-dependent"):
        noise = StateDependentNoiseDistribution(2, squash_output=kind.endswith("squashed"))
        noise.latent_sde_dim = 4
        return noise.proba_distribution(random(STATES, 2), random(4, 2) - 1.0, random(STATES, 4)), (2,)
    if kind == "categorical":
        return CategoricalDistribution(4).proba_distribution(random(STATES, 4)), ()
    if kind == "multi-categorical":
        return MultiCategoricalDistribution([3, 4]).proba_distribution(random(STATES, 7)), (2,)
    return BernoulliDistribution(3).proba_distribution(random(STATES, 3)), (3,)


KINDS = (
    "gaussian",
    "squashed",
    "state-dependent",
    "state-dependent, squashed",
    "categorical",
    "multi-categorical",
    "bernoulli",
)


def drawn(distribution, n):
    """Samples, with exploration matrices where they are needed."""
    if isinstance(distribution, StateDependentNoiseDistribution):
        distribution.sample_weights(random(4, 2) - 1.0, n * STATES)
    return sample_group(distribution, n)


@pytest.mark.parametrize("kind", KINDS)
def test_log_prob_is_that_of_stable_baselines3_sample_by_sample(kind):
    distribution, shape = make(kind)
    torch.manual_seed(0)
    actions = drawn(distribution, SAMPLES)
    assert actions.shape == (SAMPLES, STATES, *shape)
    log_prob = group_log_prob(distribution, actions)
    assert log_prob.shape == (SAMPLES, STATES)
    for sample in range(SAMPLES):
        torch.testing.assert_close(log_prob[sample], distribution.log_prob(actions[sample]), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_samples_are_drawn_from_every_state_s_own_distribution(kind):
    distribution, _ = make(kind)
    torch.manual_seed(0)
    many = drawn(distribution, 40_000).double().mean(dim=0)
    if kind in ("gaussian", "state-dependent"):
        expected = distribution.distribution.mean
    elif kind.endswith("squashed"):
        expected = torch.tanh(distribution.distribution.sample((40_000,))).mean(dim=0)
    elif kind == "categorical":
        expected = (distribution.distribution.probs * torch.arange(4)).sum(dim=-1)
    elif kind == "multi-categorical":
        parts = [(part.probs * torch.arange(part.probs.shape[-1])).sum(dim=-1) for part in distribution.distribution]
        expected = torch.stack(parts, dim=-1)
    else:
        expected = distribution.distribution.probs
    torch.testing.assert_close(many, expected.double(), atol=0.03, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_the_samples_of_a_group_are_independent(kind):
    distribution, _ = make(kind)
    torch.manual_seed(0)
    samples = drawn(distribution, 20_000).double().reshape(20_000, -1)
    first, second = samples[::2], samples[1::2]
    covariance = ((first - first.mean(dim=0)) * (second - second.mean(dim=0))).mean(dim=0)
    assert float(covariance.abs().max()) < 0.05 * float(samples.var(dim=0).max())


def test_the_gradient_reaches_the_parameters():
    mean = random(STATES, 2).requires_grad_()
    distribution = DiagGaussianDistribution(2).proba_distribution(mean, torch.zeros(2))
    actions = sample_group(distribution, SAMPLES)
    assert not actions.requires_grad
    group_log_prob(distribution, actions).sum().backward()
    torch.testing.assert_close(mean.grad, (actions - mean.detach()).sum(dim=0))


def test_matrices_that_do_not_fit_are_refused():
    distribution, _ = make("state-dependent")
    distribution.sample_weights(random(4, 2), 3)
    with pytest.raises(UsageError, match="gSDE has 3 exploration matrices for 7 actions of 5 states"):
        sample_group(distribution, SAMPLES)


def test_a_distribution_of_somebody_else_is_refused():
    with pytest.raises(UsageError, match="object cannot be sampled in groups; use another policy"):
        sample_group(object(), 3)
    with pytest.raises(UsageError, match="object cannot be sampled in groups"):
        group_log_prob(object(), torch.zeros(3, STATES, 2))


@pytest.mark.parametrize("squash", [False, True])
def test_each_sample_of_a_state_has_a_matrix_of_its_own(squash):
    distribution, _ = make("state-dependent, squashed" if squash else "state-dependent")
    distribution.sample_weights(random(4, 2), SAMPLES * STATES)
    actions = sample_group(distribution, SAMPLES)
    for sample in range(SAMPLES):
        for state in range(STATES):
            matrix = distribution.exploration_matrices[sample * STATES + state]
            expected = distribution.distribution.mean[state] + distribution._latent_sde[state] @ matrix
            expected = expected.tanh() if squash else expected
            torch.testing.assert_close(actions[sample, state], expected)


class Mixer(BaseFeaturesExtractor):
    """Features with weights of their own, so that two extractors differ."""

    def __init__(self, observation_space):
        super().__init__(observation_space, 3)
        self.mix = torch.nn.Linear(2, 3)

    def forward(self, observations):
        return self.mix(observations)


@pytest.mark.parametrize("share", [True, False])
def test_values_and_log_probs_are_those_of_the_policy(share):
    env = LineVecEnv()
    chosen = {**SMALL, "share_features_extractor": share, "features_extractor_class": Mixer}
    model = PPO("MlpPolicy", env, policy_kwargs=chosen, device="cpu", seed=0)
    observation, action = random(STATES, 2), random(STATES, 1)
    distribution, value = evaluate_states(model.policy, observation)
    theirs, log_prob, entropy = model.policy.evaluate_actions(observation, action)
    torch.testing.assert_close(value, theirs.flatten())
    torch.testing.assert_close(group_log_prob(distribution, action.unsqueeze(0))[0], log_prob)
    torch.testing.assert_close(distribution.entropy(), entropy)


# -- how often the networks run -----------------------------------------------------------------------------------


class Counter:
    """Counts the rows that go through parts of a policy."""

    def __init__(self, policy):
        self.rows, self.calls = {}, {}
        parts = {
            "trunk": policy.mlp_extractor.policy_net,
            "action": policy.action_net,
            "value": policy.value_net,
        }
        for name, part in parts.items():
            self.rows[name] = self.calls[name] = 0
            part.register_forward_hook(self.hook(name))

    def hook(self, name):
        def count(module, inputs, output):
            self.rows[name] += inputs[0].shape[0]
            self.calls[name] += 1

        return count

    def take(self):
        rows = dict(self.rows)
        self.rows = dict.fromkeys(self.rows, 0)
        return rows


SPACES = {
    "gaussian": None,
    "state-dependent": None,
    "state-dependent, squashed": None,
    "categorical": spaces.Discrete(3),
    "multi-categorical": spaces.MultiDiscrete([3, 2]),
    "bernoulli": spaces.MultiBinary(2),
}


def chosen(kind):
    """Arguments that give that distribution; a squashed Gaussian comes with gSDE alone in Stable-Baselines3."""
    squash = {"squash_output": True} if kind.endswith("squashed") else {}
    return {"use_sde": kind.startswith("state-dependent"), "policy_kwargs": {**SMALL, **squash}}


@pytest.mark.parametrize("samples", [1, 8])
@pytest.mark.parametrize("kind", SPACES)
def test_the_policy_network_runs_once_a_state(kind, samples):
    worlds, steps, epochs = 3, 4, 2
    env = LineVecEnv(worlds, SPACES[kind])
    model = hybrid(env, n_samples=samples, n_steps=steps, batch_size=worlds * steps, n_epochs=epochs, **chosen(kind))
    counter, rows = Counter(model.policy), {}
    train = model.train

    def watched():
        rows["collect"] = counter.take()
        train()
        rows["update"] = counter.take()

    model.train = watched
    model.learn(worlds * steps)
    states = worlds * steps
    assert rows["collect"]["trunk"] == rows["collect"]["action"] == states
    # Values: of every state once, and of every state that a branch reached.
    assert rows["collect"]["value"] == states + samples * states
    assert rows["update"] == {"trunk": epochs * states, "action": epochs * states, "value": epochs * states}


def test_one_call_a_macro_step():
    model = hybrid(tracking(2), n_steps=5, batch_size=10, n_samples=16)
    counter = Counter(model.policy)
    model.learn(10)
    assert counter.calls["action"] == 5 + model.n_epochs


@pytest.mark.parametrize("kind", SPACES)
def test_every_action_space_trains(kind):
    model = hybrid(LineVecEnv(3, SPACES[kind]), **chosen(kind))
    before = [parameter.clone() for parameter in model.policy.parameters()]
    model.learn(18)
    after = list(model.policy.parameters())
    assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert all(bool(torch.isfinite(parameter).all()) for parameter in after)


@pytest.mark.parametrize(("every", "expected"), [(-1, 1), (1, 1 + 6), (2, 1 + 3), (4, 1 + 2)])
@pytest.mark.parametrize("horizon", [1, 3])
def test_exploration_matrices_change_as_often_as_asked(every, expected, horizon, monkeypatch):
    model = hybrid(LineVecEnv(3), use_sde=True, sde_sample_freq=every, horizon=horizon, n_epochs=1)
    asked, draw = [], model.policy.reset_noise
    monkeypatch.setattr(model.policy, "reset_noise", lambda rows: (asked.append(rows), draw(rows)))
    model.learn(18)
    assert asked == [3 * model.n_samples] * expected


def test_a_path_keeps_its_matrix():
    model = hybrid(LineVecEnv(3, limit=9, edge=90.0), use_sde=True, horizon=6)
    model.train = lambda: None
    model.learn(18)
    policy, rollout = model.policy, model.rollout
    observation, action = (part[0].flatten(1, 2) for part in (rollout.observation, rollout.action))
    matrices = policy.action_dist.exploration_matrices
    assert len(matrices) == 3 * model.n_samples
    with torch.no_grad():
        for step in range(6):
            distribution = policy.get_distribution(observation[step])
            noise = torch.einsum("rf,rfa->ra", distribution._latent_sde, matrices)
            torch.testing.assert_close(action[step], distribution.distribution.mean + noise)
