"""Lookahead: what branches show is compared with what the env itself does next."""

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecMonitor, VecNormalize

from rl_tracking.agents.collect import branch_rollout
from rl_tracking.agents.collect.branch_rollout import OneStepLookahead, PathLookahead
from rl_tracking.agents.collect.branching import Brancher
from rl_tracking.agents.collect.distributions import ExplorationNoise
from rl_tracking.agents.extensions.seams import PolicySampler
from rl_tracking.errors import UsageError
from tests.agents.toys import SMALL, LineVecEnv, hybrid, one_line, tracking
from tests.helpers import random_actions

N = 3

ENVS = {
    "drone in wind": lambda: tracking(4, wind_speed=3.0, max_steps=50),
    "time limit": lambda: tracking(4, wind_speed=3.0, max_steps=5),
    "capture terminates": lambda: tracking(
        4, capture_terminates=True, spawn="near", spawn_radius=4.0, capture_radius=6.0
    ),
    "sandbox": lambda: tracking(4, preset="sandbox", max_steps=6),
    "by hand": lambda: LineVecEnv(4),
    "by hand, edge": lambda: LineVecEnv(4, limit=9, edge=1.0),
    "categorical": lambda: LineVecEnv(4, spaces.Discrete(3), edge=1.0),
}


class Scene:
    """An env some steps into its episodes, a policy, and lookaheads of both kinds."""

    def __init__(self, env, horizon=7, *, noise="common", critic=False, steps=2, branches=N, **arguments):
        self.env, self.model = env, hybrid(env, **arguments)
        self.policy, self.executable = self.model.policy, self.model._executable
        self.observation = torch.as_tensor(env.reset())
        for action in random_actions(env, steps, seed=9) if isinstance(env.action_space, spaces.Box) else []:
            self.step(action)
        brancher = Brancher(env, branches, noise)
        parts = PolicySampler(), ExplorationNoise(self.policy, branches * env.num_envs, -1)
        self.paths = PathLookahead(brancher, branches, *parts, horizon=horizon, critic=critic)
        self.one_step = OneStepLookahead(brancher, branches, *parts)
        torch.manual_seed(4)

    def step(self, action):
        observation, reward, done, infos = self.env.step(action)
        self.observation = torch.as_tensor(observation)
        return observation, reward, done, infos

    def look(self, lookahead=None):
        with torch.no_grad():
            return (lookahead or self.paths).try_actions(self.policy, self.observation, self.executable)

    def rollout(self, decisions):
        with torch.no_grad():
            return self.paths.rollout(self.policy, decisions)


def reached_by(step):
    """The observations that a step led to, those of an ended episode its last."""
    observation, _, done, infos = step
    reached = observation.copy()
    for world in np.flatnonzero(done):
        reached[world] = infos[world]["terminal_observation"]
    return reached


# -- branch 0 is executed ---------------------------------------------------------------------------------------------


NOISY = [(name, "common") for name in ENVS] + [(name, "independent") for name in list(ENVS)[:4]]


@pytest.mark.parametrize(("name", "noise"), NOISY)
def test_branch_0_is_what_the_env_then_does(name, noise):
    """Through the ends of episodes and on into the next ones, bit for bit."""
    scene = Scene(ENVS[name](), 12, noise=noise)
    decision, actions = scene.look()
    assert len(actions) == 12
    ended = 0
    for k, action in enumerate(actions):
        assert decision["observation"][k, 0].numpy().tobytes() == scene.observation.numpy().tobytes()
        step = scene.step(action)
        _, reward, done, infos = step
        truncated = np.array([info.get("TimeLimit.truncated", False) for info in infos])
        assert decision["reached"][k, 0].numpy().tobytes() == reached_by(step).tobytes()
        assert decision["reward"][k, 0].numpy().tobytes() == reward.tobytes()
        assert decision["episode_end"][k, 0].tolist() == done.tolist()
        assert decision["terminated"][k, 0].tolist() == (done & ~truncated).tolist()
        ended += int(done.sum())
    assert (ended > 0) == (name != "drone in wind")
    if name in ("capture terminates", "by hand, edge"):
        assert bool(decision["terminated"].any())


@pytest.mark.parametrize("name", ENVS)
def test_every_branch_is_what_its_actions_alone_lead_to(name):
    scene = Scene(ENVS[name](), 6)
    state = scene.env.get_state()
    decision, _ = scene.look()
    for branch in range(N):
        sibling = scene.env.spawn(scene.env.num_envs * N)
        sibling.reset()
        # In the rows of the branch, as what a toy's next episode starts from depends on the row.
        sibling.set_state(state.repeat(N))
        rows = slice(branch * 4, branch * 4 + 4)
        for k in range(6):
            action = scene.executable(decision["action"][k]).flatten(0, 1).numpy()
            step = sibling.step(action)
            assert decision["reached"][k, branch].numpy().tobytes() == reached_by(step)[rows].tobytes()
            assert decision["reward"][k, branch].numpy().tobytes() == step[1][rows].tobytes()
            if k < 5:
                assert decision["observation"][k + 1, branch].numpy().tobytes() == step[0][rows].tobytes()


