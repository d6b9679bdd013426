"""``rltrack check``."""

from __future__ import annotations

from typing import Annotated

import typer

from rl_tracking.errors import RunError


def check(
    env_ids: Annotated[list[str], typer.Argument(metavar="ENV_ID...", help="Gymnasium ids.")],
) -> None:
    """Prove that environments can be saved and restored exactly, or say what differs."""
    import gymnasium as gym

    from rl_tracking.envs.restorable import check_restorable
    from rl_tracking.errors import UsageError

    failed = []
    for env_id in env_ids:
        try:
            report = check_restorable(env_id)
        except (gym.error.Error, ImportError) as error:
            raise UsageError(f"no environment '{env_id}': {error}") from error
        typer.echo(str(report))
        if not report.ok:
            failed.append(env_id)
    if failed:
        raise RunError(f"not restorable: {', '.join(failed)}")
