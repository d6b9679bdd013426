"""Lookahead: N branches from every present state, of one step each or of several steps under the policy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import torch
from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import Tensor

from rl_tracking.agents.collect import distributions, observations
from rl_tracking.agents.collect.distributions import ExplorationNoise, PolicyCalls
from rl_tracking.agents.collect.failing_numbers import check_reached, explained
from rl_tracking.agents.collect.rollout import GroupRollout, PathRollout

if TYPE_CHECKING:
    from rl_tracking.agents.collect.branching import Brancher
    from rl_tracking.agents.collect.observations import Observation
    from rl_tracking.agents.extensions.seams import Sampler
    from rl_tracking.restoring.protocol import BranchStep

_VALUE_BATCH = 16_384  # states whose values are computed at once, and fewer where they are images:
_VALUE_NUMBERS = 2**24  # numbers of their observations
_LONGEST_EPISODE = 100_000  # steps after which a branch that does not end is given up

Executable = Callable[[Tensor], Tensor]  # sampled actions as the environment takes them
Decision = dict[str, Any]  # what one lookahead saw, by the names of a rollout's fields


class ExecutedStep(NamedTuple):
    """A step of branch 0 in E worlds, as the policy made it.

    Attributes:
        observation: ``[E, ...]``.
        action: as sampled, ``[E, ...]``.
        value: V(s), ``[E]``; zero without a critic.
        log_prob: ``[E]``.
    """

    observation: Observation
    action: Tensor
    value: Tensor
    log_prob: Tensor

    def as_locals(self, space: spaces.Space[Any], executed: Tensor, *, arrays: bool) -> dict[str, Any]:
        """The step by the names that it has in SB3's loop, where callbacks look it up among the local variables.

        Args:
            space: of the actions.
            executed: the actions that the env was given, ``[E, ...]``.
            arrays: whether actions are given as arrays; for worlds on a GPU a copy to the CPU would wait for it.
        """
        sampled = self.action.reshape(-1, *(space.shape or ()))
        return {
            "obs_tensor": self.observation,
            "actions": sampled.cpu().numpy() if arrays else sampled,
            "clipped_actions": executed.cpu().numpy() if arrays else executed,
            "values": self.value.unsqueeze(1),
            "log_probs": self.log_prob,
        }


class Lookahead(Protocol):
    """Tries branches from the present states, without moving them.

    Attributes:
        noise: of gSDE, redrawn here before the actions of a step are sampled.
    """

    noise: ExplorationNoise

    @property
    def simulator_steps(self) -> int:
        """Steps of the latest lookahead and of the execution of its branch 0, all worlds together."""

    def try_actions(
        self, policy: ActorCriticPolicy, observation: Observation, executable: Executable
    ) -> tuple[Decision, Tensor]:
        """Sample actions and try them in branches.

        Args:
            policy: samples the actions.
            observation: of the present states ``[E, ...]``.
            executable: turns sampled actions into ones within the action space.

        Returns:
            What was seen, and the actions of branch 0 to execute, ``[h, E, ...]``.
        """

    def executed(self, decision: Decision, step: int) -> ExecutedStep:
        """A step of branch 0 in what :meth:`try_actions` returned."""

    def execute(self, actions: Tensor) -> Any:
        """The env's next step, with actions ``[E, ...]`` of branch 0; see ``Brancher.execute``."""

    def rollout(self, policy: ActorCriticPolicy, decisions: list[Decision]) -> Any:
        """Several decisions as one rollout, in which every state that a branch reached has its value."""


