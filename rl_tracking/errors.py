"""Errors a user can cause. Their text is one line that says what was wrong and what would be right."""

from __future__ import annotations

import dataclasses
import difflib
import sys
import sysconfig
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

_LONGEST = 2000  # characters of an error


def one_line(text: str) -> str:
    """A text as one line of bounded length: line breaks become spaces, what else cannot be printed is escaped."""
    text = " ".join(text.splitlines())
    shown = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown)


class UsageError(ValueError):
    """Bad usage or bad input; the command line prints it and exits with 2."""

    def __init__(self, *told: object) -> None:
        super().__init__(*(one_line(text) if isinstance(text, str) else text for text in told))


class RunError(RuntimeError):
    """A run that started properly and failed; the command line prints it and exits with 1."""

    def __init__(self, *told: object) -> None:
        super().__init__(*(one_line(text) if isinstance(text, str) else text for text in told))


class RunWarning(UserWarning):
    """Something of a run went wrong, and it goes on; the command line prints it as one line."""


class SettingWarning(UserWarning):
    """Settings that work and can hardly be meant; the command line prints it as one line."""


class WriteError(RunError):
    """A file cannot be written: no space, no permission; what stood in its place is still there."""


@dataclasses.dataclass(frozen=True)
class Evidence:
    """What it takes to make a failed step again.

    Attributes:
        states: of R worlds before the first of the steps.
        actions: of K steps ``[K, R, ...]``, of which the last one failed.
    """

    states: Any
    actions: Any


class StepError(Exception):
    """A step of some worlds failed. Callers that know more of where it was add it with :meth:`locate`.

    Attributes:
        problem: what was wrong, without where.
        row: the world's row in the batch that was stepped; None where the whole batch is concerned.
        places: where it was, by name, in the order of the text: ``branch``, ``world``, ``macro_step``, ``step``.
        evidence: the states before the step and the actions; None where the worlds cannot be restored.
        kept: sentences on what is kept (a checkpoint, a crash file).
    """

    def __init__(self, problem: str, row: int | None = None, *, step: int | None = None) -> None:
        super().__init__(problem)
        self.problem, self.row = problem, row
        self.places: dict[str, int | str] = {} if row is None else {"world": row}
        if step is not None:
            self.places["step"] = step
        self.evidence: Evidence | None = None
        self.kept: list[str] = []

    def locate(self, **places: int | str | None) -> None:
        """Say more of where it was; what is None is forgotten."""
        self.places = {name: place for name, place in {**self.places, **places}.items() if place is not None}

    def __str__(self) -> str:
        """One line."""
        words = {
            "branch": "in branch {} of world {}" if "world" in self.places else "in branch {}",
            "world": "in world {}",
            "path": "at step {} of the branches",
            "macro_step": "after macro-step {}",
            "step": "at step {} of its episode",
            "seed": "in the episode of seed {}",
        }
        where = []
        for name, text in words.items():
            if name == "world" and "branch" in self.places:
                continue
            if name in self.places:
                where.append(text.format(self.places[name], self.places.get("world")))
        line = f"{self.problem}, {' '.join(where)}" if where else self.problem
        return "; ".join([line, *self.kept])


class EnvironmentStepError(StepError, RunError):
    """An environment, a scenario or a motion raised, or returned what it must not."""


class RewardError(StepError, UsageError):
    """A reward raised, or returned anything but B finite numbers."""


class NotFiniteRewardError(RewardError):
    """A reward returned NaN or an infinity in row ``world`` of the batch, in step ``at`` of its episode."""

    def __init__(self, reward: str, value: float, world: int, at: int) -> None:
        super().__init__(f"{reward} returned {value}; it must be finite", world, step=at)
        self.reward, self.value, self.world, self.at = reward, value, world, at


class ActivationError(RunError, UsageError):
    """A reward activation raised, or returned anything but finite numbers of the shape of the rewards."""


def unknown(what: str, name: str, known: Iterable[str]) -> UsageError:
    """The error for a name nobody knows, with the nearest known one or all of them."""
    names = sorted(known)
    close = difflib.get_close_matches(str(name), names, n=1, cutoff=0.6)
    hint = f"did you mean '{close[0]}'?" if close else f"known: {', '.join(names)}"
    return UsageError(f"unknown {what} '{name}'; {hint}")


def brief(error: object) -> str:
    """The text of an exception as one line of 300 characters at most."""
    return " ".join(str(error).split())[:300]


def account(error: BaseException) -> str:
    """An exception of somebody's code as one line: its type, its text, and the file and line it comes from."""
    text = brief(error)
    place = origin(error.__traceback__)
    return f"{type(error).__name__}{f': {text}' if text else ''}{f' ({place})' if place else ''}"


@contextmanager
def naming(who: str) -> Iterator[None]:
    """Say of an exception that somebody's code raises in a step whose code it is.

    Raises:
        EnvironmentStepError: it raised anything but an error of this package.
    """
    try:
        yield
    except (UsageError, RunError, KeyboardInterrupt):
        raise
    except BaseException as error:  # sys.exit() is no way for a step to end
        raise EnvironmentStepError(f"{who} raised {account(error)}") from error


def is_plugin(part: object) -> bool:
    """Whether the class of an object is of another package."""
    return not type(part).__module__.startswith("rl_tracking.")


def origin(trace: TracebackType | None) -> str:
    """``file:line`` of the innermost frame of a user's code; of the innermost frame at all if there is none."""
    frames = traceback.extract_tb(trace)
    theirs = [frame for frame in frames if not frame.filename.startswith((*_LIBRARIES, "<"))]
    chosen = (theirs or frames)[-1:]
    return "".join(f"{frame.filename}:{frame.lineno}" for frame in chosen)


_LIBRARIES = tuple(
    {
        str(Path(__file__).parent),
        *(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")),
        *(path for path in sys.path if path.endswith("site-packages")),
    }
)
