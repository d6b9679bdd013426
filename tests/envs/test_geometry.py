import pytest
import torch

from rl_tracking.envs import geometry


def vectors(*rows):
    return torch.tensor(rows, dtype=torch.float32)


def test_lengths_and_products():
    assert geometry.length(vectors((3, 4, 0), (2, 3, 6), (0, 0, 0))).tolist() == [5, 7, 0]
    assert geometry.length(vectors((3, 4))).tolist() == [5]
    assert geometry.dot(vectors((1, 2, 3)), vectors((4, -5, 6))).tolist() == [12]
    assert geometry.length(torch.ones(2, 5, 4)).shape == (2, 5)


def test_limit_length_shortens_and_keeps_the_direction():
    limited = geometry.limit_length(vectors((6, 8, 0), (0, 0, -20), (30, 40, 0)), 5.0)
    assert limited.tolist() == [[3, 4, 0], [0, 0, -5], [3, 4, 0]]


@pytest.mark.parametrize("size", [0.0, 4.9, 5.0, 5.000001, 80.0, float("nan")])
def test_limit_length_of_one_vector_is_that_of_many(size):
    one = torch.nn.functional.normalize(torch.tensor([[1.0, 2.0, -3.0]]), dim=-1) * size
    many = geometry.limit_length(one.repeat(7, 1), 5.0)
    assert geometry.limit_length(one, 5.0)[0].numpy().tobytes() == many[3].numpy().tobytes()


def test_limit_length_leaves_short_vectors_bit_for_bit():
    short = vectors((0.1, 0.2, 0.3), (0, 0, 0), (3, 4, 0))
    assert torch.equal(geometry.limit_length(short, 5.0), short)


def test_a_limit_of_zero_stops_everything():
    assert geometry.limit_length(vectors((1, 2, 3), (0, 0, 0)), 0.0).tolist() == [[0, 0, 0], [0, 0, 0]]


def test_bearing_is_a_unit_vector_or_zero():
    seen = geometry.bearing(vectors((0, 3, 4), (-7, 0, 0), (0, 0, 0)))
    assert torch.allclose(seen, vectors((0, 0.6, 0.8), (-1, 0, 0), (0, 0, 0)))


@pytest.mark.parametrize(
    ("offset", "velocity", "expected"),
    [
        ((10, 0, 0), (-2, 1, 0), 2.0),
        ((10, 0, 0), (2, 9, 9), -2.0),
        ((3, 4, 0), (-3, -4, 0), 5.0),
        ((0, 0, 0), (-3, -4, 0), 0.0),
    ],
)
def test_closing_speed(offset, velocity, expected):
    assert geometry.closing_speed(vectors(offset), vectors(velocity)).item() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("offset", "velocity", "expected"),
    [
        ((10, 0, 0), (0, 5, 0), 0.5),
        ((10, 0, 0), (-4, 3, 4), 0.5),
        ((0, 20), (1, -7), 0.05),
        ((10, 0, 0), (-5, 0, 0), 0.0),
    ],
)
def test_line_of_sight_rate(offset, velocity, expected):
    rate = geometry.line_of_sight_rate(vectors(offset), vectors(velocity)).item()
    assert rate == pytest.approx(expected, abs=1e-7)


def test_line_of_sight_turns_as_an_angle_does():
    # A target on a circle about the pursuer turns the line of sight at its own angular rate: 3 m/s over 6 m.
    angle = torch.linspace(0, 6, 13)
    offset = 6 * torch.stack([angle.cos(), angle.sin()], dim=-1)
    velocity = 3 * torch.stack([-angle.sin(), angle.cos()], dim=-1)
    assert torch.allclose(geometry.line_of_sight_rate(offset, velocity), torch.full((13,), 0.5))


@pytest.mark.parametrize(
    ("offset", "velocity", "time", "miss"),
    [
        ((10, 3, 0), (-2, 0, 0), 5.0, 3.0),
        ((10, 0, 0), (-2, 0, 0), 5.0, 0.0),
        ((3, 4, 0), (1, 1, 0), 0.0, 5.0),
        ((3, 4, 0), (0, 0, 0), 0.0, 5.0),
        ((0, 0, 0), (1, 0, 0), 0.0, 0.0),
        ((0, -8), (6, 8), 0.64, 4.8),
    ],
    ids=["passes", "hits", "recedes", "stands still", "is there", "flat"],
)
def test_closest_approach(offset, velocity, time, miss):
    found = geometry.closest_approach(vectors(offset), vectors(velocity))
    assert found[0].item() == pytest.approx(time)
    assert found[1].item() == pytest.approx(miss, abs=1e-6)


def test_nothing_is_not_a_number_on_top_of_the_target():
    zero = torch.zeros(1, 3)
    for velocity in (zero, vectors((1, 2, 3))):
        results = [
            geometry.bearing(zero),
            geometry.closing_speed(zero, velocity),
            geometry.line_of_sight_rate(zero, velocity),
            *geometry.closest_approach(zero, velocity),
        ]
        assert all(torch.isfinite(result).all() for result in results)


def test_constants_made_while_acting_serve_learning_too():
    # torch refuses to save tensors of inference mode for a backward pass.
    with torch.inference_mode():
        geometry.limit_length(vectors((3.0, 4.0)), 1.23456)
    vector = vectors((3.0, 4.0)).requires_grad_()
    geometry.limit_length(vector, 1.23456).sum().backward()
    assert torch.isfinite(vector.grad).all()


def test_arguments_are_left_alone():
    offset, velocity = vectors((3, 4, 0)), vectors((-1, -1, 0))
    geometry.limit_length(offset, 1.0)
    geometry.closest_approach(offset, velocity)
    assert offset.tolist() == [[3, 4, 0]]
    assert velocity.tolist() == [[-1, -1, 0]]
