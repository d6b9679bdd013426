"""Files that survive: written beside their place, synced, and renamed there, so that a reader finds the old or the new.

Text is UTF-8 whatever the locale says, and a byte order mark at its start is skipped.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rl_tracking.errors import UsageError, WriteError

try:
    import fcntl
except ImportError:  # Windows: there nobody can rename or delete a file that is open, so leftovers stay
    fcntl = None  # type: ignore[assignment]

_REASONS = {
    errno.ENOSPC: "no space left on the device",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.EFBIG: "the file grew beyond the size that is allowed",
    errno.EIO: "the disk failed",
    errno.ENOENT: "its folder does not exist",
}
_OF_DISKS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EIO)
_LINK = ".link"  # behind the name of a temporary file, while that is made a link to another
_NO_LINK = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)


class Replacement:
    """A temporary file beside ``path`` that takes its place with :meth:`commit`, or vanishes with :meth:`discard`.

    Its name is random and it is made anew, so nobody can have put a link there; it gets the mode that the umask gives.
    What writers that were killed left beside ``path`` is removed first.

    Args:
        path: the file to replace.
        keep_suffix: for writers that go by it.

    Attributes:
        temporary: where to write.

    Raises:
        WriteError: it cannot be written (no space, no permission ...); what stood at ``path`` is still there.
    """

    def __init__(self, path: Path, *, keep_suffix: bool = False) -> None:
        self._path, self.temporary = path, path
        self._lock: int | None = None
        try:
            remove_abandoned(path)
            self._lock, self.temporary = _create_beside(path, path.suffix if keep_suffix else "")
        except OSError as error:
            raise write_error(path, error) from error

    def commit(self) -> None:
        """Put the file in its place, for good."""
        with self.in_one_line():
            sync(self.temporary)
            os.chmod(self.temporary, _mode(self._path))
            os.replace(self.temporary, self._path)
            sync(self._path.parent)
        self.discard()

    def discard(self) -> None:
        """Leave nothing behind."""
        if self._lock is not None:
            self.temporary.unlink(missing_ok=True)
            os.close(self._lock)  # and with it the lock that says somebody is writing
            self._lock = None

    @contextmanager
    def in_one_line(self) -> Iterator[None]:
        """Turn an error of writing this file into one line."""
        try:
            yield
        except OSError as error:
            self.discard()
            if not self._is_ours(error):
                raise
            raise write_error(self._path, error) from error

    def _is_ours(self, error: OSError) -> bool:
        """Whether an error is of this file, and not of something else that the writer had to do with."""
        if error.filename is None:
            return error.errno in _OF_DISKS
        return Path(os.fsdecode(error.filename)) in (self.temporary, self._path, self._path.parent)


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Where to write what is to take the place of ``path`` at the end; it vanishes if anything goes wrong.

    Raises:
        WriteError: as :class:`Replacement`.
    """
    replacement = Replacement(path)
    try:
        with replacement.in_one_line():
            yield replacement.temporary
        replacement.commit()
    finally:
        replacement.discard()


def write_bytes(path: Path, content: bytes) -> None:
    """Replace the content of a file; see :func:`atomic`."""
    with atomic(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Replace the content of a file by text in UTF-8, its line ends as they are; see :func:`atomic`."""
    # Paths from a command line may hold bytes that the locale could not read: they are written as they came.
    write_bytes(path, text.encode("utf-8", errors="surrogateescape"))


def write_tensors(path: Path, content: Any) -> None:
    """Replace the content of a file by what ``torch.load(path, weights_only=True)`` reads; see :func:`atomic`."""
    import torch

    buffer = io.BytesIO()  # torch says of a full disk only that something went wrong
    torch.save(content, buffer)
    write_bytes(path, buffer.getvalue())


def read_text(path: Path, errors: str = "strict") -> str:
    """The text of a file in UTF-8, without a byte order mark.

    Raises:
        OSError: it cannot be read: a pipe or a device, say, of which nobody knows when it ends.
        UnicodeDecodeError: it is no UTF-8, unless ``errors`` says otherwise.
    """
    if path.exists() and not path.is_dir() and not path.is_file():
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    return path.read_text(encoding="utf-8-sig", errors=errors)


def sync(path: Path) -> None:
    """Have the disk hold what was written to a file, or the names in a folder, before going on."""
    folder = path.is_dir()
    if folder and not hasattr(os, "O_DIRECTORY"):  # Windows opens no folders
        return
    handle = os.open(path, os.O_RDONLY if folder else os.O_RDWR)
    try:
        os.fsync(handle)
    except OSError as error:
        if not folder or error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems sync no folders
            raise
    finally:
        os.close(handle)


def duplicate(source: Path, target: Path) -> None:
    """Have ``target`` be the file ``source``, without a moment in which either name is missing."""
    with atomic(target) as temporary:
        link = temporary.with_name(f"{temporary.name}{_LINK}")
        try:
            os.link(source, link)
        except OSError:  # a file system without links
            temporary.write_bytes(source.read_bytes())
        else:
            os.replace(link, temporary)


@contextmanager
def held(folder: Path, taken: str) -> Iterator[None]:
    """Hold a folder as long as this process works in it; the lock goes with the process, however that ends.

    Raises:
        UsageError: another process holds it, which ``taken`` says.
    """
    if fcntl is None:  # and there a second process is the user's to avoid
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(taken) from error
        except OSError:  # a file system without locks
            pass
        yield
    finally:
        os.close(handle)


def _create_beside(path: Path, suffix: str) -> tuple[int, Path]:
    """A new file beside ``path``, locked by an open handle for as long as it is being written."""
    while True:
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp{suffix}")
        handle = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | _NO_LINK, 0o600)
        if fcntl is not None:
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(handle, fcntl.LOCK_EX)
        if temporary.exists():
            return handle, temporary
        os.close(handle)  # taken for a leftover in the moment before it was locked


def remove_abandoned(path: Path) -> None:
    """Remove the temporary files beside ``path`` that nobody is writing any more."""
    if fcntl is None or not path.parent.is_dir():
        return
    ours = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]{{16}}\.tmp({re.escape(path.suffix)}|{re.escape(_LINK)})?")
    with os.scandir(path.parent) as entries:
        found = [entry.name for entry in entries if ours.fullmatch(entry.name)]
    for name in found:
        _remove_if_abandoned(path.with_name(name))


def _remove_if_abandoned(file: Path) -> None:
    with contextlib.suppress(OSError):  # gone by now, somebody else's, or still being written
        if not stat.S_ISREG(os.lstat(file).st_mode):
            return
        handle = os.open(file, os.O_RDWR | _NO_LINK)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            file.unlink()
        finally:
            os.close(handle)


def _mode(path: Path) -> int:
    """Of the file that is replaced, else what the umask gives a new one."""
    with contextlib.suppress(OSError):
        return stat.S_IMODE(os.stat(path).st_mode)
    mask = os.umask(0o077)
    os.umask(mask)
    return 0o666 & ~mask


def reason_of(error: OSError) -> str:
    """Why a file cannot be written, in a few words."""
    return _REASONS.get(error.errno or 0) or str(error.strerror or error)


def write_error(path: Path, error: OSError) -> WriteError:
    """That a file cannot be written, why, and what is kept."""
    kept = "the file of that name from before is kept" if path.exists() else "nothing was written"
    return WriteError(f"cannot write '{path}': {reason_of(error)}; {kept}")
