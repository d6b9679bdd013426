"""What a training says where an environment, a reward or an update fails, and what it keeps."""

import re

import numpy as np
import pytest
import torch
from sb3_contrib import TRPO
from stable_baselines3 import PPO
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecNormalize

from rl_tracking import REINFORCE, HybridGRPO, load_policy, make_vec
from rl_tracking.adapters.build import RestorableGymVecEnv
from rl_tracking.adapters.checked_vec_env import CheckedVecEnv
from rl_tracking.agents.collect import failing_numbers as failures
from rl_tracking.envs.simulator import Simulator, world_keys
from rl_tracking.envs.vec_env import make_scenario
from rl_tracking.errors import RunError, UsageError
from rl_tracking.runs import callback as run_callback
from rl_tracking.runs import crash
from rl_tracking.runs import train as training
from rl_tracking.runs.evaluate import evaluate
from rl_tracking.runs.intervals import mean, not_finite
from rl_tracking.runs.settings import resolve
from rl_tracking.runs.tasks import GymnasiumTask
from rl_tracking.runs.tasks.scenario_episodes import ControllerPilot, fly
from tests.agents.toys import PLAIN, LineVecEnv, hybrid, one_line
from tests.failing_envs import ID, RESETS, SAYS, STEPS, Failing, check_line
from tests.helpers import random_actions

ALGOS = ("hybrid-grpo", "grpo", "ppo", "trpo", "reinforce")


def until_it_fails(env, steps=300):
    env.seed(0)
    env.reset()
    rng = np.random.default_rng(0)
    actions = rng.uniform(-1, 1, (steps, env.num_envs, *env.action_space.shape)).astype(np.float32)
    with pytest.raises(RunError) as caught:
        [env.step(action) for action in actions]
    return one_line(caught)


# -- environments -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [*STEPS, *RESETS])
def test_what_an_environment_does_wrong_is_named(wrong):
    line = until_it_fails(RestorableGymVecEnv(ID, 2, wrong=wrong))
    check_line(line, wrong)
    assert line.endswith(", in world 0")


@pytest.mark.parametrize("wrong", [*STEPS, *RESETS])
def test_so_it_is_in_environments_that_are_not_restorable(wrong):
    env = CheckedVecEnv([lambda: Monitor(GymnasiumTask(ID, {"wrong": wrong}).make())] * 2)
    check_line(until_it_fails(env), wrong)


def test_nothing_is_said_of_an_environment_that_is_right():
    env = RestorableGymVecEnv(ID, 2)
    env.reset()
    for action in random_actions(env, 300):
        env.step(action)


@pytest.mark.parametrize(
    ("space", "value"),
    [
        ("box", [0.5, 1]),  # a list
        ("box", np.array([0.5, 1])),  # double precision
        ("box", np.array([1, 2])),
        ("pixels", np.array([1, 255])),  # whole numbers that fit
        ("pixels", [True, False]),
    ],
)
def test_observations_that_ppo_would_take_are_taken(space, value, monkeypatch):
    monkeypatch.setattr(Failing, "seen", lambda self: value)
    env = CheckedVecEnv([lambda: Failing(space=space)])
    assert env.reset().tolist() == [np.asarray(value).tolist()]


@pytest.mark.parametrize("value", [np.array([1, 256]), np.array([-1, 2]), np.array([0.5, 1.5])])
def test_numbers_that_a_space_cannot_hold_are_refused(value, monkeypatch):
    monkeypatch.setattr(Failing, "seen", lambda self: value)
    with pytest.raises(RunError, match=r"returned observation of dtype .* from reset\(\); it must be uint8 of shape"):
        CheckedVecEnv([lambda: Failing(space="pixels")]).reset()


