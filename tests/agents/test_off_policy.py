"""SAC, TQC and CrossQ are the libraries' own: that they can be set, built, run, saved and evaluated as the others."""

import inspect

import gymnasium as gym
import numpy as np
import pytest
from sb3_contrib import TQC, CrossQ
from stable_baselines3 import SAC
from stable_baselines3.common.vec_env import DummyVecEnv

from rl_tracking import load_policy, make_vec
from rl_tracking.agents.arguments import ALGORITHMS, NO_SETTINGS, is_off_policy, settable
from rl_tracking.agents.saving import checkpoint, policy_spec
from rl_tracking.errors import RunError, SettingWarning, UsageError
from rl_tracking.runs.build import build
from rl_tracking.runs.evaluate import evaluate
from rl_tracking.runs.settings import resolve
from rl_tracking.runs.tasks import make_task
from rl_tracking.runs.train import train
from tests.agents.toys import one_line

CLASSES = {"sac": SAC, "tqc": TQC, "crossq": CrossQ}
TINY = ["num_envs=4", "train_freq=2", "gradient_steps=2", "batch_size=16", "learning_starts=32", "net_arch=[16]"]


def settings(algo, *pairs, steps=96, **given):
    pairs = ["buffer_size=2_000", *([] if "env" in given else ["max_steps=10", "normalize=false"]), *TINY, *pairs]
    return resolve(given={"algo": algo, "steps": steps, **given}, pairs=pairs)


