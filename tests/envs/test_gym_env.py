"""One world as `gymnasium.Env` and many as `gymnasium.vector.VectorEnv`. Any warning is a failure here."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.utils.env_match import check_environments_match
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.env_checker import check_env as sb3_check_env

import rl_tracking
from rl_tracking.envs.gym_env import TrackingEnv, TrackingVectorEnv
from rl_tracking.envs.vec_env import TrackingVecEnv, make_vec
from rl_tracking.errors import UsageError

ID = "rl_tracking/Pursuit-v0"
VARIANTS = {
    "drone": {},
    "windy": {"wind_speed": 2.0, "max_steps": 30},
    "sandbox": {"preset": "sandbox"},
    "flat": {"dimensions": 2, "pursuers": 2},
}


def actions(steps, size=3, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (steps, size)).astype(np.float32)


def trace(env, steps):
    """Everything an env returns over some steps; it is reset where it ends."""
    seen = []
    for action in steps:
        observation, reward, terminated, truncated, info = env.step(action)
        seen.append((observation.tobytes(), reward, terminated, truncated, info))
        if terminated or truncated:
            seen.append(env.reset()[0].tobytes())
    return seen


@pytest.mark.parametrize("name", VARIANTS)
class TestCheckers:
    def test_gymnasium(self, name):
        check_env(gym.make(ID, **VARIANTS[name]).unwrapped, skip_render_check=True)

    def test_stable_baselines(self, name):
        sb3_check_env(gym.make(ID, **VARIANTS[name]), warn=True)

    def test_two_of_the_same_seed_are_the_same(self, name):
        first, second = gym.make(ID, **VARIANTS[name]), gym.make(ID, **VARIANTS[name])
        check_environments_match(first, second, num_steps=60, seed=5)

    def test_passive_checker_finds_nothing(self, name):
        env = gym.make(ID, disable_env_checker=False, **VARIANTS[name])
        env.reset(seed=0)
        env.action_space.seed(0)
        for _ in range(40):
            if any(env.step(env.action_space.sample())[2:4]):
                env.reset()


class TestTrackingEnv:
    def test_the_id_is_registered(self):
        env = gym.make(ID, preset="sandbox")
        assert isinstance(env.unwrapped, TrackingEnv)
        assert env.observation_space.shape == (54,)
        assert env.spec.max_episode_steps is None, "the time limit is part of the state, not of a wrapper"

    def test_types(self):
        env = TrackingEnv("pursuit")
        observation, info = env.reset(seed=0)
        assert (observation.shape, observation.dtype, info) == ((18,), np.float32, {})
        observation, reward, terminated, truncated, info = env.step(np.zeros(3))
        assert observation.dtype == np.float32
        assert type(reward) is float
        assert type(terminated) is type(truncated) is bool
        assert set(info) == {
            "distance",
            "in_radius",
            "captured",
            "is_success",
            "reward/progress",
            "reward/proximity",
            "reward/effort",
        }
        assert sum(value for name, value in info.items() if name.startswith("reward/")) == pytest.approx(reward)
        offset = env.get_state().target_position - env.get_state().position[:, 0]
        assert info["distance"] == pytest.approx(offset.norm().item(), rel=1e-6)

    def test_is_the_first_world_of_the_batch(self):
        env, batch = (
            TrackingEnv("pursuit", wind_speed=2.0, max_steps=15),
            make_vec("pursuit", 3, 9, wind_speed=2.0, max_steps=15),
        )
        assert env.reset(seed=9)[0].tobytes() == batch.reset()[0].tobytes()
        for action in actions(40):
            observation, reward, terminated, truncated, _ = env.step(action)
            rows, rewards, done, infos = batch.step(np.stack([action] * 3))
            assert reward == rewards[0]
            assert (terminated or truncated) == done[0]
            if done[0]:
                assert observation.tobytes() == infos[0]["terminal_observation"].tobytes()
                observation = env.reset()[0]
            assert observation.tobytes() == rows[0].tobytes()

    def test_meets_walls_as_the_batch_does(self):
        cramped = {"arena_size": 12.0, "target_spawn_size": 6.0, "wind_speed": 1.0, "max_steps": 300}
        env, batch = TrackingEnv("pursuit", **cramped), make_vec("pursuit", 2, 4, **cramped)
        env.reset(seed=4)
        batch.reset()
        at_wall = {"position": 0, "target_position": 0}
        for action in actions(200):
            env.step(action)
            batch.step(np.stack([action] * 2))
            assert env.get_state().equal(batch.get_state()[0])
            for name in at_wall:
                place = getattr(env.get_state(), name)
                at_wall[name] += bool(((place == 0) | (place == 12)).any())
        assert min(at_wall.values()) > 5, "pursuer and target met walls, and were away from them"
        assert max(at_wall.values()) < 195

    def test_seeds(self):
        env = TrackingEnv("pursuit", **VARIANTS["windy"])
        first = env.reset(seed=3)[0]
        seen = trace(env, actions(70))
        assert env.reset()[0].tobytes() != first.tobytes(), "without a seed the next episode"
        assert env.reset(seed=3)[0].tobytes() == first.tobytes()
        assert trace(env, actions(70)) == seen
        assert env.reset(seed=4)[0].tobytes() != first.tobytes()

    def test_ends(self):
        env = TrackingEnv("pursuit", max_steps=3)
        env.reset(seed=0)
        assert [env.step(action)[2:4] for action in actions(3)] == [(False, False), (False, False), (False, True)]
        env = TrackingEnv("pursuit", capture_terminates=True, spawn="at-target", motion="stationary")
        env.reset(seed=0)
        assert env.step(np.zeros(3))[2:4] == (True, False)

    def test_episodes_are_counted_from_the_seed_on(self):
        env = TrackingEnv("pursuit")
        counts = []
        for seed in (None, None, None, 4, None):
            env.reset(seed=seed)
            counts.append(env.get_state().episode.item())
        assert counts == [0, 1, 2, 0, 1]

    def test_without_a_seed_each_is_another_world(self):
        assert TrackingEnv("pursuit").reset()[0].tobytes() != TrackingEnv("pursuit").reset()[0].tobytes()

    def test_get_and_set_state(self):
        env = TrackingEnv("pursuit", **VARIANTS["windy"])
        env.reset(seed=0)
        trace(env, actions(12))
        saved = env.get_state()
        observation = env.simulator.observation(saved)[0].numpy().tobytes()
        first = trace(env, actions(50, seed=1))
        assert env.set_state(saved).tobytes() == observation
        assert trace(env, actions(50, seed=1)) == first

    def test_states_move_between_one_world_and_many(self):
        env = TrackingEnv("pursuit", **VARIANTS["windy"])
        env.reset(seed=0)
        trace(env, actions(5))
        batch = env.to_vec(2, seed=1)
        assert isinstance(batch, TrackingVecEnv)
        batch.set_state(env.get_state().repeat(2))
        env.step(np.ones(3))
        batch.step(np.ones((2, 3)))
        assert batch.get_state()[1].equal(env.get_state())
        batch.step(np.ones((2, 3)))
        env.set_state(batch.get_state()[0])
        assert env.get_state().step.item() == 7
        env.step(np.zeros(3))

    def test_its_observation_is_the_callers_own(self):
        env = TrackingEnv("pursuit", preset="sandbox")
        observation, _ = env.reset(seed=0)
        kept = env.get_state().to_bytes()
        observation[:] = 7
        assert env.get_state().to_bytes() == kept
        observation = env.step(np.ones(3))[0]
        kept = env.get_state().to_bytes()
        observation[:] = 7
        assert env.get_state().to_bytes() == kept

    @pytest.mark.parametrize("shape", [(), (2,), (1, 3), (4,)])
    def test_actions_of_another_shape(self, shape):
        env = TrackingEnv("pursuit")
        env.reset(seed=0)
        with pytest.raises(UsageError, match=r"expected \[3\]"):
            env.step(np.zeros(shape))

    @pytest.mark.parametrize("number", [np.nan, np.inf])
    def test_actions_that_are_not_finite(self, number):
        env = TrackingEnv("pursuit")
        env.reset(seed=0)
        kept = env.get_state()
        with pytest.raises(UsageError, match="not finite"):
            env.step(np.array([0, number, 0]))
        assert env.get_state() is kept

    def test_reset_comes_first(self):
        with pytest.raises(UsageError, match="reset"):
            TrackingEnv("pursuit").step(np.zeros(3))
        with pytest.raises(UsageError, match="reset"):
            TrackingEnv("pursuit").get_state()

    def test_states_that_do_not_fit(self):
        env = TrackingEnv("pursuit")
        env.reset(seed=0)
        for wrong in (None, env.get_state().repeat(2)):
            with pytest.raises(UsageError, match="set_state takes a PursuitState of one world"):
                env.set_state(wrong)

    def test_it_draws_nothing(self):
        with pytest.raises(UsageError, match="render_mode 'human' is not supported"):
            TrackingEnv("pursuit", render_mode="human")

    def test_unknown_parameters(self):
        with pytest.raises(UsageError, match="did you mean 'pursuers'"):
            gym.make(ID, pursuer=2)


class TestTrackingVectorEnv:
    def test_make_vec_gives_the_native_one(self):
        envs = gym.make_vec(ID, num_envs=5, wind_speed=1.0)
        assert isinstance(envs.unwrapped, TrackingVectorEnv)
        assert envs.num_envs == 5
        assert envs.single_observation_space.shape == (18,)
        assert envs.observation_space.shape == (5, 18)
        assert envs.action_space.shape == (5, 3)
        assert envs.metadata["autoreset_mode"] == AutoresetMode.SAME_STEP
        observation, infos = envs.reset(seed=0)
        assert envs.observation_space.contains(observation)
        assert infos == {}
        envs.action_space.seed(0)
        observation, reward, terminated, truncated, infos = envs.step(envs.action_space.sample())
        assert envs.observation_space.contains(observation)
        assert (reward.shape, terminated.dtype, truncated.dtype, infos) == ((5,), np.bool_, np.bool_, {})
        envs.close()

    def test_same_step_autoreset(self):
        envs = gym.make_vec(ID, num_envs=3, max_steps=4)
        batch = make_vec("pursuit", 3, seed=2, max_steps=4)
        observation, _ = envs.reset(seed=2)
        assert observation.tobytes() == batch.reset().tobytes()
        for count, action in enumerate(actions(9, 9).reshape(9, 3, 3), start=1):
            observation, reward, terminated, truncated, infos = envs.step(action)
            rows, rewards, _, sb3_infos = batch.step(action)
            assert observation.tobytes() == rows.tobytes()
            assert reward.tobytes() == rewards.tobytes()
            assert not terminated.any()
            assert truncated.tolist() == [count % 4 == 0] * 3
            if truncated.any():
                assert infos["_final_obs"].tolist() == [True] * 3
                for final, info in zip(infos["final_obs"], sb3_infos, strict=True):
                    assert final.tobytes() == info["terminal_observation"].tobytes()
                    assert final.tobytes() != observation[0].tobytes()
            else:
                assert infos == {}

    def test_final_observations_of_some_worlds(self):
        envs = TrackingVectorEnv("pursuit", num_envs=64, capture_terminates=True, spawn="near", spawn_radius=4.0)
        envs.reset(seed=0)
        _, _, terminated, truncated, infos = envs.step(np.zeros((64, 3)))
        assert 0 < terminated.sum() < 64
        assert not truncated.any()
        assert infos["_final_obs"].tolist() == terminated.tolist()
        assert [final is not None for final in infos["final_obs"]] == terminated.tolist()

    def test_meets_walls_as_the_batch_does(self):
        cramped = {"arena_size": 12.0, "target_spawn_size": 6.0, "wind_speed": 1.0, "max_steps": 300}
        env, batch = TrackingEnv("pursuit", **cramped), make_vec("pursuit", 2, 4, **cramped)
        env.reset(seed=4)
        batch.reset()
        at_wall = {"position": 0, "target_position": 0}
        for action in actions(200):
            env.step(action)
            batch.step(np.stack([action] * 2))
            assert env.get_state().equal(batch.get_state()[0])
            for name in at_wall:
                place = getattr(env.get_state(), name)
                at_wall[name] += bool(((place == 0) | (place == 12)).any())
        assert min(at_wall.values()) > 5, "pursuer and target met walls, and were away from them"
        assert max(at_wall.values()) < 195

    def test_seeds(self):
        envs = gym.make_vec(ID, num_envs=4, **VARIANTS["windy"])
        first = envs.reset(seed=1)[0].tobytes()
        assert envs.reset()[0].tobytes() != first
        assert envs.reset(seed=2)[0].tobytes() != first
        assert envs.reset(seed=1)[0].tobytes() == first
        with pytest.raises(UsageError, match="give one seed"):
            envs.reset(seed=[1, 2, 3, 4])

    def test_get_and_set_state(self):
        envs = gym.make_vec(ID, num_envs=4, **VARIANTS["windy"]).unwrapped
        envs.reset(seed=1)
        saved = envs.get_state()
        batches = actions(40, 12).reshape(40, 4, 3)
        first = [envs.step(action)[0].tobytes() for action in batches]
        envs.set_state(saved)
        assert [envs.step(action)[0].tobytes() for action in batches] == first

    def test_gymnasium_wrappers_work_around_it(self):
        envs = gym.wrappers.vector.RecordEpisodeStatistics(gym.make_vec(ID, num_envs=3, max_steps=5))
        envs.reset(seed=0)
        total = np.zeros(3)
        for action in actions(5, 9).reshape(5, 3, 3):
            _, reward, _, _, infos = envs.step(action)
            total += reward
        assert infos["episode"]["l"].tolist() == [5, 5, 5]
        assert infos["episode"]["r"] == pytest.approx(total, abs=1e-4)

    def test_it_draws_nothing(self):
        with pytest.raises(UsageError, match="render_mode 'rgb_array' is not supported"):
            TrackingVectorEnv("pursuit", 2, render_mode="rgb_array")


def test_make_vec_is_offered_by_the_package():
    assert rl_tracking.make_vec("pursuit", num_envs=2, seed=0, preset="drone").num_envs == 2
