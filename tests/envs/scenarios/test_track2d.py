"""What only the basic track does: its two presets, its actions, its ends, and the values it refuses."""

import gymnasium
import numpy as np
import pytest
import torch

from rl_tracking.agents.controllers.guidance import pure_pursuit
from rl_tracking.agents.recipes import find
from rl_tracking.envs.noise import world_keys
from rl_tracking.envs.scenarios.track2d.scenario import MOVES, make_track2d
from rl_tracking.envs.simulator import Simulator
from rl_tracking.envs.vec_env import make_vec
from rl_tracking.errors import UsageError
from rl_tracking.runs.evaluate import evaluate
from rl_tracking.runs.tasks import ScenarioTask

UP, DOWN, LEFT, RIGHT, STAY = range(5)


def start(worlds=64, **parameters):
    sim = Simulator(make_track2d(**parameters))
    return sim, sim.initial(world_keys(0, worlds))


def test_the_gymnasium_id_has_a_capital_d():
    env = gymnasium.make("rl_tracking/Track2D-v0", actions="continuous", max_steps=3)
    env.reset(seed=0)
    assert env.action_space.shape == (2,)
    assert [env.step(np.zeros(2, np.float32))[3] for _ in range(3)] == [False, False, True]


class TestSandbox:
    """The facts of the author's basic track."""

    def test_sizes(self):
        sim, state = start(preset="sandbox")
        assert sim.scenario.action_space.n == 5
        assert sim.scenario.observation_space.shape == (4,)
        assert sim.scenario.arena.high.tolist() == [100, 100]
        assert (sim.scenario.dt, sim.scenario.max_steps, sim.scenario.facts.capture_radius) == (0.1, 200, 1.0)
        assert (state.position == 50).all()
        assert torch.linalg.vector_norm(state.target_velocity, dim=-1).unique().tolist() == pytest.approx([6.0])

    @pytest.mark.parametrize(("action", "moved"), list(enumerate(MOVES)))
    def test_an_action_sets_the_velocity(self, action, moved):
        sim, state = start(preset="sandbox")
        after = sim.transition(state, torch.full((64,), action)).after
        assert torch.allclose(after.velocity[0, 0], 10 * torch.tensor(moved))
        assert torch.allclose(after.position[:, 0] - 50, torch.tensor(moved).expand(64, 2), atol=1e-5)

    def test_the_reward_by_hand(self):
        sim, state = start(preset="sandbox")
        made = sim.transition(state, torch.full((64,), UP))
        before = (state.target_position - state.position[:, 0]).norm(dim=-1)
        now = (made.after.target_position - made.after.position[:, 0]).norm(dim=-1)
        expected = (0.5 * (now < before) - now / 100).clamp(-1, 1)
        assert torch.allclose(made.reward, expected, atol=1e-6)
        assert 0 < (now < before).sum() < 64, "both cases are met"

    def test_what_is_seen(self):
        sim, state = start(preset="sandbox")
        after = sim.transition(state, torch.full((64,), LEFT)).after
        offset = after.target_position - after.position[:, 0]
        expected = torch.cat([offset, torch.tensor([[-10.0, 0.0]]).expand(64, 2)], dim=1) / 100
        assert torch.allclose(sim.observation(after), expected, atol=1e-6)

    @pytest.mark.parametrize("bugs", [False, True])
    def test_whether_the_robot_is_put_back(self, bugs):
        sim, state = start(preset="sandbox", author_bugs=bugs)
        state = sim.transition(state, torch.full((64,), RIGHT)).after
        again = sim.restart(state)
        assert again.position[0, 0].tolist() == pytest.approx([51, 50] if bugs else [50, 50])
        assert again.velocity[0, 0].tolist() == pytest.approx([10, 0] if bugs else [0, 0])
        assert (again.step == 0).all() and (again.episode == 1).all()


class TestRobot:
    def test_an_action_accelerates(self):
        sim, state = start(drag=0.0)
        after = sim.transition(state, torch.full((64,), DOWN)).after
        assert torch.allclose(after.velocity[:, 0], torch.tensor([0.0, -2.0]).expand(64, 2))
        inside = (after.position > 0).all(dim=-1).squeeze(-1)
        moved = (after.position - state.position)[inside, 0]
        assert torch.allclose(moved, torch.tensor([0.0, -0.1]).expand_as(moved), atol=1e-5)
        # It rolls on without an action, and never faster than its limit.
        assert torch.equal(
            sim.transition(after, torch.full((64,), STAY)).after.velocity[inside], after.velocity[inside]
        )
        for _ in range(15):
            after = sim.transition(after, torch.full((64,), RIGHT)).after
        assert torch.linalg.vector_norm(after.velocity, dim=-1).max() <= 20 * (1 + 1e-6)

    def test_it_starts_anywhere_and_so_does_the_target(self):
        _, state = start(worlds=4000)
        assert state.position.amin() < 1
        assert state.position.amax() > 99
        assert ((state.target_position - 50).abs().amax(dim=-1) - 15).abs().max() < 1e-4, "on the square of side 30"
        assert torch.unique(state.target_velocity.sign(), dim=0).shape[0] == 4

    def test_a_wall_takes_away_the_speed_along_it(self):
        sim, state = start(actions="continuous")
        for _ in range(100):
            state = sim.transition(state, torch.tensor([[-1.0, 0.3]]).expand(64, 2)).after
        assert (state.position[:, 0, 0] == 0).all()
        assert (state.velocity[:, 0, 0] == 0).all()


