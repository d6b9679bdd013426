"""Reward terms, one function each, and the named presets that weigh them.

A term maps a :class:`~rl_tracking.envs.parts.target_step.TargetStep` to ``[B]``. The constants of ``basic`` and
``complex`` are those of the paper author's sandbox.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from rl_tracking.envs.geometry import dot, length, summed
from rl_tracking.envs.operations import below, constant, int_constant
from rl_tracking.envs.parts.handout import Handout, missing_name
from rl_tracking.envs.parts.target_step import TargetStep
from rl_tracking.envs.transition import SummedTerms, cached, total
from rl_tracking.errors import NotFiniteRewardError, RewardError, UsageError, account

Term = Callable[[TargetStep], Tensor]


def _mean(values: Tensor) -> Tensor:
    """Mean over pursuers, ``[B, P] -> [B]``; one pursuer, the usual case, costs nothing."""
    pursuers = values.size(-1)
    return values.squeeze(-1) if pursuers == 1 else summed(values) / pursuers


def closing(step: TargetStep) -> Tensor:
    """Metres by which the distance shrank, mean over pursuers."""
    if step.distance.size(-1) == 1:
        return step.nearest_before - step.nearest
    return _mean(step.distance_before - step.distance)


def progress(step: TargetStep) -> Tensor:
    """:func:`closing` as a share of the longest way a pursuer can make in a step."""
    return closing(step) * constant(1.0 / (step.facts.speed_limit * step.facts.dt))


def total_distance(step: TargetStep) -> Tensor:
    """Sum of the pursuers' distances to the target [m]."""
    return summed(step.distance)


def proximity(step: TargetStep) -> Tensor:
    """1 on the target, 1/2 at the capture radius, falling with the square of the nearest distance."""
    ratio = step.nearest * constant(1.0 / step.facts.capture_radius)
    return (ratio * ratio).add_(constant(1.0)).reciprocal_()


def captured(step: TargetStep) -> Tensor:
    """1 in a step on whose way some pursuer comes within the capture radius."""
    return step.captured.to(step.distance.dtype)


def passing_time(step: TargetStep) -> Tensor:
    """1 in every step, the captures' left out."""
    return 1.0 - captured(step)


def got_nearer(step: TargetStep) -> Tensor:
    """1 in a step whose nearest pursuer ends nearer than the nearest one was before."""
    return below(step.nearest, step.nearest_before)


def in_radius(step: TargetStep) -> Tensor:
    """1 while some pursuer is within the capture radius."""
    return step.in_radius.to(step.distance.dtype)


def effort(step: TargetStep) -> Tensor:
    """Mean square of the action, summed over space."""
    return _mean(dot(step.action, step.action))


# The terms of `complex`. Where a pursuer was, the author's code reads from its history: with `author_bugs` that is
# another place in the first steps of an episode.


def closing_on_trail(step: TargetStep) -> Tensor:
    """Metres by which the distance to where the target is now shrank, mean over pursuers; needs a lookback of 1."""
    if step.facts.target_moves_last and not step.facts.author_bugs:  # the target stood still meanwhile
        return closing(step)
    return _mean(length(step.target_position.unsqueeze(1) - step.after.trail[:, -1]) - step.distance)


def nearer_than_judged(step: TargetStep) -> Tensor:
    """Metres by which the distance shrank since the last step was judged, mean over pursuers.

    The earlier distance is to where the target was then, so the target's own move counts. 0 in the first step.
    """
    before = step.before
    earlier = before.judged_distance if step.facts.target_moves_last else step.distance_before
    first = before.step == int_constant(0)
    if step.facts.author_bugs:  # there the last episode's end is remembered, if there was one
        first = first & (before.episode == 0)
    return _mean(earlier - step.distance).masked_fill(first, 0.0)


def number_nearer_than_capture_radius(step: TargetStep) -> Tensor:
    """Number of pursuers nearer than the capture radius."""
    return _number_nearer(step, step.facts.capture_radius)


def number_nearer_than_1(step: TargetStep) -> Tensor:
    """Number of pursuers nearer than 1 m."""
    return _number_nearer(step, 1.0)


def _number_nearer(step: TargetStep, radius: float) -> Tensor:
    if step.distance.size(-1) == 1:
        return below(step.nearest, constant(radius))
    return summed(below(step.distance, constant(radius)))


def action_size(step: TargetStep) -> Tensor:
    """Sum of the absolute action in the units of the dynamics."""
    size = step.action.abs()
    if step.facts.author_bugs:  # the last pursuer's for everyone's
        size = size[:, -1:].expand_as(size)
    return summed(summed(size)) * constant(step.facts.action_scale)


def action_length(step: TargetStep) -> Tensor:
    """Length of the action in the units of the dynamics, summed over pursuers."""
    return summed(length(step.action)) * constant(step.facts.action_scale)


def way_of_5_steps(step: TargetStep) -> Tensor:
    """Distance to where each pursuer was five steps ago [m], summed over pursuers; needs a lookback of 5."""
    return summed(length(step.after.position - step.after.trail[:, -5]))


