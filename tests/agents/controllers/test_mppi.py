"""The planner: what it knows, where its plan lives, and that it plans."""

import pytest
import torch
from gymnasium import spaces

from rl_tracking.agents.controllers import mppi, options
from rl_tracking.envs.noise import world_keys
from rl_tracking.envs.parts.arena import Target
from rl_tracking.envs.parts.motions_wandering import RandomWalk
from rl_tracking.envs.simulator import Simulator
from rl_tracking.envs.vec_env import make_scenario
from rl_tracking.errors import UsageError
from rl_tracking.runs.evaluate import evaluate
from rl_tracking.runs.tasks import ScenarioTask
from tests.agents.toys import one_line

SMALL = "branches=16,horizon=6"


def worlds(number=4, seed=0, **parameters):
    scenario = make_scenario("pursuit", **parameters)
    simulator = Simulator(scenario)
    return scenario, simulator, simulator.initial(world_keys(seed, number))


def acted(controller, scenario, simulator, state, steps=6):
    """The actions of some steps ``[steps, B, A]``."""
    actions = []
    for _ in range(steps):
        actions.append(controller(scenario, state))
        state = simulator.transition(state, actions[-1]).after
    return torch.stack(actions)


@pytest.mark.parametrize("name", ["mppi", "mppi-clairvoyant"])
def test_the_same_episodes_are_flown_alike_whatever_flies_beside_them(name):
    scenario, simulator, state = worlds(5, wind_speed=2.0)
    first, again, alone = (
        acted(options.make(f"{name}:{SMALL}"), scenario, simulator, start) for start in (state, state, state[2:3])
    )
    assert torch.equal(first, again)
    torch.testing.assert_close(first[:, 2:3], alone, rtol=0, atol=1e-5)


def test_a_new_episode_begins_without_a_plan():
    scenario, simulator, state = worlds(3)
    planner = options.make(f"mppi:{SMALL}")
    acted(planner, scenario, simulator, state)
    other = simulator.restart(state)
    assert torch.equal(planner(scenario, other), options.make(f"mppi:{SMALL}")(scenario, other))
    # One world that has begun anew beside two that go on: each as if alone.
    planner(scenario, state)
    mixed = simulator.transition(state, torch.zeros(3, 3)).after.put(torch.tensor([1]), other[1:2])
    action, fresh = planner(scenario, mixed), options.make(f"mppi:{SMALL}")(scenario, mixed)
    assert torch.equal(action[1], fresh[1])
    assert not torch.equal(action[0], fresh[0])


def test_asked_twice_it_answers_alike():
    scenario, simulator, state = worlds(3)
    planner = options.make(f"mppi:{SMALL}")
    state = simulator.transition(state, planner(scenario, state)).after
    assert torch.equal(planner(scenario, state), planner(scenario, state))


def test_a_plan_is_moved_on_by_a_step():
    _, _, state = worlds(3)
    start, improved = torch.rand(3, 4, 2), torch.rand(3, 4, 2)
    plans = mppi.Plans(state.key, state.step, start, improved)
    later = state.replace(step=state.step + torch.tensor([1, 0, 2]))
    recalled = plans.recall(later)
    assert torch.equal(recalled[0], torch.cat([improved[0, 1:], improved[0, -1:]]))
    assert torch.equal(recalled[1], start[1])
    assert not bool(recalled[2].any())


def test_nothing_is_earned_after_the_end_of_the_task():
    for ends in (True, False):
        scenario, _, state = worlds(2, capture_terminates=ends, spawn="at-target")
        one, six = (mppi._returns(scenario, state, torch.zeros(2, horizon, 3)) for horizon in (1, 6))
        assert torch.equal(one, six) == ends


def test_more_branches_than_memory_holds_are_refused_in_one_line(monkeypatch):
    monkeypatch.setattr(mppi.limits, "available", lambda device: 2**30)
    scenario, _, state = worlds(1)
    with pytest.raises(UsageError) as refused:
        options.make("mppi:branches=65536,horizon=1000")(scenario, state)
    assert one_line(refused) == (
        "65,536 branches of 1,000 steps take about 4.4 GiB of memory, and 1.0 GiB are free; "
        "give controller 'mppi' fewer"
    )


def test_the_plan_is_the_mean_of_the_branches_weighed_by_the_exponential_of_their_returns(monkeypatch):
    scenario, _, state = worlds(2)
    seen = {}

    def returns(model, imagined, actions):
        seen["actions"] = actions
        return torch.arange(len(actions), dtype=torch.float32) ** 1.5

    monkeypatch.setattr(mppi, "_returns", returns)
    action = options.make("mppi:branches=5,horizon=3,temperature=0.5")(scenario, state)
    tried, earned = seen["actions"].view(5, 2, 3, 3), (torch.arange(10.0) ** 1.5).view(5, 2)
    assert float(tried[0].abs().max()) == 0.0, "branch 0 is the plan itself"
    for world in range(2):
        weights = torch.exp((earned[:, world] - earned[:, world].max()) / (0.5 * earned[:, world].std(correction=0)))
        expected = (weights[:, None] * tried[:, world, 0]).sum(0) / weights.sum()
        torch.testing.assert_close(action[world], expected)


