import json
import re
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from rl_tracking.errors import UsageError
from rl_tracking.studies.report import numbers, plotting, report, tables
from rl_tracking.studies.report.report import write_report
from rl_tracking.studies.statistics import records, summary
from rl_tracking.studies.statistics.bootstrap import Interval
from rl_tracking.studies.statistics.records import Unfinished
from rl_tracking.studies.statistics.summary import learning_curve
from tests.studies.synthetic import a_claim, cell, study, task, write_cell

TASKS = (task("near"), task("far", low=-10.0), task("open", threshold=None))
CLAIMS = (
    a_claim("macro_steps_to_threshold", "lower", 0.5, name="faster", text="Hybrid GRPO needs half | of the steps"),
    a_claim("final", name="higher", tasks=("near",)),
)
PLAN = study(TASKS, CLAIMS)
MADE_BY = "rltrack study run made-up --out here"
INF = float("inf")


def rng():
    return np.random.default_rng(0)


def fill(directory):
    """Hybrid arrives by 100, PPO at 300 on `near`, never on `far`; a run failed there, one on `open` is missing."""
    for on in TASKS:
        for seed in range(PLAN.seeds):
            write_cell(directory, [0, 0.9 + seed / 100, 0.9, 0.9, 0.95], task=on.name, variant="hybrid", seed=seed)
            ppo = [0, 0, 0.1, 0.8, 0.8 + seed / 100] if on.name == "near" else [-5, -4, -3, -2, -1]
            write_cell(directory, ppo, task=on.name, variant="ppo", seed=seed)
    failed = directory / "cells" / "far" / "ppo" / "seed-4.jsonl"
    failed.rename(failed.with_suffix(".failed.json"))
    failed.with_suffix(".failed.json").write_text(json.dumps({"error": "out of memory", "traceback": "..."}))
    (directory / "cells" / "open" / "ppo" / "seed-2.jsonl").unlink()


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    directory = tmp_path_factory.mktemp("study")
    fill(directory)
    path = write_report(directory, PLAN, rng(), command=MADE_BY)
    return SimpleNamespace(directory=directory, page=path.read_text(), path=path)


def row(page, *starts):
    """The cells of the line of a table that begins with some words."""
    lines = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| ")]
    return next(line for line in lines if line[: len(starts)] == list(starts))


def test_the_page_and_its_pictures_lie_in_the_folder(written):
    assert written.path == written.directory / "report.md"
    shown = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", written.page)
    assert shown == [
        "curves-near.png", "curves-far.png", "curves-open.png", "scores.png", "thresholds.png", "profiles.png",
    ]  # fmt: skip
    assert sorted(path.name for path in written.directory.iterdir()) == sorted([*shown, "cells", "report.md"])
    for name in shown:
        with Image.open(written.directory / name) as picture:
            assert picture.width > 600
            assert np.asarray(picture.convert("L")).std() > 5  # something is drawn on it


def test_the_page_says_what_was_asked_and_how_it_was_made(written):
    assert written.page.startswith("# A made-up study\n\nDoes it work?\n\n3 tasks, 2 variants, 5 seeds: 28 of 30 runs")
    assert "Budget of a run: 400 macro-steps." in written.page
    assert f"```\n{MADE_BY}\n```" in written.page
    assert "rl_tracking 0.1.0, torch 2.13.0" in written.page
    assert f"Digest of the study: `{PLAN.digest}`" in written.page
    assert "trained for 1 min 52 s in all" in written.page  # 28 runs of 4 s


