"""The jobs that measure gradients: the files they need and leave, and figures that are read from those."""

import shutil

import numpy as np
import pytest

from rl_tracking.errors import UsageError
from rl_tracking.studies.execute import result_lines
from rl_tracking.studies.execute.run import stages
from rl_tracking.studies.gradients.results import read
from rl_tracking.studies.statistics.records import read_cells, with_scores
from tests.studies.conftest import TINY_GRADIENTS

CELL = "near/hybrid/seed-0"


def inside(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A study and its folder, each job run in a folder that holds the files it needs and no others."""
    from rl_tracking.studies.config import reading

    study = reading.parse(TINY_GRADIENTS, "tiny")
    folder = tmp_path_factory.mktemp("study")
    for job in [job for stage in stages(study) for job in stage]:
        assert job.ready(folder)
        alone = tmp_path_factory.mktemp("alone")
        copy(job.needs, folder, alone)
        job.run(alone, lambda share: None)
        assert inside(alone) == sorted([*job.needs, *job.files])
        copy(job.files, alone, folder)
        assert job.finished(folder)
    return study, folder


def copy(names, source, target):
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source / name, target / name)


def test_an_estimator_needs_the_networks_and_the_reference(measured):
    study, _ = measured
    (cell,), references, estimates = stages(study)
    assert [str(job) for job in references] == [f"{CELL}/at-0/reference", f"{CELL}/at-0.5/reference"]
    assert [job.needs for job in references] == [(cell.snapshot(0.0),), (cell.snapshot(0.5),)]
    assert [str(job) for job in estimates[:2]] == [f"{CELL}/at-0/ppo", f"{CELL}/at-0/grpo-episode"]
    assert all(set(job.needs) <= {*cell.files, *references[0].files} for job in estimates[:2])


def test_the_digest_of_an_estimator_is_of_the_run_too(tiny):
    def digests(*changes):
        return [job.digest for stage in stages(tiny(*changes, text=TINY_GRADIENTS, checked=False)) for job in stage]

    first = digests()
    assert len(set(first)) == 7
    assert not set(digests(("gamma = 0.5", "gamma = 0.6"))) & set(first)
    other = digests(("gae_lambda = 0.9", "gae_lambda = 0.8"))
    assert [a == b for a, b in zip(first, other, strict=True)] == [True] * 3 + [False, True] * 2


def points(study, folder):
    study = with_scores(folder, study)
    runs = read_cells(folder, study).finished
    return list(read(folder, study, runs, np.random.default_rng(0)))


def test_a_point_has_the_evaluation_at_its_checkpoint(measured):
    start, half = points(*measured)
    assert (start.macro_steps, half.macro_steps) == (0, 256)
    assert set(half.metrics) >= {"time_in_radius", "return"}
    assert [row.estimator for row in half.rows] == ["ppo", "grpo-episode"]
    assert half.reference_roots == 4 * 8 * 4
    assert [verdict.ratio.name for verdict in half.verdicts] == ["noisier"]
    assert half.missing == ()


def test_what_is_not_measured_is_named_and_a_damaged_file_is_refused(measured, tmp_path):
    study, folder = measured
    shutil.copytree(folder, tmp_path / "copy")
    place = tmp_path / "copy" / result_lines.checkpoint_of(CELL, 0.5)
    (place / "ppo.jsonl").unlink()
    _, half = points(study, tmp_path / "copy")
    assert half.missing == ("ppo",)
    assert half.verdicts == ()
    (place / "grpo-episode.jsonl").write_text('{"gram": [[1.0, 2.0]]}')
    with pytest.raises(UsageError, match=r"grpo-episode.jsonl' is damaged; delete it to measure it again \(line 1"):
        points(study, tmp_path / "copy")
