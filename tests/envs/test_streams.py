"""Each stream of noise has one caller, so that no two things that happen in a world are the same numbers."""

import itertools
import sys
from pathlib import Path

import pytest
import torch

from rl_tracking import plugins
from rl_tracking.envs import noise
from rl_tracking.envs.noise import Stream, world_keys
from rl_tracking.envs.scenarios.pursuit.scenario import make_pursuit
from rl_tracking.envs.simulator import Simulator
from rl_tracking.envs.vec_env import make_vec
from tests.helpers import random_actions

# Who may draw from a stream: file and functions.
CALLERS = {
    Stream.WIND: ("scenario.py", {"_still_or_steady_wind", "_next_wind"}),
    Stream.TARGET_SPAWN: ("*.py", {"target_spawn"}),
    Stream.TARGET_MOTION: ("motions*.py", {"start", "advance", "_draw"}),
    Stream.TARGET_TURN: ("motions_turning.py", {"start", "advance"}),
    Stream.PURSUER_SPAWN: ("spawn.py", {"pursuer_spawn"}),
    Stream.POLICY: ("state.py", {"controller_noise"}),
    Stream.NEXT_EPISODE: ("noise.py", {"next_episode"}),
    Stream.BRANCH: ("noise.py", {"fork"}),
    Stream.EPISODE_PARAMETERS: ("drawn.py", {"draw"}),
    Stream.IMAGINED: ("noise.py", {"imagined_keys"}),
    Stream.EARLIER_EPISODE: ("scenario.py", {"_earlier_position"}),
    Stream.FORMATION: ("spawn.py", {"formation"}),
}
INSIDE = {"bits", "uniform", "normal", "_normal", "_normal_block", "_normal_ahead", "at", "_draw_block", "<listcomp>"}
FREE = {Stream.SENSOR}  # nobody draws from it yet


@pytest.fixture
def drawn(monkeypatch):
    """Who drew from which stream: ``{stream: {(file, function)}}``."""
    seen = {}
    original = noise._high_bits

    def bits(key, step, stream, lanes, ahead=0):
        frame = sys._getframe(1)
        while frame.f_code.co_name in INSIDE:
            frame = frame.f_back
        seen.setdefault(Stream(stream), set()).add((Path(frame.f_code.co_filename).name, frame.f_code.co_name))
        return original(key, step, stream, lanes, ahead)

    monkeypatch.setattr(noise, "_high_bits", bits)
    forget()
    yield seen
    forget()


def forget():
    """What was drawn before need be drawn again."""
    noise._normal_block.cache_clear()
    noise._ahead.clear()


def everything():
    """Worlds in which all that can be drawn is."""
    windy = {"wind_speed": 2.0, "max_steps": 30}
    for motion in plugins.names("motion"):
        yield {**windy, "motion": motion}
    yield {**windy, "drag": [0.1, 0.5]}
    for spawn, target in itertools.product(("anywhere", "near", "at-target"), ("centre", "box", "edges")):
        yield {**windy, "spawn": spawn, "target_spawn": target, "pursuers": 2}
        yield {"preset": "sandbox", **windy, "spawn": spawn, "target_spawn": target, "author_bugs": True}
    yield {"scenario": "swarm", "switch_interval": 1.0, "max_steps": 30}
    yield {"scenario": "intercept", "max_steps": 30}


def test_every_stream_has_one_caller(drawn):
    for parameters in everything():
        env = make_vec(**{"scenario": "pursuit", "num_envs": 3, "seed": 0, **parameters})
        env.reset()
        env.step_branches(torch.from_numpy(random_actions(env, 2)), "independent")
        controller = plugins.resolve("controller", "random")
        env.get_state().imagined(2)
        for action in random_actions(env, 35):
            env.step(action)
            controller(env.scenario, env.get_state())
    assert set(drawn) == set(CALLERS)
    assert set(Stream) == set(CALLERS) | FREE
    for stream, callers in drawn.items():
        file, functions = CALLERS[stream]
        assert {function for _, function in callers} <= functions, stream.name
        assert all(Path(found).match(file) for found, _ in callers), stream.name


def test_one_world_alone_draws_from_the_same_streams(drawn):
    env = make_vec("pursuit", 1, seed=0, wind_speed=2.0)
    env.reset()
    for action in random_actions(env, 3):
        env.step(action)
    for stream, callers in drawn.items():
        file, functions = CALLERS[stream]
        assert {function for _, function in callers} <= functions, stream.name
        assert all(Path(found).match(file) for found, _ in callers), stream.name


def test_gusts_do_not_know_how_the_target_moves():
    """The new part of each gust beside the new part of the target's velocity, from the same worlds and steps."""
    worlds, steps = 4000, 5
    simulator = Simulator(make_pursuit(wind_speed=2.0, target_spawn="centre", motion="random-walk"))
    state = simulator.initial(world_keys(0, worlds))
    pairs = [(state.wind, state.target_velocity)]
    rho_wind = rho_target = torch.exp(torch.tensor(-0.05))  # both forget in 2 s, a step is 0.1 s
    for _ in range(steps):
        after = simulator.transition(state, torch.zeros(worlds, 3)).after
        pairs.append((after.wind - rho_wind * state.wind, after.target_velocity - rho_target * state.target_velocity))
        state = after
    for (i, (gust, _)), (j, (_, move)) in itertools.product(enumerate(pairs), enumerate(pairs)):
        correlation = (gust * move).mean() / (gust.std() * move.std())
        assert abs(correlation.item()) < 4.5 / (3 * worlds) ** 0.5, (i, j)
