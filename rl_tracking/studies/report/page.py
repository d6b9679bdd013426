"""The page of a report, in Markdown: what was claimed, what was found, and how it was made."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

from rl_tracking.runs.intervals import RESAMPLES
from rl_tracking.studies.config.study import Study, StudyTask
from rl_tracking.studies.report import tables
from rl_tracking.studies.report.numbers import duration, short
from rl_tracking.studies.statistics import MIN_SEEDS, Answer, Cells, ClaimVerdict, Summary

_METHOD = f"""\
* Square brackets hold 95 % intervals by the stratified percentile bootstrap: {RESAMPLES} resamples of the seeds, within
  each task and variant. With few seeds they are somewhat too narrow. They are not corrected for the number of claims.
* Scores are interquartile means over seeds (IQM, the middle half of the runs); falls and figures of updates are means.
  The largest fall is that of the score below the best one before.
* A time to the threshold is read off the straight line between two evaluations. A run that never got there counts as
  longer than it lasted: in medians (Kaplan-Meier), and in ratios, which are of means of times cut off where all runs
  are still known. If a ratio is claimed, the other variant's times are multiplied by it before they are cut off: so
  runs that did not get there can draw the measured ratio towards the claimed one, and never past it.
* A claim holds, or does not, where the whole interval lies on one side of what was claimed, with {MIN_SEEDS} runs of
  each variant or more; otherwise it is undecided. It depends on the task where it holds on one and not on another.
* P(better) is the chance that a run of the first variant is better than one of the second; a tie counts half.
* Over tasks, scores are scaled so that a task's range is 0 to 1, ratios are averaged geometrically, and every task
  weighs the same. The optimality gap is the mean shortfall below 1.
* The method is that of Agarwal et al. 2021, *Deep Reinforcement Learning at the Edge of the Statistical Precipice*."""


def page(
    study: Study,
    cells: Cells,
    summary: Summary,
    judged: Sequence[ClaimVerdict],
    sections: Iterable[str],
    pictures: Collection[str],
    command: str,
) -> str:
    """The whole page.

    Args:
        study: what was asked.
        cells: its runs.
        summary: their figures.
        judged: the verdicts on its claims.
        sections: paragraphs on what else was measured.
        pictures: files that lie beside the page; others are not shown.
        command: what made the results.
    """
    parts = [
        f"# {study.title}",
        study.question.strip(),
        _setup(study, cells),
        *_verdicts(judged),
        *sections,
        *_tasks(study, summary, pictures),
        *_thresholds(study, summary, pictures),
        *_all_tasks(study, summary, pictures),
        *_unfinished(cells),
        *_making(study, cells, command),
    ]
    return "\n\n".join(parts) + "\n"


def _setup(study: Study, cells: Cells) -> str:
    asked = len(cells.finished) + len(cells.failed) + len(cells.missing)
    each = [study.budget_of(task) for task in study.tasks]
    budgets = dict.fromkeys(map(str, each))
    evaluation = study.evaluation
    counts = (_count(len(study.tasks), "task"), _count(len(study.variants), "variant"), _count(study.seeds, "seed"))
    return (
        f"{', '.join(counts)}: {len(cells.finished)} of {asked} runs are finished. "
        f"Budget of a run: {' or '.join(budgets)}. It is evaluated before training and {evaluation.points} times along "
        f"the budget, over {_count(evaluation.episodes, 'episode')} each."
    )


def _count(number: int, name: str) -> str:
    return f"{number} {name}{'' if number == 1 else 's'}"


def _verdicts(judged: Sequence[ClaimVerdict]) -> Iterator[str]:
    if not judged:
        return
    yield "## Verdicts"
    yield tables.verdicts(judged)
    for each in judged:
        if len(each.tasks) > 1 or any(task.note for task in each.tasks):
            yield f"### {each.claim.name}: {_in_words(each)}"
            yield tables.verdict_on_tasks(each)


def _in_words(judged: ClaimVerdict) -> str:
    """``depends on the task (holds on a, b; does not hold on c)``."""
    answers: tuple[Answer, ...] = ("holds", "does not hold", "undecided")
    where = [f"{answer} on {', '.join(judged.on(answer))}" for answer in answers if judged.on(answer)]
    return f"{judged.answer} ({'; '.join(where)})"


def _tasks(study: Study, summary: Summary, pictures: Collection[str]) -> Iterator[str]:
    yield "## Learning curves"
    yield "Interquartile mean over seeds, with its 95 % band."
    for task in study.tasks:
        yield from _picture(f"curves-{task.name}.png", f"Score on {task.name} along the runs", pictures)
    yield "## Scores"
    yield from _picture("scores.png", "Scores of every run", pictures)
    for task in study.tasks:
        if summary.on(task.name):
            yield f"**{task.name}**, {task.metric}"
            yield tables.scores(summary.on(task.name))


def _thresholds(study: Study, summary: Summary, pictures: Collection[str]) -> Iterator[str]:
    tasks = [task for task in study.tasks if task.threshold is not None and summary.on(task.name)]
    if not tasks:
        return
    yield "## Time to the threshold"
    yield from _picture("thresholds.png", "Time to the threshold of every run", pictures)
    yield "Median over the runs; it is not reached where fewer than half of them got there."
    for task in tasks:
        yield f"**{task.name}**, {task.metric} of {task.threshold:g}"
        yield tables.arrivals(summary.on(task.name))


def _all_tasks(study: Study, summary: Summary, pictures: Collection[str]) -> Iterator[str]:
    yield "## All tasks together"
    yield from _picture("profiles.png", "Share of runs above each score", pictures)
    if summary.aggregates:
        ranges = "; ".join(f"{task.name} {_worst_to_best(task)}" for task in study.tasks)
        yield f"Scores scaled to 0 to 1: {ranges}."
        yield tables.aggregates(summary.aggregates)
    for variant, tasks in summary.left_out.items():
        yield f"Left out: {variant}, which has no finished run on {', '.join(tasks)}."


def _worst_to_best(task: StudyTask) -> str:
    return " to ".join(short(score) for score in sorted(task.range, key=lambda score: task.sign * score))


def _unfinished(cells: Cells) -> Iterator[str]:
    yield "## Runs without results"
    if not cells.failed and not cells.missing:
        yield "None: every run is finished and is in the figures above."
        return
    yield "They are in none of the figures above."
    for title, runs in (("Failed", cells.failed), ("Missing", cells.missing)):
        if runs:
            yield f"{title}: {len(runs)}."
            yield tables.unfinished(runs)


def _making(study: Study, cells: Cells, command: str) -> Iterator[str]:
    spent = sum(run.records[-1].seconds for run in cells.finished)
    versions = {f"{name} {version}" for run in cells.finished for name, version in run.records[-1].versions.items()}
    yield "## How this was made"
    yield f"```\n{command}\n```"
    yield (
        f"Digest of the study: `{study.digest}`. The finished runs trained for {duration(spent)} in all, "
        f"evaluations not counted. Versions: {', '.join(sorted(versions)) or 'not recorded'}."
    )
    yield _METHOD


def _picture(name: str, words: str, pictures: Collection[str]) -> Iterator[str]:
    if name in pictures:
        yield f"![{words}]({name})"
