"""Repeats the step of a crash file and shows its state, action and reward terms, and what happens now."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from rl_tracking import named_code
from rl_tracking.agents.saving.description import versions
from rl_tracking.errors import UsageError
from rl_tracking.runs import crash as crash_files
from rl_tracking.runs.crash import CrashFile
from rl_tracking.runs.tasks import SavedStep, Task, task_described

_CHANGED = "; where it was changed on purpose, add --changed to see the step with it as it is now"


@dataclasses.dataclass(frozen=True)
class Replayed:
    """A step of a crash file, repeated.

    Attributes:
        file: the crash file.
        place: the scenario or the environment.
        error: of the crash.
        again: the error now; None if the step went well.
        same: whether it is the same error.
        where: branch, world, macro_step and step of the episode, as far as they are known.
        steps: how many steps were made; the last one is the one in question.
        action: of the world in question.
        before: its state before the step, by field.
        after: what the step led to, by field; empty where it failed before.
        terms: of the reward, by name: a number, or what was wrong.
        versions: of packages whose version has changed since the crash: then and now.
    """

    file: str
    place: str
    error: str
    again: str | None
    same: bool
    where: dict[str, int]
    steps: int
    action: Any
    before: dict[str, Any]
    after: dict[str, Any]
    terms: dict[str, Any]
    versions: dict[str, tuple[str, str]]

    def to_dict(self) -> dict[str, Any]:
        """As JSON; numbers that are not finite are texts."""
        plain: dict[str, Any] = _plain(dataclasses.asdict(self))
        return plain


def replay(path: str | Path, *, trust: bool = False, changed: bool = False) -> Replayed:
    """Rebuild the worlds of a crash file, restore their state and repeat the step.

    Args:
        path: of the crash file.
        trust: let code be run that the file names (a reward by file, an environment by module).
        changed: let it be run even if it has changed since the crash.

    Raises:
        UsageError: the file is missing, damaged or something else; it names code that is not trusted; or its worlds
            cannot be made here.
    """
    file = crash_files.read(Path(path))
    _refuse_code(file, trust=trust, changed=changed)
    crash, row = file.crash, file.crash.row or 0
    task = _task_of(file)
    made = task.repeat(SavedStep(f"crash file '{file.path}'", file.states, file.actions, row))
    return Replayed(
        file=str(file.path),
        place=task.title,
        error=crash.error,
        again=None if made.failed is None else made.failed.problem,
        same=made.failed is not None and made.failed.problem == crash.problem,
        where=dict(crash.places),
        steps=len(file.actions),
        action=made.action,
        before=made.before,
        after=made.after,
        terms=made.terms,
        versions=_changed_versions(crash.versions),
    )


def _task_of(file: CrashFile) -> Task:
    task = task_described(msgspec.to_builtins(file.crash))
    if task is None:
        raise UsageError(f"crash file '{file.path}' is damaged: it names neither a scenario nor an environment")
    return task


def _changed_versions(then: dict[str, str]) -> dict[str, tuple[str, str]]:
    """Of packages that have another version now: then and now."""
    pairs = {name: (then.get(name, "unknown"), version) for name, version in versions().items()}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _refuse_code(file: CrashFile, *, trust: bool, changed: bool) -> None:
    crash = file.crash
    place: Any = crash.scenario or crash.env
    named = () if place is None else (place.parameters, {"id": getattr(place, "id", "")})
    code = [found for value in named for found in named_code.find_all(value, "it", always=("id", "reward"))]
    digests = None if changed else {plugin.name: plugin.sha256 for plugin in crash.plugins}
    try:
        named_code.refuse(code, f"crash file '{file.path}'", trust=trust, digests=digests)
    except UsageError as error:
        raise UsageError(f"{error}{_CHANGED if trust else ''}") from error


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
