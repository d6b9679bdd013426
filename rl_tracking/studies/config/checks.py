"""What must be true of a study beyond the kinds and bounds of its fields."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any

from rl_tracking.errors import UsageError, unknown
from rl_tracking.studies.config.gradients import REFERENCE, GradientPlan
from rl_tracking.studies.config.study import (
    MEASURES,
    OF_UPDATES,
    TO_THRESHOLD,
    UNITS,
    Budget,
    Choice,
    Claim,
    Study,
    StudyTask,
    Tuning,
)

_OF_THE_STUDY = ("seed", "steps", "algo", "scenario", "env")  # never settings of a variant
_OF_EVERY_ESTIMATOR = (*_OF_THE_STUDY, "num_envs", "ent_coef", "normalize", "device", "threads")


def check_names(study: Study, where: str) -> None:
    """Refuse what the schema cannot see: names that mean nothing, duplicates, and fields that exclude each other.

    Raises:
        UsageError: in one line.
    """
    _check_budget(study.budget, f"{where}, [budget]")
    for kind, items in (("task", study.tasks), ("variant", study.variants), ("claim", study.claims)):
        _refuse_duplicates(kind, items, where)
    for task in study.tasks:
        _check_task(task, f"{where}, task '{task.name}'")
    tasks, variants = [task.name for task in study.tasks], [variant.name for variant in study.variants]
    for variant in study.variants:
        here = f"{where}, variant '{variant.name}'"
        for settings in (variant.settings, *variant.on.values()):
            _refuse_keys(settings, _OF_THE_STUDY, here, "is the study's to say, not a setting of a variant")
        _must_match(variant.on, tasks, f"{here}: on")
    for claim in study.claims:
        _check_claim(claim, study, variants, f"{where}, claim '{claim.name}'")
        _must_match(claim.tasks, tasks, f"{where}, claim '{claim.name}': tasks")
    if study.tune is not None:
        _check_tuning(study.tune, variants, f"{where}, [tune]")
    if study.gradients is not None:
        _check_gradients(study.gradients, f"{where}, [gradients]")


def _check_budget(budget: Budget, where: str) -> None:
    if len(budget.given) != 1:
        raise UsageError(f"{where}: give exactly one of {', '.join(UNITS)}")


def _refuse_duplicates(kind: str, items: Iterable[Any], where: str) -> None:
    """Refuse equal names, and names that differ in case only: some file systems see one folder there."""
    seen: set[str] = set()
    for item in items:
        if item.name.lower() in seen:
            raise UsageError(f"{where}: there are two {kind}s '{item.name}'; give each a name of its own")
        seen.add(item.name.lower())


def _check_task(task: StudyTask, where: str) -> None:
    if bool(task.scenario) == bool(task.env):
        raise UsageError(f"{where}: give a scenario or an env, and not both")
    if task.range[0] >= task.range[1]:
        raise UsageError(f"{where}: range must be two numbers, [low, high], not {list(task.range)!r}")
    if task.budget is not None:
        _check_budget(task.budget, f"{where}, [budget]")
    _refuse_keys(task.settings, _OF_THE_STUDY, where, "is the study's to say, not a setting of a variant")


def _check_claim(claim: Claim, study: Study, variants: list[str], where: str) -> None:
    if claim.measure not in MEASURES and not claim.measure.startswith(OF_UPDATES):
        raise unknown(f"measure in {where}:", claim.measure, (*MEASURES, f"{OF_UPDATES}NAME"))
    if claim.measure == OF_UPDATES:
        raise UsageError(f"{where}: measure '{OF_UPDATES}' names no figure; write {OF_UPDATES}approx_kl, for example")
    for name in (claim.variant, claim.than):
        if name not in variants:
            raise unknown(f"variant in {where}:", name, variants)
    if claim.variant == claim.than:
        raise UsageError(f"{where} compares '{claim.variant}' with itself")
    for task in study.tasks_of(claim):
        if claim.measure.endswith(TO_THRESHOLD) and task.threshold is None:
            raise UsageError(f"{where} measures {claim.measure}, and task '{task.name}' has no threshold")


def _check_tuning(tuning: Tuning, variants: list[str], where: str) -> None:
    for name in tuning.space_of:
        if name not in variants:
            raise unknown(f"variant in {where} space_of:", name, variants)
    for table, space in {
        "space": tuning.space,
        **{f"space_of.{name}": of for name, of in tuning.space_of.items()},
    }.items():
        for key, choice in space.items():
            _check_choice(choice, f"{where}, [{table}.{key}]")


def _check_choice(choice: Choice, where: str) -> None:
    bounds = [bound for bound in (choice.low, choice.high) if bound is not None]
    if choice.choices:
        if bounds or choice.log:
            raise UsageError(f"{where}: give choices, or low and high, and not both")
        if not all(isinstance(value, bool | int | float | str) for value in choice.choices):
            raise UsageError(f"{where}: choices must be numbers, texts, true or false, not {choice.choices!r}")
    elif len(bounds) < 2:
        raise UsageError(f"{where}: give choices, or low and high")
    elif bounds[0] >= bounds[1] or (choice.log and bounds[0] <= 0):
        raise UsageError(f"{where}: low must be below high{', and above 0 for log' if choice.log else ''}")


def _check_gradients(plan: GradientPlan, where: str) -> None:
    if sorted(set(plan.checkpoints)) != plan.checkpoints:
        raise UsageError(f"{where}: checkpoints must rise, each above the one before, not {plan.checkpoints!r}")
    for kind, items in (("estimator", plan.estimators), ("ratio", plan.ratios)):
        _refuse_duplicates(kind, items, where)
    names = [estimator.name for estimator in plan.estimators]
    for estimator in plan.estimators:
        here = f"{where}, estimator '{estimator.name}'"
        if estimator.name.lower() == REFERENCE:
            raise UsageError(f"{here}: '{estimator.name}' is what the others are compared with; give it another name")
        _refuse_keys(estimator.settings, _OF_EVERY_ESTIMATOR, here, "is the same for every estimator; leave it out")
    for ratio in plan.ratios:
        here = f"{where}, ratio '{ratio.name}'"
        for name in (ratio.of, ratio.to):
            if name not in names:
                raise unknown(f"estimator in {here}:", name, names)
        if ratio.of == ratio.to:
            raise UsageError(f"{here} compares '{ratio.of}' with itself")


def _refuse_keys(settings: dict[str, Any], keys: Iterable[str], where: str, why: str) -> None:
    for key in keys:
        if key in settings:
            raise UsageError(f"{where}: {key} {why}")


def _must_match(patterns: Iterable[str], tasks: list[str], where: str) -> None:
    for pattern in patterns:
        if not any(fnmatchcase(task, pattern) for task in tasks):
            raise unknown(f"task in {where}:", pattern, tasks)
