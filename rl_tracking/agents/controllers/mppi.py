"""Model predictive path integral control: a planner that weighs many imagined futures.

Williams, Drews, Goldfain, Rehg, Theodorou, "Information-theoretic model predictive control" (2018, IEEE T-RO 34:6), the
form of Williams et al., "Information theoretic MPC for model-based reinforcement learning" (ICRA 2017).
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import torch
from gymnasium import spaces
from torch import Tensor

from rl_tracking import limits
from rl_tracking.errors import UsageError

if TYPE_CHECKING:
    from rl_tracking.agents.controllers.options import PlannerOptions

_ROWS = 32_768  # imagined worlds at once; more would not stay in the processor's caches
_LANES = 16  # numbers that a state draws at once
_TINY = 1e-6
_COPIES = 6  # of the plans that are tried, in a step
_ASK_FOR_MEMORY = 2**30  # bytes


@dataclasses.dataclass(frozen=True)
class Plans:
    """What is planned for B worlds, H steps each.

    Attributes:
        key: noise keys of the worlds ``[B]``, which tell them and their episodes apart.
        step: of the worlds when they were planned for ``[B]``.
        start: what the plan was improved from, ``[B, H, A]`` in [-1, 1].
        improved: the plan ``[B, H, A]``, whose first action is executed.
    """

    key: Tensor
    step: Tensor
    start: Tensor
    improved: Tensor

    def recall(self, state: Any) -> Tensor:
        """Where planning starts ``[B, H, A]``: the plan of the step before, moved on by a step; zeros in a new episode.

        A state that was planned for last is planned for from the same start again, so that its action is the same.
        """
        if state.key.shape != self.key.shape:
            return torch.zeros_like(self.start[:1]).repeat(len(state), 1, 1)
        mine = state.key == self.key
        follows, again = (mine & (state.step == self.step + ahead) for ahead in (1, 0))
        moved_on = torch.cat([self.improved[:, 1:], self.improved[:, -1:]], dim=1)
        kept = torch.where(_wide(again), self.start, torch.zeros_like(self.start))
        return torch.where(_wide(follows), moved_on, kept)


class MPPI:
    """Model predictive path integral control: the mean of many plans that are tried, weighed by what they earn.

    At every step each world's plan is disturbed in ``branches`` ways, each is tried for ``horizon`` steps of the
    scenario's own transition and reward, and the plans' mean with weights exp(return / temperature) is the new plan.
    Its first action is executed and the rest is where the next step starts from.

    It knows the present state and the scenario's laws, and nothing that is still to be drawn: each branch has noise of
    its own, and what the scenario can predict by its mean (``Scenario.forecast``) is predicted so.

    The temperature is in standard deviations of the branches' returns, so that it serves rewards of any size. The
    paper's control cost is left out (its alpha = 1): what an action costs is part of the reward.
    """

    name = "mppi"

    def __init__(self, options: PlannerOptions) -> None:
        self.options = options
        self._plans: Plans | None = None

    def __call__(self, scenario: Any, state: Any) -> Tensor:
        """Actions ``[B, *action_space.shape]``.

        Raises:
            UsageError: actions are not numbers within bounds.
        """
        low, high = self._bounds(scenario, state.device)
        # Go on from the plan of the step before.
        if self._plans is None:
            start = torch.zeros(len(state), self.options.horizon, low.numel(), device=state.device)
        else:
            start = self._plans.recall(state)
        # Improve it in blocks of worlds; no world knows of another.
        model = self.model(scenario)
        block = min(max(1, _ROWS // self.options.branches), len(state))
        self._require_memory(block * start[0].nbytes, state.device)
        parts = [
            self._improved(model, state[at : at + block], start[at : at + block], low, high)
            for at in range(0, len(state), block)
        ]
        improved = torch.cat(parts)
        self._plans = Plans(state.key, state.step, start, improved)
        return _scaled(improved[:, 0], low, high).reshape(-1, *scenario.action_space.shape)

    def model(self, scenario: Any) -> Any:
        """The scenario that branches are tried in: as it is expected to go on."""
        forecast = getattr(scenario, "forecast", None)
        return scenario if forecast is None else forecast()

    def branched(self, state: Any, imagined: Any) -> Any:
        """The worlds ``[N * B]`` in which branches are tried; ``imagined`` have noise of their own."""
        return imagined

    def _improved(self, model: Any, state: Any, start: Tensor, low: Tensor, high: Tensor) -> Tensor:
        """The plans ``[B, H, A]`` after one step of path integral control from ``start``."""
        branches, worlds = self.options.branches, len(state)
        imagined = state.imagined(branches)
        # Disturb the plan; branch 0 tries it as it is. What leaves the bounds is cut off before it is weighed.
        disturbance = self._disturbance(imagined, start.shape[-1]).unflatten(0, (branches, worlds))
        disturbance[0] = 0.0
        tried = (start + disturbance).clamp(-1.0, 1.0)
        # Try all branches of all worlds.
        actions = _scaled(tried.flatten(0, 1), low, high)
        returns = _returns(model, self.branched(state, imagined), actions).view(branches, worlds)
        # Weigh them by the exponential of their returns.
        spread = returns.std(dim=0, correction=0).clamp(min=_TINY)
        weights = torch.softmax(returns / (self.options.temperature * spread), dim=0)
        plan: Tensor = (weights[:, :, None, None] * tried).sum(dim=0)
        return plan

    def _disturbance(self, imagined: Any, numbers: int) -> Tensor:
        """Normal numbers ``[N * B, H, A]``, correlated from step to step, from the noise of imagined worlds."""
        options = self.options
        rows = -(-numbers // _LANES)
        lanes = -(-numbers // rows)
        uniform = imagined.controller_noise(options.horizon * rows, lanes)
        white = _normal(uniform.reshape(len(imagined), options.horizon, rows * lanes)[..., :numbers])
        keep, fresh = options.correlation, math.sqrt(1.0 - options.correlation**2)
        steps = [white[:, 0]]
        for step in range(1, options.horizon):
            steps.append(keep * steps[-1] + fresh * white[:, step])
        return options.deviation * torch.stack(steps, dim=1)

    def _require_memory(self, plans: int, device: torch.device) -> None:
        """Refuse more branches than there is room for; ``plans`` [bytes] are those of the worlds planned for at once.

        Raises:
            UsageError: they do not fit.
        """
        size = _COPIES * self.options.branches * plans
        if size > _ASK_FOR_MEMORY:
            what = f"{self.options.branches:,} branches of {self.options.horizon:,} steps"
            limits.require(size, what, f"give controller '{self.name}' fewer", str(device))

    def _bounds(self, scenario: Any, device: torch.device) -> tuple[Tensor, Tensor]:
        """Of actions, flat ``[A]`` each.

        Raises:
            UsageError: there are none.
        """
        space = scenario.action_space
        if not isinstance(space, spaces.Box) or not space.is_bounded("both"):
            raise UsageError(
                f"controller '{self.name}' plans actions that are numbers within bounds; "
                f"those of scenario '{scenario.name}' are {space}"
            )
        low, high = (torch.as_tensor(bound, device=device).flatten() for bound in (space.low, space.high))
        return low, high


class ClairvoyantMPPI(MPPI):
    """A measure of what the future is worth, no competitor: mppi that sees the gusts and turns that will be drawn.

    Its branches share the noise of the world that they are of, and meet what that world will meet.
    """

    name = "mppi-clairvoyant"

    def model(self, scenario: Any) -> Any:
        """The scenario as it will go on."""
        return scenario

    def branched(self, state: Any, imagined: Any) -> Any:
        """Copies of the worlds, with the noise that is still to come."""
        return state.repeat(self.options.branches)


@dataclasses.dataclass(frozen=True)
class _Step:
    """A step of a scenario that makes none of its own."""

    before: Any
    action: Tensor
    after: Any


def _returns(model: Any, state: Any, actions: Tensor) -> Tensor:
    """The reward of each world ``[R]`` summed over the actions ``[R, H, A]``, until the task ends."""
    make = getattr(model, "step", _Step)
    earned = torch.zeros(len(state), device=state.device)
    going_on = torch.ones_like(earned)
    for number in range(actions.shape[1]):
        action = actions[:, number].reshape(-1, *model.action_space.shape)
        after = model.transition(state, action)
        after = after.replace(step=state.step + 1)
        step = make(state, action, after)
        for term in model.reward(step).values():
            earned = earned + going_on * term.reshape(len(earned), -1).sum(dim=-1)
        going_on = going_on * (~model.terminal(step))
        state = after
    return earned


def _normal(uniform: Tensor) -> Tensor:
    """Standard normal numbers from uniform ones in [0, 1) of 24 bits, by inversion of the distribution."""
    return torch.erfinv(2.0 * uniform - (1.0 - 2.0**-24)) * math.sqrt(2.0)


def _scaled(action: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Numbers in [-1, 1] as actions within their bounds."""
    return low + (action + 1.0) * ((high - low) / 2.0)


def _wide(mask: Tensor) -> Tensor:
    return mask[:, None, None]
