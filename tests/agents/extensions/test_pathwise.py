"""Gradients through the world, and their mixture with the score's."""

import warnings

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.distributions import DiagGaussianDistribution, SquashedDiagGaussianDistribution
from stable_baselines3.common.vec_env import VecNormalize

from rl_tracking import HybridGRPO, limits
from rl_tracking.agents.collect.reparameterised import reparameterised
from rl_tracking.agents.extensions.pathwise import MixedSurrogate, PathwiseRollout, PathwiseSurrogate
from rl_tracking.agents.extensions.seams import ScoreSurrogate
from rl_tracking.agents.maths.pathwise import agreement, spread, surrogate
from rl_tracking.errors import SettingWarning, UsageError
from rl_tracking.restoring.protocol import BranchStep, StepGradient
from tests.agents.toys import LineVecEnv, hybrid, logged, one_line, tracking

WORLDS = {
    "drone in wind": {"wind_speed": 2.0, "max_steps": 400},
    "time limit inside": {"reward": "basic", "max_steps": 16, "late": 7},
    "capture ends it": {
        "max_steps": 400,
        "capture_terminates": True,
        "capture_radius": 15.4,
        "spawn": "near",
        "spawn_radius": 18.0,
    },
    "sandbox": {"preset": "sandbox", "whole_units": False, "reward": "basic", "max_steps": 16, "late": 5},
    "sandbox, complex": {"preset": "sandbox", "whole_units": False, "reward": "complex", "max_steps": 400},
}


def pathwise(env=None, **arguments):
    """A small model with gradients through the world and branches that run on for 16 steps."""
    env = tracking(3, max_steps=400) if env is None else env
    values = {"gradient": "pathwise", "horizon": 16, "n_steps": 16, "n_samples": 2, "gamma": 0.9, **arguments}
    return hybrid(env, **values)


def looked_ahead(model):
    """Branches from the present states of a model's worlds as a rollout; nothing is executed."""
    lookahead = model._lookahead_on(model.env)
    observation = model.env.unwrapped.simulator.observation(model.env.unwrapped.get_state()).clone()
    with torch.no_grad():
        decision, _ = lookahead.try_actions(model.policy, observation, model._executable)
        return lookahead.rollout(model.policy, [decision])


def in_float64(model):
    """The same model and worlds with numbers of 64 bits."""
    model.policy.double()
    worlds = model.env.unwrapped
    worlds.set_state(worlds.get_state().map(lambda part: part.double() if part.is_floating_point() else part))
    return model


@torch.no_grad()
def returns_of_branches(model, offset, push):
    """The activated discounted return of each branch ``[N, E]``, step by step, with pushes added to its draws."""
    worlds, gamma = model.env.unwrapped, model.gamma
    state, simulator = worlds.get_state().repeat(model.n_samples), worlds.simulator
    total = torch.zeros(model.n_samples * worlds.num_envs, dtype=torch.float64)
    going, seen = torch.ones_like(total), simulator.observation(state)
    for k in range(model.horizon):
        mean = model.policy.get_distribution(seen).distribution.loc
        draw = mean + (offset[k] + push[k]).flatten(0, 1)
        step = simulator.transition(state, draw.clamp(-1.0, 1.0))
        total += going * gamma**k * torch.tanh(step.reward)
        bootstrap = model.policy.predict_values(step.observation).flatten() * (~step.terminated)
        ends = step.done if k + 1 < model.horizon else torch.ones_like(step.done)
        total += going * ends * gamma ** (k + 1) * bootstrap
        going = going * ~ends
        fresh = simulator.restart(step.after)
        state = fresh.where(step.done, step.after)
        seen = simulator.observation(state)
    return total.view(model.n_samples, -1)


