"""Sampling guided by a learned Q (eq. 18), with the weights that keep the gradient the policy's own."""

from __future__ import annotations

from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3.common.distributions import Distribution
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.preprocessing import get_flattened_obs_dim, preprocess_obs
from torch import Tensor, nn

from rl_tracking.agents.collect.distributions import PolicyCalls, sample_group
from rl_tracking.agents.extensions.seams import ProposedActions

_EPOCHS = 4
_BATCH = 4096


class GuidedSampler(nn.Module):
    """Draws M candidates from the policy and tries N of them, with a preference for those of a higher Q(s, a).

    A candidate is chosen with probability ``p_j ~ exp(Q_j / (beta spread))``, which is ``pi exp(Q / ...)`` since the
    candidates come from pi: the sampled form of eq. 18, whose arg max would try one action only. ``spread`` is the
    deviation of Q among the candidates of a state, a mean over states, so that beta does not depend on the reward's
    scale. Branch 0, which is executed, is the first candidate: a draw from the policy itself. The other N - 1 are drawn
    with replacement. By the balance heuristic (Veach, Guibas 1995) sample j has the weight

        w_j = (1 / M) / ((1 / N) (1 / M) + ((N - 1) / N) p_j)   <= N

    and ``E[mean_i w_i g(a_i)] = E_pi[g]`` for every g, however good Q is. (A baseline taken from the same group then
    scales the gradient by 1 - 1 / M, as its samples share their candidates.) With gSDE the same holds of g of the
    exploration matrix, so of whole branches: each candidate has one, which its branch keeps at later steps.

    Args:
        policy: whose features Q sees; Q's error does not flow into them.
        action_space: of the policy.
        n_candidates: M.
        beta: how far Q is followed, in units of ``spread``; large values give plain sampling.
        learning_rate: of Q.
    """

    def __init__(
        self,
        policy: ActorCriticPolicy,
        action_space: spaces.Space[Any],
        n_candidates: int,
        beta: float,
        learning_rate: float = 1e-3,
    ) -> None:
        super().__init__()
        self._space, self._m, self._beta = action_space, n_candidates, beta
        inputs = policy.features_dim + get_flattened_obs_dim(action_space)
        self.q_net = nn.Sequential(nn.Linear(inputs, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 1))
        self.optimizer = torch.optim.Adam(self.q_net.parameters(), lr=learning_rate)

    def candidates(self, n: int) -> int:
        """M, however many are tried."""
        return self._m

    def draw(
        self, policy: ActorCriticPolicy, observation: Any, distribution: Distribution | PolicyCalls, n: int
    ) -> ProposedActions:
        """See :class:`rl_tracking.agents.extensions.seams.Sampler`."""
        # Candidates come from the policy, so choosing among them by exp(Q) samples pi exp(Q) (eq. 18).
        candidates = sample_group(distribution, self._m)
        probability = self.probabilities(self.action_values(policy, observation, candidates))
        guided = torch.multinomial(probability.T, n - 1, replacement=True).T
        # Branch 0 is candidate 0, a plain draw: the executed action must not be guided.
        chosen = torch.cat([torch.zeros_like(guided[:1]), guided])
        # Balance heuristic: the density of the mixture of both ways of choosing, against that of the policy.
        share = 1 / (n * self._m) + (n - 1) / n * probability
        weight = (1 / self._m) / share.gather(0, chosen)
        worlds = torch.arange(chosen.shape[1], device=chosen.device)
        return ProposedActions(candidates[chosen, worlds], weight, chosen)

    def probabilities(self, action_value: Tensor) -> Tensor:
        """With which a guided draw takes each candidate, ``[M, E]`` from Q ``[M, E]``."""
        # Q in units of its spread within groups, so that beta means the same for rewards of any size.
        spread = action_value.std(dim=0, correction=0).mean()
        return torch.softmax(action_value / (self._beta * spread + 1e-8), dim=0)

    @torch.no_grad()
    def action_values(self, policy: ActorCriticPolicy, observation: Any, action: Tensor) -> Tensor:
        """Q(s, a) of actions ``[N, S, ...]`` of S states, ``[N, S]``."""
        return self._q(self._features(policy, observation), action)

    def learn(
        self, policy: ActorCriticPolicy, observation: Any, action: Tensor, action_value: Tensor
    ) -> dict[str, float]:
        """Fit Q to ``f(R_i) + gamma V(s'_i)`` (to the whole branch where it runs on) by least squares."""
        # Features once, without a gradient: Q must not change what the policy sees.
        with torch.no_grad():
            features = self._features(policy, observation)
        states, loss = len(features), torch.zeros(())
        for _ in range(_EPOCHS):
            # Minibatches of whole groups: a state's features are looked up once for all its actions.
            for rows in torch.randperm(states, device=features.device).split(max(1, _BATCH // len(action))):
                loss = nn.functional.mse_loss(self._q(features[rows], action[:, rows]), action_value[:, rows])
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
        return {"q_loss": float(loss.detach())}

    def _q(self, features: Tensor, action: Tensor) -> Tensor:
        samples, states = action.shape[:2]
        flat = action.reshape(samples * states, *action.shape[2:])
        # As SB3 encodes observations of that space: choices become one-hot, numbers stay as they are.
        encoded = preprocess_obs(flat, self._space)
        assert isinstance(encoded, Tensor)
        repeated = features.expand(samples, *features.shape).flatten(0, 1)
        values: Tensor = self.q_net(torch.cat([repeated, encoded.flatten(1).to(features.dtype)], dim=1))
        return values.view(samples, states)

    def _features(self, policy: ActorCriticPolicy, observation: Any) -> Tensor:
        """The actor's features of S states, ``[S, F]``."""
        # A policy with separate extractors gives a pair, the actor's first.
        features = policy.extract_features(observation)
        return features[0] if isinstance(features, tuple) else features
