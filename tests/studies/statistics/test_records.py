import json

import msgspec
import pytest

from rl_tracking.studies.statistics.records import Unfinished, read_cells, with_scores
from tests.studies.synthetic import line, study, task, write_cell


def fail(directory, text, *, variant="hybrid", seed=0):
    path = directory / "cells" / "reach" / variant / f"seed-{seed}.failed.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_a_finished_run_is_read_as_it_was_written(tmp_path):
    write_cell(tmp_path, [0.1, 0.5, 0.75], updates={"approx_kl": 0.01}, seed=1)
    (run,) = read_cells(tmp_path, study(seeds=2)).finished
    assert (run.task, run.variant, run.seed) == ("reach", "hybrid", 1)
    assert run.along("macro_steps").tolist() == [0, 100, 200]
    assert run.along("simulator_steps").tolist() == [0, 800, 1600]
    assert run.along("seconds").tolist() == [0, 1, 2]
    assert run.scores("score").tolist() == [0.1, 0.5, 0.75]
    assert run.records[0].updates == {}
    assert run.records[1].updates == {"approx_kl": 0.01}
    assert run.records[1].versions["torch"] == "2.13.0"


def test_every_run_that_is_asked_for_is_finished_failed_or_missing(tmp_path):
    write_cell(tmp_path, [0, 1], variant="ppo", seed=1)
    write_cell(tmp_path, [0, 1], variant="hybrid", seed=0)
    write_cell(tmp_path, [0, 1], variant="hybrid", seed=7)  # of a longer study
    write_cell(tmp_path, [0, 1], variant="trpo", seed=0)  # of another one
    fail(tmp_path, json.dumps({"error": "the reward is NaN\nat step 3", "traceback": "..."}), variant="ppo")
    cells = read_cells(tmp_path, study(seeds=2))
    assert [(run.variant, run.seed) for run in cells.finished] == [("hybrid", 0), ("ppo", 1)]
    assert cells.failed == (Unfinished("reach", "ppo", 0, "the reward is NaN at step 3"),)
    assert cells.missing == (Unfinished("reach", "hybrid", 1),)
    assert [run.seed for run in cells.of("reach", "ppo")] == [1]


def test_runs_are_looked_for_from_the_first_seed_on(tmp_path):
    write_cell(tmp_path, [0, 1], seed=100)
    write_cell(tmp_path, [0, 1], seed=0)  # of a study of other seeds
    cells = read_cells(tmp_path, msgspec.structs.replace(study(seeds=2, variants=("hybrid",)), first_seed=100))
    assert [run.seed for run in cells.finished] == [100]
    assert [run.seed for run in cells.missing] == [101]


def test_a_run_that_failed_and_was_finished_later_is_finished(tmp_path):
    write_cell(tmp_path, [0, 1])
    fail(tmp_path, json.dumps({"error": "out of memory"}))
    cells = read_cells(tmp_path, study(seeds=1, variants=("hybrid",)))
    assert len(cells.finished) == 1
    assert not cells.failed


def test_an_unfinished_file_of_another_name_is_not_read(tmp_path):
    path = write_cell(tmp_path, [0, 1])
    path.rename(path.with_suffix(".jsonl.part"))
    assert len(read_cells(tmp_path, study(seeds=1, variants=("hybrid",))).missing) == 1


def test_an_empty_folder_has_only_missing_runs(tmp_path):
    cells = read_cells(tmp_path, study(seeds=3))
    assert (len(cells.finished), len(cells.failed), len(cells.missing)) == (0, 0, 6)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '"late"'])
def test_a_failure_without_a_reason_still_counts(tmp_path, text):
    fail(tmp_path, text)
    (failed,) = read_cells(tmp_path, study(seeds=1, variants=("hybrid",))).failed
    assert failed.error == "seed-0.failed.json can't be read"


def test_results_say_which_metric_is_the_score_of_a_task_that_leaves_it_open(tmp_path):
    path = write_cell(tmp_path, [0, 1], variant="ppo", seed=1)
    said = [{**json.loads(text), "metric": "score", "better": "down"} for text in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(entry) + "\n" for entry in said))
    left_open = msgspec.structs.replace(task(), metric="")
    (found,) = with_scores(tmp_path, study([left_open])).tasks
    assert (found.metric, found.better) == ("score", "down")
    (kept,) = with_scores(tmp_path, study([task(better="up")])).tasks
    assert kept.better == "up"


def test_results_of_an_older_version_leave_the_score_as_the_study_says(tmp_path):
    write_cell(tmp_path, [0, 1])
    (found,) = with_scores(tmp_path, study()).tasks
    assert (found.metric, found.better) == ("score", "up")


def broken(entry, **changes):
    return json.dumps({**entry, **changes})


GOOD = line(0, 0.5)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "it is empty"),
        ("{", "line 1 is not what it should be"),
        ("[1]", "line 1 is not what it should be"),
        (json.dumps({**GOOD, "metrics": {"return": 1.0}}), "line 1 has no metric 'score'; it has return"),
        (broken(GOOD, metrics={"score": float("nan")}), "line 1 is not what it should be"),
        (broken(GOOD, metrics={"score": None}), "line 1 has no metric 'score'; it has none"),
        (broken(GOOD, seconds=float("inf")), "line 1 is not what it should be"),
        (broken(GOOD, seconds=-1), "Expected `float` >= 0.0 - at `$.seconds`"),
        (broken(GOOD, macro_steps=5) + "\n" + broken(GOOD), "macro_steps goes back from one evaluation to the next"),
        (
            json.dumps({name: value for name, value in GOOD.items() if name != "updates"}),
            "missing required field `updates`",
        ),
    ],
)
def test_a_file_that_is_not_results_counts_as_a_failed_run_and_says_why(tmp_path, text, says):
    path = write_cell(tmp_path, [0, 1])
    path.write_text(text)
    cells = read_cells(tmp_path, study(tasks=[task()], seeds=1, variants=("hybrid",)))
    assert not cells.finished
    (failed,) = cells.failed
    assert failed.error.startswith("seed-0.jsonl: ")
    assert says in failed.error
    assert "\n" not in failed.error
