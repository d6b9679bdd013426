"""No environment is silently wrong: each awkward one is exact, or refused or stopped by name."""

import re
from pathlib import Path

import pytest

from rl_tracking.adapters.build import RestorableGymVecEnv
from tests.trust.awkward import CASES, EXACT, Awkward, Shown
from tests.trust.judging import WRONG, judge, mismatch, table

# Late forms are run by default where no early form shows the same.
FAST = (
    "Python's random",
    "counter of a class",
    "generator of a C library",
    "generator in a frame",
    "weights of a network",
)
FORMS = [
    pytest.param(name, late, id=f"{name}-{'late' if late else 'early'}", marks=[pytest.mark.slow] * slow)
    for name in CASES
    for late in (False, True)
    for slow in [late and name not in FAST]
]


@pytest.fixture(autouse=True)
def _no_window(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")


def test_there_are_enough_awkward_environments():
    assert len(CASES) >= 24
    assert {case.early for case in CASES.values()} | {case.late for case in CASES.values()} == {
        "exact",
        "refused",
        "stopped while training",
    }


@pytest.mark.filterwarnings("ignore:We recommend using a `batch_size`")
@pytest.mark.parametrize(("name", "late"), FORMS)
def test_an_awkward_environment_is_exact_or_named(name, late):
    case = CASES[name]
    became, said = judge(name, late)
    assert (became, said) != (WRONG, said)
    assert became == case.expected(late), said
    if became != EXACT:
        assert re.search(case.says, said), said
        assert "\n" not in said


def test_the_brute_force_comparison_finds_what_is_not_restored():
    """Else an exact environment would prove nothing."""

    class Leaky(RestorableGymVecEnv):
        def set_state(self, states):
            super().set_state(states)
            self.envs[0].unwrapped.t += 1

    class Drifting(Awkward):
        def hidden(self, action):
            return 0.01 * self.t

    assert mismatch(Drifting, False) is None
    assert mismatch(Drifting, False, adapter=Leaky) == 0


def test_branches_never_render(monkeypatch):
    drawn = []
    render = Shown.render
    monkeypatch.setattr(Shown, "render", lambda env: (drawn.append(env), render(env)))
    env = RestorableGymVecEnv(Shown, 2, seed=0)
    assert mismatch(Shown, False) is None
    drawn.clear()
    env.reset()
    sibling = env.spawn(4)
    for _ in range(4):
        sibling.set_state(env.fork(2))
        sibling.step([0, 1, 2, 1])
        env.step([1, 1])
    assert {id(each) for each in drawn} == {id(world.unwrapped) for world in env.envs}
    worlds = [world.unwrapped for world in env.envs]
    screens = [(world.screen, world.clock, world.painter) for world in worlds]
    saved = env.get_state()
    env.step([0, 0])
    env.set_state(saved)
    assert [(world.screen, world.clock, world.painter) for world in worlds] == screens
    assert all(world.unwrapped.screen is None for world in sibling.envs)
    assert not [name for name in saved.differences(env.get_state()) if "screen" in name or "painter" in name]


def test_the_documentation_has_the_outcome_of_each():
    text = (Path(__file__).parents[2] / "docs" / "restoring.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.split("|")[1:4]] for line in text.splitlines() if line.startswith("| ")]
    assert rows[1:] == [[name, case.early, case.late] for name, case in CASES.items()]


@pytest.mark.slow
def test_every_awkward_environment_has_the_expected_outcome(capsys):
    lines = list(table())
    with capsys.disabled():
        print("\n| environment | form | outcome | as expected | what was said |\n|---|---|---|---|---|")
        print("\n".join(lines))
    assert not [line for line in lines if "| true |" not in line]
