"""``rltrack watch`` without a window; the viewer has tests of its own."""

import pytest

FLY = ["watch", "pure-pursuit", "--headless"]


def test_a_screenshot(rltrack, tmp_path):
    ended = rltrack(*FLY, "--screenshot", "there.png", "--set", "max_steps=20")
    assert (ended.code, ended.out) == (0, "wrote there.png\n")
    assert (tmp_path / "there.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["--screenshot", "there.jpg"], ".png"),
        (["--record", "flight.avi"], ".gif or .mp4"),
        (["--record", "no/such/folder/flight.gif"], "does not exist"),
        ([], "--screenshot F"),
        (["--screenshot", "there.png", "--preset", "dron"], "did you mean 'drone'?"),
        (["--screenshot", "there.png", "--reward", "nowhere.py:f"], "does not exist"),
    ],
)
def test_outputs_that_cannot_be_written_are_refused(refused, arguments, hint):
    assert hint in refused(*FLY, *arguments)


@pytest.mark.parametrize(
    ("policy", "hint"),
    [
        ("nowhere.zip", "does not exist"),
        ("pure-pursui", "did you mean 'pure-pursuit'?"),
    ],
)
def test_unknown_policies_are_refused(refused, policy, hint):
    assert hint in refused("watch", policy, "--headless", "--screenshot", "there.png")


def test_a_checkpoint_of_other_worlds_is_refused(refused, trained):
    line = refused("watch", trained.checkpoint, "--headless", "--screenshot", "there.png", "--preset", "sandbox")
    assert "trained in scenario pursuit drone" in line
