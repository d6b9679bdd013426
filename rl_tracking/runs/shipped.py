"""Checkpoints by path or by the name of one that comes with the package."""

from __future__ import annotations

from pathlib import Path

import rl_tracking
from rl_tracking import plugins
from rl_tracking.agents.controllers import options
from rl_tracking.errors import UsageError, unknown


def shipped_checkpoints() -> dict[str, Path]:
    """Name (``pursuit-drone``) to file, of every checkpoint in ``assets``."""
    package = Path(rl_tracking.__file__).parent
    # Inside a wheel the assets lie in the package, in a checkout beside it.
    for folder in (package / "assets", package.parent / "assets"):
        found = {file.stem: file for file in sorted(folder.glob("*.zip"))}
        if found:
            return found
    return {}


def checkpoint_path(spec: str) -> Path | None:
    """The file that ``spec`` means: a path, or the name of a shipped checkpoint; None if it looks like neither."""
    if spec in shipped_checkpoints():
        return shipped_checkpoints()[spec]
    return Path(spec) if spec.endswith(".zip") or Path(spec).exists() else None


def check_policy(spec: str) -> None:
    """Refuse what is neither a checkpoint's file or name nor a controller; nothing is read.

    Raises:
        UsageError: it is neither.
    """
    if checkpoint_path(spec) is not None:
        return
    try:
        options.check(spec)
    except UsageError as error:
        controllers = plugins.names("controller")
        # Options of a known controller are wrong; else the name of a shipped checkpoint may have been meant.
        is_known = spec.partition(":")[0] in controllers
        cause = error if is_known else unknown("policy", spec, {*controllers, *shipped_checkpoints()})
        raise UsageError(f"'{spec}' is neither a checkpoint file nor a controller ({cause})") from error
