"""``rltrack bench``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from rl_tracking.cli import options


def bench(
    scenario: options.Scenario_ = None,
    env: options.Env = None,
    preset: options.Preset = None,
    set_: options.Pairs = None,
    json: options.Json = False,
    device: Annotated[str, typer.Option(help="cpu or cuda; cuda adds more worlds and compiled steps.")] = "cpu",
) -> None:
    """Measure steps, branches and training loops, side by side on this machine.

    Without options: world-steps a second of both presets of pursuit, at 1, 64,
    512, 4,096 and 16,384 worlds and through gym.make; branches; training; and
    what restoring Gymnasium environments costs. With --json, "simulator" and
    "gym_make" hold the world-steps: preset, worlds, threads, steps_per_second.

    With --scenario, --preset or --env: that task.
    """
    import json as json_

    from rich.console import Console

    console = Console(stderr=json)
    with console.status("measuring, up to three minutes"):
        result = _measured(scenario, env, preset, set_, device)
    if json:
        typer.echo(json_.dumps(result, indent=1, allow_nan=False))
    else:
        console.print(task_tables(result) if "task" in result else tables(result))


def _measured(
    scenario: str | None, env: str | None, preset: str | None, pairs: list[str] | None, device: str
) -> dict[str, Any]:
    """What is measured: of the task that is named, or all."""
    if not (scenario or env or preset or pairs):
        from rl_tracking.runs import benchmark

        return benchmark.run(device)
    _, task = options.policies_and_task(
        [], env=env, scenario=scenario, preset=preset, reward=None, pairs=pairs, trust=False
    )
    from rl_tracking.runs.benchmark import one_task

    return one_task.run(task, device)


def task_tables(result: dict[str, Any]) -> Any:
    """What was measured on one task, for people."""
    from rich.console import Group

    steps = _table(f"Steps on {result['task']}, {result['device']}, one thread", "worlds", "a step", "world-steps/s")
    for row in result["steps"]:
        steps.add_row(f"{row['worlds']:,}", f"{row['seconds'] * 1e6:,.0f} us", f"{row['steps_per_second']:,.0f}")
    branches, training = result["branches"], result["training"]
    if "skipped" in branches:
        return Group(steps, f"no branches: {branches['skipped']}")
    costs = _table(f"Branches of {branches['worlds']:,} worlds", "what", "figure")
    costs.add_row("get_state + set_state", f"{branches['us_per_world']:.2f} us a world")
    costs.add_row("a step", f"{branches['us_per_step']:.2f} us a world")
    costs.add_row(
        f"{branches['samples']} branches / {branches['samples']} steps", f"{branches['branching_ratio_to_steps']:.2f} x"
    )
    return Group(
        steps, costs, _training_rows("Training: the same worlds, epochs and batch of states", training["rows"])
    )


def tables(result: dict[str, Any]) -> Any:
    """What was measured, for people."""
    from rich.console import Group

    compared = result["training"], result["training_attention"]
    return Group(
        _worlds(result), _ratios(result), *map(_training, compared), _best_batch(result["training_best_batch"])
    )


def _table(title: str, *columns: str) -> Any:
    """A table whose first column is words and whose others are numbers."""
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index else "left")
    return table


def _worlds(result: dict[str, Any]) -> Any:
    title = f"World-steps a second on {result['device']}, reward and observation included"
    table = _table(title, "preset", "worlds", "threads", "a step", "world-steps/s")
    for row in result["simulator"]:
        if "skipped" in row:
            taken = ("", f"not measured: {row['skipped']}")
        else:
            taken = (f"{row['seconds'] * 1e6:,.0f} us", f"{row['steps_per_second']:,.0f}")
        preset = row["preset"] + (", compiled" if row["compiled"] else "")
        table.add_row(preset, f"{row['worlds']:,}", str(row["threads"]), *taken)
    for single in result["gym_make"]:
        taken = (f"{1e6 / single['steps_per_second']:,.0f} us", f"{single['steps_per_second']:,.0f}")
        table.add_row(f"{single['preset']}, through gym.make", "1", "1", *taken)
    return table


def _ratios(result: dict[str, Any]) -> Any:
    state, branches, adapter = result["state"], result["branches"], result["adapter"]
    table = _table("Branches and states", "what", "figure")
    table.add_row(
        f"{branches['samples']} branches of {branches['worlds']} worlds / {branches['equal_worlds']} worlds",
        f"{branches['ratio']:.2f} x",
    )
    table.add_row(f"get_state + set_state, {state['worlds']:,} worlds", f"{state['us_per_world']:.4f} us a world")
    for row in result["watching"]:
        measured = f"not measured: {row['skipped']}" if "skipped" in row else f"{row['ratio']:.3f} x"
        table.add_row(f"training on {row['environment']}, watched / not watched", measured)
    name = adapter["environment"]
    if "skipped" in adapter:
        table.add_row(name, f"not measured: {adapter['skipped']}")
        return table
    table.add_row(f"{name} by the adapter: get_state + set_state", f"{adapter['us_per_world']:.1f} us a world")
    table.add_row(
        f"{name} by the adapter: {adapter['samples']} branches / {adapter['samples']} steps",
        f"{adapter['branching_ratio_to_steps']:.2f} x",
    )
    return table


def _training(training: dict[str, Any]) -> Any:
    network = training["network"]
    title = f"Training on {training['preset']}, {network}: the same epochs and batch of states"
    table = _training_rows(title, training["rows"])
    ratio = training["simulator_steps_ratio_to_ppo_with_all_worlds"]
    table.add_row("simulator steps/s against PPO with as many worlds as branches", "", "", f"{ratio:.2f} x", "")
    return table


def _training_rows(title: str, rows: list[dict[str, Any]]) -> Any:
    """A row for each algorithm and number of worlds."""
    table = _table(title, "algorithm", "worlds", "macro-steps/s", "simulator steps/s", "macro-steps/s / PPO's")
    for row in rows:
        table.add_row(
            row["algorithm"] + (f", N = {row['samples']}" if row["samples"] > 1 else ""),
            f"{row['worlds']:,}",
            f"{row['macro_steps_per_second']:,.0f}",
            f"{row['simulator_steps_per_second']:,.0f}",
            f"{row['macro_steps_ratio_to_ppo']:.2f} x",
        )
    return table


def _best_batch(best: dict[str, Any]) -> Any:
    title = f"Training on {best['preset']} at large batches, HybridGRPO, N = {best['samples']}, all branches simulated"
    table = _table(title, "worlds", "steps", "batch of states", "epochs", "macro-steps/s", "a cpu second")
    for row in best["rows"]:
        table.add_row(
            f"{row['worlds']:,}",
            str(row["n_steps"]),
            f"{row['batch_size']:,}",
            str(row["n_epochs"]),
            f"{row['macro_steps_per_second']:,.0f}" + (" (best)" if row == best["best"] else ""),
            f"{row['macro_steps_per_cpu_second']:,.0f}",
        )
    return table
