"""What only pursuit does: its presets, spawns, walls, ends, and the values it refuses."""

import itertools
import warnings

import numpy as np
import pytest
import torch

from rl_tracking import schema
from rl_tracking.envs.noise import world_keys
from rl_tracking.envs.scenarios.pursuit.parameters import PRESETS, PursuitParameters
from rl_tracking.envs.scenarios.pursuit.scenario import make_pursuit
from rl_tracking.envs.simulator import Simulator
from rl_tracking.envs.vec_env import make_scenario, make_vec
from rl_tracking.errors import SettingWarning, UsageError
from tests.helpers import random_actions, step_of


def start(worlds=4096, **parameters):
    return Simulator(make_pursuit(**parameters)).initial(world_keys(0, worlds))


def step(sim, state, *action):
    rows = torch.tensor([action], dtype=torch.float32).repeat(len(state), 1)
    return sim.transition(state, rows)


class TestSandbox:
    """The facts of the paper author's arena."""

    def test_sizes(self):
        env = make_vec("pursuit", 2, seed=0, preset="sandbox")
        assert env.observation_space.shape == (54,)
        assert env.action_space.shape == (3,)
        assert env.action_space.low.tolist() == [-1, -1, -1]
        facts = env.scenario.facts
        assert facts.arena_low.tolist() == [0, 0, 0]
        assert facts.arena_high.tolist() == [499, 499, 499]
        assert (facts.max_steps, facts.capture_radius, facts.dt) == (400, 15.0, 1.0)
        assert (facts.action_scale, facts.speed_limit, facts.target_moves_last) == (10.0, 10.0, True)

    def test_400_steps_and_no_end_on_capture(self):
        env = make_vec("pursuit", 3, seed=0, preset="sandbox", spawn="at-target", motion="stationary")
        env.reset()
        for count in range(1, 401):
            _, _, done, infos = env.step(np.zeros((3, 3)))
            assert done.all() == (count == 400)
            assert done.any() == (count == 400)
        assert [info["TimeLimit.truncated"] for info in infos] == [True] * 3
        assert [info["episode"]["l"] for info in infos] == [400] * 3
        assert [info["is_success"] for info in infos] == [True] * 3

    def test_whole_units(self):
        sim = Simulator(make_pursuit("sandbox"))
        state = sim.initial(world_keys(0, 500))
        inside = state.index(((state.position > 20) & (state.position < 470)).all(dim=-1).squeeze(-1))
        moved = step(sim, inside, 0.99, -0.77, 0.06).after.position - inside.position
        assert len(inside) > 300
        # 9.9, -7.7 and 0.6 units, cut towards zero.
        assert torch.equal(moved, torch.tensor([9.0, -7.0, 0.0]).expand_as(moved))

    def test_positions_are_clipped_to_0_and_499(self):
        env = make_vec("pursuit", 64, seed=0, preset="sandbox")
        env.reset()
        for _ in range(52):
            env.step(np.tile([1.0, -1.0, 1.0], (64, 1)))
        assert env.get_state().position.unique(dim=0).tolist() == [[[499, 0, 499]]]

    def test_reward_is_computed_before_the_target_moves(self):
        sim = Simulator(make_pursuit("sandbox", reward="basic"))
        state = sim.initial(world_keys(0, 100))
        transition = step(sim, state, 1.0, 0.5, -1.0)
        assert (transition.after.target_position != state.target_position).any(dim=-1).all()
        old = torch.linalg.vector_norm(transition.after.position[:, 0] - state.target_position, dim=-1)
        new = torch.linalg.vector_norm(transition.after.position[:, 0] - transition.after.target_position, dim=-1)
        assert torch.allclose(transition.reward, -old / 100, rtol=1e-5)
        assert not torch.allclose(transition.reward, -new / 100, rtol=1e-3)

    def test_the_drone_is_judged_where_the_target_went(self):
        sim = Simulator(make_pursuit("drone", reward="basic", motion="circle"))
        state = sim.initial(world_keys(0, 100))
        transition = step(sim, state, 1.0, 0.5, -1.0)
        new = torch.linalg.vector_norm(transition.after.position[:, 0] - transition.after.target_position, dim=-1)
        assert torch.allclose(transition.reward, -new / 100, rtol=1e-5)

    def test_target_starts_on_the_edges_of_a_cube_of_200(self):
        target = start(preset="sandbox").target_position
        assert torch.equal(target, target.round()), "in whole units"
        assert (target.min().item(), target.max().item()) == (150, 350)
        on_face = (target == 150) | (target == 350)
        assert (on_face.sum(dim=-1) >= 2).all(), "on an edge two coordinates are those of faces"
        inside = on_face.sum(dim=-1) == 2  # the others stand on a vertex
        along = target[inside][~on_face[inside]]
        assert (along.min().item(), along.max().item()) == (151, 349)
        assert along.mean().item() == pytest.approx(250, abs=4 * 200 / np.sqrt(12 * 4096))
        # Twelve edges, as often as each other: 341 worlds each, give or take 4 deviations of 18.
        edges = torch.where(on_face, target, 0.0)[inside].unique(dim=0, return_counts=True)[1]
        assert len(edges) == 12
        assert edges.min().item() > 270
        assert edges.max().item() < 412

    def test_stationary_target_at_the_centre_or_in_the_box(self):
        centre = start(preset="sandbox", motion="stationary", target_spawn="centre").target_position
        assert (centre == 250).all()
        box = start(preset="sandbox", motion="stationary", target_spawn="box", target_spawn_size=100.0).target_position
        self.is_uniform(box, 200, 300)

    def is_uniform(self, positions, low, high):
        """Every whole number from ``low`` to ``high``, both included, as often as another."""
        assert torch.equal(positions, positions.round())
        assert (positions.min().item(), positions.max().item()) == (low, high)
        span, drawn = high - low + 1, positions.numel()
        assert positions.mean().item() == pytest.approx((low + high) / 2, abs=4 * span / np.sqrt(12 * drawn))
        share = ((positions == low) | (positions == high)).sum().item() / drawn
        assert share == pytest.approx(2 / span, abs=4 * np.sqrt(2 / span / drawn))

    def test_spawn_near(self):
        state = start(preset="sandbox", spawn="near")
        self.is_uniform(state.position[:, 0] - state.target_position, -20, 20)

    def test_spawn_at_target(self):
        state = start(preset="sandbox", spawn="at-target", pursuers=2)
        assert torch.equal(state.position, state.target_position.unsqueeze(1).expand(-1, 2, -1))

    def test_spawn_anywhere(self):
        self.is_uniform(start(preset="sandbox", spawn="anywhere").position[:, 0], 0, 499)

    def test_its_reward_and_motion(self):
        parameters = make_pursuit("sandbox").parameters
        assert parameters["reward"] == "complex"
        assert parameters["motion"] == "cube"
        assert parameters["target_speed"] == 10.0


