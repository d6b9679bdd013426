"""What a study file says, and what is refused of it in one line."""

import pytest

from rl_tracking.errors import UsageError
from rl_tracking.studies.config import reading
from rl_tracking.studies.config.study import Budget, Claim, EvaluationPlan
from rl_tracking.studies.execute.cells import cells_of
from tests.studies.conftest import TINY


def test_a_study_is_what_its_file_says(tiny):
    study = tiny()
    assert (study.name, study.title, study.question, study.seeds) == ("tiny", "Tiny", "Does it run?", 2)
    assert study.budget == Budget(macro_steps=256)
    assert study.evaluation == EvaluationPlan(points=2, episodes=3)
    (task,) = study.tasks
    assert (task.scenario, task.env, task.metric, task.threshold) == ("pursuit", "", "time_in_radius", 0.5)
    assert (task.range, task.budget) == ((0.0, 1.0), None)
    assert [variant.algo for variant in study.variants] == ["hybrid-grpo", "ppo"]
    assert study.claims == [
        Claim(
            name="fewer",
            text="Hybrid GRPO needs fewer macro-steps.",
            measure="macro_steps_to_threshold",
            variant="hybrid",
            than="ppo",
            better="lower",
        )
    ]
    assert study.text == TINY


def test_every_shipped_study_is_sound():
    assert "smoke" in reading.shipped()
    for path in reading.shipped().values():
        study = reading.load(path)
        assert study.claims or study.tune or study.gradients


def test_cells_are_in_the_order_of_seeds(tiny):
    assert [str(cell) for cell in cells_of(tiny())] == [
        "near/hybrid/seed-0",
        "near/ppo/seed-0",
        "near/hybrid/seed-1",
        "near/ppo/seed-1",
    ]
    assert [str(cell) for cell in cells_of(tiny(), "*/ppo")] == ["near/ppo/seed-0", "near/ppo/seed-1"]


def test_settings_on_a_task_overrule_the_variants_and_a_tasks_budget_the_studys(tiny):
    study = tiny(
        (
            '[[variants]]\nname = "ppo"',
            '[variants.on."ne*"]\nlearning_rate = 0.5\nn_samples = 3\n[[variants]]\nname = "ppo"',
        ),
        ("threshold = 0.5", "threshold = 0.5\nbudget = { macro_steps = 128 }"),
    )
    hybrid, ppo = (cell.settings for cell in cells_of(study)[:2])
    assert (hybrid.arguments["learning_rate"], hybrid.arguments["n_samples"], hybrid.num_envs) == (0.5, 3, 4)
    assert ppo.arguments["learning_rate"] != 0.5
    assert (hybrid.steps, ppo.steps) == (128, 128)


def test_settings_of_a_task_hold_for_all_variants_that_have_no_other(tiny):
    study = tiny(("threshold = 0.5", "threshold = 0.5\nsettings = { gamma = 0.5, num_envs = 7 }"))
    hybrid, ppo = (cell.settings for cell in cells_of(study)[:2])
    assert (hybrid.arguments["gamma"], ppo.arguments["gamma"]) == (0.5, 0.5)
    assert (hybrid.num_envs, ppo.num_envs) == (4, 4), "which the variants say themselves"


