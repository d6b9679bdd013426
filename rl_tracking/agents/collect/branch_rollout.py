"""Two ways to look around from a state: N branches of one step, or N branches that run on under the policy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import torch
from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import Tensor

from rl_tracking.agents.collect import observations
from rl_tracking.agents.collect.branching import Brancher
from rl_tracking.agents.collect.distributions import action_distribution, evaluate_states, group_log_prob, sample_group
from rl_tracking.agents.collect.failing_numbers import behind, check_reached
from rl_tracking.agents.collect.observations import Observation
from rl_tracking.agents.collect.policy_calls import PolicyCalls, values_by_own_method
from rl_tracking.agents.collect.proposals import FromPolicy, Sampler
from rl_tracking.agents.collect.rollout import GroupRollout, PathRollout
from rl_tracking.errors import StepError

_VALUE_BATCH = 16_384  # states whose values are computed at once, and fewer where they are images:
_VALUE_NUMBERS = 2**24  # numbers of their observations
_LONGEST_EPISODE = 100_000  # steps after which a branch that does not end is given up

Executable = Callable[[Tensor], Tensor]
Record = dict[str, Any]


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

    def shown(self, space: spaces.Space[Any], executed: Tensor, *, arrays: bool) -> dict[str, Any]:
        """By the names that SB3's loop has for them, which callbacks look up among its local variables.

        Args:
            space: of the actions.
            executed: the actions that the env was given, ``[E, ...]``.
            arrays: whether actions are shown as arrays; where worlds are on a GPU that would wait for it.
        """
        sampled = self.action.reshape(-1, *(space.shape or ()))
        return {
            "obs_tensor": self.observation,
            "actions": sampled.cpu().numpy() if arrays else sampled,
            "clipped_actions": executed.cpu().numpy() if arrays else executed,
            "values": self.value.unsqueeze(1),
            "log_probs": self.log_prob,
        }


class Explorer(Protocol):
    """Looks around from the present states, without moving them.

    Attributes:
        before_step: called before the actions of every step are sampled.
    """

    before_step: Callable[[], None]

    @property
    def simulator_steps(self) -> int:
        """What the latest look and the execution of its branch 0 cost, all worlds together."""

    def explore(
        self, policy: ActorCriticPolicy, observation: Observation, executable: Executable
    ) -> tuple[Record, Tensor]:
        """Try branches.

        Args:
            policy: samples the actions.
            observation: of the present states ``[E, ...]``.
            executable: turns sampled actions into ones within the action space.

        Returns:
            What was seen, and the actions of branch 0 to execute, ``[h, E, ...]``.
        """

    def executed(self, record: Record, step: int) -> ExecutedStep:
        """What :meth:`explore` saw in branch 0 at a step of it."""

    def execute(self, actions: Tensor) -> Any:
        """The env's next step, with actions ``[E, ...]`` that :meth:`explore` returned; see ``Brancher.execute``."""

    def finish(self, policy: ActorCriticPolicy, records: list[Record]) -> Any:
        """The rollout of several looks."""


class OneStep:
    """N actions from every state, each tried for one step."""

    def __init__(self, brancher: Brancher, n_samples: int, sampler: Sampler | None = None) -> None:
        self._brancher, self._n, self._sampler = brancher, n_samples, sampler or FromPolicy()
        self.before_step: Callable[[], None] = _nothing

    @property
    def simulator_steps(self) -> int:
        """See :class:`Explorer`."""
        return self._brancher.simulator_steps

    def explore(
        self, policy: ActorCriticPolicy, observation: Observation, executable: Executable
    ) -> tuple[Record, Tensor]:
        """See :class:`Explorer`; the networks run once a state."""
        self.before_step()
        distribution, value = evaluate_states(policy, observation)
        action, weight, candidate = self._sampler.draw(policy, observation, distribution, self._n)
        if isinstance(distribution, PolicyCalls):
            value = distribution.value
        possible = executable(action)
        outcome = self._brancher.step(possible)
        record = {
            "observation": observation,
            "action": action,
            "log_prob": group_log_prob(distribution, action, candidate),
            "value": policy.predict_values(observation).flatten() if values_by_own_method(policy) else value,
            "reward": outcome.reward,
            "reached": outcome.observation,
            "terminated": outcome.terminated,
            "cut": outcome.terminated[0] | outcome.truncated[0],
            "weight": weight,
        }
        return record, possible[:1]

    def executed(self, record: Record, step: int) -> ExecutedStep:
        """See :class:`Explorer`."""
        return ExecutedStep(record["observation"], record["action"][0], record["value"], record["log_prob"][0])

    def execute(self, actions: Tensor) -> Any:
        """See :class:`Explorer`."""
        return self._brancher.execute(actions)

    def finish(self, policy: ActorCriticPolicy, records: list[Record]) -> GroupRollout:
        """See :class:`Explorer`; values every state that a branch reached."""
        stacked: Record = {name: observations.stack([record[name] for record in records]) for name in records[0]}
        reached = stacked.pop("reached")
        check_reached(reached, 3)
        return GroupRollout(next_value=_values(policy, reached, stacked["reward"].shape), **stacked)