class TestAuthorBugs:
    """What ``author_bugs`` adds to the sandbox; its rewards are held against recorded ones in test_golden_traces."""

    def env(self, **parameters):
        env = make_vec("pursuit", 5, seed=0, preset="sandbox", author_bugs=True, **parameters)
        return env, env.reset()

    def test_they_are_off_unless_asked_for(self):
        assert make_pursuit("sandbox").parameters["author_bugs"] is False
        assert not make_pursuit("sandbox").facts.author_bugs

    def test_the_history_still_holds_where_the_pursuers_were(self):
        env, first = self.env(max_steps=9)
        for _ in range(2):  # before the first episode the constructor had placed them somewhere else
            state = env.get_state()
            records = torch.as_tensor(first).view(5, 6, 9)
            shown = records[:, :, :3] * 250 + 250
            assert (shown - shown[:, :1]).abs().max() < 1e-3, "one place six times"
            assert ((shown[:, 0] - state.position[:, 0]).abs() > 1e-3).any(dim=-1).all(), "and not the present one"
            assert torch.allclose(state.trail[:, :, 0], shown[:, :5], atol=1e-3)
            assert torch.allclose(records[:, :, 6:] * 250 + 250, state.target_position.unsqueeze(1), atol=1e-3)
            for action in random_actions(env, 9):
                before, first = env.get_state(), env.step(action)[0]
            ended = env.last_transition.after.position
            assert torch.equal(env.get_state().trail, ended.unsqueeze(1).expand(-1, 5, -1, -1))
            assert not torch.equal(ended, before.position)

    def test_the_start_never_enters_the_history(self):
        env, _ = self.env()
        start = env.get_state()
        for action in random_actions(env, 3):
            env.step(action)
        trail = env.get_state().trail
        assert torch.equal(trail[:, :3], start.trail[:, :3])
        assert not (trail == start.position.unsqueeze(1)).all(dim=-1).any()

    def test_the_time_limit_counts_as_a_termination(self):
        env, _ = self.env(max_steps=3)
        ends = [env.step(action) for action in random_actions(env, 3)]
        assert [step[2].all() for step in ends] == [False, False, True]
        assert env.last_transition.terminated.all()
        assert not env.last_transition.truncated.any()
        assert [info["TimeLimit.truncated"] for info in ends[-1][3]] == [False] * 5

    def test_at_target_the_first_action_moves_the_target_too(self):
        env, _ = self.env(spawn="at-target", motion="stationary", pursuers=2)
        start = env.get_state().target_position
        env.step(np.tile([0.35, -0.2, 1.0, 0.1, 0.0, -0.5], (5, 1)))
        after = env.get_state()
        # 3, -2 and 10 by the first pursuer, then 1, 0 and -5 by the second, to one array.
        assert torch.equal(after.position[:, 0], start + torch.tensor([3.0, -2, 10]))
        assert torch.equal(after.position[:, 1], start + torch.tensor([4.0, -2, 5]))
        assert torch.equal(after.target_position, start + torch.tensor([4.0, -2, 5]))
        assert torch.equal(step_of(env).target_position, after.target_position)
        env.step(np.tile([1.0, 0, 0, 0, 0, 0], (5, 1)))
        assert torch.equal(env.get_state().target_position, after.target_position), "only the first one"
        assert torch.equal(env.get_state().position[:, 0], after.position[:, 0] + torch.tensor([10.0, 0, 0]))

    def test_without_them_it_does_not(self):
        env = make_vec("pursuit", 5, seed=0, preset="sandbox", spawn="at-target", motion="stationary")
        env.reset()
        start = env.get_state().target_position
        env.step(np.ones((5, 3)))
        assert torch.equal(env.get_state().target_position, start)
        assert (env.get_state().trail == start.view(5, 1, 1, 3)).all()


