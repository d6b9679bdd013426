"""Training as one function, for the command line and for scripts."""

from __future__ import annotations

import dataclasses
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import torch
from stable_baselines3.common.base_class import BaseAlgorithm

from rl_tracking.errors import RunWarning, UsageError, WriteError
from rl_tracking.runs.build import build
from rl_tracking.runs.callback import Progress as Progress
from rl_tracking.runs.callback import RunCallback
from rl_tracking.runs.evaluate import DEFAULT_EPISODES, evaluate
from rl_tracking.runs.exactness import warn_of_other_versions, warn_unless_exact, warn_unless_resumable
from rl_tracking.runs.failing import failing_in_one_line
from rl_tracking.runs.folder import Boundary, RunFolder, restore_model
from rl_tracking.runs.log import RunLog
from rl_tracking.runs.off_policy import callback_of, log_interval
from rl_tracking.runs.settings import Settings
from rl_tracking.runs.tasks import Task


@dataclasses.dataclass(frozen=True)
class Result:
    """A finished or interrupted run.

    Attributes:
        out: the run's folder.
        task: what was trained on.
        path: its checkpoint.
        interrupted: it was asked to stop.
        seconds: of training.
        macro_steps: decisions made.
        simulator_steps: steps simulated, all branches counted.
        evaluations: of the policy and of the task's controllers over the same episodes; empty if interrupted.
    """

    out: Path
    task: Task
    path: Path
    interrupted: bool
    seconds: float
    macro_steps: int
    simulator_steps: int
    evaluations: list[dict[str, Any]]


