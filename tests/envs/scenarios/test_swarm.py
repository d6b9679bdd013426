"""What only a swarm does: its formations, their change in flight, collisions, success, and the values it refuses."""

import math

import pytest
import torch

from rl_tracking.envs.noise import world_keys
from rl_tracking.envs.parts.formations import FORMATIONS
from rl_tracking.envs.scenarios.swarm.scenario import make_swarm
from rl_tracking.envs.simulator import Simulator
from rl_tracking.envs.vec_env import make_vec
from rl_tracking.errors import UsageError
from tests.helpers import random_actions


def started(worlds=64, **parameters):
    simulator = Simulator(make_swarm(**parameters))
    return simulator, simulator.initial(world_keys(0, worlds))


def still(simulator, state, steps=1):
    for _ in range(steps):
        made = simulator.transition(state, torch.zeros(len(state), *simulator.action_shape))
        state = made.after
    return made


class TestSandbox:
    """The facts of the author's swarm."""

    def test_sizes(self):
        env = make_vec("swarm", 2, seed=0, preset="sandbox")
        assert env.observation_space.shape == (10 * 31,)
        assert env.action_space.shape == (12,)
        facts = env.scenario.facts
        assert facts.arena_high.tolist() == [499, 499, 499]
        assert (facts.scale, facts.collision_distance, facts.near_slot, facts.action_scale) == (40, 5, 50, 10)

    def test_a_record_ends_with_the_formation(self):
        env = make_vec("swarm", 8, seed=0, preset="sandbox")
        observation = torch.from_numpy(env.reset()).view(8, 10, 31)
        commanded = torch.nn.functional.one_hot(env.get_state().formation, 4).float()
        assert torch.equal(observation[:, :, -4:], commanded.unsqueeze(1).expand(-1, 10, -1))

    @pytest.mark.parametrize(("spawn", "radius"), [("slots", 0), ("near", 30), ("wide", 300)])
    def test_spawn(self, spawn, radius):
        simulator, state = started(500, preset="sandbox", spawn=spawn)
        offset = (state.position - simulator.scenario.slot_position(state)).abs()
        assert offset.max().item() <= radius + 1e-3
        assert offset.max().item() >= 0.9 * radius
        assert (state.target_position >= 200).all() and (state.target_position <= 300).all()
        assert torch.equal(state.target_position, state.target_position.round())

    def test_positions_are_not_whole(self):
        simulator, state = started(preset="sandbox")
        after = simulator.transition(state, torch.full((64, 12), 0.123)).after
        torch.testing.assert_close(after.position - state.position, torch.full((64, 4, 3), 1.23), rtol=0, atol=1e-4)

    def test_with_his_errors_an_episode_starts_where_the_last_one_ended(self):
        simulator, state = started(4, preset="sandbox", author_bugs=True, max_steps=3)
        made = still(simulator, state, 3)
        assert (made.terminated.all(), made.truncated.any()) == (True, False)
        fresh = simulator.restart(made.after)
        assert torch.equal(fresh.earlier, made.after.position)
        record = fresh.history[:, 0, :12].view(4, 4, 3)
        torch.testing.assert_close(record * 250 + 250, made.after.position, rtol=1e-5, atol=1e-3)
        terms = still(simulator, fresh).terms
        slots = simulator.scenario.slot_position(fresh)
        jumped = (slots - made.after.position).norm(dim=-1) - (slots - fresh.position).norm(dim=-1)
        torch.testing.assert_close(terms["progress"], 300 * jumped.sum(dim=-1), rtol=1e-4, atol=0.1)
        plain, _ = started(4, preset="sandbox", max_steps=3)
        assert still(plain, plain.restart(still(plain, state, 3).after)).terms["progress"].abs().max() == 0


class TestFormation:
    def test_each_is_drawn_as_often_as_another(self):
        _, state = started(4000)
        assert state.formation.bincount(minlength=4).sub(1000).abs().max() < 4 * math.sqrt(750)

    @pytest.mark.parametrize("name", FORMATIONS)
    def test_one_alone(self, name):
        simulator, state = started(formation=name)
        assert (state.formation == FORMATIONS.index(name)).all()
        assert (still(simulator, state, 5).after.formation == FORMATIONS.index(name)).all()

    def test_it_changes_in_flight_at_the_rate_that_is_set(self):
        simulator, state = started(2000, switch_interval=2.0)
        seen = [state.formation]
        for _ in range(100):
            state = still(simulator, state).after
            seen.append(state.formation)
        changes = (torch.stack(seen).diff(dim=0) != 0).sum().item()
        expected = 2000 * 100 * 0.1 / 2.0
        assert abs(changes - expected) < 4 * math.sqrt(expected)
        assert torch.stack(seen).unique().tolist() == [0, 1, 2, 3]

    def test_a_step_is_judged_by_the_formation_that_was_commanded_before_it(self):
        simulator, state = started(50, switch_interval=0.1, spawn="slots", motion="stationary", target_spawn_size=0.0)
        made = still(simulator, state)
        assert (made.after.formation != state.formation).all(), "at every step"
        assert made.measures["slot_error"].abs().max() < 1e-5
        observed = made.observation[:, -4:].argmax(dim=-1)
        assert torch.equal(observed, made.after.formation)

    def test_the_slots_of_a_flat_world_are_those_of_space(self):
        flat, state = started(dimensions=2, formation="circle")
        offset = flat.scenario.slot_position(state) - state.target_position.unsqueeze(1)
        assert offset.shape == (64, 4, 2)
        torch.testing.assert_close(offset.norm(dim=-1), torch.full((64, 4), 10.0))


