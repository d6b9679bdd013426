"""``rltrack watch``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rl_tracking import limits
from rl_tracking.cli import options


def watch(
    policy: options.Policy,
    headless: Annotated[bool, typer.Option("--headless", help="Open no window.")] = False,
    screenshot: Annotated[Path | None, typer.Option(help="Write one picture (PNG).")] = None,
    screenshot_step: Annotated[
        int | None, typer.Option(help="Step of that picture; chosen by the viewer if not given.")
    ] = None,
    record: Annotated[Path | None, typer.Option(help="Write an episode as GIF or MP4.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the first episode.")] = 0,
    scenario: options.Scenario_ = None,
    env: options.Env = None,
    preset: options.Preset = None,
    reward: options.Reward = None,
    set_: options.Pairs = None,
    trust: options.Trust = False,
) -> None:
    """Watch a policy in a window, or write a picture or a film of it.

    Keys: space pauses, . steps, arrows orbit, + and - zoom, r restarts, h shows the keys, q quits.

    A Gymnasium environment is shown by the pictures that it renders; there, arrows and zoom do nothing.
    """
    limits.check_seed(seed)
    (opened,), task = options.policies_and_task(
        [policy], env=env, scenario=scenario, preset=preset, reward=reward, pairs=set_, trust=trust
    )

    import torch

    from rl_tracking.runs.tasks import pilot_of

    torch.set_num_threads(1)  # one world: threads would only wait for each other
    written = task.render(
        pilot_of(task, opened),
        seed,
        headless=headless,
        screenshot=screenshot,
        screenshot_step=screenshot_step,
        record=record,
    )
    for file in written:
        typer.echo(f"wrote {file}")