@pytest.mark.parametrize("name", ENVS)
def test_all_branches_start_where_the_env_is(name):
    scene = Scene(ENVS[name]())
    decision, _ = scene.look()
    for branch in range(N):
        assert torch.equal(decision["observation"][0, branch], scene.observation)
    assert bool((decision["reached"][0, 1] != decision["reached"][0, 0]).any())


@pytest.mark.parametrize("name", ENVS)
def test_looking_moves_nothing(name):
    scene, untouched = Scene(ENVS[name]()), Scene(ENVS[name]())
    before, actions = scene.env.get_state().to_bytes(), scene.env.action_space
    actions.seed(5)
    for _ in range(3):
        scene.look()
    assert scene.env.get_state().to_bytes() == before
    for _ in range(8):
        action = np.stack([actions.sample() for _ in range(4)])
        for mine, theirs in zip(scene.step(action)[:3], untouched.step(action)[:3], strict=True):
            assert mine.tobytes() == theirs.tobytes()


# -- the end of an episode --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["by hand", "by hand, edge", "categorical"])
def test_alive_marks_the_root_s_episode(name):
    """On the line an observation says how many steps its episode has made: in the root's it counts on."""
    scene = Scene(ENVS[name](), 8)
    decision, _ = scene.look()
    made = decision["observation"][..., 1] * scene.env.limit
    expected = made[0] + torch.arange(8).view(-1, 1, 1)
    assert torch.equal(decision["valid"], torch.isclose(made, expected))
    assert bool(decision["valid"][0].all())
    assert 0 < int(decision["valid"].sum()) < decision["valid"].numel()
    # The step that ends the episode is its own; from the next one on it is over, whatever ends later.
    over = decision["episode_end"].cumsum(dim=0) > 0
    assert torch.equal(decision["valid"][1:], ~over[:-1])


def test_branches_go_on_in_the_next_episode():
    """Truncated by their third step, at a limit of 5 after two steps; the next one starts at 0 steps."""
    scene = Scene(LineVecEnv(4, limit=5, edge=99.0), 7)
    decision, _ = scene.look()
    made = (decision["observation"][..., 1] * 5).round().int()
    assert made[:, 1, 2].tolist() == [2, 3, 4, 0, 1, 2, 3]
    assert (decision["reached"][2, ..., 1] == 1.0).all()  # the last state of the old one, not the first of the new
    assert decision["episode_end"][:, 1, 2].tolist() == [False, False, True, False, False, False, False]
    assert not bool(decision["terminated"].any())


# -- whole episodes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in ENVS if name != "drone in wind"])
def test_whole_episodes_stop_when_every_branch_has_ended_once(name):
    scene = Scene(ENVS[name](), None)
    decision, actions = scene.look()
    ended = decision["episode_end"].any(dim=0)
    assert bool(ended.all())
    assert not bool(decision["episode_end"][:-1].any(dim=0).all())  # a step earlier one was still under way
    assert len(actions) == len(decision["reward"]) == int(decision["valid"].sum(dim=0).max())


def test_whole_episodes_wait_for_branches_that_outlive_branch_0():
    scene = Scene(LineVecEnv(1, limit=30, edge=1.0), None)
    looks = [scene.look()[0] for _ in range(10)]
    assert all(bool(decision["episode_end"].any(dim=0).all()) for decision in looks)
    outlived = [not bool(decision["valid"][-1, 0].any()) for decision in looks]
    assert 0 < sum(outlived) < 10


def test_decisions_of_different_length_are_filled_up():
    """Episodes of four steps, looked at from their first step and from their third."""
    scene = Scene(LineVecEnv(4, edge=99.0), None, steps=0)
    first, _ = scene.look()
    scene.step(np.zeros((4, 1)))
    scene.step(np.zeros((4, 1)))
    second, _ = scene.look()
    assert (len(first["reward"]), len(second["reward"])) == (4, 2)
    rollout = scene.rollout([second, first])
    assert rollout.reward.shape == (2, 4, N, 4)
    assert rollout.observation.shape == (2, 4, N, 4, 2)
    assert rollout.unpadded.tolist() == [[True, True, False, False], [True] * 4]
    for name in ("observation", "action", "log_prob", "reward", "terminated", "episode_end", "valid"):
        padded, whole = getattr(rollout, name)[0], getattr(rollout, name)[1]
        assert torch.equal(padded[:2], second[name]), name
        assert not bool(padded[2:].any()), name
        assert torch.equal(whole, first[name]), name
    assert rollout.executed(rollout.reward).shape == (6, 4)


