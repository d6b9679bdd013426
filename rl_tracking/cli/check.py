"""``rltrack check``."""

from __future__ import annotations

from typing import Annotated

import typer

from rl_tracking.errors import RunError, UsageError


def check(
    env_ids: Annotated[list[str], typer.Argument(metavar="ENV_ID", help="Gymnasium ids, such as CartPole-v1.")],
) -> None:
    """Check that Gymnasium environments can be saved and restored exactly.

    Shows for each how it is restored, what was checked, and what a restore costs compared with a step.

    The exit code is 0 if all can be restored, 1 if one cannot, 2 if one is unknown or lacks a package.
    """
    from rl_tracking.adapters.registry import check_id

    unknown, failed = [], []
    for env_id in env_ids:
        try:
            check_id(env_id)
            restorable = _is_restorable(env_id)
        except UsageError as error:
            typer.echo(f"rltrack: {error}", err=True)
            unknown.append(env_id)
        else:
            failed += [] if restorable else [env_id]
    if unknown:
        raise typer.Exit(2)
    if failed:
        raise RunError(f"not restorable: {', '.join(failed)}")


def _is_restorable(env_id: str) -> bool:
    """Check an environment and print what was found."""
    from rl_tracking.restoring.check import check_restorable
    from rl_tracking.restoring.protocol import NotRestorableError

    try:
        report = check_restorable(env_id, cost=True)
    except (NotRestorableError, RunError) as error:  # or it fails in a step
        typer.echo(str(error))
        return False
    typer.echo(str(report))
    return bool(report.ok)
