"""Stable-Baselines3's view of the worlds, and saving, forking and stepping their branches."""

import numpy as np
import pytest
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecMonitor, VecNormalize

from rl_tracking.envs.noise import next_episode, world_keys
from rl_tracking.envs.simulator import Simulator
from rl_tracking.envs.vec_env import TrackingVecEnv, make_vec
from rl_tracking.errors import UsageError
from tests.helpers import bits, play, random_actions

WINDY = {"wind_speed": 2.0, "max_steps": 20}


def windy(num_envs=6, seed=0, **parameters):
    env = make_vec("pursuit", num_envs, seed=seed, **{**WINDY, **parameters})
    env.reset()
    return env


class TestEpisodes:
    def test_shapes_and_types(self):
        env = make_vec("pursuit", 5, seed=0)
        observation = env.reset()
        assert observation.shape == (5, 18)
        assert observation.dtype == np.float32
        assert env.reset_infos == [{}] * 5
        observation, reward, done, infos = env.step(np.zeros((5, 3)))
        assert (observation.shape, observation.dtype) == ((5, 18), np.float32)
        assert (reward.shape, reward.dtype) == ((5,), np.float32)
        assert (done.shape, done.dtype) == ((5,), np.bool_)
        assert infos == [{}] * 5

    def test_the_returned_observation_is_the_next_episodes_first(self):
        env = windy(max_steps=3)
        actions = random_actions(env, 3)
        for action in actions[:2]:
            assert not env.step(action)[2].any()
        before = env.get_state()
        observation, _, done, infos = env.step(actions[2])
        assert done.all()
        # Worked out with the simulator alone, which never resets.
        last = env.simulator.transition(before, torch.from_numpy(actions[2]))
        first = env.simulator.initial(next_episode(before.key), before.episode + 1)
        assert observation.tobytes() == env.simulator.observation(first).numpy().tobytes()
        for world, info in enumerate(infos):
            assert info["terminal_observation"].tobytes() == last.observation[world].numpy().tobytes()
            assert info["TimeLimit.truncated"] is True
        assert env.get_state().equal(first)

    def test_only_worlds_that_end_are_reset(self):
        env = windy(num_envs=4)
        state = env.get_state()
        env.set_state(state.replace(step=torch.tensor([19, 3, 19, 0])))
        action = random_actions(env, 1)[0]
        expected = env.simulator.transition(env.get_state(), torch.from_numpy(action))
        observation, _, done, infos = env.step(action)
        assert done.tolist() == [True, False, True, False]
        assert [bool(info) for info in infos] == [True, False, True, False]
        assert env.get_state().step.tolist() == [0, 4, 0, 1]
        assert env.get_state().episode.tolist() == [1, 0, 1, 0]
        for world in (1, 3):
            assert env.get_state()[world].equal(expected.after[world])
            assert observation[world].tobytes() == expected.observation[world].numpy().tobytes()

    def test_episode_statistics_are_what_was_paid_out(self):
        env = windy(max_steps=7, capture_terminates=True, spawn="near", spawn_radius=6.0, num_envs=32)
        paid, lasted, finished = np.zeros(32), np.zeros(32, dtype=int), 0
        ended_early = 0
        for action in random_actions(env, 40):
            _, reward, done, infos = env.step(action)
            paid, lasted = paid + reward, lasted + 1
            near = env.last_transition.measures["captured"].numpy()
            for world in np.flatnonzero(done):
                episode = infos[world]["episode"]
                assert episode["r"] == pytest.approx(paid[world], abs=1e-4)
                assert episode["l"] == lasted[world] <= 7
                assert infos[world]["is_success"] is bool(near[world])
                assert infos[world]["TimeLimit.truncated"] is (not near[world])
                ended_early += near[world]
                finished += 1
            paid[done], lasted[done] = 0, 0
        assert 0 < ended_early < finished

    def test_actions_are_clipped_and_may_be_lists(self):
        env, other = windy(num_envs=2), windy(num_envs=2)
        assert bits(env.step([[5, -5, 0], [0, 0, 0.5]])) == bits(other.step(np.array([[1.0, -1, 0], [0, 0, 0.5]])))

    @pytest.mark.parametrize("shape", [(6,), (6, 2), (5, 3), (6, 1, 3), (18,), ()])
    def test_actions_of_another_shape(self, shape):
        env = windy()
        with pytest.raises(UsageError, match=r"expected \[6, 3\]"):
            env.step(np.zeros(shape))

    @pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
    def test_actions_that_are_not_finite(self, number):
        env = windy()
        kept = env.get_state()
        actions = np.zeros((6, 3))
        actions[4, 1] = number
        with pytest.raises(UsageError, match="the action of world 4 is not finite") as error:
            env.step(actions)
        assert "\n" not in str(error.value)
        assert env.get_state() is kept
        assert np.isfinite(env.step(np.zeros((6, 3)))[0]).all()

    def test_step_wait_comes_after_step_async(self):
        env = windy()
        with pytest.raises(UsageError, match="step_async"):
            env.step_wait()
        env.step(np.zeros((6, 3)))
        with pytest.raises(UsageError, match="step_async"):
            env.step_wait()

    @pytest.mark.parametrize("num_envs", [0, -1])
    def test_at_least_one_world(self, num_envs):
        with pytest.raises(UsageError, match=f"num_envs must be 1 or more, not {num_envs}"):
            make_vec("pursuit", num_envs)

    def test_rewards_are_the_callers_own(self):
        # SB3 adds the value of the last observation to the rewards of episodes that ran out of time.
        env = windy()
        branches = env.step_branches(torch.zeros(2, 6, 3))
        prefetched = branches.reward.clone()
        reward = env.step(np.zeros((6, 3)))[1]
        reward += 100
        assert torch.equal(branches.reward, prefetched)
        assert torch.equal(env.last_transition.reward, prefetched[0])


