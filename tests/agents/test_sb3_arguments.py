"""Arguments of PPO and what its callbacks see: honoured, or refused in one line."""

import inspect
import math

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.buffers import DictRolloutBuffer, RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback

from rl_tracking import GRPO, HybridGRPO
from rl_tracking.agents.saving.checkpoint import read_description
from rl_tracking.errors import UsageError
from tests.agents.toys import SMALL, LineVecEnv, PartsVecEnv, one_line, plain_arguments

WORLDS, STEPS = 2, 6
WAYS = {
    "one step": (HybridGRPO, {"n_samples": 3}),
    "horizon": (HybridGRPO, {"n_samples": 3, "horizon": 3}),
    "guided": (HybridGRPO, {"n_samples": 3, "n_candidates": 5, "use_sde": True}),
    "grpo": (GRPO, {"n_samples": 3, "horizon": 3}),
    "ppo": (PPO, {}),
}


def made(kind, env=None, policy="MlpPolicy", **arguments):
    values = {"n_steps": STEPS, "batch_size": STEPS * WORLDS, "n_epochs": 1, "seed": 3, "device": "cpu"}
    env = LineVecEnv(WORLDS, limit=4, edge=9.0) if env is None else env
    return kind(policy, env, **{"policy_kwargs": SMALL, **plain_arguments(kind), **values, **arguments})


# -- what callbacks see ----------------------------------------------------------------------------------------------


class Looking(BaseCallback):
    """Keeps the local variables of SB3's loop."""

    def __init__(self):
        super().__init__()
        self.steps = []

    def _on_step(self):
        self.steps.append(dict(self.locals))
        return True


NAMES = set(
    "self env callback rollout_buffer n_rollout_steps n_steps obs_tensor actions values log_probs clipped_actions "
    "new_obs rewards dones infos".split()
)
SPACES = {
    "a line": None,
    "a row": spaces.Box(-0.2, 0.1, (1, 2), np.float32),
    "discrete": spaces.Discrete(3),
    "several": spaces.MultiDiscrete([2, 3]),
}


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("way", WAYS)
def test_callbacks_find_the_local_variables_of_ppo(way, name):
    kind, arguments = WAYS[way]
    if "use_sde" in arguments and not isinstance(SPACES[name], spaces.Box | None):
        arguments = {**arguments, "use_sde": False}
    looking, theirs = Looking(), Looking()
    model = made(kind, LineVecEnv(WORLDS, SPACES[name], limit=4, edge=9.0), **arguments)
    model.learn(STEPS * WORLDS, callback=looking)
    made(PPO, LineVecEnv(WORLDS, SPACES[name], limit=4, edge=9.0)).learn(STEPS * WORLDS, callback=theirs)
    assert [step["n_steps"] for step in looking.steps] == list(range(STEPS))
    for mine, other in zip(looking.steps, theirs.steps, strict=True):
        assert set(mine) >= NAMES
        for each in NAMES - {"self", "env", "callback", "rollout_buffer", "n_rollout_steps", "n_steps", "infos"}:
            assert type(mine[each]) is type(other[each]), each
            assert mine[each].shape == other[each].shape, each
            assert mine[each].dtype == other[each].dtype, each
        # The action that was executed is the sampled one within the bounds, and what was said of it is so.
        space = model.action_space
        within = mine["actions"]
        if isinstance(space, spaces.Box):
            within = np.clip(within, space.low, space.high)
        np.testing.assert_array_equal(mine["clipped_actions"], within)
        assert not mine["values"].requires_grad


@pytest.mark.parametrize("way", ["one step", "horizon"])
def test_a_callback_that_changes_rewards_is_refused_with_the_right_place(way):
    class Bonus(Looking):
        def _on_step(self):
            self.locals["rewards"] += 1.0
            return True

    kind, arguments = WAYS[way]
    with pytest.raises(UsageError, match=r"a callback has changed the rewards of a step; .* a wrapper around"):
        made(kind, LineVecEnv(WORLDS, None, limit=4, edge=9.0), **arguments).learn(STEPS * WORLDS, callback=Bonus())


@pytest.mark.parametrize("way", ["one step", "horizon", "guided", "ppo"])
def test_values_and_log_probabilities_are_of_the_executed_step(way):
    kind, arguments = WAYS[way]
    looking, evaluated = Looking(), []

    class Evaluating(Looking):
        def _on_step(self):
            with torch.no_grad():
                observation, action = self.locals["obs_tensor"], torch.as_tensor(self.locals["actions"])
                evaluated.append(self.model.policy.evaluate_actions(observation, action))
            return super()._on_step()

    looking = Evaluating()
    model = made(kind, **arguments)
    model.learn(STEPS * WORLDS, callback=looking)
    before = model.env.reset()
    np.testing.assert_allclose(looking.steps[0]["obs_tensor"], before)
    for step, (value, log_prob, _) in zip(looking.steps, evaluated, strict=True):
        torch.testing.assert_close(step["values"], value)
        torch.testing.assert_close(step["log_probs"], log_prob)
    for step, following in zip(looking.steps, looking.steps[1:], strict=False):
        np.testing.assert_array_equal(following["obs_tensor"], step["new_obs"])


