"""Each preset with steps worked out by hand, and what a user's own reward may do wrong."""

import dataclasses
import math

import pytest
import torch

from rl_tracking import plugins
from rl_tracking.envs.parts import rewards
from rl_tracking.envs.parts.rewards import (
    BASIC,
    CATCH,
    COMPLEX,
    NEARER,
    PROGRESS,
    SPARSE,
    TRACKING,
    Reward,
    plugin_reward,
)
from rl_tracking.envs.transition import total
from rl_tracking.envs.vec_env import make_vec
from rl_tracking.errors import UsageError
from tests.helpers import judged, pursuit_state, random_actions


def one_line(error):
    text = str(error.value)
    assert "\n" not in text
    return text


# A pursuer at the origin flies 3 m towards a target at 10 m, which comes 1 m nearer: 6 m are left.
# 5 m is the longest way of a step and 2 m the capture radius.
BEFORE = pursuit_state([[[0, 0, 0]]], [[10, 0, 0]])
AFTER = pursuit_state([[[3, 0, 0]]], [[9, 0, 0]])
APPROACH = judged(BEFORE, AFTER, [[[0.6, 0, 0.8]]])


def value(reward, step):
    terms = reward(step)
    return total(terms).tolist(), {name: term.tolist() for name, term in terms.items()}


class TestPresets:
    def test_tracking(self):
        # 4 m of 5; 1 / (1 + (6 / 2)^2); 0.36 + 0.64.
        assert rewards.progress(APPROACH).tolist() == pytest.approx([0.8])
        assert rewards.proximity(APPROACH).tolist() == pytest.approx([0.1])
        assert rewards.effort(APPROACH).tolist() == pytest.approx([1.0])
        reward, terms = value(TRACKING, APPROACH)
        expected = {"progress": 0.4, "proximity": 0.05, "effort": -0.005}
        assert {name: term[0] for name, term in terms.items()} == pytest.approx(expected)
        assert reward == pytest.approx([0.445])

    def test_progress(self):
        assert value(PROGRESS, APPROACH) == (pytest.approx([0.8]), {"progress": pytest.approx([0.8])})
        assert value(PROGRESS, judged(AFTER, BEFORE))[0] == pytest.approx([-0.8])

    def test_catch(self):
        # Half of 0.8 for closing in, and 0.05 less for a step without capture.
        assert value(CATCH, APPROACH)[0] == pytest.approx([0.35])
        # From 10 m to 1 m on the other side: caught on the way, and no time lost.
        passing = judged(BEFORE, pursuit_state([[[10, 0, 0]]], [[7, 0, 0]]))
        terms = {"progress": [pytest.approx(0.7)], "captured": [1.0], "time": [0.0]}
        assert value(CATCH, passing) == (pytest.approx([1.7]), terms)

    def test_nearer(self):
        assert value(NEARER, APPROACH)[0] == pytest.approx([0.5 - 0.06])
        assert value(NEARER, judged(AFTER, BEFORE))[0] == pytest.approx([-0.1])
        assert value(NEARER, judged(BEFORE, BEFORE))[0] == pytest.approx([-0.1]), "as near is not nearer"
        far = pursuit_state([[[0, 0, 0]]], [[150, 0, 0]])
        assert value(NEARER, judged(far, far))[0] == [-1.0], "the limit"

    def test_basic(self):
        assert value(BASIC, APPROACH)[0] == pytest.approx([-0.06])

    @pytest.mark.parametrize(("distance", "expected"), [(0.0, 1.0), (1.9, 1.0), (2.0, 1.0), (2.1, 0.0), (50.0, 0.0)])
    def test_sparse(self, distance, expected):
        step = judged(BEFORE, pursuit_state([[[distance, 5, 0]]], [[0, 5, 0]]))
        assert value(SPARSE, step)[0] == [expected]

    def test_presets_of_two_pursuers(self):
        before = pursuit_state([[[0, 0, 0], [0, 0, 0]]], [[10, 0, 0]])
        after = pursuit_state([[[9, 0, 0], [4, 0, 0]]], [[10, 0, 0]])
        step = judged(before, after, [[[1, 0, 0], [0, 0, 0]]])
        # Ways 9 and 4 of 5 m; the nearest is at half the capture radius; mean effort of 1 and 0.
        assert value(PROGRESS, step)[0] == pytest.approx([1.3])
        assert rewards.proximity(step).tolist() == pytest.approx([1 / 1.25])
        assert rewards.effort(step).tolist() == pytest.approx([0.5])
        assert value(BASIC, step)[0] == pytest.approx([-0.07])
        assert value(SPARSE, step)[0] == [1.0]

    def test_target_that_moves_last_is_judged_where_it_was(self):
        step = judged(BEFORE, AFTER, target_moves_last=True)
        assert value(PROGRESS, step)[0] == pytest.approx([0.6])
        assert value(BASIC, step)[0] == pytest.approx([-0.07])

    def test_on_top_of_the_target(self):
        reward, terms = value(TRACKING, judged(BEFORE, pursuit_state([[[9, 0, 0]]], [[9, 0, 0]])))
        assert terms["proximity"] == [0.5]
        assert terms["progress"] == pytest.approx([1.0])
        assert reward == pytest.approx([1.5])

    def test_every_world_has_its_own(self):
        before = pursuit_state([[[0, 0, 0]]] * 3, [[10, 0, 0]] * 3)
        after = pursuit_state([[[3, 0, 0]], [[0, 0, 0]], [[-2, 0, 0]]], [[9, 0, 0], [10, 0, 0], [10, 0, 0]])
        assert value(PROGRESS, judged(before, after))[0] == pytest.approx([0.8, 0.0, -0.4])


