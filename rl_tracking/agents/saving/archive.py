"""A checkpoint's zip file read with bounds, and its members compared with their checksums.

The directory, the members and their sizes are checked before anything is unpacked.
"""

from __future__ import annotations

import hashlib
import io
import struct
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from rl_tracking.agents.saving import checkpoint_schema
from rl_tracking.agents.saving.checkpoint_schema import SCHEMA, Description, DescriptionError
from rl_tracking.errors import UsageError

MEBIBYTE = 2**20
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
_MOST_MEMBERS = 64

_LONGEST_NAME = 200  # characters
_DIRECTORY_BYTES_A_MEMBER = 512
_END = struct.Struct("<4s4H2LH")  # end of central directory
_LOCATOR_BYTES, _END64_BYTES = 20, 56  # what stands before it in a zip64 file


class Archive:
    """The members of an open zip file.

    Args:
        name: what errors call it, such as ``checkpoint 'x.zip'``.
        archive: the open file; see :func:`open_archive`.
    """

    def __init__(self, name: str, archive: zipfile.ZipFile) -> None:
        self.name = name
        self._archive = archive
        self._members = {member.filename: member for member in archive.infolist()}

    def __contains__(self, member: str) -> bool:
        return member in self._members

    @property
    def sizes(self) -> dict[str, int]:
        """What each member says to be its size once it is unpacked [bytes]."""
        return {name: member.file_size for name, member in self._members.items()}

    def read(self, member: str, limit: int) -> bytes:
        """The content of a member.

        Args:
            member: its name.
            limit: the most that it may hold [bytes]; no more than that is unpacked.

        Raises:
            UsageError: it is missing, damaged or larger.
        """
        if member not in self:
            raise UsageError(f"{self.name} has no member '{member}'; it is damaged")
        info = self._members[member]
        if info.file_size > limit:
            raise UsageError(
                f"{self.name} has a member '{member}' of {info.file_size:,} bytes, which may have {limit:,} at most"
            )
        try:
            # One byte more than allowed, not the whole member: a directory may lie about sizes (a zip bomb).
            with self._archive.open(info) as file:
                content = file.read(limit + 1)
            if len(content) != info.file_size:
                raise EOFError
        except Exception as error:  # zipfile raises many kinds for damaged data
            raise UsageError(f"{self.name} is damaged: '{member}' cannot be read") from error
        return content


@contextmanager
def open_archive(source: Path | bytes, name: str, *, most: int) -> Iterator[Archive]:
    """Open a zip file from any source.

    Args:
        source: the file, or its content.
        name: what errors call it.
        most: how many members it may have.

    Raises:
        UsageError: it is no zip file, or one that this project would not write: too many members, two of one name,
            odd names, encryption or an unusual compression.
    """
    cut_short = f"{name} is no zip file, or was cut short"
    with ExitStack() as opened:
        try:
            # The size of the directory is in the last bytes; zipfile would read all of it, however long.
            file = opened.enter_context(io.BytesIO(source) if isinstance(source, bytes) else source.open("rb"))
            if _directory_bytes(file) > most * _DIRECTORY_BYTES_A_MEMBER:
                raise UsageError(f"{name} has too many members; {most} at most")
            archive = opened.enter_context(zipfile.ZipFile(file))
        except UsageError:
            raise
        except Exception as error:  # zipfile raises many kinds for damaged data
            raise UsageError(cut_short) from error
        members = archive.infolist()
        # Members can be zips themselves: a file cut short can end in a whole one, which does not start at 0.
        if min((member.header_offset for member in members), default=0) > 0:
            raise UsageError(cut_short)
        _check(members, name, most)
        yield Archive(name, archive)


def _directory_bytes(file: io.BufferedIOBase) -> int:
    """Size of the directory, all of which zipfile reads when it opens a file.

    Raises:
        BadZipFile: the file does not end as a zip does.
    """
    total = file.seek(0, io.SEEK_END)
    file.seek(max(0, total - _END.size - _LOCATOR_BYTES - _END64_BYTES))
    tail = file.read()
    file.seek(0)
    signature, *_, size, _offset, comment = _END.unpack(tail[-_END.size :])
    if signature != b"PK\x05\x06" or comment != 0:
        raise zipfile.BadZipFile
    # A zip64 file has the size in a record of its own, before the end of the directory (APPNOTE 4.3.14).
    before = tail[: -_END.size]
    if before[-_LOCATOR_BYTES:][:4] == b"PK\x06\x07" and before[:4] == b"PK\x06\x06":
        (size,) = struct.unpack_from("<Q", before, 40)
    return int(size)


def _check(members: list[zipfile.ZipInfo], name: str, most: int) -> None:
    """Refuse what this project does not write."""
    if len(members) > most:
        raise UsageError(f"{name} has {len(members):,} members; {most} at most")
    seen: set[str] = set()
    for member in members:
        shown = repr(member.filename[:_LONGEST_NAME])
        # Readers would differ in which of two members of one name they take.
        if member.filename in seen:
            raise UsageError(f"{name} is damaged: it has two members {shown}")
        seen.add(member.filename)
        # Paths out of the folder, and bytes after a NUL that zipfile cuts off.
        if not _plain(member.filename) or member.orig_filename != member.filename:
            raise UsageError(f"{name} is damaged: it has a member with an odd name, {shown}")
        encrypted = member.flag_bits & 0x1
        if encrypted or member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise UsageError(f"{name} has a member {shown} that is encrypted or compressed in an unusual way")


def _plain(filename: str) -> bool:
    """Whether it is a relative path of visible characters."""
    parts = filename.split("/")
    return (
        len(filename) <= _LONGEST_NAME
        and filename.isprintable()
        and "\\" not in filename
        and ".." not in parts
        and all(parts)
    )


# -- a checkpoint -----------------------------------------------------------------------------------------------------


class Members:
    """An open checkpoint.

    Attributes:
        name: what errors call it.
        said: the part of ``rltrack.json`` that has a schema.
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
        # Against damage, not against forgery: who changes a member can change its checksum too.
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
    with open_archive(_file(source), name, most=_MOST_MEMBERS) as archive:
        yield Members(name, archive)


def is_ours(source: Path | bytes, name: str) -> bool:
    """Whether a zip file has a description at all.

    Raises:
        UsageError: it is missing, no zip or cut short.
    """
    with open_archive(_file(source), name, most=_MOST_MEMBERS) as archive:
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
        # The version first, since a newer description need not fit this schema.
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
