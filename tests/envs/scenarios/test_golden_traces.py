"""Every recorded step of the paper author's sandbox, played again: see ``tests/golden/README.md``."""

import csv
from pathlib import Path

import pytest
import torch

from rl_tracking.envs.noise import world_keys
from rl_tracking.envs.scenarios.pursuit.scenario import make_pursuit
from rl_tracking.envs.simulator import Simulator
from tests.helpers import step_of

GOLDEN = Path(__file__).parents[2] / "golden"
WRITTEN = 1.5e-6  # positions are written with six decimals
SINGLE = 1e-4  # what float32 knows of positions up to 500, a few steps on
AXES = "xyz"
PURSUIT = [f"pursuit-{r}-{m}-n{n}" for r in ("basic", "complex") for m in ("stationary", "cube") for n in (1, 3)]
STALE = [f"pursuit-complex-{motion}-n1-stale" for motion in ("stationary", "cube")]
# Of the constructor's pursuer no trace is left but this: the first rewards. Any place with the same ones will do.
BEFORE_THE_FIRST_RESET = {"stationary": (250.0, 250.0, 250.0), "cube": (335.0, 218.0, 318.0)}


def rows(name):
    with (GOLDEN / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def columns(table, *names):
    """``[rows, len(names), 3]`` of the columns ``NAME_x``, ``NAME_y``, ``NAME_z``."""
    numbers = [[[float(row[f"{name}_{axis}"]) for axis in AXES] for name in names] for row in table]
    return torch.tensor(numbers, dtype=torch.float64)


class Trace:
    """A pursuit file as tensors ``[steps, episodes, ...]``; the episodes are worlds side by side."""

    def __init__(self, name):
        table = rows(name)
        self.episodes = 1 + max(int(row["episode"]) for row in table)
        self.pursuers = sum(key.startswith("before") for key in table[0]) // len(AXES)
        numbered = {kind: [f"{kind}{i}" for i in range(self.pursuers)] for kind in ("before", "action", "after")}
        with_doubles = {kind: self._by_step(columns(table, *names)) for kind, names in numbered.items()}
        self.before, self.action, self.after = (with_doubles[kind] for kind in ("before", "action", "after"))
        self.judged = self._by_step(columns(table, "target_judged"))[:, :, 0]
        self.target_after = self._by_step(columns(table, "target_after"))[:, :, 0]
        self.reward = self._by_step(torch.tensor([float(row["reward"]) for row in table], dtype=torch.float64))
        self.ends = {(row["terminated"], row["truncated"]) for row in table}
        assert len(table) == self.reward.numel()

    def _by_step(self, values):
        return values.unflatten(0, (self.episodes, -1)).transpose(0, 1)


def drawn(path):
    """The rectangles ``(length, width, height)`` behind a target's path ``[steps + 1, 3]``, read off its corners."""
    moves = path.diff(dim=0)
    arrivals = (moves.norm(dim=-1) < 10 - 1e-4).nonzero().flatten().tolist()  # a goal nearer than a step is snapped to
    climbs = (moves[:, 2].abs() > 1e-4).nonzero().flatten().tolist()
    assert not any((path[i + 1] == 499).any() or (path[i + 1] == 0).any() for i in arrivals), "a wall hides the corner"
    found, start = [], 0
    while start < len(path) - 1:
        corner = next((i + 1 for i in arrivals if i >= start), len(path))
        # Where the path ends before it, the corner may lie anywhere ahead.
        ahead = path[corner] - path[start] if corner < len(path) else 20 * (path[-1] - path[start])
        length, width = (2 * ahead[:2]).tolist()
        top = next((i + 1 for i in arrivals if i in climbs and i >= corner), None)
        going_up = any(moves[i, 2] > 0 for i in climbs if i >= corner)
        height = path[top, 2].item() if top is not None else 500.0 * going_up
        found.append((length, width, height))
        start = len(path) if top is None else top
    return found


def rectangles(trace, world):
    return drawn(torch.cat([trace.judged[:1, world], trace.target_after[:, world]]))


def put(motion, state, draws):
    """``state`` with the author's next rectangle in the worlds that are about to draw one."""
    memory = state.target_memory.clone()
    for world in (memory[:, 5] >= 5).nonzero().flatten().tolist():
        length, width, height = draws[world].pop(0)
        sides = memory.new_tensor([[length, width]])
        centre = state.target_position[world : world + 1, :2]
        memory[world] = motion.rectangle(centre, sides, memory.new_tensor([[height]]))[0]
    return state.replace(target_memory=memory)


def doubled(state):
    return state.map(lambda tensor: tensor.double() if tensor.is_floating_point() else tensor)


def begun(scenario, trace, earlier=None):
    """The trace's episodes at their first step; ``earlier`` is where the pursuers were before it ``[B, P, 3]``."""
    state = Simulator(scenario).initial(world_keys(0, trace.episodes))
    position = trace.before[0]
    return doubled(state).replace(
        position=position,
        target_position=trace.judged[0],
        target_judged=trace.judged[0],
        trail=(position if earlier is None else earlier).unsqueeze(1).repeat(1, state.trail.shape[1], 1, 1),
    )


def play(scenario, trace, state, *, exact, worlds=slice(None)):
    """Play a trace and hold each step against it."""
    simulator = Simulator(scenario)
    draws = {i: rectangles(trace, world) for i, world in enumerate(range(trace.episodes)[worlds])}
    for step, action in enumerate(trace.action[:, worlds]):
        if scenario.parameters["motion"] == "cube":
            state = put(scenario.motion, state, draws)
        made = simulator.transition(state, (action / 10).flatten(1).to(state.position.dtype))
        state = made.after
        assert torch.equal(state.position.double(), trace.after[step, worlds]), "pursuers, exactly"
        assert (step_of(simulator, made).target_position - trace.judged[step, worlds]).abs().max() <= exact
        assert (state.target_position - trace.target_after[step, worlds]).abs().max() <= exact
        expected = trace.reward[step, worlds]
        # To 1e-4 of their size; they are written with four decimals.
        assert ((made.reward - expected).abs() <= 1e-4 * expected.abs() + 6e-5).all(), step
        assert not made.done.any()
    return state


def scenario_of(name, trace, **more):
    _, reward, motion, *_ = name.split("-")
    return make_pursuit("sandbox", reward=reward, motion=motion, pursuers=trace.pursuers, **more)


@pytest.mark.parametrize("name", PURSUIT)
def test_pursuit(name):
    trace = Trace(name)
    assert (len(trace.reward), trace.episodes, trace.ends) == (80, 2, {("False", "False")})
    # In all of these the author's energy term counts the last pursuer for everyone; history and potential are right.
    scenario = scenario_of(name, trace, author_bugs=trace.pursuers > 1)
    play(scenario, trace, begun(scenario, trace), exact=WRITTEN)


@pytest.mark.parametrize("name", PURSUIT)
def test_pursuit_in_single_precision(name):
    trace = Trace(name)
    scenario = scenario_of(name, trace, author_bugs=trace.pursuers > 1)
    state = begun(scenario, trace)
    single = state.map(lambda tensor: tensor.float() if tensor.is_floating_point() else tensor)
    play(scenario, trace, single, exact=SINGLE)


@pytest.mark.parametrize("name", [name for name in PURSUIT if "complex" in name and name.endswith("n3")])
def test_without_the_bug_every_pursuer_pays_for_its_own_action(name):
    trace = Trace(name)
    scenario, as_it_is = (scenario_of(name, trace, author_bugs=bugs) for bugs in (False, True))
    ours, his = (
        Simulator(s).transition(begun(s, trace), (trace.action[0] / 10).flatten(1)) for s in (scenario, as_it_is)
    )
    own = 0.05 * trace.action[0].abs().sum(dim=(1, 2))
    last = 0.05 * 3 * trace.action[0, :, -1].abs().sum(dim=-1)
    assert torch.allclose(ours.terms["effort"], -own)
    assert torch.allclose(his.terms["effort"], -last)
    others = [name for name in ours.terms if name != "effort"]
    assert all(torch.equal(ours.terms[term], his.terms[term]) for term in others)


@pytest.mark.parametrize("name", STALE)
def test_pursuit_as_it_is(name):
    trace, motion = Trace(name), name.split("-")[2]
    assert (len(trace.reward), trace.episodes, trace.ends) == (20, 2, {("False", "False")})
    scenario = scenario_of(name, trace, author_bugs=True)
    earlier = torch.tensor(BEFORE_THE_FIRST_RESET[motion]).double().expand(2, 1, 3)
    first = begun(scenario, trace, earlier)
    last = play(scenario, trace, first[0], exact=WRITTEN, worlds=slice(0, 1))
    # The second episode begins as a reset leaves it, but for the place that it draws.
    fresh = doubled(Simulator(scenario).restart(last))
    start = begun(scenario, trace)[1]
    second = fresh.replace(position=start.position, target_position=start.target_position)
    assert second.trail.unique(dim=1).squeeze().tolist() == trace.after[-1, 0, 0].tolist()
    play(scenario, trace, second, exact=WRITTEN, worlds=slice(1, 2))


class TestCubePaths:
    """Twelve paths with the author's own draws in place of ours."""

    @pytest.mark.parametrize(("dtype", "exact"), [(torch.float64, WRITTEN), (torch.float32, 5e-4)])
    def test_every_position(self, dtype, exact):
        paths, draws = self.recorded()
        scenario = make_pursuit("sandbox")
        motion, arena, key = scenario.motion, scenario.arena, world_keys(0, len(draws))
        target = motion.start(paths[0].to(dtype), key, arena)
        for step, expected in enumerate(paths[1:]):
            memory = target.memory.clone()
            assert [step in draw for draw in draws] == (memory[:, 5] >= 5).tolist(), "they draw in the same step"
            for world, draw in enumerate(draws):
                if step in draw:
                    length, width, height = memory.new_tensor(draw[step]).view(3, 1, 1)
                    sides = torch.cat([length, width], dim=-1)
                    memory[world] = motion.rectangle(target.position[world : world + 1, :2], sides, height)[0]
            target = motion.advance(target._replace(memory=memory), key, torch.full_like(key, step), arena)
            assert (target.position.double() - expected).abs().max() <= exact, step

    def recorded(self):
        """Paths ``[steps + 1, worlds, 3]``, and for each world ``{step: (length, width, the height after)}``."""
        table = rows("cube-paths")
        assert len(table) == 12 * 301
        positions = torch.tensor([[float(row[axis]) for axis in AXES] for row in table], dtype=torch.float64)
        draws = [{} for _ in range(12)]
        for row in table:
            numbers = [float(text) for text in row["drawn"].split()]
            of_path = draws[int(row["path"])]
            if len(numbers) == 2:
                of_path[int(row["step"])] = [*numbers, 0.0]
            elif numbers:
                next(reversed(of_path.values()))[2] = numbers[0]
        return positions.unflatten(0, (12, 301)).transpose(0, 1), draws

    def test_some_of_them_stand_against_a_wall(self):
        paths, _ = self.recorded()
        still = (paths[-100:] - paths[-1]).norm(dim=-1).amax(dim=0) < 1
        assert still.sum().item() >= 2
        assert ((paths[-1, still] == 0) | (paths[-1, still] == 499)).any(dim=-1).all()
