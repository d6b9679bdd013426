"""Where the results of a study are, relative to its folder."""

from __future__ import annotations


def cell_name(task: str, variant: str, seed: int) -> str:
    """The name of a cell, which is unique in its study."""
    return f"{task}/{variant}/seed-{seed}"


def results_of(cell: str) -> str:
    """The evaluations along a cell's training."""
    return f"cells/{cell}.jsonl"


def checkpoint_of(cell: str, share: float) -> str:
    """The folder of what is kept of a cell at a share of its budget, and measured there."""
    return f"gradients/{cell}/at-{share:g}"
