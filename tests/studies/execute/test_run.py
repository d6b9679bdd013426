"""A run of a study: what it leaves in the folder, what a second one adds, and what a dying cell takes with it."""

import json
import multiprocessing
import shutil

import pytest

from rl_tracking.errors import UsageError
from rl_tracking.studies.execute import run as running
from rl_tracking.studies.execute.cells import cells_of
from rl_tracking.studies.execute.folder import locked, seeds_in
from rl_tracking.studies.execute.job import Failed, Finished, Started
from rl_tracking.studies.execute.local_backend import LocalBackend
from tests.studies.conftest import timeless

DYING = """
import os, signal
def killed(step): os.kill(os.getpid(), signal.SIGKILL)
def leaves(step): os._exit(7)
def raises(step): raise KeyError("no such\\nthing")
"""


@pytest.fixture
def run(tmp_path):
    """Runs a study in ``tmp_path / out``; what happened, as a list of events."""

    def run(study, only=None):
        events = []
        folder = tmp_path / "out"
        outcome = running.run(study, folder, LocalBackend(folder, 2), only=only, on_event=events.append)
        assert [str(cell) for cell in outcome.finished] == [str(e.job) for e in events if isinstance(e, Finished)]
        assert list(outcome.failed) == [event for event in events if isinstance(event, Failed)]
        return events

    return run


def started(events):
    return [str(event.job) for event in events if isinstance(event, Started)]


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


