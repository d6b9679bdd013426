"""How much is measured, and how a time is taken."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch


@dataclasses.dataclass(frozen=True)
class Sizes:
    """How much is measured.

    Attributes:
        worlds: batches in which the simulator steps.
        worlds_on_cuda: more of them, on cuda.
        rounds: how often every time is taken.
        budget: of one time of the simulator [s].
        training_worlds: of the comparison with PPO, whose second row has eight times as many.
        training_steps: macro-steps a world and rollout, there.
        best_batch_worlds: batches of which the one that trains fastest is sought.
        best_batch_steps: macro-steps a world and rollout, there.
        adapter_steps: steps of the environment behind the adapter.
        watching_turns: rollouts trained with and without watching.
    """

    worlds: tuple[int, ...] = (1, 64, 512, 4096, 16_384)
    worlds_on_cuda: tuple[int, ...] = (65_536, 262_144, 1_048_576)
    rounds: int = 5
    budget: float = 0.3
    training_worlds: int = 64
    training_steps: int = 32
    best_batch_worlds: tuple[int, ...] = (256, 1024, 4096)
    best_batch_steps: int = 16
    adapter_steps: int = 300
    watching_turns: int = 60

    def worlds_on(self, device: str) -> tuple[int, ...]:
        """Batches in which the simulator steps on a device."""
        return self.worlds + (self.worlds_on_cuda if is_cuda(device) else ())


FULL = Sizes()


def is_cuda(device: str) -> bool:
    """Whether a device is an NVIDIA card (``cuda`` or ``cuda:1``)."""
    return torch.device(device).type == "cuda"


def wait_for(device: str) -> None:
    """Let the card finish what it was given: a call returns before its work is done there."""
    if is_cuda(device):
        torch.cuda.synchronize(device)


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Give torch so many threads. On a busy machine more than one can be far slower: they wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def seconds(function: Callable[[], object], device: str, rounds: int, budget: float) -> float:
    """Time of one call in the best of several rounds, as ``timeit`` advises: other programs only ever add to it."""
    function()
    calls = max(1, int(budget / rounds / max(elapsed(function, device), 1e-7)))

    def repeated() -> None:
        for _ in range(calls):
            function()

    return min(elapsed(repeated, device) for _ in range(rounds)) / calls


def elapsed(function: Callable[[], object], device: str) -> float:
    """Time of one call [s]."""
    wait_for(device)
    started = time.perf_counter()
    function()
    wait_for(device)
    return time.perf_counter() - started
