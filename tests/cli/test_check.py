"""``rltrack check``."""

import pytest

from rl_tracking.envs import restorable


def test_a_restorable_environment(rltrack):
    ended = rltrack("check", "rl_tracking/Pursuit-v0")
    assert (ended.code, ended.err) == (0, "")
    first, *checks = ended.out.splitlines()
    assert first == "rl_tracking/Pursuit-v0: restorable"
    assert len(checks) >= 6
    assert all(line.startswith("  ok ") for line in checks)


def test_one_that_fails_a_check_is_named_and_the_run_has_failed(rltrack, monkeypatch):
    checks = (restorable.Check("same steps again", False, "reward of step 3 differs"),)
    monkeypatch.setattr(restorable, "check_restorable", lambda env_id: restorable.Report(env_id, checks))
    ended = rltrack("check", "Forgetful-v0")
    assert (ended.code, ended.err) == (1, "rltrack: not restorable: Forgetful-v0\n")
    assert "FAIL same steps again: reward of step 3 differs" in ended.out


@pytest.mark.parametrize(
    ("env_id", "hints"),
    [
        ("CartPole-v1", ["CartPole-v1 is not restorable", "get_state, set_state, spawn", "make_vec"]),
        ("CartPol-v1", ["no environment 'CartPol-v1'", "Did you mean: `CartPole`?"]),
        ("rl_tracking/Pursuit-v9", ["no environment", "`v0`"]),
        ("a b", ["no environment 'a b'"]),
        ("no_such_module:Cart-v0", ["no environment", "no_such_module"]),
    ],
)
def test_others_are_refused(refused, env_id, hints):
    line = refused("check", env_id)
    for hint in hints:
        assert hint in line
