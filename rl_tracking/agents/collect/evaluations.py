"""What a policy says of the samples that an update learns from."""

from __future__ import annotations

import dataclasses

from stable_baselines3.common.policies import ActorCriticPolicy
from torch import Tensor

from rl_tracking.agents.collect.batches import Batch
from rl_tracking.agents.collect.distributions import group_log_prob, network_outputs
from rl_tracking.agents.collect.policy_calls import acts_by_own_methods


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Of the samples of a batch, with gradients.

    Attributes:
        log_prob: shaped as the batch's.
        entropy: any shape, of which the mean counts; None where it has no closed form.
        value: shaped as the batch's; None where it was not asked for.
    """

    log_prob: Tensor
    entropy: Tensor | None
    value: Tensor | None


def evaluate_samples(policy: ActorCriticPolicy, batch: Batch, *, critic: bool) -> Evaluation:
    """Evaluate the samples of a batch, from one pass through the networks a state.

    A policy that overrides SB3's methods is asked by its ``evaluate_actions``, with a row a sample.

    Args:
        policy: an SB3 actor-critic policy.
        batch: states with their samples.
        critic: whether values are asked for.
    """
    if acts_by_own_methods(policy):
        rows = batch.action.flatten(0, 1)
        values, log_prob, entropy = policy.evaluate_actions(batch.observation_of_samples(), rows)
        # A state's value does not depend on the action, so its samples share it.
        shared = values.flatten().view(-1, batch.value.shape[0]).mean(dim=0)
        return Evaluation(log_prob.view(batch.log_prob.shape), entropy, shared if critic else None)
    if critic:
        of_states, of_values = network_outputs(policy, batch.observation)
        value = batch.of_samples(of_values)
    else:
        of_states, value = policy.get_distribution(batch.observation), None
    distribution = batch.distribution_of_samples(of_states)
    return Evaluation(group_log_prob(distribution, batch.action), distribution.entropy(), value)
