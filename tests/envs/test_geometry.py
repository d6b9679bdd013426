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
    limited = geometry.limit_length_(vectors((6, 8, 0), (0, 0, -20), (30, 40, 0)), 5.0)
    assert limited.tolist() == [[3, 4, 0], [0, 0, -5], [3, 4, 0]]


@pytest.mark.parametrize("size", [0.0, 4.9, 5.0, 5.000001, 80.0, float("nan")])
def test_limit_length_of_one_vector_is_that_of_many(size):
    one = torch.nn.functional.normalize(torch.tensor([[1.0, 2.0, -3.0]]), dim=-1) * size
    many = geometry.limit_length_(one.repeat(7, 1).clone(), 5.0)
    assert geometry.limit_length_(one.clone(), 5.0)[0].numpy().tobytes() == many[3].numpy().tobytes()


def test_limit_length_leaves_short_vectors_bit_for_bit():
    short = vectors((0.1, 0.2, 0.3), (0, 0, 0), (3, 4, 0))
    assert torch.equal(geometry.limit_length_(short.clone(), 5.0), short)


def test_vectors_whose_gradient_is_taken_are_not_overwritten():
    vector = vectors((3, 4, 0), (0.1, 0, 0)).requires_grad_()
    moving = vector * 1.0
    geometry.limit_length_(moving, 1.0).sum().backward()
    assert torch.equal(moving.detach(), vector.detach())
    assert vector.grad[1].tolist() == [1, 1, 1]


def test_a_limit_of_zero_stops_everything():
    assert geometry.limit_length_(vectors((1, 2, 3), (0, 0, 0)), 0.0).tolist() == [[0, 0, 0], [0, 0, 0]]


def test_constants_made_while_acting_serve_learning_too():
    # torch refuses to save tensors of inference mode for a backward pass.
    with torch.inference_mode():
        geometry.limit_length_(vectors((3.0, 4.0)), 1.23456)
    vector = vectors((3.0, 4.0)).requires_grad_()
    geometry.limit_length_(vector.clone(), 1.23456).sum().backward()
    assert torch.isfinite(vector.grad).all()


def test_arguments_are_not_changed():
    start, end = vectors((3, 4, 0)), vectors((-1, -1, 0))
    geometry.least_length(start, end)
    geometry.dot(start, end)
    assert start.tolist() == [[3, 4, 0]]
    assert end.tolist() == [[-1, -1, 0]]
