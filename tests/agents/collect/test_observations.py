"""The same on one tensor and on every leaf of a dict."""

import gymnasium as gym
import pytest
import torch
from gymnasium import spaces

from rl_tracking import GRPO, HybridGRPO
from rl_tracking.agents.collect import observations
from rl_tracking.errors import UsageError
from tests.agents.toys import one_line

ONE = torch.arange(24.0).view(6, 4)
PARTS = {"near": ONE, "kind": torch.arange(6)}


def leaves(observation):
    return observation if isinstance(observation, dict) else {"": observation}


@pytest.mark.parametrize("observation", [ONE, PARTS], ids=["tensor", "dict"])
def test_leaf_by_leaf(observation):
    cases = {
        "stack": (observations.stack([observation, observation]), lambda part: torch.stack([part, part])),
        "cat": (observations.cat([observation, observation]), lambda part: torch.cat([part, part])),
        "repeat": (observations.repeat(observation, 3), lambda part: torch.cat([part, part, part])),
        "each": (observations.each(lambda part: part[:2], observation), lambda part: part[:2]),
        "flatten": (observations.flatten(observations.stack([observation] * 2), 2), lambda part: torch.cat([part] * 2)),
    }
    for name, (found, expected) in cases.items():
        for key, part in leaves(observation).items():
            assert torch.equal(leaves(found)[key], expected(part)), name
    assert observations.leaf(observation) is ONE


@pytest.mark.parametrize("observation", [ONE, PARTS], ids=["tensor", "dict"])
@pytest.mark.parametrize(
    ("rows", "numbers", "sizes"), [(4, 1000, [4, 2]), (9, 1000, [6]), (9, 10, [2, 2, 2]), (9, 1, 6 * [1])]
)
def test_pieces_are_small_in_rows_and_in_numbers(observation, rows, numbers, sizes):
    pieces = observations.split(observation, rows, numbers)
    assert [observations.leaf(piece).shape[0] for piece in pieces] == sizes
    for key, part in leaves(observations.cat(pieces)).items():
        assert torch.equal(part, leaves(observation)[key])


class Nested(gym.Env):
    """A Dict inside a Dict."""

    def __init__(self):
        self.observation_space = spaces.Dict({"place": spaces.Dict({"x": spaces.Discrete(3)})})
        self.action_space = spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return {"place": {"x": 0}}, {}

    def step(self, action):
        return {"place": {"x": int(action)}}, 0.0, False, True, {}


@pytest.mark.parametrize("kind", [HybridGRPO, GRPO])
def test_nested_observations_are_refused_in_one_line(kind):
    with pytest.raises(UsageError, match="the observation 'place' is a Dict inside a Dict") as caught:
        kind("MultiInputPolicy", Nested(), device="cpu")
    one_line(caught)