def sandbox_step(before, after, target=(0, 0, 0), action=(0, 0, 0), was=None, judged_at=None, **more):
    """One pursuer in the author's units: 10 m a step, capture within 15.

    ``was`` is where it was 5 steps ago, ``judged_at`` where the target was when the last step was judged.
    """
    trail = [[[[9, 9, 9]] for _ in range(5)]]
    trail[0][0], trail[0][4] = [list(after if was is None else was)], [list(before)]
    last = math.dist(before, target if judged_at is None else judged_at)
    first = pursuit_state([[before]], [target], step=[more.pop("step", 9)], judged_distance=[[last]])
    then = pursuit_state([[after]], [[77, 77, 77]]).replace(trail=torch.tensor(trail, dtype=torch.float32))
    constants = {"capture_radius": 15.0, "action_scale": 10.0, "target_moves_last": True}
    return judged(first, then, [[action]], **constants, **more)


class TestComplex:
    """300 x progress + 0.1 x nearer + 1000 within 15 - 0.05 x |action| - 2000 within 1 + 0.1 x way of 5 steps."""

    def test_an_approach(self):
        # 30 m -> 29 m with an action of 1.5 units, 13 m (5, 12) from where it was five steps ago.
        step = sandbox_step((0, 30, 0), (0, 29, 0), action=(0, -0.1, 0.05), was=(5, 41, 0))
        reward, terms = value(COMPLEX, step)
        expected = {
            "progress": 300,
            "nearer": 0.1,
            "captured": 0,
            "effort": -0.075,
            "collision": 0,
            "way": 1.3,
            "limit": 0,
        }
        assert {name: term[0] for name, term in terms.items()} == pytest.approx(expected, rel=1e-5)
        assert reward == pytest.approx([301.325], rel=1e-6)

    def test_the_potential_knows_that_the_target_moved(self):
        # It was judged at y = -4, 34 m away; it came to 0, and the pursuer from 30 m to 29 m: 5 m nearer, 1 m progress.
        terms = value(COMPLEX, sandbox_step((0, 30, 0), (0, 29, 0), judged_at=(0, -4, 0)))[1]
        assert terms["nearer"] == pytest.approx([0.5])
        assert terms["progress"] == pytest.approx([300])

    def test_the_potential_is_0_in_the_first_step(self):
        terms = value(COMPLEX, sandbox_step((0, 30, 0), (0, 29, 0), judged_at=(0, -4, 0), step=0))[1]
        assert terms["nearer"] == [0.0]
        assert terms["progress"] == pytest.approx([300])
        # With the author's bugs an earlier episode's end counts; before the first one there was none.
        first = sandbox_step((0, 30, 0), (0, 29, 0), judged_at=(0, -4, 0), step=0, author_bugs=True)
        assert value(COMPLEX, first)[1]["nearer"] == [0.0]
        later = dataclasses.replace(first, before=first.before.replace(episode=torch.tensor([1])))
        assert value(COMPLEX, later)[1]["nearer"] == pytest.approx([0.5])

    def test_a_target_that_moves_at_the_same_time_was_judged_where_it_was(self):
        trail = torch.tensor([[[[0.0, 30, 0]]] * 5])
        before = pursuit_state([[[0, 30, 0]]], [[0, 0, 0]], step=[2])
        after = pursuit_state([[[0, 29, 0]]], [[0, 4, 0]]).replace(trail=trail)
        terms = value(COMPLEX, judged(before, after))[1]
        # 30 m -> 25 m; to where it is now the distance was 26 m.
        assert terms["nearer"] == pytest.approx([0.5])
        assert terms["progress"] == pytest.approx([300])

    def test_nearer_than_15(self):
        # From 16 m to exactly 15 m, and just below.
        assert value(COMPLEX, sandbox_step((16, 0, 0), (15, 0, 0)))[0] == pytest.approx([300.1], rel=1e-6)
        just = value(COMPLEX, sandbox_step((16, 0, 0), (14.999, 0, 0)))[0]
        assert just == pytest.approx([1000 + 300.1 * 1.001], rel=1e-6)

    def test_nearer_than_1(self):
        # From 2 m to exactly 1 m, and just below: captured, there punished too.
        assert value(COMPLEX, sandbox_step((2, 0, 0), (1, 0, 0)))[0] == pytest.approx([1300.1], rel=1e-6)
        just = value(COMPLEX, sandbox_step((2, 0, 0), (0.999, 0, 0)))[0]
        assert just == pytest.approx([-1000 + 300.1 * 1.001], rel=1e-6)
        assert value(COMPLEX, sandbox_step((1.5, 0, 0), (1.5, 0, 0)))[0] == pytest.approx([1000.0])

    def test_clipped_at_2000(self):
        for before, after, way, limit in ((40, 30, 3000, 2000.0), (30, 40, -3000, -2000.0)):
            reward, terms = value(COMPLEX, sandbox_step((before, 0, 0), (after, 0, 0)))
            assert terms["progress"] == [way]
            assert reward == [limit]

    @pytest.mark.parametrize(("author_bugs", "effort"), [(False, -0.75), (True, -0.5)])
    def test_each_pursuer_counts(self, author_bugs, effort):
        # Ways 2 and 0 m; 12 and 0.5 m away: two captures, one collision; 10 + 5 units of action; ways of 5 steps 3, 1.
        trail = torch.tensor([[[[12.0, 3, 0], [0.5, 0, 1]]] + [[[14.0, 0, 0], [0.5, 0, 0]]] * 4])
        before = pursuit_state([[[14, 0, 0], [0.5, 0, 0]]], [[0, 0, 0]], trail=torch.zeros(1, 5, 2, 3), step=[9])
        after = pursuit_state([[[12, 0, 0], [0.5, 0, 0]]], [[0, 0, 0]], trail=trail)
        constants = {"capture_radius": 15.0, "action_scale": 10.0, "author_bugs": author_bugs}
        step = judged(before, after, [[[1, 0, 0], [0, -0.5, 0]]], **constants)
        reward, terms = value(COMPLEX, step)
        expected = {
            "progress": 300,
            "nearer": 0.1,
            "captured": 2000,
            "effort": effort,
            "collision": -2000,
            "way": 0.4,
            "limit": 0.0,
        }
        assert {name: term[0] for name, term in terms.items()} == pytest.approx(expected, rel=1e-5)
        assert reward == pytest.approx([300.5 + effort], rel=1e-6)

    def test_its_lookback_is_served_by_the_scenario(self):
        env = make_vec("pursuit", 3, seed=0, preset="sandbox")
        env.reset()
        positions = [env.get_state().position]
        for action in random_actions(env, 7):
            env.step(action)
            positions.append(env.get_state().position)
        trail = env.get_state().trail
        assert trail.shape == (3, 5, 1, 3)
        # Oldest first: five steps ago down to one step ago.
        assert torch.equal(trail, torch.stack(positions[2:7], dim=1))
        way = torch.linalg.vector_norm(positions[7] - positions[2], dim=-1).squeeze(-1)
        assert torch.allclose(env.last_transition.terms["way"], 0.1 * way, rtol=1e-6)


