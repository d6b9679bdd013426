"""``rltrack bench``."""

from __future__ import annotations

from typing import Any

import typer

from rl_tracking.cli import options


def bench(json: options.Json = False) -> None:
    """Measure the simulator, the branches and the training loop, side by side on this machine."""
    import json as json_

    from rl_tracking.agents import benchmark

    if json:
        typer.echo(json_.dumps(benchmark.run(), indent=1, allow_nan=False))
        return
    from rich.console import Console

    console = Console()
    with console.status("measuring, about two minutes"):
        result = benchmark.run()
    console.print(_tables(result))


def _tables(result: dict[str, Any]) -> Any:
    from rich.console import Group
    from rich.table import Table

    worlds = Table(title="World-steps a second, reward and observation included", title_justify="left")
    for column in ("preset", "worlds", "threads", "a step", "world-steps/s"):
        worlds.add_column(column, justify="left" if column == "preset" else "right")
    for row in result["simulator"]:
        worlds.add_row(
            row["preset"],
            f"{row['worlds']:,}",
            str(row["threads"]),
            f"{row['seconds'] * 1e6:,.0f} us",
            f"{row['steps_per_second']:,.0f}",
        )
    single = result["gym_make"]
    worlds.add_row(f"{single['preset']}, through gym.make", "1", "1", "", f"{single['steps_per_second']:,.0f}")

    state, branches = result["state"], result["branches"]
    ratios = Table(title="Branches and states", title_justify="left")
    ratios.add_column("what")
    ratios.add_column("figure", justify="right")
    ratios.add_row(
        f"{branches['samples']} branches of {branches['worlds']} worlds / {branches['equal_worlds']} worlds",
        f"{branches['ratio']:.2f} x",
    )
    ratios.add_row(f"get_state + set_state, {state['worlds']:,} worlds", f"{state['us_per_world']:.4f} us a world")

    training = result["training"]
    learn = Table(title="Training: the same worlds, network, epochs and batch of states", title_justify="left")
    for column in ("algorithm", "worlds", "macro-steps/s", "simulator steps/s", "macro-steps/s against PPO"):
        learn.add_column(column, justify="left" if column == "algorithm" else "right")
    for row in training["rows"]:
        learn.add_row(
            row["algorithm"],
            str(row["worlds"]),
            f"{row['macro_steps_per_second']:,.0f}",
            f"{row['simulator_steps_per_second']:,.0f}",
            f"{row['ratio_to_ppo']:.2f} x",
        )
    return Group(worlds, ratios, learn)
