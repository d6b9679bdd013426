"""Scenes of every registered scenario, and what is wrong with a scene."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from rl_tracking import plugins
from rl_tracking.envs.checked_scene import scene_fault
from rl_tracking.envs.scene import Bodies, Lines, Scene, Zone
from rl_tracking.envs.simulator import Simulator, world_keys
from rl_tracking.envs.vec_env import make_scenario

GOOD = Scene(
    low=torch.zeros(2),
    high=torch.ones(2),
    bodies=(Bodies("drones", "drone", "pursuer", torch.zeros(3, 4, 2), torch.zeros(3, 4, 2), torch.zeros(3, 4, 2)),),
    zones=(
        Zone("goal", "sphere", torch.zeros(3, 2), torch.ones(3), torch.tensor([True, False, True])),
        Zone("gate", "box", torch.zeros(3, 2), torch.ones(3, 2)),
    ),
    lines=(Lines("sight", torch.zeros(3, 5, 2, 2)),),
    numbers={"speed": (torch.full((3,), torch.nan), "m/s")},
    chart="speed",
)
(BODIES,), (GOAL, GATE), (SIGHT,) = GOOD.bodies, GOOD.zones, GOOD.lines


@pytest.mark.parametrize("name", sorted(plugins.names("scenario")))
def test_every_scenario_has_a_scene_without_a_fault(name):
    simulator = Simulator(make_scenario(name))
    scene = simulator.scenario.scene(simulator.initial(world_keys(0, 3)))
    assert scene_fault(scene, 3) is None
    assert scene.bodies


def test_a_good_scene_has_no_fault():
    assert scene_fault(GOOD, 3) is None


@pytest.mark.parametrize(
    ("scene", "fault"),
    [
        (None, ("value", "a NoneType", "an rl_tracking.envs.scene.Scene")),
        (replace(GOOD, low=torch.zeros(4)), ("low", "a tensor [4]", "a tensor [2] or [3]")),
        (replace(GOOD, high=1.0), ("high", "a float", "a tensor [2]")),
        (
            replace(GOOD, bodies=(replace(BODIES, kind="plane"),)),
            ("kind of the bodies 'drones'", "'plane'", "one of 'drone', 'ball', 'box'"),
        ),
        (
            replace(GOOD, bodies=(replace(BODIES, role="prey"),)),
            ("role of the bodies 'drones'", "'prey'", "one of 'pursuer', 'target', 'obstacle', 'other'"),
        ),
        (
            replace(GOOD, bodies=(replace(BODIES, velocity=torch.zeros(3, 2)),)),
            ("velocity of the bodies 'drones'", "a tensor [3, 2]", "a tensor [3, 4, 2]"),
        ),
        (
            replace(GOOD, bodies=(replace(BODIES, position=torch.full((3, 4, 2), torch.inf)),)),
            ("position of the bodies 'drones'", "numbers that are not finite", "finite"),
        ),
        (
            replace(GOOD, zones=(replace(GOAL, shape="cone"),)),
            ("shape of the zone 'goal'", "'cone'", "one of 'sphere', 'ring', 'box', 'cylinder'"),
        ),
        (
            replace(GOOD, zones=(replace(GATE, size=torch.ones(3)),)),
            ("size of the zone 'gate'", "a tensor [3]", "a tensor [3, 2]"),
        ),
        (
            replace(GOOD, zones=(replace(GOAL, active=torch.ones(3)),)),
            ("active of the zone 'goal'", "torch.float32", "torch.bool"),
        ),
        (
            replace(GOOD, lines=(replace(SIGHT, ends=torch.zeros(3, 2)),)),
            ("ends of the lines 'sight'", "a tensor [3, 2]", "a tensor [3, 2, 2, 2]"),
        ),
        (replace(GOOD, numbers={"speed": (1.0, "m/s")}), ("number 'speed'", "a float", "a tensor [3]")),
        (replace(GOOD, chart="height"), ("chart", "'height'", "one of its numbers: 'speed'")),
    ],
)
def test_the_first_fault_is_named(scene, fault):
    assert scene_fault(scene, 3) == fault
