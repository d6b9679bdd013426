"""Any Gymnasium environment made restorable; each known trap has a test."""

import copy
import csv
import os

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces, wrappers
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor, VecNormalize

from rl_tracking.adapters import registry
from rl_tracking.adapters.build import RestorableGymVecEnv
from rl_tracking.adapters.freezing.comparing import without_clocks
from rl_tracking.adapters.gym_states import GymStates
from rl_tracking.errors import UsageError
from rl_tracking.restoring.check import check_restorable
from rl_tracking.restoring.protocol import NotRestorableError, Restorable, as_restorable
from tests.adapters import gym_toys as toys


def actions_for(env, steps, seed=0):
    space = copy.deepcopy(env.action_space)
    space.seed(seed)
    return [np.stack([space.sample() for _ in range(env.num_envs)]) for _ in range(steps)]


def bits(result):
    """All that a step returned, comparable; without the clock."""
    observation, reward, done, infos = result
    return _plain(observation), reward.tobytes(), done.tobytes(), _plain(infos)


def _plain(value):
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items() if name != "t"}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return (value.dtype, value.shape, value.tobytes()) if isinstance(value, np.ndarray | np.generic) else value


def play(env, actions):
    return [bits(env.step(action)) for action in actions]


def started(env, steps=5, seed=0):
    env.seed(seed)
    env.reset()
    play(env, actions_for(env, steps, seed=99))
    return env


def assert_faithful(env, steps=40):
    """Saved, played, put back, played again: here, in a sibling, and from bytes."""
    saved, actions = env.get_state(), actions_for(env, steps)
    first = play(env, actions)
    after = env.get_state()
    sibling = started(env.spawn(env.num_envs), 3, seed=7)
    for other, states in ((env, saved), (sibling, saved), (sibling, GymStates.from_bytes(saved.to_bytes()))):
        other.set_state(states)
        assert play(other, actions) == first
        changed = without_clocks(other.get_state().differences(after))
        assert changed == []


# -- snapshot strategies ----------------------------------------------------------------------------------------------

FIELDS, REPLAY = "a copy of its fields", "playing the episode again from its reset"
OWN, MUJOCO = "its own get_state and set_state", "MuJoCo's full state and a copy of its fields"


@pytest.mark.parametrize(
    ("make", "strategy"),
    [
        (toys.Drift, FIELDS),
        (toys.Pickled, FIELDS),
        (toys.InPlace, FIELDS),
        (toys.Growing, FIELDS),
        (toys.Own, OWN),
        (toys.Forgetful, FIELDS),
        (toys.Opaque, REPLAY),
        (lambda: gym.make("Acrobot-v1"), FIELDS),
        (lambda: gym.make("Hopper-v5"), MUJOCO),
        ("LunarLander-v3", REPLAY),
    ],
)
def test_the_first_strategy_that_passes_the_checks_is_selected(make, strategy):
    env = started(RestorableGymVecEnv(make, 2))
    assert env.strategy == strategy
    assert env.slow == (strategy == REPLAY)
    assert isinstance(env, Restorable)
    assert_faithful(env)
    report = check_restorable(env, steps=20)
    assert report.ok, str(report)
    env.close()


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (toys.GlobalNoise, "observation of step 1 is another, and it draws from NumPy's np.random, a generator"),
        (toys.PythonNoise, "it draws from Python's random, a generator that all of Python shares"),
        (toys.TorchNoise, "it draws from PyTorch's torch, a generator that all of Python shares"),
        (toys.ClassNoise, "ClassNoise.shared changes, and all worlds share it; keep it in self"),
        (toys.Stream, "Stream.numbers is a builtins.range_iterator, whose state cannot be read; playing the episode"),
    ],
)
def test_what_no_strategy_restores_is_refused_with_what_differs(make, reason):
    with pytest.raises(NotRestorableError) as caught:
        RestorableGymVecEnv(make)
    assert str(caught.value).startswith(f"{make.__name__} is not restorable; ")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_selection_does_not_change_global_generators():
    np.random.seed(3)
    expected = np.random.random()
    np.random.seed(3)
    with pytest.raises(NotRestorableError):
        RestorableGymVecEnv(toys.GlobalNoise)
    assert np.random.random() == expected


