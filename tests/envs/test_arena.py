"""Target and pursuers live in the same arena, whatever is set."""

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import example, given, settings

from rl_tracking import plugins
from rl_tracking.envs.noise import world_keys
from rl_tracking.envs.scenarios.pursuit.parameters import PRESETS, SPAWNS, TARGET_SPAWNS
from rl_tracking.envs.scenarios.pursuit.scenario import make_pursuit
from rl_tracking.envs.simulator import Simulator

WORLDS = 16


@pytest.mark.filterwarnings("ignore:track:rl_tracking.errors.SettingWarning")  # what of a flight is cut
@settings(max_examples=20, deadline=None, derandomize=True)
@given(
    preset=st.sampled_from(sorted(PRESETS)),
    motion=st.sampled_from(sorted(plugins.names("motion"))),
    spawn=st.sampled_from(SPAWNS),
    target_spawn=st.sampled_from(TARGET_SPAWNS),
    dimensions=st.sampled_from([2, 3]),
    share=st.floats(0.0, 1.0),
    pace=st.floats(0.0, 1.0),
    wind_speed=st.sampled_from([0.0, 5.0]),
    author_bugs=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
@example("drone", "evader", "anywhere", "centre", 2, 0.0, 6e-180, 0.0, False, 0)
@example("sandbox", "stationary", "near", "edges", 3, 1.0, 0.0, 0.0, False, 0)
@example("sandbox", "stationary", "near", "box", 3, 1.0, 0.0, 0.0, False, 0)
def test_nothing_leaves_the_arena(
    preset, motion, spawn, target_spawn, dimensions, share, pace, wind_speed, author_bugs, seed
):
    size = {"drone": 60.0, "sandbox": 500.0}[preset]
    step = {"drone": 2.0, "sandbox": 10.0}[preset]  # so long a step is no cause for a warning
    scenario = make_pursuit(
        preset,
        motion=motion,
        spawn=spawn,
        target_spawn=target_spawn,
        target_spawn_size=share * size,
        target_speed=pace * {"drone": 18.0, "sandbox": 10.0}[preset],
        dimensions=dimensions,
        wind_speed=wind_speed,
        author_bugs=author_bugs and preset == "sandbox",
    )
    simulator = Simulator(scenario)
    state = simulator.initial(world_keys(seed, WORLDS))
    low, high = scenario.facts.arena_low, scenario.facts.arena_high
    assert high.tolist() == [{"drone": 60.0, "sandbox": 499.0}[preset]] * dimensions
    action = torch.ones(WORLDS, dimensions) * torch.tensor([1.0, -1.0, 1.0])[:dimensions]  # into a corner
    rounding = 1e-5 * size if motion in ("circle", "lissajous") else 0.0  # closed forms, which nothing clips
    reach = step if author_bugs else 0.0  # the shared array moves the target before it is clipped
    for _ in range(52):
        for position in (state.position.flatten(0, 1), state.target_position):
            assert torch.isfinite(position).all()
            assert (position >= low - rounding).all()
            assert (position <= high + rounding).all()
        if preset == "sandbox":
            assert (state.target_judged >= low - rounding - reach).all()
            assert (state.target_judged <= high + rounding + reach).all()
        state = simulator.transition(state, action).after