def test_the_key_of_a_dict_observation_is_named(monkeypatch):
    seen = {"a": np.zeros(2, np.float32), "b": np.zeros(3, np.float32)}
    monkeypatch.setattr(Failing, "seen", lambda self: seen)
    env = CheckedVecEnv([lambda: Failing(space="dict")])
    with pytest.raises(RunError, match=re.escape("observation['b'] of shape (3,) from reset(); it must be float32 of")):
        env.reset()
    del seen["b"]
    with pytest.raises(RunError, match="it must be one with the key 'b'"):
        env.reset()
    seen["b"] = np.array([0, np.nan], np.float32)
    with pytest.raises(RunError, match=re.escape("returned observation['b'] with nan at index 1 from reset()")):
        env.reset()


def test_an_environment_may_write_to_its_action(monkeypatch):
    def step(self, action):
        action *= 0
        return self.seen(), 0.0, False, False, {}

    monkeypatch.setattr(Failing, "step", step)
    env = CheckedVecEnv([Failing])
    env.reset()
    action = np.ones((1, 1), np.float32)
    env.step(action)
    assert action.tolist() == [[1.0]]


@pytest.mark.parametrize("wrong", ["raises", "leaves", "four", "reward None", "info list", "reset raises"])
def test_what_fails_while_it_is_tried_out_is_the_fault_of_the_environment(wrong):
    with pytest.raises(RunError) as caught:
        RestorableGymVecEnv(ID, 2, wrong=wrong, at=25)
    line = one_line(caught)
    check_line(line, wrong)
    assert line.endswith("; it failed when it was tried out, before any training")


# -- trainings --------------------------------------------------------------------------------------------------------


def settings(algo, steps=500, **parameters):
    pairs = ["num_envs=2", "n_steps=50", "net_arch=[8]", "max_episode_steps=10", "normalize=false"]
    pairs += [f"{name}={value}" for name, value in parameters.items()]
    pairs += {
        "hybrid-grpo": ["n_samples=3", "horizon=1", "batch_size=50", "n_epochs=1"],
        "grpo": ["n_samples=3", "n_steps=4"],
        "ppo": ["batch_size=50", "n_epochs=1"],
        "trpo": ["batch_size=50"],
        "reinforce": [],
    }[algo]
    return resolve(given={"algo": algo, "env": ID, "steps": steps, "seed": 0}, pairs=pairs)


def failed(told, folder, error=RunError, **more):
    with pytest.raises(error) as caught:
        training.train(told, folder, episodes=1, **more)
    return one_line(caught)


@pytest.mark.parametrize("algo", ALGOS)
@pytest.mark.parametrize("wrong", ["raises", pytest.param("observation (1,)", marks=pytest.mark.slow)])
def test_a_training_that_fails_says_where_and_keeps_the_step(algo, wrong, tmp_path, monkeypatch):
    monkeypatch.setattr(run_callback, "_SAVE_EVERY", 0.0)
    line = failed(settings(algo, wrong=f"'{wrong}'"), tmp_path)
    check_line(line, wrong)
    groups = algo in ("hybrid-grpo", "grpo")
    where = r"in branch \d of world \d" if groups else r"in world \d"
    assert re.search(rf"{where}( at step \d+ of the branches)? after macro-step \d+; ", line)
    # The checkpoint that it names can be read, and the step can be made again.
    kept = re.search(r"the checkpoint '(.*)' of macro-step (\d+) is intact$", line)
    assert load_policy(kept[1]).description["macro_steps"] == int(kept[2]) > 0
    file = re.search(r"`rltrack replay (\S+)` repeats the step", line)[1]
    made = crash.replay(file)
    assert made.same
    assert made.again == line.partition(", in ")[0]
    assert made.before["steps"] == 219  # of the environment, when it failed
    assert made.where["world"] in (0, 1)


@pytest.mark.parametrize("algo", ["hybrid-grpo", "ppo"])
def test_without_a_checkpoint_that_is_said(algo, tmp_path):
    line = failed(settings(algo, wrong="raises", n_steps=240), tmp_path / "run")
    assert line.endswith("no checkpoint exists yet")
    assert [file.name.partition("-")[0] for file in (tmp_path / "run").iterdir()] == ["crash"]