class TestDrone:
    def test_is_the_default(self):
        assert make_pursuit().parameters == make_pursuit("drone").parameters
        assert make_pursuit().parameters["preset"] == "drone"
        assert make_vec("pursuit", 1).observation_space.shape == (18,)

    def test_near_spawns_stay_inside(self):
        state = start(spawn="near", spawn_radius=30.0, target_spawn_size=60.0)
        assert state.position.min().item() >= 0
        assert state.position.max().item() <= 60

    def test_a_wall_stops_and_kills_the_speed_along_it(self):
        sim = Simulator(make_pursuit())
        state = sim.initial(world_keys(0, 1))
        state = state.replace(
            position=torch.tensor([[[59.9, 30.0, 0.05]]]), velocity=torch.tensor([[[10.0, 5.0, -10.0]]])
        )
        after = step(sim, state, 0.0, 0.0, 0.0).after
        assert after.position[0, 0].tolist() == [60.0, pytest.approx(30.5, abs=0.02), 0.0]
        assert after.velocity[0, 0, 0].item() == after.velocity[0, 0, 2].item() == 0.0
        # Drag over 0.1 s takes 3 per cent of the speed that is left.
        assert after.velocity[0, 0, 1].item() == pytest.approx(5 * np.exp(-0.03), rel=1e-5)
        back = step(sim, after, -1.0, 0.0, 1.0).after
        assert back.position[0, 0, 0].item() < 60
        assert back.position[0, 0, 2].item() > 0

    def test_wind_blows_from_the_start(self):
        wind = start(wind_speed=3.0).wind
        assert wind.std(dim=0).tolist() == pytest.approx([3.0] * 3, rel=0.05)
        assert wind.mean(dim=0).tolist() == pytest.approx([0.0] * 3, abs=4 * 3 / 64)
        assert (start(worlds=8).wind == 0).all()

    def test_wind_changes_and_is_shared_by_the_pursuers_of_a_world(self):
        sim = Simulator(make_pursuit(wind_speed=3.0, pursuers=2, spawn="at-target", motor_lag=0.0))
        state = sim.initial(world_keys(0, 500))
        after = step(sim, state, *[0.0] * 6).after
        assert (after.wind != state.wind).all()
        assert torch.equal(after.velocity[:, 0], after.velocity[:, 1])
        # From rest without command: v = w (1 - exp(-k dt)) with the new gust.
        inside = (after.position > 0).flatten(1).all(1) & (after.position < 60).flatten(1).all(1)
        expected = after.wind * (1 - np.exp(-0.03))
        assert torch.allclose(after.velocity[inside, 0], expected[inside], rtol=1e-4)

    def test_each_gust_is_drawn_anew(self):
        sim = Simulator(make_pursuit(wind_speed=3.0, wind_time_constant=2.0))
        state = sim.initial(world_keys(0, 4000))
        winds = [state.wind]
        for _ in range(3):
            state = step(sim, state, 0, 0, 0).after
            winds.append(state.wind)
        # What a gust does not owe to the one before: 0.1 s of 2 s.
        draws = [winds[0], *(after - np.exp(-0.05) * before for before, after in itertools.pairwise(winds))]
        for first, second in itertools.combinations(draws, 2):
            correlation = ((first * second).mean() / (first.std() * second.std())).item()
            assert abs(correlation) < 4 / np.sqrt(3 * 4000)

    def test_wind_blows_differently_next_door(self):
        sim = Simulator(make_pursuit(wind_speed=3.0))
        wind = sim.initial(world_keys(0, 1000)).wind
        assert wind.unique(dim=0).shape[0] == 1000


