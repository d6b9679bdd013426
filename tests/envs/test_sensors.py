import pytest
import torch

from rl_tracking.envs import layout
from rl_tracking.envs.parts.arena import square_arena
from rl_tracking.envs.parts.sensors import OBSERVATION_LIMIT, History, relative
from rl_tracking.envs.simulator import Simulator, world_keys
from rl_tracking.envs.vec_env import make_scenario, make_vec
from tests.helpers import pursuit_state, random_actions

ARENA = square_arena(60.0, 3, 0.1, whole_units=False, device="cpu")


def drone_sensor():
    return relative(ARENA, near_range=2.0, speed=15.0, acceleration=12.0)


class TestRelative:
    def test_by_hand(self):
        state = pursuit_state(
            [[[30, 24, 36]]],
            [[45, 24, 36]],
            velocity=[[[3, 0, -6]]],
            acceleration=[[[6, 0, -12]]],
            target_velocity=[[0, 6, -6]],
        )
        # Half the arena is 30 m, the target 15 m away along x.
        expected = [0.5, 0, 0]
        expected += [15 / 17, 0, 0]
        expected += [-3 / 15, 6 / 15, 0]
        expected += [3 / 15, 0, -6 / 15]
        expected += [0, -6 / 30, 6 / 30]
        expected += [6 / 12, 0, -1]
        assert drone_sensor().observe(state).tolist() == [pytest.approx(expected)]
        assert drone_sensor().size(1, 3) == 18

    def test_without_acceleration(self):
        sensor = relative(ARENA, 2.0, 15.0, None)
        state = pursuit_state([[[30, 30, 30]]], [[30, 30, 42]])
        expected = [0, 0, 0.4, 0, 0, 12 / 14, *[0] * 9]
        assert sensor.observe(state).tolist() == [pytest.approx(expected)]
        assert sensor.size(1, 3) == 15

    def test_pursuers_one_after_the_other(self):
        state = pursuit_state([[[30, 30, 30], [0, 30, 30]]], [[60, 30, 30]], velocity=[[[15, 0, 0], [0, -15, 0]]])
        seen = drone_sensor().observe(state)
        assert seen.shape == (1, 36)
        assert drone_sensor().size(2, 3) == 36
        first, second = seen[0].view(2, 6, 3)
        assert first[0].tolist() == [1, 0, 0]
        assert second[0].tolist() == [2, 0, 0]
        assert first[3].tolist() == [1, 0, 0]
        assert second[3].tolist() == [0, -1, 0]
        alone = drone_sensor().observe(pursuit_state([[[0, 30, 30]]], [[60, 30, 30]], velocity=[[[0, -15, 0]]]))
        assert torch.equal(second.flatten(), alone[0])

    def test_on_top_of_the_target(self):
        seen = drone_sensor().observe(pursuit_state([[[30, 30, 30]]], [[30, 30, 30]]))
        assert seen.tolist() == [[0] * 18]

    def test_the_last_metres_are_resolved(self):
        seen = [
            drone_sensor().observe(pursuit_state([[[30, 30, 30]]], [[30 + x, 30, 30]]))[0, 3].item()
            for x in (0.5, 2, 18)
        ]
        assert seen == pytest.approx([0.2, 0.5, 0.9])

    def test_nothing_leaves_the_bounds(self):
        state = pursuit_state(
            [[[0, 0, 0]]], [[60, 60, 60]], velocity=[[[1e6, -1e6, 0]]], acceleration=[[[-1e6, 0, 1e6]]]
        )
        seen = drone_sensor().observe(state)
        assert seen.abs().max().item() == OBSERVATION_LIMIT == 4.0
        assert seen[0, 9:12].tolist() == [4, -4, 0]
        assert seen[0, 15:].tolist() == [-4, 0, 4]

    def test_it_remembers_nothing(self):
        assert drone_sensor().memory_shape(3, 3) == (0, 0)
        assert drone_sensor().record(pursuit_state([[[0, 0, 0]]], [[1, 1, 1]])).shape == (1, 0)

    def test_in_the_plane(self):
        flat = square_arena(60.0, 2, 0.1, whole_units=False, device="cpu")
        sensor = relative(flat, 2.0, 15.0, 12.0)
        seen = sensor.observe(pursuit_state([[[30, 30]]], [[30, 36]]))
        assert seen.tolist() == [pytest.approx([0, 0.2, 0, 0.75, *[0] * 8])]
        assert sensor.size(1, 2) == 12