class OneStepLookahead:
    """N actions from every state, each tried for one step.

    Args:
        brancher: where branches run.
        n_samples: N.
        sampler: chooses the actions.
        noise: see :class:`Lookahead`.
    """

    def __init__(self, brancher: Brancher, n_samples: int, sampler: Sampler, noise: ExplorationNoise) -> None:
        self._brancher, self._n, self._sampler, self.noise = brancher, n_samples, sampler, noise
        self.execute = brancher.execute

    @property
    def simulator_steps(self) -> int:
        """See :class:`Lookahead`."""
        return self._brancher.simulator_steps

    def try_actions(
        self, policy: ActorCriticPolicy, observation: Observation, executable: Executable
    ) -> tuple[Decision, Tensor]:
        """See :class:`Lookahead`."""
        self.noise.step()
        # One pass through the networks a state, not a sample: the N actions share its distribution and its value.
        distribution, value = distributions.evaluate_states(policy, observation)
        action, weight, candidate = self._sampler.draw(policy, observation, distribution, self._n)
        if isinstance(distribution, PolicyCalls):
            value = distribution.value
        if distributions.values_by_own_method(policy):
            value = policy.predict_values(observation).flatten()
        # Every action is tried from a copy of the same state, so rewards differ by the action alone (eqs. 10-12).
        possible = executable(action)
        outcome = self._brancher.step(possible)
        decision = {
            "observation": observation,
            # As sampled, before clipping: PPO's ratio is that of the density that was sampled from.
            "action": action,
            "log_prob": distributions.group_log_prob(distribution, action, candidate),
            "value": value,
            "reward": outcome.reward,
            "reached": outcome.observation,
            "terminated": outcome.terminated,
            "episode_end": outcome.terminated[0] | outcome.truncated[0],
            "weight": weight,
        }
        return decision, possible[:1]

    def executed(self, decision: Decision, step: int) -> ExecutedStep:
        """See :class:`Lookahead`."""
        return ExecutedStep(decision["observation"], decision["action"][0], decision["value"], decision["log_prob"][0])

    def rollout(self, policy: ActorCriticPolicy, decisions: list[Decision]) -> GroupRollout:
        """See :class:`Lookahead`."""
        stacked: Decision = {name: observations.stack([one[name] for one in decisions]) for name in decisions[0]}
        reached = stacked.pop("reached")
        check_reached(reached, 3)
        # The terminal state's own V where an episode was truncated; where it terminated the estimator leaves V out.
        return GroupRollout(next_value=_values(policy, reached, stacked["reward"].shape), **stacked)