def test_errors_name_branch_and_world(monkeypatch):
    env = LineVecEnv(3, edge=99.0, limit=50)
    model = hybrid(env)

    class Sibling(LineVecEnv):
        def step_wait(self):
            observation, *others = super().step_wait()
            observation[7, 1] = np.nan
            return observation, *others

    monkeypatch.setattr(env, "spawn", lambda num_envs: Sibling(num_envs, limit=50, edge=99.0))
    with pytest.raises(
        RunError, match=r"the observation at index 1 that a step led to is nan; .*, in branch 2 of world 1"
    ):
        model.learn(18)


@pytest.mark.parametrize("horizon", [1, 3])
def test_an_observation_of_the_worlds_themselves_is_no_matter_of_the_learning_rate(horizon):
    class Blind(LineVecEnv):
        def reset(self):
            return super().reset() * np.float32("nan")

    model = hybrid(Blind(3, edge=99.0, limit=50), horizon=horizon)
    with pytest.raises(
        RunError, match="the observation at index 0 is nan; it must be finite, in world 0 after macro-step 0"
    ):
        model.learn(18)


def test_a_state_that_a_branch_reached_is_named_before_the_policy_is_asked(monkeypatch):
    env = LineVecEnv(3, edge=99.0, limit=50)
    model = hybrid(env, horizon=3)

    class Sibling(LineVecEnv):
        def step_wait(self):
            observation, *others = super().step_wait()
            observation[4] = np.inf
            return observation, *others

    monkeypatch.setattr(env, "spawn", lambda num_envs: Sibling(num_envs, limit=50, edge=99.0))
    with pytest.raises(
        RunError, match=r"observation at index 0 .*is inf; it must be finite, in branch 1 of world 1 after"
    ):
        model.learn(18)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda observation, reward: (observation, reward[:, None]), r"LineVecEnv returned reward of shape \(9, 1\)"),
        (
            lambda observation, reward: (observation[:, :1], reward),
            r"returned observation of shape \(9, 1\) from step",
        ),
    ],
)
def test_a_vectorised_environment_that_returns_another_shape_is_named(change, said, monkeypatch):
    env = LineVecEnv(3, edge=99.0, limit=50)
    model = hybrid(env)
    step = LineVecEnv.step_wait

    def step_wait(self):
        observation, reward, *others = step(self)
        return *change(observation, reward), *others

    monkeypatch.setattr(LineVecEnv, "step_wait", step_wait)
    with pytest.raises(RunError, match=said) as caught:
        model.learn(18)
    one_line(caught)


# -- blow-ups ---------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:(overflow|invalid value) encountered:RuntimeWarning")
@pytest.mark.parametrize("algo", ALGOS)
def test_a_blow_up_is_named_and_saved_nowhere(algo, tmp_path, monkeypatch):
    monkeypatch.setattr(run_callback, "_SAVE_EVERY", 0.0)
    if algo == "trpo":  # its policy is moved by no learning rate
        update = TRPO.train

        def blow_up(self):
            update(self)
            if self.num_timesteps > 150:
                next(self.policy.parameters()).data.fill_(torch.inf)

        monkeypatch.setattr(TRPO, "train", blow_up)
    rate = "1e-3" if algo == "trpo" else "1e30"
    told = settings(algo, learning_rate=rate)
    line = failed(told, tmp_path / "run")
    assert re.search(r"not finite|no longer finite|no longer a distribution", line)
    assert re.search(r"at macro-step \d+", line)
    assert re.search(r"learning_rate|rewards", line)
    for file in (tmp_path / "run").glob("*.zip"):
        weights = [value for value in load_policy(file)._policy.state_dict().values() if value.is_floating_point()]
        assert all(bool(torch.isfinite(value).all()) for value in weights)


