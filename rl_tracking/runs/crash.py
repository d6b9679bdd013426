"""A crash file: the state of the worlds before a step that failed and its actions, written, read and repeated.

A zip without pickled objects. ``crash.json`` holds the task, the place of the step and the error;
``states.bin`` are the worlds' own bytes and ``actions.bin`` the numbers of the actions. Readers run nothing that the
file names; only :func:`replay` does, with ``trust=True``.
"""

from __future__ import annotations

import dataclasses
import io
import json
import math
import zipfile
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from msgspec import Meta, Struct
from stable_baselines3.common.base_class import BaseAlgorithm

from rl_tracking import files, named_code
from rl_tracking.agents.saving import archive
from rl_tracking.agents.saving.archive import MEBIBYTE
from rl_tracking.agents.saving.checkpoint_schema import (
    Count,
    DescriptionError,
    Environment,
    Member,
    Name,
    Plugin,
    Scenario,
    decode,
)
from rl_tracking.agents.saving.description import describe, versions
from rl_tracking.errors import Evidence, StepError, UsageError
from rl_tracking.runs.tasks import SavedStep, Task, task_described

SCHEMA = 1
_FORMAT = "rl_tracking crash"
_DESCRIPTION, _STATES, _ACTIONS = "crash.json", "states.bin", "actions.bin"
_MOST = 64  # members: no fewer than a checkpoint has, of which the error says what it is
_LIMITS = {_DESCRIPTION: MEBIBYTE, _STATES: 256 * MEBIBYTE, _ACTIONS: 64 * MEBIBYTE}
_MOST_ROWS = 2**20
_CHANGED = "; where it was changed on purpose, add --changed to see the step with it as it is now"

Line = Annotated[str, Meta(max_length=4000)]
Axis = Annotated[int, Meta(ge=1, le=_MOST_ROWS)]


class Actions(Struct):
    """How ``actions.bin`` is read: K steps of R worlds."""

    dtype: Literal["float32", "float64", "int64", "int32", "int8", "uint8", "bool"]
    shape: Annotated[list[Axis], Meta(min_length=2, max_length=8)]


class Crash(Struct):
    """``crash.json``.

    Attributes:
        error: what was wrong and where, one line; ``problem`` is that without where.
        row: the world's row among the states; None where all worlds failed together.
        places: where the step was: ``branch``, ``world``, ``macro_step`` and ``step`` of its episode.
    """

    format: Literal["rl_tracking crash"]
    schema: Annotated[int, Meta(ge=1)]
    kind: Name
    error: Line
    problem: Line
    row: Annotated[int, Meta(ge=0, le=_MOST_ROWS)] | None
    places: Annotated[dict[Name, Annotated[int, Meta(ge=0)]], Meta(max_length=16)]
    algorithm: Name
    macro_steps: Count
    scenario: Scenario | None
    env: Environment | None
    plugins: Annotated[list[Plugin], Meta(max_length=256)]
    versions: dict[Name, Name]
    actions: Actions
    members: dict[Name, Member]


def keep(error: StepError, model: BaseAlgorithm, folder: Path) -> str | None:
    """Write the crash file of a failed step into a run's folder.

    Args:
        error: with its evidence.
        model: which was trained.
        folder: of the run.

    Returns:
        The command that makes the step again; None where nothing can: the worlds are not restorable, or have no name.
    """
    if error.evidence is None:
        return None
    described = describe(model)
    if described["scenario"] is None and described["env"] is None:
        return None
    try:
        content = _content(error, error.evidence, described)
    except (UsageError, ValueError, TypeError):  # a state or a parameter without a form as bytes
        return None
    path, number = folder / f"crash-{model.num_timesteps}.zip", 2
    while path.exists():
        path, number = folder / f"crash-{model.num_timesteps}-{number}.zip", number + 1
    files.write_bytes(path, content)
    names_code = any(plugin["source"] in ("file", "module") for plugin in described["plugins"])
    return f"rltrack replay {path}{' --trust' if names_code else ''}"


