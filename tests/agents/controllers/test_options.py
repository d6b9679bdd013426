"""Names of controllers with options, and what a pilot is given for them."""

import subprocess
import sys

import pytest
import torch

from rl_tracking import plugins
from rl_tracking.agents.controllers import options
from rl_tracking.envs.vec_env import make_scenario
from rl_tracking.errors import UsageError
from rl_tracking.runs.evaluate import evaluate
from rl_tracking.runs.tasks import ScenarioTask


class Patient:
    """Hovers, and counts for how long."""

    def __init__(self):
        self.asked = 0

    def __call__(self, scenario, state):
        self.asked += 1
        return torch.zeros(len(state), *scenario.action_space.shape)


@pytest.fixture
def patient(monkeypatch):
    """A class of another package by the name ``patient``."""
    resolve, names = plugins.resolve, plugins.names
    monkeypatch.setattr(plugins, "resolve", lambda kind, name: Patient if name == "patient" else resolve(kind, name))
    monkeypatch.setattr(
        plugins, "names", lambda kind: names(kind) | ({"patient": "mine 1.0"} if kind == "controller" else {})
    )


def test_every_pilot_has_a_controller_of_its_own_where_a_name_is_a_class(patient):
    task = ScenarioTask(make_scenario("pursuit", max_steps=7))
    one, other = (task.controller("patient") for _ in range(2))
    found = evaluate(one, 3, task=task)
    assert (one.controller.asked, other.controller.asked) == (7, 0)
    assert {**found, "policy": "hover"} == evaluate("hover", 3, task=task)


def test_controllers_of_other_packages_take_no_options(patient):
    with pytest.raises(UsageError, match="controller 'patient' takes no options; leave out ':3'"):
        options.check("patient:3")


def test_functions_are_controllers_as_they_are():
    assert options.make("hover") is options.make("hover")
    assert options.make("mppi") is not options.make("mppi")


def test_the_order_of_options_does_not_matter_and_the_first_needs_no_name():
    first, named = (options.make(spec).options for spec in ("mppi:32,horizon=8", "mppi:horizon=8,branches=32"))
    assert first == named
    assert (first.branches, first.horizon, first.temperature) == (32, 8, 0.3)


def test_a_wrong_option_is_refused_before_torch_is_imported():
    code = (
        "import sys; from rl_tracking.agents.controllers import options\n"
        "try: options.check('mppi:horizon=0')\n"
        "except ValueError: print('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


def test_options_that_are_listed_are_the_defaults():
    for name in options.OPTIONS:
        spec = options.summary(name).rpartition("; ")[2]
        assert options.make(spec).options == options.make(name).options
