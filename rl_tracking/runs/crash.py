"""A crash file: the state of the worlds before a step that failed and the actions, so that the step can be repeated.

A zip without pickled objects. ``crash.json`` holds the task, the place of the step and the error;
``states.bin`` are the worlds' own bytes and ``actions.bin`` the numbers of the actions. Readers run nothing that the
file names.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from msgspec import Meta, Struct
from stable_baselines3.common.base_class import BaseAlgorithm

from rl_tracking import files
from rl_tracking.agents.saving import description
from rl_tracking.agents.saving.archive import MEBIBYTE, open_archive
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
from rl_tracking.errors import Evidence, StepError, UsageError

SCHEMA = 1
_FORMAT = "rl_tracking crash"
_DESCRIPTION, _STATES, _ACTIONS = "crash.json", "states.bin", "actions.bin"
_MOST = 64  # members: no fewer than a checkpoint has, of which the error says what it is
_LIMITS = {_DESCRIPTION: MEBIBYTE, _STATES: 256 * MEBIBYTE, _ACTIONS: 64 * MEBIBYTE}
_MOST_ROWS = 2**20

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


class CrashFile:
    """A crash file that was read.

    Attributes:
        path: of the file.
        crash: what it says.
        states: the worlds before the first step, as their own bytes.
        actions: ``[K, R, ...]``; the last of the K steps failed.
    """

    def __init__(self, path: Path, crash: Crash, states: bytes, actions: np.ndarray[Any, Any]) -> None:
        self.path, self.crash, self.states, self.actions = path, crash, states, actions


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
    described = description.describe(model)
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
        "members": {name: _digest(member) for name, member in members.items()},
    }
    text = json.dumps(crash, indent=1, allow_nan=False).encode()
    msgspec.json.decode(text, type=Crash)  # nothing is written that would not be read
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, member in {**members, _DESCRIPTION: text}.items():
            archive.writestr(name, member)
    return buffer.getvalue()


def _digest(member: bytes) -> dict[str, Any]:
    return {"size": len(member), "sha256": hashlib.sha256(member).hexdigest()}


def read(path: Path) -> CrashFile:
    """Read a crash file; runs nothing that it names.

    Raises:
        UsageError: missing, damaged, of a newer schema, or something else than a crash file.
    """
    if not path.is_file():
        raise UsageError(f"crash file '{path}' {'is a folder' if path.is_dir() else 'does not exist'}")
    name = f"crash file '{path}'"
    with open_archive(path, name, most=_MOST) as archive:
        if _DESCRIPTION not in archive:
            hint = "; it is a checkpoint: rltrack watch shows it" if "rltrack.json" in archive else ""
            raise UsageError(f"'{path}' is no crash file: it has no {_DESCRIPTION}{hint}")
        try:
            crash = decode(archive.read(_DESCRIPTION, _LIMITS[_DESCRIPTION]), Crash)
        except DescriptionError as error:
            raise UsageError(f"{name} is damaged: '{_DESCRIPTION}' cannot be read: {error}") from error
        if crash.schema > SCHEMA:
            raise UsageError(f"{name} has schema {crash.schema}, and this rl_tracking reads up to {SCHEMA}; upgrade it")
        members = {member: archive.read(member, _LIMITS[member]) for member in (_STATES, _ACTIONS)}
    for member, content in members.items():
        if msgspec.to_builtins(crash.members.get(member)) != _digest(content):
            raise UsageError(f"{name} is damaged: '{member}' is not what was saved (its checksum differs)")
    return CrashFile(path, crash, members[_STATES], _actions(name, crash, members[_ACTIONS]))


def _actions(name: str, crash: Crash, content: bytes) -> np.ndarray[Any, Any]:
    kind, shape = np.dtype(crash.actions.dtype), crash.actions.shape
    size = kind.itemsize
    for axis in shape:
        size *= axis
    if size != len(content) or (crash.row is not None and crash.row >= shape[1]):
        raise UsageError(f"{name} is damaged: its actions are not {crash.actions.dtype} of shape {shape}")
    return np.frombuffer(content, kind).reshape(shape)
