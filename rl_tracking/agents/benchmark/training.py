"""Measures the simulator, branches and training loops, as ratios side by side in one run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import gymnasium as gym
import torch
from stable_baselines3 import PPO

from rl_tracking.agents.hybrid_grpo import HybridGRPO
from rl_tracking.envs.simulator import Simulator, world_keys
from rl_tracking.envs.vec_env import make_scenario, make_vec

_ROUNDS = 5
_WORLDS = (1, 64, 512, 4096, 16_384)
_WORTH_THREADS = 4096  # worlds from which on an operation is long enough to be shared out
_PRESETS = ("drone", "sandbox")


def run() -> dict[str, Any]:
    """All measurements; about two minutes on two cores."""
    return {
        "threads": torch.get_num_threads(),
        "simulator": [
            _simulator(preset, worlds, threads)
            for preset in _PRESETS
            for worlds in _WORLDS
            for threads in sorted({1, torch.get_num_threads() if worlds >= _WORTH_THREADS else 1})
        ],
        "gym_make": _gym_make(),
        "branches": _branches(),
        "state": _state(),
        "training": _training(),
    }


@contextmanager
def _threads(number: int) -> Iterator[None]:
    """Give torch so many threads. On a busy machine more than one can be far slower: they wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _seconds(function: Callable[[], object], budget: float = 0.3) -> float:
    """Time of one call in the best of several rounds, as ``timeit`` advises: other programs only ever add to it."""
    function()
    started = time.perf_counter()
    function()
    calls = max(1, int(budget / _ROUNDS / max(time.perf_counter() - started, 1e-7)))
    rounds = []
    for _ in range(_ROUNDS):
        started = time.perf_counter()
        for _ in range(calls):
            function()
        rounds.append((time.perf_counter() - started) / calls)
    return min(rounds)


@torch.inference_mode()
def _simulator(preset: str, worlds: int, threads: int) -> dict[str, Any]:
    simulator = Simulator(make_scenario("pursuit", preset=preset))
    state = simulator.initial(world_keys(0, worlds))
    action = torch.rand(worlds, simulator.action_size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    for _ in range(10):
        state = simulator.transition(state, action).after
    with _threads(threads):
        seconds = _seconds(lambda: simulator.transition(state, action))
    return {
        "preset": preset,
        "worlds": worlds,
        "threads": threads,
        "seconds": seconds,
        "steps_per_second": worlds / seconds,
    }


def _gym_make() -> dict[str, Any]:
    env = gym.make("rl_tracking/Pursuit-v0")
    env.reset(seed=0)
    env.action_space.seed(0)
    action = env.action_space.sample()

    def step() -> None:
        _, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            env.reset()

    with _threads(1):
        seconds = _seconds(step, budget=2.0)
    return {"preset": "drone", "steps_per_second": 1 / seconds}


@torch.inference_mode()
def _branches(samples: int = 8, worlds: int = 64) -> dict[str, Any]:
    """Forking ``worlds`` worlds ``samples`` ways and stepping all of them, against as many worlds of their own."""
    simulator = Simulator(make_scenario("pursuit"))
    state = simulator.initial(world_keys(0, worlds))
    many = simulator.initial(world_keys(0, samples * worlds))
    action = torch.zeros(samples * worlds, simulator.action_size)
    pairs = [
        (
            _seconds(lambda: simulator.transition(state.repeat(samples), action), 0.2),
            _seconds(lambda: simulator.transition(many, action), 0.2),
        )
        for _ in range(_ROUNDS)
    ]
    ratio = statistics.median(branched / plain for branched, plain in pairs)
    return {"samples": samples, "worlds": worlds, "equal_worlds": samples * worlds, "ratio": ratio}


def _state(worlds: int = 4096) -> dict[str, Any]:
    env = make_vec("pursuit", worlds, seed=0)
    env.reset()
    seconds = _seconds(lambda: env.set_state(env.get_state()))
    return {"worlds": worlds, "us_per_world": seconds / worlds * 1e6}


def _training(worlds: int = 64, samples: int = 8, rollouts: int = 12) -> dict[str, Any]:
    """Whole training loops in turns, so that a slow moment of the machine meets all of them; on one thread each."""
    with _threads(1):  # as `rltrack train` does
        return _training_in_turns(worlds, samples, rollouts)


def _training_in_turns(worlds: int, samples: int, rollouts: int) -> dict[str, Any]:
    common: dict[str, Any] = {"n_steps": 32, "batch_size": 512, "n_epochs": 10, "seed": 0, "device": "cpu"}
    models: dict[tuple[str, int], Any] = {
        ("PPO", worlds): PPO("MlpPolicy", make_vec("pursuit", worlds, seed=0), **common),
        ("HybridGRPO", worlds): HybridGRPO(
            "MlpPolicy", make_vec("pursuit", worlds, seed=0), n_samples=samples, **common
        ),
        ("PPO", samples * worlds): PPO("MlpPolicy", make_vec("pursuit", samples * worlds, seed=0), **common),
    }
    rates: dict[tuple[str, int], list[float]] = {key: [] for key in models}
    for turn in range(_ROUNDS + 1):
        for key, model in models.items():
            steps = key[1] * common["n_steps"] * max(1, rollouts // _ROUNDS)
            started = time.perf_counter()
            model.learn(steps, reset_num_timesteps=False)
            if turn > 0:  # the first turn warms up
                rates[key].append(steps / (time.perf_counter() - started))
    medians = {key: statistics.median(values) for key, values in rates.items()}
    rows = [
        {
            "algorithm": f"HybridGRPO, N = {samples}" if name == "HybridGRPO" else name,
            "worlds": count,
            "macro_steps_per_second": rate,
            "simulator_steps_per_second": rate * (samples if name == "HybridGRPO" else 1),
            "ratio_to_ppo": rate / medians["PPO", worlds],
        }
        for (name, count), rate in medians.items()
    ]
    hybrid, many = medians["HybridGRPO", worlds] * samples, medians["PPO", samples * worlds]
    return {"rows": rows, "simulator_steps_ratio_to_ppo_with_all_worlds": hybrid / many}
