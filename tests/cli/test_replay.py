"""``rltrack replay``: the step that a training failed at, made again."""

import json
import re
import zipfile

import pytest

from tests.failing_envs import ID

LATE = """
import torch

def late(step):
    bad = step.before.step == {at}
    reward = -step.nearest
    return torch.where(bad, torch.nan, reward){mend}
"""


@pytest.fixture
def crashed(rltrack, small, tmp_path):
    """The crash file of a training whose reward fails, and what was said."""

    def crashed(*arguments):
        (tmp_path / "late.py").write_text(LATE.format(at=6, mend=""))
        ended = rltrack("train", *small, "--reward", "late.py:late", "--out", "run", *arguments)
        assert ended.code == 1
        (line,) = ended.err.splitlines()
        (file,) = (tmp_path / "run").glob("crash-*.zip")
        return file.relative_to(tmp_path), line

    return crashed


def changed(path, member, change):
    """The same zip with another content of a member."""
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    content[member] = change(content[member])
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)


@pytest.mark.parametrize("arguments", [[], ["--set=horizon=1"], ["--algo", "grpo"], ["--algo", "ppo"]])
def test_a_reward_that_failed_fails_again(rltrack, crashed, arguments):
    file, line = crashed(*arguments)
    assert f"`rltrack replay {file} --trust` repeats the step" in line
    ended = rltrack("replay", file, "--trust")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith("pursuit drone, ")
    then, now = re.search(r"^then: (.*)\nnow:  (.*)$", ended.out, re.MULTILINE).groups()
    assert then == line.removeprefix("rltrack: ").partition("; `rltrack")[0]
    assert now == "the same error: reward 'late.py:late' returned nan; it must be finite"
    for row in ("action of the step", "position", "velocity", "target_position", "term late"):
        assert re.search(rf"^ *{row} ", ended.out, re.MULTILINE)


def test_as_json_it_has_the_values_of_the_world(rltrack, crashed):
    file, _ = crashed()
    told = json.loads(rltrack("replay", file, "--trust", "--json").out, parse_constant=pytest.fail)
    assert (told["place"], told["same"], told["steps"]) == ("pursuit drone", True, 1)
    assert told["again"] == "reward 'late.py:late' returned nan; it must be finite"
    assert (told["before"]["step"], told["after"]["step"]) == (6, 7)
    assert told["where"]["step"] == 6
    assert len(told["action"]) == 3
    assert told["terms"] == {"late": "reward 'late.py:late' returned nan; it must be finite"}
    assert told["versions"] == {}


def test_a_repaired_reward_does_not_fail_again(rltrack, crashed, tmp_path):
    file, _ = crashed()
    (tmp_path / "late.py").write_text(LATE.format(at=6, mend=".nan_to_num()"))
    refused = rltrack("replay", file, "--trust")
    assert refused.code == 2
    assert "which has changed since (then sha256" in refused.err
    assert "add --changed to see the step with it as it is now" in refused.err
    ended = rltrack("replay", file, "--trust", "--changed")
    assert ended.code == 0
    assert "now:  the step went well; the error does not occur again" in ended.out
    told = json.loads(rltrack("replay", file, "--trust", "--changed", "--json").out)
    assert (told["again"], told["same"]) == (None, False)
    assert told["terms"]["reward"] == told["terms"]["late"] == 0.0


def test_another_error_is_reported_as_another(rltrack, crashed, tmp_path):
    file, _ = crashed()
    (tmp_path / "late.py").write_text("def late(step):\n    return step.nearestt\n")
    ended = rltrack("replay", file, "--trust", "--changed")
    assert "now:  another error: reward 'late.py:late' raised AttributeError" in ended.out
    assert "did you mean 'nearest'?" in ended.out