@pytest.mark.parametrize("algo", CLASSES)
def test_a_run_writes_its_folder_and_its_policy_acts_as_the_model(algo, tmp_path):
    told = settings(algo)
    reports = []
    result = train(told, tmp_path / "run", episodes=5, on_progress=reports.append)
    assert {"checkpoint.zip", "best.zip", "config.toml", "metrics.csv"} <= {
        file.name for file in (tmp_path / "run").iterdir()
    }
    assert (result.macro_steps, result.simulator_steps, reports[-1].macro_steps) == (96, 96, 96)
    assert result.evaluations[0]["policy"] == CLASSES[algo].__name__
    assert resolve(file=tmp_path / "run" / "config.toml") == told
    model = CLASSES[algo].load(result.path)  # the library's own, which opens its pickles
    assert (model.num_timesteps, model._n_updates) == (96, 2 * (96 - 32) // 8)
    policy = load_policy(result.path)
    assert (policy.description["algorithm"], policy.description["simulator_steps"]) == (CLASSES[algo].__name__, 96)
    assert policy.description["hyper_parameters"]["train_freq"] == 2
    seen = np.random.default_rng(0).normal(size=(9, *model.observation_space.shape)).astype(np.float32)
    np.testing.assert_array_equal(
        policy.predict(seen, deterministic=True)[0], model.predict(seen, deterministic=True)[0]
    )
    assert evaluate(result.path, 5, task=told.task()) == evaluate(model, 5, task=told.task())


@pytest.mark.parametrize("algo", CLASSES)
def test_a_gymnasium_environment_with_and_without_normalisation(algo, tmp_path):
    for normalize in ("true", "false"):
        told = settings(algo, f"normalize={normalize}", env="Pendulum-v1")
        result = train(told, tmp_path / normalize, episodes=2)
        loaded = evaluate(result.path, 2, task=told.task())
        assert (normalize == "true") is (load_policy(result.path)._normalizer is not None)
        assert loaded["return"] == result.evaluations[0]["return"]


def test_figures_are_written_after_an_episode_of_each_world(tmp_path):
    train(settings("sac", "normalize=true", steps=160), tmp_path / "run", episodes=1)
    header, *rows = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
    assert {"rollout/ep_rew_mean", "time/total_timesteps", "train/ent_coef"} <= set(header.split(","))
    place = header.split(",").index("time/total_timesteps")
    assert [row.split(",")[place] for row in rows] == ["40", "80", "120", "160", ""]


# -- what the replay buffer stores ------------------------------------------------------------------------------------


@pytest.mark.parametrize("normalize", [False, True])
def test_an_episode_that_is_cut_is_not_an_end_and_its_last_observation_is_stored(normalize):
    pairs = [f"normalize={str(normalize).lower()}", "learning_starts=1000"]
    model = build(settings("sac", *pairs, steps=2000))
    env, last = model.env.unwrapped, {}
    step = env.step_wait

    def step_wait():
        observation, reward, done, infos = step()
        for world, info in enumerate(infos):
            if done[world]:
                last[world, model.num_timesteps // 4] = info["terminal_observation"].copy(), info
        return observation, reward, done, infos

    env.step_wait = step_wait
    model.learn(160)
    buffer = model.replay_buffer
    assert len(last) == 16  # four worlds, episodes of ten steps
    for (world, row), (observation, info) in last.items():
        assert info["TimeLimit.truncated"] is True
        np.testing.assert_allclose(buffer.next_observations[row, world], observation, rtol=1e-4, atol=1e-4)
        assert (buffer.dones[row, world], buffer.timeouts[row, world]) == (1, 1)
    # What the critic learns from bootstraps there.
    assert float(buffer.sample(200, env=model.get_vec_normalize_env()).dones.sum()) == 0
    follows = buffer.dones[:-1][: buffer.pos - 1] == 0
    np.testing.assert_array_equal(
        buffer.next_observations[: buffer.pos - 1][follows], buffer.observations[1 : buffer.pos][follows]
    )


def test_a_capture_that_ends_the_episode_is_an_end():
    model = build(settings("sac", "spawn=at-target", "capture_terminates=true"))
    model.learn(40)
    buffer = model.replay_buffer
    assert (buffer.dones[: buffer.pos] > buffer.timeouts[: buffer.pos]).any()


def test_actions_are_stored_between_minus_one_and_one_and_executed_within_the_space():
    model = build(settings("tqc", env="Pendulum-v1"))
    model.learn(96)
    stored = model.replay_buffer.actions[: model.replay_buffer.pos]
    assert np.abs(stored).max() <= 1
    assert np.abs(model.policy.unscale_action(stored)).max() > 1  # Pendulum takes from -2 to 2


# -- settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algo", CLASSES)
def test_every_argument_of_the_constructor_is_declared(algo):
    name, declared = ALGORITHMS[algo]
    taken = set(inspect.signature(CLASSES[algo].__init__).parameters) - {"self", "policy", "env"}
    assert name == CLASSES[algo].__name__
    assert taken == set(declared.__annotations__) - {"recipe"}
    known = settable(algo)
    assert not set(NO_SETTINGS) & set(known)
    assert is_off_policy(algo)


def test_arguments_reach_the_model():
    model = build(settings("tqc", "n_steps=3", "ent_coef=auto_0.2", "n_quantiles=7", "n_critics=3", "tau=0.02"))
    assert (model.n_steps, model.tau, model.critic.n_quantiles, model.critic.n_critics) == (3, 0.02, 7, 3)
    assert float(model.log_ent_coef.detach().exp()) == pytest.approx(0.2)
    model = build(settings("crossq", "policy_delay=2", "renorm_warmup_steps=5", "net_arch={pi = [8], qf = [12]}"))
    assert (model.policy_delay, model.policy.net_arch) == (2, {"pi": [8], "qf": [12]})
    model = build(settings("sac", "learning_rate=linear:1e-2:1e-3", "activation_fn=ELU"))
    assert (model.lr_schedule(1.0), model.lr_schedule(0.0)) == pytest.approx((0.01, 0.001))


@pytest.mark.parametrize("algo", CLASSES)
@pytest.mark.parametrize("place", [{"preset": "drone"}, {"preset": "sandbox"}, {"env": "Pendulum-v1"}])
def test_their_defaults_resolve_and_build(algo, place):
    chosen = resolve(given={"algo": algo, **place}, pairs=["num_envs=2"])
    assert "learning_starts" in chosen.arguments
    assert isinstance(build(chosen), CLASSES[algo])


def test_a_recipe_says_whether_a_run_is_normalised_and_a_setting_overrules_it():
    chosen = {algo: resolve(given={"algo": algo, "preset": "sandbox"}).normalize for algo in ("sac", "crossq", "ppo")}
    assert chosen == {"sac": True, "crossq": True, "ppo": False}
    assert resolve(given={"algo": "sac", "preset": "drone"}).normalize is False
    assert resolve(given={"algo": "sac", "preset": "sandbox"}, pairs=["normalize=false"]).normalize is False
    assert resolve(given={"algo": "sac", "env": "Pendulum-v1"}).normalize is False


@pytest.mark.parametrize(
    ("algo", "pairs", "given", "text"),
    [
        (
            "sac",
            [],
            {"env": "CartPole-v1"},
            r"sac takes Box actions alone, and those of environment 'CartPole-v1' are ",
        ),
        ("crossq", [], {"env": "CartPole-v1"}, r"Discrete\(2\); use --algo hybrid-grpo or ppo$"),
        ("sac", ["clip_range=0.2"], {}, "sac has no clip_range, hybrid-grpo, grpo and ppo have"),
        ("sac", ["policy_delay=2"], {}, "sac has no policy_delay, crossq has; use --algo crossq"),
        ("crossq", ["tau=0.1"], {}, "crossq has no tau, shac, sac and tqc have"),
        ("ppo", ["buffer_size=9"], {}, "ppo has no buffer_size, sac, tqc and crossq have"),
        ("sac", ["gradient_steps=-2"], {}, "gradient_steps must be a whole number of 0 or more, or -1, not -2"),
        ("sac", ["ent_coef=atuo"], {}, "ent_coef must be a number, 'auto' or 'auto_0.1', not 'atuo'"),
        ("sac", ["net_arch={pi = [8], vf = [8]}"], {}, "net_arch must be a list of widths such as"),
        (
            "sac",
            ["ortho_init=true"],
            {},
            "sac has no ortho_init, hybrid-grpo, grpo, ppo, shac, reinforce and trpo have",
        ),
        ("sac", ["buffer_size=10_000_000_000_000"], {}, "transitions of the replay buffer take about .* GiB"),
    ],
)
def test_bad_settings_are_refused_in_one_line(algo, pairs, given, text):
    with pytest.raises(UsageError, match=text) as caught:
        build(settings(algo, *pairs, **given) if not given else resolve(given={"algo": algo, **given}, pairs=pairs))
    one_line(caught)


def test_a_budget_without_an_update_is_warned_of():
    with pytest.warns(SettingWarning, match="learning_starts 500 are all of the 96 steps, so nothing is learned"):
        settings("sac", "learning_starts=500")


class Pictures(gym.Env):
    """Observes noise as pictures."""

    observation_space = gym.spaces.Box(0, 255, (36, 36, 3), np.uint8)
    action_space = gym.spaces.Box(-1, 1, (2,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        return self.observation_space.sample(), 0.0, False, False, {}


def test_crossq_has_no_policy_for_pictures():
    gym.register("Pictures-v0", Pictures, max_episode_steps=5)
    try:
        told = resolve(given={"algo": "crossq", "env": "Pictures-v0"}, pairs=["buffer_size=50"])
        with pytest.raises(UsageError, match=r"crossq has no policy for the observations of .*; use --algo sac or tqc"):
            build(told)
    finally:
        gym.registry.pop("Pictures-v0")


# -- failures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algo", CLASSES)
def test_a_blow_up_is_named_and_saved_nowhere(algo, tmp_path, monkeypatch):
    update = CLASSES[algo].train

    def blow_up(self, *given, **named):
        update(self, *given, **named)
        if self.num_timesteps > 60:
            next(self.actor.parameters()).data.fill_(np.nan)

    monkeypatch.setattr(CLASSES[algo], "train", blow_up)
    with pytest.raises(RunError, match=r"not finite|no longer finite|no longer a distribution") as caught:
        train(settings(algo), tmp_path / "run", episodes=1)
    assert "try a lower learning_rate than" in one_line(caught)
    for file in (tmp_path / "run").glob("*.zip"):
        load_policy(file)


# -- policies ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("observed", ["array", "pictures", "both"])
@pytest.mark.parametrize("kind", [SAC, TQC])
def test_every_policy_of_sac_and_tqc_comes_back(kind, observed, tmp_path):
    def make():
        env = Pictures()
        if observed == "array":
            env.observation_space = gym.spaces.Box(-1, 1, (3,), np.float32)
        if observed == "both":
            parts = {"picture": Pictures.observation_space, "row": gym.spaces.Box(-1, 1, (3,), np.float32)}
            env.observation_space = gym.spaces.Dict(parts)
        return env

    policy = {"array": "MlpPolicy", "pictures": "CnnPolicy", "both": "MultiInputPolicy"}[observed]
    model = kind(policy, DummyVecEnv([make]), buffer_size=10, policy_kwargs={"net_arch": [8], "n_critics": 1}, seed=0)
    checkpoint.save(model, tmp_path / "model.zip")
    loaded = load_policy(tmp_path / "model.zip")
    seen = model.env.reset()
    np.testing.assert_array_equal(
        loaded.predict(seen, deterministic=True)[0], model.predict(seen, deterministic=True)[0]
    )


def test_gsde_and_a_shared_extractor_come_back(tmp_path):
    env = make_vec("pursuit", 2, seed=0)
    kwargs = {"net_arch": {"pi": [8], "qf": [8, 8]}, "share_features_extractor": True, "clip_mean": 1.0}
    model = SAC("MlpPolicy", env, buffer_size=10, use_sde=True, policy_kwargs=kwargs, seed=0)
    checkpoint.save(model, tmp_path / "model.zip")
    seen = env.reset()
    np.testing.assert_array_equal(
        load_policy(tmp_path / "model.zip").predict(seen, deterministic=True)[0],
        model.predict(seen, deterministic=True)[0],
    )


@pytest.mark.parametrize("algo", CLASSES)
def test_zips_of_the_plain_libraries_are_read_if_they_are_trusted(algo, tmp_path):
    env = make_vec("pursuit", 2, seed=0)
    model = CLASSES[algo]("MlpPolicy", env, policy_kwargs={"net_arch": [8]}, seed=0)
    model.save(tmp_path / "plain.zip")
    with pytest.raises(UsageError, match="add --trust"):
        load_policy(tmp_path / "plain.zip")
    seen = env.reset()
    np.testing.assert_array_equal(
        load_policy(tmp_path / "plain.zip", trust=True).predict(seen, deterministic=True)[0],
        model.predict(seen, deterministic=True)[0],
    )


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"n_critics": 0}, "n_critics"),
        ({"n_critics": 60}, "larger than its weights"),
        ({"n_quantiles": 2**20}, "larger than its weights"),
        ({"net_arch": {"pi": [8], "vf": [8]}}, "vf"),
        ({"net_arch": [2**20, 2**20]}, "larger than its weights"),
        ({"class": "CnnPolicy"}, "unknown policy class"),
        ({"clip_mean": "wide"}, "clip_mean"),
    ],
)
def test_a_description_that_lies_is_refused_before_anything_is_built(change, says):
    env = make_vec("pursuit", 2, seed=0)
    model = TQC("MlpPolicy", env, buffer_size=10, policy_kwargs={"net_arch": [64]}, seed=0)
    said = policy_spec.describe(model.policy)
    weights = sum(tensor.numel() * 4 for tensor in model.policy.state_dict().values())
    policy_spec.build(said, "x", weights)
    with pytest.raises(UsageError, match=says) as caught:
        policy_spec.build({**said, **change}, "x", weights)
    one_line(caught)


def test_a_task_lists_and_evaluates_them_beside_controllers(tmp_path):
    task = make_task("pursuit", "", {"preset": "sandbox", "max_steps": 8})
    model = build(resolve(given={"algo": "sac", "preset": "sandbox"}, pairs=[*TINY, "buffer_size=500", "max_steps=8"]))
    model.learn(64)
    assert evaluate(model, 3, task=task)["policy"] == "SAC"