class PathLookahead:
    """N branches from every state, which run on under the policy for a horizon or until each has ended once.

    Args:
        brancher: where branches run.
        n_samples: N.
        sampler: chooses the first action of each branch.
        noise: see :class:`Lookahead`.
        horizon: steps; None for whole episodes.
        critic: whether states are valued.
    """

    def __init__(
        self,
        brancher: Brancher,
        n_samples: int,
        sampler: Sampler,
        noise: ExplorationNoise,
        *,
        horizon: int | None,
        critic: bool,
    ) -> None:
        self._brancher, self._n, self._sampler, self.noise = brancher, n_samples, sampler, noise
        self._horizon, self._critic, self._length = horizon, critic, 0
        self.execute = brancher.execute

    @property
    def simulator_steps(self) -> int:
        """See :class:`Lookahead`: those of the branches, and of branch 0 again where the env steps it twice."""
        return self._brancher.path_steps(self._length)

    def try_actions(
        self, policy: ActorCriticPolicy, observation: Observation, executable: Executable
    ) -> tuple[Decision, Tensor]:
        """See :class:`Lookahead`."""
        # Restore: N copies of every present state go to a sibling, so the algorithm's own worlds stay where they are.
        self._brancher.start_paths()
        rows = list(self._steps(policy, observation, executable))
        self._brancher.end_paths()
        self._length = len(rows)
        decision: Decision = {name: observations.stack([row[name] for row in rows]) for name in rows[0]}
        decision["unpadded"] = torch.ones(len(rows), dtype=torch.bool, device=decision["valid"].device)
        if not self._critic:
            decision["value"] = torch.zeros_like(decision["reward"])
        elif "value" not in decision:
            decision["value"] = _values(policy, decision["observation"], decision["reward"].shape)
        return decision, executable(decision["action"][:, 0])

    def _steps(self, policy: ActorCriticPolicy, observation: Observation, executable: Executable) -> Iterator[Decision]:
        """The steps of all branches ``[N, E, ...]``, one after another, until the horizon or until all have ended."""
        here = observations.each(lambda part: part.expand(self._n, *part.shape), observation)
        shape = (self._n, self._brancher.num_envs)
        self.noise.step()
        # The root is one state, evaluated once for its N actions.
        distribution = distributions.action_distribution(policy, observation)
        drawn = self._sampler.draw(policy, observation, distribution, self._n)
        action = drawn.action
        with torch.no_grad():
            log_prob = distributions.group_log_prob(distribution, action, drawn.candidate)
        valid = torch.ones(shape, dtype=torch.bool, device=observations.leaf(observation).device)
        for steps in count(1):
            outcome, following = self._advance(distribution, action, executable)
            episode_end = outcome.terminated | outcome.truncated
            row = {"observation": here, "action": action, "log_prob": log_prob} | {
                # A branch has the weight of its first action: the later ones are draws from the policy itself.
                "weight": drawn.weight,
                "reward": outcome.reward,
                "reached": outcome.observation,
                "terminated": outcome.terminated,
                "episode_end": episode_end,
                "valid": valid,
            }
            yield row | self._value_of(distribution, policy, shape)
            # A branch that ended continues in its next episode, so that shapes stay; its steps no longer count.
            valid = valid & ~episode_end
            if not self._continues(steps, valid):
                return
            # After the first step every branch is in a state of its own and takes one action there (eq. 16).
            here = following
            self.noise.step()
            distribution = _distribution(policy, observations.flatten(here, 2))
            flat = distributions.sample_group(distribution, 1, drawn.matrix)
            action = flat[0].unflatten(0, shape)
            with torch.no_grad():
                log_prob = distributions.group_log_prob(distribution, flat).view(shape)

    def _advance(self, distribution: Any, action: Tensor, executable: Executable) -> tuple[BranchStep, Observation]:
        """One step of all branches with actions ``[N, E, ...]`` that were drawn from ``distribution``."""
        return self._brancher.advance_paths(executable(action))

    def _value_of(self, distribution: Any, policy: ActorCriticPolicy, shape: tuple[int, int]) -> Decision:
        """V of the states of a step, where the policy's own ``forward`` has given it together with the actions."""
        if not self._critic or not isinstance(distribution, PolicyCalls) or distributions.values_by_own_method(policy):
            return {}
        return {"value": distribution.value.view(-1, shape[1]).expand(shape)}

    def _continues(self, steps: int, valid: Tensor) -> bool:
        if self._horizon is not None:
            return steps < self._horizon
        return steps < _LONGEST_EPISODE and bool(valid.any())

    def executed(self, decision: Decision, step: int) -> ExecutedStep:
        """See :class:`Lookahead`."""
        observation = observations.each(lambda part: part[step, 0], decision["observation"])
        return ExecutedStep(observation, *(decision[name][step, 0] for name in ("action", "value", "log_prob")))

    def rollout(self, policy: ActorCriticPolicy, decisions: list[Decision]) -> PathRollout:
        """See :class:`Lookahead`; shorter decisions are filled up with steps that are not valid."""
        longest = max(decision["reward"].shape[0] for decision in decisions)
        padded = [{name: _padded(part, longest) for name, part in decision.items()} for decision in decisions]
        stacked: Decision = {name: observations.stack([one[name] for one in padded]) for name in padded[0]}
        reached = stacked.pop("reached")
        check_reached(reached, 4)
        shape = stacked["reward"].shape
        next_value = _values(policy, reached, shape) if self._critic else torch.zeros_like(stacked["value"])
        return PathRollout(next_value=next_value, **stacked)


def _distribution(policy: ActorCriticPolicy, observation: Observation) -> Any:
    """Of the actions at states that branches reached, ``[N E, ...]``; an observation that is not finite is named."""
    with explained(policy, observation, observations_alone=True):
        return distributions.action_distribution(policy, observation)


def _values(policy: ActorCriticPolicy, observation: Observation, shape: torch.Size) -> Tensor:
    """V of observations with leading axes ``shape``."""
    parts = observations.split(observations.flatten(observation, len(shape)), _VALUE_BATCH, _VALUE_NUMBERS)
    return torch.cat([policy.predict_values(part).flatten() for part in parts]).view(shape)


def _padded(part: Observation, length: int) -> Observation:
    """A part of a decision with zeros after its last row, up to ``length`` rows."""

    def filled(leaf: Tensor) -> Tensor:
        missing = length - leaf.shape[0]
        return leaf if missing == 0 else torch.cat([leaf, leaf.new_zeros(missing, *leaf.shape[1:])])

    return observations.each(filled, part)