def test_a_rollout_without_a_critic_has_no_values(monkeypatch):
    scene = Scene(LineVecEnv(4), 3)
    monkeypatch.setattr(scene.policy, "predict_values", lambda observation: pytest.fail("a value was asked for"))
    rollout = scene.rollout([scene.look()[0]])
    assert rollout.value.shape == rollout.next_value.shape == (1, 3, N, 4)
    assert not bool(rollout.value.any())
    assert not bool(rollout.next_value.any())


@pytest.mark.parametrize("at_once", [5, 16_384])
def test_a_critic_values_the_states_before_and_after_every_step(at_once, monkeypatch):
    monkeypatch.setattr(branch_rollout, "_VALUE_BATCH", at_once)
    scene = Scene(LineVecEnv(4), 6, critic=True)
    decision, _ = scene.look()
    rollout = scene.rollout([decision, decision])
    for root in range(2):
        for name, states in (("value", "observation"), ("next_value", "reached")):
            expected = scene.policy.predict_values(decision[states].reshape(-1, 2)).detach().view(6, N, 4)
            torch.testing.assert_close(getattr(rollout, name)[root], expected)
    # Where no episode ended, the state reached is that of the next step.
    same = torch.isclose(rollout.next_value[0, :-1], rollout.value[0, 1:])
    assert bool((same | rollout.episode_end[0, :-1]).all())
    assert bool((~same).any())


# -- actions ----------------------------------------------------------------------------------------------------------


def test_actions_are_kept_as_sampled_and_executed_within_their_space():
    wide = {**SMALL, "log_std_init": 2.0}
    scene = Scene(LineVecEnv(4, limit=50, edge=1e9), 5, policy_kwargs=wide)
    decision, actions = scene.look()
    assert float(decision["action"].abs().max()) > 1.5
    assert float(actions.abs().max()) <= 1.0
    np.testing.assert_array_equal(actions, decision["action"][:, 0].clamp(-1, 1).numpy())
    moved = decision["reached"][..., 0] - decision["observation"][..., 0]
    torch.testing.assert_close(moved, decision["action"][..., 0].clamp(-1, 1), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["by hand", "categorical"])
def test_log_probabilities_are_those_of_the_policy(name):
    scene = Scene(ENVS[name](), 4)
    decision, _ = scene.look()
    action = decision["action"].reshape(4 * N * 4, *scene.env.action_space.shape)
    _, expected, _ = scene.policy.evaluate_actions(decision["observation"].reshape(-1, 2), action)
    torch.testing.assert_close(decision["log_prob"].flatten(), expected.detach())


def test_branches_draw_for_themselves_at_every_step():
    scene = Scene(tracking(4, max_steps=50), 4)
    action = scene.look()[0]["action"]
    flat = action.reshape(4 * N * 4, -1)
    assert len({tuple(row) for row in flat.tolist()}) == len(flat)


# -- noise ------------------------------------------------------------------------------------------------------------


def test_common_noise_meets_all_branches_and_independent_noise_spares_branch_0():
    still = {**SMALL, "log_std_init": -20.0}
    seen = {}
    for noise in ("common", "independent"):
        scene = Scene(tracking(4, wind_speed=5.0, max_steps=50), 5, noise=noise, policy_kwargs=still)
        seen[noise] = scene.look()[0]["reached"]
    for branch in range(1, N):
        torch.testing.assert_close(seen["common"][:, branch], seen["common"][:, 0], rtol=0, atol=1e-4)
        apart = (seen["independent"][:, branch] - seen["independent"][:, 0]).abs().amax(dim=-1)
        assert bool((apart > 1e-3).all())
    torch.testing.assert_close(seen["independent"][:, 0], seen["common"][:, 0], rtol=0, atol=1e-4)


def test_independent_noise_needs_an_env_that_knows_it():
    with pytest.raises(UsageError, match="only knows branch_noise 'common'") as caught:
        Scene(LineVecEnv(2), 3, noise="independent")
    one_line(caught)


# -- wrappers ---------------------------------------------------------------------------------------------------------


def moments(normalizer):
    return [(np.array(rms.mean), np.array(rms.var), rms.count) for rms in (normalizer.obs_rms, normalizer.ret_rms)]


