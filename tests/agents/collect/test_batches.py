"""The update evaluates every state once, however many samples it has, and learns what it would from a row a sample."""

import copy
import dataclasses
from unittest import mock

import pytest
import torch

from rl_tracking import HybridGRPO
from rl_tracking.agents.collect import observations
from rl_tracking.agents.collect.batches import Batch, PathBatch
from rl_tracking.agents.grpo import GRPO
from tests.agents.collect.test_distributions import SPACES, Counter, chosen
from tests.agents.toys import SMALL, LineVecEnv, PartsVecEnv, plain_arguments

WORLDS, ROOTS, HORIZON, SAMPLES, EPOCHS = 4, 2, 3, 5, 2
LATER = ROOTS * (HORIZON - 1) * SAMPLES * WORLDS


def model_of(algorithm, env=None, policy="MlpPolicy", **arguments):
    """Two roots in each of four worlds, whose episodes end within the branches; some minibatches an epoch."""
    values = {
        **plain_arguments(algorithm),
        "n_steps": ROOTS * HORIZON, "batch_size": 32, "n_epochs": EPOCHS, "n_samples": SAMPLES, "horizon": HORIZON,
        "gamma": 0.9, "seed": 0, "device": "cpu", "policy_kwargs": SMALL, **arguments,
    }  # fmt: skip
    return algorithm(policy, LineVecEnv(WORLDS, limit=4, edge=1.0) if env is None else env, **values)


def rolled_out(algorithm, env=None, rollouts=1, **arguments):
    """A model and the batch it is about to learn from, in double precision and with a policy that has moved on."""
    model = model_of(algorithm, env, **arguments)
    train, model.train = model.train, lambda: None
    batches, samples = [], model._samples
    for _ in range(rollouts):
        model.learn(1, reset_num_timesteps=False)
        batches.append(samples(model.rollout, model.estimate(model.rollout)))
    model.train = train
    model.policy.double()
    shift = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in model.policy.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=shift, dtype=torch.float64)
    return model, in_double(batches[-1])


def in_double(batch):
    def double(part):
        return part.double() if part.is_floating_point() else part

    fields = {field.name: getattr(batch, field.name) for field in dataclasses.fields(batch)}
    changed = {name: observations.each(double, part) for name, part in fields.items() if not isinstance(part, int)}
    return dataclasses.replace(batch, **changed)


def row_a_sample(batch):
    """The same samples, each with an observation of its own."""
    roots, states = torch.arange(batch.roots), torch.arange(batch.roots, batch.states)
    state = torch.cat([roots.repeat_interleave(batch.group), states])
    return Batch(
        observations.each(lambda part: part[state], batch.observation),
        *(getattr(batch, field.name) for field in dataclasses.fields(Batch)[1:]),
    )


def every_sample(rollout, estimate):
    """A row for every sample that the estimate keeps, in the order of the rollout."""
    keep = torch.ones_like(rollout.valid) if estimate.keep is None else estimate.keep
    samples = (rollout.action, rollout.log_prob, estimate.advantage)
    return Batch(
        observations.each(lambda part: part[keep], rollout.observation),
        *(tensor[keep].unsqueeze(0) for tensor in samples),
        rollout.value[keep],
        estimate.value_target[keep],
        rollout.weight[keep].unsqueeze(0),
    )


def loss_and_gradients(model, batch):
    model.policy.zero_grad()
    temperature = copy.deepcopy(model.temperature)  # which the loss adapts
    # Stable-Baselines3 makes single precision of every observation; here it makes double.
    with mock.patch.object(torch.Tensor, "float", torch.Tensor.double):
        loss, figures = model._loss(batch)
    loss.backward()
    model.temperature = temperature
    return loss.detach(), [p.grad for p in model.policy.parameters()], {k: float(v) for k, v in figures.items()}