@pytest.mark.parametrize("algo", ["hybrid-grpo", "ppo"])
def test_a_blow_up_of_the_last_update_does_not_replace_the_last_good_checkpoint(algo, tmp_path, monkeypatch):
    monkeypatch.setattr(run_callback, "_SAVE_EVERY", 0.0)
    kind = HybridGRPO if algo == "hybrid-grpo" else PPO
    update = kind.train

    def blow_up(self):
        update(self)
        if self.num_timesteps >= 200:
            next(self.policy.parameters()).data[0] = torch.nan

    monkeypatch.setattr(kind, "train", blow_up)
    line = failed(settings(algo, steps=200), tmp_path / "run")
    assert "the update at macro-step 200 left weights that are not finite (policy." in line
    kept = re.search(r"the checkpoint '(.*)' of macro-step (\d+) is intact$", line)
    assert load_policy(kept[1]).description["macro_steps"] == int(kept[2]) == 100


@pytest.mark.parametrize(("algo", "logarithm"), [("hybrid-grpo", 1e3), ("ppo", -1e3), ("reinforce", 1e3)])
def test_weights_that_are_finite_and_give_no_distribution_are_saved_nowhere(algo, logarithm, tmp_path, monkeypatch):
    kind = {"hybrid-grpo": HybridGRPO, "ppo": PPO, "reinforce": REINFORCE}[algo]
    update = kind.train

    def blow_up(self):
        update(self)
        self.policy.log_std.data.fill_(logarithm)

    monkeypatch.setattr(kind, "train", blow_up)
    line = failed(settings(algo, steps=100), tmp_path / "run")
    assert "the policy's actions are no longer a distribution at macro-step 100; try a lower learning_rate than" in line


def test_an_observation_is_not_the_fault_of_a_checkpoint(tmp_path):
    model = HybridGRPO("MlpPolicy", make_vec("pursuit", 2, seed=0), **PLAIN, n_steps=4, batch_size=8, device="cpu")
    model.save(tmp_path / "whole.zip")
    seen = np.zeros((3, 18), np.float32)
    seen[2, 5] = np.nan
    with pytest.raises(RunError, match="the observation at index 5 is nan; it must be finite, in world 2") as caught:
        load_policy(tmp_path / "whole.zip").predict(seen)
    one_line(caught)


def test_an_overflow_within_the_update_is_one_line(tmp_path):
    line = failed(settings("hybrid-grpo", learning_rate="1e38"), tmp_path / "run")
    assert re.search(
        r"the update at macro-step \d+ overflows \(.*\); try a lower learning_rate than 1e\+38; no checkpoint", line
    )


def test_large_rewards_are_named_as_the_likely_cause():
    model = hybrid(LineVecEnv(3, reward=lambda place, push: 1e20 * place), reward_activation="identity", horizon=1)
    with pytest.raises(RunError, match=r"rewards reach \d\.\d+e\+\d+, which is the likely cause: scale them"):
        model.learn(180)


def test_moments_of_a_normaliser_that_overflow_are_named():
    env = VecNormalize(LineVecEnv(3))
    model = hybrid(env)
    model.learn(18)
    env.obs_rms.var[0] = np.inf
    with pytest.raises(RunError, match=r"the moments of VecNormalize \(obs_rms\) are not finite at macro-step 18"):
        failures.check_model(model)


def test_sums_that_overflow_are_no_blow_up():
    model = hybrid()
    first = next(model.policy.parameters())
    first.data.fill_(3e38)
    assert failures._bad_tensor(model.policy) is None
    first.data[0] = torch.nan
    with pytest.raises(RunError, match="left weights that are not finite"):
        failures.check_model(model)


# -- figures ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("values", [[1.0, np.nan, np.inf], [1e308, 1e308, 1e308]])
def test_figures_that_are_not_finite_are_counted(values):
    figure = mean(np.array(values))
    assert (figure["value"], figure["ci95"]) == (None, [None, None])
    assert figure["not_finite"] == (2 if values[0] == 1.0 else 3)
    result = {"policy": "mine", "episodes": 3, "return": figure, "length": mean(np.ones(3))}
    assert not_finite([result]) == f"figures are not finite: return of mine in {figure['not_finite']} of 3 episodes"
    assert not_finite([{**result, "return": mean(np.ones(3))}]) is None


