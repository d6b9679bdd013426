"""What the JSON members of a checkpoint may say: kinds, bounds and depths, checked by msgspec as they are read."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from rl_tracking.errors import brief

# Bounds are far above what is used, and far below what would fill the memory of a reader.
SCHEMA = 2
DEEPEST = 32  # levels of tables and lists within each other
_MOST_ELEMENTS = 2**23  # of a space: more than four stacked pictures of 512 x 512 x 3 have

Size = Annotated[int, Meta(ge=1, le=2**20)]  # of a layer
Count = Annotated[int, Meta(ge=0, le=2**62)]
Name = Annotated[str, Meta(max_length=1000)]
Digest = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
Layers = Annotated[list[Size], Meta(max_length=64)]
Shape = Annotated[list[Annotated[int, Meta(ge=0, le=_MOST_ELEMENTS)]], Meta(max_length=8)]
Kind = TypeVar("Kind")


class DescriptionError(ValueError):
    """A member that says what it must not; one line."""


# -- spaces -------------------------------------------------------------------------------------------------------


class BoxSpace(Struct, tag_field="type", tag="Box", forbid_unknown_fields=True):
    """Bounds are one number for all elements, or nested lists; infinities are texts."""

    low: Any
    high: Any
    shape: Shape
    dtype: Literal[
        "float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"
    ]

    @property
    def elements(self) -> int:
        """How many numbers there are."""
        return math.prod(self.shape)


class DiscreteSpace(Struct, tag_field="type", tag="Discrete", forbid_unknown_fields=True):
    """``n`` choices from ``start`` on."""

    n: Annotated[int, Meta(ge=1, le=_MOST_ELEMENTS)]
    start: Annotated[int, Meta(ge=-(2**62), le=2**62)]

    @property
    def elements(self) -> int:
        """As networks see it: one-hot."""
        return self.n


class MultiDiscreteSpace(Struct, tag_field="type", tag="MultiDiscrete", forbid_unknown_fields=True):
    """Several choices; nested lists for a grid of them."""

    nvec: list[Any]
    start: list[Any]

    @property
    def elements(self) -> int:
        """As networks see it: one-hot."""
        return sum(numbers(self.nvec))


class MultiBinarySpace(Struct, tag_field="type", tag="MultiBinary", forbid_unknown_fields=True):
    """Bits, or a grid of them."""

    n: Annotated[int, Meta(ge=1, le=_MOST_ELEMENTS)] | Shape

    @property
    def elements(self) -> int:
        """How many bits there are."""
        return self.n if isinstance(self.n, int) else math.prod(self.n)


class DictSpace(Struct, tag_field="type", tag="Dict", forbid_unknown_fields=True):
    """Spaces by name."""

    spaces: Annotated[
        dict[Name, BoxSpace | DiscreteSpace | MultiDiscreteSpace | MultiBinarySpace], Meta(max_length=256)
    ]

    @property
    def elements(self) -> int:
        """Of all of them."""
        return sum(space.elements for space in self.spaces.values())


Space = BoxSpace | DiscreteSpace | MultiDiscreteSpace | MultiBinarySpace | DictSpace

# -- the policy ---------------------------------------------------------------------------------------------------


class Heads(Struct, forbid_unknown_fields=True):
    """Layers of the policy and of the critic."""

    pi: Layers = []
    vf: Layers = []


class NoArguments(Struct, forbid_unknown_fields=True):
    """Of an extractor that takes none."""


class PictureArguments(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """Of SB3's ``NatureCNN``."""

    features_dim: Size = 512
    normalized_image: bool = False


