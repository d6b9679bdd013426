from types import SimpleNamespace

import pytest
import torch

from rl_tracking.agents.controllers.formation import formation_keeping
from rl_tracking.envs.vec_env import make_scenario
from rl_tracking.runs.tasks.scenario import ScenarioTask
from tests.helpers import facts, pursuit_state


class Facts(SimpleNamespace):
    """The constants of a round world, with a collision distance."""


def action(positions, slots, collision_distance=0.1):
    """Of kinematic pursuers whose step is 5 m."""
    constants = Facts(
        **vars(facts(action_scale=5.0, commands_acceleration=False)), collision_distance=collision_distance
    )
    world = SimpleNamespace(facts=constants, slot_position=lambda state: torch.tensor([slots]))
    return formation_keeping(world, pursuit_state([positions], [[0.0, 0.0, 0.0]])).view(-1, 3).tolist()


def test_each_flies_to_its_own_slot():
    found = action([[0.0, 0, 0], [50.0, 0, 0]], [[1.0, -2.0, 0.5], [0.0, 0.0, 0.0]])
    assert found[0] == pytest.approx([0.2, -0.4, 0.1])
    assert found[1] == pytest.approx([-1.0, 0.0, 0.0])


def test_two_that_are_near_push_each_other_away_and_others_do_not():
    # The push grows from 0 at 3 collision distances: at 2 of them it is one of them long.
    positions = [[0.0, 0, 0], [2.0, 0, 0], [30.0, 0, 0]]
    found = action(positions, positions, collision_distance=1.0)
    assert [row[0] for row in found] == pytest.approx([-0.2, 0.2, 0.0])
    assert action([[0.0, 0, 0], [3.1, 0, 0]], [[0.0, 0, 0], [3.1, 0, 0]], 1.0) == [[0.0] * 3] * 2


@pytest.mark.parametrize("formation", ["square", "circle", "line", "wedge"])
@pytest.mark.parametrize("preset", ["drone", "sandbox"])
def test_formations_are_kept(formation, preset):
    sandbox = {"preset": "sandbox", "target_speed": 5.0, "spawn": "slots"} if preset == "sandbox" else {}
    task = ScenarioTask(make_scenario("swarm", formation=formation, **sandbox))
    found = task.measure(task.controller("formation-keeping"), 40, seed=1, skip=40)
    assert found["mean_slot_error"]["value"] < 0.2 * task.scenario.facts.scale
    if preset == "drone":  # in the sandbox, slots beyond a wall bring pursuers together at it
        assert found["collision_rate"]["value"] <= 0.1


def test_it_is_refused_without_slots():
    task = ScenarioTask(make_scenario("pursuit"))
    with pytest.raises(ValueError, match="formation-keeping"):
        task.controller("formation-keeping")