@dataclasses.dataclass(frozen=True)
class Reward:
    """A weighted sum of terms.

    Attributes:
        terms: name, weight and function of each term.
        limit: the sum is clipped to [-limit, limit]; None leaves it as it is.
        lookback: how many past positions of the pursuers the terms need (``state.trail``).
        summary: one line for lists.
        judges: the class of the steps that the terms read; a scenario whose steps are others refuses the reward.
        limit_each: ``limit`` is for each pursuer: that of the sum is as many times as large.
    """

    terms: tuple[tuple[str, float, Any], ...]
    limit: float | None = None
    lookback: int = 0
    summary: str = ""
    judges: type[TargetStep] = TargetStep
    limit_each: bool = False

    def __call__(self, step: TargetStep) -> dict[str, Tensor]:
        """The weighted terms by name, ``[B]`` each, whose sum is the reward; ``limit`` is what the clipping adds."""
        terms = {}
        for name, weight, function in self._weighted:
            terms[name] = function(step) * weight
        if self.limit is None:
            return terms
        unlimited = total(terms)
        limit = self.limit * step.after.position.size(1) if self.limit_each else self.limit
        terms["limit"] = unlimited.clamp(-limit, limit) - unlimited
        return SummedTerms(terms, unlimited + terms["limit"])

    @cached
    def _weighted(self) -> list[tuple[str, Tensor, Any]]:
        return [(name, constant(weight), function) for name, weight, function in self.terms]

    def checked(self, spec: str) -> Reward:
        """The same with a check around every term that is not of this package; itself if there is none such."""
        if all(str(getattr(function, "__module__", "")).startswith("rl_tracking.") for _, _, function in self.terms):
            return self
        several = len(self.terms) > 1
        terms = [
            (
                name,
                weight,
                CheckedTerm(f"term '{name}' of reward '{spec}'" if several else f"reward '{spec}'", function),
            )
            for name, weight, function in self.terms
        ]
        return dataclasses.replace(self, terms=tuple(terms))


@dataclasses.dataclass(frozen=True)
class CheckedTerm:
    """A user's ``function(step) -> [B]``: given copies, and checked at every step.

    Attributes:
        name: what errors call it.
        function: is given a view of the step whose tensors are copies, so that it may work in place.
    """

    name: str
    function: Term

    def __call__(self, step: TargetStep) -> Tensor:
        """B finite numbers, in memory of their own.

        Raises:
            RewardError: the function raises, or returns anything else.
        """
        given: Any = Handout(step)
        try:
            value = self.function(given)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # sys.exit() is no way for a reward to end
            raise RewardError(f"{self.name} raised {account(error)}{missing_name(error, 'step')}") from error
        return self._checked(value, step)

    def _checked(self, returned: Any, step: TargetStep) -> Tensor:
        worlds, value = len(step.after), returned
        if not isinstance(value, Tensor):
            raise RewardError(
                f"{self.name} returned a {type(value).__name__}; it must return a tensor of shape [{worlds}]"
            )
        if value.shape != (worlds,):
            raise RewardError(
                f"{self.name} returned shape {list(value.shape)}; it must return one number a world: [{worlds}]"
            )
        if value.is_complex():
            raise RewardError(f"{self.name} returned complex numbers; it must return real ones")
        distance = step.distance
        if value.requires_grad and not distance.requires_grad:
            value = value.detach()  # a learned reward; the gradient that anybody asks for is that through the world
        # A copy: a function may return the same tensor every time and write into it.
        value = value.to(distance, copy=True)
        finite = torch.isfinite(value)
        if not bool(finite.all()):
            world = int((~finite).nonzero()[0])
            raise NotFiniteRewardError(self.name, float(value[world]), world, int(step.before.step[world]))
        return value


def plugin_reward(spec: str, found: Any) -> Reward:
    """What a name or a file gives as a reward: a function of the step, or a :class:`Reward` of such terms.

    Raises:
        UsageError: its ``lookback`` is no whole number.
    """
    if isinstance(found, Reward):
        return found.checked(spec)
    steps = getattr(found, "lookback", 0)
    if type(steps) is not int or steps < 0:
        raise UsageError(f"reward '{spec}' has a lookback of {steps!r}; it must be a whole number, 0 or more")
    term = CheckedTerm(f"reward '{spec}'", found)
    return Reward(((spec.rpartition(":")[2], 1.0, term),), lookback=steps)


def require_judge(spec: str, reward: Reward, scenario: str, step: type[TargetStep]) -> None:
    """Refuse a reward that reads more of a step than a scenario's steps, of class ``step``, have.

    Raises:
        UsageError: it does.
    """
    if not issubclass(step, reward.judges):
        raise UsageError(
            f"reward '{spec}' reads a {reward.judges.__name__}, which the steps of scenario '{scenario}' are not; "
            "choose another reward"
        )


TRACKING = Reward(
    (("progress", 0.5, progress), ("proximity", 0.5, proximity), ("effort", -0.005, effort)),
    summary="Closing in, being near, and little effort: dense and of size one",
)
PROGRESS = Reward((("progress", 1.0, progress),), summary="Closing in, as a share of the longest step")
SPARSE = Reward((("in_radius", 1.0, in_radius),), summary="1 within the capture radius, else 0")
CATCH = Reward(
    (("progress", 0.5, progress), ("captured", 1.0, captured), ("time", -0.05, passing_time)),
    summary="Closing in, capture, and no time lost: for tasks that end with a capture",
)
NEARER = Reward(
    (("distance", -0.01, total_distance), ("nearer", 0.5, got_nearer)),
    limit=1.0,
    summary="0.5 for getting nearer, minus the distances / 100 m, within 1 (the author's sandbox, basic track)",
)
BASIC = Reward(
    (("distance", -0.01, total_distance),), summary="Minus the distances / 100 m (the author's sandbox, `basic`)"
)
COMPLEX = Reward(
    (
        ("progress", 300.0, closing_on_trail),
        ("nearer", 0.1, nearer_than_judged),
        ("captured", 1000.0, number_nearer_than_capture_radius),
        ("effort", -0.05, action_size),
        ("collision", -2000.0, number_nearer_than_1),
        ("way", 0.1, way_of_5_steps),
    ),
    limit=2000.0,
    lookback=5,
    summary="Progress, capture, collision and effort, within 2000 (the author's sandbox, `complex`)",
)
