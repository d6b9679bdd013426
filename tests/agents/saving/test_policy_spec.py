"""A policy as JSON and back: the same network, from known classes alone."""

import json

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import FlattenExtractor

from rl_tracking.agents.saving import policy_spec
from rl_tracking.agents.saving.extractors import MHA
from rl_tracking.errors import UsageError
from tests.agents.toys import LineVecEnv, one_line

SPACES = {
    "box": spaces.Box(-1.0, 1.0, (3,), np.float32),
    "bounds of their own": spaces.Box(
        np.array([-1.5, 0.0, -np.inf], np.float32), np.array([0.1, np.inf, 7.0], np.float32), dtype=np.float32
    ),
    "unbounded": spaces.Box(-np.inf, np.inf, (2, 2), np.float64),
    "half open": spaces.Box(0.0, np.inf, (4,), np.float32),
    "a third": spaces.Box(-1 / 3, 1 / 3, (2,), np.float32),
    "picture": spaces.Box(0, 255, (36, 36, 3), np.uint8),
    "scalar": spaces.Box(-1.0, 1.0, (), np.float32),
    "discrete": spaces.Discrete(5),
    "discrete from 2": spaces.Discrete(5, start=2),
    "multi-discrete": spaces.MultiDiscrete([3, 4]),
    "multi-discrete from 1": spaces.MultiDiscrete([3, 4], start=[1, 1]),
    "multi-binary": spaces.MultiBinary(4),
    "multi-binary grid": spaces.MultiBinary([2, 3]),
    "dict": spaces.Dict({"near": spaces.Box(-1.0, 1.0, (2,), np.float32), "kind": spaces.Discrete(3)}),
}


def through_json(content):
    return json.loads(json.dumps(content, allow_nan=False))


@pytest.mark.parametrize("name", SPACES)
def test_spaces_survive_a_trip_through_json(name):
    space = SPACES[name]
    back = policy_spec.build_space(through_json(policy_spec.describe_space(space)))
    assert back == space
    assert back.dtype == space.dtype
    if isinstance(space, spaces.Box):
        assert back.low.tobytes() == space.low.tobytes()
        assert back.high.tobytes() == space.high.tobytes()


def test_an_unknown_space_is_refused():
    with pytest.raises(UsageError, match="a checkpoint cannot describe the space Text") as caught:
        policy_spec.describe_space(spaces.Text(3))
    one_line(caught)
    with pytest.raises(ValueError, match="Invalid value 'Torus'"):
        policy_spec.build_space({"type": "Torus"})


def model(env=None, policy="MlpPolicy", **policy_kwargs):
    env = LineVecEnv() if env is None else env
    return PPO(policy, env, n_steps=4, batch_size=12, policy_kwargs=policy_kwargs, device="cpu", seed=0)


def rebuilt(policy):
    built = policy_spec.build(through_json(policy_spec.describe(policy)), "here")
    built.load_state_dict(policy.state_dict())
    return built


POLICIES = {
    "default": {},
    "net_arch": {"net_arch": [5, 7]},
    "two nets": {"net_arch": {"pi": [5], "vf": [7, 3]}},
    "no hidden layer": {"net_arch": []},
    "relu": {"activation_fn": torch.nn.ReLU},
    "extractors apart": {"share_features_extractor": False},
    "log_std": {"log_std_init": -1.0, "ortho_init": False},
}