def check_same_loss(model, batch, reference=None):
    assert isinstance(batch, PathBatch)
    assert batch.roots > 0
    assert batch.group == SAMPLES
    mine, gradients, figures = loss_and_gradients(model, batch)
    reference = row_a_sample(batch) if reference is None else in_double(reference)
    assert reference.value.shape[0] == observations.leaf(reference.observation).shape[0] > batch.states
    theirs, expected, all_figures = loss_and_gradients(model, reference)
    torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-12)
    assert figures == pytest.approx(all_figures, rel=1e-9, abs=1e-12)
    assert [gradient is None for gradient in gradients] == [gradient is None for gradient in expected]
    pairs = [(a, b) for a, b in zip(gradients, expected, strict=True) if a is not None]
    for gradient, wanted in pairs:
        torch.testing.assert_close(gradient, wanted, rtol=1e-6, atol=1e-12)
    assert max(float(wanted.abs().max()) for _, wanted in pairs) > 1e-4


# -- the loss ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", [HybridGRPO, GRPO])
@pytest.mark.parametrize("kind", SPACES)
def test_loss_and_gradient_are_those_of_a_row_a_sample(algorithm, kind):
    env = LineVecEnv(WORLDS, SPACES[kind], limit=4, edge=1.0)
    model, batch = rolled_out(algorithm, env, ent_coef=0.05, **chosen(kind))
    check_same_loss(model, batch, every_sample(model.rollout, model.estimate(model.rollout)))
    for minibatch in batch.minibatches(32):
        check_same_loss(model, minibatch)


@pytest.mark.parametrize(
    ("algorithm", "arguments"),
    [
        (HybridGRPO, {"advantage": "literal"}),
        (HybridGRPO, {"baseline": "leave-one-out", "clip_range_vf": 0.05, "normalize_advantage": False}),
        (HybridGRPO, {"n_candidates": 9, "guidance_beta": 0.5}),
        (HybridGRPO, {"ent_coef": "auto"}),
        (GRPO, {"kl_coef": 0.5, "reference_interval": 0}),
        (GRPO, {"horizon": 0, "kl_coef": 0.5, "supervision": "outcome"}),
        (GRPO, {"reuse": 2, "rollouts": 3}),
        (GRPO, {"horizon": 1}),
    ],
    ids=str,
)
def test_so_they_are_whatever_the_arguments(algorithm, arguments):
    model, batch = rolled_out(algorithm, **arguments)
    if getattr(model, "_reference", None) is not None:
        model._reference.double()
    if arguments.get("n_candidates"):
        assert float(batch.weight.std()) > 0.01
    check_same_loss(model, batch)
    if not arguments.get("reuse"):
        check_same_loss(model, batch, every_sample(model.rollout, model.estimate(model.rollout)))


@pytest.mark.parametrize("algorithm", [HybridGRPO, GRPO])
def test_so_they_are_with_dict_observations(algorithm):
    env = PartsVecEnv(WORLDS, limit=4, edge=1.0)
    check_same_loss(*rolled_out(algorithm, env, policy="MultiInputPolicy"))


# -- how often the networks run ---------------------------------------------------------------------------------------


def rows_of_an_update(model):
    """Rows that went through each part of the policy in the first update, and the rollout it learned from."""
    counter, rows, train = Counter(model.policy), {}, model.train

    def watched():
        counter.take()
        train()
        rows.update(counter.take())

    model.train = watched
    model.learn(1)
    return rows, model.rollout


@pytest.mark.parametrize("size", [7, 32, 10_000])
@pytest.mark.parametrize("kind", SPACES)
def test_hybrid_grpo_runs_its_networks_once_a_state(kind, size):
    env = LineVecEnv(WORLDS, SPACES[kind], limit=4, edge=1.0)
    rows, _ = rows_of_an_update(model_of(HybridGRPO, env, batch_size=size, **chosen(kind)))
    states = EPOCHS * (ROOTS * WORLDS + LATER)
    assert rows == {"trunk": states, "action": states, "value": states}


@pytest.mark.parametrize("horizon", [0, 1, HORIZON])
@pytest.mark.parametrize("kind", SPACES)
def test_grpo_runs_its_network_once_a_state(kind, horizon):
    env = LineVecEnv(WORLDS, SPACES[kind], limit=4, edge=1.0)
    rows, rollout = rows_of_an_update(model_of(GRPO, env, horizon=horizon, **chosen(kind)))
    later = int(rollout.valid[:, 1:].sum())
    assert later < rollout.valid[:, 1:].numel() or horizon == 1
    states = EPOCHS * (rollout.valid.shape[0] * WORLDS + later)
    assert rows == {"trunk": states, "action": states, "value": 0}


