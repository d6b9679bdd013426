"""Errors a user can cause. Their text is one line that says what was wrong and what would be right."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UsageError(ValueError):
    """Bad usage or bad input; the command line prints it and exits with 2."""


class NotFiniteRewardError(UsageError):
    """A reward returned NaN or an infinity in row ``world`` of the batch, in step ``at`` of its episode."""

    def __init__(self, reward: str, value: float, world: int, at: int, where: str = "") -> None:
        super().__init__(f"{reward} returned {value} in {where or f'world {world}'} at step {at}; it must be finite")
        self.reward, self.value, self.world, self.at = reward, value, world, at


class RunError(RuntimeError):
    """A run that started properly and failed; the command line prints it and exits with 1."""


class WriteError(RunError):
    """A file cannot be written: no space, no permission; what stood in its place is still there."""


def unknown(what: str, name: str, known: Iterable[str]) -> UsageError:
    """The error for a name nobody knows, with the nearest known one or all of them."""
    names = sorted(known)
    close = difflib.get_close_matches(str(name), names, n=1, cutoff=0.6)
    hint = f"did you mean '{close[0]}'?" if close else f"known: {', '.join(names)}"
    return UsageError(f"unknown {what} '{name}'; {hint}")