@pytest.mark.parametrize("world", WORLDS)
def test_it_is_the_derivative_of_the_return_of_a_branch(world, monkeypatch):
    # SB3 casts observations to 32 bits.
    monkeypatch.setattr("stable_baselines3.common.policies.preprocess_obs", lambda seen, *_, **__: seen.double())
    given = dict(WORLDS[world])
    late = given.pop("late", 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SettingWarning)  # of terms without a gradient
        model = pathwise(tracking(3, **given), policy_kwargs={"net_arch": [8], "log_std_init": -1.0})
    model.env.reset()
    for _ in range(late):  # so that the time limit falls into the branches
        model.env.step(np.full((3, 3), 0.3, dtype=np.float32))
    model = in_float64(model)
    rollout = looked_ahead(model)
    ended = ~rollout.valid.all()
    assert bool(ended) == (world in ("time limit inside", "capture ends it", "sandbox"))
    assert bool(rollout.terminated[rollout.valid].any()) == (world == "capture ends it")
    gradient = model.surrogate._gradient(rollout)[0]  # [h, N, E, A]
    offset, small = rollout.offset[0], 1e-6
    for k in (0, 1, 7, 8, 15):
        for axis in range(offset.shape[-1]):
            push = torch.zeros_like(offset)
            push[k, ..., axis] = small
            up, down = (returns_of_branches(model, offset, sign * push) for sign in (1.0, -1.0))
            # What is counted from step k on is gamma^-k times the derivative of the root's return.
            expected = (up - down) / (2 * small) / model.gamma**k
            torch.testing.assert_close(gradient[k, ..., axis], expected, rtol=1e-5, atol=2e-7)


def test_the_gradient_changes_no_bit_of_a_rollout():
    rollouts = []
    for kind in ("pathwise", "score"):
        model = pathwise(tracking(3, max_steps=9), gradient=kind, horizon=6)
        model.train = lambda: None
        model.learn(96)  # two rollouts, in the second of which episodes end
        rollouts.append(vars(model.rollout))
    mine, theirs = rollouts
    assert not bool(theirs["valid"].all())
    for name, value in theirs.items():
        assert torch.equal(mine[name], value), name
    assert not any(value.requires_grad for name, value in mine.items() if name != "graph")


@pytest.mark.parametrize("kind", [DiagGaussianDistribution, SquashedDiagGaussianDistribution])
def test_a_draw_has_the_gradient_of_its_mean(kind):
    mean = torch.tensor([[0.3, -0.8], [1.2, 0.1]], dtype=torch.float64, requires_grad=True)
    log_std = torch.tensor([-1.0, 0.2], dtype=torch.float64)
    distribution = kind(2).proba_distribution(mean, log_std.expand(2, 2))
    noise = torch.tensor([[[0.5, -1.0], [0.2, 0.9]]], dtype=torch.float64)
    squash = torch.tanh if kind is SquashedDiagGaussianDistribution else lambda x: x
    action = squash(mean + log_std.exp() * noise)
    drawn = reparameterised(distribution, action.detach())
    assert torch.equal(drawn.action, action.detach())
    weight = torch.tensor([2.0, -3.0], dtype=torch.float64)
    mine, theirs = (torch.autograd.grad((a * weight).sum(), mean)[0] for a in (drawn.action, action))
    torch.testing.assert_close(mine, theirs)
    torch.testing.assert_close(drawn.offset, (log_std.exp() * noise).detach())
    torch.testing.assert_close(drawn.score, (noise / log_std.exp()).detach())


class LinearVecEnv(LineVecEnv):
    """``s' = 0.9 s + 0.5 a`` with the reward ``-(s'^2 + 0.1 a^2)``, written in torch and differentiable."""

    def __init__(self, num_envs=3, *, smooth=True):
        super().__init__(num_envs, spaces.Box(-50.0, 50.0, (1,), np.float32), limit=400, edge=1e9)
        self.smooth = smooth
        self.observation_space = spaces.Box(-100.0, 100.0, (1,), np.float32)

    def fresh(self):
        return Places(torch.full((self.num_envs, 1), 1.5))

    def spawn(self, num_envs):
        return LinearVecEnv(num_envs, smooth=self.smooth)

    def step_gradient(self):
        return StepGradient("the reward", {"cost": self.smooth}, 64)

    def stepped(self, action):
        after = 0.9 * self.state.place + 0.5 * action
        reward = -(after.square() + 0.1 * action.square()).squeeze(-1)
        return after, reward if self.smooth else (reward > -1.0).float()

    def advance_with_gradient(self, action):
        after, reward = self.stepped(action)
        self.state = Places(after)
        never = torch.zeros(self.num_envs, dtype=torch.bool)
        self.last_transition = None
        return BranchStep(after, reward, never, never), after

    def step_branches(self, actions, noise="common"):
        raise NotImplementedError

    def prefetch(self, path):
        pass

    def observe(self, states):
        return states.place.detach().numpy().copy()

    def step_wait(self):
        after, reward = self.stepped(torch.as_tensor(self.actions))
        self.state = Places(after)
        return self.observe(self.state), reward.numpy(), np.zeros(self.num_envs, dtype=bool), [{}] * self.num_envs


