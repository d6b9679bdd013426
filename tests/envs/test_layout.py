"""Tensors of worlds are worlds-fastest in memory, and what is computed does not depend on it."""

import pytest
import torch

from rl_tracking.envs import geometry, layout, noise
from rl_tracking.envs.noise import Stream, world_keys
from rl_tracking.envs.simulator import Simulator
from rl_tracking.envs.vec_env import make_scenario, make_vec
from tests.helpers import random_actions, row_major, slow_fields

WORLDS = 6


@pytest.mark.parametrize("shape", [(5,), (5, 3), (5, 2, 3), (5, 4, 2, 3), (5, 0), (1, 2, 3), (2000, 3)])
def test_worlds_fastest_keeps_numbers_and_shape(shape):
    tensor = torch.randn(shape)
    moved = layout.worlds_fastest(tensor)
    assert torch.equal(moved, tensor)
    assert layout.is_worlds_fastest(moved)
    assert layout.worlds_fastest(moved).data_ptr() == moved.data_ptr(), "moved once"


def test_memory_is_that_of_a_tensor_with_the_worlds_last():
    position = Simulator(make_scenario("pursuit", pursuers=2)).initial(world_keys(0, WORLDS)).position
    assert position.shape == (WORLDS, 2, 3)
    assert position.permute(1, 2, 0).is_contiguous()


@pytest.mark.parametrize(
    ("shape", "dim"), [((5,), 0), *((shape, dim) for shape in [(5, 3), (5, 2, 3), (1, 2, 3)] for dim in (0, -1))]
)
def test_cat(shape, dim):
    tensors = [torch.randn(shape) for _ in range(3)]
    joined = layout.cat([layout.worlds_fastest(tensor) for tensor in tensors], dim=dim)
    assert torch.equal(joined, torch.cat(tensors, dim=dim))
    assert layout.is_worlds_fastest(joined)


@pytest.mark.parametrize("worlds", [1, 5])
def test_cat_between_the_outer_axes(worlds):
    tensors = [torch.randn(worlds, 2, 3) for _ in range(3)]
    joined = layout.cat([layout.worlds_fastest(tensor) for tensor in tensors], dim=1)
    assert torch.equal(joined, torch.cat(tensors, dim=1))
    assert layout.is_worlds_fastest(joined)


@pytest.mark.parametrize("shape", [(5, 3), (5, 1, 3), (5, 2, 3), (5, 4, 2, 3), (1, 2, 3)])
def test_flattening_takes_no_copy(shape):
    tensor = torch.randn(shape)
    laid_out = layout.worlds_fastest(tensor)
    flat = laid_out.flatten(1)
    assert torch.equal(flat, tensor.flatten(1))
    assert flat.data_ptr() == laid_out.data_ptr()
    assert layout.is_worlds_fastest(flat)


@pytest.mark.parametrize("shape", [(5,), (5, 3), (5, 2, 3)])
@pytest.mark.parametrize("worlds", [torch.tensor([3, 0, 3]), torch.tensor([True, False, False, True, True])])
def test_take(shape, worlds):
    tensor = torch.randn(shape)
    taken = layout.take(layout.worlds_fastest(tensor), worlds)
    assert torch.equal(taken, tensor[worlds])
    assert layout.is_worlds_fastest(taken)


@pytest.mark.parametrize("draw", [noise.bits, noise.uniform, noise.normal])
@pytest.mark.parametrize("worlds", [1, 7])
def test_noise_is_worlds_fastest(draw, worlds):
    key = world_keys(0, worlds)
    assert layout.is_worlds_fastest(draw(key, torch.zeros_like(key), Stream.SENSOR, 5))


@pytest.mark.parametrize("shape", [(5, 3), (5, 2, 3), (5, 7), (5, 2, 40), (5, 2, 1), (3000, 3)])
def test_sums_are_worlds_fastest_and_do_not_depend_on_the_layout(shape):
    parts = layout.worlds_fastest(torch.randn(shape))
    total = geometry.summed(parts)
    torch.testing.assert_close(total, parts.sum(-1))
    assert layout.is_worlds_fastest(total)
    assert torch.equal(total, geometry.summed(row_major(parts)))
    assert torch.equal(total[:1], geometry.summed(parts[:1]))


def actions(simulator, steps, worlds=WORLDS):
    generator = torch.Generator().manual_seed(0)
    return torch.rand(steps, worlds, *simulator.action_shape, generator=generator) * 2.4 - 1.2


def test_the_worlds_of_an_environment_stay_worlds_fastest():
    env = make_vec("pursuit", WORLDS, seed=0, max_steps=5)
    env.reset()
    for action in random_actions(env, 12):  # across the ends of episodes
        env.step(action)
        assert slow_fields(env.get_state()) == []
    branches = env.step_branches(torch.from_numpy(random_actions(env, 4)))
    assert branches.observation.stride(1) == 1
    assert slow_fields(env.fork(4, "independent")) == []


@pytest.mark.parametrize("parameters", [{}, {"pursuers": 2, "wind_speed": 1.0}, {"preset": "sandbox"}])
def test_a_gradient_runs_through_three_steps(parameters):
    simulator = Simulator(make_scenario("pursuit", **parameters))
    state = simulator.initial(world_keys(3, WORLDS))
    plan = actions(simulator, 3).clamp(-0.9, 0.9)
    moved = plan.clone().requires_grad_()
    total = torch.zeros(())
    for action in moved:
        made = simulator.transition(state, action)
        total, state = total + made.reward.sum(), made.after
    total.backward()
    assert torch.isfinite(moved.grad).all()
    start, plain = simulator.initial(world_keys(3, WORLDS)), []
    for action in plan:
        made = simulator.transition(start, action)
        start = made.after
        plain.append(made.reward.sum())
    assert torch.equal(total.detach(), sum(plain, torch.zeros(()))), "the same steps as without a gradient"
    assert start.differences(state.map(torch.detach)) == []
    if parameters.get("preset") != "sandbox":  # there displacements are cut to whole units
        assert (moved.grad != 0).any(dim=-1).all()


def test_the_gradient_of_a_step_is_the_difference_quotient():
    simulator = Simulator(make_scenario("pursuit", pursuers=2))
    state = simulator.initial(world_keys(3, WORLDS))

    def reward(action):
        return simulator.transition(state, action).reward.sum()

    action = (actions(simulator, 1)[0] * 0.5).requires_grad_()
    reward(action).backward()
    direction, size = torch.randn(action.shape, generator=torch.Generator().manual_seed(1)), 1e-2
    with torch.no_grad():
        quotient = (reward(action + size * direction) - reward(action - size * direction)) / (2 * size)
    assert quotient.item() == pytest.approx((action.grad * direction).sum().item(), rel=0.05)


def test_the_gradient_of_a_length_is_zero_at_a_zero_vector():
    vector = torch.tensor([[3.0, 4.0], [0.0, 0.0]], requires_grad=True)
    geometry.length(vector).sum().backward()
    torch.testing.assert_close(vector.grad, torch.tensor([[0.6, 0.8], [0.0, 0.0]]))
    still = torch.zeros(2, 3, requires_grad=True)
    geometry.limit_length_(still.clone(), 1.0).sum().backward()
    assert still.grad.tolist() == [[1.0] * 3] * 2
