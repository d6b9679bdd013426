"""``rltrack watch``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rl_tracking.cli import options


def watch(
    policy: Annotated[str, typer.Argument(metavar="CHECKPOINT|CONTROLLER", help="A file, or a controller's name.")],
    headless: Annotated[bool, typer.Option("--headless", help="Open no window.")] = False,
    screenshot: Annotated[Path | None, typer.Option(help="Write one picture (PNG).")] = None,
    screenshot_step: Annotated[
        int | None, typer.Option(help="Step of the picture; the first closing in if not given.")
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
    """Watch a policy in a window: space pauses, . steps, arrows orbit, +/- zoom, r restarts, q quits.

    A policy of a Gymnasium environment is shown by the pictures that this renders; there, arrows and zoom do nothing.
    """
    import torch

    from rl_tracking import limits
    from rl_tracking.envs.simulator import Simulator
    from rl_tracking.runs.evaluate import load_pilot
    from rl_tracking.runs.evaluate_env import load_env_pilot
    from rl_tracking.viewer import app
    from rl_tracking.viewer.pictures import Player
    from rl_tracking.viewer.runtime import Runtime

    limits.check_seed(seed)
    torch.set_num_threads(1)  # one world: threads would only wait for each other
    parameters = options.replaced(preset, reward, set_)
    task = options.task_for([policy], env, scenario, parameters, trust=trust)
    if task is None:
        where = options.scenario_for(policy, scenario, parameters, trust=trust)
        pilot, where = load_pilot(policy, where, trust=trust)
        runtime = Runtime(Simulator(where), pilot, seed=seed)
        written = app.watch(
            runtime, headless=headless, screenshot_step=screenshot_step, screenshot=screenshot, record=record
        )
    else:
        player = Player(task, load_env_pilot(policy, task, trust=trust).act, seed)
        written = app.watch_pictures(
            player, headless=headless, screenshot_step=screenshot_step, screenshot=screenshot, record=record
        )
    for file in written:
        typer.echo(f"wrote {file}")