class Places:
    """Points on a line ``[E, 1]``."""

    def __init__(self, place):
        self.place = place

    def __len__(self):
        return len(self.place)

    def repeat(self, n):
        return Places(self.place.repeat(n, 1))


def linear(gain, sigma, **arguments):
    """A model whose policy is ``a = gain s + sigma eps`` in the linear world."""
    model = pathwise(
        LinearVecEnv(arguments.pop("worlds", 4), smooth=arguments.pop("smooth", True)),
        **{"gamma": 1.0, "reward_activation": "identity", "normalize_advantage": False, "vf_coef": 0.0, **arguments},
        policy_kwargs={"net_arch": [], "log_std_init": float(np.log(sigma))},
    )
    with torch.no_grad():
        model.policy.action_net.weight.fill_(gain)
        model.policy.action_net.bias.zero_()
        model.policy.value_net.weight.zero_()
        model.policy.value_net.bias.zero_()
    return model


def expected_return(gain, sigma, steps=16):
    """Of the linear world in closed form: the second moment of the state follows a recursion."""
    moment, total = 1.5**2, 0.0
    for _ in range(steps):
        of_action = gain**2 * moment + sigma**2
        moment = (0.9 + 0.5 * gain) ** 2 * moment + 0.25 * sigma**2
        total -= moment + 0.1 * of_action
    return total


def policy_gradient(model):
    """dJ/d gain of the latest rollout: minus the loss's, which is a mean over 16 steps."""
    model.train = lambda: None
    model.learn(1)
    loss, _ = model._policy_loss(*_evaluated(model))
    (found,) = torch.autograd.grad(loss, model.policy.action_net.weight)
    return -16 * float(found)


def _evaluated(model):
    from rl_tracking.agents.collect.batches import evaluate_samples

    batch = model._samples(model.rollout, model.estimate(model.rollout))
    return evaluate_samples(model.policy, batch, critic=False), batch


@pytest.mark.parametrize("gradient", ["pathwise", "mixed"])
def test_it_is_the_exact_gradient_of_a_linear_quadratic_world(gradient):
    gain, sigma, small = -0.6, 0.05, 1e-5
    exact = (expected_return(gain + small, sigma) - expected_return(gain - small, sigma)) / (2 * small)
    model = linear(gain, sigma, gradient=gradient, worlds=64, n_samples=16, baseline="group-mean")
    assert policy_gradient(model) == pytest.approx(exact, rel=0.02)


def test_without_noise_it_is_exact():
    exact = (expected_return(-0.6 + 1e-5, 0.0) - expected_return(-0.6 - 1e-5, 0.0)) / 2e-5
    assert policy_gradient(linear(-0.6, 1e-6, n_samples=1)) == pytest.approx(exact, rel=1e-4)


def test_the_share_is_near_1_where_the_pathwise_variance_is_small():
    model = linear(-0.6, 0.05, gradient="mixed", worlds=8, n_samples=8)
    policy_gradient(model)
    assert model.surrogate.figures["pathwise_share"] > 0.9


def test_a_reward_without_a_gradient_is_the_scores():
    found = {}
    for kind in ("mixed", "score"):
        model = linear(-0.6, 0.3, gradient=kind, smooth=False, n_samples=4)
        assert type(model.surrogate) is ScoreSurrogate
        found[kind] = policy_gradient(model)
    assert found["mixed"] == found["score"]
    assert found["score"] != 0.0


