"""Motions and scenarios that another package defines: what they do wrong is named, or does no harm."""

import dataclasses

import pytest
import torch

from rl_tracking import make_vec
from rl_tracking.envs.checked_scenario import CheckedScenario
from rl_tracking.envs.parts.arena import Target
from rl_tracking.envs.parts.checked_motion import CheckedMotion, motion_of
from rl_tracking.envs.parts.motions import stationary
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
    scenario = Pursuit("drone", pursuit_parameters({}))
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
    return made("drone", pursuit_parameters({}))


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


def nearer(answer, step):
    step.nearest.sub_(1)
    return answer


def displaced(ends, step):
    step.after.position.add_(1)
    return ends


def kicked(observation, state):
    state.velocity.add_(1)
    return observation


@pytest.mark.parametrize(
    ("verb", "change", "field"),
    [
        ("transition", moved, "state.position"),
        ("transition", slowed, "action"),
        ("reward", nearer, "step.distance"),  # of which the nearest is a view
        ("measures", nearer, "step.distance"),
        ("terminal", displaced, "step.after.position"),
        ("observation", kicked, "state.velocity"),
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
        ("transition", lambda after, *_: None, "as value from transition() a NoneType; it must be a PursuitState"),
        (
            "transition",
            lambda after, *_: after.replace(place=after.position),
            "as value from transition() a state with 'place'; it must be a field of PursuitState",
        ),
        (
            "transition",
            lambda after, *_: after[:2],
            "as state.key from transition() [2]; it must be a tensor [3, ",
        ),
        (
            "observation",
            lambda seen, *_: seen[:, :1],
            "as observation from observation() shape [3, 1]; it must be a tensor [3, 18]",
        ),
        (
            "observation",
            lambda seen, *_: seen.double(),
            "as observation from observation() torch.float64; it must be torch.float32",
        ),
        (
            "observation",
            lambda seen, *_: seen / 0,
            "returned a observation from observation() that is not finite, in world 0",
        ),
        ("step", lambda step, *_: None, "as value from step() a NoneType; it must be a subclass of"),
        ("step", lambda step, *_: 1 / 0, "in step() raised ZeroDivisionError: division by zero"),
        ("reward", lambda terms, *_: None, "as value from reward() a NoneType; it must be a dict of tensors by name"),
        ("reward", lambda terms, *_: {}, "as value from reward() an empty dict"),
        ("reward", lambda terms, *_: {"all": terms["effort"].sum()}, "as all from reward() shape []; it must be a ten"),
        (
            "reward",
            lambda terms, *_: {"off": terms["effort"] / 0},
            "returned a off from reward() that is not finite",
        ),
        ("measures", lambda measures, *_: {}, "no 'captured'; it must be what metric 'capture_rate' needs"),
        (
            "measures",
            lambda measures, *_: {**measures, "captured": measures["distance"]},
            "as captured from measures() torch.float32; it must be torch.bool",
        ),
        ("terminal", lambda ends, *_: ends.float(), "as value from terminal() torch.float32; it must be torch.bool"),
        ("terminal", lambda ends, *_: None, "as value from terminal() a NoneType; it must be a tensor [3]"),
        ("terminal", lambda ends, *_: 1 / 0, "in terminal() raised ZeroDivisionError: division by zero"),
    ],
)
def test_what_a_scenario_does_wrong_is_one_line(verb, change, said):
    simulator = Simulator(scenario(**{verb: inherited(verb, change)}))
    with torch.inference_mode(), pytest.raises(RunError) as error:
        simulator.transition(simulator.initial(torch.arange(3)), torch.zeros(3, 3))
    assert said in one_line(error)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda scene, *_: None,
            "returned as value from scene() a NoneType; it must be an rl_tracking.envs.scene.Scene",
        ),
        (
            lambda scene, *_: dataclasses.replace(scene, chart="height"),
            "as chart from scene() 'height'; it must be one of",
        ),
        (lambda scene, *_: scene.numbers["height"], "in scene() raised KeyError"),
    ],
)
def test_what_is_wrong_with_a_scene_is_one_line(change, said):
    simulator = Simulator(scenario(scene=inherited("scene", change)))
    with pytest.raises(RunError) as error:
        simulator.scenario.scene(simulator.initial(torch.arange(3)))
    assert said in one_line(error)


def test_a_scenario_that_does_nothing_wrong_runs_as_it_would():
    mine, ours = TrackingVecEnv(scenario(), 3, seed=0), make_vec("pursuit", 3, seed=0)
    assert isinstance(mine.scenario, CheckedScenario)
    assert not isinstance(ours.scenario, CheckedScenario)
    assert mine.reset().tobytes() == ours.reset().tobytes()
    for action in random_actions(mine, 5):
        assert mine.step(action)[0].tobytes() == ours.step(action)[0].tobytes()
