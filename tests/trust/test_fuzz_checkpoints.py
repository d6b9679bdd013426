"""Damaged checkpoints are refused in one line or do what whole ones do: nothing is run, quickly, in little memory."""

import warnings

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecNormalize

from rl_tracking import evaluate, load_policy
from rl_tracking.agents.saving import checkpoint
from rl_tracking.agents.saving.checkpoint import read_description
from rl_tracking.errors import UsageError
from rl_tracking.runs.build import build
from rl_tracking.runs.settings import resolve
from rl_tracking.runs.shipped import shipped_checkpoints
from rl_tracking.runs.tasks import task_of
from tests.agents.toys import ScenesVecEnv, hybrid, tracking
from tests.trust.damage import Content, damaged_checkpoints
from tests.trust.watching import Watch

LONGEST = 1000  # steps of an episode that is flown


def saved(folder):
    """Checkpoints of many kinds, as bytes."""
    models = {
        "pursuit": hybrid(VecNormalize(tracking())),
        "cartpole": build(
            resolve(given={"algo": "ppo", "env": "CartPole-v1"}, values={"num_envs": 2, "n_steps": 8, "batch_size": 8})
        ),
        "scenes": PPO(
            "MultiInputPolicy", ScenesVecEnv(), n_steps=4, batch_size=12, policy_kwargs={"net_arch": [8]}, device="cpu"
        ),
    }
    for name, model in models.items():
        checkpoint.save(model, folder / f"{name}.zip")
    files = [*(folder / f"{name}.zip" for name in models), *shipped_checkpoints().values()]
    return [Content(file.read_bytes()) for file in files]


def use(path):
    """All that a checkpoint is read for."""
    read_description(path)
    policy = load_policy(path)
    policy.predict(policy.observation_space.sample(), deterministic=True)
    if (task_of(policy).max_steps or 0) <= LONGEST:
        evaluate(policy, 1)


def fuzz(contents, path, examples, *, derandomize):
    watch = Watch()

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=derandomize,
        phases=[Phase.generate],  # the file that failed is still there: nothing needs to be shrunk
        suppress_health_check=list(HealthCheck),
    )
    @given(st.sampled_from(contents).flatmap(damaged_checkpoints))
    def run(content):
        path.write_bytes(content.data)
        with watch.reading(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # which say of settings that they are unwise
            try:
                use(path)
            except UsageError as error:
                watch.refused += 1
                assert "\n" not in str(error)  # noqa: PT017

    run()
    watch.report("checkpoints")
    assert watch.count >= examples
    assert watch.refused > examples // 2


def test_damaged_checkpoints(evil):
    fuzz(saved(evil), evil / "x.zip", 80, derandomize=True)


@pytest.mark.slow
def test_many_damaged_checkpoints(evil):
    fuzz(saved(evil), evil / "x.zip", 5000, derandomize=False)
