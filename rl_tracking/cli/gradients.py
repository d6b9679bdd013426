"""``rltrack study gradients``."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Annotated

import typer

from rl_tracking.cli.options import Trust
from rl_tracking.errors import RunError, UsageError


def gradients(
    spec: Annotated[str, typer.Argument(metavar="FILE|NAME", help="A TOML file, or a name of `rltrack study list`.")],
    out: Annotated[Path | None, typer.Option(help="Folder of the results; studies/NAME if not given.")] = None,
    jobs: Annotated[
        int, typer.Option(help="Processes at a time; one for each core if not given.", show_default=False)
    ] = 0,
    trust: Trust = False,
) -> None:
    """Measure policy gradients at checkpoints of a training run: noise, bias and direction of each estimator.

    Runs the cells that have no result yet, then writes gradients.md with its pictures.

    Ctrl-C stops it; the same command continues it.
    """
    from rich.console import Console

    from rl_tracking.cli.progress import watched
    from rl_tracking.studies.gradients import reading as reading
    from rl_tracking.studies.report.plotting import require_matplotlib

    if jobs < 0:
        raise UsageError(f"--jobs must be 1 or more, not {jobs}")
    path = reading.find(spec)
    folder = out or Path("studies") / path.stem
    require_matplotlib()  # before the work, not after it
    study = reading.load(path, trust=trust)

    import numpy as np

    from rl_tracking.studies.gradients.report import write_report
    from rl_tracking.studies.gradients.run import run

    with watched(Console(), study.title) as (on_plan, on_event):
        outcome = run(study, folder, jobs or os.cpu_count() or 1, on_plan=on_plan, on_event=on_event)
    typer.echo(f"{outcome.finished} cells finished in {folder}")
    if outcome.failed:
        for failed in outcome.failed[:10]:
            typer.echo(f"failed: {failed.cell}: {failed.error}")
        count = len(outcome.failed)
        raise RunError(f"{count} cell{'s' if count > 1 else ''} failed; the same command tries them again")
    command = shlex.join(["rltrack", "study", "gradients", spec, "--out", str(folder)])
    typer.echo(f"wrote {write_report(folder, study, np.random.default_rng(0), command=command)}")
