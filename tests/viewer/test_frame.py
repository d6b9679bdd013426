from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from rl_tracking.viewer.frame import SMOOTHING, Snapshot, between, padded, snapshot


def moving(x: float, v: float, a: float = 0.0) -> Snapshot:
    """One pursuer on the x axis, the target on the y axis with the same numbers."""
    along_x, along_y = np.array([1.0, 0.0, 0.0]), np.array([0.0, 1.0, 0.0])
    return Snapshot(
        position=x * along_x[None],
        velocity=v * along_x[None],
        acceleration=a * along_x[None],
        lean=a * along_x[None],
        target_position=x * along_y,
        target_velocity=v * along_y,
    )


def test_two_dimensions_are_padded_and_more_are_refused() -> None:
    assert padded(torch.tensor([[1.0, 2.0]])).tolist() == [[1.0, 2.0, 0.0]]
    assert padded(torch.tensor([1.0, 2.0, 3.0])).tolist() == [1.0, 2.0, 3.0]
    with pytest.raises(ValueError, match="2 or 3 dimensions, not 4"):
        padded(torch.zeros(4))


def test_the_ends_are_the_states_themselves() -> None:
    start, end = moving(1.0, 2.0), moving(5.0, -3.0)
    assert between(start, end, 0.0, 0.1) is start
    assert between(start, end, 1.0, 0.1) is end


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9])
def test_constant_acceleration_is_followed_exactly(fraction: float) -> None:
    # x = t + 2 t^2 from t = 0 to 0.5: a parabola, which a cubic through both ends with their slopes contains.
    dt, t = 0.5, 0.5 * fraction
    moment = between(moving(0.0, 1.0, 4.0), moving(1.0, 3.0, 4.0), fraction, dt)
    assert moment.position[0, 0] == pytest.approx(t + 2 * t * t)
    assert moment.target_position[1] == pytest.approx(t + 2 * t * t)
    assert moment.velocity[0, 0] == pytest.approx(1 + 4 * t)
    assert moment.acceleration[0, 0] == pytest.approx(4.0)


def test_a_body_held_by_a_wall_does_not_move() -> None:
    moment = between(moving(3.0, 9.0), moving(3.0, 9.0), 0.4, 1.0)
    assert moment.position[0, 0] == pytest.approx(3.0)


def test_a_velocity_that_contradicts_the_displacement_does_not_throw_the_body_out() -> None:
    points = [between(moving(0.0, 100.0), moving(1.0, 100.0), s, 1.0).position[0, 0] for s in np.linspace(0, 1, 101)]
    assert min(points) >= -1e-9
    assert max(points) <= 1.0 + 1e-9


def test_lean_follows_the_acceleration_gradually() -> None:
    def state(acceleration: float) -> SimpleNamespace:
        zeros = torch.zeros(1, 1, 2)
        return SimpleNamespace(
            position=zeros,
            velocity=zeros,
            acceleration=torch.full((1, 1, 2), acceleration),
            target_position=torch.tensor([[3.0, 4.0]]),
            target_velocity=torch.zeros(1, 2),
        )

    first = snapshot(state(0.0))
    second = snapshot(state(2.0), first)
    assert second.lean[0].tolist() == pytest.approx([2 * SMOOTHING, 2 * SMOOTHING, 0.0])
    assert second.acceleration[0].tolist() == [2.0, 2.0, 0.0]
    assert second.distance == pytest.approx(5.0)
