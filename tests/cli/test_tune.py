"""``rltrack tune``: what it prints and what it refuses."""

import pytest

from tests.studies.conftest import TINY
from tests.studies.search.test_tuning import TUNE

SEARCHED = TINY.replace("[[claims]]", TUNE)


def test_a_search_prints_the_best_of_each_variant_and_can_be_continued(rltrack, tmp_path):
    (tmp_path / "tiny.toml").write_text(SEARCHED)
    first = rltrack("tune", "tiny.toml", "--jobs", 2, "--trials", 1)
    assert (first.code, first.err) == (0, "")
    assert "wrote tuning/tiny/best.toml" in first.out
    for variant in ("hybrid", "ppo"):
        (row,) = (line for line in first.out.splitlines() if line.split()[:2] == ["near", variant])
        assert row.split()[3:5] == ["1", "0"]  # trials, failed
        assert "learning_rate=" in row
    second = rltrack("tune", "tiny.toml", "--jobs", 2, "--trials", 1)
    assert "4 cells, 4 of them there already" in second.out
    assert second.out.splitlines()[-6:] == first.out.splitlines()[-6:]


@pytest.mark.parametrize(
    ("text", "arguments", "hint"),
    [
        (TINY, [], "study 'tiny' asks for no search; add [tune] and [tune.space] to it"),
        (SEARCHED, ["--trials", 0], "--trials must be 1 or more, not 0"),
        (SEARCHED, ["--seed", -1], "--seed must be 0 or more, not -1"),
        (SEARCHED, ["--jobs", -1], "--jobs must be 1 or more, not -1"),
        (SEARCHED.replace("high = 1e-1", "high = 1e-9"), [], "[space.learning_rate]: low must be below high"),
    ],
)
def test_invalid_usage_is_refused(refused, tmp_path, text, arguments, hint):
    (tmp_path / "tiny.toml").write_text(text)
    assert hint in refused("tune", "tiny.toml", *arguments)
