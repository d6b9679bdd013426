"""How fast training loops are: Hybrid GRPO beside SB3's PPO, at the batch that suits it best, and with watching."""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecEnv

from rl_tracking.agents.hybrid_grpo import HybridGRPO
from rl_tracking.agents.saving.extractors import MHA
from rl_tracking.envs.vec_env import make_vec
from rl_tracking.errors import UsageError
from rl_tracking.runs.benchmark.measuring import Sizes, elapsed, threads

SAMPLES = 8
WATCHED = ("CartPole-v1", "HalfCheetah-v5")  # environments on which watching is measured
_TURN = 64  # macro-steps of a rollout there: short turns, between which the machine changes little
_ATTENTION = {"steps": 6, "width": 32, "heads": 4, "feed_forward": 64, "layers": 1}
_RECIPE = {"gamma": 0.98, "gae_lambda": 0.9, "learning_rate": 3e-3}  # as `rltrack train` has it to begin with


class Rate(NamedTuple):
    """Macro-steps a second by the clock, and a second of the cpu, which other programs take little away from."""

    wall: float
    cpu: float


def same_worlds(device: str, sizes: Sizes) -> dict[str, Any]:
    """MLP 64-64 on the default preset: the same worlds, network, epochs and batch of states."""
    arguments = arguments_of(sizes.training_worlds, sizes.training_steps)
    return {"network": "MLP 64-64", **_beside_ppo(device, sizes, "drone", sizes.training_worlds, arguments, {})}


def attention(device: str, sizes: Sizes) -> dict[str, Any]:
    """The same with the observation that is a history, and an attention network that reads it."""
    arguments = arguments_of(sizes.training_worlds, sizes.training_steps // 4)
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
            "simulator_steps_per_second": rate.wall * SAMPLES,
        }
        for (_, worlds), rate in rates.items()
    ]
    best = max(rows, key=lambda row: row["macro_steps_per_second"])
    return {"preset": "drone", "samples": SAMPLES, "rows": rows, "best": best}


def arguments_of(worlds: int, steps: int) -> dict[str, Any]:
    """Of both algorithms, where they are compared."""
    return {"n_steps": steps, "batch_size": min(512, worlds * steps), "n_epochs": 10}


def _beside_ppo(
    device: str, sizes: Sizes, preset: str, worlds: int, arguments: dict[str, Any], network: dict[str, Any]
) -> dict[str, Any]:
    keys = (("PPO", worlds), ("HybridGRPO", worlds), ("PPO", SAMPLES * worlds))
    models = {key: _model(key[0], device, preset, key[1], arguments, network) for key in keys}
    rows = rows_of(models, device, sizes.rounds)
    (_, hybrid, all_worlds) = (row["macro_steps_per_second"] for row in rows)
    return {
        "preset": preset,
        **arguments,
        "rows": rows,
        "macro_steps_ratio_to_ppo": rows[1]["macro_steps_ratio_to_ppo"],
        "simulator_steps_ratio_to_ppo_with_all_worlds": SAMPLES * hybrid / all_worlds,
    }


def _model(name: str, device: str, preset: str, worlds: int, arguments: dict[str, Any], network: dict[str, Any]) -> Any:
    env = make_vec("pursuit", worlds, seed=0, device=device, preset=preset)
    return model_of(name, "MlpPolicy", env, device=device, policy_kwargs={**network}, **arguments)


def model_of(name: str, policy: str, env: VecEnv, **arguments: Any) -> Any:
    """``HybridGRPO`` with one-step branches, or SB3's ``PPO``."""
    if name == "HybridGRPO":
        return HybridGRPO(policy, env, seed=0, recipe="paper", advantage="per-sample", n_samples=SAMPLES, **arguments)
    with warnings.catch_warnings():
        # SB3 recommends the cpu to a PPO without pictures; here the devices are what is compared.
        warnings.filterwarnings("ignore", message="You are trying to run PPO on the GPU")
        return PPO(policy, env, seed=0, **arguments)


def rows_of(models: Mapping[tuple[str, int], Any], device: str, rounds: int) -> list[dict[str, Any]]:
    """A row for each model, by algorithm and number of worlds; ratios are to the first one, a PPO."""
    measured = rates_of(models, device, rounds)
    rates = {key: statistics.median(rate.wall for rate in found) for key, found in measured.items()}
    rows = []
    for (name, worlds), rate in rates.items():
        samples = SAMPLES if name == "HybridGRPO" else 1
        rows.append(
            {
                "algorithm": name,
                "samples": samples,
                "worlds": worlds,
                "macro_steps_per_second": rate,
                "simulator_steps_per_second": rate * samples,
                "macro_steps_ratio_to_ppo": rate / next(iter(rates.values())),
            }
        )
    return rows


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


class _Unwatched(HybridGRPO):
    """The same without comparing."""

    compares_branches = False


def watching(sizes: Sizes) -> list[dict[str, Any]]:
    """Time of training with watching against without, by environment; says why where one is not here.

    Both train with the same settings, in turns; of each the time counts that a tenth of its turns stays below, since
    other programs only ever add to it.
    """
    with threads(1):
        return [_measured(env, sizes.watching_turns) for env in WATCHED]


def _measured(env: str, turns: int) -> dict[str, Any]:
    try:
        models = [
            algorithm("MlpPolicy", env, n_steps=_TURN, seed=0, device="cpu") for algorithm in (HybridGRPO, _Unwatched)
        ]
    except UsageError as error:
        return {"environment": env, "skipped": str(error)}
    times: list[list[float]] = [[], []]
    for turn in range(turns + 1):
        for which in (0, 1) if turn % 2 else (1, 0):
            taken = _cpu_seconds(models[which])
            if turn > 0:  # the first turn warms up
                times[which].append(taken)
    watched, plain = (sorted(found)[len(found) // 10] for found in times)
    for model in models:
        model.env.close()  # type: ignore[union-attr]
    return {"environment": env, "samples": models[0].n_samples, "turns": turns, "ratio": watched / plain}


def _cpu_seconds(model: HybridGRPO) -> float:
    """Of one rollout and its update; other programs take little of it away, as they do of the time by the clock."""
    started = time.process_time()
    model.learn(_TURN, reset_num_timesteps=False)
    return time.process_time() - started
