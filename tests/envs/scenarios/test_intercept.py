"""What only a search does: sight, memory, exploration that is paid, capture, and the values it refuses."""

import pytest
import torch

from rl_tracking.envs.noise import world_keys
from rl_tracking.envs.scenarios.intercept.scenario import make_intercept
from rl_tracking.envs.scenarios.intercept.sensors import shown
from rl_tracking.envs.simulator import Simulator
from rl_tracking.envs.vec_env import make_vec
from rl_tracking.errors import UsageError
from tests.helpers import random_actions


def started(worlds=1, **parameters):
    simulator = Simulator(make_intercept(**parameters))
    return simulator, simulator.initial(world_keys(0, worlds))


def still(simulator, state):
    return simulator.transition(state, torch.zeros(len(state), *simulator.action_shape))


def placed(pursuers, target, **parameters):
    """One world of given pursuers and a target that stands still, in the middle of its episode."""
    given = {"motion": "stationary", "pursuers": len(pursuers), "whole_units": False, **parameters}
    simulator, state = started(**given)
    state = state.replace(position=torch.tensor([pursuers]), target_position=torch.tensor([target]))
    return simulator, still(simulator, state).after


FAR = [90.0, 90.0, 90.0]


class TestSandbox:
    """The facts of the author's search."""

    def test_sizes(self):
        env = make_vec("intercept", 2, seed=0, preset="sandbox")
        assert env.action_space.shape == (24,)
        assert env.observation_space.shape == (30 * 52,)
        facts = env.scenario.facts
        assert (facts.sight_range, facts.capture_radius, facts.max_steps, facts.grid.total) == (200, 15, 800, 8000)

    def test_start_is_anywhere_in_whole_units(self):
        _, state = started(500, preset="sandbox")
        for position in (state.position, state.target_position):
            assert torch.equal(position, position.round())
            assert position.min() >= 0
            assert position.min() < 5
            assert 495 <= position.max() <= 499

    def test_the_target_may_move(self):
        simulator, state = started(20, preset="sandbox", motion="cube")
        assert (still(simulator, state).after.target_position != state.target_position).any(dim=-1).all()

    def test_a_record_says_minus_one_of_what_is_not_seen(self):
        env = make_vec("intercept", 64, seed=0, preset="sandbox", pursuers=1)
        observation = torch.from_numpy(env.reset()).view(64, 30, 10)
        state = env.get_state()
        assert 0 < state.visible.sum() < 64
        assert torch.equal(observation[:, :, -1], state.visible.float().unsqueeze(1).expand(-1, 30))
        target = observation[:, -1, 6:9] * 250 + 250
        expected = torch.where(state.visible.unsqueeze(-1), state.target_position, torch.tensor(-1.0))
        torch.testing.assert_close(target, expected, rtol=1e-5, atol=1e-3)

    def test_with_his_errors_the_time_limit_terminates_and_the_history_stays(self):
        simulator, state = started(4, preset="sandbox", author_bugs=True, max_steps=1, capture_radius=0.01)
        made = still(simulator, state)
        assert (made.terminated.all(), made.truncated.any()) == (True, False)
        fresh = simulator.restart(made.after)
        stale = fresh.history[:, 0, :24].view(4, 8, 3) * 250 + 250
        torch.testing.assert_close(stale, made.after.position, rtol=1e-5, atol=1e-3)


