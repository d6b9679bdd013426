"""``rltrack tune``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rl_tracking.cli import study as of_studies
from rl_tracking.cli.options import Trust
from rl_tracking.errors import RunError, UsageError

if TYPE_CHECKING:
    from rl_tracking.studies.config.study import Study
    from rl_tracking.studies.search.tuning import Best


def tune(
    spec: of_studies.Spec,
    out: Annotated[Path | None, typer.Option(help="Folder of the search; tuning/NAME if not given.")] = None,
    trials: Annotated[int | None, typer.Option(help="Trials of a variant on a task; the file's if not given.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the search.")] = 0,
    only: of_studies.Only = None,
    jobs: of_studies.Jobs = 0,
    backend: of_studies.Backend_ = "local",
    address: of_studies.Address = None,
    trust: Trust = False,
) -> None:
    """Search hyper-parameters by the table `tune` of a study file, with the same number of trials for each variant.

    Writes best.toml, whose variants can be put into the study's file.

    Ctrl-C stops it; the same command continues it.
    """
    from rich.console import Console

    from rl_tracking.cli.progress import watched
    from rl_tracking.studies.config import reading
    from rl_tracking.studies.search import tuning as search

    if trials is not None and trials < 1:
        raise UsageError(f"--trials must be 1 or more, not {trials}")
    if seed < 0:
        raise UsageError(f"--seed must be 0 or more, not {seed}")
    path = reading.find(spec)
    folder = out or Path("tuning") / path.stem
    of_studies.make_backend(backend, address, folder, jobs)  # a dead address is refused before anything is read
    study = reading.load(path, trust=trust)
    console = Console()
    with watched(console, f"{study.title}: a search") as (on_plan, on_event):
        found = search.tune(
            study,
            folder,
            lambda place: of_studies.make_backend(backend, address, place, jobs),
            trials=trials,
            seed=seed,
            only=only,
            on_plan=on_plan,
            on_event=on_event,
        )
    console.print(_table(study, found))
    typer.echo(f"wrote {folder / search.BEST_FILE}")
    if any(best.value is None for best in found):
        raise RunError("a variant has no trial that finished; see the failed cells above")


def _table(study: Study, found: list[Best]) -> Any:
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for title in ("task", "variant", study.tune.objective if study.tune else "", "trials", "failed"):
        table.add_column(title, justify="right" if title not in ("task", "variant") else "left")
    table.add_column("best settings", overflow="fold")
    for best in found:
        value = "none" if best.value is None else f"{best.value:.3f}"
        settings = ", ".join(f"{key}={_short(item)}" for key, item in best.settings.items())
        table.add_row(
            escape(best.task), escape(best.variant), value, str(best.trials), str(best.failed), escape(settings)
        )
    return table


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
