"""One protocol for scenarios and Gymnasium ids: what commands rely on holds for both."""

import json

import pytest
import torch

from rl_tracking.envs.vec_env import make_scenario
from rl_tracking.errors import EnvironmentStepError, UsageError
from rl_tracking.restoring.protocol import why_not_restorable
from rl_tracking.runs.evaluate import evaluate
from rl_tracking.runs.tasks import GymnasiumTask, ScenarioTask, choose_task, make_task, open_policy, pilot_of
from rl_tracking.runs.tasks.finding import task_described, task_of_worlds
from tests.agents.toys import one_line

TASKS = {
    "scenario": ScenarioTask(make_scenario("pursuit", max_steps=12)),
    "environment": GymnasiumTask("CartPole-v1", {"max_episode_steps": 12}),
}


@pytest.fixture(params=TASKS)
def task(request):
    return TASKS[request.param]


def test_worlds_have_the_spaces_of_the_task_and_are_restorable(task):
    worlds = task.worlds(3, seed=0)
    assert (worlds.num_envs, why_not_restorable(worlds)) == (3, None)
    assert (worlds.observation_space, worlds.action_space) == (task.observation_space, task.action_space)


def test_worlds_of_one_seed_begin_alike(task):
    first, again, other = (task.worlds(2, seed=seed).reset() for seed in (5, 5, 6))
    assert (first == again).all()
    assert (first != other).any()


def test_a_description_and_the_worlds_lead_back_to_the_task(task):
    description = json.loads(json.dumps(task.describe()))
    assert sum(part is not None for part in description.values()) == 1
    for found in (task_described(description), task_of_worlds(task.worlds(1, seed=0))):
        assert (found.name, found.parameters, found.describe()) == (task.name, task.parameters, task.describe())
    assert task_described({"scenario": None, "env": None}) is None


def test_every_controller_of_the_task_is_measured_by_its_metrics(task):
    assert sum(metric.headline for metric in task.metrics) == 1
    for name in task.controllers:
        found = evaluate(name, 4, task=task)
        assert (found["policy"], found["episodes"]) == (name, 4)
        assert {**found, **task.identify()} == found
        names = [metric.name for metric in task.metrics if metric.name in found]
        assert [name for name, figure in found.items() if isinstance(figure, dict) and "ci95" in figure] == names
        assert "return" in names


def test_time_limits(task):
    assert task.max_steps == 12


@pytest.mark.parametrize(
    ("kind", "title", "summary", "label"),
    [
        ("scenario", "pursuit drone", "pursuit (drone, reward tracking)", "scenario pursuit drone"),
        ("environment", "CartPole-v1", "CartPole-v1 (max_episode_steps=12)", "environment 'CartPole-v1'"),
    ],
)
def test_names_in_headings_and_errors(kind, title, summary, label):
    assert (TASKS[kind].title, TASKS[kind].summary, TASKS[kind].label) == (title, summary, label)


def test_the_task_is_the_named_one_else_that_of_the_first_checkpoint_else_the_default():
    shipped = [open_policy(name) for name in ("random", "pursuit-sandbox")]
    assert choose_task(shipped).title == "pursuit sandbox"
    assert choose_task(shipped, parameters={"preset": "drone"}).title == "pursuit drone"
    assert choose_task(shipped, env="CartPole-v1") == make_task("", "CartPole-v1", {})
    assert choose_task(shipped[:1]).title == "pursuit drone"


@pytest.mark.parametrize(
    ("kind", "name", "hint"),
    [
        ("environment", "hover", "controller 'hover' does not apply to environment 'CartPole-v1'; there is 'random'"),
        ("scenario", "hoover", "unknown controller 'hoover'; did you mean 'hover'?"),
    ],
)
def test_controllers_that_do_not_apply_are_refused_in_one_line(kind, name, hint):
    with pytest.raises(UsageError) as caught:
        pilot_of(TASKS[kind], name)
    assert one_line(caught) == hint


def test_a_controller_that_a_scenario_does_not_name_is_refused(monkeypatch):
    monkeypatch.setattr(TASKS["scenario"], "controllers", ("random",))
    with pytest.raises(UsageError, match="'lead-pursuit' does not apply to scenario pursuit drone; there is 'random'"):
        evaluate("lead-pursuit", 1, task=TASKS["scenario"])


@pytest.mark.parametrize(
    ("answer", "wrong", "said"),
    [
        (
            "reward",
            lambda step: {"near": torch.zeros(len(step.after), 3)},
            "returned as near from reward() shape [2, 3]",
        ),
        (
            "observation",
            lambda state: torch.full((len(state), 18), torch.nan),
            "observation from observation() that is",
        ),
        ("measures", lambda step: {}, "returned as value from measures() no 'captured'"),
        ("terminal", lambda step: step.after.step, "returned as value from terminal() torch.int64"),
    ],
)
def test_a_wrong_answer_of_a_built_in_scenario_is_one_line(answer, wrong, said, monkeypatch):
    scenario = make_scenario("pursuit")
    monkeypatch.setattr(type(scenario), answer, lambda self, given: wrong(given))
    with pytest.raises(EnvironmentStepError) as caught:
        ScenarioTask(scenario).check_first_step()
    assert said in str(caught.value)
    assert str(caught.value).startswith("scenario 'pursuit' ")
    one_line(caught)