ALL = ["near/hybrid/seed-0", "near/ppo/seed-0", "near/hybrid/seed-1", "near/ppo/seed-1"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a finished run, to be copied."""
    from rl_tracking.studies.config import reading
    from tests.studies.conftest import TINY

    folder = tmp_path_factory.mktemp("finished") / "out"
    running.run(reading.parse(TINY, "tiny"), folder, LocalBackend(folder, 2))
    return folder


@pytest.fixture
def done(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "out")
    return tmp_path / "out"


def test_a_run_leaves_a_file_for_every_cell(finished, tiny, tmp_path):
    assert files(finished) == [*(f"cells/{name}.jsonl" for name in sorted(ALL)), "study.toml"]
    assert (finished / "study.toml").read_text() == tiny().text
    for cell in cells_of(tiny())[:2]:  # the same as without a process of its own
        cell.run(tmp_path, lambda share: None)
        assert timeless(cell.results(tmp_path)) == timeless(cell.results(finished))


def test_finished_cells_are_not_repeated(done, run, tiny):
    before = {path: path.stat().st_mtime_ns for path in done.rglob("*.jsonl")}
    assert run(tiny()) == []
    (done / "cells/near/ppo/seed-1.jsonl").unlink()
    (done / f"cells/near/ppo/.seed-1.jsonl.{'0' * 16}.tmp").write_text('{"half')  # of a run that was killed
    assert started(run(tiny())) == ["near/ppo/seed-1"]
    assert len(before) == 4
    for path, changed in before.items():
        assert (path.stat().st_mtime_ns == changed) is (path.name != "seed-1.jsonl" or "hybrid" in path.parts)
    assert list(done.rglob("*.tmp")) == []


def test_seeds_variants_and_claims_can_be_added(done, run, tiny):
    third = (
        '[[variants]]\nname = "slow"\nalgo = "ppo"\nsettings = { num_envs = 2, n_steps = 64, n_epochs = 1 }\n[[claims]]'
    )
    study = tiny(("seeds = 2", "seeds = 3"), ("[[claims]]", third), ('better = "lower"', 'better = "higher"'))
    new = ["near/slow/seed-0", "near/slow/seed-1", "near/hybrid/seed-2", "near/ppo/seed-2", "near/slow/seed-2"]
    assert started(run(study)) == new
    assert (done / "study.toml").read_text() == study.text
    assert run(tiny(("[[claims]]", third))) == []  # fewer seeds leave the others where they are


def test_only_some_variants(run, tiny):
    assert started(run(tiny(), "near/p*")) == ["near/ppo/seed-0", "near/ppo/seed-1"]


@pytest.mark.parametrize(
    ("change", "hint"),
    [
        (("n_samples = 2", "n_samples = 3"), "near/hybrid/seed-0 in '.*' was made with other settings"),
        (("macro_steps = 256", "macro_steps = 128"), "was made with other settings, budget or evaluations"),
        (("episodes = 3", "episodes = 4"), "was made with other settings, budget or evaluations"),
        (('name = "near"', 'name = "far"'), "holds another study: its cell near/hybrid is none of study 'tiny'"),
    ],
)
def test_a_folder_of_another_study_is_refused(done, run, tiny, change, hint):
    before = {path: path.read_bytes() for path in done.rglob("*") if path.is_file()}
    with pytest.raises(UsageError, match=hint) as error:
        run(tiny(change))
    assert "give another --out" in str(error.value)
    assert {path: path.read_bytes() for path in done.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("old", "new", "hint"),
    [
        ('"schema": 1', '"schema": 2', "has schema 2, this rl_tracking writes 1"),
        ('"rl_tracking": "', '"rl_tracking": "0.0.', "is of rl_tracking 0.0."),
        ("{", "", "is damaged; delete it to run near/ppo/seed-0 again"),
    ],
)
def test_results_of_another_version_are_refused(done, run, tiny, old, new, hint):
    file = done / "cells/near/ppo/seed-0.jsonl"
    file.write_text(file.read_text().replace(old, new))
    with pytest.raises(UsageError, match=hint):
        run(tiny())


@pytest.mark.parametrize("name", ["seed-x.jsonl", "seed-².jsonl", "seed-copy-0.jsonl"])
def test_files_that_are_no_results_are_not_counted_as_seeds(name, tmp_path):
    place = tmp_path / "cells" / "task" / "variant"
    place.mkdir(parents=True)
    (place / "seed-2.jsonl").touch()
    (place / name).touch()
    assert seeds_in(tmp_path) == 3


def test_seeds_are_counted_from_the_first(tmp_path):
    place = tmp_path / "cells" / "task" / "variant"
    place.mkdir(parents=True)
    (place / "seed-10102.jsonl").touch()
    assert seeds_in(tmp_path, 10_100) == 3


@pytest.mark.parametrize("digits", ["10000", "99999999999", "9" * 200])
def test_a_seed_beyond_the_bound_is_named(digits, tmp_path):
    place = tmp_path / "cells" / "task" / "variant"
    place.mkdir(parents=True)
    (place / f"seed-{digits}.jsonl").touch()
    with pytest.raises(UsageError, match="a study has 10,000 seeds at most; delete it"):
        seeds_in(tmp_path)


def test_a_folder_of_something_else_is_refused(run, tiny, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/thesis.tex").write_text("mine")
    with pytest.raises(UsageError, match="is not empty and holds no study"):
        run(tiny())
    shutil.rmtree(tmp_path / "out")
    (tmp_path / "out").write_text("mine")
    with pytest.raises(UsageError, match="is a file"):
        run(tiny())


def test_a_refused_run_leaves_no_folder(tiny, tmp_path):
    class Refusing:
        def run(self, jobs):
            raise UsageError("no")
            yield

    folder = tmp_path / "new" / "out"
    with pytest.raises(UsageError, match="no"):
        running.run(tiny(), folder, Refusing())
    assert files(folder) in ([], ["study.toml"])


def test_two_runs_in_one_folder_are_refused(run, tiny, tmp_path):
    with locked(tmp_path / "out"), pytest.raises(UsageError, match="another run is writing to"):
        run(tiny())


@pytest.mark.parametrize(
    ("how", "hint"),
    [
        ("killed", "its process was ended by SIGKILL"),
        ("leaves", "its process left with exit code 7"),
        ("raises", "raised KeyError: 'no such"),
    ],
)
def test_a_cell_that_dies_takes_no_other_with_it(run, tiny, tmp_path, how, hint):
    rewards = tmp_path / "dying.py"
    rewards.write_text(DYING)
    study = tiny(("settings = { n_samples = 2", f'settings = {{ reward = "{rewards}:{how}", n_samples = 2'))
    events = run(study)
    assert sorted(started(events)) == sorted(ALL)
    assert [str(e.job) for e in events if isinstance(e, Finished)] == ["near/ppo/seed-0", "near/ppo/seed-1"]
    for seed in (0, 1):
        failure = json.loads((tmp_path / f"out/cells/near/hybrid/seed-{seed}.failed.json").read_text())
        assert hint in failure["error"]
        assert "\n" not in failure["error"]
        assert ("Traceback" in failure["traceback"]) is (how == "raises")
    assert list((tmp_path / "out").rglob("*.tmp")) == []
    # Tried again, and this time it works: the record of the failure goes.
    rewards.write_text(f"def {how}(step): return -step.nearest")
    assert started(run(study)) == ["near/hybrid/seed-0", "near/hybrid/seed-1"]
    assert files(tmp_path / "out") == [*(f"cells/{name}.jsonl" for name in sorted(ALL)), "study.toml"]


@pytest.mark.parametrize("how", ["an error", "ctrl-c"])
def test_an_error_or_ctrl_c_in_the_driver_ends_its_cells(tiny, tmp_path, how):
    study = tiny(("macro_steps = 256", "seconds = 600"))
    folder = tmp_path / "out"

    def stop(event):
        if len(list(folder.rglob("*.tmp"))) == 2:
            raise KeyboardInterrupt if how == "ctrl-c" else RuntimeError("full disk")

    with pytest.raises(KeyboardInterrupt if how == "ctrl-c" else RuntimeError):
        running.run(study, folder, LocalBackend(folder, 2), on_event=stop)
    assert files(folder) == ["study.toml"]
    assert not multiprocessing.active_children()
