"""``rltrack study gradients``: what it leaves behind, how it goes on, and what it refuses."""

import json

import pytest

from rl_tracking.studies.statistics.bootstrap import Interval
from tests.studies.conftest import TINY_GRADIENTS

pytest.importorskip("matplotlib")
CELL = "near/hybrid/seed-0"
JOBS = (f"cells/{CELL}", *(f"gradients/{CELL}/at-{at}/{name}" for at in ("0", "0.5") for name in ("reference", "ppo")))


def test_a_run_writes_results_and_a_report_and_a_second_run_completes_them(rltrack, tmp_path):
    (tmp_path / "tiny.toml").write_text(TINY_GRADIENTS)
    first = rltrack("study", "gradients", "tiny.toml", "--jobs", 2)
    assert (first.code, first.err) == (0, "")
    assert "7 cells finished in studies/tiny" in first.out
    folder = tmp_path / "studies/tiny"
    lines = {name: json.loads((folder / f"{name}.jsonl").read_text().splitlines()[0]) for name in JOBS}
    assert all("torch" in line["versions"] for line in lines.values())
    ppo = lines[f"gradients/{CELL}/at-0.5/ppo"]
    assert (ppo["macro_steps"], ppo["simulator_steps"], len(ppo["gram"])) == (32, 32, 6)
    page = (folder / "report.md").read_text()
    assert "| PPO is noisier. | near | at 0.5, after 256 macro-steps | **" in page
    assert "| grpo-episode | 3 | 160 | 320 |" in page
    assert (folder / "gradients-near.png").stat().st_size > 5000

    measured = folder / f"gradients/{CELL}/at-0/ppo.jsonl"
    before = measured.read_text()
    measured.unlink()
    second = rltrack("study", "gradients", "tiny.toml", "--jobs", 1)
    assert "7 cells, 6 of them there already" in second.out
    assert measured.read_text() == before
    assert (folder / "report.md").read_text() == page

    (tmp_path / "tiny.toml").write_text(TINY_GRADIENTS.replace("gae_lambda = 0.9", "gae_lambda = 0.5"))
    other = rltrack("study", "gradients", "tiny.toml")
    assert other.code == 2
    assert f"{CELL}/at-0/ppo in 'studies/tiny' was made with other settings, budget or evaluations" in other.err


def test_a_job_that_fails_is_named_and_what_needs_it_is_not_begun(rltrack, tmp_path):
    (tmp_path / "reward.py").write_text("def nan(step): return step.nearest * float('nan')")
    text = TINY_GRADIENTS.replace('reward = "progress"', 'reward = "reward.py:nan"')
    (tmp_path / "tiny.toml").write_text(text)
    ended = rltrack("study", "gradients", "tiny.toml", "--jobs", 1, "--out", "out", "--trust")
    assert ended.code == 1
    assert ended.err == "rltrack: 1 cell failed; the same command tries them again\n"
    assert "failed: near/hybrid/seed-0: reward 'reward.py:nan' returned nan" in " ".join(ended.out.split())
    assert not (tmp_path / "out/gradients").exists()
    assert json.loads((tmp_path / f"out/cells/{CELL}.failed.json").read_text())["traceback"]


def test_an_interval_decides_a_ratio_only_if_all_of_it_is_on_one_side():
    from rl_tracking.studies.gradients.results import judged

    infinite, unknown = float("inf"), float("nan")
    assert judged(Interval(5.0, 4.0, 6.0), 4.0) == "holds"
    assert judged(Interval(5.0, 3.9, 6.0), 4.0) == "undecided"
    assert judged(Interval(3.0, 2.0, 3.9), 4.0) == "does not hold"
    assert judged(Interval(unknown, -infinite, infinite), 4.0) == "undecided"


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["pursuit-gradient"], "unknown study 'pursuit-gradient'; did you mean 'pursuit-gradients'?"),
        (["nowhere.toml"], "study file 'nowhere.toml' does not exist"),
        (["pursuit-gradients", "--jobs", -1], "--jobs must be 1 or more, not -1"),
        (["smoke"], "study 'smoke' has no table [gradients]; use `rltrack study run smoke`"),
    ],
)
def test_invalid_usage_is_refused(refused, arguments, hint):
    assert hint in refused("study", "gradients", *arguments)
