"""What it costs to watch that adapted environments are restored faithfully, of a whole training loop."""

from __future__ import annotations

import time
from typing import Any

from rl_tracking.agents.hybrid_grpo import HybridGRPO
from rl_tracking.errors import UsageError
from rl_tracking.runs.benchmark.measuring import Sizes, threads

WATCHED = ("CartPole-v1", "HalfCheetah-v5")
_STEPS = 64  # macro-steps a rollout: short turns, between which the machine changes little


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
            algorithm("MlpPolicy", env, n_steps=_STEPS, seed=0, device="cpu") for algorithm in (HybridGRPO, _Unwatched)
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
    model.learn(_STEPS, reset_num_timesteps=False)
    return time.process_time() - started
