"""Reads a file of a gradient study and checks all of it before anything runs."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from rl_tracking import toml_files
from rl_tracking.errors import UsageError, unknown
from rl_tracking.studies.config import reading
from rl_tracking.studies.config.fields import Fields, is_number
from rl_tracking.studies.gradients.spec import REFERENCE, Estimator, GradientStudy, Place, Plan, Ratio, Training

UNITS = ("macro_steps", "simulator_steps")
_OF_EVERY_ESTIMATOR = (*reading.OF_THE_STUDY, "num_envs", "ent_coef", "normalize", "device", "threads")
_FOLDER = "gradients/claims"
_ELSEWHERE = "belongs beside settings, or to a task"


def shipped() -> dict[str, Path]:
    """The gradient studies that come with the package, by name."""
    return reading.shipped(_FOLDER)


def find(spec: str) -> Path:
    """The file that ``spec`` means: a path, or the name of a shipped gradient study.

    Raises:
        UsageError: neither.
    """
    return reading.find(spec, _FOLDER)


def load(path: Path, *, trust: bool = False) -> GradientStudy:
    """Read and check a file, its settings too.

    Args:
        path: the file.
        trust: run code that it names.

    Raises:
        UsageError: what is wrong, in one line.
    """
    study = parse(reading.read(path), path.stem)
    places = [(task.parameters, task.settings) for task in study.tasks]
    settings = [study.training.settings, *(estimator.settings for estimator in study.estimators)]
    reading.refuse_code(path, [places, settings], trust=trust)
    check(study)
    return study


def parse(text: str, name: str) -> GradientStudy:
    """A gradient study from the text of its file; the settings of the algorithms are left to :func:`check`.

    Raises:
        UsageError: an unknown key or name, a duplicate, or a value of the wrong kind.
    """
    where = f"gradient study '{name}'"
    fields = Fields(toml_files.parse(text, where), where)
    title, question = fields.text("title"), fields.text("question")
    plan, checkpoints = _plan(fields.table("gradient"), f"{where}, [gradient]")
    training = _training(fields.table("training"), f"{where}, [training]")
    tasks = tuple(_place(table, where) for table in fields.tables("tasks", least=1))
    estimators = tuple(_estimator(table, where) for table in fields.tables("estimators", least=1))
    ratios = tuple(_ratio(table, where) for table in fields.tables("ratios", least=0))
    fields.end()
    for kind, items in (("task", tasks), ("estimator", estimators), ("ratio", ratios)):
        reading.refuse_twins(kind, [item.name for item in items], where)
    study = GradientStudy(name, title, question, plan, checkpoints, training, tasks, estimators, ratios, text)
    _check_names(study, where)
    return study


def _plan(table: dict[str, Any], where: str) -> tuple[Plan, tuple[float, ...]]:
    fields = Fields(table, where)
    least = {"rollouts": 2, "reference_rollouts": 2, "reference_samples": 2}  # a spread, and a group, need two
    counts = {
        field.name: fields.count(field.name, field.default, least=least.get(field.name, 1))
        for field in dataclasses.fields(Plan)
    }
    checkpoints = fields.values("checkpoints")
    fields.end()
    if not checkpoints or not all(is_number(share) and 0 <= share <= 1 for share in checkpoints):
        raise UsageError(f"{where}: checkpoints must be a list of shares of the run, 0 to 1, not {list(checkpoints)!r}")
    if sorted(set(checkpoints)) != list(checkpoints):
        raise UsageError(f"{where}: checkpoints must rise, each above the one before, not {list(checkpoints)!r}")
    return Plan(**counts), tuple(float(share) for share in checkpoints)


def _training(table: dict[str, Any], where: str) -> Training:
    fields = Fields(table, where)
    training = Training(
        algo=fields.text("algo", "hybrid-grpo"),
        steps=fields.count("steps"),
        seed=fields.count("seed", 0, least=0),
        settings=fields.table("settings"),
    )
    fields.end()
    reading.refuse_keys(training.settings, reading.OF_THE_STUDY, f"{where}, settings", _ELSEWHERE)
    return training


def _place(table: dict[str, Any], where: str) -> Place:
    name = Fields(table, f"{where}, a task").name("name")
    where = f"{where}, task '{name}'"
    fields = Fields(table, where)
    place = Place(fields.name("name"), fields.text("scenario"), fields.table("parameters"), fields.table("settings"))
    fields.end()
    reading.refuse_keys(place.settings, reading.OF_THE_STUDY, f"{where}, settings", _ELSEWHERE)
    return place


def _estimator(table: dict[str, Any], where: str) -> Estimator:
    name = Fields(table, f"{where}, an estimator").name("name")
    where = f"{where}, estimator '{name}'"
    fields = Fields(table, where)
    estimator = Estimator(
        name=fields.name("name"),
        algo=fields.text("algo"),
        settings=fields.table("settings"),
        from_start=fields.flag("from_start", False),
        rollouts=fields.count("rollouts", None, least=2),
    )
    fields.end()
    if name.lower() == REFERENCE:
        raise UsageError(f"{where}: '{name}' is what the others are held against; give it another name")
    reading.refuse_keys(
        estimator.settings, _OF_EVERY_ESTIMATOR, where, "is the study's to say, the same for every estimator"
    )
    return estimator


def _ratio(table: dict[str, Any], where: str) -> Ratio:
    name = Fields(table, f"{where}, a ratio").name("name")
    fields = Fields(table, f"{where}, ratio '{name}'")
    ratio = Ratio(
        name=fields.name("name"),
        text=fields.text("text"),
        of=fields.text("of"),
        to=fields.text("to"),
        at_least=fields.number("at_least", positive=True),
        per=fields.one_of("per", UNITS),
    )
    fields.end()
    return ratio


def _check_names(study: GradientStudy, where: str) -> None:
    names = [estimator.name for estimator in study.estimators]
    for ratio in study.ratios:
        here = f"{where}, ratio '{ratio.name}'"
        for name in (ratio.of, ratio.to):
            if name not in names:
                raise unknown(f"estimator in {here}:", name, names)
        if ratio.of == ratio.to:
            raise UsageError(f"{here} compares '{ratio.of}' with itself")


def check(study: GradientStudy) -> None:
    """Build every estimator on one world of every task, as a run will on many.

    Raises:
        UsageError: an unknown setting, one that an algorithm refuses, or an estimator that cannot take over the policy.
    """
    # Slow to import, and a list of studies needs none of it.
    from rl_tracking.studies.gradients.estimates import build_like
    from rl_tracking.studies.gradients.training import settings_of, untrained

    for task in study.tasks:
        where = f"gradient study '{study.name}', task '{task.name}'"
        try:
            base = settings_of(study, task)
            snapshot = untrained(base)
        except UsageError as error:
            raise UsageError(f"{where}: {error}") from error
        for estimator in study.estimators:
            try:
                build_like(snapshot, base, estimator, study.plan, worlds=1)
            except UsageError as error:
                raise UsageError(f"{where}, estimator '{estimator.name}': {error}") from error
