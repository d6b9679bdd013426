"""``rltrack study``."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rl_tracking import files
from rl_tracking.cli.options import Trust
from rl_tracking.errors import RunError, UsageError

if TYPE_CHECKING:
    from rl_tracking.studies.config.study import Study
    from rl_tracking.studies.execute.job import Backend

app = typer.Typer(help="Run studies, such as those of the paper's claims, and report on them.", no_args_is_help=True)


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
        help="Cells to run at a time; one for each core (of the cluster, with ray) if not given.", show_default=False
    ),
]
Seeds = Annotated[int | None, typer.Option(help="Number of seeds; the file's if not given.")]
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

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("name", no_wrap=True)
    table.add_column("title")
    table.add_column("grid", no_wrap=True, justify="right")
    table.add_column("budget of a cell")
    table.add_column("command", no_wrap=True)
    for name, file in shipped().items():
        study = parse(files.read_text(file), name)
        table.add_row(f"[bold]{escape(name)}[/]", escape(study.title), _size(study), _budgets(study), _command(study))
    Console().print(table)
    typer.echo("grid: tasks x variants x seeds = cells")


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
    from rl_tracking.studies.config import reading

    path = reading.find(spec)
    folder = out or Path("studies") / path.stem
    where = make_backend(backend, address, folder, jobs)  # a dead address is refused before anything is read
    _run(with_seeds(reading.load(path, trust=trust), seeds), folder, where, only)
    typer.echo(f"report:  rltrack study report {folder}")


@app.command("gradients")
def gradients(
    spec: Spec,
    out: Out = None,
    jobs: Jobs = 0,
    backend: Backend_ = "local",
    address: Address = None,
    trust: Trust = False,
) -> None:
    """Run a study with a table `gradients`, and write its report: noise, bias and direction of policy gradients.

    Runs the cells that have no result yet. Ctrl-C stops it; the same command continues it.
    """
    from rl_tracking.studies.config import reading
    from rl_tracking.studies.report.plotting import require_matplotlib

    path = reading.find(spec)
    folder = out or Path("studies") / path.stem
    where = make_backend(backend, address, folder, jobs)
    require_matplotlib()  # before the work, not after it
    study = reading.load(path, trust=trust)
    if study.gradients is None:
        raise UsageError(f"study '{study.name}' has no table [gradients]; use `rltrack study run {spec}`")
    _run(study, folder, where)
    _report(folder, study, ["rltrack", "study", "gradients", spec, "--out", str(folder)])


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
    there = seeds_in(directory, study.first_seed)
    if there > study.seeds:
        study = with_seeds(study, there)
        command += ["--seeds", str(study.seeds)]
    _report(directory, study, command, seed)


def _run(study: Study, folder: Path, backend: Backend, only: str | None = None) -> None:
    """Run what is missing, showing progress.

    Raises:
        RunError: a job failed.
    """
    from rich.console import Console

    from rl_tracking.cli.progress import watched
    from rl_tracking.studies.execute.run import run as run_study

    with watched(Console(), study.title) as (on_plan, on_event):
        outcome = run_study(study, folder, backend, only=only, on_plan=on_plan, on_event=on_event)
    typer.echo(f"{len(outcome.finished)} cells finished in {folder}")
    if outcome.failed:
        for failed in outcome.failed[:10]:
            typer.echo(f"failed: {failed.job}: {failed.error}")
        count = len(outcome.failed)
        raise RunError(f"{count} cell{'s' if count > 1 else ''} failed; the same command tries them again")


def _report(folder: Path, study: Study, command: list[str], seed: int = 0) -> None:
    import numpy as np

    from rl_tracking.studies.report.report import write_report

    typer.echo(f"wrote {write_report(folder, study, np.random.default_rng(seed), command=shlex.join(command))}")


def with_seeds(study: Study, seeds: int | None) -> Study:
    """The study with another number of seeds."""
    if seeds is None:
        return study
    if seeds < 1:
        raise UsageError(f"--seeds must be 1 or more, not {seeds}")
    from msgspec.structs import replace

    return replace(study, seeds=seeds)


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

    return RayBackend(folder, jobs, address)


def _size(study: Study) -> str:
    grid = f"{len(study.tasks)} x {len(study.variants)}"
    if study.tune is not None:
        return f"{grid} x {study.tune.trials} trials"
    return f"{grid} x {study.seeds} = {len(study.tasks) * len(study.variants) * study.seeds}"


def _command(study: Study) -> str:
    if study.tune is not None:
        return "tune"
    return "run" if study.gradients is None else "gradients"


def _budgets(study: Study) -> str:
    return ", ".join(dict.fromkeys(str(study.budget_of(task)) for task in study.tasks))
