"""Searches hyper-parameters, with the same number of trials for every variant on every task.

Trials run in rounds, one for each pair of task and variant, so that a search that is stopped early compares fairly too.
None is cut short (no pruning): a slow starter has its whole budget. What a trial tries depends only on the seed and on
the trials before it, so a search that was stopped and continued gives the same as one that was not. The first trial has
the variant's own settings: the best trial is no worse than those on the seeds of the search.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from contextlib import closing
from importlib import import_module
from pathlib import Path
from typing import Any

import tomli_w

from rl_tracking import files
from rl_tracking.errors import UsageError
from rl_tracking.studies.config.study import Choice, Study
from rl_tracking.studies.execute import folder as folders
from rl_tracking.studies.execute.job import Backend, Event
from rl_tracking.studies.execute.run import Plan, run_jobs
from rl_tracking.studies.search.trials import Search, searches

DATABASE, BEST_FILE = "trials.db", "best.toml"
_STARTUP = 5  # trials at random before the search learns from them
_GUIDED, _ASKED = 5, 100  # suggestions asked for until one is new: by what was learned, and in all
_REPEATED = "repeated"  # marks a suggestion that had been tried before


@dataclasses.dataclass(frozen=True)
class Best:
    """The best trial of a variant on a task; ``value`` is None if all of them failed."""

    task: str
    variant: str
    value: float | None
    settings: dict[str, Any]
    trials: int
    failed: int


def tune(
    study: Study,
    folder: Path,
    make_backend: Callable[[Path], Backend],
    *,
    trials: int | None = None,
    seed: int = 0,
    only: str | None = None,
    on_plan: Callable[[Plan], None] | None = None,
    on_event: Callable[[Event], None] | None = None,
) -> list[Best]:
    """Search until every variant on every task has had its trials, and write ``best.toml``.

    Args:
        study: with a table ``[tune]``.
        folder: of ``trials.db`` (Optuna's, SQLite), the results of the trials, and ``best.toml``.
        make_backend: the backend that writes into a given folder.
        trials: how many; the study's if None. Those that are there already count.
        seed: of what is tried.
        only: a glob on ``task/variant``.
        on_plan: called once, before the first cell.
        on_event: called for everything that happens to a cell.

    Raises:
        UsageError: the study asks for no search, the extra is missing, or the folder holds something else.
    """
    optuna = _import_optuna()
    chosen = list(searches(study, only))
    assert study.tune is not None
    count = trials or study.tune.trials
    for search in chosen:
        search.check(count)
    with folders.locked(folder):
        _refuse_other_results(folder)
        records = [_OptunaStudy(optuna, search, folder, seed) for search in chosen]
        if on_plan is not None:
            done = sum(min(count, record.ended) for record in records)
            on_plan(Plan(*((size * study.tune.seeds) for size in (count * len(chosen), count * len(chosen) - done))))
        for number in range(count):
            _round([record for record in records if record.ended <= number], number, make_backend, on_event)
        found = [record.best() for record in records]
        write_best(study, found, folder / BEST_FILE)
    return found


def _round(
    records: list[_OptunaStudy],
    number: int,
    make_backend: Callable[[Path], Backend],
    on_event: Callable[[Event], None] | None,
) -> None:
    """One trial for each search, side by side."""
    if not records:
        return
    # Ask every search for settings before anything runs: what it suggests must not depend on how fast others are.
    place = records[0].folder / "trials" / f"{number:04d}"
    tried = [record.ask() for record in records]
    # Run the cells of all of them side by side, but those that were finished before the search was stopped.
    cells = [cell for record, values in zip(records, tried, strict=True) for cell in record.search.cells(values)]
    for cell in cells:
        folders.refuse_other_results(place, cell)
    waiting = [cell for cell in cells if not cell.finished(place)]
    with closing(run_jobs(waiting, place, make_backend(place))) as events:
        for event in events:
            if on_event is not None:
                on_event(event)
    # Tell the values in the same order again.
    for record, values in zip(records, tried, strict=True):
        record.tell(record.search.value(place, values))


class _OptunaStudy:
    """The trials of a search in Optuna's database."""

    def __init__(self, optuna: Any, search: Search, folder: Path, seed: int) -> None:
        self.search, self.folder = search, folder
        self._optuna, self._seed = optuna, seed
        self._study = optuna.create_study(
            study_name=str(search),
            storage=f"sqlite:///{folder / DATABASE}",
            direction="maximize",
            pruner=optuna.pruners.NopPruner(),
            load_if_exists=True,
        )
        identity = search.identity(seed)
        if self._study.user_attrs.get("identity", identity) != identity:
            raise UsageError(
                f"'{folder}' holds a search of {search} with other settings, seed or space; give another --out"
            )
        self._study.set_user_attr("identity", identity)
        if not self._study.trials and search.own:
            self._study.enqueue_trial(search.own)
        self._number = -1

    def _trials(self, *names: str) -> list[Any]:
        states = [getattr(self._optuna.trial.TrialState, name) for name in names]
        found = self._study.get_trials(deepcopy=False, states=states)
        # A trial lacks parameters if the process was killed while it was asked for; it never ran.
        return [trial for trial in found if self._is_of_space(trial.params) and _REPEATED not in trial.user_attrs]

    def _is_of_space(self, values: dict[str, Any]) -> bool:
        space = self.search.space
        return set(values) == set(space) and all(value in space[key] for key, value in values.items())

    @property
    def ended(self) -> int:
        """How many trials have ended."""
        return len(self._trials("COMPLETE", "FAIL"))

    def ask(self) -> dict[str, Any]:
        """Settings to try next: first those of a trial that was running when the search was stopped."""
        for trial in self._trials("RUNNING"):
            self._number = trial.number
            return dict(trial.params)
        tried = [trial.params for trial in self._trials("COMPLETE", "FAIL")]
        for attempt in range(_ASKED):
            self._study.sampler = self._sampler(len(tried), attempt)
            trial = self._study.ask()
            suggested = {key: _suggest(trial, key, choice) for key, choice in self.search.space.items()}
            if suggested not in tried or attempt == _ASKED - 1:
                break
            # The same settings and seeds give the same value: nothing is learned by it.
            trial.set_user_attr(_REPEATED, True)
            self._study.tell(trial.number, state=self._optuna.trial.TrialState.FAIL)
        self._number = trial.number
        return suggested

    def _sampler(self, ended: int, attempt: int) -> Any:
        """A new one for each trial, so that its random numbers do not depend on whether the search was stopped."""
        seed = self._seed * 100_003 + ended + attempt * 1_009
        if attempt < _GUIDED:
            return self._optuna.samplers.TPESampler(seed=seed, n_startup_trials=_STARTUP)
        return self._optuna.samplers.RandomSampler(seed=seed)

    def tell(self, value: float) -> None:
        """The value of the trial; not a number if it failed."""
        if math.isfinite(value):
            self._study.tell(self._number, value)
        else:
            self._study.tell(self._number, state=self._optuna.trial.TrialState.FAIL)

    def best(self) -> Best:
        """The best trial so far."""
        complete, failed = self._trials("COMPLETE"), len(self._trials("FAIL"))
        task, variant = self.search.task.name, self.search.variant.name
        if not complete:
            return Best(task, variant, None, {}, failed, failed)
        best = max(complete, key=lambda trial: (trial.value, -trial.number))
        return Best(task, variant, best.value, dict(best.params), len(complete) + failed, failed)


def _suggest(trial: Any, key: str, choice: Choice) -> Any:
    if choice.choices:
        return trial.suggest_categorical(key, choice.choices)
    low, high = choice.ends
    suggest = trial.suggest_int if isinstance(low, int) else trial.suggest_float
    return suggest(key, low, high, log=choice.log)


def write_best(study: Study, found: list[Best], path: Path) -> None:
    """Write the variants of a study with the best settings on each task, to be put into the study's file."""
    assert study.tune is not None
    lines = [
        f"# {best.variant} on {best.task}: "
        + ("every trial failed" if best.value is None else f"{study.tune.objective} {best.value:.4f}")
        + f", {best.trials} trials, {best.failed} of them failed"
        for best in found
    ]
    variants = []
    for variant in study.variants:
        on = dict(variant.on)
        for best in found:
            if best.variant == variant.name and best.settings:
                on[best.task] = {**on.pop(best.task, {}), **best.settings}  # at the end, where it wins
        variants.append({"name": variant.name, "algo": variant.algo, "settings": variant.settings, "on": on})
    files.write_text(path, "\n".join(lines) + "\n\n" + tomli_w.dumps({"variants": variants}))


def _refuse_other_results(folder: Path) -> None:
    if any(folder.iterdir()) and not (folder / DATABASE).is_file():
        raise UsageError(f"'{folder}' is not empty and holds no search; give another --out")


def _import_optuna() -> Any:
    try:
        optuna = import_module("optuna")
    except ImportError as error:
        raise UsageError("rltrack tune needs the extra 'tune': pip install \"rl-tracking[tune]\"") from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna
