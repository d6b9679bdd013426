"""The members of a checkpoint: how large each may be, and that each is what was saved."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rl_tracking.agents.saving import checkpoint_schema
from rl_tracking.agents.saving.archive import MEBIBYTE, Archive, open_archive
from rl_tracking.agents.saving.checkpoint_schema import SCHEMA, Description, DescriptionError
from rl_tracking.errors import UsageError

DESCRIPTION = "rltrack.json"
NORMALIZER = "normalizer.json"
WEIGHTS = "policy.pth"
ATTRIBUTES = "data"  # SB3's
LIMIT = 256 * MEBIBYTE  # of a member that is not listed below
_LIMITS = {  # what a member may hold [bytes]
    DESCRIPTION: MEBIBYTE,
    NORMALIZER: 16 * MEBIBYTE,
    WEIGHTS: 128 * MEBIBYTE,
    ATTRIBUTES: 16 * MEBIBYTE,
}
_MOST = 64


class Members:
    """An open checkpoint.

    Attributes:
        name: what errors call it.
        said: ``rltrack.json``, as far as it is read here.
        everything: all of it.
    """

    def __init__(self, name: str, archive: Archive) -> None:
        self.name, self._archive = name, archive
        self.said, self.everything = _description(name, archive)

    def __contains__(self, member: str) -> bool:
        return member in self._archive

    @property
    def names(self) -> list[str]:
        """Of all members."""
        return list(self._archive.sizes)

    def read(self, member: str, limit: int = LIMIT) -> bytes:
        """A member, compared with the checksum in the description; descriptions of schema 1 have none.

        Args:
            member: its name.
            limit: the most that it may hold, where it has no limit of its own [bytes].

        Raises:
            UsageError: it is missing, damaged, larger, or not what was saved.
        """
        content = self._archive.read(member, _LIMITS.get(member, limit))
        if self.said.schema > 1:
            expected = self.said.members.get(member)
            if expected is None or digest(content) != {"size": expected.size, "sha256": expected.sha256}:
                raise UsageError(f"{self.name} is damaged: '{member}' is not what was saved (its checksum differs)")
        return content


@contextmanager
def open_members(source: Path | bytes, name: str) -> Iterator[Members]:
    """Open a checkpoint.

    Args:
        source: the file, or its content.
        name: what errors call it.

    Raises:
        UsageError: it is missing, no zip, cut short, of a newer schema, damaged, or not written by this project.
    """
    with open_archive(_file(source), name, most=_MOST) as archive:
        yield Members(name, archive)


def is_ours(source: Path | bytes, name: str) -> bool:
    """Whether a zip file has a description at all.

    Raises:
        UsageError: it is missing, no zip or cut short.
    """
    with open_archive(_file(source), name, most=_MOST) as archive:
        return DESCRIPTION in archive


def digest(content: bytes) -> dict[str, Any]:
    """What a description says of a member."""
    return {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def _file(source: Path | bytes) -> Path | bytes:
    """The same, if there is such a file."""
    if isinstance(source, bytes) or source.is_file():
        return source
    if not source.exists():
        raise UsageError(f"checkpoint '{source}' does not exist")
    inside = source / "checkpoint.zip"
    hint = f"; did you mean '{inside}'?" if inside.is_file() else ""
    what = "a folder, not a file" if source.is_dir() else "no regular file"
    raise UsageError(f"checkpoint '{source}' is {what}{hint}")


def _description(name: str, archive: Archive) -> tuple[Description, dict[str, Any]]:
    if DESCRIPTION not in archive:
        raise UsageError(
            f"{name} has no {DESCRIPTION}, so it was not written by rl_tracking; "
            "if you trust where it comes from, add --trust (a Stable-Baselines3 zip can run code)"
        )
    content = archive.read(DESCRIPTION, _LIMITS[DESCRIPTION])
    try:
        everything = checkpoint_schema.decode(content, dict[str, Any])
        schema = checkpoint_schema.convert(everything.get("schema"), int)
        if schema > SCHEMA:
            raise UsageError(
                f"{name} has schema {schema}, and this rl_tracking reads up to {SCHEMA}; upgrade rl-tracking"
            )
        if not isinstance(everything.get("policy"), dict):
            raise UsageError(f"{name} is damaged: '{DESCRIPTION}' describes no policy")
        return checkpoint_schema.convert(everything, Description), everything
    except DescriptionError as error:
        raise UsageError(f"{name} is damaged: '{DESCRIPTION}' cannot be read: {error}") from error