def test_literal_runs_the_networks_on_roots_alone():
    rows, _ = rows_of_an_update(model_of(HybridGRPO, advantage="literal"))
    assert set(rows.values()) == {EPOCHS * ROOTS * WORLDS}


def test_the_reference_too_runs_once_a_state():
    model = model_of(GRPO, kl_coef=0.5)
    counter = Counter(model._reference)
    _, rollout = rows_of_an_update(model)
    assert counter.rows["trunk"] == EPOCHS * (ROOTS * WORLDS + int(rollout.valid[:, 1:].sum()))


def test_earlier_rollouts_run_the_network_once_a_state():
    model = model_of(GRPO, LineVecEnv(WORLDS, limit=30, edge=99.0), reuse=1, n_epochs=1)
    model.learn(WORLDS * ROOTS * HORIZON)
    rows, _ = rows_of_an_update(model)
    assert rows["trunk"] == 2 * (ROOTS * WORLDS + LATER)


# -- minibatches ------------------------------------------------------------------------------------------------------


def numbered(roots, others):
    """A batch whose samples and states bear the number of their state."""
    state = torch.cat([torch.arange(roots).repeat_interleave(SAMPLES), torch.arange(roots, roots + others)]).float()
    sample = torch.arange(len(state)).float()[None]
    return PathBatch(
        torch.arange(roots + others).float()[:, None],
        *(sample[..., None], sample, sample, state, state, sample),
        roots=roots,
        group=SAMPLES,
    )


@pytest.mark.parametrize("size", [1, 3, 10, 16, 33, 1000])
@pytest.mark.parametrize(("roots", "others"), [(6, 70), (6, 0), (0, 70), (1, 1), (30, 8)])
def test_every_sample_once_an_epoch_and_with_its_state(roots, others, size):
    torch.manual_seed(0)
    batch = numbered(roots, others)
    parts = list(batch.minibatches(size))
    for part in parts:
        assert torch.equal(part.of_samples(part.observation)[:, 0], part.value)
        assert torch.equal(part.value, part.value_target)
        assert torch.equal(batch.value[part.log_prob[0].long()], part.value)
        for tensor in (part.action[..., 0], part.advantage, part.weight):
            assert torch.equal(tensor, part.log_prob)
        assert len(part.value) == part.roots * SAMPLES + part.states - part.roots > 0
    everything = torch.cat([part.log_prob[0] for part in parts])
    assert torch.equal(everything.sort().values, batch.log_prob[0])


def test_a_minibatch_counts_samples():
    """As many minibatches of as many samples as with a row a sample, and roots in all of them."""
    batch = numbered(20, 220)  # 320 samples
    parts = list(batch.minibatches(64))
    assert [len(part.value) for part in parts] == [64] * 5
    assert [part.roots for part in parts] == [4] * 5
    assert [len(part.value) for part in batch.minibatches(100)] == [100, 100, 100, 20]
    alone = list(numbered(20, 0).minibatches(32))
    assert sum(len(part.value) for part in alone) == 100
    assert max(len(part.value) for part in alone) < 32 + SAMPLES


def test_the_order_is_random():
    torch.manual_seed(0)
    batch = numbered(20, 220)
    first, second = next(batch.minibatches(64)), next(batch.minibatches(64))
    assert not torch.equal(first.value, second.value)
    assert not torch.equal(first.value[: 4 * SAMPLES], second.value[: 4 * SAMPLES])


def test_rows_of_a_batch_go_by_state():
    part = numbered(3, 4).rows(torch.tensor([6, 2, 0, 3]))
    assert part.observation.flatten().tolist() == [2, 0, 6, 3]
    assert part.value.tolist() == [2] * SAMPLES + [0] * SAMPLES + [6, 3]
    assert part.roots == 2