class CombinedArguments(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """Of SB3's ``CombinedExtractor``."""

    cnn_output_dim: Size = 256
    normalized_image: bool = False


class AttentionArguments(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """Of :class:`rl_tracking.agents.saving.extractors.MHA`."""

    steps: Size = 6
    width: Size = 64
    heads: Size = 8
    feed_forward: Size = 256
    layers: Annotated[int, Meta(ge=1, le=64)] = 4


EXTRACTOR_ARGUMENTS: dict[str, type[Struct]] = {
    "FlattenExtractor": NoArguments,
    "NatureCNN": PictureArguments,
    "CombinedExtractor": CombinedArguments,
    "MHA": AttentionArguments,
}


class PolicyBasis(Struct, kw_only=True):
    """What all policies have."""

    policy_class: str = msgspec.field(name="class")
    observation_space: Space
    action_space: Space
    activation_fn: str
    features_extractor: str
    features_extractor_kwargs: dict[str, Any]
    share_features_extractor: bool
    normalize_images: bool = True


class Policy(PolicyBasis, kw_only=True):
    """Everything that builds an actor with a critic of values but its weights."""

    net_arch: Layers | Heads
    use_sde: bool
    log_std_init: float
    squash_output: bool | None
    full_std: bool | None
    use_expln: bool | None
    ortho_init: bool


# -- rltrack.json -------------------------------------------------------------------------------------------------


class Scenario(Struct):
    """Where a policy was trained."""

    name: Name
    parameters: dict[str, Any]


class Environment(Struct):
    """The Gymnasium environment that a policy was trained in."""

    id: Name
    parameters: dict[str, Any]


class Plugin(Struct):
    """What was used by its name."""

    kind: Name
    name: Name
    source: Name
    sha256: Digest | None = None


class Member(Struct):
    """Another member of the zip."""

    size: Count
    sha256: Digest


class Description(Struct):
    """``rltrack.json``; what is not listed here may say anything."""

    schema: Annotated[int, Meta(ge=1)]
    policy: dict[str, Any]
    algorithm: Name = "a policy"
    macro_steps: Count = 0
    simulator_steps: Count = 0
    scenario: Scenario | None = None
    env: Environment | None = None
    spaces: dict[str, Any] = {}
    hyper_parameters: dict[str, Any] = {}
    plugins: Annotated[list[Plugin], Meta(max_length=256)] = []
    metrics: dict[str, Any] = {}
    versions: dict[str, Any] = {}
    members: dict[Name, Member] = {}

    @property
    def digests(self) -> dict[str, str | None]:
        """Of code that the checkpoint names, by the name."""
        return {plugin.name: plugin.sha256 for plugin in self.plugins}


def decode(content: bytes, kind: type[Kind]) -> Kind:
    """A JSON member as ``kind``.

    Raises:
        DescriptionError: it is no JSON or says something else.
    """
    try:
        # Depth first: msgspec converts nested tables by recursion.
        value = msgspec.json.decode(content)
        check_depth(value)
        return msgspec.convert(value, kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise DescriptionError(brief(error)) from error


def convert(value: Any, kind: Any) -> Any:
    """A part of a JSON member as ``kind``.

    Raises:
        DescriptionError: it says something else.
    """
    try:
        check_depth(value)
        return msgspec.convert(value, kind)
    except msgspec.MsgspecError as error:
        raise DescriptionError(brief(error)) from error


def check_depth(value: Any, left: int = DEEPEST) -> None:
    """Refuse tables and lists that are nested too deeply for what reads them.

    Raises:
        DescriptionError: they are.
    """
    if isinstance(value, dict | list):
        if left == 0:
            raise DescriptionError(f"it is nested more than {DEEPEST} levels deep")
        for item in value.values() if isinstance(value, dict) else value:
            check_depth(item, left - 1)


def numbers(nested: Any) -> list[int]:
    """The whole numbers in nested lists; all of them must be 1 or more, and together no more than a space may have.

    Raises:
        DescriptionError: they are not.
    """
    found: list[int] = []
    for item in nested:
        found += numbers(item) if isinstance(item, list) else [item]
    if not all(type(item) is int and item >= 1 for item in found) or sum(found) > _MOST_ELEMENTS:
        raise DescriptionError(f"choices must be whole numbers of 1 or more, and {_MOST_ELEMENTS:,} at most together")
    return found


def check_elements(space: Space) -> None:
    """Refuse a space so large that to make it would fill the memory.

    Raises:
        DescriptionError: it is.
    """
    if space.elements > _MOST_ELEMENTS:
        raise DescriptionError(f"a space of {space.elements:,} elements; {_MOST_ELEMENTS:,} at most")
