"""``rltrack train``."""

from __future__ import annotations

import math
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rl_tracking.cli import evaluate, options
from rl_tracking.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bar

    from rl_tracking.runs.settings import Settings
    from rl_tracking.runs.train import Progress, Result


def train(
    algo: Annotated[str | None, typer.Option(callback=options.known("algo"), help=options.help_of("algo"))] = None,
    scenario: options.Scenario_ = None,
    env: options.Env = None,
    preset: options.Preset = None,
    reward: options.Reward = None,
    recipe: Annotated[
        str | None, typer.Option(callback=options.known("recipe"), help=options.help_of("recipe"))
    ] = None,
    steps: Annotated[int | None, typer.Option(help=options.help_of("steps"))] = None,
    seed: Annotated[int | None, typer.Option(help=options.help_of("seed"))] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the run; a new one under runs/ if not given.")] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file, such as a run's config.toml.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Set one of `rltrack list settings`, such as gamma=0.9 or net_arch=[32,32]; repeatable.",
        ),
    ] = None,
    device: Annotated[str | None, typer.Option(help=options.help_of("device"))] = None,
    trust: options.Trust = False,
    resume: Annotated[
        Path | None,
        typer.Option(help="Folder of a run to continue as if it had never stopped; --steps may raise its budget."),
    ] = None,
) -> None:
    """Train a policy.

    Ctrl-C, SIGTERM and SIGHUP save it and end the training; --resume continues it.
    """
    if config is None and resume is None:
        from rl_tracking.runs.keys import check_pairs

        check_pairs(set_ or [], algo=algo, scenario=scenario, env=env, preset=preset)

    from rich.console import Console

    from rl_tracking.runs import settings as settings_of
    from rl_tracking.runs import train as training

    given = {
        "algo": algo,
        "scenario": scenario,
        "env": env,
        "preset": preset,
        "reward": reward,
        "recipe": recipe,
        "steps": steps,
        "seed": seed,
        "device": device,
    }
    console = Console()
    if resume is None:
        settings = settings_of.resolve(file=config, given=given, pairs=set_, trust=trust)
        folder = out or training.run_folder(settings)
        _opening(console, settings)
        with _watching(console, settings) as watched:
            result = training.train(settings, folder, **watched)
    else:
        _refuse_beside_resume(given | {"out": out, "config": config, "set": set_})
        settings = training.resumed_settings(resume, steps, trust=trust)
        _opening(console, settings, resume)
        with _watching(console, settings) as watched:
            result = training.resume(resume, steps, trust=trust, **watched)
    _closing(console, result, trust="code" in settings.to_dict())
    evaluate.refuse_not_finite(result.evaluations)


def _opening(console: Console, settings: Settings, resumed: Path | None = None) -> None:
    """The line that says what is trained."""
    from rich.markup import escape

    console.print(
        f"[bold]{settings.algo}[/] on {escape(settings.task().summary)}, "
        f"{settings.steps:,} macro-steps in {settings.num_envs} worlds, seed {settings.seed}"
        + ("" if resumed is None else f"; continuing {escape(str(resumed))}"),
        highlight=False,
    )


@contextmanager
def _watching(console: Console, settings: Settings) -> Iterator[dict[str, Any]]:
    """A progress bar and the signals that stop a run: the arguments with which a training reports and asks."""
    with _stoppable() as stop, _bar(console) as bar:
        shown = bar.add_task("", total=settings.steps, figures="starting")

        def report(progress: Progress) -> None:
            bar.update(shown, completed=min(progress.macro_steps, settings.steps), figures=_figures(progress))

        yield {"on_progress": report, "should_stop": lambda: bool(stop)}


def _refuse_beside_resume(given: dict[str, Any]) -> None:
    """Refuse settings beside --resume: a run that is continued has its own.

    Raises:
        UsageError: one was given.
    """
    others = [f"--{name}" for name, value in given.items() if name != "steps" and value not in (None, [])]
    if others:
        raise UsageError(f"--resume continues under the run's own settings; leave out {', '.join(others)}")


@contextmanager
def _stoppable() -> Iterator[list[int]]:
    """A list that is empty until Ctrl-C, SIGTERM or SIGHUP; a second Ctrl-C interrupts at once."""
    asked: list[int] = []

    def ask(number: int, frame: Any) -> None:
        asked.append(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    wanted = [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
    before = {number: signal.getsignal(number) for number in wanted}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN or number == signal.SIGINT:  # nohup ignores SIGHUP, and means it
            signal.signal(number, ask)
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _bar(console: Any) -> Bar:
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    return Progress(
        BarColumn(bar_width=10),
        TaskProgressColumn(),
        TextColumn("{task.fields[figures]}", markup=False),  # units stand in brackets
        TimeRemainingColumn(compact=True),
        console=console,
    )


def _figures(progress: Progress) -> str:
    rate = f"{progress.macro_steps_per_second:,.0f} steps/s, left"
    if math.isnan(progress.episode_return):
        return f"first episodes not finished, {rate}"
    figures = [f"{metric.title} {metric.text(value)}" for metric, value in progress.metrics.items() if metric.headline]
    if not figures and not math.isnan(progress.success_rate):
        figures = [f"success {progress.success_rate:.0%}"]
    return ", ".join([*figures, f"return {progress.episode_return:,.0f}", rate])


def _closing(console: Any, result: Result, *, trust: bool) -> None:
    """The result of a run and the commands to type next, with ``--trust`` if its settings name code."""
    from rich.markup import escape

    from rl_tracking.cli.tables import evaluations
    from rl_tracking.runs.evaluate import bound

    path, trusting = escape(str(result.path)), " --trust" if trust else ""
    console.print(
        f"{result.macro_steps:,} macro-steps ({result.simulator_steps:,} simulator steps) in {result.seconds:.0f} s",
        highlight=False,
    )
    if result.interrupted:
        console.print(f"interrupted; saved what was learned so far to {path}", highlight=False, soft_wrap=True)
        again = f"{escape(_program())} train --resume {escape(str(result.out))}{trusting}"
        console.print(f"continue it:  [bold]{again}[/]", highlight=False, soft_wrap=True)
    else:
        console.print(evaluations(result.evaluations, result.task, bound(result.evaluations[0], result.task)))
    console.print(f"watch it:  [bold]{escape(_program())} watch {path}{trusting}[/]", highlight=False, soft_wrap=True)


def _program() -> str:
    """What to type for this program here: its name where the shell finds it, else its path."""
    script = Path(sys.argv[0])
    hidden = script.name == "rltrack" and shutil.which("rltrack") is None
    return os.path.relpath(script) if hidden else "rltrack"
