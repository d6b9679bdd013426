"""``rltrack check``."""

from __future__ import annotations

from typing import Annotated

import typer

from rl_tracking.errors import RunError, UsageError


def check(
    env_ids: Annotated[list[str], typer.Argument(metavar="ENV_ID...", help="Gymnasium ids.")],
) -> None:
    """Prove that environments can be saved and restored exactly, or say what differs.

    Shown for each: the way of restoring, what was proved, and what a restore costs compared with a step.

    The exit code is 0 if all can be restored, 1 if one cannot, 2 if one is unknown or lacks a package.
    """
    from rl_tracking.restoring.check import check_restorable
    from rl_tracking.restoring.protocol import NotRestorableError

    unknown, failed = [], []
    for env_id in env_ids:
        try:
            report = check_restorable(env_id, cost=True)
        except (NotRestorableError, RunError) as error:  # or it fails in a step
            typer.echo(str(error))
            failed.append(env_id)
        except UsageError as error:
            typer.echo(f"rltrack: {error}", err=True)
            unknown.append(env_id)
        else:
            typer.echo(str(report))
            if not report.ok:
                failed.append(env_id)
    if unknown:
        raise typer.Exit(2)
    if failed:
        raise RunError(f"not restorable: {', '.join(failed)}")