def _content(error: StepError, evidence: Evidence, described: dict[str, Any]) -> bytes:
    actions = np.ascontiguousarray(evidence.actions)
    members = {_STATES: evidence.states.to_bytes(), _ACTIONS: actions.tobytes()}
    crash = {
        "format": _FORMAT,
        "schema": SCHEMA,
        "kind": type(error).__name__,
        "error": str(error)[:4000],
        "problem": error.problem[:4000],
        "row": error.row,
        "places": {name: place for name, place in error.places.items() if isinstance(place, int)},
        **{name: described[name] for name in ("algorithm", "macro_steps", "scenario", "env", "plugins", "versions")},
        "actions": {"dtype": str(actions.dtype), "shape": list(actions.shape)},
        "members": {name: archive.digest(member) for name, member in members.items()},
    }
    text = json.dumps(crash, indent=1, allow_nan=False).encode()
    msgspec.json.decode(text, type=Crash)  # nothing is written that would not be read
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as written:
        for name, member in {**members, _DESCRIPTION: text}.items():
            written.writestr(name, member)
    return buffer.getvalue()


def read(path: Path) -> tuple[Crash, SavedStep]:
    """What a crash file says, and its step; runs nothing that it names.

    Raises:
        UsageError: missing, damaged, of a newer schema, or something else than a crash file.
    """
    if not path.is_file():
        raise UsageError(f"crash file '{path}' {'is a folder' if path.is_dir() else 'does not exist'}")
    name = f"crash file '{path}'"
    with archive.open_archive(path, name, most=_MOST) as opened:
        if _DESCRIPTION not in opened:
            hint = "; it is a checkpoint: rltrack watch shows it" if archive.DESCRIPTION in opened else ""
            raise UsageError(f"'{path}' is no crash file: it has no {_DESCRIPTION}{hint}")
        try:
            crash = decode(opened.read(_DESCRIPTION, _LIMITS[_DESCRIPTION]), Crash)
        except DescriptionError as error:
            raise UsageError(f"{name} is damaged: '{_DESCRIPTION}' cannot be read: {error}") from error
        if crash.schema > SCHEMA:
            raise UsageError(f"{name} has schema {crash.schema}, and this rl_tracking reads up to {SCHEMA}; upgrade it")
        members = {member: opened.read(member, _LIMITS[member]) for member in (_STATES, _ACTIONS)}
    for member, content in members.items():
        if msgspec.to_builtins(crash.members.get(member)) != archive.digest(content):
            raise UsageError(f"{name} is damaged: '{member}' is not what was saved (its checksum differs)")
    return crash, SavedStep(name, members[_STATES], _actions(name, crash, members[_ACTIONS]), crash.row or 0)


def _actions(name: str, crash: Crash, content: bytes) -> np.ndarray[Any, Any]:
    kind, shape = np.dtype(crash.actions.dtype), crash.actions.shape
    size = kind.itemsize
    for axis in shape:
        size *= axis
    if size != len(content) or (crash.row is not None and crash.row >= shape[1]):
        raise UsageError(f"{name} is damaged: its actions are not {crash.actions.dtype} of shape {shape}")
    return np.frombuffer(content, kind).reshape(shape)


# -- repeating the step ------------------------------------------------------------------------------------------------


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
    crash, saved = read(Path(path))
    _refuse_code(crash, saved.source, trust=trust, changed=changed)
    task = _task_of(crash, saved.source)
    made = task.repeat(saved)
    return Replayed(
        file=str(path),
        place=task.title,
        error=crash.error,
        again=None if made.failed is None else made.failed.problem,
        same=made.failed is not None and made.failed.problem == crash.problem,
        where=dict(crash.places),
        steps=len(saved.actions),
        action=made.action,
        before=made.before,
        after=made.after,
        terms=made.terms,
        versions=_changed_versions(crash.versions),
    )


def _task_of(crash: Crash, source: str) -> Task:
    task = task_described(msgspec.to_builtins(crash))
    if task is None:
        raise UsageError(f"{source} is damaged: it names neither a scenario nor an environment")
    return task


def _changed_versions(then: dict[str, str]) -> dict[str, tuple[str, str]]:
    """Of packages that have another version now: then and now."""
    pairs = {name: (then.get(name, "unknown"), version) for name, version in versions().items()}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _refuse_code(crash: Crash, source: str, *, trust: bool, changed: bool) -> None:
    place: Any = crash.scenario or crash.env
    named = () if place is None else (place.parameters, {"id": getattr(place, "id", "")})
    code = [found for value in named for found in named_code.find_all(value, "it", always=("id", "reward"))]
    digests = None if changed else {plugin.name: plugin.sha256 for plugin in crash.plugins}
    try:
        named_code.refuse(code, source, trust=trust, digests=digests)
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