def test_a_critic_that_knows_nothing_of_the_actions_gets_no_share(monkeypatch):
    """The gradient of V alone has little variance; what it says of the branches is wrong half of the time."""
    # Else a reward without a gradient is the score's alone.
    monkeypatch.setattr("rl_tracking.envs.vec_env.step_gradient", lambda *_: StepGradient("it", {"a": True}, 64))
    shares = []
    for seed in range(8):
        model = pathwise(
            tracking(8, reward="sparse", spawn="at-target", max_steps=60), gradient="mixed", n_samples=4, seed=seed
        )
        assert model.critic_weight.share == 1.0
        model.train = lambda: None
        model.learn(1)
        model._samples(model.rollout, model.estimate(model.rollout))
        shares.append(model.surrogate.figures["pathwise_share"])
    assert np.mean(shares) < 0.6


def test_one_epoch_of_one_minibatch_is_back_propagation_through_time():
    """The gradient of the loss is that of the return itself, differentiated through policy and world at once."""
    model = linear(-0.6, 0.2, n_samples=3, baseline="none")
    found = policy_gradient(model)
    gain = model.policy.action_net.weight
    place = torch.full((3, 4, 1), 1.5)
    total = 0.0
    for offset in model.rollout.offset[0]:
        action = place @ gain.T + offset
        place = 0.9 * place + 0.5 * action
        total = total - (place.square() + 0.1 * action.square()).mean()
    (expected,) = torch.autograd.grad(total, gain)
    assert found == pytest.approx(float(expected), rel=1e-4)


def test_score_is_the_training_without_it():
    models = []
    for given in ({"gradient": "score"}, {}):
        models.append(hybrid(horizon=3, **given).learn(48))
        assert type(models[-1].surrogate) is ScoreSurrogate
    for a, b in zip(*(model.policy.parameters() for model in models), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("gradient", ["pathwise", "mixed"])
def test_it_learns_and_is_logged_saved_and_resumed(gradient, tmp_path):
    whole = pathwise(gradient=gradient, horizon=4, n_steps=8)
    *_, last = logged(whole, 48)
    assert 0.0 <= last["train/pathwise_share"] <= 1.0
    half = pathwise(gradient=gradient, horizon=4, n_steps=8).learn(24)
    half.save(tmp_path / "half.zip", resume=True)
    again = HybridGRPO.load(tmp_path / "half.zip", tracking(3, max_steps=400), device="cpu")
    assert type(again.surrogate) is (MixedSurrogate if gradient == "mixed" else PathwiseSurrogate)
    again.learn(24, reset_num_timesteps=False)
    for a, b in zip(whole.policy.parameters(), again.policy.parameters(), strict=True):
        assert torch.equal(a, b)


def test_branches_of_one_step_have_it_too():
    model = pathwise(horizon=1, n_steps=4)
    model.learn(12)
    assert isinstance(model.rollout, PathwiseRollout)
    assert float(model.surrogate._gradient(model.rollout).abs().max()) > 0


def test_spread_and_agreement_by_hand():
    g = torch.tensor([[1.0, 0.0], [3.0, 4.0]]).view(1, 1, 2, 1, 2)
    valid = torch.ones(1, 1, 2, 1, dtype=torch.bool)
    assert spread(g, valid).tolist() == [10.0]  # 2 * (1 + 4) around the mean, one degree of freedom
    assert spread(g, valid & torch.tensor([True, False]).view(1, 1, 2, 1)).tolist() == [0.0]
    a = torch.tensor([1.0, 2.0, 3.0]).view(1, 1, 3, 1)
    three = torch.ones(1, 1, 3, 1, dtype=torch.bool)
    # Correlation 1 with two degrees of freedom: erf(sqrt(2) / sqrt(2)).
    assert float(agreement(a, 5.0 * a, three)) == pytest.approx(0.8427008)
    assert float(agreement(a, -a, three)) == 0.0
    assert float(agreement(a, torch.ones_like(a), three)) == 0.0
    assert float(agreement(a, torch.tensor([0.0, 3.0, 0.0]).view(1, 1, 3, 1), three)) == 0.0


def test_a_sample_that_moved_too_far_has_no_gradient():
    drawn = torch.tensor([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6], [0.7, 0.8]], dtype=torch.float64, requires_grad=True)
    x = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]], dtype=torch.float64)
    log_rho = torch.tensor([0.1, 0.5, -0.5, -0.5], dtype=torch.float64)
    linear_gain = torch.tensor([1.0, 1.0, -1.0, 1.0], dtype=torch.float64)
    loss = surrogate(log_rho, x, drawn, linear_gain, 0.2)
    (found,) = torch.autograd.grad(loss, drawn)
    expected = -x * log_rho.exp().unsqueeze(-1) / 4
    expected[1:3] = 0.0
    torch.testing.assert_close(found, expected)
    assert float(loss.detach()) == 0.0