class TestSeeds:
    def test_same_seed_same_episodes(self):
        actions = random_actions(windy(), 50)
        assert play(windy(seed=7), actions) == play(windy(seed=7), actions)
        assert play(windy(seed=7), actions) != play(windy(seed=8), actions)

    def test_seed_takes_effect_at_the_next_reset(self):
        env = windy(seed=1)
        first = make_vec("pursuit", 6, seed=42, **WINDY).reset()
        assert env.seed(42) == [42] * 6
        kept = env.get_state()
        play(env, random_actions(env, 3))
        assert env.get_state().key.tolist() == kept.key.tolist()
        assert env.reset().tobytes() == first.tobytes()
        assert env.reset().tobytes() != first.tobytes(), "one seed, one reset; then the next episodes"
        env.seed(42)
        assert env.reset().tobytes() == first.tobytes()

    def test_looking_at_the_state_does_not_use_the_seed_up(self):
        env = make_vec("pursuit", 6, seed=42, **WINDY)
        state = env.get_state()
        assert env.reset().tobytes() == make_vec("pursuit", 6, seed=42, **WINDY).reset().tobytes()
        assert env.get_state().equal(state)

    def test_without_a_seed_worlds_differ(self):
        np.random.seed(0)
        assert make_vec("pursuit", 2).reset().tobytes() != make_vec("pursuit", 2).reset().tobytes()

    def test_worlds_do_not_depend_on_how_many_there_are(self):
        few, many = windy(num_envs=3), windy(num_envs=100)
        actions = random_actions(many, 45)
        for action in actions:
            small, large = few.step(action[:3]), many.step(action)
            for x, y in zip(small[:3], large[:3], strict=True):
                assert x.tobytes() == y[:3].tobytes()
            assert bits((*small[:3], small[3]))[3] == bits((*large[:3], large[3][:3]))[3]
        assert few.get_state().equal(many.get_state()[:3])

    def test_all_worlds_and_all_episodes_differ(self):
        env = windy(num_envs=10, max_steps=1)
        seen = [env.reset()] + [env.step(np.zeros((10, 3)))[0] for _ in range(5)]
        assert np.unique(np.concatenate(seen), axis=0).shape[0] == 60


