"""TRPO is sb3-contrib's own: that it can be set, built and run from here as the others are."""

import numpy as np
import pytest
import torch
from sb3_contrib import TRPO

from rl_tracking import load_policy
from rl_tracking.agents.arguments import settable
from rl_tracking.errors import UsageError
from rl_tracking.runs.build import build
from rl_tracking.runs.settings import resolve
from rl_tracking.runs.train import train
from tests.agents.toys import one_line

TINY = ["num_envs=4", "n_steps=8", "batch_size=32", "max_steps=10", "net_arch=[16]"]


def settings(*pairs, steps=96, **given):
    return resolve(given={"algo": "trpo", "steps": steps, **given}, pairs=[*TINY, *pairs])


def test_a_run_writes_its_folder(tmp_path):
    result = train(settings(), tmp_path / "run", episodes=5)
    assert {"checkpoint.zip", "config.toml", "metrics.csv"} <= {file.name for file in (tmp_path / "run").iterdir()}
    assert (result.macro_steps, result.simulator_steps) == (96, 96)
    assert result.evaluations[0]["policy"] == "TRPO"
    assert resolve(file=tmp_path / "run" / "config.toml") == settings()
    model = TRPO.load(result.path)
    assert model.num_timesteps == 96
    policy = load_policy(result.path)
    assert policy.description["algorithm"] == "TRPO"
    seen = np.random.default_rng(0).normal(size=(9, *model.observation_space.shape)).astype(np.float32)
    np.testing.assert_array_equal(
        policy.predict(seen, deterministic=True)[0], model.predict(seen, deterministic=True)[0]
    )


def test_it_learns_within_its_trust_region():
    model = build(settings("target_kl=0.02"))
    before = [parameter.detach().clone() for parameter in model.policy.parameters()]
    model.learn(64)
    assert any(not torch.equal(a, b) for a, b in zip(model.policy.parameters(), before, strict=True))
    assert 0 < model.logger.name_to_value["train/kl_divergence_loss"] <= 0.02


def test_arguments_of_trpo():
    known = settable("trpo")
    assert {"cg_max_steps", "target_kl", "n_critic_updates", "gae_lambda", "batch_size", "net_arch"} <= set(known)
    assert not {"n_epochs", "clip_range", "ent_coef", "n_samples", "env", "seed", "verbose"} & set(known)
    assert len(known) == len(set(known))
    model = build(settings("cg_max_steps=3", "n_critic_updates=2", "line_search_max_iter=4"))
    assert (model.cg_max_steps, model.n_critic_updates, model.line_search_max_iter) == (3, 2, 4)


@pytest.mark.parametrize("preset", ["drone", "sandbox"])
def test_its_defaults_resolve_and_build(preset):
    chosen = resolve(given={"algo": "trpo", "preset": preset, "num_envs": 4})
    assert set(chosen.arguments) <= set(settable("trpo"))
    assert isinstance(build(chosen), TRPO)


@pytest.mark.parametrize(
    ("pairs", "text"),
    [
        (["n_epochs=3"], "trpo has no n_epochs, hybrid-grpo, grpo and ppo have"),
        (["n_samples=3"], "trpo has no n_samples, hybrid-grpo and grpo have"),
        (["cg_max_step=3"], "unknown setting 'cg_max_step'; did you mean 'cg_max_steps'"),
        (["target_kl=-1"], "target_kl must be a number of 0 or more, not -1"),
        (["gamma=2"], "gamma must be a number from 0 to 1, not 2"),
    ],
)
def test_bad_settings_are_refused_in_one_line(pairs, text):
    with pytest.raises(UsageError, match=text) as caught:
        build(settings(*pairs))
    one_line(caught)