def test_dicts_are_shown_as_dicts():
    looking = Looking()
    made(HybridGRPO, PartsVecEnv(WORLDS), "MultiInputPolicy", horizon=3, n_samples=2).learn(12, callback=looking)
    assert {name: part.shape[0] for name, part in looking.steps[1]["obs_tensor"].items()} == {"place": 2, "step": 2}


# -- the optimiser ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [HybridGRPO, GRPO])
@pytest.mark.parametrize(
    "arguments",
    [
        {"fused": True},
        {"foreach": False},
        {"differentiable": True},
        {"weight_decay": 0.1, "eps": 1e-3},
        {"amsgrad": True},
    ],
)
def test_the_arguments_of_the_optimiser_are_the_users(kind, arguments, tmp_path):
    model = made(kind, policy_kwargs={**SMALL, "optimizer_kwargs": dict(arguments)}, n_samples=2)
    for group in model.policy.optimizer.param_groups:
        assert {name: group[name] for name in arguments} == arguments
    if "differentiable" not in arguments:  # which plain leaf parameters do not allow, in PPO neither
        model.learn(24)
    model.save(tmp_path / "model.zip")
    again = kind.load(tmp_path / "model.zip", device="cpu")
    for group in again.policy.optimizer.param_groups:
        assert {name: group[name] for name in arguments} == arguments


@pytest.mark.parametrize("optimiser", [torch.optim.SGD, torch.optim.RMSprop, torch.optim.LBFGS])
def test_another_class_of_optimiser(optimiser):
    model = made(HybridGRPO, policy_kwargs={**SMALL, "optimizer_class": optimiser, "optimizer_kwargs": {}}, n_samples=2)
    assert type(model.policy.optimizer) is optimiser
    assert "foreach" not in inspect.signature(torch.optim.LBFGS).parameters
    if optimiser is not torch.optim.LBFGS:  # whose step needs a closure, in PPO too
        model.learn(24)


@pytest.mark.parametrize("kind", [HybridGRPO, GRPO, PPO])
def test_an_infinite_gradient_norm_clips_nothing_and_is_saved(kind, tmp_path):
    model = made(kind, max_grad_norm=math.inf)
    model.learn(24)
    if kind is PPO:
        return
    model.save(tmp_path / "model.zip")
    assert read_description(tmp_path / "model.zip")["algorithm"] == kind.__name__
    again = kind.load(tmp_path / "model.zip", env=LineVecEnv(WORLDS, limit=4, edge=9.0), device="cpu")
    assert again.max_grad_norm == math.inf
    again.learn(24)


# -- the rollout buffer -----------------------------------------------------------------------------------------------


class OwnBuffer(RolloutBuffer):
    """A user's own."""


@pytest.mark.parametrize("kind", [HybridGRPO, GRPO])
def test_a_rollout_buffer_of_ones_own_is_refused_in_one_line(kind):
    with pytest.raises(UsageError, match=f"{kind.__name__} takes no rollout_buffer_class") as caught:
        made(kind, rollout_buffer_class=OwnBuffer)
    one_line(caught)
    with pytest.raises(UsageError, match="takes no rollout_buffer_kwargs"):
        made(kind, rollout_buffer_kwargs={"gamma": 0.5})
    for standard in (None, RolloutBuffer, DictRolloutBuffer):
        made(kind, rollout_buffer_class=standard, rollout_buffer_kwargs=None)


def test_reading_the_rollout_buffer_is_an_error_that_names_the_rollout(tmp_path):
    model = made(HybridGRPO, n_samples=2).learn(12)
    with pytest.raises(UsageError, match=r"rollout_buffer.rewards: .* see model.rollout") as caught:
        model.rollout_buffer.rewards.mean()
    one_line(caught)
    model.save(tmp_path / "model.zip")
    again = HybridGRPO.load(tmp_path / "model.zip", env=LineVecEnv(WORLDS), device="cpu").learn(12)
    assert again.num_timesteps == 12
    ppo = PPO.load(tmp_path / "model.zip", env=LineVecEnv(WORLDS), device="cpu")
    assert type(ppo.rollout_buffer) is RolloutBuffer
    ppo.learn(12)
