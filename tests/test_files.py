"""Files: complete or not there, nobody else's, and in UTF-8."""

import ast
import errno
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from rl_tracking import files
from rl_tracking.errors import UsageError, WriteError
from tests.agents.toys import one_line

PACKAGE = Path(files.__file__).parent


def names(folder):
    return sorted(path.name for path in folder.iterdir())


# -- replacing ---------------------------------------------------------------------------------------------------------


def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path):
    path = tmp_path / "a.txt"
    files.write_text(path, "one")
    files.write_text(path, "two\r\n")
    assert path.read_bytes() == b"two\r\n"
    assert names(tmp_path) == ["a.txt"]


def test_a_writer_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    files.write_text(path, "one")

    def fail():
        with files.atomic(path) as temporary:
            temporary.write_text("half")
            assert path.read_text() == "one"
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert (path.read_text(), names(tmp_path)) == ("one", ["a.txt"])


def test_a_new_file_has_the_mode_of_the_umask_and_an_old_one_keeps_its_own(tmp_path):
    before = os.umask(0o027)
    try:
        with files.atomic(tmp_path / "a") as temporary:
            assert stat.S_IMODE(temporary.stat().st_mode) == 0o600
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640
    (tmp_path / "a").chmod(0o604)
    files.write_text(tmp_path / "a", "again")
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o604


def test_the_name_beside_is_not_known_beforehand_and_is_made_anew(tmp_path, monkeypatch):
    found = set()
    for _ in range(20):
        with files.atomic(tmp_path / "a.zip") as temporary:
            found.add(temporary.name)
    assert len(found) == 20
    monkeypatch.setattr(files.secrets, "token_hex", lambda size: "0" * 2 * size)
    planted = tmp_path / f".a.zip.{'0' * 16}.tmp"
    planted.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(WriteError):
        files.write_text(tmp_path / "a.zip", "mine")
    assert names(tmp_path) == [planted.name, "a.zip"]
    assert not (tmp_path / "elsewhere").exists()


def test_file_and_folder_are_synced_before_and_after_the_renaming(tmp_path, monkeypatch):
    done = []

    def note(name):
        original = getattr(os, name)

        def noted(*arguments):
            seen = Path(os.readlink(f"/proc/self/fd/{arguments[0]}")).name if name == "fsync" else "renamed"
            done.append(seen)
            return original(*arguments)

        monkeypatch.setattr(os, name, noted)

    note("fsync")
    note("replace")
    files.write_text(tmp_path / "a.txt", "mine")
    assert done[0].startswith(".a.")
    assert done[1:] == ["renamed", tmp_path.name]


# -- what killed writers leave --------------------------------------------------------------------------------------


