"""Checks around motions that other packages define; those of this package run without."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, NoReturn

import torch
from torch import Tensor

from rl_tracking.envs.parts import motion_options
from rl_tracking.envs.parts.arena import Arena, Motion, Target, cut_of, responds
from rl_tracking.envs.parts.handout import handed_out
from rl_tracking.errors import EnvironmentStepError, SettingWarning, UsageError, account, is_plugin, naming


def named_motion(spec: str, speed: float, arena_size: float) -> Motion:
    """The motion of a name with options, such as ``circle`` or ``square:side=0.3``.

    Args:
        spec: the name.
        speed: greatest speed [m/s].
        arena_size: side of the arena [m].

    Raises:
        UsageError: there is none of that name, an option is wrong, or it cannot be made.
    """
    return motion_of(spec.partition(":")[0], motion_options.maker(spec), speed, arena_size)


def motion_of(name: str, make: Callable[[float, float], Motion], speed: float, arena_size: float) -> Motion:
    """The motion that ``make`` makes, with a check around it if it is not of this package.

    Raises:
        UsageError: it cannot be made.
    """
    try:
        motion = make(speed, arena_size)
    except UsageError:
        raise
    except Exception as error:
        raise UsageError(f"motion '{name}' cannot be made: {account(error)}") from error
    return CheckedMotion(name, motion) if is_plugin(motion) else motion


def warn_of_cuts(motion: Motion, arena: Arena) -> None:
    """Say what of a motion cannot be flown in an arena; for the maker of a scenario."""
    for text in cut_of(motion, arena):
        warnings.warn(text, SettingWarning, stacklevel=3)


class CheckedMotion:
    """A user's motion: given copies, and checked at every step."""

    def __init__(self, name: str, motion: Motion) -> None:
        self._name, self._motion = name, motion
        if responds(motion):
            self.respond = self._respond

    @property
    def speed(self) -> float:
        """See :class:`rl_tracking.envs.parts.arena.Motion`."""
        return float(self._motion.speed)

    def start(self, anchor: Tensor, key: Tensor, arena: Arena) -> Target:
        """See :class:`rl_tracking.envs.parts.arena.Motion`.

        Raises:
            EnvironmentStepError: it raises, or returns what it must not.
        """
        return self._checked("start", anchor, anchor, key, arena)

    def advance(self, target: Target, key: Tensor, step: Tensor, arena: Arena) -> Target:
        """See :class:`rl_tracking.envs.parts.arena.Motion`.

        Raises:
            EnvironmentStepError: it raises, or returns what it must not.
        """
        return self._moved("advance", target, key, step, arena)

    def _respond(self, target: Target, pursuers: Tensor, arena: Arena) -> Target:
        """See :class:`rl_tracking.envs.parts.arena.Responding`."""
        return self._moved("respond", target, pursuers, arena)

    def _moved(self, verb: str, target: Target, *given: Any) -> Target:
        moved = self._checked(verb, target.position, target, *given)
        if moved.memory.shape != target.memory.shape:
            self._refuse(verb, "memory", f"shape {list(moved.memory.shape)}", f"{list(target.memory.shape)}")
        return moved

    def _checked(self, verb: str, place: Tensor, *given: Any) -> Target:
        with naming(f"motion '{self._name}' in {verb}()"):
            made = getattr(self._motion, verb)(*map(handed_out, given))
        if not isinstance(made, tuple) or len(made) != 3 or not all(isinstance(part, Tensor) for part in made):
            raise EnvironmentStepError(
                f"motion '{self._name}' returned a {type(made).__name__} from {verb}(); "
                "it must return Target(position, velocity, memory), three tensors"
            )
        target = Target(*made)
        for field, tensor in target._asdict().items():
            if field != "memory" and tensor.shape != place.shape:
                self._refuse(verb, field, f"shape {list(tensor.shape)}", f"{list(place.shape)}")
            if tensor.shape[:1] != place.shape[:1] or tensor.is_complex():
                self._refuse(verb, field, f"{tensor.dtype} {list(tensor.shape)}", f"real, [{place.shape[0]}, M]")
            finite = torch.isfinite(tensor)
            if not bool(finite.all()):
                raise EnvironmentStepError(
                    f"motion '{self._name}' returned a {field} from {verb}() that is not finite",
                    int((~finite).nonzero()[0][0]),
                )
        # Copies: a motion may keep what it returned and write into it at the next step.
        return Target(*(part.to(place, copy=True) for part in target))

    def _refuse(self, verb: str, field: str, what: str, right: str) -> NoReturn:
        raise EnvironmentStepError(
            f"motion '{self._name}' returned a {field} of {what} from {verb}(); it must be {right}"
        )
