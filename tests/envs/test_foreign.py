"""Motions and scenarios that another package defines: what they do wrong is named, or does no harm."""

import dataclasses

import pytest
import torch

from rl_tracking import make_vec
from rl_tracking.envs.checked_scenario import CheckedScenario
from rl_tracking.envs.parts.checked_motion import CheckedMotion, motion_of
from rl_tracking.envs.parts.motions import Target, stationary
from rl_tracking.envs.scenarios.pursuit.parameters import pursuit_parameters
from rl_tracking.envs.scenarios.pursuit.scenario import Pursuit
from rl_tracking.envs.simulator import Simulator
from rl_tracking.envs.vec_env import TrackingVecEnv
from rl_tracking.errors import RunError, UsageError
from tests.agents.toys import one_line
from tests.helpers import random_actions

FILE = __file__


@dataclasses.dataclass
class Motion:
    """Moves by 1 m a step along x; subclasses do one thing wrong."""

    speed: float = 1.0

    def start(self, anchor, key, arena):
        return Target(anchor, torch.zeros_like(anchor), anchor.new_zeros(len(anchor), 1))

    def advance(self, target, key, step, arena):
        moved = target.position + torch.tensor([1.0, 0.0, 0.0])
        return Target(moved, target.velocity, target.memory)


class InPlace(Motion):
    def advance(self, target, key, step, arena):
        target.position[:, 0] += 1
        target.memory.add_(3)
        key.zero_()
        step.zero_()
        return Target(target.position, target.velocity, torch.zeros_like(target.memory))


class KeepsWhatItReturned(Motion):
    kept = None

    def advance(self, target, key, step, arena):
        if self.kept is None or len(self.kept) != len(target.position):
            self.kept = target.position.clone()
        self.kept[:] = target.position
        self.kept[:, 0] += 1
        return Target(self.kept, target.velocity, target.memory)


class Bad(Motion):
    def __init__(self, returned):
        self.returned = returned

    def advance(self, target, key, step, arena):
        return self.returned(target)


def raises(target):
    raise OverflowError("too far")


def worlds(motion):
    """Three worlds whose target moves as ``motion`` says."""
    scenario = Pursuit("drone", pursuit_parameters("drone", {}))
    scenario.motion = motion_of("mine", lambda speed, size: motion, 1.0, 60.0)
    return TrackingVecEnv(scenario, 3, seed=0)


@pytest.mark.parametrize("kind", [InPlace, KeepsWhatItReturned])
def test_a_motion_that_works_in_place_moves_as_one_that_does_not(kind):
    mine, honest = worlds(kind()), worlds(Motion())
    mine.reset(), honest.reset()
    for action in random_actions(mine, 5):
        mine.step(action), honest.step(action)
        for moment in ("before", "after"):
            states = getattr(mine.last_transition, moment), getattr(honest.last_transition, moment)
            assert states[0].differences(states[1]) == []


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        (raises, rf"motion 'mine' in advance\(\) raised OverflowError: too far \({FILE}:\d+\)"),
        (lambda target: None, r"motion 'mine' returned a NoneType from advance\(\); it must return Target"),
        (lambda target: (1, 2, 3), r"returned a tuple from advance\(\); it must return Target"),
        (lambda target: target._replace(position=target.position[:, :1]), r"a position of shape \[3, 1\] .* \[3, 3\]"),
        (lambda target: target._replace(velocity=target.velocity * 1j), "a velocity of torch.complex64"),
        (lambda target: target._replace(memory=target.memory[:1]), "a memory of torch.float32"),
        (
            lambda target: target._replace(position=target.position * torch.tensor([[1.0], [torch.nan], [1.0]])),
            "a position from advance.. that is not finite, in world 1",
        ),
    ],
)
def test_what_a_motion_does_wrong_is_one_line(returned, said):
    env = worlds(Bad(returned))
    env.reset()
    with pytest.raises(RunError, match=said) as error:
        env.step(random_actions(env, 1)[0])
    one_line(error)


def test_motions_of_this_package_run_without_a_check():
    assert not isinstance(motion_of("stationary", stationary, 1.0, 60.0), CheckedMotion)


def test_a_motion_that_cannot_be_made_is_one_line():
    with pytest.raises(UsageError, match="motion 'mine' cannot be made: TypeError") as error:
        motion_of("mine", lambda: None, 1.0, 60.0)
    one_line(error)


