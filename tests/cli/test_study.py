"""``rltrack study``: what it prints, what it refuses, and how it is stopped."""

import os
import signal

import pytest

from tests.helpers import PATIENCE, wait_for
from tests.studies.conftest import TINY

ENDLESS = TINY.replace("macro_steps = 256", "seconds = 600")


def _files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_the_shipped_studies_are_listed(rltrack):
    ended = rltrack("study", "list")
    assert ended.code == 0
    assert "smoke" in ended.out
    assert "2 x 3 x 2 = 12" in ended.out
    assert "trials" in ended.out, "of the search"
    lines = {line.split()[0]: line.rstrip() for line in ended.out.splitlines() if line.strip()}
    assert lines["pursuit-gradients"].endswith("  gradients")
    assert lines["tuning"].endswith("  tune")


def test_a_run_says_where_the_results_are_and_a_second_one_has_nothing_to_do(rltrack, tmp_path):
    (tmp_path / "tiny.toml").write_text(TINY)
    first = rltrack("study", "run", "tiny.toml", "--jobs", 2, "--seeds", 1)
    assert (first.code, first.err) == (0, "")
    assert "2 cells finished in studies/tiny" in first.out
    assert "rltrack study report studies/tiny" in first.out
    second = rltrack("study", "run", "tiny.toml", "--jobs", 1, "--seeds", 1)
    assert "2 cells, 2 of them there already" in second.out
    assert "0 cells finished" in second.out


def test_the_report_is_of_all_seeds_that_were_run(rltrack, tmp_path):
    (tmp_path / "tiny.toml").write_text(TINY.replace("seeds = 2", "seeds = 1"))
    rltrack("study", "run", "tiny.toml", "--jobs", 2, "--seeds", 3, "--out", "out")
    ended = rltrack("study", "report", "out")
    assert (ended.code, ended.err, ended.out) == (0, "", "wrote out/report.md\n")
    report = (tmp_path / "out/report.md").read_text()
    assert "Hybrid GRPO needs fewer macro-steps." in report
    assert "3 seeds" in report
    assert "```\nrltrack study run out/study.toml --out out --seeds 3\n```" in report


def test_the_report_names_a_shipped_study_by_its_name(rltrack, tmp_path):
    only = "cart-pole/ppo"
    ended = rltrack("study", "run", "smoke", "--only", only, "--jobs", 1, "--seeds", 1, "--out", "out")
    assert (ended.code, ended.err) == (0, "")
    assert rltrack("study", "report", "out").code == 0
    assert "```\nrltrack study run smoke --out out\n```" in (tmp_path / "out/report.md").read_text()


def test_a_failed_cell_is_named_and_the_run_ends_with_1(rltrack, tmp_path):
    (tmp_path / "reward.py").write_text("def nan(step): return step.nearest * float('nan')")
    (tmp_path / "tiny.toml").write_text(TINY.replace("{ n_samples = 2", '{ reward = "reward.py:nan", n_samples = 2'))
    ended = rltrack("study", "run", "tiny.toml", "--jobs", 2, "--seeds", 1, "--out", "out", "--trust")
    assert ended.code == 1
    assert ended.err == "rltrack: 1 cell failed; the same command tries them again\n"
    assert "failed: near/hybrid/seed-0: reward 'reward.py:nan' returned nan" in " ".join(ended.out.split())
    assert (tmp_path / "out/cells/near/ppo/seed-0.jsonl").exists()


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["run", "smoek"], "unknown study 'smoek'; did you mean 'smoke'?"),
        (["run", "smoke", "--seeds", 0], "--seeds must be 1 or more, not 0"),
        (
            ["run", "smoke", "--only", "cart-pole/pop"],
            "unknown task/variant 'cart-pole/pop'; did you mean 'cart-pole/ppo'?",
        ),
        (["run", "smoke", "--jobs", -1], "--jobs must be 1 or more, not -1"),
        (["run", "smoke", "--backend", "slurm"], "--backend must be local or ray, not 'slurm'"),
        (["run", "smoke", "--address", "1.2.3.4:5"], "--address is for --backend ray"),
        (["run", "smoke", "--backend", "ray", "--address", "127.0.0.1:1"], "no Ray cluster answers at '127.0.0.1:1'"),
        (["report", "nowhere"], "'nowhere' holds no study"),
    ],
)
def test_invalid_usage_is_refused(refused, arguments, hint):
    assert hint in refused("study", *arguments)


def test_ctrl_c_stops_the_cells_and_leaves_nothing_half_finished(start, tmp_path):
    (tmp_path / "tiny.toml").write_text(ENDLESS)
    process = start("study", "run", "tiny.toml", "--out", "out", "--jobs", 2, cwd=tmp_path)
    wait_for(lambda: list((tmp_path / "out/cells").rglob("*.tmp")))
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, err) == (130, "")
    assert "interrupted; 0 cells finished; the same command continues" in out
    assert _files(tmp_path / "out") == ["study.toml"]


def test_killing_a_run_ends_its_cells_and_leaves_nothing_half_finished(start, rltrack, tmp_path):
    (tmp_path / "tiny.toml").write_text(ENDLESS)
    process = start("study", "run", "tiny.toml", "--out", "out", "--jobs", 2, cwd=tmp_path)
    parts = wait_for(lambda: [path for path in (tmp_path / "out/cells").rglob("*.tmp") if path.stat().st_size])
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=PATIENCE)  # whose end says that nobody is left that could write
    assert list(tmp_path.rglob("*.jsonl")) == []
    wait_for(lambda: _settled(parts))
    (tmp_path / "tiny.toml").write_text(TINY)
    goes_on = rltrack("study", "run", "tiny.toml", "--out", "out", "--jobs", 2, "--seeds", 1)
    assert (goes_on.code, goes_on.err) == (0, "")
    assert "2 cells finished in out" in goes_on.out
    assert _files(tmp_path / "out") == [
        "cells/near/hybrid/seed-0.jsonl",
        "cells/near/ppo/seed-0.jsonl",
        "study.toml",
    ]


def _settled(parts):
    """Whether nobody has the files open any more."""
    for process in os.listdir("/proc"):
        folder = f"/proc/{process}/fd"
        try:
            opened = {os.path.realpath(f"{folder}/{number}") for number in os.listdir(folder)}
        except OSError:
            continue
        if opened & {str(part.resolve()) for part in parts}:
            return False
    return True
