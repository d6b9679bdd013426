"""A scenario of another package that lacks an answer, or gives one that nothing can use, is refused in one line."""

import pytest
from gymnasium import spaces

from rl_tracking import plugins
from rl_tracking.envs.checked_scenario import CheckedScenario
from rl_tracking.envs.simulator import Simulator
from rl_tracking.envs.totals import Metric
from rl_tracking.envs.vec_env import make_scenario
from rl_tracking.errors import UsageError
from tests.example_plugins import installed

ATTRIBUTES = (
    *("dt", "max_steps", "state_class", "observation_space", "action_space", "agents", "shared_reward", "metrics"),
    *("controllers", "parameters"),
)
METHODS = ("initial", "transition", "observation", "reward", "terminal", "measures", "scene", "on")


@pytest.fixture(autouse=True)
def _plugin():
    with installed("scenario_plugin"):
        yield


class Without:
    """The example without some of its answers, or with others."""

    def __init__(self, *lacking, **changed):
        from spread import Spread

        self._whole, self._lacking = Spread(), lacking
        vars(self).update(changed)

    def __getattr__(self, name):
        if name in self._lacking or name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._whole, name)


@pytest.mark.parametrize("name", [*ATTRIBUTES, *METHODS])
def test_what_is_lacking_is_named(name):
    with pytest.raises(UsageError) as error:
        Simulator(Without(name))
    call = f"{name}()" if name in METHODS else name
    assert str(error.value) == f"scenario 'spread' lacks {call}; rl_tracking.envs.base.Scenario says what each is"


def test_all_that_is_lacking_is_named_at_once():
    with pytest.raises(UsageError, match=r"scenario 'spread' lacks metrics, reward\(\), scene\(\); "):
        Simulator(Without("reward", "metrics", "scene"))


def test_a_scenario_of_this_package_is_refused_as_it_is_made_too(monkeypatch):
    monkeypatch.setattr(Without, "__module__", "rl_tracking.envs.scenarios.new")
    monkeypatch.setattr(plugins, "resolve", lambda kind, name: lambda **parameters: Without("measures"))
    with pytest.raises(UsageError, match=r"scenario 'spread' lacks measures\(\)"):
        make_scenario("new")


def test_it_is_refused_as_it_is_made(monkeypatch):
    monkeypatch.setattr(plugins, "resolve", lambda kind, name: lambda **parameters: Without("measures"))
    with pytest.raises(UsageError, match=r"scenario 'spread' lacks measures\(\)"):
        make_scenario("spread")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"action_space": spaces.MultiBinary(3)}, "the action_space of scenario 'spread' is a MultiBinary; it must be"),
        ({"observation_space": spaces.Dict()}, "the observation_space of scenario 'spread' is a Dict; it must be"),
        ({"state_class": dict}, "the state_class of scenario 'spread' must be a subclass of "),
        ({"metrics": ("gap",)}, "the metrics of scenario 'spread' must be of class "),
        (
            {"metrics": (Metric("a", "gap", headline=True), Metric("b", "gap", headline=True))},
            "scenario 'spread' has 2 metrics with headline=True: a, b; one is allowed",
        ),
        ({"metrics": (Metric("a", "gap", success=True),)}, "metric 'a' of scenario 'spread' says success; "),
    ],
)
def test_answers_that_nothing_can_use(changed, said):
    with pytest.raises(UsageError) as error:
        Simulator(Without(**changed))
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_the_whole_one_is_taken():
    assert isinstance(Simulator(Without()).scenario, CheckedScenario)
