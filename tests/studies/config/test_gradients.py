"""What the table [gradients] of a study says, and what is refused of it in one line."""

import pytest

from rl_tracking.errors import UsageError
from rl_tracking.studies.config.gradients import Estimator, Ratio
from tests.studies.conftest import TINY_GRADIENTS


def test_a_plan_is_what_the_table_says(tiny):
    study = tiny(text=TINY_GRADIENTS)
    plan = study.gradients
    assert (plan.worlds, plan.steps, plan.rollouts) == (8, 4, 6)
    assert (plan.reference_rollouts, plan.reference_horizon, plan.reference_samples) == (4, 16, 4)
    assert study.checkpoints == (0.0, 0.5)
    assert [(each.name, each.from_start, plan.rollouts_of(each)) for each in plan.estimators] == [
        ("ppo", False, 6),
        ("grpo-episode", True, 3),
    ]
    settings = {"n_samples": 2, "horizon": 0}
    assert plan.estimators[1] == Estimator(
        name="grpo-episode", algo="grpo", settings=settings, from_start=True, rollouts=3
    )
    assert plan.ratios == [
        Ratio(name="noisier", text="PPO is noisier.", of="ppo", to="grpo-episode", at_least=1.5, per="macro_steps")
    ]


def test_a_study_without_the_table_has_no_checkpoints(tiny):
    assert tiny(checked=False).checkpoints == ()


@pytest.mark.parametrize(
    ("old", "new", "hint"),
    [
        ("rollouts = 6", "rollouts = 1", "rollouts must be a whole number of 2 or more, not 1"),
        (
            "worlds = 8",
            "world = 8",
            "unknown key in study 'tiny', [gradients]: 'world'; did you mean 'worlds'?",
        ),
        ("[0.0, 0.5]", "[0.0, 1.5]", "checkpoints must be a list of shares of the run, 0 to 1, not [0.0, 1.5]"),
        ("[0.0, 0.5]", "[0.5, 0.5]", "checkpoints must rise"),
        ("[0.0, 0.5]", "[]", "checkpoints must be a list of shares of the run, 0 to 1, not []"),
        ("n_epochs = 2", "normalize = true", "task 'near': gradients are measured without normalised observations"),
        ('name = "ppo"', 'name = "reference"', "'reference' is what the others are compared with"),
        ('name = "ppo"', 'name = "GRPO-episode"', "there are two estimators 'grpo-episode'"),
        ("n_samples = 1", "num_envs = 1", "[gradients], estimator 'ppo': num_envs is the same for every estimator"),
        ("n_samples = 1", "n_sample = 1", "task 'near', estimator 'ppo': unknown setting 'n_sample'"),
        ('baseline = "none"', 'baseline = "group-mean"', "estimator 'ppo': baseline 'group-mean' needs n_samples of 2"),
        ('algo = "grpo"', 'algo = "ppo"', "estimator 'grpo-episode': algo must be one of groups"),
        ('of = "ppo"', 'of = "pppo"', "ratio 'noisier': 'pppo'; did you mean 'ppo'?"),
        ('of = "ppo"', 'of = "grpo-episode"', "compares 'grpo-episode' with itself"),
        (
            'per = "macro_steps"',
            'per = "seconds"',
            "unknown per in study 'tiny', [gradients], ratio 'noisier': 'seconds'; known: macro_steps, simulator_steps",
        ),
        ("at_least = 1.5", "at_least = 0", "at_least must be a number above 0"),
    ],
)
def test_an_invalid_table_is_refused_in_one_line(tiny, old, new, hint):
    with pytest.raises(UsageError) as refused:
        tiny((old, new), text=TINY_GRADIENTS)
    assert hint in str(refused.value)
    assert "\n" not in str(refused.value)
