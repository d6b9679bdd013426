"""``rltrack eval``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from rl_tracking.cli import options
from rl_tracking.errors import RunError


def evaluate(
    policies: options.Policies,
    episodes: Annotated[int, typer.Option(help="Number of episodes, the same ones for every policy.")] = 200,
    seed: Annotated[int | None, typer.Option(help="Seed of the episodes; 1000000 if not given.")] = None,
    skip: Annotated[
        int, typer.Option(help="First steps of each episode that shares and means leave out; for scenarios.")
    ] = 0,
    scenario: options.Scenario_ = None,
    env: options.Env = None,
    preset: options.Preset = None,
    reward: options.Reward = None,
    set_: options.Pairs = None,
    trust: options.Trust = False,
    json: options.Json = False,
) -> None:
    """Measure policies over the same episodes.

    They run where the first checkpoint was trained, unless --scenario or --env names another task.

    Where the scenario knows a bound, the last row is what no policy can beat in these episodes.
    """
    import json as json_

    opened, task = options.policies_and_task(
        policies, env=env, scenario=scenario, preset=preset, reward=reward, pairs=set_, trust=trust
    )

    from rl_tracking.runs import evaluate as evaluation

    seed = evaluation.EVALUATION_SEED if seed is None else seed
    results = [evaluation.evaluate(policy, episodes, task=task, seed=seed, skip=skip) for policy in opened]
    bound = evaluation.bound(results[0], task)
    if json:
        for spec, result in zip(policies, results, strict=True):
            result |= {"source": spec} | ({} if bound is None else {"bound": bound})
        typer.echo(json_.dumps(results[0] if len(results) == 1 else results, indent=1, allow_nan=False))
    else:
        from rich.console import Console

        from rl_tracking.cli.tables import evaluations

        Console().print(evaluations(results, task, bound))
    refuse_not_finite(results)


def refuse_not_finite(results: list[dict[str, Any]]) -> None:
    """End with an error after figures that are no numbers have been shown.

    Raises:
        RunError: some figures are not finite.
    """
    from rl_tracking.runs.intervals import not_finite

    found = not_finite(results)
    if found is not None:
        raise RunError(found)
