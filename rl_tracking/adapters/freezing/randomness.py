"""Random number generators: where they are, put back in place, or started afresh from a seed."""

from __future__ import annotations

import functools
import random
from typing import Any

import numpy as np
import torch

from rl_tracking.adapters.freezing.core import Freezer, Node, NotCopyableError, Thawer

_BITS: dict[str, Any] = {
    cls.__name__: cls
    for cls in (np.random.PCG64, np.random.PCG64DXSM, np.random.MT19937, np.random.Philox, np.random.SFC64)
}
RANDOM_KINDS = ("bits", "generator", "seed", "random-state", "random", "torch-generator")


class BitGenerators:
    """NumPy's bit generators, with the seed sequence that their children are spawned from."""

    kind = "bits"

    def accepts(self, cls: type) -> bool:
        """NumPy's own: PCG64, MT19937, Philox, SFC64."""
        return cls in _BITS.values()

    def freeze(self, value: Any, node: Node, freezer: Freezer) -> None:
        """State and seed sequence."""
        node.label, node.content = type(value).__name__, (value.state, _seeds(value))

    def thaw(self, node: Node, live: Any, thawer: Thawer) -> Any:
        """The living one, set to the state, unless its seed sequence is another."""
        return _bits(node, live, thawer)


def _bits(node: Node, live: Any, thawer: Thawer) -> Any:
    state, seeds = node.content
    if type(live).__name__ != node.label or not _has(live, seeds) or not thawer.may_reuse(live):
        return _made(node)
    live.state = state
    return live


def _made(node: Node) -> Any:
    state, seeds = node.content
    sequence = None
    if seeds is not None:
        entropy, key, pool, spawned = seeds
        sequence = np.random.SeedSequence(entropy, spawn_key=key, pool_size=pool, n_children_spawned=spawned)
    made = _BITS[node.label](sequence)
    made.state = state
    return made


def _has(bits: Any, seeds: tuple[Any, ...] | None) -> bool:
    sequence = getattr(bits, "seed_seq", None)
    # The same seed and no children spawned since: what is asked at every restore.
    if seeds is not None and isinstance(sequence, np.random.SeedSequence) and sequence.entropy is seeds[0]:
        return bool(sequence.n_children_spawned == seeds[3] and sequence.spawn_key == seeds[1])
    return _seeds(bits) == seeds


def _seeds(bits: Any) -> tuple[Any, ...] | None:
    sequence = getattr(bits, "seed_seq", None)
    if not isinstance(sequence, np.random.SeedSequence):
        return None
    entropy: Any = sequence.entropy
    if not isinstance(entropy, int):
        entropy = tuple(int(word) for word in np.asarray(entropy).ravel())
    return entropy, tuple(sequence.spawn_key), sequence.pool_size, sequence.n_children_spawned


class Generators:
    """NumPy's generators, each with bits of its own."""

    kind = "generator"

    def accepts(self, cls: type) -> bool:
        """``numpy.random.Generator``."""
        return cls is np.random.Generator

    def freeze(self, value: Any, node: Node, freezer: Freezer) -> None:
        """The state of its bits."""
        bits = value.bit_generator
        if type(bits) not in _BITS.values():
            raise NotCopyableError(f"a generator with {type(bits).__name__} bits")
        if not freezer.claim(bits):
            raise NotCopyableError("a generator that shares its bits with another")
        node.label, node.content = type(bits).__name__, (bits.state, _seeds(bits))

    def thaw(self, node: Node, live: Any, thawer: Thawer) -> Any:
        """The living one if it can be set to this state."""
        now = live.bit_generator if type(live) is np.random.Generator else None
        bits = _bits(node, now, thawer)
        return live if bits is now else np.random.Generator(bits)


class Seeds:
    """Generators that nobody has drawn from: only the numbers that they start from are kept."""

    kind = "seed"

    def accepts(self, cls: type) -> bool:
        """None: spaces make such nodes, and so does new randomness."""
        return False

    def freeze(self, value: Any, node: Node, freezer: Freezer) -> None:
        """Never called."""

    def thaw(self, node: Node, live: Any, thawer: Thawer) -> Any:
        """A new one."""
        return generator_of(node)


def generator_of(node: Node) -> np.random.Generator:
    """A generator of its own, of kind ``generator`` or ``seed``."""
    if node.kind == "seed":
        return np.random.Generator(np.random.PCG64(np.random.SeedSequence(node.content)))
    return np.random.Generator(_made(node))


@functools.lru_cache(maxsize=1024)
def started(seed: tuple[int, ...]) -> tuple[Any, ...]:
    """What is kept of a generator that was made from a ``seed`` node's numbers and not drawn from."""
    bits = np.random.PCG64(np.random.SeedSequence(seed))
    return bits.state, _seeds(bits)


class RandomStates:
    """NumPy's former generators."""

    kind = "random-state"

    def accepts(self, cls: type) -> bool:
        """``numpy.random.RandomState``."""
        return cls is np.random.RandomState

    def freeze(self, value: Any, node: Node, freezer: Freezer) -> None:
        """State, and the number it holds ready."""
        node.content = value.get_state(legacy=False)

    def thaw(self, node: Node, live: Any, thawer: Thawer) -> Any:
        """The living one."""
        reusable = isinstance(live, np.random.RandomState) and thawer.may_reuse(live)
        made = live if reusable else np.random.RandomState(0)
        made.set_state(node.content)
        return made


class Randoms:
    """Python's ``random.Random``."""

    kind = "random"

    def accepts(self, cls: type) -> bool:
        """Objects of one's own."""
        return cls is random.Random

    def freeze(self, value: Any, node: Node, freezer: Freezer) -> None:
        """State."""
        node.content = value.getstate()

    def thaw(self, node: Node, live: Any, thawer: Thawer) -> Any:
        """The living one."""
        made = live if type(live) is random.Random and thawer.may_reuse(live) else random.Random()
        made.setstate(node.content)
        return made


class TorchGenerators:
    """PyTorch's generators."""

    kind = "torch-generator"

    def accepts(self, cls: type) -> bool:
        """All of them."""
        return issubclass(cls, torch.Generator)

    def freeze(self, value: Any, node: Node, freezer: Freezer) -> None:
        """State and device."""
        node.label, node.content = str(value.device), value.get_state().numpy().copy()

    def thaw(self, node: Node, live: Any, thawer: Thawer) -> Any:
        """The living one."""
        reusable = isinstance(live, torch.Generator) and str(live.device) == node.label and thawer.may_reuse(live)
        made = live if reusable else torch.Generator(node.label)
        made.set_state(torch.from_numpy(node.content.copy()))
        return made


def reseeded(node: Node, seed: tuple[int, ...]) -> Node:
    """A generator's node as if it had been made from ``seed``; what is no generator is returned as it is."""
    if node.kind in ("bits", "generator"):
        bits = _BITS[node.label](np.random.SeedSequence(seed))
        return Node(node.kind, node.label, (bits.state, _seeds(bits)))
    if node.kind == "seed":
        return Node("seed", "", seed)
    word = int(np.random.SeedSequence(seed).generate_state(1)[0])
    if node.kind == "random-state":
        return Node(node.kind, node.label, np.random.RandomState(word).get_state(legacy=False))
    if node.kind == "random":
        return Node(node.kind, node.label, random.Random(word).getstate())
    if node.kind == "torch-generator":
        state = torch.Generator(node.label).manual_seed(word).get_state().numpy().copy()
        return Node(node.kind, node.label, state)
    return node


RANDOM_CODECS = (Generators(), BitGenerators(), Seeds(), RandomStates(), Randoms(), TorchGenerators())
