"""A study whose cells take a second, and what tests change of it."""

import json

import pytest

from rl_tracking.studies.config import reading

TINY = """
title = "Tiny"
question = "Does it run?"
seeds = 2
[budget]
macro_steps = 256
[evaluation]
points = 2
episodes = 3
[[tasks]]
name = "near"
scenario = "pursuit"
parameters = { reward = "progress", max_steps = 20 }
metric = "time_in_radius"
threshold = 0.5
[[variants]]
name = "hybrid"
algo = "hybrid-grpo"
settings = { n_samples = 2, num_envs = 4, n_steps = 16, batch_size = 64, n_epochs = 1, horizon = 1 }
[[variants]]
name = "ppo"
algo = "ppo"
settings = { num_envs = 4, n_steps = 16, batch_size = 32, n_epochs = 1 }
[[claims]]
name = "fewer"
text = "Hybrid GRPO needs fewer macro-steps."
measure = "macro_steps_to_threshold"
variant = "hybrid"
than = "ppo"
better = "lower"
"""

TINY_GRADIENTS = """
title = "Tiny"
question = "Does it run?"
seeds = 1
[budget]
macro_steps = 512
[evaluation]
points = 1
episodes = 3
[[tasks]]
name = "near"
scenario = "pursuit"
parameters = { reward = "progress", max_steps = 20 }
[[variants]]
name = "hybrid"
algo = "hybrid-grpo"
[variants.settings]
gamma = 0.5
reward_activation = "identity"
num_envs = 8
n_steps = 32
horizon = 1
n_epochs = 2
[gradients]
worlds = 8
steps = 4
rollouts = 6
reference_rollouts = 4
reference_horizon = 16
reference_samples = 4
checkpoints = [0.0, 0.5]
[[gradients.estimators]]
name = "ppo"
algo = "hybrid-grpo"
settings = { n_samples = 1, horizon = 1, gae_lambda = 0.9, baseline = "none" }
[[gradients.estimators]]
name = "grpo-episode"
algo = "grpo"
settings = { n_samples = 2, horizon = 0 }
from_start = true
rollouts = 3
[[gradients.ratios]]
name = "noisier"
text = "PPO is noisier."
of = "ppo"
to = "grpo-episode"
at_least = 1.5
per = "macro_steps"
"""


@pytest.fixture
def tiny():
    """The tiny study, or another text, with parts replaced; each has to be there."""

    def make(*changes, checked=True, name="tiny", text=TINY):
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        study = reading.parse(text, name)
        if checked:
            reading.check(study)
        return study

    return make


def records(path):
    """The lines of a file of results."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def timeless(path):
    """The same without what no two runs share."""
    return [{name: value for name, value in record.items() if name != "seconds"} for record in records(path)]