def train(
    settings: Settings,
    out: Path,
    *,
    on_progress: Callable[[Progress], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    episodes: int = DEFAULT_EPISODES,
) -> Result:
    """Train, write the run's folder, and measure the policy beside the task's controllers.

    Args:
        settings: of the run.
        out: the folder: ``checkpoint.zip``, the two before it, ``best.zip`` (of the highest mean return of training
            episodes), ``config.toml``, ``metrics.csv``, TensorBoard events.
        on_progress: called after every rollout.
        should_stop: asked at every macro-step; when it says yes, the run is saved and ends.
        episodes: of the closing evaluation.

    Raises:
        UsageError: the folder holds a run already, or the settings are refused.
        RunError: the training failed; the last good checkpoint is kept, and without one nothing but a crash file, which
            ``rltrack replay`` reads, is left behind.
    """
    _refuse_occupied(out)
    return _run(settings, RunFolder(out), None, on_progress, should_stop, episodes)


def resume(
    out: Path,
    steps: int | None = None,
    *,
    trust: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    episodes: int = DEFAULT_EPISODES,
) -> Result:
    """Continue a run from its newest intact checkpoint as if it had never stopped.

    With the same total, the run that was stopped and resumed is bit for bit the one that was not. Under a new total,
    schedules, such as the learning rate's, follow the new one from here on.

    Args:
        out: the folder of the run.
        steps: a new total budget in macro-steps; None for that of the run.
        trust: run code that the run's settings name, if it is still what it was.
        on_progress: as in :func:`train`.
        should_stop: likewise.
        episodes: likewise.

    Raises:
        UsageError: no run, no checkpoint, a finished run, a budget below the run's, or a checkpoint of a newer version.
        RunError: as in :func:`train`.
    """
    folder = RunFolder(out)
    settings = resumed_settings(out, steps, trust=trust)
    path, boundary, wrong = folder.newest_intact()
    if wrong is not None:
        warnings.warn(f"{wrong}; continuing from '{path}'", RunWarning, stacklevel=2)
    warn_of_other_versions(path)
    if boundary.macro_steps >= settings.steps:
        raise UsageError(
            f"run '{out}' is finished: it made {boundary.macro_steps:,} of {settings.steps:,} macro-steps; "
            "give a greater --steps to continue it"
        )
    return _run(settings, folder, (path, boundary), on_progress, should_stop, episodes)


def resumed_settings(out: Path, steps: int | None = None, *, trust: bool = False) -> Settings:
    """Settings of a run that is to be continued, with a raised budget if one is given.

    Raises:
        UsageError: as :func:`resume`.
    """
    settings = RunFolder(out).settings(trust=trust)
    if steps is not None and steps < settings.steps:
        raise UsageError(
            f"--steps {steps:,} is below the {settings.steps:,} of run '{out}'; a budget can only be raised"
        )
    return msgspec.structs.replace(settings, steps=steps or settings.steps)


def _run(
    settings: Settings,
    folder: RunFolder,
    earlier: tuple[Path, Boundary] | None,
    on_progress: Callable[[Progress], None] | None,
    should_stop: Callable[[], bool] | None,
    episodes: int,
) -> Result:
    """Settings -> task -> worlds and model -> learn, saving on the way -> evaluate -> save the figures."""
    torch.set_num_threads(settings.threads)
    task = settings.task()
    model = build(settings, task)
    task.check_first_step()
    path, boundary = earlier or (None, None)
    with folder.opened():
        # Put the model where the run was left, if it is resumed.
        if path is not None and boundary is not None:
            restore_model(model, boundary, path)
            warn_unless_exact(model, boundary)
        folder.write_settings(settings)
        position = boundary.state.log if boundary is not None else None
        model.set_logger(RunLog(folder.path, position, model.num_timesteps))
        # Learn; the callback saves checkpoints between rollouts.
        warn_unless_resumable(model)
        callback = callback_of(model)(settings.steps, task.metrics, folder, boundary, on_progress, should_stop)
        with failing_in_one_line(model, folder.path):
            _learn(model, settings.steps, callback)
        # Measure the policy beside the controllers, and keep its figures in the checkpoint.
        evaluations: list[dict[str, Any]] = []
        if not callback.stopped:
            evaluations = compare(folder.newest, task, episodes)
            folder.save_metrics(model, callback.boundary, _figures(evaluations[0], task))
    steps = model.num_timesteps
    simulated = getattr(model, "num_simulator_steps", steps)
    return Result(folder.path, task, folder.newest, callback.stopped, callback.seconds, steps, simulated, evaluations)


def _learn(model: BaseAlgorithm, steps: int, callback: RunCallback) -> None:
    """Train to a total of ``steps`` macro-steps, save the end, and write the last figures."""
    try:
        with _second_derivatives(model):
            model.learn(
                steps - model.num_timesteps,
                callback=callback,
                log_interval=log_interval(model),
                reset_num_timesteps=model.num_timesteps == 0,
            )
        callback.end()
    except BaseException:
        with suppress(WriteError):
            _finish_log(model)
        raise
    _finish_log(model)


@contextmanager
def _second_derivatives(model: BaseAlgorithm) -> Iterator[None]:
    """TRPO differentiates its networks twice, which PyTorch's fused attention kernels cannot."""
    if type(model).__name__ != "TRPO":
        yield
        return
    from torch.nn.attention import SDPBackend, sdpa_kernel

    with sdpa_kernel(SDPBackend.MATH):
        yield


def _finish_log(model: BaseAlgorithm) -> None:
    try:
        model.logger.dump(model.num_timesteps)  # SB3 writes before each update, so the last one is still to come
    finally:
        model.logger.close()


def compare(policy: str | Path, task: Task, episodes: int) -> list[dict[str, Any]]:
    """Evaluations of a policy and of the task's baselines over the same episodes."""
    episodes = min(episodes, task.closing_episodes or episodes)
    return [evaluate(one, episodes, task=task) for one in (policy, *task.baselines)]


def run_folder(settings: Settings, runs: Path = Path("runs")) -> Path:
    """A folder that does not exist yet, named after the run."""
    where = re.sub(r"[ /:]", "-", settings.task().title)
    name = f"{where}-{settings.algo}-seed{settings.seed}"
    candidate, number = runs / name, 2
    while candidate.exists():
        candidate, number = runs / f"{name}-{number}", number + 1
    return candidate


def _refuse_occupied(out: Path) -> None:
    if out.is_file():
        raise UsageError(f"--out '{out}' is a file; give a folder that does not exist yet or is empty")
    if out.is_dir() and any(not file.match("crash-*.zip") for file in out.iterdir()):
        raise UsageError(f"--out '{out}' is not empty; give a folder that does not exist yet or is empty")


def _figures(evaluation: dict[str, Any], task: Task) -> dict[str, Any]:
    """An evaluation without what the checkpoint says anyway: the policy and the task."""
    return {name: value for name, value in evaluation.items() if name not in ("policy", *task.identify())}
