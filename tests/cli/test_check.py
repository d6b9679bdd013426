"""``rltrack check``."""

import sys

import pytest

from rl_tracking.restoring import check as restorable

FAILING = """
import gymnasium
from gymnasium.envs.classic_control import CartPoleEnv


class FailsAtOnce(CartPoleEnv):
    def step(self, action):
        raise RuntimeError("no battery")


gymnasium.register("FailsAtOnce-v0", FailsAtOnce)
"""


def test_an_environment_of_this_package(rltrack):
    ended = rltrack("check", "rl_tracking/Pursuit-v0")
    assert (ended.code, ended.err) == (0, "")
    first, *checks, cost = ended.out.splitlines()
    assert first == "rl_tracking/Pursuit-v0: restorable by its own get_state and set_state"
    assert len(checks) >= 6
    assert all(line.startswith("  ok ") for line in checks)
    assert cost.startswith("  a restore costs 0.")


def test_gymnasium_environments_by_their_snapshot_strategy(rltrack):
    ended = rltrack("check", "CartPole-v1", "HalfCheetah-v5", "LunarLander-v3")
    assert (ended.code, ended.err) == (0, "")
    titles = [line for line in ended.out.splitlines() if not line.startswith(" ")]
    assert titles == [
        "CartPole-v1: restorable by a copy of its fields",
        "HalfCheetah-v5: restorable by MuJoCo's full state and a copy of its fields",
        "LunarLander-v3: restorable by playing the episode again from its reset (slow)",
    ]
    assert ended.out.count("  a restore costs ") == 3


def test_an_environment_that_fails_a_check_is_named_and_the_exit_code_is_1(rltrack, monkeypatch):
    checks = (restorable.Check("same steps again", False, "reward of step 3 differs"),)
    monkeypatch.setattr(restorable, "check_restorable", lambda env_id, cost: restorable.Report(env_id, checks))
    ended = rltrack("check", "CartPole-v1")
    assert (ended.code, ended.err) == (1, "rltrack: not restorable: CartPole-v1\n")
    assert "FAIL same steps again: reward of step 3 differs" in ended.out


def test_an_environment_that_cannot_be_saved_is_named_with_the_reason(rltrack):
    ended = rltrack("check", "BipedalWalker-v3", "CartPole-v1")
    assert (ended.code, ended.err) == (1, "rltrack: not restorable: BipedalWalker-v3\n")
    reason = ended.out.splitlines()[0]
    assert reason.startswith("BipedalWalker-v3 is not restorable; a copy of its fields fails: BipedalWalker.")
    assert "CartPole-v1: restorable" in ended.out


def test_an_environment_that_fails_in_a_step_does_not_stop_the_other_checks(rltrack, monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "failing_at_once.py").write_text(FAILING)
    ended = rltrack("check", "failing_at_once:FailsAtOnce-v0", "CartPole-v1")
    assert (ended.code, ended.err) == (1, "rltrack: not restorable: failing_at_once:FailsAtOnce-v0\n")
    assert ended.out.startswith("environment 'FailsAtOnce-v0' raised RuntimeError: no battery (")
    assert "CartPole-v1: restorable" in ended.out


@pytest.mark.parametrize(
    ("env_id", "hints"),
    [
        ("CartPol-v1", ["no environment 'CartPol-v1'", "did you mean 'CartPole-v1'?"]),
        ("Taxi-v1", ["no environment 'Taxi-v1'", "Taxi-v4"]),
        ("rl_tracking/Pursuit-v9", ["no environment", "'rl_tracking/Pursuit-v0'"]),
        ("a b", ["no environment 'a b'"]),
        ("no_such_module:Cart-v0", ["no environment", "no_such_module"]),
    ],
)
def test_unknown_ids_are_refused(refused, env_id, hints):
    line = refused("check", env_id)
    for hint in hints:
        assert hint in line


def test_a_bad_id_among_others_gets_its_line(rltrack):
    ended = rltrack("check", "CartPol-v1", "Pendulum-v1", "Nope-v0")
    assert ended.code == 2
    assert "Pendulum-v1: restorable" in ended.out
    assert ended.err.splitlines() == [
        "rltrack: no environment 'CartPol-v1'; did you mean 'CartPole-v1'?",
        "rltrack: no environment 'Nope-v0'; gymnasium.pprint_registry() lists the known ones",
    ]


@pytest.mark.parametrize(
    ("env_id", "module", "extra"), [("HalfCheetah-v5", "mujoco", "mujoco"), ("LunarLander-v3", "Box2D", "box2d")]
)
def test_a_package_that_is_missing_is_named_with_its_extra(refused, monkeypatch, env_id, module, extra):
    monkeypatch.setitem(sys.modules, module, None)
    line = refused("check", env_id)
    assert f"environment '{env_id}' needs {module}" in line
    assert f'pip install "rl-tracking[{extra}]"' in line
