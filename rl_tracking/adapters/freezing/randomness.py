"""Random number generators: saved where they are, restored in place, or started afresh from a seed."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch

from rl_tracking.adapters.freezing.core import Codec, Freezer, Node, NotCopyableError, Thawer

_BITS: dict[str, Any] = {
    cls.__name__: cls
    for cls in (np.random.PCG64, np.random.PCG64DXSM, np.random.MT19937, np.random.Philox, np.random.SFC64)
}
# Nodes from which numbers are drawn; a node of kind "seed" holds numbers that a later generator is made from.
RANDOM_KINDS = frozenset({"bits", "seed", "random-state", "random", "torch-generator"})


class _BitGenerators(Codec):
    """NumPy's bit generators, with the seed sequence that their children are spawned from."""

    kind = "bits"
    types = tuple(_BITS.values())

    def freeze(self, value: Any, node: Node, freezer: Freezer) -> None:
        node.label, node.content = type(value).__name__, (value.state, _seeds(value))

    def thaw(self, node: Node, live: Any, thawer: Thawer) -> Any:
        """The live one, set to the saved state, unless its seed sequence is another."""
        state, seeds = node.content
        if type(live).__name__ == node.label and _has_seeds(live, seeds) and thawer.may_reuse(live):
            live.state = state
            return live
        sequence = None
        if seeds is not None:
            entropy, key, pool, spawned = seeds
            sequence = np.random.SeedSequence(entropy, spawn_key=key, pool_size=pool, n_children_spawned=spawned)
        made = _BITS[node.label](sequence)
        made.state = state
        return made


def _seeds(bits: Any) -> tuple[Any, ...] | None:
    sequence = getattr(bits, "seed_seq", None)
    if not isinstance(sequence, np.random.SeedSequence):
        return None
    entropy: Any = sequence.entropy
    if not isinstance(entropy, int):
        entropy = tuple(int(word) for word in np.asarray(entropy).ravel())
    return entropy, tuple(sequence.spawn_key), sequence.pool_size, sequence.n_children_spawned


def _has_seeds(bits: Any, seeds: tuple[Any, ...] | None) -> bool:
    sequence = getattr(bits, "seed_seq", None)
    # Usually the same seed, of which no child was spawned since: this is asked at every restore.
    if seeds is not None and type(sequence) is np.random.SeedSequence and sequence.entropy is seeds[0]:
        return bool(sequence.n_children_spawned == seeds[3] and sequence.spawn_key == seeds[1])
    return _seeds(bits) == seeds


_BITS_CODEC = _BitGenerators()


class _Generators(Codec):
    """NumPy's generators, by their bits."""

    kind = "generator"
    types = (np.random.Generator,)

    def freeze(self, value: Any, node: Node, freezer: Freezer) -> None:
        bits = value.bit_generator
        if type(bits).__name__ not in _BITS:
            raise NotCopyableError(f"a generator with {type(bits).__name__} bits")
        node.content = [freezer.freeze(bits)]

    def thaw(self, node: Node, live: Any, thawer: Thawer) -> Any:
        now = live.bit_generator if type(live) is np.random.Generator else None
        part = node.content[0]
        bits = thawer.thaw(part, now) if part.shared else _BITS_CODEC.thaw(part, now, thawer)
        return live if bits is now else np.random.Generator(bits)


class _RandomStates(Codec):
    """NumPy's legacy generators, with the normal number that they hold ready."""

    kind = "random-state"
    types = (np.random.RandomState,)

    def freeze(self, value: Any, node: Node, freezer: Freezer) -> None:
        node.content = value.get_state(legacy=False)

    def thaw(self, node: Node, live: Any, thawer: Thawer) -> Any:
        reusable = isinstance(live, np.random.RandomState) and thawer.may_reuse(live)
        made = live if reusable else np.random.RandomState(0)
        made.set_state(node.content)
        return made


class _Randoms(Codec):
    """Objects of Python's ``random.Random``."""

    kind = "random"
    types = (random.Random,)

    def freeze(self, value: Any, node: Node, freezer: Freezer) -> None:
        node.content = value.getstate()

    def thaw(self, node: Node, live: Any, thawer: Thawer) -> Any:
        made = live if type(live) is random.Random and thawer.may_reuse(live) else random.Random()
        made.setstate(node.content)
        return made


class _TorchGenerators(Codec):
    """PyTorch's generators."""

    kind = "torch-generator"
    types = (torch.Generator,)

    def freeze(self, value: Any, node: Node, freezer: Freezer) -> None:
        node.label, node.content = str(value.device), value.get_state().numpy().copy()

    def thaw(self, node: Node, live: Any, thawer: Thawer) -> Any:
        reusable = isinstance(live, torch.Generator) and str(live.device) == node.label and thawer.may_reuse(live)
        made = live if reusable else torch.Generator(node.label)
        made.set_state(torch.from_numpy(node.content.copy()))
        return made


def reseeded(node: Node, seed: tuple[int, ...]) -> Node:
    """A node of one of the ``RANDOM_KINDS`` as if its generator had been made from ``seed``."""
    made = Node(node.kind, node.label)
    word = int(np.random.SeedSequence(seed).generate_state(1)[0])
    if node.kind == "bits":
        bits = _BITS[node.label](np.random.SeedSequence(seed))
        made.content = (bits.state, _seeds(bits))
    elif node.kind == "seed":
        made.content = seed
    elif node.kind == "random-state":
        made.content = np.random.RandomState(word).get_state(legacy=False)
    elif node.kind == "random":
        made.content = random.Random(word).getstate()
    else:
        made.content = torch.Generator(node.label).manual_seed(word).get_state().numpy().copy()
    return made


RANDOM_CODECS = (_Generators(), _BITS_CODEC, _RandomStates(), _Randoms(), _TorchGenerators())