def test_it_knows_nothing_of_what_is_still_to_be_drawn_and_the_clairvoyant_does():
    # Two worlds that are alike up to now and differ in what will be drawn.
    scenario, _, state = worlds(1, wind_speed=3.0)
    seen = []
    for name in ("mppi", "mppi-clairvoyant"):
        planner = options.make(f"{name}:{SMALL}")
        imagined = planner.branched(state, state.imagined(16))
        model = planner.model(scenario)
        after = model.transition(imagined, torch.zeros(16, 3))
        seen.append((imagined.key, after.wind, after.target_velocity))
    (keys, winds, velocities), (own_keys, own_winds, own_velocities) = seen
    assert len(set(keys.tolist())) == 16
    assert state.key.item() not in keys.tolist()
    assert set(own_keys.tolist()) == set(state.key.tolist())
    assert len(winds.unique(dim=0)) == 16
    assert len(own_winds.unique(dim=0)) == 1
    # The target by its mean, the same in all branches: its velocity decays.
    torch.testing.assert_close(velocities, state.target_velocity.expand(16, 3) * torch.tensor(-0.05).exp())
    actual = scenario.transition(state, torch.zeros(1, 3)).target_velocity
    assert torch.equal(own_velocities, actual.expand(16, 3))
    assert not torch.allclose(velocities[:1], actual)


def test_the_mean_of_a_random_walk_is_the_mean_of_its_steps():
    scenario, *_ = worlds(1)
    arena, walk = scenario.arena, RandomWalk(6.0)
    many = 20_000
    target = Target(torch.full((many, 3), 30.0), torch.tensor([[1.0, -2.0, 0.5]]).expand(many, 3), torch.zeros(many, 0))
    keys, step = world_keys(0, many), torch.zeros(many, dtype=torch.int64)
    sampled = walk.advance(target, keys, step, arena)
    expected = walk.mean(target, step, arena)
    torch.testing.assert_close(sampled.velocity.mean(0), expected.velocity[0], atol=0.05, rtol=0)
    torch.testing.assert_close(sampled.position.mean(0), expected.position[0], atol=0.005, rtol=0)


def test_it_finds_the_way_to_a_still_target_and_stays():
    task = ScenarioTask(make_scenario("pursuit", motion="stationary", max_steps=120))
    planned, hovered = (evaluate(name, 10, task=task, seed=3) for name in ("mppi:branches=64,horizon=12", "hover"))
    assert planned["capture_rate"]["value"] == 1.0
    assert planned["time_in_radius"]["value"] > 0.6
    assert planned["return"]["value"] > hovered["return"]["value"] + 30


def test_knowing_the_future_pays():
    task = ScenarioTask(make_scenario("pursuit", max_steps=120))
    honest, clairvoyant = (evaluate(f"{name}:branches=64", 12, task=task, seed=3) for name in options.PLANNERS)
    assert clairvoyant["return"]["value"] > honest["return"]["value"] + 5


@pytest.mark.parametrize("parameters", [{"dimensions": 2, "pursuers": 7}, {"preset": "sandbox"}, {"reward": "sparse"}])
def test_it_plans_in_every_world(parameters):
    scenario, simulator, state = worlds(3, **parameters)
    actions = acted(options.make(f"mppi:{SMALL}"), scenario, simulator, state, steps=3)
    assert actions.shape == (3, 3, *scenario.action_space.shape)
    assert bool(torch.isfinite(actions).all())
    assert float(actions.abs().max()) <= 1.0


@pytest.mark.parametrize(
    ("spec", "hint"),
    [
        ("mppi:1", "branches of controller 'mppi' must be a whole number from 2 to 65,536, not 1"),
        ("mppi:horizon=0", "horizon of controller 'mppi' must be a whole number from 1 to 1,000 steps, not 0"),
        ("mppi:branchs=4", "unknown option of controller 'mppi': 'branchs'; did you mean 'branches'?"),
        ("mppi:4,branches=4", "branches of controller 'mppi' is given twice"),
    ],
)
def test_wrong_options_are_refused_in_one_line(spec, hint):
    with pytest.raises(UsageError) as refused:
        options.check(spec)
    assert one_line(refused) == hint


@pytest.mark.parametrize("space", [spaces.Discrete(4), spaces.Box(-torch.inf, torch.inf, (2,))])
def test_actions_without_bounds_are_refused(space):
    scenario, _, state = worlds(1)
    scenario.action_space = space
    with pytest.raises(UsageError, match="controller 'mppi' plans actions that are numbers within bounds; those of"):
        options.make("mppi")(scenario, state)
