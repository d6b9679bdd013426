"""``rltrack eval``."""

from __future__ import annotations

from typing import Annotated

import typer

from rl_tracking.cli import options


def evaluate(
    policies: Annotated[
        list[str], typer.Argument(metavar="CHECKPOINT|CONTROLLER...", help="Files, or `rltrack list controllers`.")
    ],
    episodes: Annotated[int, typer.Option(help="How many; every policy flies the same ones.")] = 200,
    seed: Annotated[int | None, typer.Option(help="Of the episodes.")] = None,
    skip: Annotated[
        int, typer.Option(help="Steps left out at the start of each episode (time in radius, mean distance).")
    ] = 0,
    scenario: options.Scenario_ = None,
    preset: options.Preset = None,
    reward: options.Reward = None,
    set_: options.Pairs = None,
    trust: options.Trust = False,
    json: options.Json = False,
) -> None:
    """Measure policies over the same episodes, in the scenario of the first one unless told otherwise."""
    import json as json_

    from rl_tracking.agents import evaluate as evaluation

    where = options.scenario_for(policies[0], scenario, options.replaced(preset, reward, set_), trust=trust)
    seed = evaluation.EVALUATION_SEED if seed is None else seed
    pilots = [evaluation.load_pilot(spec, where, trust=trust)[0] for spec in policies]
    results = [evaluation.evaluate(pilot, episodes, scenario=where, seed=seed, skip=skip) for pilot in pilots]
    if json:
        for spec, result in zip(policies, results, strict=True):
            result["source"] = spec
        typer.echo(json_.dumps(results[0] if len(results) == 1 else results, indent=1, allow_nan=False))
        return
    from rich.console import Console

    from rl_tracking.cli.tables import evaluations

    Console().print(evaluations(results))
