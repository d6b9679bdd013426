"""How fast whole training loops are: Hybrid GRPO beside SB3's PPO, and at the batch that suits it best."""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

from stable_baselines3 import PPO

from rl_tracking.agents.hybrid_grpo import HybridGRPO
from rl_tracking.agents.saving.extractors import MHA
from rl_tracking.envs.vec_env import make_vec
from rl_tracking.runs.benchmark.measuring import Sizes, elapsed, threads

_SAMPLES = 8
_ATTENTION = {"steps": 6, "width": 32, "heads": 4, "feed_forward": 64, "layers": 1}
_RECIPE = {"gamma": 0.98, "gae_lambda": 0.9, "learning_rate": 3e-3}  # as `rltrack train` has it to begin with


class Rate(NamedTuple):
    """Macro-steps a second by the clock, and a second of the cpu, which other programs take little away from."""

    wall: float
    cpu: float


def same_worlds(device: str, sizes: Sizes) -> dict[str, Any]:
    """MLP 64-64 on the default preset: the same worlds, network, epochs and batch of states."""
    arguments = _arguments(sizes.training_worlds, sizes.training_steps)
    return {"network": "MLP 64-64", **_beside_ppo(device, sizes, "drone", sizes.training_worlds, arguments, {})}


def attention(device: str, sizes: Sizes) -> dict[str, Any]:
    """The same with the observation that is a history, and an attention network that reads it."""
    arguments = _arguments(sizes.training_worlds, sizes.training_steps // 4)
    network = {"features_extractor_class": MHA, "features_extractor_kwargs": _ATTENTION}
    compared = _beside_ppo(device, sizes, "sandbox", sizes.training_worlds, arguments, network)
    return {"network": f"MHA of width {_ATTENTION['width']} and MLP 64-64", "extractor": _ATTENTION, **compared}


def best_batch(device: str, sizes: Sizes) -> dict[str, Any]:
    """Overall training, one-step branches all simulated, at several numbers of worlds; the best of the rounds counts.

    Four minibatches an epoch and four epochs, the settings with which it learns to follow the target.
    """
    steps = sizes.best_batch_steps
    models = {}
    for worlds in sizes.best_batch_worlds:
        arguments = {"n_steps": steps, "batch_size": worlds * steps // 4, "n_epochs": 4, **_RECIPE}
        models["HybridGRPO", worlds] = _model("HybridGRPO", device, "drone", worlds, arguments, {})
    rates = {key: max(measured) for key, measured in rates_of(models, device, sizes.rounds).items()}
    rows = [
        {
            "worlds": worlds,
            "n_steps": steps,
            "batch_size": worlds * steps // 4,
            "n_epochs": 4,
            "macro_steps_per_second": rate.wall,
            "macro_steps_per_cpu_second": rate.cpu,
            "simulator_steps_per_second": rate.wall * _SAMPLES,
        }
        for (_, worlds), rate in rates.items()
    ]
    best = max(rows, key=lambda row: row["macro_steps_per_second"])
    return {"preset": "drone", "samples": _SAMPLES, "rows": rows, "best": best}


def _arguments(worlds: int, steps: int) -> dict[str, Any]:
    return {"n_steps": steps, "batch_size": min(512, worlds * steps), "n_epochs": 10}


def _beside_ppo(
    device: str, sizes: Sizes, preset: str, worlds: int, arguments: dict[str, Any], network: dict[str, Any]
) -> dict[str, Any]:
    keys = (("PPO", worlds), ("HybridGRPO", worlds), ("PPO", _SAMPLES * worlds))
    models = {key: _model(key[0], device, preset, key[1], arguments, network) for key in keys}
    measured = rates_of(models, device, sizes.rounds)
    rates = {key: statistics.median(rate.wall for rate in found) for key, found in measured.items()}
    rows = [
        {
            "algorithm": name,
            "samples": _samples(name),
            "worlds": count,
            "macro_steps_per_second": rate,
            "simulator_steps_per_second": rate * _samples(name),
            "macro_steps_ratio_to_ppo": rate / rates["PPO", worlds],
        }
        for (name, count), rate in rates.items()
    ]
    hybrid, all_worlds = rates["HybridGRPO", worlds], rates["PPO", _SAMPLES * worlds]
    return {
        "preset": preset,
        **arguments,
        "rows": rows,
        "macro_steps_ratio_to_ppo": hybrid / rates["PPO", worlds],
        "simulator_steps_ratio_to_ppo_with_all_worlds": _SAMPLES * hybrid / all_worlds,
    }


def _samples(name: str) -> int:
    return _SAMPLES if name == "HybridGRPO" else 1


def _model(name: str, device: str, preset: str, worlds: int, arguments: dict[str, Any], network: dict[str, Any]) -> Any:
    env = make_vec("pursuit", worlds, seed=0, device=device, preset=preset)
    given = {**arguments, "seed": 0, "device": device, "policy_kwargs": {**network}}
    if name == "HybridGRPO":
        return HybridGRPO("MlpPolicy", env, recipe="paper", advantage="per-sample", n_samples=_SAMPLES, **given)
    with warnings.catch_warnings():
        # SB3 recommends the cpu to a PPO without pictures; here the devices are what is compared.
        warnings.filterwarnings("ignore", message="You are trying to run PPO on the GPU")
        return PPO("MlpPolicy", env, **given)


def rates_of(models: Mapping[tuple[str, int], Any], device: str, rounds: int) -> dict[tuple[str, int], list[Rate]]:
    """Macro-steps a second of whole loops, a rollout and its update each, on one thread as ``rltrack train``.

    They run in turns, so that a slow moment of the machine meets all of them.
    """
    rates: dict[tuple[str, int], list[Rate]] = {key: [] for key in models}
    with threads(1):
        for turn in range(rounds + 1):
            for key, model in models.items():
                macro_steps = model.n_steps * key[1]
                busy = time.process_time()
                taken = elapsed(lambda: model.learn(macro_steps, reset_num_timesteps=False), device)  # noqa: B023
                if turn > 0:  # the first turn warms up
                    rates[key].append(Rate(macro_steps / taken, macro_steps / (time.process_time() - busy)))
    return rates