class TestRestore:
    def test_get_and_set(self):
        env = windy()
        play(env, random_actions(env, 10))
        saved = env.get_state()
        actions = random_actions(env, 40, seed=1)
        first = play(env, actions)
        env.set_state(saved)
        assert env.get_state().equal(saved)
        assert play(env, actions) == first

    def test_a_saved_state_is_a_value(self):
        env = windy()
        saved = env.get_state()
        kept = saved.to_bytes()
        play(env, random_actions(env, 30))
        env.reset()
        env.step_branches(torch.zeros(3, 6, 3))
        assert saved.to_bytes() == kept

    def test_worlds_can_be_chosen_and_mixed(self):
        env = windy()
        play(env, random_actions(env, 5))
        state = env.get_state()
        order = torch.tensor([3, 3, 0, 5, 5, 5])
        env.set_state(state[order])
        action = random_actions(env, 1)[0][[0]].repeat(6, axis=0)
        observation = env.step(action)[0]
        assert observation[0].tobytes() == observation[1].tobytes()
        assert observation[3].tobytes() == observation[5].tobytes()
        assert observation[0].tobytes() != observation[2].tobytes()

    def test_spawn(self):
        env = windy()
        play(env, random_actions(env, 5))
        saved = env.get_state()
        sibling = env.spawn(12)
        assert isinstance(sibling, TrackingVecEnv)
        assert sibling.num_envs == len(sibling.get_state()) == 12
        assert sibling.scenario is env.scenario
        sibling.set_state(saved.repeat(2))
        actions = random_actions(env, 8)
        apart = [sibling.step(np.concatenate([action, -action])) for action in actions]
        assert env.get_state() is saved
        for action, (observation, reward, *_) in zip(actions, apart, strict=True):
            own = env.step(action)
            assert own[0].tobytes() == observation[:6].tobytes()
            assert own[1].tobytes() == reward[:6].tobytes()

    def test_set_state_before_any_reset(self):
        saved = windy().get_state()
        env = make_vec("pursuit", 6, seed=99, **WINDY)
        env.set_state(saved)
        actions = random_actions(env, 5)
        assert play(env, actions) == play(windy(), actions)

    @pytest.mark.parametrize(
        ("spoil", "message"),
        [
            (lambda state: state[:5], "set_state takes 6 worlds, not 5"),
            (lambda state: state.repeat(2), "set_state takes 6 worlds, not 12"),
            (lambda state: None, "set_state takes a PursuitState, not a NoneType"),
            (lambda state: state.tensors(), "set_state takes a PursuitState, not a dict"),
            (lambda state: windy(preset="sandbox").get_state(), "these states are of another scenario: target_memory"),
            (
                lambda state: windy(pursuers=2).get_state(),
                "another scenario: position has shape [2, 3] a world, not [1, 3]",
            ),
            (lambda state: windy(dimensions=2).get_state(), "another scenario: position has shape [1, 2]"),
            (lambda state: windy(reward="complex").get_state(), "another scenario: trail has shape [5, 1, 3]"),
        ],
    )
    def test_states_that_do_not_fit(self, spoil, message):
        env = windy()
        kept = env.get_state()
        with pytest.raises(UsageError) as error:
            env.set_state(spoil(kept))
        assert message in str(error.value)
        assert env.get_state() is kept


