"""Studies and folders of results that tests make up."""

import json
from pathlib import Path

import msgspec

from rl_tracking.studies.config.study import Budget, Claim, EvaluationPlan, Study, StudyTask, Variant
from rl_tracking.studies.execute.result_lines import EvaluationLine
from rl_tracking.studies.statistics.records import Run


def a_claim(measure="final", better="higher", factor=None, variant="hybrid", than="ppo", **values):
    given = {"name": "better", "text": "Hybrid GRPO is better than PPO", **values}
    return Claim(measure=measure, better=better, factor=factor, variant=variant, than=than, **given)


def task(name="reach", threshold=0.8, low=0.0, high=1.0, **values):
    return StudyTask(name=name, scenario="pursuit", metric="score", threshold=threshold, range=(low, high), **values)


def study(tasks=None, claims=(), seeds=5, variants=("hybrid", "ppo")):
    return Study(
        name="made-up",
        title="A made-up study",
        question="Does it work?",
        seeds=seeds,
        budget=Budget(macro_steps=400),
        evaluation=EvaluationPlan(points=4, episodes=50),
        tasks=list(tasks or [task()]),
        variants=[Variant(name=name, algo=name) for name in variants],
        claims=list(claims),
        text="",
    )


def line(scores_at, score, *, task="reach", variant="hybrid", seed=0, updates=None):
    return {
        "task": task,
        "variant": variant,
        "seed": seed,
        "macro_steps": scores_at,
        "simulator_steps": 8 * scores_at,
        "seconds": scores_at / 100,
        "metrics": {"score": score, "return": None},
        "updates": updates or {},
        "versions": {"torch": "2.13.0", "rl_tracking": "0.1.0"},
        "schema": 1,
        "digest": "0123abcd",
    }


def write_cell(directory: Path, scores, *, every=100, updates=None, **names):
    """A finished run with a score at 0, ``every``, 2 ``every`` ..."""
    entries = [line(at * every, score, updates=updates if at else None, **names) for at, score in enumerate(scores)]
    first = entries[0]
    path = directory / "cells" / first["task"] / first["variant"] / f"seed-{first['seed']}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    return path


def cell(scores, *, every=100, updates=None, task="reach", variant="hybrid", seed=0):
    """The same run as it is read."""
    names = {"task": task, "variant": variant, "seed": seed}
    lines = [line(at * every, score, updates=updates if at else None, **names) for at, score in enumerate(scores)]
    return Run(**names, records=tuple(msgspec.convert(lines, list[EvaluationLine])))