# -- scenarios --------------------------------------------------------------------------------------------------------


class Scenario(Pursuit):
    """Pursuit, as another package would subclass it."""

    name = "mine"

    def __init__(self, *arguments):
        super().__init__(*arguments)

    def on(self, device):
        return self


def scenario(**methods):
    made = type("Mine", (Scenario,), {"__module__": __name__, **methods})
    return made("drone", pursuit_parameters("drone", {}))


def inherited(name, change):
    """A verb that does ``change`` to what it is given, or to what it returns."""

    def verb(self, *given):
        return change(getattr(Pursuit, name)(self, *given), *given)

    return verb


def moved(after, state, action):
    state.position.add_(1)
    return after


def slowed(after, state, action):
    action.mul_(0.5)
    return after


def nearer(judged, step):
    step.nearest.sub_(1)
    return judged


def displaced(ends, step):
    step.after.position.add_(1)
    return ends


def kicked(observation, state):
    state.velocity.add_(1)
    return observation


@pytest.mark.parametrize(
    ("verb", "change", "field"),
    [
        ("advance", moved, "state.position"),
        ("advance", slowed, "action"),
        ("judge", nearer, "step.distance"),  # of which the nearest is a view
        ("ends", displaced, "step.after.position"),
        ("observe", kicked, "state.velocity"),
    ],
)
@pytest.mark.parametrize("inference", [False, True])
def test_a_scenario_that_changes_what_it_is_given_is_stopped(verb, change, field, inference):
    simulator = Simulator(scenario(**{verb: inherited(verb, change)}))
    keys = torch.arange(3)
    with torch.inference_mode(inference):
        state = simulator.initial(keys)
        with pytest.raises(RunError) as error:
            simulator.transition(state, torch.zeros(3, 3))
    text = one_line(error)
    assert f"in {verb}()" in text
    assert FILE in text
    assert f"changed {field} in place" in text or "Inplace update to inference tensor" in text


@pytest.mark.parametrize(
    ("verb", "change", "said"),
    [
        ("advance", lambda after, *_: None, "as value from advance() a NoneType; it must be a PursuitState"),
        (
            "advance",
            lambda after, *_: after[:2],
            "as state.position from advance() [2, 1, 3]; it must be a tensor [3, ",
        ),
        (
            "observe",
            lambda seen, *_: seen[:, :1],
            "as observation from observe() shape [3, 1]; it must be a tensor [3, 18]",
        ),
        (
            "observe",
            lambda seen, *_: seen.double(),
            "as observation from observe() torch.float64; it must be torch.float32",
        ),
        ("observe", lambda seen, *_: seen / 0, "returned a observation from observe() that is not finite, in world 0"),
        ("judge", lambda judged, *_: judged[0], "as value from judge() a Tensor; it must be (reward, terms)"),
        ("judge", lambda judged, *_: (judged[0].sum(), {}), "as reward from judge() shape []; it must be a tensor"),
        (
            "judge",
            lambda judged, *_: (judged[0], {"off": judged[0] / 0}),
            "returned a off from judge() that is not finite",
        ),
        ("ends", lambda ends, *_: (ends[0].float(), ends[1]), "as terminated from ends() torch.float32"),
        ("ends", lambda ends, *_: None, "as value from ends() a NoneType; it must be (terminated, truncated)"),
        ("ends", lambda ends, *_: 1 / 0, "in ends() raised ZeroDivisionError: division by zero"),
    ],
)
def test_what_a_scenario_does_wrong_is_one_line(verb, change, said):
    simulator = Simulator(scenario(**{verb: inherited(verb, change)}))
    with torch.inference_mode(), pytest.raises(RunError) as error:
        simulator.transition(simulator.initial(torch.arange(3)), torch.zeros(3, 3))
    assert said in one_line(error)


def test_a_scenario_that_does_nothing_wrong_runs_as_it_would():
    mine, ours = TrackingVecEnv(scenario(), 3, seed=0), make_vec("pursuit", 3, seed=0)
    assert isinstance(mine.scenario, CheckedScenario)
    assert not isinstance(ours.scenario, CheckedScenario)
    assert mine.reset().tobytes() == ours.reset().tobytes()
    for action in random_actions(mine, 5):
        assert mine.step(action)[0].tobytes() == ours.step(action)[0].tobytes()