@pytest.mark.parametrize("terminates", [True, False])
def test_capture_ends_the_episode_unless_it_is_told_not_to(terminates):
    sim, state = start(capture_terminates=terminates)
    on_target = state.replace(position=state.target_position.unsqueeze(1))
    made = sim.transition(on_target, torch.full((64,), STAY))
    assert made.measures["captured"].all()
    assert bool(made.terminated.all()) is terminates
    assert not sim.transition(state, torch.full((64,), STAY)).terminated.all()


@pytest.mark.parametrize(("place", "action"), [((0, 9), UP), ((0, -9), DOWN), ((-9, 0), LEFT), ((9, 0), RIGHT)])
def test_a_pursuit_law_takes_the_nearest_of_the_five_actions(place, action):
    sim, state = start(worlds=3)
    ahead = state.replace(position=state.target_position.unsqueeze(1) - torch.tensor(place, dtype=torch.float32))
    assert pure_pursuit(sim.scenario, ahead).tolist() == [action] * 3
    there = state.replace(position=state.target_position.unsqueeze(1))
    assert pure_pursuit(sim.scenario, there).tolist() == [STAY] * 3


@pytest.mark.parametrize("actions", ["discrete", "continuous"])
def test_lead_pursuit_catches_the_authors_target(actions):
    found = evaluate("lead-pursuit", 30, scenario=make_track2d("sandbox", actions=actions))
    assert found["capture_rate"]["value"] == 1.0
    # The square's nearest point is 15 m from the centre: no robot of 10 m/s an axis is there sooner than by 1.4 s.
    assert found["time_to_capture"]["value"] >= 1.4


def test_other_motions_and_rewards_apply():
    env = make_vec("track2d", 8, seed=0, motion="random-walk", reward="complex", max_steps=20)
    env.reset()
    for _ in range(30):
        env.step(np.full(8, UP))
    assert env.get_state().trail.shape == (8, 5, 1, 2)


@pytest.mark.parametrize("algo", ["hybrid-grpo", "ppo", "grpo"])
def test_it_has_recipes(algo):
    found = find(None, {"name": "track2d", "parameters": {"preset": "robot"}}, None, [algo])
    assert (found.scenario, found.algo) == ("track2d", algo)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"preset": "drone"}, "preset of scenario 'track2d': 'drone'"),
        ({"actions": "vector"}, "actions of scenario 'track2d': 'vector'"),
        ({"target_speed": -1}, "target_speed of scenario 'track2d' must be a number from 0 to 10,000 m/s, not -1"),
        ({"max_speed": 5000.0}, "max_speed of scenario 'track2d' makes 500 m a step of 0.1 s"),
        ({"capture_radius": 200.0}, "capture_radius of scenario 'track2d' must fit in the arena of 100 m"),
        ({"reward": "formation"}, "reward 'formation' reads a SwarmStep"),
        ({"motion": "square:side=2"}, "side of motion 'square' must be a number from 0.01 to 1, not 2"),
        ({"motion": "square:way=up"}, "way of motion 'square': 'up'"),
        ({"motion": "circle:side=2"}, "motion 'circle' takes no options; leave out ':side=2'"),
        ({"motion": "sqare:side=1"}, "unknown motion 'sqare:side=1'"),
    ],
)
def test_refused_parameters(parameters, message):
    with pytest.raises(UsageError) as error:
        make_track2d(**parameters)
    assert message in str(error.value)


def test_planners_apply_where_actions_are_numbers():
    discrete, continuous = (make_track2d(actions=kind).controllers for kind in ("discrete", "continuous"))
    assert set(continuous) - set(discrete) == {"mppi", "mppi-clairvoyant"}
    task = ScenarioTask(make_track2d(actions="continuous", max_steps=60))
    planned, hovered = (evaluate(name, 10, task=task) for name in ("mppi:branches=32", "random"))
    assert planned["capture_rate"]["value"] > hovered["capture_rate"]["value"] + 0.5
