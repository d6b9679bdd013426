"""``rltrack``: one file a command; errors a user can cause are one line on stderr."""

from __future__ import annotations

import io
import sys
import warnings
from typing import Annotated, Any

import typer
from typer.exceptions import TyperException

from rl_tracking import __version__
from rl_tracking.cli import bench, check, evaluate, listing, replay, study, train, tune, watch
from rl_tracking.errors import RunError, RunWarning, SettingWarning, StepError, UsageError

app = typer.Typer(
    name="rltrack",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("train")(train.train)
app.command("watch")(watch.watch)
app.command("eval")(evaluate.evaluate)
app.command("bench")(bench.bench)
app.command("list")(listing.list_)
app.command("check")(check.check)
app.command("replay")(replay.replay)
app.add_typer(study.app, name="study")
app.command("tune")(tune.tune)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"rltrack {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Worlds whose state can be saved and branched, and Hybrid GRPO agents that learn from the branches."""


def main() -> None:
    """Run a command; exit with 2 on bad usage or input, with 1 on a failed run, never with a traceback."""
    warnings.showwarning = _show_warning
    _shown_settings.clear()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that lacks a character shows a question mark
    try:
        code = app(standalone_mode=False)
    except TyperException as error:
        code = _complain(error.format_message() if hasattr(error, "format_message") else str(error), 2)
    except (StepError, RunError) as error:  # a reward that fails in a step is a UsageError too
        code = _complain(str(error), 1)
    except UsageError as error:
        code = _complain(str(error), 2)
    except (KeyboardInterrupt, typer.Abort):
        code = _complain("interrupted", 130)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output is gone; nothing is left to say
        code = 1
    except OSError as error:
        where = f" '{error.filename}'" if error.filename else ""
        code = _complain(f"{error.strerror or error}{where}", 1)
    sys.exit(code if isinstance(code, int) else 0)


_show_any_warning = warnings.showwarning
_shown_settings: set[str] = set()  # warnings of settings, which are read again for the evaluation


def _show_warning(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
    """Warnings of runs and settings are one line each; others are shown as Python does."""
    if issubclass(category, RunWarning):
        _complain(str(message), 0)
    elif issubclass(category, SettingWarning):
        line = "warning: " + " ".join(str(message).split())
        if line not in _shown_settings:
            print(line, file=sys.stderr)
        _shown_settings.add(line)
    else:
        _show_any_warning(message, category, *where, **more)


def _complain(message: str, code: int) -> int:
    line = " ".join(message.split())
    if line:
        print(f"rltrack: {line}", file=sys.stderr)
    return code
