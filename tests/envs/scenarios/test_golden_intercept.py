"""Every recorded step of the paper author's search, played again: see ``tests/golden/README.md``."""

import pytest
import torch

from rl_tracking.envs.noise import world_keys
from rl_tracking.envs.scenarios.intercept.scenario import make_intercept
from rl_tracking.envs.scenarios.intercept.sensors import shown
from rl_tracking.envs.simulator import Simulator
from tests.envs.scenarios.test_golden_traces import WRITTEN, columns, doubled, rows

EPISODES, PURSUERS, STEPS = 3, 4, {"0": 30, "1": 30, "2": 32}


class Trace:
    """One row a step ``[N, ...]``, the episodes one after the other."""

    def __init__(self):
        table = rows("intercept")
        self.episode = [row["episode"] for row in table]
        assert {episode: self.episode.count(episode) for episode in sorted(set(self.episode))} == STEPS
        self.before, self.action, self.after = (
            columns(table, *(f"{kind}{i}" for i in range(PURSUERS))) for kind in ("before", "action", "after")
        )
        self.target, self.observed = (columns(table, name)[:, 0] for name in ("target", "observed_target"))
        self.visible = torch.tensor([row["visible"] == "1" for row in table])
        self.terminated = torch.tensor([row["terminated"] == "True" for row in table])
        assert {row["truncated"] for row in table} == {"False"}
        self.reward = torch.tensor([float(row["reward"]) for row in table], dtype=torch.float64)


@pytest.fixture(scope="module")
def trace():
    return Trace()


@pytest.fixture(scope="module")
def simulator():
    return Simulator(make_intercept("sandbox", pursuers=PURSUERS, reward="interception-sandbox"))


def begun(simulator, trace, some):
    """Worlds where rows of the trace begin."""
    state = doubled(simulator.initial(world_keys(0, len(trace.reward[some]))))
    return state.replace(position=trace.before[some], target_position=trace.target[some])


def compare(made, trace, some, exact):
    assert (made.after.position - trace.after[some]).abs().max() <= exact
    assert torch.equal(made.after.target_position, trace.target[some])
    assert torch.equal(made.after.visible, trace.visible[some])
    assert torch.equal(shown(made.after), trace.observed[some])
    assert torch.equal(made.terminated, trace.terminated[some])
    expected = trace.reward[some]
    # To 1e-4 of their size; they are written with four decimals, positions with six.
    assert ((made.reward - expected).abs() <= 1e-4 * expected.abs() + 6e-5).all()


def test_every_step_on_its_own(simulator, trace):
    rows = slice(None)
    made = simulator.transition(begun(simulator, trace, rows), (trace.action / 10).flatten(1))
    compare(made, trace, rows, WRITTEN)
    assert trace.terminated.sum() == EPISODES
    assert 0 < trace.visible.sum() < len(trace.visible)


@pytest.mark.parametrize("episode", STEPS)
def test_whole_episodes(simulator, trace, episode):
    first = trace.episode.index(episode)
    state = begun(simulator, trace, slice(first, first + 1))
    for row in range(first, first + STEPS[episode]):
        made = simulator.transition(state, (trace.action[row : row + 1] / 10).flatten(1))
        compare(made, trace, slice(row, row + 1), STEPS[episode] * WRITTEN)
        state = made.after
    assert made.terminated.item()
