"""Every recorded step of the paper author's swarm, played again: see ``tests/golden/README.md``."""

import pytest
import torch

from rl_tracking.envs.noise import world_keys
from rl_tracking.envs.parts.formations import FORMATIONS
from rl_tracking.envs.scenarios.swarm.scenario import make_swarm
from rl_tracking.envs.simulator import Simulator
from tests.envs.scenarios.test_golden_traces import WRITTEN, columns, doubled, rows

STEPS, PURSUERS = 60, 4
# Positions and actions are written with six decimals; in the sums of a whole episode the rest adds up.
PLAYED = STEPS * WRITTEN
FIGURES = {"slot_error_mean": "slot_error", "separation_mean": "separation", "separation_min": "least_separation"}


class Trace:
    """``[steps, formations, ...]``: the four formations are worlds side by side."""

    def __init__(self):
        table = rows("swarm")
        assert [row["formation"] for row in table] == [name for name in FORMATIONS for _ in range(STEPS)]
        assert {row["scale"] for row in table} == {"40"}
        self.before, self.action, self.after = (
            self._by_step(columns(table, *(f"{kind}{i}" for i in range(PURSUERS))))
            for kind in ("before", "action", "after")
        )
        self.judged, self.target_after = (
            self._by_step(columns(table, name))[:, :, 0] for name in ("target_judged", "target_after")
        )
        self.numbers = {
            name: self._by_step(torch.tensor([float(row[name]) for row in table], dtype=torch.float64))
            for name in ("reward", "collisions", *FIGURES)
        }

    def _by_step(self, values):
        return values.unflatten(0, (len(FORMATIONS), STEPS)).transpose(0, 1)


@pytest.fixture(scope="module")
def trace():
    return Trace()


def begun(scenario, trace, step=0):
    """The four worlds before a step of the trace."""
    state = doubled(Simulator(scenario).initial(world_keys(0, len(FORMATIONS))))
    return state.replace(
        position=trace.before[step],
        earlier=trace.before[step],
        target_position=trace.judged[step],
        formation=torch.arange(len(FORMATIONS)),
        step=torch.full((len(FORMATIONS),), step),
    )


def compare(simulator, trace, made, step, exact):
    assert (made.after.position - trace.after[step]).abs().max() <= exact, step
    expected = trace.numbers["reward"][step]
    # To 1e-4 of their size; they are written with four decimals.
    assert ((made.reward - expected).abs() <= 1e-4 * expected.abs() + 6e-5).all(), step


def test_every_step_on_its_own(trace):
    simulator = Simulator(make_swarm("sandbox", author_bugs=True))
    for step in range(STEPS):
        made = simulator.transition(begun(simulator.scenario, trace, step), (trace.action[step] / 10).flatten(1))
        compare(simulator, trace, made, step, WRITTEN)
        # The figures are of the moment after the target's move, which is drawn anew here.
        here = made.after.replace(target_position=trace.target_after[step])
        found = simulator.scenario.measures(simulator.scenario.step(made.before, made.action, here))
        for name, ours in FIGURES.items():
            assert (found[ours] - trace.numbers[name][step]).abs().max() <= 1.5e-5, (step, name)
        assert torch.equal(found["close_pairs"], trace.numbers["collisions"][step])


def test_whole_episodes_with_the_target_flying_its_rectangles(trace):
    """From the first step on alone, but for the numbers that the author drew, read off the corners that he reached."""
    simulator = Simulator(make_swarm("sandbox", author_bugs=True))
    state = begun(simulator.scenario, trace)
    path = torch.cat([trace.judged[:1], trace.target_after])
    for step in range(STEPS):
        state = put(simulator.scenario.flight.motion, state, path, step)
        made = simulator.transition(state, (trace.action[step] / 10).flatten(1))
        compare(simulator, trace, made, step, PLAYED)
        state = made.after
        assert (state.target_position - trace.target_after[step]).abs().max() <= PLAYED, step


def put(motion, state, path, step):
    """``state`` with the author's next rectangle in the worlds that are about to draw one."""
    memory = state.target_memory.clone()
    for world in (memory[:, 5] >= 7).nonzero().flatten().tolist():
        sides, height = drawn(path[step:, world])
        centre = state.target_position[world : world + 1, :2]
        memory[world] = motion.rectangle(centre, memory.new_tensor([sides]), memory.new_tensor([[height]]))[0]
    return state.replace(target_memory=memory)


def drawn(path):
    """Sides and height of the rectangle that a path ``[steps + 1, 3]`` flies from its start."""
    moves = path.diff(dim=0)
    short = (moves.norm(dim=-1) < 10 - 1e-4).nonzero().flatten().tolist()
    corner = next((i for i in short if i >= 1), None)
    ahead = 20 * (path[-1] - path[0]) if corner is None else path[corner + 1] - path[0]
    climbs = (moves[:, 2].abs() > 1e-4).nonzero().flatten().tolist()
    top = next((i for i in short if i in climbs), None)
    # Where the path ends before it, the height may lie anywhere ahead.
    height = path[top + 1, 2] if top is not None else 0.0 if not climbs or moves[climbs[0], 2] < 0 else 500.0
    return (2 * ahead[:2]).tolist(), float(height)


def test_the_first_step_is_charged_for_the_slots_only_with_the_authors_error(trace):
    action = (trace.action[0] / 10).flatten(1)
    ours, his = (
        Simulator(scenario).transition(begun(scenario, trace), action).terms
        for scenario in (make_swarm("sandbox", author_bugs=bugs) for bugs in (False, True))
    )
    assert ours["potential"].tolist() == [0.0] * 4
    # A tenth of the mean distance of the slots from the target, by hand: the square's are at half its diagonal.
    assert his["potential"].tolist() == pytest.approx([-2.0 * 2**0.5, -4.0, -4.0, -4.0 * 7 / 6], rel=1e-6)
    assert all(torch.equal(ours[term], his[term]) for term in ("progress", "slot", "effort"))