def test_the_selection_does_not_change_the_environment():
    env, untouched = toys.Pickled(), toys.Pickled()
    for world in (env, untouched):
        world.reset(seed=4)
        world.step(2)
    RestorableGymVecEnv(env)
    assert env.step(0)[0].tobytes() == untouched.step(0)[0].tobytes()


# -- traps ------------------------------------------------------------------------------------------------------------


def test_the_counter_of_the_time_limit_is_in_the_wrapper():
    env = RestorableGymVecEnv("Pendulum-v1", max_episode_steps=10)
    env.seed(0)
    env.reset()
    actions = actions_for(env, 10)
    play(env, actions[:7])
    saved = env.get_state()
    for _ in range(3):
        ends = [env.step(action)[2:] for action in actions[7:]]
        assert [bool(done[0]) for done, _ in ends] == [False, False, True]
        assert ends[-1][1][0]["TimeLimit.truncated"] is True
        env.set_state(saved)
    assert "TimeLimit._elapsed_steps" in saved.differences(started(env, 8).get_state())


def test_a_deepcopy_that_gives_a_fresh_environment_is_not_used():
    world = toys.Pickled(2.0)
    world.reset(seed=0)
    assert not hasattr(copy.deepcopy(world), "place")
    env = RestorableGymVecEnv(world, 2)
    assert [inner.unwrapped.strength for inner in env.envs] == [2.0, 2.0]
    assert_faithful(started(env))


def test_positions_and_velocities_alone_diverge_after_contact():
    env = started(RestorableGymVecEnv("Hopper-v5"), 12)
    world, diverged = env.envs[0].unwrapped, 0
    for seed in range(8):
        saved, actions = env.get_state(), actions_for(env, 10, seed=seed)
        qpos, qvel = world.data.qpos.copy(), world.data.qvel.copy()
        first = play(env, actions)
        world.set_state(qpos, qvel)
        diverged += play(env, actions) != first
        env.set_state(saved)
        assert play(env, actions) == first
    assert diverged > 0


def test_what_mujoco_derived_is_restored_too():
    env = started(RestorableGymVecEnv("Ant-v5"), 12)
    world, saved = env.envs[0].unwrapped, env.get_state()
    derived = {name: getattr(world.data, name).copy() for name in ("xpos", "xipos", "cfrc_ext", "subtree_com", "cvel")}
    play(env, actions_for(env, 5))
    env.set_state(saved)
    for name, numbers in derived.items():
        assert getattr(world.data, name).tobytes() == numbers.tobytes(), name


def test_siblings_get_a_model_that_was_changed_by_hand():
    world = registry.make("HalfCheetah-v5")
    world.unwrapped.model.body_mass[1] *= 2
    world.unwrapped.model.opt.gravity[2] = -3.0
    env = started(RestorableGymVecEnv(world))
    assert_faithful(env)
    sibling = env.spawn(1).envs[0].unwrapped
    assert sibling.model.body_mass.tobytes() == world.unwrapped.model.body_mass.tobytes()
    assert sibling.model.opt.gravity[2] == -3.0


@pytest.mark.parametrize("where", ["body_mass", "opt", "late"])
def test_a_model_that_changes_is_part_of_the_state(where):
    class Changing(gym.Wrapper):
        steps = 0

        def reset(self, **arguments):
            observation, info = self.env.reset(**arguments)
            self.steps = 0
            if where != "late":
                self._change()
            return observation, info

        def step(self, action):
            self.steps += 1
            if self.steps % 60 == 0:
                self._change()
            return self.env.step(action)

        def _change(self):
            model, number = self.unwrapped.model, self.np_random.random()
            if where == "opt":
                model.opt.gravity[2] = -5 - number
                model.opt.timestep = 0.01 + 0.001 * number
            else:
                model.body_mass[1] = 1 + number

    env = started(RestorableGymVecEnv(lambda: Changing(registry.make("HalfCheetah-v5"))))
    assert env.strategy == MUJOCO
    for _ in range(3):
        assert_faithful(env, 70)
        env.step(actions_for(env, 1)[0])
        env.reset()