class TestSight:
    def test_from_the_sight_range_on(self):
        for distance, seen in ((29.9, True), (30.1, False)):
            _, state = placed([[10.0, 10, 10]], [10.0 + distance, 10, 10])
            assert state.visible.item() is seen
            assert shown(state).tolist() == [[pytest.approx(10 + distance), 10, 10] if seen else [-1, -1, -1]]

    def test_one_of_them_is_enough(self):
        _, state = placed([FAR, [10.0, 10, 10]], [20.0, 10, 10])
        assert state.visible.item()

    def test_it_is_remembered_where_and_when_it_was_seen(self):
        simulator, state = placed([[10.0, 10, 10]], [20.0, 10, 10])
        assert state.since_seen.item() == 0
        gone = state.replace(target_position=torch.tensor([FAR]))
        for count in range(1, 4):
            gone = still(simulator, gone).after
            assert not gone.visible.item()
            assert gone.seen_position.tolist() == [[20, 10, 10]]
            assert gone.since_seen.item() == pytest.approx(0.1 * count)

    def test_before_the_first_sight_it_is_the_middle_and_as_long_ago_as_can_be(self):
        simulator, state = started(200, sight_range=5.0)
        unseen = state[~state.visible]
        assert (unseen.seen_position == 50).all()
        assert (unseen.since_seen == 80).all()
        observed = simulator.observation(unseen)
        assert observed.shape[1] == 4 * 18 + 3 + 2 + 8
        assert (observed[:, 76] == 1).all() and (observed[:, 75] == 0).all()

    def test_what_is_observed_does_not_depend_on_a_target_out_of_sight(self):
        for sensor in ("relative", "history"):
            simulator, state = started(100, sight_range=5.0, sensor=sensor, reward="interception")
            state = state[~state.visible]
            elsewhere = state.replace(target_position=100 - state.target_position, target_velocity=state.seen_velocity)
            both = [still(simulator, one) for one in (state, elsewhere)]
            unseen = ~(both[0].after.visible | both[1].after.visible)
            assert unseen.sum() > 50
            assert torch.equal(both[0].observation[unseen], both[1].observation[unseen])


class TestReward:
    def test_new_cells_are_paid_once_and_only_while_the_target_is_out_of_sight(self):
        simulator, state = placed([[8.0, 15, 15], [50.0, 50, 50]], FAR)
        flown = state.replace(position=torch.tensor([[[9.99, 15, 15], [50.0, 50, 50]]]))
        flown = flown.replace(velocity=torch.tensor([[[10.0, 0, 0], [0, 0, 0]]]))
        made = still(simulator, flown)
        assert made.terms["new_cells"].item() == pytest.approx(0.2)
        again = still(simulator, made.after.replace(position=flown.position, velocity=flown.velocity))
        assert again.terms["new_cells"].item() == 0
        assert still(simulator, flown.replace(visible=torch.tensor([True]))).terms["new_cells"].item() == 0

    def test_the_authors_exploration_is_paid(self):
        simulator, state = placed(
            [[30.0, 10, 10], [30.0, 40, 10]], [450.0, 450, 450], preset="sandbox", reward="search-sandbox"
        )
        made = simulator.transition(state, torch.tensor([[1.0, 0, 0, -0.5, 0, 0]]))
        separation = torch.dist(*made.after.position[0]).item()
        expected = {"new_cells": 10.0 * 1, "separation": 0.1 * separation, "energy": -0.01 * (100 + 25)}
        # The second one flies from x = 30 to 25, which is still its cell; the first to 40, which is too.
        expected["new_cells"] = 0.0
        assert {name: made.terms[name].item() for name in expected} == pytest.approx(expected, abs=1e-5)
        assert made.terms["progress"].item() == made.terms["surrounding"].item() == 0
        across = simulator.transition(made.after, torch.tensor([[1.0, 0, 0, -0.5, 0, 0]]))
        assert across.terms["new_cells"].item() == 20

    def test_progress_is_paid_in_sight(self):
        simulator, state = placed([[10.0, 10, 10]], [30.0, 10, 10])
        made = still(simulator, state.replace(velocity=torch.tensor([[[18.0, 0, 0]]])))
        nearer = made.after.position[0, 0, 0].item() - 10
        assert made.terms["progress"].item() == pytest.approx(nearer / 1.8, rel=1e-4)
        unseen = still(simulator, state.replace(visible=torch.tensor([False])))
        assert unseen.terms["progress"].item() == 0

    @pytest.mark.parametrize(
        ("pursuers", "expected"),
        [
            ([[40.0, 50, 50], [60.0, 50, 50]], 1.0),
            ([[40.0, 50, 50], [45.0, 50, 50]], 0.0),
            ([[40.0, 50, 50], [50.0, 40, 50]], 1 - 0.5**0.5),
        ],
    )
    def test_surrounding(self, pursuers, expected):
        simulator, state = placed(pursuers, [50.0, 50, 50], preset="sandbox", capture_radius=1.0)
        assert still(simulator, state).terms["surrounding"].item() == pytest.approx(100 * expected, abs=1e-3)