class TestStepBranches:
    def test_branch_0_is_what_happens_next(self):
        env = windy()
        play(env, random_actions(env, 19))
        state = env.get_state()
        branches = torch.from_numpy(random_actions(env, 4, scale=1.5))
        seen = env.step_branches(branches)
        assert env.get_state() is state
        observation, reward, done, infos = env.step(branches[0].numpy())
        assert done.all(), "the last step of an episode: the most that can differ"
        assert reward.tobytes() == seen.reward[0].numpy().tobytes()
        assert seen.truncated[0].tolist() == [True] * 6
        assert seen.terminated[0].tolist() == [False] * 6
        last = np.stack([info["terminal_observation"] for info in infos])
        assert last.tobytes() == seen.observation[0].numpy().tobytes()
        # And it is what happens without having looked.
        blind = windy()
        blind.set_state(state)
        assert bits(blind.step(branches[0].numpy())) == bits((observation, reward, done, infos))
        assert blind.get_state().equal(env.get_state())

    def test_every_branch_is_what_would_have_happened(self):
        env = windy()
        play(env, random_actions(env, 5))
        state = env.get_state()
        branches = torch.from_numpy(random_actions(env, 4))
        seen = env.step_branches(branches)
        assert seen.observation.shape == (4, 6, 18)
        assert seen.reward.shape == seen.terminated.shape == seen.truncated.shape == (4, 6)
        for branch in range(4):
            env.set_state(state)
            observation, reward, _, _ = env.step(branches[branch].numpy())
            assert observation.tobytes() == seen.observation[branch].numpy().tobytes()
            assert reward.tobytes() == seen.reward[branch].numpy().tobytes()

    def test_stepping_branches_leaves_the_world_as_it_is(self):
        env, other = windy(), windy()
        actions = random_actions(env, 45)
        generator = np.random.default_rng(5)
        for noise in ("common", "independent"):
            for action in actions:
                kept = env.get_state().to_bytes()
                env.step_branches(torch.from_numpy(generator.uniform(-1, 1, (3, 6, 3)).astype(np.float32)), noise)
                assert env.get_state().to_bytes() == kept
                assert bits(env.step(action)) == bits(other.step(action))

    def test_another_action_than_prefetched(self):
        env, blind = windy(), windy()
        env.step_branches(torch.ones(2, 6, 3))
        action = random_actions(env, 1)[0]
        assert bits(env.step(action)) == bits(blind.step(action))

    def test_one_world_with_another_action_than_prefetched(self):
        env, blind = windy(), windy()
        branches = torch.from_numpy(random_actions(env, 2))
        env.step_branches(branches)
        action = branches[0].numpy().copy()
        action[5, 2] += 1e-6
        assert bits(env.step(action)) == bits(blind.step(action))

    @pytest.mark.parametrize("between", [lambda env, other: env.set_state(other), lambda env, other: env.reset()])
    def test_prefetched_steps_are_dropped_when_the_world_changes(self, between):
        env, blind, other = windy(), windy(), windy(seed=3)
        actions = torch.zeros(2, 6, 3)
        env.step_branches(actions)
        for world in (env, blind):
            between(world, other.get_state())
        assert bits(env.step(actions[0].numpy())) == bits(blind.step(actions[0].numpy()))

    def test_a_prefetched_step_is_used_once(self):
        env, blind = windy(), windy()
        still = np.zeros((6, 3), dtype=np.float32)
        env.step_branches(torch.zeros(2, 6, 3))
        assert play(env, [still, still]) == play(blind, [still, still])

    def test_common_noise_is_common(self):
        env = windy()
        seen = env.step_branches(torch.zeros(3, 6, 3), "common")
        assert torch.equal(seen.observation[0], seen.observation[2])

    def test_independent_noise_leaves_branch_0_alone(self):
        env = windy()
        still = torch.zeros(4, 6, 3)
        common, independent = env.step_branches(still, "common"), env.step_branches(still, "independent")
        for name in ("observation", "reward", "terminated", "truncated"):
            assert torch.equal(getattr(common, name)[0], getattr(independent, name)[0])
        observation = env.step(still[0].numpy())[0]
        assert observation.tobytes() == common.observation[0].numpy().tobytes()

    def test_independent_noise_gives_each_branch_its_own_gusts(self):
        env = windy()
        seen = env.step_branches(torch.zeros(4, 6, 3), "independent").observation
        for world in range(6):
            assert seen[:, world].unique(dim=0).shape[0] == 4

    def test_the_end_of_an_episode_is_seen_and_nothing_reset(self):
        still = {"spawn": "at-target", "motion": "stationary", "dynamics": "kinematic", "wind_speed": 0.0}
        env = windy(capture_terminates=True, max_steps=1, **still)
        branches = torch.zeros(2, 6, 3)
        branches[1] = 1.0  # 1.7 m away, which is still captured
        seen = env.step_branches(branches)
        assert seen.terminated.all()
        assert not seen.truncated.any()
        state = env.simulator.transition(env.get_state(), branches[0]).after
        assert torch.equal(seen.observation[0], env.simulator.observation(state))

    @pytest.mark.parametrize("shape", [(6, 3), (3,), (2, 3, 6), (2, 5, 3), (2, 6, 2), (2, 6, 1, 3), (2, 18)])
    def test_actions_of_another_shape(self, shape):
        with pytest.raises(UsageError, match=r"expected \[N, 6, 3\]"):
            windy().step_branches(torch.zeros(shape))


