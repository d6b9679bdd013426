"""Totals of many worlds, of few and of one are computed differently and must be the same."""

import pytest
import torch

from rl_tracking.envs.simulator import Simulator, world_keys
from rl_tracking.envs.totals import Metric, Totals
from rl_tracking.envs.vec_env import make_scenario

METRICS = (
    Metric("share", "flag", "mean"),
    Metric("sum", "number", "sum"),
    Metric("least", "number", "least"),
    Metric("greatest", "number", "greatest"),
    Metric("first", "flag", "first"),
)
MANY = 3000


def after(worlds, steps=4):
    """The totals of the worlds of a slice after some steps."""
    kept = Totals(METRICS)
    generator = torch.Generator().manual_seed(0)
    totals = kept.start(len(range(MANY)[worlds]))
    for step in range(1, steps + 1):
        measures = {
            "flag": (torch.rand(MANY, generator=generator) < 0.3)[worlds],
            "number": torch.randn(MANY, generator=generator)[worlds],
        }
        totals = kept.updated(totals, measures, torch.full((MANY,), step)[worlds])
    return totals


@pytest.mark.parametrize("worlds", [slice(7, 8), slice(100, 110), slice(2990, 3000)])
def test_many_worlds_have_the_totals_of_few(worlds):
    assert torch.equal(after(slice(None))[worlds], after(worlds))


def test_totals_before_a_step_are_left_alone():
    kept = Totals(METRICS)
    start = kept.start(MANY)
    measures = {"flag": torch.ones(MANY, dtype=torch.bool), "number": torch.ones(MANY)}
    kept.updated(start, measures, torch.ones(MANY, dtype=torch.int64))
    assert torch.equal(start, kept.start(MANY))


def test_gradients_run_through_the_totals_of_many_worlds():
    kept = Totals(METRICS)
    number = torch.randn(MANY, requires_grad=True)
    measures = {"flag": torch.zeros(MANY, dtype=torch.bool), "number": number}
    kept.updated(kept.start(MANY), measures, torch.ones(MANY, dtype=torch.int64)).nan_to_num(0, 0, 0).sum().backward()
    assert torch.equal(number.grad, torch.full((MANY,), 3.0))


def test_one_metric_alone_is_that_of_all():
    simulator = Simulator(make_scenario("pursuit", spawn="near", spawn_radius=2.5))
    state = simulator.initial(world_keys(0, 5))
    for _ in range(3):
        state = simulator.transition(state, torch.zeros(5, *simulator.action_shape)).after
    together = simulator.metrics(state)
    for metric in simulator.totals.metrics:
        alone = simulator.totals.value(metric, state.totals, state.step, simulator.scenario.dt)
        assert torch.equal(alone.nan_to_num(-1.0), together[metric.name].nan_to_num(-1.0))
    assert torch.equal(simulator.succeeded(state), together[simulator.success] > 0)
    assert int(simulator.succeeded(state).sum()) > 0