class TestCapture:
    def test_it_ends_the_episode(self):
        simulator, state = placed([[10.0, 10, 10]], [12.5, 10, 10])
        made = still(simulator, state.replace(velocity=torch.tensor([[[18.0, 0, 0]]])))
        assert (made.terminated.item(), made.measures["captured"].item()) == (True, True)
        assert made.terms["captured"].item() == 2
        assert simulator.metrics(made.after)["capture_rate"].item() == 1

    def test_on_the_way_but_at_the_ends_alone_in_the_sandbox(self):
        velocity = torch.tensor([[[18.0, 0, 0]]])
        simulator, state = placed([[9.1, 10.5, 10]], [10.0, 10, 10], capture_radius=0.6)
        assert still(simulator, state.replace(velocity=velocity)).terminated.item()
        simulator, state = placed([[245.0, 264.5, 250]], [250.0, 250, 250], preset="sandbox")
        across = simulator.transition(state, torch.tensor([[1.0, 0, 0]]))
        assert across.after.position.tolist() == [[[255, 264.5, 250]]]
        assert not across.terminated.item()

    def test_unless_told_otherwise(self):
        simulator, state = placed([[10.0, 10, 10]], [11.0, 10, 10], capture_terminates=False)
        assert not still(simulator, state).terminated.item()


def test_visited_cells_survive_a_restore():
    env = make_vec("intercept", 4, seed=0, capture_terminates=False)
    env.reset()
    actions = random_actions(env, 40)
    for action in actions[:20]:
        env.step(action)
    saved = env.get_state()
    paid = []
    for _ in range(2):
        env.set_state(type(saved).from_bytes(saved.to_bytes()))
        paid.append([env.step(action)[1].tolist() for action in actions[20:]])
    assert paid[0] == paid[1]
    assert saved.visited_of_block.sum() > 16


def test_the_floor_shows_where_they_have_been():
    simulator, state = placed([[5.0, 5, 5], [95.0, 15, 50]], [50.0, 50, 50])
    tiles = [zone for zone in simulator.scenario.scene(state).zones if zone.name == "visited"]
    shown_at = {tuple(zone.centre[0, :2].tolist()) for zone in tiles if zone.size[0, 0] > 0}
    start = state.visited_of_block.sum().item()
    assert len(tiles) == 100
    assert {(5, 5), (95, 15)} <= shown_at
    assert len(shown_at) <= start


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"capture_radius": 31.0}, "capture_radius of scenario 'intercept' must be at most sight_range (30 m), not 31"),
        ({"cell_size": 1.0}, "cell_size of scenario 'intercept' makes 1,000,000 cells of 1 m; 100,000 are allowed"),
        ({"cell_size": 101.0}, "cell_size of scenario 'intercept' must fit in the arena of 100 m"),
        ({"sight_range": 0.0}, "sight_range of scenario 'intercept' must be a number from 0.001 to 100,000 m, not 0"),
        ({"spawn": "near"}, "unknown spawn of scenario 'intercept': 'near'"),
        ({"reward": "formation"}, "reward 'formation' reads a SwarmStep, which the steps of scenario 'intercept' are"),
    ],
)
def test_refused(parameters, message):
    with pytest.raises(UsageError) as error:
        make_intercept(**parameters)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
