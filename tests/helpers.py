"""What several tests need: worlds built by hand, random actions, and one shape for the result of a step."""

import time

import numpy as np
import torch
from gymnasium import spaces

from rl_tracking.envs import layout
from rl_tracking.envs.parts.target_step import TargetFacts, TargetStep
from rl_tracking.envs.scenarios.pursuit.metrics import METRICS
from rl_tracking.envs.scenarios.pursuit.state import PursuitState
from rl_tracking.runs.benchmark.measuring import Sizes

PATIENCE = 300.0  # how long a test waits for another process [s]: it shares its cores with other tests


def wait_for(condition, patience=PATIENCE):
    """What a condition gives as soon as it holds."""
    until = time.monotonic() + patience
    while time.monotonic() < until:
        found = condition()
        if found:
            return found
        time.sleep(0.01)
    raise AssertionError("waited in vain")


def facts(**changes):
    """The constants of a round world: 5 m is the longest way of a step, the arena is 100 m wide."""
    values = {
        "dt": 0.5,
        "max_steps": 100,
        "capture_radius": 2.0,
        "arena_low": torch.zeros(3),
        "arena_high": torch.full((3,), 100.0),
        "speed_limit": 10.0,
        "action_scale": 1.0,
        "target_moves_last": False,
        "commands_acceleration": True,
    }
    return TargetFacts(**{**values, **changes})


def pursuit_state(position, target, **fields):
    """A state from positions ``[B, P, D]`` and targets ``[B, D]``, given as nested lists; the rest is zero."""
    position, target = torch.tensor(position, dtype=torch.float32), torch.tensor(target, dtype=torch.float32)
    worlds = position.shape[0]
    count = torch.zeros(worlds, dtype=torch.int64)
    values = {
        "position": position,
        "velocity": torch.zeros_like(position),
        "acceleration": torch.zeros_like(position),
        "action": torch.zeros_like(position),
        "target_position": target,
        "target_velocity": torch.zeros_like(target),
        "target_memory": torch.zeros(worlds, 0),
        "target_judged": torch.zeros(worlds, 0),
        "judged_distance": torch.zeros(worlds, 0),
        "wind": torch.zeros_like(target),
        "drawn": torch.zeros(worlds, 0),
        "trail": torch.zeros(worlds, 0, *position.shape[1:]),
        "history": torch.zeros(worlds, 0, 0),
        "step": count,
        "episode": count,
        "key": count,
        "episode_return": torch.zeros(worlds),
        "totals": torch.zeros(worlds, 0),
    }
    given = {name: torch.as_tensor(value, dtype=values[name].dtype) for name, value in fields.items()}
    return PursuitState(**{**values, **given})


def judged(before, after, action=None, **constants):
    """The step from ``before`` to ``after``; the action is zero unless given as a nested list."""
    action = torch.zeros_like(before.position) if action is None else torch.tensor(action, dtype=torch.float32)
    if constants.get("target_moves_last"):
        distance = (before.target_position.unsqueeze(1) - after.position).norm(dim=-1)
        after = after.replace(target_judged=before.target_position, judged_distance=distance)
    return TargetStep(before, action, after, facts(**constants))


def step_of(env, transition=None):
    """The scenario's own step behind a transition, the latest of ``env`` (which may be a simulator) by default."""
    made = env.last_transition if transition is None else transition
    return env.scenario.step(made.before, made.action, made.after)


def row_major(tensor):
    """The same numbers in memory as torch makes them unless asked otherwise."""
    return tensor.clone(memory_format=torch.contiguous_format)


def slow_fields(state):
    """Names of the fields in which neighbouring worlds are not neighbours in memory."""
    return [name for name, tensor in state.tensors().items() if not layout.is_worlds_fastest(tensor)]


def random_actions(env, steps, seed=0, scale=1.0):
    """Uniform actions ``[steps, E, ...]``; a scale above 1 also leaves the action space where that is a Box."""
    shape, generator = (steps, env.num_envs, *env.action_space.shape), np.random.default_rng(seed)
    if isinstance(env.action_space, spaces.Discrete):
        return generator.integers(env.action_space.n, size=shape)
    return generator.uniform(-scale, scale, shape).astype(np.float32)


def bits(step):
    """Everything that SB3's ``step`` returned, as bytes and numbers that can be compared exactly."""
    observation, reward, done, infos = step
    ends = [
        (info["terminal_observation"].tobytes(), info["TimeLimit.truncated"], info["episode"], info.get("is_success"))
        for info in infos
        if info
    ]
    return observation.tobytes(), reward.tobytes(), done.tobytes(), ends


def play(env, actions):
    """The bits of one step an action."""
    return [bits(env.step(action)) for action in actions]


# What `rltrack bench` measures, in a few seconds.
BENCH = Sizes(
    worlds=(1, 64),
    worlds_on_cuda=(256,),
    rounds=1,
    budget=0.001,
    training_worlds=4,
    training_steps=8,
    best_batch_worlds=(4, 8),
    best_batch_steps=4,
    adapter_steps=3,
    watching_turns=1,
)


def figures(flown):
    """The figures of pursuit episodes that were flown."""
    from rl_tracking.envs.totals import Metric
    from rl_tracking.runs import intervals

    return intervals.figures((*METRICS, Metric("return")), flown.values())