class TestCollisions:
    def two(self, *places):
        simulator, state = started(1, pursuers=2, formation="line")
        return simulator, state.replace(position=torch.tensor([places]), velocity=torch.zeros(1, 2, 3))

    def test_nearer_than_the_distance(self):
        for gap, expected in ((0.99, 1.0), (1.01, 0.0)):
            simulator, state = self.two([40.0, 40.0, 40.0], [40.0 + gap, 40.0, 40.0])
            made = still(simulator, state)
            assert made.measures["collided"].item() is bool(expected)
            assert made.measures["close_pairs"].item() == expected
            assert made.terms["collision"].item() == -2.0 * expected

    def test_two_that_fly_through_each_other_collide_though_both_ends_are_far(self):
        simulator, state = self.two([39.0, 40.0, 40.0], [41.0, 40.0, 40.0])
        made = still(simulator, state.replace(velocity=torch.tensor([[[18.0, 0, 0], [-18.0, 0, 0]]])))
        assert made.measures["least_separation"].item() > 1
        assert made.measures["close_pairs"].item() == 0
        assert made.measures["collided"].item() is True

    def test_pairs_are_all_pairs(self):
        simulator, state = started(3, pursuers=5)
        separation = still(simulator, state).measures["least_separation"]
        after = still(simulator, state).after.position
        by_hand = [min(torch.dist(a, b).item() for i, a in enumerate(w) for b in w[:i]) for w in after]
        assert separation.tolist() == pytest.approx(by_hand, rel=1e-5)


class TestSuccess:
    """An episode is held if nobody collided and the mean slot error is within the tolerance."""

    def flown(self, **parameters):
        given = {"spawn": "slots", "motion": "stationary", "target_spawn_size": 0.0, "max_steps": 5, **parameters}
        simulator, state = started(1, **given)
        made = still(simulator, state, 5)
        return {name: value.item() for name, value in simulator.metrics(made.after).items()}, made

    def test_in_the_slots(self):
        found, made = self.flown()
        assert (found["success_rate"], found["mean_slot_error"], found["time_in_formation"]) == (1, 0, 1)
        assert made.truncated.item() and not made.terminated.item()

    def test_not_before_the_end(self):
        simulator, state = started(1, spawn="slots", motion="stationary", max_steps=5)
        assert simulator.metrics(still(simulator, state, 4).after)["success_rate"].item() == 0

    def test_too_far(self):
        found, _ = self.flown(spawn="near", tolerance=0.01)
        assert found["success_rate"] == 0
        assert found["mean_slot_error"] > 0.1

    def test_a_collision_on_the_way(self):
        simulator, state = started(1, spawn="slots", motion="stationary", target_spawn_size=0.0, max_steps=5)
        met = state.position.clone()
        met[:, 1] = met[:, 0] + 0.5
        after = still(simulator, state.replace(position=met)).after
        made = still(simulator, after.replace(position=state.position), 4)
        found = simulator.metrics(made.after)
        assert (found["collision_rate"].item(), found["success_rate"].item()) == (1, 0)


def test_the_target_keeps_its_margin_and_slots_lie_in_the_arena():
    env = make_vec("swarm", 200, seed=0, target_speed=18.0)
    env.reset()
    for action in random_actions(env, 150):
        env.step(action)
        state = env.get_state()
        assert (state.target_position >= 20 - 1e-3).all() and (state.target_position <= 60 + 1e-3).all()
        slots = env.scenario.slot_position(state)
        assert (slots >= 0).all() and (slots <= 80).all()


def test_a_reward_of_ones_own_sees_the_slots(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("def near(step):\n    return -step.slot_error.mean(dim=-1) - 0 * step.nearest\n")
    env = make_vec("swarm", 3, seed=0, reward=f"{path}:near")
    env.reset()
    _, reward, _, _ = env.step(random_actions(env, 1)[0])
    assert reward.tolist() == pytest.approx((-env.last_transition.measures["slot_error"]).tolist(), rel=1e-5)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"pursuers": 1}, "pursuers of scenario 'swarm' must be a whole number from 2 to 64, not 1"),
        (
            {"pursuers": 40, "formation": "wedge"},
            "pursuers of scenario 'swarm' are too many: 40 slots of formation 'wedge' with a scale of 10 m lie 0.27 m",
        ),
        ({"pursuers": 30, "formation": "line"}, "formation 'line' of scenario 'swarm' with 30 pursuers and a scale"),
        ({"formation": "ring"}, "unknown formation of scenario 'swarm': 'ring'"),
        ({"switch_interval": -1.0}, "switch_interval of scenario 'swarm' must be a number from 0 to 100,000 s, not -1"),
        ({"target_margin": 39.0}, "target_spawn_size of scenario 'swarm' must fit in the 2 m that a target_margin of"),
        ({"target_rests": True}, "target_rests of scenario 'swarm' is for motion 'cube', not 'random-walk'"),
        ({"reward": "complex"}, "reward 'complex' looks 5 steps back, and scenario 'swarm' keeps no past positions"),
        ({"spawn_radius": 81.0}, "spawn_radius of scenario 'swarm' must fit in the arena of 80 m"),
        ({"max_speed": 1000.0}, "max_speed of scenario 'swarm' makes 100 m a step of 0.1 s"),
        ({"preset": "drones"}, "unknown preset of scenario 'swarm': 'drones'; did you mean 'drone'?"),
        ({"tolerence": 0.1}, "unknown parameter of scenario 'swarm': 'tolerence'; did you mean 'tolerance'?"),
    ],
)
def test_refused(parameters, message):
    with pytest.raises(UsageError) as error:
        make_swarm(**parameters)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_its_rewards_are_refused_elsewhere():
    with pytest.raises(UsageError, match="reward 'formation' reads a SwarmStep, which the steps of scenario 'pursuit'"):
        make_vec("pursuit", 1, reward="formation")
