"""In every scenario world tensors are worlds-fastest in memory, and what is computed does not depend on it."""

import pytest
import torch

from rl_tracking.envs import layout
from rl_tracking.envs.checked_scenario import CheckedScenario
from tests.conformance.variants import VARIANTS, make
from tests.helpers import random_actions, row_major, slow_fields

WORLDS = 6


@pytest.fixture(params=sorted(VARIANTS))
def env(request):
    env = make(request.param, WORLDS)
    env.reset()
    return env


def test_every_field_of_a_state_stays_worlds_fastest(env):
    simulator, state = env.simulator, env.get_state()
    assert slow_fields(state) == [], "initial"
    for action in random_actions(env, 8):
        made = simulator.transition(state, torch.from_numpy(action))
        state = made.after
    assert slow_fields(state) == [], "transition"
    fresh = simulator.restart(state)
    some, mask = torch.tensor([4, 1]), torch.arange(WORLDS) < 3
    for verb, changed in {
        "restart": fresh,
        "repeat": state.repeat(3),
        "a slice": state[1:4],
        "indices": state[some],
        "a mask": state[mask],
        "put": state.put(some, fresh[some]),
        "where": state.where(mask, fresh),
        "cat": type(state).cat([state, state[some]]),
        "to": state.to("cpu"),
        "another device": state.to("meta"),
        "from_bytes": type(state).from_bytes(state.to_bytes()),
        "bytes of row-major fields": type(state).from_bytes(state.map(row_major).to_bytes()),
    }.items():
        assert slow_fields(changed) == [], verb


def test_observations_of_this_package_are_worlds_fastest(env):
    scenario = env.scenario._scenario if isinstance(env.scenario, CheckedScenario) else env.scenario
    if type(scenario).__module__.startswith("rl_tracking."):
        env.step(random_actions(env, 1)[0])
        assert layout.is_worlds_fastest(env.last_transition.observation)


def test_a_step_does_not_depend_on_the_layout(env):
    simulator, state = env.simulator, env.get_state()
    for action in map(torch.from_numpy, random_actions(env, 40, scale=1.2)):
        made, again = simulator.transition(state, action), simulator.transition(state.map(row_major), action)
        assert made.after.differences(again.after) == []
        for name in ("observation", "reward", "terminated", "truncated"):
            assert torch.equal(getattr(made, name), getattr(again, name)), name
        state = made.after
