"""Parameters of a scenario: those given, and the others as a preset has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from msgspec import Struct

from rl_tracking import schema
from rl_tracking.schema import Owner

Parameters = TypeVar("Parameters", bound=Struct)


def with_preset(
    kind: type[Parameters], presets: Mapping[str, dict[str, Any]], given: dict[str, Any], owner: Owner
) -> Parameters:
    """The given parameters, and the others as their ``preset`` has them.

    Args:
        kind: declares the parameters.
        presets: by name; the first is that of a scenario without a ``preset``.
        given: by name.
        owner: as errors call it.

    Raises:
        UsageError: an unknown preset, parameter or value, named with what would be right.
    """
    named = {"preset": given.get("preset", next(iter(presets)))}
    preset = schema.check(kind, named, owner)["preset"]
    return schema.read(kind, {**presets[preset], **given}, owner)
