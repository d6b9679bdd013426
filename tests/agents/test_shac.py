"""SHAC: a short horizon through the world, closed with a target critic."""

import numpy as np
import pytest
import torch
from gymnasium import spaces

from rl_tracking import SHAC
from rl_tracking.agents.maths import estimators
from rl_tracking.errors import UsageError
from tests.agents.toys import LineVecEnv, logged, one_line, tracking


def shac(env=None, **arguments):
    """A small model that learns within milliseconds."""
    env = tracking(3, max_steps=20) if env is None else env
    values = {
        "learning_rate": 1e-3,
        "n_steps": 8,
        "batch_size": 12,
        "n_critic_updates": 2,
        "seed": 0,
        "gamma": 0.9,
        "gae_lambda": 0.8,
    }
    return SHAC("MlpPolicy", env, device="cpu", **{**values, "policy_kwargs": {"net_arch": [16]}, **arguments})


def rolled_out(**arguments):
    """A model with a rollout that it has not learned from; episodes end in it."""
    model = shac(tracking(3, max_steps=11), **arguments)
    model.train = lambda: None
    model.learn(48)
    return model


def test_td_lambda_by_hand_and_its_limits():
    r = torch.tensor([[1.0], [2.0], [4.0]], dtype=torch.float64)
    after = torch.tensor([[10.0], [20.0], [30.0]], dtype=torch.float64)
    no, cut = torch.zeros(3, 1), torch.tensor([[0.0], [1.0], [0.0]])
    # From the end: 4 + .5 * 30 = 19; 2 + .5 (.75 * 20 + .25 * 19) = 11.875; 1 + .5 (.75 * 10 + .25 * 11.875).
    found = estimators.td_lambda(r, after, no, no, 0.5, 0.25)
    assert found.flatten().tolist() == pytest.approx([6.234375, 11.875, 19.0])
    # A truncation bootstraps from the final state and lets nothing through; a termination has no future.
    assert estimators.td_lambda(r, after, no, cut, 0.5, 1.0).flatten().tolist() == pytest.approx([7.0, 12.0, 19.0])
    assert estimators.td_lambda(r, after, cut, cut, 0.5, 1.0).flatten().tolist() == pytest.approx([2.0, 2.0, 19.0])
    one_step = estimators.td_lambda(r, after, no, no, 0.5, 0.0)
    assert one_step.flatten().tolist() == pytest.approx([6.0, 12.0, 19.0])


def test_targets_are_those_of_the_target_critic():
    model = rolled_out()
    with torch.no_grad():
        model._target.value_net.bias.fill_(3.0)
    model.learn(48)
    rollout = model.rollout
    assert not bool(rollout.valid.all())
    # The value of a state is the critic's, that of the state reached the target's.
    between = (rollout.next_value[0, :-1] - rollout.value[0, 1:])[~rollout.episode_end[0, :-1]]
    assert float(between.mean()) == pytest.approx(3.0, abs=1e-4)
    estimate = model.estimate(rollout)
    last = rollout.reward[0, -1] + 0.9 * rollout.next_value[0, -1]
    torch.testing.assert_close(estimate.value_target[0, -1], last)
    torch.testing.assert_close(rollout.graph.value[0], _closing(rollout))


def _closing(rollout):
    last = rollout.valid[0].sum(dim=0) - 1
    return rollout.next_value[0].gather(0, last.unsqueeze(0)).squeeze(0)


def test_the_actor_follows_the_return_of_the_root():
    """Step k counts gamma^k, as in the return that is differentiated."""
    gradients = []
    for discounted in (True, False):
        model = rolled_out()
        model.surrogate._discounted = discounted
        gradients.append(model.surrogate._gradient(model.rollout)[0])
    decay = 0.9 ** torch.arange(8.0).view(-1, 1, 1, 1)
    torch.testing.assert_close(gradients[0], decay * gradients[1])
    assert float(gradients[0].abs().min(dim=-1).values.max()) > 0


def test_the_target_moves_by_tau_and_only_the_actor_steps_once():
    model = shac(tau=0.25)
    before = [part.detach().clone() for part in model._target.parameters()]
    model.learn(24)
    for old, target, new in zip(before, model._target.parameters(), model.policy.parameters(), strict=True):
        torch.testing.assert_close(target, 0.75 * old + 0.25 * new)
    steps = {name: model.policy.optimizer.state[part]["step"] for name, part in model.policy.named_parameters()}
    assert steps["action_net.weight"] == 1
    assert steps["value_net.weight"] == 4  # two passes of two minibatches


def test_it_is_logged_saved_and_resumed(tmp_path):
    whole = shac()
    *_, last = logged(whole, 96)
    assert last["train/critic_loss"] > 0
    half = shac().learn(48)
    half.save(tmp_path / "half.zip", resume=True)
    again = SHAC.load(tmp_path / "half.zip", tracking(3, max_steps=20), device="cpu")
    again.learn(48, reset_num_timesteps=False)
    for mine, theirs in ((whole.policy, again.policy), (whole._target, again._target)):
        for a, b in zip(mine.parameters(), theirs.parameters(), strict=True):
            assert torch.equal(a, b)
    acting = SHAC.load(tmp_path / "half.zip", device="cpu")
    assert acting.predict(np.zeros(18, dtype=np.float32))[0].shape == (3,)


REFUSED = {
    "no torch world": (lambda: shac(LineVecEnv()), "shac needs an environment that can be differentiated"),
    "choices": (lambda: shac(LineVecEnv(action_space=spaces.Discrete(3))), "can be differentiated"),
    "no gradient": (lambda: shac(tracking(reward="sparse", max_steps=20)), "reward 'sparse' has none"),
    "gSDE": (lambda: shac(use_sde=True), "without use_sde"),
    "no argument": (lambda: shac(n_samples=4), "n_samples"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_it_cannot_learn_from_is_refused_in_one_line(case):
    build, said = REFUSED[case]
    with pytest.raises(UsageError) as caught:
        build()
    assert said in one_line(caught)