# What a reward reads that a step of pursuit lacks, the steps of its own scenario have.
SCENARIO_OF = {"SwarmStep": "swarm", "InterceptStep": "intercept"}


@pytest.mark.parametrize("name", sorted(plugins.names("reward")))
def test_terms_add_up_to_the_reward(name):
    scenario = SCENARIO_OF.get(plugins.resolve("reward", name).judges.__name__, "pursuit")
    env = make_vec(scenario, 32, seed=0, reward=name, pursuers=2)
    env.reset()
    for action in random_actions(env, 20):
        _, reward, _, _ = env.step(action)
        terms = env.last_transition.terms
        assert all(term.shape == (32,) for term in terms.values())
        assert torch.allclose(sum(terms.values()), torch.from_numpy(reward), rtol=1e-5, atol=1e-6)


def test_limit_and_weights_of_a_reward_of_ones_own():
    reward = Reward((("near", 10.0, rewards.in_radius), ("far", -1.0, rewards.total_distance)), limit=5.0)
    assert value(reward, APPROACH) == ([-5.0], {"near": [0.0], "far": [-6.0], "limit": [1.0]})


class TestPlugins:
    def test_a_function_of_the_step(self):
        reward = plugin_reward("mine.py:nearness", lambda step: -step.nearest)
        assert value(reward, APPROACH) == ([-6.0], {"nearness": [-6.0]})

    def test_whole_numbers_become_floats(self):
        terms = plugin_reward("mine", lambda step: step.captured.long())(APPROACH)
        assert terms["mine"].dtype == torch.float32
        assert terms["mine"].tolist() == [0.0]

    def test_one_that_raises(self):
        def broken(step):
            raise ValueError("no such\n  field")

        with pytest.raises(UsageError, match="reward 'mine' raised ValueError: no such field") as error:
            plugin_reward("mine", broken)(APPROACH)
        one_line(error)

    @pytest.mark.parametrize("shape", [(), (1, 1), (3,), (0,)])
    def test_one_of_another_shape(self, shape):
        with pytest.raises(UsageError, match=r"returned shape .*one number a world: \[1\]") as error:
            plugin_reward("mine", lambda step: torch.zeros(shape))(APPROACH)
        assert str(list(shape)) in one_line(error)

    @pytest.mark.parametrize(("result", "kind"), [(1.0, "float"), (None, "NoneType"), ([0.0], "list")])
    def test_one_that_returns_no_tensor(self, result, kind):
        with pytest.raises(UsageError, match=rf"returned a {kind}; it must return a tensor of shape \[1\]") as error:
            plugin_reward("mine", lambda step: result)(APPROACH)
        one_line(error)

    @pytest.mark.parametrize("number", ["nan", "inf", "-inf"])
    def test_one_that_is_not_finite_names_world_and_step(self, number):
        before = pursuit_state([[[0, 0, 0]]] * 3, [[10, 0, 0]] * 3, step=[5, 6, 7])
        step = judged(before, before)
        with pytest.raises(
            UsageError, match=f"returned {number}; it must be finite, in world 2 at step 7 of its"
        ) as error:
            plugin_reward("mine", lambda step: torch.tensor([0.0, 1.0, float(number)]))(step)
        one_line(error)

    def test_lookback_is_honoured(self, tmp_path):
        path = tmp_path / "slow.py"
        path.write_text(
            "def slow(step):\n"
            "    assert step.after.trail.shape[1] == 3\n"
            "    return (step.after.position - step.after.trail[:, -3]).norm(dim=-1).sum(dim=-1)\n"
            "slow.lookback = 3\n"
        )
        env = make_vec("pursuit", 2, seed=0, reward=f"{path}:slow", dynamics="kinematic", spawn="at-target")
        env.reset()
        assert env.get_state().trail.shape == (2, 3, 1, 3)
        ahead = [[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
        # Before the first steps the start is repeated; later the way of three steps of 1 m is 3 m.
        ways = [env.step(ahead)[1].tolist() for _ in range(5)]
        assert ways == [pytest.approx([way, 0.0], abs=1e-5) for way in (1, 2, 3, 3, 3)]

    @pytest.mark.parametrize("lookback", [-1, 2.5, "five", True])
    def test_lookback_that_is_no_count(self, lookback):
        def looks_back(step):
            return step.nearest

        looks_back.lookback = lookback
        with pytest.raises(UsageError, match=r"reward 'mine' has a lookback of .*; it must be a whole number") as error:
            plugin_reward("mine", looks_back)
        one_line(error)

    def test_from_a_file(self, tmp_path):
        path = tmp_path / "mine.py"
        path.write_text("def hunger(step):\n    return -step.nearest\n")
        env = make_vec("pursuit", 4, seed=0, reward=f"{path}:hunger")
        env.reset()
        reward = env.step(random_actions(env, 1)[0])[1]
        assert reward.tolist() == (-env.last_transition.measures["distance"]).tolist()

    @pytest.mark.parametrize(
        ("text", "function", "message"),
        [
            ("def hunger(step): ...", "hungr", "did you mean 'hunger'"),
            ("number = 3\ndef hunger(step): ...", "number", "known: hunger"),
            ("", "hunger", "unknown reward function"),
            ("def hunger(step", "hunger", "cannot be imported: SyntaxError"),
            ("1 / 0", "hunger", "cannot be imported: ZeroDivisionError"),
        ],
    )
    def test_from_a_file_that_will_not_do(self, tmp_path, text, function, message):
        path = tmp_path / "mine.py"
        path.write_text(text)
        with pytest.raises(UsageError, match=message) as error:
            make_vec("pursuit", 1, reward=f"{path}:{function}")
        one_line(error)

    @pytest.mark.parametrize(
        ("spec", "message"),
        [
            ("trackin", "unknown reward 'trackin'; did you mean 'tracking'"),
            ("nowhere.py:f", "reward file 'nowhere.py' does not exist"),
            ("nowhere.py", "names no function; write nowhere.py:function"),
            ("no.such.module:f", "reward module 'no.such.module' cannot be imported"),
            ("math:sinn", "unknown reward function in math: 'sinn'"),
        ],
    )
    def test_specs_that_name_nothing(self, spec, message):
        with pytest.raises(UsageError, match=message) as error:
            make_vec("pursuit", 1, reward=spec)
        one_line(error)


class TestPluginsThatMisbehave:
    """A reward of a file, in worlds that are stepped: what it does is undone by copies, or named with its line."""

    @staticmethod
    def worlds(tmp_path, text, num_envs=4):
        path = tmp_path / "mine.py"
        path.write_text("import sys, torch\n" + text)
        env = make_vec("pursuit", num_envs, seed=0, reward=f"{path}:f", spawn_radius=1.0)
        env.reset()
        return env, path

    @pytest.mark.parametrize(
        "change",
        [
            "d = step.nearest; d -= 1",
            "step.distance.mul_(0)",
            "step.captured.fill_(True)",
            "step.distance_before.zero_()",
            "step.target_position.add_(5)",
            "step.action.mul_(0)",
            "step.before.position.add_(3)",
            "step.after.position.add_(3)",
            "step.after.velocity.numpy()[:] = 7",
            "step.after.tensors()['wind'].add_(3)",
            "step.after[0].position.add_(3)",
            "step.facts.arena_high.mul_(0)",
        ],
    )
    def test_what_is_changed_in_place_is_a_copy(self, tmp_path, change):
        env, _ = self.worlds(tmp_path, f"def f(step):\n    {change}\n    return -step.nearest\n")
        honest = make_vec("pursuit", 4, seed=0, reward="tracking", spawn_radius=1.0)
        honest.reset()
        for action in random_actions(env, 12):
            seen, expected = env.step(action)[0], honest.step(action)[0]
            assert seen.tobytes() == expected.tobytes()
            mine, theirs = env.last_transition, honest.last_transition
            assert torch.equal(mine.measures["distance"], theirs.measures["distance"])
            assert torch.equal(mine.measures["captured"], theirs.measures["captured"])
            assert torch.equal(mine.reward, -theirs.measures["distance"])
            differing = mine.after.replace(episode_return=theirs.after.episode_return).differences(theirs.after)
            assert differing == []

    def test_a_tensor_that_is_returned_every_time_is_copied(self, tmp_path):
        text = "kept = torch.zeros(4)\ndef f(step):\n    return kept.add_(1)\n"
        env, _ = self.worlds(tmp_path, text)
        rewards = []
        for action in random_actions(env, 3):
            env.step(action)
            rewards.append(env.last_transition.reward)
        assert [reward.tolist() for reward in rewards] == [[1.0] * 4, [2.0] * 4, [3.0] * 4]

    @pytest.mark.parametrize(
        ("body", "said"),
        [
            ("return step.nearest.no_such", r"raised AttributeError: .*no_such.* \({path}:3\)"),
            (
                "return step.neerest",
                r"raised AttributeError: .*neerest.* \({path}:3\); did you mean 'nearest'\? step offers",
            ),
            ("return step.after.vellocity", r"did you mean 'velocity'\? a PursuitState of step offers acceleration, "),
            ("return step.facts.dtt", r"did you mean 'dt'\? a TargetFacts of step offers action_scale, "),
            ("step.nearest = 3", r"raised AttributeError: 'nearest' of a TargetStep cannot be set \({path}:3\)"),
            ("sys.exit(0)", r"raised SystemExit: 0 \({path}:3\)"),
            ("raise KeyError('x')", r"raised KeyError: 'x' \({path}:3\)"),
            (
                "return step.nearest.double().exp().fill_(1e300)",
                r"returned inf; it must be finite, in world 0 at step 0",
            ),
            ("return step.nearest * 1j", r"returned complex numbers; it must return real ones"),
            ("return step.distance", r"returned shape \[4, 1\]; it must return one number a world: \[4\]"),
            ("return step.nearest.numpy()", r"returned a ndarray; it must return a tensor of shape \[4\]"),
        ],
    )
    def test_what_it_cannot_do_is_said_in_one_line(self, tmp_path, body, said):
        env, path = self.worlds(tmp_path, f"def f(step):\n    {body}\n")
        with pytest.raises(UsageError, match=said.format(path=path)) as error:
            env.step(random_actions(env, 1)[0])
        one_line(error)

    @pytest.mark.parametrize("kind", ["torch.bool", "torch.int32", "torch.uint8", "torch.float16", "torch.float64"])
    def test_other_types_of_numbers_become_floats(self, tmp_path, kind):
        env, _ = self.worlds(tmp_path, f"def f(step):\n    return torch.ones(4, dtype={kind})\n")
        assert env.step(random_actions(env, 1)[0])[1].tolist() == [1.0] * 4

    def test_a_learned_reward_is_taken_as_numbers(self):
        network = torch.nn.Linear(1, 1)
        reward = plugin_reward("learned", lambda step: network(step.nearest.unsqueeze(-1)).squeeze(-1))
        assert not reward(APPROACH)["learned"].requires_grad

    def test_a_gradient_runs_through_it_to_the_action(self):
        after = pursuit_state([[[1.0, 0, 0]]], [[5.0, 0, 0]])
        position = after.position.clone().requires_grad_()
        step = judged(after, after.replace(position=position))
        plugin_reward("mine", lambda step: -step.nearest)(step)["mine"].sum().backward()
        assert position.grad.tolist() == [[[1.0, 0.0, 0.0]]]

    def test_the_term_is_named_where_there_are_several(self):
        def off(step):
            return step.nearest / 0

        mine = Reward((("near", 1.0, rewards.closing), ("off", 2.0, off)))
        with pytest.raises(UsageError, match="term 'off' of reward 'mine' returned inf; it must be finite, in world 0"):
            plugin_reward("mine", mine)(APPROACH)

    def test_rewards_of_this_package_are_left_alone(self):
        assert plugin_reward("complex", COMPLEX) is COMPLEX

    def test_what_a_callback_does_to_an_observation_stays_out_of_the_world(self):
        env = make_vec("pursuit", 3, seed=0)
        seen = env.reset()
        seen[:] = 9
        action = random_actions(env, 1)[0]
        env.step_branches(torch.from_numpy(action)[None])
        first = env.step(action)
        expected = env.last_transition.observation.clone()
        first[0][:] = 9
        first[1][:] = 9
        assert torch.equal(env.last_transition.observation, expected)

    def test_a_state_that_was_handed_out_cannot_be_written_to(self):
        env = make_vec("pursuit", 3, seed=0)
        env.reset()
        for _ in range(2):
            with pytest.raises(RuntimeError, match="Inplace update to inference tensor"):
                env.get_state().position.add_(1)
            env.step(random_actions(env, 1)[0])
