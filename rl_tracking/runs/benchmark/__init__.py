"""Measures the simulator, branches, restoring and training loops, as ratios side by side in one run."""

from __future__ import annotations

from typing import Any

import torch

from rl_tracking.runs.benchmark import simulation, training
from rl_tracking.runs.benchmark.measuring import FULL, Sizes
from rl_tracking.runs.build import check_device


def run(device: str = "cpu", sizes: Sizes = FULL) -> dict[str, Any]:
    """All measurements; three minutes on two cores.

    Args:
        device: where worlds and networks are. On cuda there are more worlds, and steps compiled by ``torch.compile``.
        sizes: how much is measured.

    Raises:
        UsageError: the device cannot be used here.
    """
    check_device(device)
    return {
        "device": device,
        "threads": torch.get_num_threads(),
        "simulator": simulation.steps(device, sizes),
        "gym_make": simulation.gym_make(sizes),
        "branches": simulation.branches(device, sizes),
        "state": simulation.state(device, sizes),
        "adapter": simulation.adapter(sizes),
        "watching": training.watching(sizes),
        "training": training.same_worlds(device, sizes),
        "training_attention": training.attention(device, sizes),
        "training_best_batch": training.best_batch(device, sizes),
    }
