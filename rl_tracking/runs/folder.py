"""The folder of a run: its settings, and the checkpoints that are kept in it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import tomli_w
from stable_baselines3.common.base_class import BaseAlgorithm

from rl_tracking import files
from rl_tracking.agents.collect import failing_numbers as failures
from rl_tracking.agents.saving import checkpoint, resuming
from rl_tracking.agents.saving import weights as tensors
from rl_tracking.agents.saving.archive import LIMIT, open_members
from rl_tracking.errors import UsageError, brief
from rl_tracking.runs.log import METRICS, Position
from rl_tracking.runs.settings import Settings
from rl_tracking.runs.settings import resolve as resolve_settings

CONFIG, NEWEST, BEST = "config.toml", "checkpoint.zip", "best.zip"
PREVIOUS = ("checkpoint-previous-1.zip", "checkpoint-previous-2.zip")  # the later one first
_RUN = "run.json"  # member of a checkpoint
_MEMBERS = (*resuming.LIMITS, _RUN)
_TENSORS, _OF_SB3 = ".pth", "pytorch_variables.pth"


class RunState(msgspec.Struct, forbid_unknown_fields=True):
    """What a run remembers beside its model.

    Attributes:
        at_rollout_start: the model was captured when a rollout began, and not after a training.
        seconds: of training so far.
        best: the best score of a checkpoint; None before the first one that has a score.
        log: where the files of figures are.
    """

    at_rollout_start: bool
    seconds: float
    best: float | None
    log: Position


class Boundary:
    """A run between two rollouts, from where it can be continued.

    Attributes:
        taken: the parts of the model.
        state: of the run.
        weights: of everything that learns, as files of tensors by name; empty where the model itself is at hand.
    """

    def __init__(self, taken: resuming.Taken, state: RunState, weights: dict[str, bytes] | None = None) -> None:
        self.taken, self.state, self.weights = taken, state, weights or {}

    @property
    def macro_steps(self) -> int:
        """Decisions made so far."""
        steps: int = self.taken["macro_steps"]
        return steps


class RunFolder:
    """Keeps the newest three checkpoints and the best one.

    Args:
        path: the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.newest, self.config = path / NEWEST, path / CONFIG

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Hold the folder, made if missing; a run that fails before its first checkpoint leaves nothing behind.

        Raises:
            UsageError: another process trains in it.
        """
        made = not self.path.exists()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise files.write_error(self.path, error) from error
        try:
            with files.held(self.path, f"another process is training in '{self.path}'; wait for it or stop it"):
                yield
        except BaseException:
            if not self.newest.exists():
                self._clear()
                if made:
                    with suppress(OSError):
                        self.path.rmdir()
            raise

    def _clear(self) -> None:
        for pattern in (CONFIG, METRICS, "events.out.tfevents.*"):
            for file in self.path.glob(pattern):
                file.unlink()

    def write_settings(self, settings: Settings) -> None:
        """Write ``config.toml``."""
        files.write_text(self.config, tomli_w.dumps(settings.to_dict()))

    def settings(self, *, trust: bool = False) -> Settings:
        """What ``config.toml`` says.

        Args:
            trust: see :func:`rl_tracking.runs.settings.resolve`.

        Raises:
            UsageError: there is none, it is damaged, or it names code that is not trusted.
        """
        if not self.path.is_dir():
            inside = self.path.is_file() and (self.path.parent / CONFIG).is_file()
            hint = f"; give the run's folder '{self.path.parent}'" if inside else ""
            raise UsageError(f"there is no run in '{self.path}'{hint or ': it is no folder'}")
        if not self.config.is_file():
            raise UsageError(f"'{self.path}' holds no run: it has no {CONFIG}")
        return resolve_settings(file=self.config, trust=trust, otherwise="")

    # -- checkpoints --

    def save(self, model: BaseAlgorithm, boundary: Boundary, score: float) -> None:
        """Save the model as the newest checkpoint, and as the best one where its score is the highest so far.

        Args:
            model: as it was at the boundary.
            boundary: to continue from.
            score: mean return of the latest episodes; NaN where none has ended.

        Raises:
            RunError: something that was learned is not finite; then no checkpoint is replaced.
            WriteError: it cannot be written.
        """
        failures.check_model(model)
        is_best = math.isfinite(score) and (boundary.state.best is None or score > boundary.state.best)
        if is_best:
            boundary.state.best = score
        self._write(model, boundary, {}, keep_previous=True)
        if is_best:
            files.duplicate(self.newest, self.path / BEST)

    def save_metrics(self, model: BaseAlgorithm, boundary: Boundary, metrics: dict[str, Any]) -> None:
        """Write the newest checkpoint again, with figures."""
        self._write(model, boundary, metrics, keep_previous=False)

    def _write(self, model: BaseAlgorithm, boundary: Boundary, metrics: dict[str, Any], *, keep_previous: bool) -> None:
        members = resuming.to_members(boundary.taken) | {_RUN: msgspec.json.encode(boundary.state)}
        for name in (BEST, *PREVIOUS, CONFIG, METRICS):  # of which some may not be written again
            files.remove_abandoned(self.path / name)
        with files.atomic(self.newest) as temporary:
            with temporary.open("wb") as file:
                checkpoint.save(model, file, metrics=metrics, members=members)
            files.sync(temporary)
            if keep_previous and self.newest.exists():
                self._shift()

    def _shift(self) -> None:
        """The newest checkpoint becomes the one before; it keeps its own name until it is replaced."""
        later, earlier = (self.path / name for name in PREVIOUS)
        if later.exists():
            later.replace(earlier)
        files.duplicate(self.newest, later)

    def newest_intact(self) -> tuple[Path, Boundary, str | None]:
        """The newest checkpoint that the run can be continued from.

        Returns:
            Its file, what is in it, and what is wrong with newer ones.

        Raises:
            UsageError: there is none.
        """
        wrong: list[str] = []
        for name in (NEWEST, *PREVIOUS):
            path = self.path / name
            if not path.exists():
                continue
            try:
                return path, read_boundary(path), wrong[0] if wrong else None
            except UsageError as error:
                wrong.append(str(error))
        raise UsageError(wrong[0] if wrong else f"'{self.path}' has no {NEWEST} to continue from yet; train again")


def read_boundary(path: Path) -> Boundary:
    """What a checkpoint of a run holds to continue from.

    Raises:
        UsageError: nothing, or it is damaged.
    """
    name = f"checkpoint '{path}'"
    with open_members(path, name) as opened:
        wanted = [member for member in opened.names if member in _MEMBERS or member.endswith(_TENSORS)]
        members = {member: opened.read(member, resuming.LIMITS.get(member, LIMIT)) for member in wanted}
    if _RUN not in members or resuming.STATE not in members:
        raise UsageError(f"{name} holds nothing that a training could continue from")
    try:
        state = msgspec.json.decode(members.pop(_RUN), type=RunState)
    except msgspec.DecodeError as error:
        raise UsageError(f"{name} is damaged: '{_RUN}' cannot be read") from error
    weights = {
        member.removesuffix(_TENSORS): content
        for member, content in members.items()
        if member.endswith(_TENSORS) and member != _OF_SB3
    }
    return Boundary(resuming.from_members(members, name), state, weights)


def restore_model(model: BaseAlgorithm, boundary: Boundary, path: Path) -> None:
    """Restore a model that was built from the same settings to a checkpoint.

    Args:
        model: built with the run's settings.
        boundary: what :func:`read_boundary` read.
        path: of the checkpoint, for the error.

    Raises:
        UsageError: it is of another model.
    """
    try:
        read = {
            name: tensors.read(content, f"'{name}.pth' of checkpoint '{path}'", model.device)
            for name, content in boundary.weights.items()
        }
        model.set_parameters(read, exact_match=True, device=model.device)
        resuming.put(model, boundary.taken)
    except Exception as error:  # torch and SB3 raise many kinds for weights of another network
        raise UsageError(f"no training can continue from checkpoint '{path}': {brief(error)}") from error