class Paths:
    """N branches from every state, which run on under the policy for a horizon or until each has ended once.

    Args:
        brancher: where branches run.
        n_samples: N.
        horizon: steps; None for whole episodes.
        critic: whether states are valued.
        sampler: chooses the first action of each branch.
    """

    def __init__(
        self,
        brancher: Brancher,
        n_samples: int,
        horizon: int | None,
        *,
        critic: bool,
        sampler: Sampler | None = None,
    ) -> None:
        self._brancher, self._n, self._horizon, self._critic = brancher, n_samples, horizon, critic
        self._sampler = sampler or FromPolicy()
        self._length = 0
        self.before_step: Callable[[], None] = _nothing

    @property
    def simulator_steps(self) -> int:
        """See :class:`Explorer`: the branches, and branch 0 once more where its execution is worked out again."""
        return self._brancher.path_steps(self._length)

    def explore(
        self, policy: ActorCriticPolicy, observation: Observation, executable: Executable
    ) -> tuple[Record, Tensor]:
        """See :class:`Explorer`; the networks run once a state, and the root is one state."""
        branches, device = (self._n, self._brancher.num_envs), observations.leaf(observation).device
        here = observations.each(lambda part: part.expand(self._n, *part.shape), observation)
        alive = torch.ones(branches, dtype=torch.bool, device=device)
        self._brancher.start_paths()
        self.before_step()
        distribution = action_distribution(policy, observation)
        drawn = self._sampler.draw(policy, observation, distribution, self._n)
        action, weight, matrix = drawn.action, drawn.weight, drawn.matrix
        log_prob = group_log_prob(distribution, action, drawn.candidate)
        valued = self._critic and not values_by_own_method(policy)
        rows: list[Record] = []
        while True:
            outcome, following = self._brancher.advance_paths(executable(action))
            rows.append(
                {
                    "observation": here,
                    "action": action,
                    "log_prob": log_prob,
                    "weight": weight,
                    "reward": outcome.reward,
                    "reached": outcome.observation,
                    "terminated": outcome.terminated,
                    "cut": outcome.terminated | outcome.truncated,
                    "alive": alive,
                }
            )
            if valued and isinstance(distribution, PolicyCalls):
                rows[-1]["value"] = distribution.value.view(-1, branches[1]).expand(branches)
            alive = alive & ~rows[-1]["cut"]
            if not self._goes_on(len(rows), alive):
                break
            here = following
            self.before_step()
            distribution = _distribution(policy, observations.flatten(here, 2))
            flat = sample_group(distribution, 1, matrix)
            action = flat[0].unflatten(0, branches)
            log_prob = group_log_prob(distribution, flat).view(branches)
        self._brancher.end_paths()
        self._length = len(rows)
        record: Record = {name: observations.stack([row[name] for row in rows]) for name in rows[0]}
        record["made"] = torch.ones(len(rows), dtype=torch.bool, device=device)
        if not self._critic:
            record["value"] = torch.zeros_like(record["reward"])
        elif "value" not in record:
            record["value"] = _values(policy, record["observation"], record["reward"].shape)
        return record, executable(record["action"][:, 0])

    def executed(self, record: Record, step: int) -> ExecutedStep:
        """See :class:`Explorer`."""
        observation = observations.each(lambda part: part[step, 0], record["observation"])
        return ExecutedStep(observation, *(record[name][step, 0] for name in ("action", "value", "log_prob")))

    def _goes_on(self, steps: int, alive: Tensor) -> bool:
        if self._horizon is not None:
            return steps < self._horizon
        return steps < _LONGEST_EPISODE and bool(alive.any())

    def execute(self, actions: Tensor) -> Any:
        """See :class:`Explorer`."""
        return self._brancher.execute(actions)

    def finish(self, policy: ActorCriticPolicy, records: list[Record]) -> PathRollout:
        """See :class:`Explorer`; looks of different length are filled up with steps that are not alive."""
        longest = max(record["reward"].shape[0] for record in records)
        stacked: Record = {
            name: observations.stack([_padded(record[name], longest) for record in records]) for name in records[0]
        }
        reached = stacked.pop("reached")
        check_reached(reached, 4)
        shape = stacked["reward"].shape
        next_value = _values(policy, reached, shape) if self._critic else torch.zeros_like(stacked["value"])
        return PathRollout(next_value=next_value, **stacked)


def _nothing() -> None:
    """Nothing is to be done before a step."""


def _distribution(policy: ActorCriticPolicy, observation: Observation) -> Any:
    """Of the actions at states that branches reached, ``[N E, ...]``; an observation that is not finite is named."""
    try:
        return action_distribution(policy, observation)
    except ValueError as error:
        cause = behind(error, policy, observation)
        if isinstance(cause, StepError):
            raise cause from error
        raise


def _values(policy: ActorCriticPolicy, observation: Observation, shape: torch.Size) -> Tensor:
    """V of observations with leading axes ``shape``."""
    parts = observations.split(observations.flatten(observation, len(shape)), _VALUE_BATCH, _VALUE_NUMBERS)
    return torch.cat([policy.predict_values(part).flatten() for part in parts]).view(shape)


def _padded(record: Observation, length: int) -> Observation:
    """``record`` with zeros after its last row, up to ``length`` rows."""

    def filled(part: Tensor) -> Tensor:
        missing = length - part.shape[0]
        return part if missing == 0 else torch.cat([part, part.new_zeros(missing, *part.shape[1:])])

    return observations.each(filled, record)