def test_a_return_that_overflows_is_not_finite(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("def huge(step):\n    return step.nearest * 0 + 3e38\n")
    result = evaluate(
        ControllerPilot("c", lambda facts, state: state.position.flatten(1) * 0, None),
        3,
        scenario=make_scenario("pursuit", reward=f"{path}:huge"),
    )
    assert result["return"]["not_finite"] == 3
    assert result["mean_distance"]["value"] > 0


@pytest.mark.parametrize("wrong", [*STEPS, *RESETS])
def test_an_evaluation_names_the_episode(wrong):
    with pytest.raises(RunError) as caught:
        evaluate("random", 100, task=GymnasiumTask(ID, {"wrong": wrong}), seed=5)
    line = one_line(caught)
    check_line(line, wrong)
    assert re.search(r" at step \d+ of its episode in the episode of seed \d+$", line)


# -- controllers ------------------------------------------------------------------------------------------------------


def test_a_controller_that_works_in_place_flies_as_one_that_does_not():
    def honest(facts, state):
        return (state.target_position.unsqueeze(1) - state.position).flatten(1).clamp(-1, 1)

    def careless(facts, state):
        action = honest(facts, state)
        state.position.zero_()
        state.target_position.zero_()
        state.step.zero_()
        return action

    simulator = Simulator(make_scenario("pursuit", max_steps=30))
    keys = world_keys(0, 5)
    flown = [fly(simulator, ControllerPilot("mine", c, simulator.scenario), keys) for c in (honest, careless)]
    assert torch.equal(flown[0].totals, flown[1].totals)


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        (lambda state: 1 / 0, "controller 'mine' raised ZeroDivisionError: division by zero"),
        (
            lambda state: state.position,
            r"returned torch.float32 \[5, 1, 3\]; it must be a tensor of real numbers \[5, 3\]",
        ),
        (lambda state: None, "returned a NoneType; it must be a tensor"),
        (lambda state: state.position.flatten(1) / 0, "returned an action that is not finite, in world 0"),
    ],
)
def test_what_a_controller_does_wrong_is_one_line(returned, said):
    simulator = Simulator(make_scenario("pursuit", max_steps=30))
    pilot = ControllerPilot("mine", lambda facts, state: returned(state), simulator.scenario)
    with pytest.raises(RunError, match=said) as caught:
        fly(simulator, pilot, world_keys(0, 5))
    one_line(caught)


# -- activations ------------------------------------------------------------------------------------------------------


def test_an_activation_may_work_in_place_and_return_the_same_tensor_twice():
    kept = {}

    def careless(reward):
        reward.mul_(2)
        kept.setdefault("it", reward.clone()).copy_(reward)
        return kept["it"]

    models = []
    for activation in (careless, lambda reward: reward * 2):
        env = make_vec("pursuit", 3, seed=0, max_steps=20)
        told = {"n_steps": 4, "batch_size": 12, "n_samples": 3, "seed": 0, "device": "cpu"}
        models.append(HybridGRPO("MlpPolicy", env, **{**PLAIN, "reward_activation": activation, **told}).learn(36))
    for mine, theirs in zip(*(model.policy.parameters() for model in models), strict=True):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda reward: exec("import sys; sys.exit(2)"), "raised SystemExit: 2"),
        (lambda reward: reward * 1j, "returned complex numbers; it must return real ones"),
    ],
)
def test_what_an_activation_does_wrong_is_one_line(function, said):
    with pytest.raises(UsageError, match=said) as caught:
        hybrid(LineVecEnv(3), reward_activation=function).learn(18)
    one_line(caught)


def test_what_cannot_be_made_again_is_not_kept(tmp_path):
    env = CheckedVecEnv([Failing])
    env.reset()
    model = PPO("MlpPolicy", env, n_steps=8, batch_size=8, device="cpu")
    error = RunError("it fails")
    error.evidence = None
    assert crash.keep(error, model, tmp_path) is None
    assert list(tmp_path.iterdir()) == []


assert SAYS.keys() == {**STEPS, **RESETS}.keys()
