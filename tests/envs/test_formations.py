import math

import pytest

from rl_tracking.envs.parts.formations import FORMATIONS, least_gap, reach, slots


def close(places):
    return [pytest.approx(place, abs=1e-9) for place in places]


def test_by_hand():
    assert slots("square", 4, 40) == [(-20, -20), (20, -20), (-20, 20), (20, 20)]
    assert slots("square", 5, 10) == [(-10, -5), (0, -5), (10, -5), (-10, 5), (0, 5)]
    assert slots("line", 3, 10) == [(-10, 0), (0, 0), (10, 0)]
    assert slots("circle", 4, 2) == close([(2, 0), (0, 2), (-2, 0), (0, -2)])
    # The ends of a wedge are at 30 degrees, a quarter further out than its middle.
    side, height = 12.5 * math.cos(math.pi / 6), 12.5 / 2
    assert slots("wedge", 3, 10) == close([(side, -height), (10, 0), (side, height)])


@pytest.mark.parametrize("formation", FORMATIONS)
@pytest.mark.parametrize("pursuers", [2, 3, 4, 9, 20])
def test_every_pursuer_has_a_slot_of_its_own_and_the_scale_scales(formation, pursuers):
    places = slots(formation, pursuers, 7.0)
    assert len(places) == pursuers
    assert least_gap(places) > 0.1
    assert slots(formation, pursuers, 14.0) == close([(2 * x, 2 * y) for x, y in places])
    if formation != "wedge":
        assert [sum(axis) for axis in zip(*places, strict=True)] == pytest.approx([0, 0], abs=1e-9) or (
            formation == "square" and math.ceil(math.sqrt(pursuers)) ** 2 != pursuers
        )


def test_gap_and_reach():
    assert least_gap([(0, 0), (3, 4), (0, 1)]) == 1
    assert least_gap([(5, 5)]) == math.inf
    assert reach([(1, -7), (3, 2)]) == 7