class TestShape:
    def test_each_pursuer_has_its_share_of_the_action(self):
        sim = Simulator(make_pursuit(pursuers=3, dynamics="kinematic", spawn="at-target"))
        state = sim.initial(world_keys(0, 4))
        moved = step(sim, state, 1, 0, 0, 0, -1, 0, 0, 0, 0.5).after.position - state.position
        assert torch.allclose(moved, torch.tensor([[1.0, 0, 0], [0, -1, 0], [0, 0, 0.5]]).expand(4, 3, 3), atol=1e-5)

    def test_pursuers_spawn_apart(self):
        position = start(worlds=100, pursuers=4).position
        assert position.flatten(0, 1).unique(dim=0).shape[0] == 400

    def test_more_pursuers_do_not_move_the_first_one(self):
        assert torch.equal(start(worlds=50, pursuers=4).position[:, :2], start(worlds=50, pursuers=2).position)

    @pytest.mark.parametrize("preset", PRESETS)
    @pytest.mark.parametrize(("pursuers", "dimensions"), [(1, 2), (3, 2), (3, 3)])
    def test_spaces(self, preset, pursuers, dimensions):
        env = make_vec("pursuit", 2, seed=0, preset=preset, pursuers=pursuers, dimensions=dimensions)
        observation = env.reset()
        numbers = {"drone": pursuers * 6, "sandbox": 6 * (2 * pursuers + 1)}[preset] * dimensions
        assert env.action_space.shape == (pursuers * dimensions,)
        assert env.observation_space.shape == (numbers,)
        assert observation.shape == (2, numbers)
        assert env.get_state().position.shape == (2, pursuers, dimensions)

    def test_the_plane_spawns_on_the_edges_of_a_square(self):
        target = start(dimensions=2, target_spawn="edges", target_spawn_size=40.0, motion="stationary").target_position
        on_face = (target == 10) | (target == 50)
        assert (on_face.sum(dim=-1) == 1).all()
        assert torch.where(on_face, target, 0.0).unique(dim=0).shape[0] == 4

    def test_parameters_build_the_same_scenario(self):
        made = make_pursuit("sandbox", pursuers=2, motion="circle", wind_speed=1)
        again = make_scenario("pursuit", **made.parameters)
        assert again.parameters == made.parameters
        key = world_keys(0, 3)
        assert Simulator(again).initial(key).equal(Simulator(made).initial(key))

    def test_unit_of_actions(self):
        assert make_pursuit(max_acceleration=7).facts.action_scale == 7.0
        assert make_pursuit(dynamics="kinematic", step_length=0.5).facts.action_scale == 0.5
        assert make_pursuit().facts.commands_acceleration
        assert not make_pursuit("sandbox").facts.commands_acceleration