REFUSED = {
    "no torch world": (lambda: hybrid(LineVecEnv(), gradient="mixed"), "can be differentiated"),
    "choices": (lambda: hybrid(LineVecEnv(action_space=spaces.Discrete(3)), gradient="mixed"), "can be differentiated"),
    "unknown": (lambda: hybrid(gradient="scor"), "did you mean 'score'"),
    "no gradient": (
        lambda: pathwise(tracking(reward="sparse", max_steps=400)),
        "reward 'sparse' has none in its terms (in_radius)",
    ),
    "gSDE": (lambda: pathwise(use_sde=True), "without use_sde"),
    "wrapped": (
        lambda: pathwise(VecNormalize(tracking(max_steps=400))),
        "needs its environment without a wrapper such as VecNormalize",
    ),
    "one branch": (lambda: pathwise(gradient="mixed", n_samples=1), "needs n_samples of 2 or more, not 1"),
    "guided": (lambda: pathwise(n_candidates=4), "has no use for guided sampling"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_differentiated_is_refused_in_one_line(case):
    build, said = REFUSED[case]
    with pytest.raises(UsageError) as caught:
        build()
    assert said in one_line(caught)


class Choosing(LinearVecEnv):
    """The linear world with three actions to choose from."""

    def __init__(self, num_envs=3, *, smooth=True):
        super().__init__(num_envs, smooth=smooth)
        self.action_space = spaces.Discrete(3)


def test_choices_have_no_gradient():
    with pytest.raises(UsageError, match="needs actions of a Box, and these are of Discrete"):
        hybrid(Choosing(), gradient="mixed")


def test_a_graph_that_does_not_fit_is_refused(monkeypatch):
    monkeypatch.setattr(limits, "available", lambda device="cpu": 3_000_000)
    with pytest.raises(UsageError) as caught:
        pathwise(tracking(64, max_steps=400), horizon=2, policy_kwargs={"net_arch": [256, 256]})
    text = one_line(caught)
    assert "roots=8 x horizon=2 x n_samples=2 x num_envs=64" in text
    assert "GiB" in text


def test_terms_without_a_gradient_are_named():
    with pytest.warns(SettingWarning, match=r"does not see .* 'complex' .*captured, collision"):
        pathwise(tracking(4, preset="sandbox", reward="complex", max_steps=400))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pathwise(tracking(4, preset="sandbox", reward="complex", max_steps=400), gradient="mixed")


def test_a_mixture_becomes_the_score_where_the_reward_has_no_gradient():
    model = pathwise(gradient="mixed")
    assert type(model.surrogate) is MixedSurrogate
    model.set_env(tracking(3, max_steps=400, reward="sparse"))
    assert type(model.surrogate) is ScoreSurrogate
    model.learn(48)


def test_a_recipe_brings_what_its_policy_needs():
    model = HybridGRPO("MlpPolicy", tracking(3, max_steps=400), recipe="pathwise", device="cpu")
    assert (model.gradient, model.horizon) == ("pathwise", 8)
    assert float(model.policy.log_std.detach().mean()) == -1.0
    given = {"log_std_init": -2.0}
    model = HybridGRPO("MlpPolicy", tracking(3, max_steps=400), recipe="pathwise", device="cpu", policy_kwargs=given)
    assert float(model.policy.log_std.detach().mean()) == -2.0


def test_a_world_without_a_gradient_is_refused_when_it_is_changed():
    model = pathwise()
    with pytest.raises(UsageError, match="reward 'sparse' has none"):
        model.set_env(tracking(3, max_steps=400, reward="sparse"))
