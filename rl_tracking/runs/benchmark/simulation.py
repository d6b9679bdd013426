"""What steps, branches, saving and restoring cost."""

from __future__ import annotations

import statistics
import warnings
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import torch
from torch import Tensor

from rl_tracking.envs.simulator import Simulator, world_keys
from rl_tracking.envs.vec_env import make_scenario, make_vec
from rl_tracking.errors import UsageError
from rl_tracking.restoring.check import measure
from rl_tracking.restoring.protocol import as_restorable
from rl_tracking.runs.benchmark.measuring import Sizes, is_cuda, seconds, threads

ADAPTED = "HalfCheetah-v5"
_WORTH_THREADS = 4096  # worlds from which on an operation is long enough to be shared out
_PRESETS = ("drone", "sandbox")


def steps(device: str, sizes: Sizes) -> list[dict[str, Any]]:
    """Steps of the simulator by preset, worlds and threads; on cuda eager and compiled."""
    on_cuda = is_cuda(device)
    most = torch.get_num_threads()
    return [
        _steps(device, sizes, preset, worlds, count, compiled)
        for preset in _PRESETS
        for worlds in sizes.worlds_on(device)
        for count in sorted({1, most if worlds >= _WORTH_THREADS and not on_cuda else 1})
        for compiled in ((False, True) if on_cuda else (False,))
    ]


def stepper(simulator: Simulator, *, compiled: bool) -> Callable[[Any, Tensor], tuple[Any, ...]]:
    """One step of all worlds as a function of tensors: the state after, observation, reward and ends."""

    def step(state: Any, action: Tensor) -> tuple[Any, ...]:
        made = simulator.transition(state, action)
        return made.after, made.observation, made.reward, made.terminated, made.truncated

    if not compiled:
        return step
    torch.compiler.reset()  # else the ninth batch of worlds would silently run eager
    return torch.compile(step, dynamic=False)


@torch.no_grad()
def _steps(device: str, sizes: Sizes, preset: str, worlds: int, count: int, compiled: bool) -> dict[str, Any]:
    simulator = Simulator(make_scenario("pursuit", preset=preset), device)
    state = simulator.initial(world_keys(0, worlds, simulator.device))
    action = torch.rand(worlds, *simulator.action_shape, generator=torch.Generator().manual_seed(0)).to(device) * 2 - 1
    for _ in range(10):
        state = simulator.transition(state, action).after
    step = stepper(simulator, compiled=compiled)

    def walk_on() -> None:  # from the state reached, as in use: what a step prepares for the next one counts
        nonlocal state
        state = step(state, action)[0]

    row = {"preset": preset, "worlds": worlds, "threads": count, "compiled": compiled}
    try:
        with torch.inference_mode(not compiled), threads(count), warnings.catch_warnings():
            if compiled:
                warnings.simplefilter("ignore")  # the compiler talks to itself
            taken = seconds(walk_on, device, sizes.rounds, sizes.budget)
    except RuntimeError as error:  # no compiler here, or a card too small for so many worlds
        return {**row, "skipped": str(error).strip().split("\n")[0]}
    return {**row, "seconds": taken, "steps_per_second": worlds / taken}


def gym_make(sizes: Sizes) -> list[dict[str, Any]]:
    """Steps of one world through ``gymnasium.make``, on the cpu, by preset."""
    return [_gym_make(sizes, preset) for preset in _PRESETS]


def _gym_make(sizes: Sizes, preset: str) -> dict[str, Any]:
    env = gym.make("rl_tracking/Pursuit-v0", preset=preset)
    env.reset(seed=0)
    env.action_space.seed(0)
    action = env.action_space.sample()

    def step() -> None:
        _, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            env.reset()

    with threads(1):
        taken = seconds(step, "cpu", sizes.rounds, 6 * sizes.budget)
    return {"preset": preset, "steps_per_second": 1 / taken}


@torch.inference_mode()
def branches(device: str, sizes: Sizes, samples: int = 8, worlds: int = 64) -> dict[str, Any]:
    """Forking ``worlds`` worlds ``samples`` ways and stepping all of them, against as many worlds of their own."""
    simulator = Simulator(make_scenario("pursuit"), device)
    state = simulator.initial(world_keys(0, worlds, simulator.device))
    many = simulator.initial(world_keys(0, samples * worlds, simulator.device))
    action = torch.zeros(samples * worlds, *simulator.action_shape, device=device)
    pairs = [
        [
            seconds(step, device, sizes.rounds, sizes.budget / 2)
            for step in (
                lambda: simulator.transition(state.repeat(samples), action),
                lambda: simulator.transition(many, action),
            )
        ]
        for _ in range(sizes.rounds)
    ]
    ratio = statistics.median(branched / plain for branched, plain in pairs)
    return {"samples": samples, "worlds": worlds, "equal_worlds": samples * worlds, "ratio": ratio}


def state(device: str, sizes: Sizes, worlds: int = 4096) -> dict[str, Any]:
    """Saving and restoring worlds of this package."""
    env = make_vec("pursuit", worlds, seed=0, device=device)
    env.reset()
    taken = seconds(lambda: env.set_state(env.get_state()), device, sizes.rounds, sizes.budget)
    return {"worlds": worlds, "us_per_world": taken / worlds * 1e6}


def adapter(sizes: Sizes, samples: int = 8) -> dict[str, Any]:
    """Saving, restoring and branching a Gymnasium environment, against its steps; says why where it is not here."""
    try:
        env = as_restorable(ADAPTED)
    except UsageError as error:
        return {"environment": ADAPTED, "skipped": str(error)}
    env.seed(0)
    env.reset()
    return {"environment": ADAPTED, **restoring_cost(env, samples, sizes)}


def restoring_cost(env: Any, samples: int, sizes: Sizes) -> dict[str, Any]:
    """Saving, restoring and branching against the steps alone; the worlds are closed."""
    cost = measure(env, branches=samples, rounds=sizes.adapter_steps)
    env.close()
    return {
        "samples": samples,
        "us_per_world": (cost.save + cost.restore) * 1e6,
        "us_per_step": cost.step * 1e6,
        "branching_ratio_to_steps": cost.branching,
    }