class TestEnds:
    def test_capture_terminates_where_it_should(self):
        env = make_vec("pursuit", 4, seed=0, capture_terminates=True, spawn="at-target", motion="stationary")
        env.reset()
        _, _, done, infos = env.step(np.zeros((4, 3)))
        assert done.all()
        assert [info["TimeLimit.truncated"] for info in infos] == [False] * 4
        assert [info["is_success"] for info in infos] == [True] * 4

    def test_capture_goes_on_otherwise(self):
        env = make_vec("pursuit", 4, seed=0, spawn="at-target", motion="stationary")
        env.reset()
        assert not env.step(np.zeros((4, 3)))[2].any()

    def test_capture_on_the_last_step_is_a_termination(self):
        parameters = {"spawn": "at-target", "motion": "stationary", "max_steps": 1}
        for terminates in (True, False):
            env = make_vec("pursuit", 1, seed=0, capture_terminates=terminates, **parameters)
            env.reset()
            env.step(np.zeros((1, 3)))
            assert env.last_transition.terminated.tolist() == [terminates]
            assert env.last_transition.truncated.tolist() == [not terminates]

    def test_any_pursuer_may_capture(self):
        env = make_vec("pursuit", 1, seed=0, capture_terminates=True, pursuers=2, motion="stationary")
        env.reset()
        state = env.get_state()
        position = state.position.clone()
        position[0, 1] = state.target_position[0]
        position[0, 0] = state.target_position[0] + 9
        env.set_state(state.replace(position=position))
        assert env.step(np.zeros((1, 6)))[2].tolist() == [True]

    @pytest.mark.parametrize("max_steps", [1, 7])
    def test_time_limit(self, max_steps):
        env = make_vec("pursuit", 2, seed=0, max_steps=max_steps)
        env.reset()
        ends = [env.step(action)[2].tolist() for action in random_actions(env, 2 * max_steps)]
        assert ends == ([[False] * 2] * (max_steps - 1) + [[True] * 2]) * 2


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"preset": "sandbx"}, "unknown preset of scenario 'pursuit': 'sandbx'; did you mean 'sandbox'?"),
        ({"pursuer": 2}, "unknown parameter of scenario 'pursuit': 'pursuer'; did you mean 'pursuers'?"),
        ({"xyz": 2}, "unknown parameter of scenario 'pursuit': 'xyz'; known: arena_size, "),
        ({"motion": "cirle"}, "unknown motion 'cirle'; did you mean 'circle'?"),
        ({"reward": "progres"}, "unknown reward 'progres'; did you mean 'progress'?"),
        ({"sensor": "relativ"}, "unknown sensor of scenario 'pursuit': 'relativ'; did you mean 'relative'?"),
        ({"dynamics": "dron"}, "unknown dynamics of scenario 'pursuit': 'dron'; did you mean 'drone'?"),
        ({"spawn": "at_target"}, "unknown spawn of scenario 'pursuit': 'at_target'; did you mean 'at-target'?"),
        ({"target_spawn": "edge"}, "did you mean 'edges'?"),
        ({"dimensions": 4}, "dimensions of scenario 'pursuit' must be 2 or 3, not 4"),
        ({"pursuers": 0}, "pursuers of scenario 'pursuit' must be a whole number from 1 to 256, not 0"),
        ({"pursuers": 1.5}, "pursuers of scenario 'pursuit' must be a whole number from 1 to 256, not 1.5"),
        ({"pursuers": True}, "pursuers of scenario 'pursuit' must be a whole number from 1 to 256, not True"),
        ({"whole_units": 1}, "whole_units of scenario 'pursuit' must be true or false, not 1"),
        ({"dt": "fast"}, "dt of scenario 'pursuit' must be a number from 0.0001 to 10 s, not 'fast'"),
        ({"motion": 3}, "motion of scenario 'pursuit' must be a name, not 3"),
        ({"dt": 0}, "dt of scenario 'pursuit' must be a number from 0.0001 to 10 s, not 0"),
        ({"max_steps": -1}, " must be a whole number from 1 to 10,000,000 steps, not -1"),
        (
            {"wind_speed": -0.5},
            "wind_speed of scenario 'pursuit' must be a number from 0 to 200 m/s or a range [low, high], not -0.5",
        ),
        (
            {"arena_size": float("inf")},
            " must be a number from 0.1 to 100,000 m, not inf",
        ),
        (
            {"target_speed": float("nan")},
            " must be a number from 0 to 10,000 m/s or a range [low, high], not nan",
        ),
        ({"capture_radius": 61.0}, "capture_radius of scenario 'pursuit' must fit in the arena of 60 m"),
        ({"arena_size": 30.0}, "target_spawn_size of scenario 'pursuit' must fit in the arena of 30 m"),
    ],
)
def test_refused(parameters, message):
    with pytest.raises(UsageError) as error:
        make_vec("pursuit", 1, **parameters)
    text = str(error.value)
    assert "\n" not in text
    assert message in text


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"dt": 100}, "dt of scenario 'pursuit' must be a number from 0.0001 to 10 s, not 100"),
        ({"dt": 4}, "max_speed of scenario 'pursuit' makes 72 m a step of 4 s; a step must fit in the arena of 60 m"),
        ({"target_speed": 700}, "target_speed of scenario 'pursuit' makes 70 m a step of 0.1 s; a step must fit"),
        ({"step_length": 60, "dynamics": "kinematic"}, "step_length of scenario 'pursuit' makes 103.923 m a step"),
        ({"spawn_radius": 61}, "spawn_radius of scenario 'pursuit' must fit in the arena of 60 m"),
        (
            {"author_bugs": True},
            "author_bugs of scenario 'pursuit' needs target_moves_last, as preset 'sandbox' has it",
        ),
        ({"pursuers": 10**9}, "pursuers of scenario 'pursuit' must be a whole number from 1 to 256, not 1000000000"),
    ],
)
def test_refused_as_no_world(parameters, message):
    with pytest.raises(UsageError) as error:
        make_pursuit(**parameters)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_every_number_has_bounds_on_both_sides():
    for field in schema.fields(PursuitParameters).values():
        if type(field.default) in (int, float) and not field.choices:
            low, high = (float(bound.replace(",", "")) for bound in field.bounds.split(" to "))
            kind = type(field.default)
            for value in (kind(low) - 1, kind(high) * 2 + 1):
                with pytest.raises(UsageError, match=f"^{field.name} of scenario 'pursuit' must be .* to .*, not "):
                    make_pursuit(**{field.name: kind(value)})