def test_the_page_gives_the_verdict_on_every_claim(written):
    assert row(written.page, "Hybrid GRPO needs half \\| of the steps")[1:5] == [
        "**holds**", "macro steps to threshold: hybrid / ppo", row(written.page, "near", "holds")[3], "below 0.5",
    ]  # fmt: skip
    assert "### faster: holds (holds on near; undecided on far, open)" in written.page
    near, far = row(written.page, "near", "holds"), row(written.page, "far", "undecided")
    assert float(near[3].split()[0]) == pytest.approx(86.9 / 300, abs=0.01)
    assert far[2] == "threshold reached by 5 of 5 runs, against 0 of 4; a verdict needs 5 runs of each"
    assert far[5] == "5 and 4"
    assert row(written.page, "open", "undecided")[2] == "the task has no threshold"


def test_the_page_has_the_scores_and_the_times_of_every_variant(written):
    _, of_near, of_far, of_open = written.page.split("## Scores")[1].split("## Time")[0].split("\n**")
    assert row(of_near, "hybrid")[1:3] == ["5", "0.95 [0.95, 0.95]"]
    assert row(of_near, "ppo")[2].startswith("0.82 [")
    assert row(of_far, "ppo")[1:] == ["4", "-1 [-1, -1]", "-3 [-3, -3]", "0 [0, 0]"]
    assert row(of_open, "ppo")[1] == "4"
    _, near, far = written.page.split("## Time")[1].split("## All")[0].split("\n**")
    assert row(near, "ppo") == ["ppo", "5 of 5", "300 [300, 300]", "2.4k [2.4k, 2.4k]", "3 [3, 3]"]
    assert row(far, "ppo") == ["ppo", "0 of 4", "not reached", "not reached", "not reached"]


def test_failed_and_missing_runs_are_listed(written):
    part = written.page.split("## Runs without results")[1]
    assert "They are in none of the figures above." in part
    assert row(part, "far", "ppo") == ["far", "ppo", "4", "out of memory"]
    assert row(part, "open", "ppo") == ["open", "ppo", "2", "no results"]


@pytest.fixture
def no_pictures(monkeypatch):
    """They take nearly all of the time."""
    monkeypatch.setattr(report, "_pictures", lambda *arguments: iter(()))


@pytest.mark.usefixtures("no_pictures")
def test_the_same_generator_writes_the_same_page(written, tmp_path):
    fill(tmp_path)
    again = write_report(tmp_path, PLAN, rng(), command=MADE_BY).read_text()
    without_pictures = re.sub(r"!\[.*\n\n", "", written.page)
    assert again == without_pictures != written.page


def test_a_study_with_one_run_and_no_claim_has_a_report(tmp_path):
    write_cell(tmp_path, [0.0, 1.0], task="open", variant="ppo")
    page = write_report(tmp_path, study(TASKS[2:], seeds=1), rng(), command=MADE_BY).read_text()
    assert "## Verdicts" not in page
    assert "## Time to the threshold" not in page
    assert row(page, "ppo")[1:] == ["1", "1", "0.5", "0"]
    assert "Left out: hybrid, which has no finished run on open." in page


@pytest.mark.usefixtures("no_pictures")
def test_a_study_whose_runs_are_all_finished_says_so(tmp_path):
    plan = study(TASKS[2:], seeds=1, variants=("ppo",))
    write_cell(tmp_path, [0.0, 1.0], task="open", variant="ppo")
    assert "None: every run is finished" in write_report(tmp_path, plan, rng(), command=MADE_BY).read_text()


def refused(directory):
    before = {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}
    with pytest.raises(UsageError) as error:
        write_report(directory, PLAN, rng(), command=MADE_BY)
    assert {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()} == before
    assert "\n" not in str(error.value)
    return str(error.value)


def test_without_a_finished_run_nothing_is_written(tmp_path):
    (tmp_path / "report.md").write_text("of yesterday")
    assert refused(tmp_path).endswith("holds no finished run of this study (0 failed, 30 missing); run the study first")
    write_cell(tmp_path, [0.0], task="near").write_text("{")
    assert "(1 failed, 29 missing); the first that failed: seed-0.jsonl: line 1 is not what it should be" in refused(
        tmp_path
    )


