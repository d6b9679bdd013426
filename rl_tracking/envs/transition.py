"""One step of a batch of worlds, as rewards and viewers see it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, Generic, Self, TypeVar, overload

import torch
from torch import Tensor

from rl_tracking.envs.geometry import constant, least_length, length, lone

Value = TypeVar("Value")
_FEW = 256  # worlds, of which often none is near its target


class worked_out_once(Generic[Value]):  # noqa: N801 - used as a decorator, like functools.cached_property
    """``functools.cached_property`` as it is from Python 3.12 on: before, it takes a lock at every first read."""

    def __init__(self, function: Callable[[Any], Value]) -> None:
        self._function, self._name, self.__doc__ = function, function.__name__, function.__doc__

    @overload
    def __get__(self, owner: None, kind: type) -> worked_out_once[Value]: ...
    @overload
    def __get__(self, owner: object, kind: type) -> Value: ...
    def __get__(self, owner: Any, kind: type) -> Any:
        """Work the value out and put it where the next read finds it first."""
        if owner is None:
            return self
        value = self._function(owner)
        vars(owner)[self._name] = value
        return value


@dataclasses.dataclass(frozen=True)
class Facts:
    """The constants of a world that a reward may need.

    Attributes:
        dt: control step [s].
        max_steps: time limit [steps].
        capture_radius: a pursuer this near has captured the target [m].
        arena_low: lower corner of the arena ``[D]`` [m].
        arena_high: upper corner of the arena ``[D]`` [m].
        speed_limit: greatest speed of a pursuer [m/s].
        action_scale: what an action of 1 stands for in the units of the dynamics: metres a step for
            ``kinematic``, [m/s^2] for ``drone``.
        commands_acceleration: an action is an acceleration (``drone``), not a displacement (``kinematic``).
        target_moves_last: the step is judged before the target moves, as in the paper author's sandbox:
            distances are to where the target was before the step.
        longest_approach: no pursuer and target move further than this relative to each other in a step, or in each
            half of it where the target moves last [m]; infinite where nothing bounds it.
        author_bugs: rewards are computed with the errors of the author's code.
    """

    dt: float
    max_steps: int
    capture_radius: float
    arena_low: Tensor
    arena_high: Tensor
    speed_limit: float
    action_scale: float
    commands_acceleration: bool
    target_moves_last: bool
    longest_approach: float = math.inf
    author_bugs: bool = False


@dataclasses.dataclass(frozen=True)
class Step:
    """What a reward function is given: the worlds before and after a step, and what was done in it.

    ``before`` and ``after`` are the scenario's states (B worlds; fields ``position``, ``velocity``,
    ``acceleration`` ``[B, P, D]``, ``target_position``, ``target_velocity`` ``[B, D]`` and so on).
    ``action`` ``[B, P, D]`` is clipped to [-1, 1]. Distances are worked out once and shared by all terms.
    Nothing here may be changed in place; a reward of another package is given copies, so that it may.
    """

    facts: Facts
    before: Any
    action: Tensor
    after: Any

    @worked_out_once
    def target_position(self) -> Tensor:
        """Where the target is when the step is judged, ``[B, D]`` [m]."""
        last = self.facts.target_moves_last
        target: Tensor = self.after.target_judged if last else self.after.target_position
        return target

    @worked_out_once
    def offset(self) -> Tensor:
        """From each pursuer to the target when the step is judged, ``[B, P, D]`` [m]."""
        offset: Tensor = self.target_position.unsqueeze(1) - self.after.position
        return offset

    @worked_out_once
    def distance(self) -> Tensor:
        """Distance of each pursuer to the target when the step is judged, ``[B, P]`` [m]."""
        kept: Tensor = self.after.judged_distance if self.facts.target_moves_last else length(self.offset)
        return kept

    @worked_out_once
    def offset_before(self) -> Tensor:
        """From each pursuer to the target before the step, ``[B, P, D]`` [m]."""
        offset: Tensor = self.before.target_position.unsqueeze(1) - self.before.position
        return offset

    @worked_out_once
    def distance_before(self) -> Tensor:
        """Distance of each pursuer to the target before the step, ``[B, P]`` [m]."""
        return length(self.offset_before)

    @worked_out_once
    def nearest(self) -> Tensor:
        """Distance of the nearest pursuer when the step is judged, ``[B]`` [m]."""
        return self.distance.amin(dim=-1) if self.distance.shape[-1] > 1 else self.distance.squeeze(-1)

    @worked_out_once
    def in_radius(self) -> Tensor:
        """Whether some pursuer is within the capture radius when the step is judged, ``[B]`` bool."""
        return self.nearest <= constant(self.facts.capture_radius)

    @worked_out_once
    def captured(self) -> Tensor:
        """Whether some pursuer came within the capture radius on its way through the step, ``[B]`` bool.

        The relative motion is taken as straight between the step's ends; a drone's true path leaves that line by
        a dt^2 / 8 at most (2 cm in the ``drone`` preset). Where the target moves last there are two lines: first
        the pursuers move, then the target.
        """
        inside = self.in_radius
        if not inside.is_cpu or torch.compiler.is_compiling():  # there, asking costs more than working it out
            return inside | self._passed(None)
        if lone(inside):
            return inside if inside.item() or not self._comes_near else self._passed(None)
        near = (self._near > inside).nonzero().squeeze(-1)
        return inside.index_copy(0, near, self._passed(near)) if near.numel() else inside

    def passed(self, known: Tensor, steps_in_radius: Tensor) -> Tensor:
        """``known`` ``[B]`` bool, and also where :attr:`captured` holds for the first time in the episode.

        Looks only at worlds without a step in the radius so far (``steps_in_radius`` ``[B]``, this one counted): of
        the others it is known that the target was captured. So that mostly nothing is to be done.
        """
        if not known.is_cpu or torch.compiler.is_compiling():
            return known | self.captured
        if lone(known):
            return known if not self._comes_near or steps_in_radius.item() else known | self._passed(None)
        if known.numel() <= _FEW and not self._comes_near:
            return known
        near = torch.gt(self._near, steps_in_radius).nonzero()
        if not near.shape[0]:
            return known
        near = near.squeeze(-1)
        return known.index_put((near,), known[near] | self._passed(near))

    @property
    def _comes_near(self) -> bool:
        """Whether in some world some pursuer can have come within the capture radius in the step."""
        least = self.nearest if self.nearest.numel() == 1 else self.nearest.amin()
        return least.item() <= self.facts.capture_radius + self.facts.longest_approach

    @property
    def _near(self) -> Tensor:
        """Whether some pursuer can have come within the capture radius in the step, ``[B]`` bool."""
        facts = self.facts
        if facts.target_moves_last:
            return self.nearest <= constant(facts.capture_radius + facts.longest_approach)
        # From a place to the radius and on to another place is at least as long as what lies outside of it.
        way = self.distance_before + self.distance
        way = way.amin(dim=-1) if way.shape[-1] > 1 else way.squeeze(-1)
        return way <= constant(2 * facts.capture_radius + facts.longest_approach)

    def _passed(self, worlds: Tensor | None) -> Tensor:
        """:attr:`captured`, of some worlds ``[K]`` or of all."""

        def of(tensor: Tensor) -> Tensor:
            return tensor if worlds is None else tensor.index_select(0, worlds)

        if self.facts.target_moves_last:
            judged, end = of(self.target_position).unsqueeze(1), of(self.after.position)
            first, corner = judged - of(self.before.position), judged - end
            last = of(self.after.target_position).unsqueeze(1) - end
            least = torch.minimum(least_length(first, corner), least_length(corner, last))
        else:
            least = least_length(of(self.offset_before), of(self.offset))
        return (least.amin(dim=-1) if least.shape[-1] > 1 else least.squeeze(-1)) <= constant(self.facts.capture_radius)


@dataclasses.dataclass(frozen=True)
class Transition(Step):
    """A judged step: a :class:`Step` with its observation, reward and ends.

    Attributes:
        observation: of the state after the step, ``[B, O]``.
        reward: ``[B]``.
        terms: the parts of the reward by name, ``[B]`` each.
        terminated: ``[B]`` bool: the task is over, the future is worth nothing.
        truncated: ``[B]`` bool: the time limit was reached.
    """

    observation: Tensor
    reward: Tensor
    terms: dict[str, Tensor]
    terminated: Tensor
    truncated: Tensor

    @classmethod
    def of(cls, step: Step, **judged: Any) -> Self:
        """``step`` with the fields that it lacks; what was worked out for its judges (distances) is kept."""
        new = object.__new__(cls)
        vars(new).update(vars(step), **judged)
        return new

    @property
    def done(self) -> Tensor:
        """``[B]`` bool: the episode ended here."""
        return self.terminated | self.truncated
