"""``rltrack study``."""

from __future__ import annotations

import dataclasses
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rl_tracking import files
from rl_tracking.cli.gradients import gradients
from rl_tracking.cli.options import Trust
from rl_tracking.errors import RunError, UsageError

if TYPE_CHECKING:
    from rl_tracking.studies.config.study import Study
    from rl_tracking.studies.execute.events import Backend
    from rl_tracking.studies.execute.run import Outcome

app = typer.Typer(
    help="Which of the paper's claims hold, and where: run a study and report on it.", no_args_is_help=True
)
app.command("gradients")(gradients)


def _known_study(value: str) -> str:
    from rl_tracking.studies.config import reading

    reading.find(value)
    return value


def _known_backend(value: str) -> str:
    if value not in ("local", "ray"):
        raise UsageError(f"--backend must be local or ray, not '{value}'")
    return value


Spec = Annotated[
    str,
    typer.Argument(metavar="FILE|NAME", callback=_known_study, help="A TOML file, or a name of `rltrack study list`."),
]
Out = Annotated[Path | None, typer.Option(help="Folder of the results; studies/NAME if not given.")]
Jobs = Annotated[
    int,
    typer.Option(
        help="Cells at a time; one for each core (of the cluster, with ray) if not given.", show_default=False
    ),
]
Seeds = Annotated[int | None, typer.Option(help="How many seeds; the file's if not given.")]
Only = Annotated[str | None, typer.Option(metavar="GLOB", help="Only the cells whose task/variant matches.")]
Backend_ = Annotated[str, typer.Option("--backend", callback=_known_backend, help="local, or ray for a Ray cluster.")]
Address = Annotated[str | None, typer.Option(help="Address of the Ray cluster; the one on this machine if not given.")]


@app.command("list")
def list_() -> None:
    """List the studies that come with the package."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from rl_tracking.studies.config.reading import parse, shipped
    from rl_tracking.studies.gradients import reading as gradient_reading

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for title in ("name", "title", "cells", "budget of a cell"):
        table.add_column(title, justify="right" if title == "cells" else "left")
    for name, file in shipped().items():
        study = parse(files.read_text(file), name)
        table.add_row(f"[bold]{escape(name)}[/]", escape(study.title), _size(study), _budgets(study))
    Console().print(table)
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for title in ("name", "title", "run by"):
        table.add_column(title)
    for name, file in gradient_reading.shipped().items():
        title = gradient_reading.parse(files.read_text(file), name).title
        table.add_row(f"[bold]{escape(name)}[/]", escape(title), f"rltrack study gradients {name}")
    Console().print(table)


@app.command("run")
def run(
    spec: Spec,
    out: Out = None,
    jobs: Jobs = 0,
    seeds: Seeds = None,
    only: Only = None,
    backend: Backend_ = "local",
    address: Address = None,
    trust: Trust = False,
) -> None:
    """Run the cells of a study that have no result yet; failed ones are tried again.

    Ctrl-C stops it; the same command continues it.
    """
    from rich.console import Console

    from rl_tracking.cli.progress import watched
    from rl_tracking.studies.config import reading
    from rl_tracking.studies.execute.run import run as run_study

    path = reading.find(spec)
    folder = out or Path("studies") / path.stem
    where = make_backend(backend, address, folder, jobs)  # first: who is not there is said at once
    study = with_seeds(reading.load(path, trust=trust), seeds)
    console = Console()
    with watched(console, study.title) as (on_plan, on_event):
        outcome = run_study(study, folder, where, only=only, on_plan=on_plan, on_event=on_event)
    _closing(outcome, folder)


@app.command("report")
def report(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a study's results.")],
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap.")] = 0,
) -> None:
    """Write the report of a study from the results that are there."""
    from rl_tracking.studies.config import reading
    from rl_tracking.studies.execute.folder import STUDY_FILE, seeds_in

    file = directory / STUDY_FILE
    if not file.is_file():
        raise UsageError(f"'{directory}' holds no study; `rltrack study run` makes one")
    # Only read, not checked: a report needs neither the environments nor the algorithms.
    study = reading.parse(reading.read(file), directory.resolve().name)
    command = ["rltrack", "study", "run", reading.name_of(study.text) or str(file), "--out", str(directory)]
    if seeds_in(directory) > study.seeds:
        study = with_seeds(study, seeds_in(directory))
        command += ["--seeds", str(study.seeds)]

    import numpy as np

    from rl_tracking.studies.report.report import write_report

    path = write_report(directory, study, np.random.default_rng(seed), command=shlex.join(command))
    typer.echo(f"wrote {path}")


def with_seeds(study: Study, seeds: int | None) -> Study:
    """The study with another number of seeds."""
    if seeds is None:
        return study
    if seeds < 1:
        raise UsageError(f"--seeds must be 1 or more, not {seeds}")
    return dataclasses.replace(study, seeds=seeds)


def make_backend(name: str, address: str | None, folder: Path, jobs: int) -> Backend:
    """The backend that was asked for; ``jobs`` of 0 is one for each core."""
    if jobs < 0:
        raise UsageError(f"--jobs must be 1 or more, not {jobs}")
    if name == "local":
        if address is not None:
            raise UsageError("--address is for --backend ray")
        from rl_tracking.studies.execute.local_backend import LocalBackend

        return LocalBackend(folder, jobs or os.cpu_count() or 1)
    from rl_tracking.studies.execute.ray_backend import RayBackend

    return RayBackend(address, jobs)


def _size(study: Study) -> str:
    if study.tuning is not None:
        count = f"{len(study.tasks)} tasks x {len(study.variants)} variants x {study.tuning.trials} trials"
        return f"{count}, by rltrack tune {study.name}"
    grid = f"{len(study.tasks)} tasks x {len(study.variants)} variants x {study.seeds} seeds"
    return f"{len(study.tasks) * len(study.variants) * study.seeds} = {grid}"


def _budgets(study: Study) -> str:
    return ", ".join(dict.fromkeys(str(study.budget_of(task)) for task in study.tasks))


def _closing(outcome: Outcome, folder: Path) -> None:
    typer.echo(f"{len(outcome.finished)} cells finished in {folder}")
    if outcome.failed:
        for failed in outcome.failed[:10]:
            typer.echo(f"failed: {failed.cell}: {failed.error}")
        count = len(outcome.failed)
        raise RunError(f"{count} cell{'s' if count > 1 else ''} failed; the same command tries them again")
    typer.echo(f"report:  rltrack study report {folder}")
