"""The error of a training that failed: when it failed, what is kept, and which checkpoint is intact."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stable_baselines3.common.base_class import BaseAlgorithm

from rl_tracking.agents.collect import failing_numbers as failures
from rl_tracking.agents.saving import checkpoint
from rl_tracking.errors import RunError, StepError, UsageError
from rl_tracking.runs import crash


@contextmanager
def failing_in_one_line(model: BaseAlgorithm, out: Path) -> Iterator[None]:
    """Make a failure an error of one line that says when it was, what is kept of it, and which checkpoint is intact.

    Args:
        model: in training.
        out: folder of the run, which gets the crash file of a step that failed.

    Raises:
        RunError: as it was, or of numbers that are not finite; any other error goes through.
    """
    try:
        yield
    except (StepError, UsageError, RunError) as error:
        if isinstance(error, StepError):
            _keep(error, model, out)
        _with_checkpoint(error, out)
        raise
    except ValueError as error:
        rate = failures.learning_rate(model.policy)
        cause = failures.behind(
            error, model.policy, failures.last_observation(model), macro_step=model.num_timesteps, rate=rate
        )
        if cause is error:
            raise
        raise _with_checkpoint(cause, out) from error
    except (RuntimeError, ArithmeticError) as error:
        found = failures.overflow(error, model)
        if found is None:
            raise
        raise _with_checkpoint(found, out) from error


def _keep(error: StepError, model: BaseAlgorithm, out: Path) -> None:
    """Say when a step failed, and write a file that repeats it where the worlds can be restored."""
    if "macro_step" not in error.places:
        error.locate(macro_step=model.num_timesteps)
    replay = crash.keep(error, model, out)
    if replay is not None:
        error.kept.append(f"`{replay}` repeats the step")


def _with_checkpoint(error: Exception, out: Path) -> Exception:
    """The error, completed with which checkpoint is intact."""
    if isinstance(error, StepError):
        error.kept.append(_intact_checkpoint(out))
    else:
        error.args = (f"{error}; {_intact_checkpoint(out)}",)
    return error


def _intact_checkpoint(folder: Path) -> str:
    """A sentence on the newest checkpoint of a run's folder that can be read."""
    found = []
    for path in folder.glob("*.zip"):
        if path.name.startswith("crash-"):
            continue
        try:
            description = checkpoint.load_policy(path).description
        except UsageError:
            continue
        found.append((int(description.get("macro_steps", 0)), str(path)))
    if not found:
        return "no checkpoint exists yet"
    steps, path_ = max(found)
    return f"the checkpoint '{path_}' of macro-step {steps:,} is intact"