@pytest.mark.parametrize(
    ("old", "new", "hint"),
    [
        ("seeds = 2", "seeds = 0", "seeds must be a whole number from 1 to 10,000, not 0"),
        ("seeds = 2", "sedes = 2", "did you mean 'seeds'?"),
        ("seeds = 2", "", "seeds is missing; it must be a whole number from 1 to 10,000"),
        ("seeds = 2", "seeds = 2\nclaim = 3", "did you mean 'claims'?"),
        ('title = "Tiny"', "title = 3", "title must be a text, not 3"),
        ("macro_steps = 256", "macro_steps = 256\nseconds = 3", "give exactly one of macro_steps"),
        ("macro_steps = 256", "", "[budget]: give exactly one of macro_steps"),
        ("macro_steps = 256", "steps = 256", "did you mean 'macro_steps'?"),
        ("macro_steps = 256", "macro_steps = 2.5", "macro_steps must be a whole number of 1 or more, not 2.5"),
        ("macro_steps = 256", "seconds = -1", "seconds must be a number above 0 s, not -1"),
        ("points = 2", "points = true", "points must be a whole number of 1 or more, not True"),
        ("points = 2", "point = 2", "did you mean 'points'?"),
        ('name = "near"', 'name = "../near"', "must be a name of letters"),
        ('name = "near"', "", "name is missing"),
        ('scenario = "pursuit"', 'scenario = "persuit"', "did you mean 'pursuit'?"),
        ('scenario = "pursuit"', 'scenario = "pursuit"\nenv = "CartPole-v1"', "give a scenario or an env"),
        ('scenario = "pursuit"', "", "give a scenario or an env"),
        (
            'scenario = "pursuit"\nparameters = { reward = "progress", max_steps = 20 }',
            'env = "CartPole-v1"',
            "on task 'near': unknown metric 'time_in_radius'; known: episode_length, return, success_rate",
        ),
        ("max_steps = 20", "max_stepz = 20", "did you mean 'max_steps'?"),
        ('metric = "time_in_radius"', 'metric = "time_in_radios"', "did you mean 'time_in_radius'?"),
        ('metric = "time_in_radius"', 'better = "low"', "unknown better in study 'tiny', task 'near': 'low'"),
        ("threshold = 0.5", 'threshold = "high"', "threshold must be a finite number, not 'high'"),
        ("threshold = 0.5", "threshold = 0.5\nrange = [1, 0]", "range must be two numbers, [low, high], not [1, 0]"),
        ("threshold = 0.5", "threshold = 0.5\nsettings = { steps = 3 }", "task 'near': steps is the study's to say"),
        (
            "threshold = 0.5",
            "threshold = 0.5\nsettings = { n_samples = 3 }",
            "variant 'ppo' on task 'near': ppo has no",
        ),
        ("threshold = 0.5", "", "task 'near' has no threshold"),
        ('algo = "ppo"', 'algo = "pppo"', "variant 'ppo' on task 'near': unknown algo 'pppo'; did you mean 'ppo'?"),
        ('name = "ppo"', 'name = "Hybrid"', "there are two variants 'Hybrid'"),
        ("n_samples = 2", "n_sampels = 2", "did you mean 'n_samples'?"),
        ("n_samples = 2", 'baseline = "men"', "variant 'hybrid' on task 'near': unknown baseline"),
        ("n_samples = 2", "seed = 2", "seed is the study's to say"),
        ("n_samples = 2", "gamma = 2", "gamma must be a number from 0 to 1, not 2"),
        ('than = "ppo"', 'than = "pop"', "did you mean 'ppo'?"),
        ('than = "ppo"', 'than = "hybrid"', "compares 'hybrid' with itself"),
        (
            'better = "lower"',
            'better = "less"',
            "unknown better in study 'tiny', claim 'fewer': 'less'; known: higher, lower",
        ),
        ('better = "lower"', 'better = "lower"\nfactor = 0', "factor must be a number above 0, not 0"),
        ('better = "lower"', 'better = "lower"\ntasks = ["far*"]', "unknown task"),
        ('better = "lower"', 'better = "lower"\ntasks = "near"', "tasks must be a list of texts, not 'near'"),
        ('measure = "macro_steps_to_threshold"', 'measure = "finel"', "did you mean 'final'?"),
        ('measure = "macro_steps_to_threshold"', 'measure = "update:"', "names no figure"),
        ("[[claims]]", "[variants.on.far]\ngamma = 0.5\n[[claims]]", "unknown task in study 'tiny', variant 'ppo': on"),
        ("[[claims]]", "[tune]\ntrails = 3\n[[claims]]", "did you mean 'trials'?"),
        ("[[claims]]", "[tune.space]\ngamma = { low = 1, high = 0 }\n[[claims]]", "low must be below high"),
        ("[[claims]]", "[tune.space_of.pop]\ngamma = { low = 0, high = 1 }\n[[claims]]", "did you mean 'ppo'?"),
        ("[budget]", "[budget", "is not TOML"),
    ],
)
def test_an_invalid_study_is_refused_in_one_line(tiny, old, new, hint):
    with pytest.raises(UsageError) as error:
        tiny((old, new))
    assert hint in str(error.value)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith(("study 'tiny'", "unknown", "variant"))


def test_a_missing_file_an_unknown_name_and_a_binary_file_are_refused(tmp_path):
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    for spec, hint in (
        (str(tmp_path / "nowhere.toml"), "does not exist"),
        ("smoek", "did you mean 'smoke'?"),
    ):
        with pytest.raises(UsageError, match=hint):
            reading.find(spec)
    with pytest.raises(UsageError, match="is no text"):
        reading.load(tmp_path / "binary.toml")
