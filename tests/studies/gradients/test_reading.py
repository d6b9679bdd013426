"""What the file of a gradient study says, and what is refused of it in one line."""

import pytest

from rl_tracking.errors import UsageError
from rl_tracking.studies.gradients import reading as reading
from rl_tracking.studies.gradients.spec import Estimator, Place, Plan, Ratio, Training
from rl_tracking.studies.gradients.training import settings_of
from tests.studies.conftest import TINY_GRADIENTS


def _study(*changes):
    text = TINY_GRADIENTS
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    study = reading.parse(text, "tiny")
    reading.check(study)
    return study


def test_a_study_is_what_its_file_says():
    study = _study()
    assert study.plan == Plan(8, 4, 6, 4, 16, 4)
    assert study.checkpoints == (0.0, 0.5)
    assert study.training == Training("hybrid-grpo", 512, 0, study.training.settings)
    assert study.tasks == (Place("near", "pursuit", {"reward": "progress", "max_steps": 20}),)
    assert [(each.name, each.from_start, study.rollouts_of(each)) for each in study.estimators] == [
        ("ppo", False, 6),
        ("grpo-episode", True, 3),
    ]
    assert study.estimators[1] == Estimator("grpo-episode", "grpo", {"n_samples": 2, "horizon": 0}, True, 3)
    assert study.ratios == (Ratio("noisier", "PPO is noisier.", "ppo", "grpo-episode", 1.5, "macro_steps"),)


def test_a_task_has_settings_of_the_training_run_there():
    study = _study(("max_steps = 20 }", "max_steps = 20 }\nsettings = { gamma = 0.25, n_steps = 8 }"))
    settings = settings_of(study, study.tasks[0])
    assert (settings.arguments["gamma"], settings.arguments["n_steps"]) == (0.25, 8)
    assert settings.num_envs == 8, "which the training says for every task"


def test_every_shipped_study_is_sound():
    assert "pursuit-gradients" in reading.shipped()
    for path in reading.shipped().values():
        assert reading.load(path).estimators


@pytest.mark.parametrize(
    ("old", "new", "hint"),
    [
        ("rollouts = 6", "rollouts = 1", "rollouts must be a whole number of 2 or more, not 1"),
        (
            "worlds = 8",
            "world = 8",
            "unknown key in gradient study 'tiny', [gradient]: 'world'; did you mean 'worlds'?",
        ),
        ("[0.0, 0.5]", "[0.0, 1.5]", "checkpoints must be a list of shares of the run, 0 to 1, not [0.0, 1.5]"),
        ("[0.0, 0.5]", "[0.5, 0.5]", "checkpoints must rise"),
        ("steps = 512", "steps = 0", "[training]: steps must be a whole number"),
        ("n_epochs = 2", "n_epoch = 2", "task 'near': unknown option 'n_epoch'; did you mean 'n_epochs'?"),
        ("n_epochs = 2", "normalize = true", "task 'near': gradients are measured without normalised observations"),
        ("n_epochs = 2", "seed = 3", "[training], settings: seed belongs beside settings"),
        ("max_steps = 20 }", "max_steps = 20 }\nsettings = { seed = 3 }", "task 'near', settings: seed belongs beside"),
        ('name = "ppo"', 'name = "reference"', "'reference' is what the others are held against"),
        ('name = "ppo"', 'name = "GRPO-episode"', "there are two estimators 'grpo-episode'"),
        ("n_samples = 1", "num_envs = 1", "estimator 'ppo': num_envs is the study's to say"),
        ("n_samples = 1", "n_sample = 1", "task 'near', estimator 'ppo': unknown option 'n_sample'"),
        ('baseline = "none"', 'baseline = "group-mean"', "estimator 'ppo': baseline 'group-mean' needs n_samples of 2"),
        ('algo = "grpo"', 'algo = "ppo"', "estimator 'grpo-episode': algo must be one of groups"),
        ('of = "ppo"', 'of = "pppo"', "ratio 'noisier': 'pppo'; did you mean 'ppo'?"),
        ('of = "ppo"', 'of = "grpo-episode"', "compares 'grpo-episode' with itself"),
        ('per = "macro_steps"', 'per = "seconds"', "per must be macro_steps or simulator_steps"),
        ("at_least = 1.5", "at_least = 0", "at_least must be a number above 0"),
    ],
)
def test_what_is_refused_before_anything_runs(old, new, hint):
    with pytest.raises(UsageError) as refused:
        _study((old, new))
    assert hint in str(refused.value)
    assert "\n" not in str(refused.value)