def test_views_of_mujoco_memory_stay_views():
    class Seeing(gym.Wrapper):
        def __init__(self, env):
            super().__init__(env)
            self.qpos = self.unwrapped.data.qpos[:3]

        def step(self, action):
            result = self.env.step(action)
            return (*result[:4], {"qpos": self.qpos.copy()})

    assert_faithful(started(RestorableGymVecEnv(lambda: Seeing(gym.make("Hopper-v5")))))


def test_mujoco_does_not_write_its_warnings_for_every_sibling(capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    env = RestorableGymVecEnv("HalfCheetah-v5", 2)
    env.spawn(2).close()
    assert capfd.readouterr().err == ""
    assert os.listdir(tmp_path) == []


def test_a_renderer_is_not_copied(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    env = started(RestorableGymVecEnv(gym.make("CartPole-v1", render_mode="rgb_array")))
    before = env.get_state()
    assert env.render().shape[-1] == 3
    world = env.envs[0].unwrapped
    screen = world.screen
    assert screen is not None
    after = env.get_state()
    sibling = env.spawn(1)
    for states in (before, after):
        env.set_state(states)
        assert world.screen is screen
        sibling.set_state(states)
        assert getattr(sibling.envs[0].unwrapped, "screen", None) is None
    assert len(after.to_bytes()) < 4000
    env.close()


def test_a_window_is_not_opened_for_the_branches(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    env = RestorableGymVecEnv(gym.make("CartPole-v1", render_mode="human"))
    assert env.spawn(1).envs[0].render_mode is None
    env.close()


def test_a_monitor_does_not_see_the_branches(tmp_path):
    venv = make_vec_env("CartPole-v1", 2, seed=0, monitor_dir=str(tmp_path))
    monitors = list(venv.envs)
    env = as_restorable(venv)
    env.reset()
    sibling = env.spawn(6)
    episodes = [[], []]
    for action in actions_for(env, 120):
        sibling.set_state(env.get_state().repeat(3))
        play(sibling, actions_for(sibling, 30, seed=1))
        for world, info in enumerate(env.step(action)[3]):
            episodes[world] += [info["episode"]] if "episode" in info else []
    assert min(map(len, episodes)) >= 3
    for world, monitor in enumerate(monitors):
        assert monitor.get_episode_lengths() == [episode["l"] for episode in episodes[world]]
        rows = list(csv.DictReader((tmp_path / f"{world}.monitor.csv").read_text().splitlines()[1:]))
        assert [int(row["l"]) for row in rows] == monitor.get_episode_lengths()
        assert [float(row["r"]) for row in rows] == monitor.get_episode_rewards()
    env.close()


def test_the_return_of_an_episode_is_restored():
    env = started(RestorableGymVecEnv("Pendulum-v1", max_episode_steps=8), 4)
    saved, actions = env.get_state(), actions_for(env, 4)
    ends = []
    for _ in range(2):
        env.set_state(saved)
        ends.append([env.step(action)[3][0] for action in actions][-1]["episode"])
    assert ends[0]["r"] == ends[1]["r"] < 0
    assert ends[0]["l"] == ends[1]["l"] == 8


@pytest.mark.parametrize("wrapper", ["RecordVideo", "HumanRendering", "RenderCollection"])
def test_wrappers_that_act_on_the_world_outside_are_refused_by_name(wrapper, tmp_path, monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    env = gym.make("CartPole-v1", render_mode="rgb_array")
    arguments = {"video_folder": str(tmp_path), "disable_logger": True} if wrapper == "RecordVideo" else {}
    try:
        wrapped = getattr(wrappers, wrapper)(env, **arguments)
    except gym.error.DependencyNotInstalled:  # films need moviepy
        wrapped = type(wrapper, (gym.Wrapper,), {})(env)
    for given in (wrapped, DummyVecEnv([lambda: wrapped])):
        with pytest.raises(NotRestorableError, match=f"the wrapper {wrapper} of CartPole-v1 cannot be forked: it "):
            as_restorable(given)


def test_generators_are_restored_or_started_afresh():
    env = started(RestorableGymVecEnv("FrozenLake-v1", 3), 2)
    saved, actions = env.get_state(), actions_for(env, 30)
    outcomes = {}
    for name, states in (
        ("first", saved),
        ("again", saved),
        ("other", saved.reseeded(1)),
        ("other again", saved.reseeded(1)),
        ("third", saved.reseeded(2)),
    ):
        env.set_state(states)
        outcomes[name] = play(env, actions)
    assert outcomes["first"] == outcomes["again"]
    assert outcomes["other"] == outcomes["other again"]
    assert len({str(outcomes[name]) for name in ("first", "other", "third")}) == 3
    assert saved.reseeded(1).differences(saved) == ["FrozenLakeEnv._np_random"]


@pytest.mark.parametrize("name", ["FrozenLake-v1", "CartPole-v1"])
def test_independent_noise_follows_from_the_state_alone(name):
    env = RestorableGymVecEnv(name, 2, seed=3)
    env.reset()
    states = env.get_state()
    forked = states.forked(3)
    assert env.envs[0].observation_space.np_random.bit_generator.state  # asked for, and not drawn from
    assert env.get_state().forked(3)[2:].to_bytes() == forked[2:].to_bytes()
    assert type(states).from_bytes(states.to_bytes()).forked(3).to_bytes() == forked.to_bytes()


@pytest.mark.parametrize("make", [toys.Drift, toys.Own, toys.Opaque])
def test_forks_have_common_or_independent_noise(make):
    env = started(RestorableGymVecEnv(make, 2))
    sibling = env.spawn(6)
    still = [np.ones(6, dtype=int)] * 3
    sibling.set_state(env.fork(3, "common"))
    common = [sibling.step(action)[0].reshape(3, 2, -1) for action in still]
    sibling.set_state(env.fork(3, "independent"))
    independent = [sibling.step(action)[0].reshape(3, 2, -1) for action in still]
    assert all((step == step[:1]).all() for step in common)
    assert (independent[0][0] == common[0][0]).all()
    for world in range(2):
        assert len({independent[-1][branch, world].tobytes() for branch in range(3)}) == 3
    sibling.set_state(env.fork(3, "independent"))
    assert (sibling.step(still[0])[0].reshape(3, 2, -1) == independent[0]).all()
    with pytest.raises(UsageError, match="unknown noise of branches: 'loud'"):
        env.fork(2, "loud")


# -- wrappers ---------------------------------------------------------------------------------------------------------

WRAPPERS = {
    "frame stack": lambda env: wrappers.FrameStackObservation(env, 3),
    "normalised observation": wrappers.NormalizeObservation,
    "normalised reward": wrappers.NormalizeReward,
    "statistics": lambda env: wrappers.RecordEpisodeStatistics(env, buffer_length=5),
    "time-aware": wrappers.TimeAwareObservation,
    "delay": lambda env: wrappers.DelayObservation(env, 2),
    "sticky": lambda env: wrappers.StickyAction(env, 0.4),
    "skip": lambda env: wrappers.MaxAndSkipObservation(env, 2),
    "clipped": lambda env: wrappers.ClipReward(wrappers.RescaleAction(env, np.float32(-0.5), np.float32(0.5)), -1, 1),
    "rounded": lambda env: wrappers.TransformObservation(env, lambda seen: seen.round(2), env.observation_space),
    "monitor within": lambda env: wrappers.NormalizeReward(Monitor(env)),
}


@pytest.mark.parametrize("by", ["function", "instance"])
@pytest.mark.parametrize("name", WRAPPERS)
def test_wrappers_with_memory(name, by):
    def make():
        return WRAPPERS[name](gym.make("Pendulum-v1", max_episode_steps=12))

    env = started(RestorableGymVecEnv(make if by == "function" else make(), 2), 17)
    assert env.strategy == FIELDS
    assert_faithful(env)


@pytest.mark.parametrize("by", ["function", "instance"])
def test_a_sibling_has_its_own_function_that_a_wrapper_makes_of_its_environment(by):
    """``FlattenObservation`` asks the environment that it was made around for its space."""

    def make():
        return wrappers.FlattenObservation(wrappers.FrameStackObservation(gym.make("Pendulum-v1"), 2))

    env = started(RestorableGymVecEnv(make if by == "function" else make(), 2), 5)
    assert env.observation_space.shape == (6,)
    assert_faithful(env)


def test_a_function_set_by_hand_that_uses_the_environment_is_refused():
    def make():
        env = gym.make("Pendulum-v1")
        return wrappers.TransformObservation(env, lambda seen: seen + env.unwrapped.g, env.observation_space)

    with pytest.raises(NotRestorableError, match=r"TransformObservation.func is a function that uses the environment"):
        RestorableGymVecEnv(make())
    assert_faithful(started(RestorableGymVecEnv(make)))


def test_worlds_that_differ_in_what_is_not_saved_are_refused():
    maps = [gym.make("FrozenLake-v1", desc=desc) for desc in (["SFF", "FHF", "FFG"], ["SFF", "FFH", "FFG"])]
    with pytest.raises(NotRestorableError, match=r"differ in FrozenLakeEnv\.\w+, which is not saved"):
        as_restorable(DummyVecEnv([lambda: maps[0], lambda: maps[1]]))

    def scaled(scale):
        env = gym.make("Pendulum-v1")
        return wrappers.TransformReward(env, lambda reward: reward * scale)

    with pytest.raises(NotRestorableError, match=r"differ in TransformReward\.func"):
        as_restorable(DummyVecEnv([lambda: scaled(1), lambda: scaled(2)]))
    assert_faithful(started(as_restorable(DummyVecEnv([lambda: scaled(2), lambda: scaled(2)]))))
    cheetahs = [registry.make("HalfCheetah-v5") for _ in range(2)]
    cheetahs[1].unwrapped.model.opt.gravity[2] = -1.0
    with pytest.raises(NotRestorableError, match=r"differ in HalfCheetahEnv\.model"):
        as_restorable(DummyVecEnv([lambda: cheetahs[0], lambda: cheetahs[1]]))
    with pytest.raises(NotRestorableError, match="differ in their wrappers"):
        as_restorable(DummyVecEnv([lambda: gym.make("CartPole-v1"), lambda: gym.make("Pendulum-v1")]))


def test_worlds_that_differ_in_what_is_saved_are_accepted():
    worlds = [gym.make("Pendulum-v1", g=g) for g in (9.0, 2.0)]
    assert_faithful(started(as_restorable(DummyVecEnv([lambda: worlds[0], lambda: worlds[1]]))))


def test_siblings_get_a_function_that_was_set_by_hand():
    world = gym.make("Pendulum-v1")
    world.unwrapped.bonus = lambda: 3.0
    env = RestorableGymVecEnv(world)
    assert env.spawn(1).envs[0].unwrapped.bonus() == 3.0


def test_an_environment_that_cannot_be_built_again_is_refused():
    class Single(toys.Drift):
        def __init__(self, size=1):
            super().__init__()

        def __deepcopy__(self, memo):
            raise TypeError("there is only one")

    with pytest.raises(NotRestorableError, match=r"no second Single can be built \(TypeError: there is only one\)"):
        RestorableGymVecEnv(Single())
    assert RestorableGymVecEnv(Single, 2).num_envs == 2


def test_a_table_named_by_its_class_is_not_saved():
    class Tabled(toys.Drift):
        constant_fields = ("table",)

        def __init__(self):
            super().__init__()
            self.table = {index: [index] for index in range(5000)}

    env = started(RestorableGymVecEnv(Tabled()))
    assert len(env.get_state().to_bytes()) < 4000
    assert env.spawn(1).envs[0].unwrapped.table is env.envs[0].unwrapped.table
    assert_faithful(env)


# -- as SB3 -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1", "Taxi-v4", "Blackjack-v1", "HalfCheetah-v5"])
def test_it_steps_as_a_dummy_vec_env_of_monitored_worlds(env_id):
    def make():
        return Monitor(registry.make(env_id, max_episode_steps=25))

    env, plain = RestorableGymVecEnv(env_id, 3, max_episode_steps=25), DummyVecEnv([make] * 3)
    for venv in (env, plain):
        venv.seed(11)
    assert _plain(env.reset()) == _plain(plain.reset())
    ends = 0
    for action in actions_for(env, 60):
        mine, theirs = env.step(action), plain.step(action)
        assert bits(mine) == bits(theirs)
        assert mine[1].dtype == np.float32
        ends += sum("terminal_observation" in info for info in mine[3])
    assert ends >= 6
    assert env.observation_space == plain.observation_space


def test_returned_arrays_share_no_memory_with_the_environment():
    env = RestorableGymVecEnv(toys.InPlace, 2)
    env.seed(0)
    first = env.reset()
    saved = env.get_state()
    kept = saved.to_bytes()
    results, texts = [], []
    for action in actions_for(env, 15):
        results.append(env.step(action))
        texts.append(str(bits(results[-1])))
    assert any("terminal_observation" in info for result in results for info in result[3])
    after = env.get_state().to_bytes()
    first[:] = 7
    env.set_state(saved)
    play(env, actions_for(env, 5, seed=3))
    assert [str(bits(result)) for result in results] == texts
    assert saved.to_bytes() == kept
    env.set_state(GymStates.from_bytes(after))
    for observation, reward, done, infos in results:
        observation[:], reward[:], done[:] = 7, 7, True
        infos[0]["trail"].append(7)
    assert env.get_state().to_bytes() == after


def test_the_worlds_of_a_dummy_vec_env_are_adapted():
    venv = make_vec_env("CartPole-v1", 2, seed=5)
    expected = make_vec_env("CartPole-v1", 2, seed=5)
    env = as_restorable(venv)
    assert type(env) is RestorableGymVecEnv
    assert [inner.unwrapped for inner in env.envs] == [inner.unwrapped for inner in venv.envs]
    assert env.env_is_wrapped(Monitor) == [True, True]
    assert env.reset().tobytes() == expected.reset().tobytes()
    assert_faithful(env)


def test_wrappers_of_sb3_stay_around_it():
    env = VecNormalize(VecMonitor(DummyVecEnv([lambda: gym.make("Pendulum-v1")] * 2)))
    assert as_restorable(env) is env
    assert type(env.unwrapped) is RestorableGymVecEnv
    assert as_restorable(env) is env
    env.reset()
    env.step(actions_for(env, 1)[0])


def test_any_form_of_an_environment_will_do():
    assert as_restorable("CartPole-v1").num_envs == 1
    world = gym.make("CartPole-v1")
    assert as_restorable(world).envs[0].unwrapped is world.unwrapped
    env = RestorableGymVecEnv("CartPole-v1", num_envs=3, seed=2)
    assert env.max_episode_steps == 500
    assert [seed is not None for seed in env._seeds] == [True] * 3
    assert env.spawn(5).num_envs == 5


@pytest.mark.parametrize(
    "space",
    [
        spaces.Dict(a=spaces.Box(-1, 1, (2,)), b=spaces.Discrete(5)),
        spaces.Tuple((spaces.Box(-1, 1, (2,)), spaces.MultiBinary(3))),
        spaces.MultiDiscrete([3, 4]),
        spaces.Box(0, 255, (4, 4, 1), np.uint8),
        spaces.Discrete(7),
    ],
    ids=lambda space: type(space).__name__,
)
def test_observations_of_any_space(space):
    env = started(RestorableGymVecEnv(lambda: toys.Spaces(space), 2))
    assert_faithful(env)
    report = check_restorable(env, steps=20)
    assert report.ok, str(report)


# -- states as values -------------------------------------------------------------------------------------------------


def test_states_are_a_value():
    env = started(RestorableGymVecEnv("CartPole-v1", 3))
    states = env.get_state()
    assert len(states) == 3
    assert [len(states[1]), len(states[1:]), len(states[[0, 2]]), len(states[np.array([True, False, True])])] == [
        1,
        2,
        2,
        2,
    ]
    assert states[-1].differences(states[2]) == []
    assert states[0].differences(states[1]) == [
        "CartPoleEnv._np_random",
        "CartPoleEnv._np_random_seed",
        "CartPoleEnv.state",
    ]
    repeated = states.repeat(2)
    assert repeated[:3].differences(states) == repeated[3:].differences(states) == []
    assert states.differences(repeated) == ["3 worlds are not 6"]
    assert states.differences(None) == ["GymStates is not NoneType"]
    assert GymStates.from_bytes(repeated.to_bytes()).differences(repeated) == []
    with pytest.raises(ValueError, match="1 time or more, not 0"):
        states.repeat(0)
    with pytest.raises(ValueError, match="no saved"):
        GymStates.from_bytes(b"rubbish")


def test_bytes_are_restored_in_another_env_of_the_same_environment():
    env, other = (started(RestorableGymVecEnv("Hopper-v5", 2), seed=seed) for seed in (0, 1))
    fresh = RestorableGymVecEnv("Hopper-v5", 2)
    data, actions = env.get_state().to_bytes(), actions_for(env, 20)
    expected = play(env, actions)
    for venv in (other, fresh):
        venv.set_state(GymStates.from_bytes(data))
        assert play(venv, actions) == expected


def test_restoring_a_state_without_a_field_removes_the_field():
    env = started(RestorableGymVecEnv(toys.Growing), 2)
    world, before = env.envs[0].unwrapped, env.get_state()
    kept = before.to_bytes()
    play(env, [np.array([1])] * 3)
    assert world.later == 7.0
    after = env.get_state()
    for early, late in ((before, after), (GymStates.from_bytes(kept), GymStates.from_bytes(after.to_bytes()))):
        env.set_state(early)
        assert not hasattr(world, "later")
        env.set_state(late)
        assert world.later == 7.0
    assert before.to_bytes() == kept


def test_states_of_something_else_are_refused():
    env, other = started(RestorableGymVecEnv("CartPole-v1")), started(RestorableGymVecEnv("Pendulum-v1"))
    with pytest.raises(UsageError, match="set_state takes GymStates, not a dict"):
        env.set_state({})
    with pytest.raises(UsageError, match="set_state takes 1 worlds, not 2"):
        env.set_state(env.get_state().repeat(2))
    with pytest.raises(UsageError, match="these states are of another environment than CartPole-v1"):
        env.set_state(other.get_state())
    with pytest.raises(UsageError, match="another environment than Hopper-v5"):
        RestorableGymVecEnv("Hopper-v5").set_state(other.get_state())


def test_bad_arguments_are_named():
    with pytest.raises(UsageError, match="num_envs must be 1 or more, not 0"):
        RestorableGymVecEnv("CartPole-v1", 0)
    with pytest.raises(UsageError, match=r"no environment 'CartPol-v1'; did you mean 'CartPole-v1'\?"):
        RestorableGymVecEnv("CartPol-v1")
    with pytest.raises(UsageError, match=r"parameters \(gravity\) go with an id"):
        RestorableGymVecEnv(toys.Drift, gravity=1)


def test_a_replay_that_leads_to_another_state_is_an_error():
    env = started(RestorableGymVecEnv(toys.Opaque))
    states = env.get_state()
    env.step(np.array([0]))
    env.envs[0].unwrapped.noise = lambda: 0.5
    with pytest.raises(NotRestorableError, match="Opaque cannot be restored: played again, it came out with another"):
        env.set_state(states)


def test_a_replay_makes_only_the_new_steps_after_the_same_past(monkeypatch):
    env = started(RestorableGymVecEnv(toys.Opaque))
    sibling, steps, step = env.spawn(1), [], toys.Opaque.step

    def counted(world, action):
        if world is sibling.envs[0].unwrapped:
            steps.append(action)
        return step(world, action)

    monkeypatch.setattr(toys.Opaque, "step", counted)
    sibling.set_state(env.get_state())
    assert len(steps) == 5
    action = np.array([2])
    env.step(action)
    sibling.set_state(env.get_state())
    sibling.set_state(env.get_state())
    assert len(steps) == 6
    sibling.step(action)
    env.step(action)
    sibling.set_state(env.get_state())
    assert len(steps) == 7
    sibling.step(np.array([0]))
    env.step(action)
    sibling.set_state(env.get_state())
    assert len(steps) == 8 + 8


def test_a_replay_starts_again_after_a_past_with_other_noise():
    """The same actions after other random numbers lead elsewhere."""
    env = started(RestorableGymVecEnv(toys.Opaque, 1))
    sibling, action = env.spawn(1), np.ones(1, dtype=int)
    sibling.set_state(env.fork(2, "independent")[1])
    sibling.step(action)
    astray = sibling.get_state()
    env.step(action)
    for states in (env.get_state(), env.get_state().reseeded(5), astray):
        fresh = env.spawn(1)
        results = []
        for other in (sibling, fresh):
            other.set_state(states)
            results.append(play(other, [action] * 3))
        assert results[0] == results[1]
