import pytest
import torch

from rl_tracking.agents.controllers.guidance import lead_pursuit
from rl_tracking.agents.controllers.search import _on_lanes, lanes, lawn_mower
from rl_tracking.envs.noise import world_keys
from rl_tracking.envs.simulator import Simulator
from rl_tracking.envs.vec_env import make_scenario
from rl_tracking.runs.tasks.scenario import ScenarioTask


@pytest.mark.parametrize(("dimensions", "sight"), [(2, 30.0), (2, 7.0), (3, 30.0), (3, 12.0), (3, 200.0)])
def test_every_point_of_the_arena_is_within_sight_of_the_lanes(dimensions, sight):
    path = torch.tensor(lanes((0.0,) * dimensions, (100.0,) * dimensions, sight))
    points = torch.rand(2000, dimensions, generator=torch.Generator().manual_seed(0)) * 100
    points = torch.cat([points, points.round(decimals=-2)])  # corners too
    start, way = path[:-1], path.diff(dim=0)
    share = ((points.unsqueeze(1) - start) * way).sum(-1) / (way * way).sum(-1)
    nearest = start + share.clamp(0, 1).unsqueeze(-1) * way
    assert (points.unsqueeze(1) - nearest).norm(dim=-1).amin(dim=1).max() <= sight * (1 + 1e-5)


def test_lanes_by_hand():
    assert lanes((0.0, 0.0), (10.0, 10.0), 3.0) == [[0, 2.5], [10, 2.5], [10, 7.5], [0, 7.5]]
    # The second row of lanes is flown back, so that the way between two lanes is short.
    path = torch.tensor(lanes((0.0, 0.0, 0.0), (10.0, 10.0, 10.0), 4.0))
    assert path[::2, 1:].tolist() == [[2.5, 2.5], [2.5, 7.5], [7.5, 7.5], [7.5, 2.5]]
    assert path.diff(dim=0).count_nonzero(dim=1).tolist() == [1] * 7


def test_pursuers_share_the_lanes_and_turn_back_at_the_end():
    scenario = make_scenario("intercept", pursuers=4)
    state = Simulator(scenario).initial(world_keys(0, 1))
    path = torch.tensor(lanes((0.0,) * 3, (100.0,) * 3, 30.0))
    total = path.diff(dim=0).norm(dim=-1).sum().item()
    place, velocity = _on_lanes(scenario.facts, state)
    assert place[0, 0].tolist() == pytest.approx(path[0].tolist())
    assert velocity.norm(dim=-1).tolist() == [pytest.approx([0.8 * 18] * 4)]
    # After the whole path the first one is at its end, after twice that back where it began.
    steps = round(total / (0.8 * 1.8))
    end, _ = _on_lanes(scenario.facts, state.replace(step=torch.tensor([steps])))
    assert torch.dist(end[0, 0], path[-1]).item() < 1.5
    back, _ = _on_lanes(scenario.facts, state.replace(step=torch.tensor([2 * steps])))
    assert torch.dist(back[0, 0], path[0]).item() < 3


def test_it_leads_a_target_in_sight_and_looks_where_a_lost_one_was():
    scenario = make_scenario("intercept")
    state = Simulator(scenario).initial(world_keys(0, 300))
    action = lawn_mower(scenario, state)
    seen = state.visible
    assert 0 < seen.sum() < 300
    assert torch.equal(action[seen], lead_pursuit(scenario, state)[seen])
    lost = state.replace(visible=torch.zeros_like(seen), since_seen=torch.full((300,), 1.0))
    toward = (state.seen_position + state.seen_velocity).unsqueeze(1).clamp(0, 100) - state.position
    flown = lawn_mower(scenario, lost).view_as(toward)
    cosine = torch.nn.functional.cosine_similarity(flown, toward, dim=-1)
    assert cosine.min() > 0.99


def test_it_knows_nothing_of_a_target_out_of_sight():
    scenario = make_scenario("intercept", sight_range=10.0)
    state = Simulator(scenario).initial(world_keys(0, 100))
    unseen = state[~state.visible]
    elsewhere = unseen.replace(target_position=100 - unseen.target_position, target_velocity=-unseen.target_velocity)
    assert torch.equal(lawn_mower(scenario, unseen), lawn_mower(scenario, elsewhere))


@pytest.mark.parametrize(
    "parameters",
    [{}, {"preset": "sandbox", "motion": "cube"}, {"preset": "sandbox", "pursuers": 4}, {"dimensions": 2}],
)
def test_targets_are_found_and_caught(parameters):
    task = ScenarioTask(make_scenario("intercept", **parameters))
    assert task.measure(task.controller("lawn-mower"), 40, seed=1)["capture_rate"]["value"] >= 0.95
