"""Reads a study file and checks all of it before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from rl_tracking import named_code, schema, toml_files
from rl_tracking.errors import UsageError, unknown
from rl_tracking.runs.keys import CODE
from rl_tracking.studies.config import checks
from rl_tracking.studies.config.study import Study, StudyFile

_SHIPPED = Path(__file__).parents[1] / "claims"


def shipped() -> dict[str, Path]:
    """The studies that come with the package, by name."""
    return {file.stem: file for file in sorted(_SHIPPED.glob("*.toml"))}


def find(spec: str) -> Path:
    """The file that ``spec`` means: a path, or the name of a study that comes with the package.

    Raises:
        UsageError: neither.
    """
    path = Path(spec)
    if path.is_file():
        return path
    if path.suffix == ".toml" or path.parent != Path():
        raise UsageError(f"study file '{spec}' does not exist")
    known = shipped()
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
    named = named_code.find_all(_settings(study), "env", CODE)
    named_code.refuse(named, f"study file '{path}'", trust=trust, digests=None)
    check(study)
    return study


def read(path: Path) -> str:
    """The text of a study file.

    Raises:
        UsageError: it cannot be read, or is no text.
    """
    return toml_files.read(path, f"study file '{path}'")


def parse(text: str, name: str) -> Study:
    """A study from the text of its file; the settings of the algorithms are left to :func:`check`.

    Raises:
        UsageError: an unknown key or name, a duplicate, or a value of the wrong kind.
    """
    where = f"study '{name}'"
    content = schema.read(StudyFile, toml_files.parse(text, where), schema.Owner.table(where))
    fields = {field: getattr(content, field) for field in StudyFile.__struct_fields__}
    study = Study(name=name, text=text, **fields)
    checks.check_names(study, where)
    return study


def _settings(study: Study) -> list[Any]:
    """All settings, ids of environments and parameters that a study names."""
    tasks = [(task.env, task.parameters, task.settings) for task in study.tasks]
    variants = [(variant.settings, variant.on) for variant in study.variants]
    spaces = [study.tune.space, *study.tune.space_of.values()] if study.tune else []
    tried = [{key: choice.choices for key, choice in space.items()} for space in spaces]
    estimators = [estimator.settings for estimator in study.gradients.estimators] if study.gradients else []
    return [tasks, variants, tried, estimators]


def check(study: Study) -> None:
    """Resolve the settings of every variant on every task, and build its algorithm on a few worlds.

    Raises:
        UsageError: an unknown setting, one that an algorithm refuses, or an environment that it cannot branch in.
    """
    # Slow to import, and a list of studies needs neither.
    from rl_tracking.studies.execute.cells import cells_of
    from rl_tracking.studies.gradients.estimates import check_estimators

    for cell in cells_of(msgspec.structs.replace(study, seeds=1)):
        cell.check()
        if study.gradients is not None:
            check_estimators(study.gradients, cell)
