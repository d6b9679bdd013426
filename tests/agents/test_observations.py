"""The same on one tensor and on every leaf of a dict."""

import pytest
import torch

from rl_tracking.agents import observations

ONE = torch.arange(24.0).view(6, 4)
PARTS = {"near": ONE, "kind": torch.arange(6)}


def leaves(observation):
    return observation if isinstance(observation, dict) else {"": observation}


@pytest.mark.parametrize("observation", [ONE, PARTS], ids=["tensor", "dict"])
def test_leaf_by_leaf(observation):
    chosen = torch.tensor([4, 0])
    cases = {
        "stack": (observations.stack([observation, observation]), lambda part: torch.stack([part, part])),
        "cat": (observations.cat([observation, observation]), lambda part: torch.cat([part, part])),
        "repeat": (observations.repeat(observation, 3), lambda part: torch.cat([part, part, part])),
        "rows": (observations.rows(observation, chosen), lambda part: part[chosen]),
        "unflatten": (observations.unflatten(observation, 2, 3), lambda part: part.unflatten(0, (2, 3))),
        "back": (observations.flatten(observations.unflatten(observation, 2, 3), 2), lambda part: part),
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