def test_without_matplotlib_the_extra_is_named(tmp_path, monkeypatch):
    write_cell(tmp_path, [0.0, 1.0], task="near")
    monkeypatch.setattr(plotting.importlib.util, "find_spec", lambda name: None)
    assert refused(tmp_path) == 'the figures of a report need an extra: pip install "rl-tracking[plots]"'


def test_matplotlib_is_imported_where_it_is_used():
    code = (
        "import sys; from rl_tracking.studies.report import plots, plotting; "
        "from rl_tracking.studies.statistics import summary, verdicts; sys.exit('matplotlib' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_drawing_does_not_change_other_figures(written):
    import matplotlib

    assert matplotlib.rcParams["axes.spines.top"]
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()


def test_variants_differ_in_their_dashes_when_the_colours_run_out():
    looks = plotting.looks([f"v{at}" for at in range(20)])
    assert len({(look["color"], str(look["linestyle"])) for look in looks.values()}) == 20


def test_curves_are_interpolated_between_evaluations_and_end_with_the_shortest_run():
    runs = [cell([0.0, 1.0, 1.0], every=100), cell([0.0, 0.5, 0.5], every=200)]
    curve = learning_curve(runs, task(), "macro_steps", rng())
    np.testing.assert_allclose(curve.along, [0, 100, 200])
    np.testing.assert_allclose(curve.score.value, [0, (1 + 0.25) / 2, (1 + 0.5) / 2])
    np.testing.assert_allclose((curve.score.low[2], curve.score.high[2]), (0.5, 1.0))


def test_aggregates_are_of_scaled_scores_and_of_variants_that_ran_everywhere(written):
    cells = records.read_cells(written.directory, PLAN)
    few = records.Cells(tuple(run for run in cells.finished if (run.task, run.variant) != ("near", "ppo")), (), ())
    found = summary.summarise(PLAN, few, rng())
    assert [each.variant for each in found.aggregates] == ["hybrid"]
    assert found.left_out == {"ppo": ("near",)}
    (hybrid,) = found.aggregates
    assert hybrid.final["mean"].value == pytest.approx((0.95 + 10.95 / 11 + 0.95) / 3)
    assert hybrid.final["optimality gap"].value == pytest.approx((0.05 + 0.05 / 11 + 0.05) / 3)
    assert hybrid.profile.value[summary.LEVELS.searchsorted(0.9)] == 1
    assert hybrid.profile.value[summary.LEVELS.searchsorted(0.97)] == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"), (0.12345, "0.123"), (-0.00002, "-2.0e-05"), (0.99999, "1"), (12.34, "12.3"), (999.4, "999"),
        (999.9, "1k"), (41_234, "41.2k"), (-1_500_000, "-1.5M"), (INF, "inf"), (2e9, "2G"), (-0.0, "0"),
    ],
)  # fmt: skip
def test_numbers_have_three_digits(value, text):
    assert numbers.short(value) == text


@pytest.mark.parametrize(
    ("interval", "text"),
    [
        (Interval(200.0, 100.0, 300.0), "200 [100, 300]"),
        (Interval(200.0, 100.0, INF), "200 [100, not reached]"),
        (Interval(INF, 100.0, INF), "not reached [100, not reached]"),
        (Interval(INF, INF, INF), "not reached"),
    ],
)
def test_a_time_that_is_not_reached_says_so(interval, text):
    assert numbers.arrival(interval, runs=5) == text


def test_durations_have_two_parts():
    assert [numbers.duration(seconds) for seconds in (41.6, 185, 8_100)] == ["42 s", "3 min 5 s", "2 h 15 min"]


def test_runs_with_one_reason_share_a_line():
    runs = [Unfinished("a", "ppo", seed, error) for seed, error in ((0, "x | y"), (1, "z"), (4, "x | y"))]
    assert tables.unfinished(runs).splitlines()[2:] == ["| a | ppo | 0, 4 | x \\| y |", "| a | ppo | 1 | z |"]
