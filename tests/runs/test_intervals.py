import math

import numpy as np
import pytest

from rl_tracking.runs import intervals


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        # At 0 and 1 Wilson's interval is [0, z^2 / (n + z^2)] and [n / (n + z^2), 1], z^2 = 3.8414588.
        (0, 20, 0.0, 3.8414588 / 23.8414588),
        (20, 20, 20 / 23.8414588, 1.0),
        (2, 2, 2 / 5.8414588, 1.0),
        # In the middle: .5 -+ z / (2 sqrt(n + z^2)).
        (50, 100, 0.5 - 1.959964 / (2 * math.sqrt(103.8414588)), 0.5 + 1.959964 / (2 * math.sqrt(103.8414588))),
    ],
)
def test_the_interval_of_a_share(successes, trials, low, high):
    found = intervals.proportion(successes, trials)
    assert found["value"] == successes / trials
    assert found["ci95"] == pytest.approx([low, high], rel=1e-6, abs=1e-12)


def test_the_interval_of_a_mean():
    sample = np.random.default_rng(1).normal(3.0, 2.0, 400)
    found = intervals.mean(sample)
    low, high = found["ci95"]
    assert found["value"] == pytest.approx(sample.mean())
    assert low < found["value"] < high
    # That of the normal approximation, which is good for 400 values.
    half = 1.96 * sample.std() / math.sqrt(400)
    assert (high - low) / 2 == pytest.approx(half, rel=0.1)
    assert intervals.mean(sample) == found
    assert intervals.mean(np.full(5, 2.0)) == {"value": 2.0, "ci95": [2.0, 2.0]}


def test_one_value_has_no_interval():
    assert intervals.proportion(1, 1) == {"value": 1.0, "ci95": [None, None]}
    assert intervals.proportion(0, 1) == {"value": 0.0, "ci95": [None, None]}
    assert intervals.mean(np.array([2.5])) == {"value": 2.5, "ci95": [None, None]}
    assert intervals.mean(np.array([])) == {"value": None, "ci95": [None, None]}