@pytest.mark.parametrize("make", [lambda: tracking(4), lambda: LineVecEnv(4)], ids=["tracking", "by hand"])
def test_paths_are_normalised_with_moments_that_stay(make):
    normalizer = VecNormalize(make(), gamma=0.9, clip_obs=3.0)
    scene = Scene(normalizer, 7)
    before, state = str(moments(normalizer)), normalizer.venv.get_state()
    decision, _ = scene.look()
    assert str(moments(normalizer)) == before
    sibling = normalizer.venv.spawn(4 * N)
    sibling.reset()
    sibling.set_state(state.repeat(N))
    for k in range(7):
        step = sibling.step(scene.executable(decision["action"][k]).flatten(0, 1).numpy())
        reached = normalizer.normalize_obs(reached_by(step)).reshape(N, 4, -1)
        np.testing.assert_array_equal(decision["reached"][k].numpy(), reached.astype(np.float32))
        reward = normalizer.normalize_reward(step[1]).reshape(N, 4)
        np.testing.assert_array_equal(decision["reward"][k].numpy(), reward.astype(np.float32))
        if k < 6:
            following = normalizer.normalize_obs(step[0]).reshape(N, 4, -1)
            np.testing.assert_array_equal(decision["observation"][k + 1].numpy(), following.astype(np.float32))
        assert not np.allclose(reached, reached_by(step).reshape(N, 4, -1))
    assert bool(decision["episode_end"].any())


def test_a_monitor_does_not_see_paths():
    env = VecMonitor(LineVecEnv(4, limit=3, edge=9.0))
    scene = Scene(env, 9, steps=1)
    scene.look()
    step = [scene.step(np.zeros((4, 1))) for _ in range(2)][-1]
    assert [info["episode"]["l"] for info in step[3]] == [3] * 4


# -- cost -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("horizon", [1, 5, None])
def test_simulator_steps_are_those_that_were_made(horizon):
    scene = Scene(LineVecEnv(4, edge=99.0), horizon, steps=1)
    scene.env.counts["steps"] = 0
    _, actions = scene.look()
    assert len(actions) == (horizon or 3)
    assert scene.env.counts["steps"] == len(actions) * N * 4
    for action in actions:
        scene.step(action)
    assert scene.paths.simulator_steps == scene.env.counts["steps"]


def test_an_env_that_steps_branches_reuses_the_steps_of_branch_0(monkeypatch):
    env = tracking(4)
    scene, worlds = Scene(env, 3), []
    _, actions = scene.look()  # the sibling is made
    for simulator in (env.simulator, scene.paths._brancher._sibling.simulator):
        transition = simulator.transition

        def counted(state, action, transition=transition):
            worlds.append(len(state))
            return transition(state, action)

        monkeypatch.setattr(simulator, "transition", counted)
    _, actions = scene.look()
    for action in actions:
        scene.step(action)
    assert sum(worlds) == scene.paths.simulator_steps == 3 * N * 4


class Rows:
    """Counts the states that a network is evaluated at."""

    def __init__(self, network):
        self.calls = []
        network.register_forward_hook(lambda module, arguments, output: self.calls.append(len(arguments[0])))


@pytest.mark.parametrize("name", ["drone in wind", "by hand", "categorical"])
def test_one_step_runs_the_networks_once_a_state(name):
    scene = Scene(ENVS[name](), branches=16)
    policy = Rows(scene.policy.mlp_extractor.policy_net)
    value = Rows(scene.policy.mlp_extractor.value_net)
    decision, actions = scene.look(scene.one_step)
    assert decision["action"].shape[:2] == (16, 4)
    assert actions.shape[:2] == (1, 4)
    assert policy.calls == value.calls == [4]


def test_one_step_values_what_each_branch_reached_once():
    scene = Scene(LineVecEnv(4), branches=16)
    decisions = [scene.look(scene.one_step)[0] for _ in range(3)]
    policy = Rows(scene.policy.mlp_extractor.policy_net)
    value = Rows(scene.policy.mlp_extractor.value_net)
    with torch.no_grad():
        rollout = scene.one_step.rollout(scene.policy, decisions)
    assert (policy.calls, value.calls) == ([], [3 * 16 * 4])
    for t, decision in enumerate(decisions):
        assert torch.equal(rollout.reward[t], decision["reward"])
        assert torch.equal(rollout.episode_end[t], decision["episode_end"])
    expected = scene.policy.predict_values(decisions[1]["reached"].reshape(-1, 2)).detach().view(16, 4)
    torch.testing.assert_close(rollout.next_value[1], expected)


def test_paths_run_the_policy_once_a_step_and_value_every_state_at_once():
    scene = Scene(LineVecEnv(4), 5, critic=True)
    policy = Rows(scene.policy.mlp_extractor.policy_net)
    value = Rows(scene.policy.mlp_extractor.value_net)
    decision, _ = scene.look()
    # N branches leave from one root.
    assert policy.calls == [4] + [N * 4] * 4
    assert value.calls == [5 * N * 4]
    scene.rollout([decision])
    assert value.calls == [5 * N * 4] * 2
