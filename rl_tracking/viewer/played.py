"""One step of an episode as the viewer keeps it, so that the episode can be rewound and played again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from rl_tracking.viewer.moment import Array, Moment, moment_of

if TYPE_CHECKING:
    from torch import Tensor

    from rl_tracking.envs.base import Scenario
    from rl_tracking.envs.transition import Transition

TIME_LIMIT = "time limit"


@dataclass(frozen=True, eq=False)
class PlayedStep:
    """A step of the episode: the state it led to, what is shown of it, and what the next step needs; or the start.

    Attributes:
        state: the scenario's state (one world), an immutable value; setting it back restores the world.
        observation: what the pilot sees there, ``[1, ...]``.
        moment: the scene of the state as arrays.
        reward: of the step, ``[P]``; P is 1, or the number of agents where each has its own.
        terms: of the reward by name, ``[P]`` each; empty at the start.
        episode_return: sum of rewards up to here, ``[P]``.
        lit_steps: steps up to here at the end of which each zone was lit up, ``[Z]``.
        action: of the step if it is discrete, else empty.
        term_scale: greatest magnitude of a term up to here.
        flags: names of the scenario's measures that are flags and held in the step.
        reason: why the episode ended here; empty where it goes on.
        success: whether it ended with a success.
    """

    state: Any
    observation: Tensor
    moment: Moment
    reward: Array
    episode_return: Array
    lit_steps: Array
    terms: dict[str, Array] = field(default_factory=dict)
    action: tuple[int, ...] = ()
    term_scale: float = 0.0
    flags: tuple[str, ...] = ()
    reason: str = ""
    success: bool = False


def first_step(scenario: Scenario, state: Any, observation: Tensor) -> PlayedStep:
    """The start of an episode."""
    moment = moment_of(scenario.scene(state))
    nothing = np.zeros(1 if scenario.shared_reward else len(scenario.agents))
    return PlayedStep(state, observation, moment, nothing, nothing, np.zeros(len(moment.zones)))


def next_step(scenario: Scenario, before: PlayedStep, transition: Transition) -> PlayedStep:
    """The step that ``transition`` made after ``before``."""
    moment = moment_of(scenario.scene(transition.after), before.moment)
    reward = _rewards(transition.rewards)
    terms = {name: np.broadcast_to(_rewards(value), reward.shape) for name, value in transition.terms.items()}
    lit_before = before.lit_steps if before.moment.zones == moment.zones else np.zeros(len(moment.zones))
    measures = transition.measures.items()
    flags = tuple(name for name, value in measures if value.dtype == torch.bool and bool(value[0]))
    success = bool(transition.terminated[0]) and any(m.success and m.measure in flags for m in scenario.metrics)
    return PlayedStep(
        state=transition.after,
        observation=transition.observation,
        moment=moment,
        reward=reward,
        episode_return=before.episode_return + reward,
        lit_steps=lit_before + moment.active,
        terms=terms,
        action=_discrete(transition.action),
        term_scale=max([before.term_scale, *(float(np.abs(value).max()) for value in terms.values())]),
        flags=flags,
        reason=_reason(scenario, transition, flags, before.flags),
        success=success,
    )


def _rewards(values: Tensor) -> Array:
    """World 0 of rewards ``[B]`` or ``[B, P]``, ``[P]``."""
    return np.atleast_1d(values[0].cpu().numpy().astype(np.float64))


def _discrete(action: Tensor) -> tuple[int, ...]:
    """World 0 of ``action`` where it is discrete, else nothing."""
    return () if action.is_floating_point() else tuple(int(value) for value in action[0].reshape(-1).tolist())


def _reason(scenario: Scenario, transition: Transition, flags: tuple[str, ...], earlier: tuple[str, ...]) -> str:
    """Why the episode ended with a step, in the scenario's words; empty if it did not.

    The words are the measure that means success if it holds, else the flags that hold and did not one step earlier.
    """
    if bool(transition.truncated[0]):
        return TIME_LIMIT
    if not bool(transition.terminated[0]):
        return ""
    successes = [metric.measure for metric in scenario.metrics if metric.success and metric.measure in flags]
    new = [name for name in flags if name not in earlier]
    return ", ".join(successes or new).replace("_", " ") or "terminated"