class TestStableBaselines:
    def test_attributes_are_those_of_all_worlds(self):
        env = windy()
        assert env.get_attr("num_envs") == [6] * 6
        assert env.get_attr("num_envs", [0, 2]) == [6, 6]
        assert env.get_attr("num_envs", 1) == [6]
        env.set_attr("label", "x")
        assert env.label == "x"
        with pytest.raises(UsageError, match="set for all of them"):
            env.set_attr("label", "y", indices=[0])
        with pytest.raises(UsageError, match="have no methods of their own, such as 'render'"):
            env.env_method("render")
        assert env.env_is_wrapped(Monitor) == [True] * 6
        assert env.env_is_wrapped(VecMonitor, [1]) == [False]
        env.close()

    def test_vec_monitor(self):
        with pytest.warns(UserWarning, match="already wrapped with a `Monitor`"):
            env = VecMonitor(make_vec("pursuit", 4, seed=0, **WINDY))
        env.reset()
        paid = np.zeros(4)
        for action in random_actions(env, 20):
            _, reward, done, infos = env.step(action)
            paid += reward
        assert done.all()
        for world, info in enumerate(infos):
            assert info["episode"]["r"] == pytest.approx(paid[world], abs=1e-4)
            assert info["episode"]["l"] == 20

    def test_vec_normalize(self):
        env = VecNormalize(make_vec("pursuit", 64, seed=0, **WINDY))
        env.reset()
        for action in random_actions(env, 60):
            observation, reward, _, _ = env.step(action)
        assert np.isfinite(observation).all()
        assert np.isfinite(reward).all()
        assert np.abs(observation.mean(axis=0)).max() < 0.6
        assert env.get_state() is env.venv.get_state(), "the wrapper hands on what it does not know"

    def test_ppo_runs_on_it(self):
        env = make_vec("pursuit", 4, seed=0, **WINDY)
        model = PPO("MlpPolicy", env, n_steps=32, batch_size=64, n_epochs=1, device="cpu", seed=0)
        model.learn(256)
        assert model.num_timesteps == 256
        # 32 steps are one episode of 20 and a part of the next; SB3 took its statistics from the infos.
        assert [episode["l"] for episode in model.ep_info_buffer] == [20] * len(model.ep_info_buffer)
        assert len(model.ep_info_buffer) == 4 * (64 // 20)

    def test_the_keys_are_those_of_the_seed(self):
        env = make_vec("pursuit", 5, seed=3)
        env.reset()
        assert env.get_state().equal(Simulator(env.scenario).initial(world_keys(3, 5)))


def path_of(env, actions):
    """A sibling's steps with twice the worlds, of which the first are those of ``env``."""
    sibling = env.spawn(2 * env.num_envs)
    sibling.set_state(env.get_state().repeat(2))
    path = []
    for action in actions:
        sibling.step(np.concatenate([action, -action]))
        path.append(sibling.last_transition)
    return path


@pytest.mark.parametrize("steps", [3, 12])
def test_expected_steps_are_those_that_would_have_been_worked_out(steps, monkeypatch):
    env, twin = (make_vec("pursuit", 3, seed=5, max_steps=5, wind_speed=2.0) for _ in range(2))
    for vec in (env, twin):
        vec.reset()
    actions = np.random.default_rng(0).uniform(-1, 1, (steps, 3, 3)).astype(np.float32)
    env.prefetch(path_of(env, actions))

    def forbidden(state, action):
        raise AssertionError("worked out twice")

    with monkeypatch.context() as patch:
        patch.setattr(env.simulator, "transition", forbidden)
        seen = [env.step(action) for action in actions]
    for (observation, reward, done, infos), action in zip(seen, actions, strict=True):
        wanted = twin.step(action)
        np.testing.assert_array_equal(observation, wanted[0])
        np.testing.assert_array_equal(reward, wanted[1])
        np.testing.assert_array_equal(done, wanted[2])
        assert [sorted(info) for info in infos] == [sorted(info) for info in wanted[3]]
    assert env.get_state().equal(twin.get_state())
    np.testing.assert_array_equal(env.step(actions[0])[0], twin.step(actions[0])[0])


def test_expected_steps_are_forgotten_when_something_else_happens():
    actions = np.random.default_rng(0).uniform(-1, 1, (3, 3, 3)).astype(np.float32)
    env, twin = (make_vec("pursuit", 3, seed=5) for _ in range(2))
    for vec in (env, twin):
        vec.reset()
    start = env.get_state()
    env.prefetch(path_of(env, actions))
    for action in (actions[0], -actions[1], actions[2]):  # the second is another one
        np.testing.assert_array_equal(env.step(action)[0], twin.step(action)[0])
    for vec in (env, twin):
        vec.set_state(start)
    env.prefetch(path_of(env, actions))
    for vec in (env, twin):
        vec.set_state(start.index(torch.tensor([2, 1, 0])))
    np.testing.assert_array_equal(env.step(actions[0])[0], twin.step(actions[0])[0])