def test_every_parameter_is_described():
    assert all(field.description for field in schema.fields(PursuitParameters).values())


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"target_speed": 500}, "the target of scenario 'pursuit' moves 50 m a step and a pursuer 1.8 m"),
        ({"target_speed": 25}, "pursuer and target move up to 4.3 m, further than the capture diameter of 4 m"),
        ({"dt": 0.5}, "pursuer and target move up to 12 m, further than the capture diameter of 4 m"),
        ({"preset": "sandbox", "capture_radius": 10}, "move up to 27.32 m, further than the capture diameter of 20 m"),
    ],
)
def test_what_can_hardly_be_meant_is_a_warning(parameters, message):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        make_pursuit(**parameters)
    texts = [str(warning.message) for warning in caught]
    assert any(message in text for text in texts)
    assert all(warning.category is SettingWarning and "\n" not in str(warning.message) for warning in caught)


def test_a_target_that_stands_still_is_no_matter_of_speed():
    make_pursuit(motion="stationary", target_speed=500)


def test_unknown_scenario():
    with pytest.raises(UsageError, match="unknown scenario 'persuit'; did you mean 'pursuit'"):
        make_vec("persuit", 1)


def test_the_parameters_are_checked_however_they_are_made():
    with pytest.raises(UsageError, match="pursuers"):
        PursuitParameters(pursuers=0)
