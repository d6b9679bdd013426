"""Every number of a rollout below says where it stands, so that a sample whose parts do not belong together shows."""

import dataclasses

import pytest
import torch

from rl_tracking.agents.collect.batches import Batch, PathBatch
from rl_tracking.agents.collect.rollout import Estimate, GroupRollout, PathRollout


def places(*shape, offset=0.0):
    """A tensor whose elements are their own multi-index, one decimal digit an axis, plus ``offset``."""
    total = torch.full(shape, float(offset), dtype=torch.float64)
    for axis, size in enumerate(shape):
        digit = torch.arange(size, dtype=torch.float64) * 10 ** (len(shape) - 1 - axis)
        total = total + digit.view(-1, *[1] * (len(shape) - 1 - axis))
    return total


def digits(values, axes):
    """The multi-indices that :func:`places` wrote, ``[len(values), axes]``; offsets are below 1."""
    whole = values.floor().long()
    return torch.stack([whole // 10 ** (axes - 1 - axis) % 10 for axis in range(axes)], dim=-1)


T, N, E = 5, 3, 4


def group_rollout():
    """T macro-steps of E worlds with N branches; samples bear (t, n, e), states (t, e)."""
    episode_end = torch.zeros(T, E, dtype=torch.bool)
    episode_end[2, 1] = True
    rollout = GroupRollout(
        observation=places(T, E).unsqueeze(-1).expand(T, E, 2),
        action=places(T, N, E, offset=0.1).unsqueeze(-1).expand(T, N, E, 2),
        log_prob=places(T, N, E, offset=0.2),
        reward=places(T, N, E, offset=0.3),
        value=places(T, E, offset=0.4),
        next_value=places(T, N, E, offset=0.5),
        terminated=torch.zeros(T, N, E, dtype=torch.bool),
        episode_end=episode_end,
        weight=places(T, N, E, offset=0.8),
    )
    return rollout, Estimate(places(T, N, E, offset=0.6), places(T, E, offset=0.7), rollout.reward)


R, H = 4, 5


def path_rollout(valid=None, unpadded=None):
    """R roots of H steps of N branches in E worlds; everything bears (r, k, n, e)."""
    shape = (R, H, N, E)
    never = torch.zeros(shape, dtype=torch.bool)
    episode_end = never.clone()
    episode_end[1, 2, 0, 3] = episode_end[1, 2, 1, 2] = True
    return PathRollout(
        observation=places(*shape).unsqueeze(-1).expand(*shape, 2),
        action=places(*shape, offset=0.1).unsqueeze(-1).expand(*shape, 2),
        log_prob=places(*shape, offset=0.2),
        reward=places(*shape, offset=0.3),
        value=places(*shape, offset=0.4),
        next_value=places(*shape, offset=0.5),
        terminated=never,
        episode_end=episode_end,
        valid=~never if valid is None else valid,
        unpadded=torch.ones(R, H, dtype=torch.bool) if unpadded is None else unpadded,
        weight=places(*shape, offset=0.8),
    )


def path_estimate(keep=None):
    shape = (R, H, N, E)
    return Estimate(places(*shape, offset=0.6), places(*shape, offset=0.7), places(*shape, offset=0.3), keep)


# -- N actions a state ------------------------------------------------------------------------------------------------


def test_a_group_rollout_becomes_a_row_a_state():
    rollout, estimate = group_rollout()
    batch = rollout.batch(estimate)
    assert batch.observation.shape == (T * E, 2)
    assert batch.action.shape == (N, T * E, 2)
    assert batch.log_prob.shape == batch.advantage.shape == (N, T * E)
    assert batch.value.shape == batch.value_target.shape == (T * E,)


def test_every_sample_of_a_group_keeps_its_state():
    rollout, estimate = group_rollout()
    batch = rollout.batch(estimate)
    state = digits(batch.observation[:, 0], 2)
    assert torch.equal(digits(batch.value, 2), state)
    assert torch.equal(digits(batch.value_target, 2), state)
    for branch in range(N):
        sample = digits(batch.action[branch, :, 0], 3)
        assert torch.equal(sample[:, [0, 2]], state)
        assert bool((sample[:, 1] == branch).all())
        assert torch.equal(digits(batch.log_prob[branch], 3), sample)
        assert torch.equal(digits(batch.advantage[branch], 3), sample)
        assert torch.equal(digits(batch.weight[branch], 3), sample)
    assert len(set(map(tuple, state.tolist()))) == T * E
    # And each is what it says it is.
    for tensor, offset in ((batch.value, 0.4), (batch.value_target, 0.7), (batch.log_prob, 0.2), (batch.weight, 0.8)):
        torch.testing.assert_close(tensor.frac(), torch.full_like(tensor, offset))


def test_the_executed_branch_of_a_group_is_the_first():
    rollout, _ = group_rollout()
    assert torch.equal(digits(rollout.executed(rollout.reward).flatten(), 3)[:, 1], torch.zeros(T * E))
    assert rollout.executed(rollout.reward).shape == (T, E)
    assert rollout.executed_episode_end is rollout.episode_end


# -- branches that run on ---------------------------------------------------------------------------------------------


def check_samples(batch, expected):
    """``expected`` samples, each with what belongs to it; a group sees its branch 0's observation."""
    where = digits(batch.action[0, :, 0], 4)
    assert sorted(map(tuple, where.tolist())) == sorted(map(tuple, expected.tolist()))
    for tensor in (batch.log_prob[0], batch.advantage[0], batch.weight[0], batch.value, batch.value_target):
        assert torch.equal(digits(tensor, 4), where)
    offsets = {"action": 0.1, "log_prob": 0.2, "value": 0.4, "advantage": 0.6, "value_target": 0.7, "weight": 0.8}
    for name, offset in offsets.items():
        tensor = getattr(batch, name).frac()
        torch.testing.assert_close(tensor, torch.full_like(tensor, offset), rtol=0, atol=1e-6)
    state = where.clone()
    shared = batch.roots * batch.group
    assert bool((where[:shared, 1] == 0).all())
    state[:shared, 2] = 0
    assert torch.equal(digits(batch.of_samples(batch.observation)[:, 0], 4), state)
    assert batch.observation.shape == (batch.states, 2)
    return shared


def test_a_path_rollout_becomes_a_row_a_state():
    batch = path_rollout().batch(path_estimate())
    samples, states = R * H * N * E, R * E + R * (H - 1) * N * E
    assert (batch.roots, batch.group, batch.states) == (R * E, N, states)
    assert batch.observation.shape == (states, 2)
    assert len(set(batch.observation[:, 0].tolist())) == states
    assert batch.action.shape == (1, samples, 2)
    assert batch.log_prob.shape == batch.advantage.shape == (1, samples)
    assert batch.value.shape == batch.value_target.shape == (samples,)
    assert check_samples(batch, torch.ones(R, H, N, E).nonzero()) == R * N * E


def test_what_is_not_kept_is_left_out():
    keep = torch.rand(R, H, N, E, generator=torch.Generator().manual_seed(0)) < 0.4
    assert 0 < int(keep.sum()) < keep.numel()
    some = path_rollout().batch(path_estimate(keep))
    assert check_samples(some, keep.nonzero()) == N * int(keep[:, 0].all(dim=1).sum())
    # A group that is kept in part has no common root: each of its samples is a state.
    assert 0 < some.roots < int(keep[:, 0].any(dim=1).sum())
    # Being valid decides nothing of itself: the estimate says what is trained on.
    check_samples(path_rollout(valid=~keep).batch(path_estimate(keep)), keep.nonzero())
    assert path_rollout(valid=keep).batch(path_estimate()).value.shape == (R * H * N * E,)


def test_the_executed_steps_of_paths_are_in_the_order_of_execution():
    rollout = path_rollout()
    executed = rollout.executed(rollout.reward)
    assert executed.shape == (R * H, E)
    where = digits(executed.flatten(), 4).view(R * H, E, 4)
    assert where[:, 0, :2].tolist() == [[root, step] for root in range(R) for step in range(H)]
    assert bool((where[..., 2] == 0).all())
    assert bool((where[..., 3] == torch.arange(E)).all())
    assert rollout.executed_episode_end.nonzero().tolist() == [[1 * H + 2, 3]]


def test_steps_that_were_not_made_are_not_executed():
    unpadded = torch.ones(R, H, dtype=torch.bool)
    unpadded[0, 3:] = unpadded[2, 1:] = False
    rollout = path_rollout(unpadded=unpadded)
    where = digits(rollout.executed(rollout.reward)[:, 0], 4)[:, :2]
    assert where.tolist() == unpadded.nonzero().tolist()
    assert rollout.executed_episode_end.shape == (int(unpadded.sum()), E)


def test_roots_are_the_first_states_with_all_that_was_tried_there():
    rollout, _ = group_rollout()
    observation, action = rollout.roots
    assert observation is rollout.observation
    assert action is rollout.action
    observation, action = path_rollout().roots
    assert observation.shape == (R, E, 2)
    assert action.shape == (R, N, E, 2)
    where = digits(action[..., 0].flatten(), 4).view(R, N, E, 4)
    assert bool((where[..., 1] == 0).all())
    assert torch.equal(digits(observation[..., 0].flatten(), 4).view(R, E, 4), where[:, 0])


# -- batches ----------------------------------------------------------------------------------------------------------


def test_rows_are_states_with_all_their_samples():
    rollout, estimate = group_rollout()
    batch = rollout.batch(estimate)
    chosen = torch.tensor([7, 0, 7, 19])
    part = batch.rows(chosen)
    state = digits(batch.observation[:, 0], 2)[chosen]
    assert part.action.shape == (N, 4, 2)
    for tensor in (part.observation[:, 0], part.value, part.value_target):
        assert torch.equal(digits(tensor, 2), state)
    for branch in range(N):
        for tensor in (part.action[branch, :, 0], part.log_prob[branch], part.advantage[branch], part.weight[branch]):
            assert torch.equal(digits(tensor, 3)[:, [0, 2]], state)
            assert bool((digits(tensor, 3)[:, 1] == branch).all())


def test_batches_of_different_length_are_put_together():
    keep = torch.zeros(R, H, N, E, dtype=torch.bool)
    keep[1, :, 2, 0] = keep[2, 0, :, 3] = True
    few, all_of_them = path_rollout().batch(path_estimate(keep)), path_rollout().batch(path_estimate())
    assert (few.roots, few.states) == (1, 1 + H)
    together = PathBatch.cat([few, all_of_them, few])
    assert together.roots == R * E + 2
    expected = [keep.nonzero(), torch.ones(R, H, N, E).nonzero(), keep.nonzero()]
    assert check_samples(together, torch.cat(expected)) == N * (R * E + 2)


def test_a_batch_alone_stays_as_it_is():
    batch = path_rollout().batch(path_estimate())
    for field in dataclasses.fields(PathBatch):
        mine, theirs = getattr(PathBatch.cat([batch]), field.name), getattr(batch, field.name)
        assert torch.equal(torch.as_tensor(mine), torch.as_tensor(theirs)), field.name


@pytest.mark.parametrize("kind", [GroupRollout, PathRollout, Estimate, Batch, PathBatch])
def test_they_are_values(kind):
    assert kind.__dataclass_params__.frozen