class TestHistory:
    def test_a_record_by_hand(self):
        arena = square_arena(500.0, 3, 1.0, whole_units=True, device="cpu")
        state = pursuit_state(
            [[[0, 250, 499], [125, 375, 250]]], [[50, 450, 250]], action=[[[1, -0.5, 0], [0.2, 0, -1]]]
        )
        record = History(arena, 6).record(state)
        expected = [-1, 0, 0.996, -0.5, 0.5, 0, 1, -0.5, 0, 0.2, 0, -1, -0.8, 0.8, 0]
        assert record.tolist() == [pytest.approx(expected)]

    def test_54_numbers_in_the_sandbox(self):
        sensor = make_vec("pursuit", 1, preset="sandbox").scenario.sensor
        assert sensor.size(1, 3) == 54
        assert sensor.memory_shape(1, 3) == (6, 9)
        assert sensor.memory_shape(4, 3) == (6, 27)

    def test_the_start_is_repeated_before_the_first_step(self):
        env = make_vec("pursuit", 5, seed=0, preset="sandbox")
        records = env.reset().reshape(5, 6, 9)
        assert (records == records[:, :1]).all()
        state = env.get_state()
        assert torch.from_numpy(records[:, 0, :3]).allclose((state.position[:, 0] - 250) / 250)
        assert (records[..., 3:6] == 0).all(), "no action was taken yet"
        assert torch.from_numpy(records[:, 0, 6:]).allclose((state.target_position - 250) / 250)

    def test_oldest_first(self):
        env = make_vec("pursuit", 5, seed=0, preset="sandbox")
        env.reset()
        actions = random_actions(env, 9)
        seen = []
        for action in actions:
            observation = env.step(action)[0]
            state = env.get_state()
            seen.append((state.position[:, 0], torch.from_numpy(action), state.target_position))
        records = torch.from_numpy(observation).view(5, 6, 9)
        for row, (position, action, target) in enumerate(seen[-6:]):
            assert torch.allclose(records[:, row, :3] * 250 + 250, position, atol=1e-3)
            assert torch.equal(records[:, row, 3:6], action)
            assert torch.allclose(records[:, row, 6:] * 250 + 250, target, atol=1e-3)

    def test_actions_beyond_the_limits_are_recorded_as_they_were_applied(self):
        env = make_vec("pursuit", 1, seed=0, preset="sandbox")
        env.reset()
        observation = env.step([[5.0, -5.0, 0.25]])[0]
        assert observation[0, -6:-3].tolist() == [1, -1, 0.25]

    def test_an_observation_is_the_callers_own(self):
        env = make_vec("pursuit", 2, seed=0, preset="sandbox")
        first = env.reset()
        kept = env.get_state().to_bytes()
        first[:] = 7
        assert env.get_state().to_bytes() == kept
        observation = env.step(random_actions(env, 1)[0])[0]
        kept = env.get_state().to_bytes()
        observation[:] = 7
        assert env.get_state().to_bytes() == kept


@pytest.mark.parametrize("parameters", [{}, {"pursuers": 2, "dimensions": 2}, {"dynamics": "kinematic"}])
def test_many_worlds_see_what_few_see(parameters):
    simulator = Simulator(make_scenario("pursuit", sensor="relative", **parameters))
    many = simulator.initial(world_keys(0, 1500))
    action = torch.rand(1500, *simulator.action_shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    for _ in range(3):
        many = simulator.transition(many, action).after
    seen = simulator.observation(many)
    assert torch.equal(seen[700:710], simulator.observation(many[700:710]))
    assert torch.equal(seen[:1], simulator.observation(many[:1]))
    assert layout.is_worlds_fastest(seen)