def test_nothing_that_the_file_names_is_run_without_trust(rltrack, crashed, tmp_path):
    file, _ = crashed()
    (tmp_path / "late.py").write_text(
        "open('ran', 'w')\n" + LATE.format(at=6, mend="")  # what the file at that place would do now
    )
    ended = rltrack("replay", file)
    assert ended.code == 2
    (line,) = ended.err.splitlines()
    assert "names code, which is not run: reward 'late.py:late' is code in file 'late.py' (sha256" in line
    assert "add --trust" in line
    assert rltrack("replay", file, "--trust").code == 2  # its digest is another
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("algo", ["hybrid-grpo", "ppo"])
def test_the_step_of_an_environment_is_repeated(algo, rltrack, tmp_path):
    sizes = ["--set=num_envs=2", "--set=n_steps=50", "--set=batch_size=50", "--set=n_epochs=1", "--set=normalize=false"]
    samples = ["--set=n_samples=2", "--set=horizon=4"] if algo == "hybrid-grpo" else []
    arguments = ["--algo", algo, "--env", ID, "--set=wrong=raises", *sizes, *samples, "--steps", 500, "--out", "run"]
    ended = rltrack("train", *arguments)
    assert ended.code == 1
    file = re.search(r"`rltrack replay (\S+)` repeats the step; the checkpoint 'run/[a-z0-9-]*.zip' of", ended.err)[1]
    told = json.loads(rltrack("replay", file, "--json").out)
    assert told["same"]
    assert told["again"].startswith(f"environment '{ID}' raised KeyError: ")
    assert (told["before"]["steps"], told["before"]["wrong"]) == (219, "raises")
    assert told["steps"] >= 1
    shown = rltrack("replay", file)
    assert (shown.code, shown.err) == (0, "")
    assert "now:  the same error: environment" in shown.out


# -- files that are something else ------------------------------------------------------------------------------------


def test_a_file_that_is_something_else_is_one_line(refused, rltrack, tmp_path):
    (tmp_path / "text.zip").write_text("no zip")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("a.txt", "a")
    with zipfile.ZipFile(tmp_path / "checkpoint.zip", "w") as archive:
        for member in ("rltrack.json", *(f"member-{number}" for number in range(10))):
            archive.writestr(member, "{}")
    assert "crash file 'none.zip' does not exist" in refused("replay", "none.zip")
    assert "crash file '.' is a folder" in refused("replay", ".")
    assert "crash file 'text.zip' is no zip file" in refused("replay", "text.zip")
    assert "'other.zip' is no crash file: it has no crash.json" in refused("replay", "other.zip")
    assert "it is a checkpoint: rltrack watch shows it" in refused("replay", "checkpoint.zip")


@pytest.mark.parametrize(
    ("member", "change", "said"),
    [
        ("states.bin", lambda content: content[:-1], "'states.bin' is not what was saved (its checksum differs)"),
        ("actions.bin", lambda content: content[::-1], "'actions.bin' is not what was saved (its checksum differs)"),
        ("crash.json", lambda content: content[:-9], "'crash.json' cannot be read"),
        ("crash.json", lambda content: content.replace(b'"schema": 1', b'"schema": 2'), "has schema 2, and this"),
        ("crash.json", lambda content: content.replace(b'"schema": 1', b'"schema": -2'), "'crash.json' cannot be read"),
        ("crash.json", lambda content: content.replace(b"float32", b"object"), "'crash.json' cannot be read"),
        ("crash.json", lambda content: content.replace(b'"row": ', b'"row": 9999'), "its actions are not float32"),
        ("crash.json", lambda content: content.replace(b'"row": ', b'"row": -1'), "'crash.json' cannot be read"),
        ("crash.json", lambda content: content.replace(b'"pursuit"', b'"pursuits"'), "did you mean 'pursuit'?"),
        ("crash.json", lambda content: content.replace(b'"dimensions": 3', b'"dimensions": 2'), "holds no worlds of"),
        ("crash.json", lambda content: content.replace(b'"max_steps": ', b'"max_steps": -'), "max_steps"),
    ],
)
def test_a_damaged_file_is_one_line(refused, crashed, tmp_path, member, change, said):
    file, _ = crashed("--set=horizon=1")
    changed(tmp_path / file, member, change)
    assert said in refused("replay", file, "--trust")