@pytest.mark.parametrize("name", POLICIES)
def test_the_same_network_comes_back(name):
    policy = model(**POLICIES[name]).policy
    built = rebuilt(policy)
    observation = torch.randn(6, 2, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(built.get_distribution(observation).mode(), policy.get_distribution(observation).mode())
    torch.testing.assert_close(built.predict_values(observation), policy.predict_values(observation))
    assert str(built) == str(policy)


@pytest.mark.parametrize("space", [spaces.Discrete(3), spaces.MultiDiscrete([2, 3]), spaces.MultiBinary(2)])
def test_every_kind_of_action_comes_back(space):
    policy = model(LineVecEnv(action_space=space)).policy
    observation = np.random.default_rng(0).normal(size=(6, 2)).astype(np.float32)
    mine, _ = rebuilt(policy).predict(observation, deterministic=True)
    np.testing.assert_array_equal(mine, policy.predict(observation, deterministic=True)[0])


class Pictures(LineVecEnv):
    def __init__(self):
        super().__init__()
        # Channels first, as the network takes them.
        self.observation_space = spaces.Box(0, 255, (3, 36, 36), np.uint8)


@pytest.mark.parametrize("normalize_images", [True, False])
def test_a_policy_that_sees_pictures_comes_back(normalize_images):
    policy = model(Pictures(), "CnnPolicy", normalize_images=normalize_images).policy
    built = rebuilt(policy)
    observation = np.random.default_rng(0).integers(0, 255, (2, 3, 36, 36)).astype(np.uint8)
    mine, theirs = (each.predict(observation, deterministic=True)[0] for each in (built, policy))
    np.testing.assert_array_equal(mine, theirs)
    assert built.normalize_images is normalize_images


def test_dict_observations_come_back():
    env = LineVecEnv()
    env.observation_space = SPACES["dict"]
    policy = model(env, "MultiInputPolicy").policy
    observation = {"near": np.ones((2, 2), np.float32), "kind": np.array([0, 2])}
    np.testing.assert_array_equal(
        rebuilt(policy).predict(observation, deterministic=True)[0], policy.predict(observation, deterministic=True)[0]
    )


class Records(LineVecEnv):
    """Observations as long as a history of six steps of three numbers."""

    def __init__(self):
        super().__init__()
        self.observation_space = spaces.Box(-4.0, 4.0, (18,), np.float32)


ATTENTION = {"steps": 6, "width": 8, "heads": 2, "feed_forward": 16, "layers": 1}


@pytest.mark.parametrize("shared", [True, False])
def test_attention_over_a_history_comes_back(shared):
    network = {"features_extractor_class": MHA, "features_extractor_kwargs": ATTENTION}
    policy = model(Records(), share_features_extractor=shared, **network).policy
    built = rebuilt(policy)
    observation = torch.randn(5, 18, generator=torch.Generator().manual_seed(0))
    for each in (built, policy):
        each.set_training_mode(False)
    torch.testing.assert_close(built.get_distribution(observation).mode(), policy.get_distribution(observation).mode())
    torch.testing.assert_close(built.predict_values(observation), policy.predict_values(observation))
    assert str(built) == str(policy)


@pytest.mark.parametrize("change", [{"steps": 0}, {"heads": 3}, {"layers": "many"}, {"width": True}, {"surprise": 1}])
def test_attention_of_sizes_that_cannot_be_is_refused(change):
    network = {"features_extractor_class": MHA, "features_extractor_kwargs": ATTENTION}
    description = through_json(policy_spec.describe(model(Records(), **network).policy))
    description["features_extractor_kwargs"] |= change
    with pytest.raises(UsageError, match="checkpoint 'here' describes a policy that cannot be built") as caught:
        policy_spec.build(description, "here")
    one_line(caught)


class MyExtractor(FlattenExtractor):
    pass


class Namesake(MHA):
    pass


Namesake.__name__ = "MHA"


class MyPolicy(ActorCriticPolicy):
    pass


class MyActivation(torch.nn.Tanh):
    pass


@pytest.mark.parametrize(
    ("policy", "arguments", "text"),
    [
        (MyPolicy, {}, "the policy class MyPolicy"),
        ("MlpPolicy", {"features_extractor_class": MyExtractor}, "the features extractor MyExtractor"),
        ("MlpPolicy", {"activation_fn": MyActivation}, "the activation function MyActivation"),
    ],
)
def test_what_only_its_own_code_can_build_is_named(policy, arguments, text):
    description = through_json(policy_spec.describe(model(policy=policy, **arguments).policy))
    assert description == {"unknown": text}
    with pytest.raises(UsageError, match=f"checkpoint 'here' uses {text}, which a safe reader cannot build") as caught:
        policy_spec.build(description, "here")
    one_line(caught)


def test_an_extractor_of_the_same_name_is_another_one():
    network = {"features_extractor_class": Namesake, "features_extractor_kwargs": ATTENTION}
    assert policy_spec.describe(model(Records(), **network).policy) == {"unknown": "the features extractor MHA"}


def test_an_argument_that_json_would_not_give_back_is_named():
    network = {"features_extractor_kwargs": {"features_dim": np.int64(16)}}
    description = policy_spec.describe(model(Pictures(), "CnnPolicy", **network).policy)
    assert description == {"unknown": "the argument features_dim of the features extractor NatureCNN"}


@pytest.mark.parametrize(
    "change",
    [
        {"class": "object"},
        {"activation_fn": "Nonsense"},
        {"activation_fn": "functional"},
        {"activation_fn": 3},
        {"features_extractor": "os.system"},
        {"features_extractor_kwargs": {"surprise": 1}},
        {"net_arch": [-3]},
        {"net_arch": "wide"},
        {"observation_space": {"type": "Torus"}},
        {"observation_space": {"type": "Discrete", "n": -1, "start": 0}},
        {"observation_space": {"type": "Box", "low": 1, "high": 0, "shape": [2], "dtype": "float32"}},
        {"observation_space": {"type": "Box", "low": 1, "high": 2, "shape": [2], "dtype": "nonsense"}},
        {"observation_space": None},
        {"action_space": {"type": "Dict", "spaces": {}}},
        {"squash_output": True},
        {"class": None},
    ],
)
def test_a_description_that_cannot_be_built_is_refused_in_one_line(change):
    description = {**through_json(policy_spec.describe(model().policy)), **change}
    with pytest.raises(UsageError, match="checkpoint 'here' describes a policy that cannot be built") as caught:
        policy_spec.build(description, "here")
    one_line(caught)


@pytest.mark.parametrize("name", ["class", "activation_fn", "net_arch", "observation_space"])
def test_a_description_with_something_missing_is_refused(name):
    description = through_json(policy_spec.describe(model().policy))
    del description[name]
    with pytest.raises(UsageError, match="describes a policy that cannot be built"):
        policy_spec.build(description, "here")