WRITER = """
import sys, time
from pathlib import Path
from rl_tracking import files
with files.atomic(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    print("writing", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def writer(tmp_path):
    """A process in the middle of writing ``a.txt``."""
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, tmp_path / "a.txt"], stdout=subprocess.PIPE, env=environment
    )
    assert process.stdout.readline() == b"writing\n"
    yield process
    process.kill()
    process.communicate()


def test_what_a_killed_writer_left_goes_with_the_next_write(writer, tmp_path):
    assert len(names(tmp_path)) == 1
    files.write_text(tmp_path / "a.txt", "whole")
    assert len(names(tmp_path)) == 2  # it is still writing
    writer.kill()
    writer.wait()
    files.write_text(tmp_path / "b.txt", "of another name")
    assert len(names(tmp_path)) == 3
    files.write_text(tmp_path / "a.txt", "whole")
    assert names(tmp_path) == ["a.txt", "b.txt"]


def test_files_of_other_kinds_are_left_alone(tmp_path):
    token = "0123456789abcdef"
    os.mkfifo(tmp_path / f".a.txt.{token}.tmp")
    (tmp_path / f".a.txt.{token[::-1]}.tmp").symlink_to(tmp_path / "b.txt")
    (tmp_path / ".a.txt.mine.tmp").write_text("mine")
    (tmp_path / "b.txt").write_text("mine")
    before = names(tmp_path)
    files.write_text(tmp_path / "a.txt", "whole")
    assert names(tmp_path) == sorted([*before, "a.txt"])
    assert (tmp_path / "b.txt").read_text() == "mine"


def test_many_writers_at_once_do_not_take_each_other_for_dead(tmp_path):
    failed = []

    def write(number):
        try:
            for _ in range(12):
                files.write_text(tmp_path / "a.txt", str(number) * 1000)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert names(tmp_path) == ["a.txt"]
    assert len(set((tmp_path / "a.txt").read_text())) == 1


def test_a_duplicate_is_the_file_and_stays_when_that_is_replaced(tmp_path):
    files.write_text(tmp_path / "a", "one")
    for _ in range(2):  # the second time both are one file already
        files.duplicate(tmp_path / "a", tmp_path / "b")
        assert ((tmp_path / "b").read_text(), names(tmp_path)) == ("one", ["a", "b"])
    files.write_text(tmp_path / "a", "two")
    assert (tmp_path / "b").read_text() == "one"


def test_what_a_killed_duplication_left_goes_with_the_next(tmp_path):
    files.write_text(tmp_path / "a", "one")
    os.link(tmp_path / "a", tmp_path / f".b.{'0' * 16}.tmp.link")
    files.duplicate(tmp_path / "a", tmp_path / "b")
    assert names(tmp_path) == ["a", "b"]


def test_a_duplicate_without_links_is_a_copy(tmp_path, monkeypatch):
    def refuse(*arguments):
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    files.write_text(tmp_path / "a", "one")
    files.duplicate(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_text() == "one"
    assert names(tmp_path) == ["a", "b"]


def test_a_folder_is_held_by_one(tmp_path):
    with (
        files.held(tmp_path, "taken"),
        pytest.raises(UsageError, match="taken"),
        files.held(tmp_path, "taken"),
    ):
        pass
    with files.held(tmp_path, "taken"):
        pass


# -- what cannot be written -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, "no space left on the device"),
        (errno.EDQUOT, "the disk quota is used up"),
        (errno.EROFS, "the file system is read-only"),
        (errno.EACCES, "permission denied"),
    ],
)
@pytest.mark.parametrize("function", ["fsync", "replace", "open"])
def test_a_full_disk_is_one_line_that_says_what_is_kept(number, said, function, tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    files.write_text(path, "one")
    original = getattr(os, function)

    def temporary(arguments):  # what is open has a name only where the system says so
        return None if number in (errno.ENOSPC, errno.EDQUOT) else os.readlink(f"/proc/self/fd/{arguments[0]}")

    def refuse(*arguments):
        if function != "open" or arguments[1] & os.O_CREAT:
            raise OSError(number, "whatever", temporary(arguments) if function == "fsync" else str(arguments[0]))
        return original(*arguments)

    monkeypatch.setattr(os, function, refuse)
    with pytest.raises(WriteError) as caught:
        files.write_text(path, "two")
    monkeypatch.undo()
    one_line(caught)
    assert str(caught.value) == f"cannot write '{path}': {said}; the file of that name from before is kept"
    assert (path.read_text(), names(tmp_path)) == ("one", ["a.txt"])


def test_a_device_that_is_full_is_one_line(tmp_path):
    def fill():
        with files.atomic(tmp_path / "a"), open("/dev/full", "w", encoding="utf-8") as full:
            full.write("x")

    with pytest.raises(WriteError, match="no space left on the device; nothing was written"):
        fill()
    assert names(tmp_path) == []


def test_a_missing_folder_is_one_line(tmp_path):
    with pytest.raises(WriteError, match="its folder does not exist; nothing was written"):
        files.write_text(tmp_path / "none" / "a.txt", "x")


def test_errors_of_other_files_stay_what_they_are(tmp_path):
    with pytest.raises(FileNotFoundError), files.atomic(tmp_path / "a"):
        (tmp_path / "other").read_text()
    assert names(tmp_path) == []


# -- text --------------------------------------------------------------------------------------------------------------


def test_a_byte_order_mark_is_skipped(tmp_path):
    (tmp_path / "a").write_bytes(b"\xef\xbb\xbfgr\xc3\xbc\xc3\x9fe")
    assert files.read_text(tmp_path / "a") == "grüße"


def test_tensors_are_read_back(tmp_path):
    files.write_tensors(tmp_path / "a", {"x": torch.arange(3), "y": 1})
    read = torch.load(tmp_path / "a", weights_only=True)
    assert read["x"].tolist() == [0, 1, 2]


def test_no_text_is_read_or_written_in_the_encoding_of_the_locale():
    """Every ``open``, ``read_text`` and ``write_text`` of the package names its encoding."""
    found = []
    for source in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            function = node.func
            name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
            others = isinstance(function, ast.Attribute) and (
                getattr(function.value, "id", "") in ("files", "os")
                or (name == "open" and bool(node.args) and not isinstance(node.args[0], ast.Constant))  # of an archive
            )
            if name not in ("open", "read_text", "write_text") or others:
                continue
            words = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
            binary = name == "open" and any(isinstance(word, str) and "b" in word for word in words)
            if not binary and not any(keyword.arg == "encoding" for keyword in node.keywords):
                found.append(f"{source.relative_to(PACKAGE)}:{node.lineno}")
    assert found == []
