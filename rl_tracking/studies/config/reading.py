"""Reads a study file and checks all of it before anything runs."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from rl_tracking import named_code, toml_files
from rl_tracking.errors import UsageError, unknown
from rl_tracking.runs.config_file import CODE
from rl_tracking.studies.config.fields import Fields
from rl_tracking.studies.config.study import (
    MEASURES,
    OF_UPDATES,
    TO_THRESHOLD,
    UNITS,
    Budget,
    Choice,
    Claim,
    EvaluationPlan,
    Study,
    Task,
    Tuning,
    Variant,
    digest,
)

SCENARIO_METRICS = ("capture_rate", "time_in_radius", "return")
ENV_METRICS = ("return", "episode_length", "success_rate")
_LOWER_IS_BETTER = ("time_to_capture", "mean_distance")
OF_THE_STUDY = ("seed", "steps", "algo", "scenario", "env")  # what settings of a variant must leave alone
_MOST = 10_000  # seeds or trials: each is a training
_STUDYS = "is the study's to say, not a setting of a variant"


def shipped(folder: str = "claims") -> dict[str, Path]:
    """The studies that come with the package in one of its folders, by name."""
    return {file.stem: file for file in sorted((Path(__file__).parents[1] / folder).glob("*.toml"))}


def find(spec: str, folder: str = "claims") -> Path:
    """The file that ``spec`` means: a path, or the name of a study that is shipped in that folder.

    Raises:
        UsageError: neither.
    """
    path = Path(spec)
    if path.is_file():
        return path
    if path.suffix == ".toml" or path.parent != Path():
        raise UsageError(f"study file '{spec}' does not exist")
    known = shipped(folder)
    if spec not in known:
        raise unknown("study", spec, known)
    return known[spec]


def name_of(text: str) -> str | None:
    """The name of the shipped study with that text, if there is one."""
    return next((name for name, file in shipped().items() if read(file) == text), None)


def load(path: Path, *, trust: bool = False) -> Study:
    """Read and check a study file, its settings too.

    Args:
        path: the file.
        trust: run code that it names.

    Raises:
        UsageError: what is wrong, in one line.
    """
    study = parse(read(path), path.stem)
    spaces = [study.tuning.space, *study.tuning.space_of.values()] if study.tuning else []
    tried = [{key: choice.choices for key, choice in space.items()} for space in spaces]
    places = [(task.env, task.parameters, task.settings) for task in study.tasks]
    refuse_code(path, [places, [(variant.settings, variant.on) for variant in study.variants], tried], trust=trust)
    check(study)
    return study


def read(path: Path) -> str:
    """The text of a study file.

    Raises:
        UsageError: it cannot be read, or is no text.
    """
    return toml_files.read(path, f"study file '{path}'")


def refuse_code(path: Path, settings: Any, *, trust: bool) -> None:
    """Refuse code that a study file names in its settings, ids of environments and parameters.

    Raises:
        UsageError: it is not trusted; which code it is.
    """
    named = named_code.find_all(settings, "env", CODE)
    named_code.refuse(named, f"study file '{path}'", trust=trust, digests=None)


def parse(text: str, name: str) -> Study:
    """A study from the text of its file; the settings of the algorithms are left to :func:`check`.

    Raises:
        UsageError: an unknown key or name, a duplicate, or a value of the wrong kind.
    """
    where = f"study '{name}'"
    fields = Fields(toml_files.parse(text, where), where)
    title, question = fields.text("title"), fields.text("question")
    seeds = fields.count("seeds", most=_MOST)
    budget = _budget(fields.table("budget"), f"{where}, [budget]")
    evaluation = _evaluation(fields.table("evaluation"), f"{where}, [evaluation]")
    tasks = tuple(_task(table, where) for table in fields.tables("tasks", least=1))
    variants = tuple(_variant(table, where) for table in fields.tables("variants", least=1))
    claims = tuple(_claim(table, where) for table in fields.tables("claims", least=0))
    tuning = _tuning(fields.table("tune"), where) if fields.given("tune") else None
    fields.end()
    for kind, items in (("task", tasks), ("variant", variants), ("claim", claims)):
        refuse_twins(kind, [item.name for item in items], where)
    decisive = digest(tasks, variants, budget, evaluation)
    study = Study(name, title, question, seeds, budget, evaluation, tasks, variants, claims, text, decisive, tuning)
    _check_names(study, where)
    return study


def refuse_twins(kind: str, names: list[str], where: str) -> None:
    """Refuse equal names, and such as differ in case only: some file systems see one folder there."""
    seen: set[str] = set()
    for name in names:
        if name.lower() in seen:
            raise UsageError(f"{where}: there are two {kind}s '{name}'; give each a name of its own")
        seen.add(name.lower())


def _budget(table: dict[str, Any], where: str) -> Budget:
    fields = Fields(table, where)
    given = [unit for unit in UNITS if fields.given(unit)]
    if len(given) > 1 or (not given and not table):
        raise UsageError(f"{where}: give exactly one of {', '.join(UNITS)}")
    if not given:
        fields.end()
    unit = given[0]
    amount = fields.number(unit, positive=True) if unit == "seconds" else fields.count(unit)
    fields.end()
    return Budget(unit, amount)


def _evaluation(table: dict[str, Any], where: str) -> EvaluationPlan:
    fields = Fields(table, where)
    plan = EvaluationPlan(fields.count("points", 20), fields.count("episodes", 50))
    fields.end()
    return plan


def _task(table: dict[str, Any], where: str) -> Task:
    name = Fields(table, f"{where}, a task").name("name")
    where = f"{where}, task '{name}'"
    fields = Fields(table, where)
    fields.name("name")
    scenario, env = fields.text("scenario", ""), fields.text("env", "")
    if bool(scenario) == bool(env):
        raise UsageError(f"{where}: give a scenario or an env, and not both")
    metric = fields.text("metric")
    if metric in _LOWER_IS_BETTER and scenario:
        raise UsageError(f"{where}: lower is better for {metric}; a metric is one of {', '.join(SCENARIO_METRICS)}")
    known = SCENARIO_METRICS if scenario else ENV_METRICS
    if metric not in known:
        raise unknown(f"metric in {where}:", metric, known)
    task = Task(
        name=name,
        scenario=scenario,
        env=env,
        parameters=fields.table("parameters"),
        metric=metric,
        threshold=fields.number("threshold", None),
        range=fields.numbers("range", (0.0, 1.0)),
        budget=_budget(fields.table("budget"), f"{where}, budget") if fields.given("budget") else None,
        settings=fields.table("settings"),
    )
    fields.end()
    refuse_keys(task.settings, OF_THE_STUDY, where, _STUDYS)
    return task


def _variant(table: dict[str, Any], where: str) -> Variant:
    name = Fields(table, f"{where}, a variant").name("name")
    where = f"{where}, variant '{name}'"
    fields = Fields(table, where)
    variant = Variant(fields.name("name"), fields.text("algo"), fields.table("settings"), fields.table("on"))
    fields.end()
    for pattern, settings in variant.on.items():
        if not isinstance(settings, dict):
            raise UsageError(f"{where}: on.{pattern} must be a table, not {settings!r}")
    for settings in (variant.settings, *variant.on.values()):
        refuse_keys(settings, OF_THE_STUDY, where, _STUDYS)
    return variant


def refuse_keys(settings: dict[str, Any], keys: Iterable[str], where: str, why: str) -> None:
    """Refuse settings that are not for this place.

    Raises:
        UsageError: one of them is given; it says why it must not.
    """
    for key in keys:
        if key in settings:
            raise UsageError(f"{where}: {key} {why}")


def _claim(table: dict[str, Any], where: str) -> Claim:
    name = Fields(table, f"{where}, a claim").name("name")
    where = f"{where}, claim '{name}'"
    fields = Fields(table, where)
    claim = Claim(
        name=fields.name("name"),
        text=fields.text("text"),
        measure=fields.text("measure"),
        variant=fields.text("variant"),
        than=fields.text("than"),
        better=fields.one_of("better", ("lower", "higher")),
        factor=fields.number("factor", None, positive=True),
        tasks=fields.texts("tasks", ("*",)),
    )
    fields.end()
    if claim.measure not in MEASURES and not claim.measure.startswith(OF_UPDATES):
        raise unknown(f"measure in {where}:", claim.measure, (*MEASURES, f"{OF_UPDATES}NAME"))
    if claim.measure == OF_UPDATES:
        raise UsageError(f"{where}: measure '{OF_UPDATES}' names no figure; write {OF_UPDATES}approx_kl, for example")
    return claim


def _tuning(table: dict[str, Any], where: str) -> Tuning:
    where = f"{where}, [tune]"
    fields = Fields(table, where)
    tuning = Tuning(
        trials=fields.count("trials", 10, most=_MOST),
        seeds=fields.count("seeds", 2, most=_MOST),
        objective=fields.one_of("objective", ("area", "final"), "area"),
        space=_space(fields.table("space"), f"{where} space"),
        space_of={name: _space(space, f"{where} space_of.{name}") for name, space in fields.table("space_of").items()},
        first_seed=fields.count("first_seed", 1000, least=0),
    )
    fields.end()
    return tuning


def _space(table: Any, where: str) -> dict[str, Choice]:
    if not isinstance(table, dict):
        raise UsageError(f"{where} must be a table, not {table!r}")
    return {key: _choice(value, f"{where}, {key}") for key, value in table.items()}


def _choice(table: Any, where: str) -> Choice:
    fields = Fields(table, where)
    choices = fields.values("choices")
    if choices:
        fields.end()
        if not all(isinstance(value, bool | int | float | str) for value in choices):
            raise UsageError(f"{where}: choices must be numbers, texts, true or false, not {list(choices)!r}")
        return Choice(choices=choices)
    low, high = (table.get(key) for key in ("low", "high"))
    whole = type(low) is int and type(high) is int  # keeps a whole number whole
    first, last, log = fields.number("low"), fields.number("high"), fields.flag("log", False)
    fields.end()
    if first >= last or (log and first <= 0):
        raise UsageError(f"{where}: low must be below high{', and above 0 for log' if log else ''}")
    return Choice(low=int(first) if whole else first, high=int(last) if whole else last, log=log)


def _check_names(study: Study, where: str) -> None:
    """Refuse names of tasks and variants that nothing bears, and measures that a task cannot give."""
    tasks, variants = [task.name for task in study.tasks], [variant.name for variant in study.variants]
    for variant in study.variants:
        _must_match(variant.on, tasks, f"{where}, variant '{variant.name}': on")
    for claim in study.claims:
        here = f"{where}, claim '{claim.name}'"
        for name in (claim.variant, claim.than):
            if name not in variants:
                raise unknown(f"variant in {here}:", name, variants)
        if claim.variant == claim.than:
            raise UsageError(f"{here} compares '{claim.variant}' with itself")
        _must_match(claim.tasks, tasks, f"{here}: tasks")
        for task in study.tasks_of(claim):
            if claim.measure.endswith(TO_THRESHOLD) and task.threshold is None:
                raise UsageError(f"{here} measures {claim.measure}, and task '{task.name}' has no threshold")
    for name in study.tuning.space_of if study.tuning else ():
        if name not in variants:
            raise unknown(f"variant in {where}, [tune] space_of:", name, variants)


def _must_match(patterns: Iterable[str], tasks: list[str], where: str) -> None:
    for pattern in patterns:
        if not any(fnmatchcase(task, pattern) for task in tasks):
            raise unknown(f"task in {where}:", pattern, tasks)


def check(study: Study) -> None:
    """Resolve the settings of every variant on every task, and build its algorithm on a few worlds.

    Raises:
        UsageError: an unknown setting, one that an algorithm refuses, or an environment that it cannot branch in.
    """
    from rl_tracking.studies.execute.cells import (  # slow to import; a list of studies needs neither
        check_built,
        settings_of,
    )

    for task in study.tasks:
        for variant in study.variants:
            check_built(study, task, variant, settings_of(study, task, variant, 0))
