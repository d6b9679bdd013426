"""Epochs of the critic alone, before those that it shares with the policy."""

from __future__ import annotations

import torch
from stable_baselines3.common.policies import ActorCriticPolicy

from rl_tracking.agents.collect.batches import Batch
from rl_tracking.agents.extensions.seams import Step
from rl_tracking.agents.maths import losses


class CriticEpochs:
    """Passes over a rollout in which the value network alone learns its targets (as TRPO's critic does in sb3-contrib).

    Few epochs are right for a policy that must stay near the one that sampled, and too few for a value network; more of
    them on the returns of all branch steps are what VAPO (arXiv 2504.05118) finds to decide. A features extractor that
    the policy shares is left as it is. The optimiser is the policy's, so its step size and its moments are the same,
    and nothing more is saved.

    Args:
        epochs: passes over a rollout.
    """

    def __init__(self, epochs: int) -> None:
        self._epochs = epochs

    def __call__(self, policy: ActorCriticPolicy, batch: Batch, size: int, step: Step) -> dict[str, float]:
        """See :class:`~rl_tracking.agents.extensions.seams.CriticTraining`; returns the loss of the first minibatch."""
        own, first = value_parameters(policy), None
        for _ in range(self._epochs):
            for minibatch in batch.minibatches(size):
                value = minibatch.of_samples(policy.predict_values(minibatch.observation).flatten())
                loss = losses.value_loss(value, minibatch.value_target, minibatch.value, None)
                first = loss.detach() if first is None else first
                step(loss, own)
        return {} if first is None else {"critic_loss": float(first)}


def value_parameters(policy: ActorCriticPolicy) -> list[torch.nn.Parameter]:
    """Those of the value network that the policy does not use."""
    # A user's own extractor may have no layers of the critic alone; the last layer is always its own.
    parts = [getattr(policy.mlp_extractor, "value_net", None), policy.value_net]
    if not policy.share_features_extractor:
        parts.append(policy.vf_features_extractor)
    of_policy = {id(parameter) for parameter in _of(getattr(policy.mlp_extractor, "policy_net", None))}
    return [parameter for part in parts for parameter in _of(part) if id(parameter) not in of_policy]


def _of(module: torch.nn.Module | None) -> list[torch.nn.Parameter]:
    return [] if module is None else [parameter for parameter in module.parameters() if parameter.requires_grad]
