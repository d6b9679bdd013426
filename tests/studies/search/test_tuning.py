"""The search for hyper-parameters: the same for every variant, resumable, and what it says was best."""

import json
import math
import sys

import pytest

import rl_tracking
from rl_tracking.errors import UsageError
from rl_tracking.studies.config import reading
from rl_tracking.studies.execute.cells import cells_of
from rl_tracking.studies.execute.job import Failed, Finished, Started
from rl_tracking.studies.execute.local_backend import LocalBackend
from rl_tracking.studies.search import tuning
from rl_tracking.studies.search.trials import searches

TUNE = """[tune]
trials = 6
seeds = 2
[tune.space]
learning_rate = { low = 1e-5, high = 1e-1, log = true }
n_epochs = { low = 1, high = 9 }
[tune.space_of.hybrid]
baseline = { choices = ["none", "group-mean"] }
[[claims]]"""
SEARCHED = ("[[claims]]", TUNE)


MADE_BY = {"schema": 1, "versions": {"rl_tracking": rl_tracking.__version__}}


class Pretended:
    """Writes results that depend on the learning rate alone, best at 1e-3, instead of training."""

    def __init__(self, folder):
        self.folder = folder

    def run(self, jobs):
        for cell in jobs:
            yield Started(cell)
            rate = cell.settings.arguments["learning_rate"]
            if rate > 3e-2:
                yield Failed(cell, "diverged", "")
                continue
            end = 1 - abs(math.log10(rate) + 3) / 4 + cell.seed % 2 / 100
            about = {"task": cell.task.name, "variant": cell.variant, "seed": cell.seed, "updates": {}, **MADE_BY}
            about |= {"simulator_steps": 0, "seconds": 0.0, "digest": cell.digest}
            lines = [
                {"macro_steps": steps, "metrics": {"time_in_radius": score}, **about}
                for steps, score in ((0, 0.0), (128, end), (256, end))
            ]
            cell.results(self.folder).parent.mkdir(parents=True, exist_ok=True)
            cell.results(self.folder).write_text("\n".join(map(json.dumps, lines)))
            yield Finished(cell)


@pytest.fixture
def search(tiny, tmp_path):
    """Searches without training; returns what was found and the settings of the cells that began, in their order."""

    def search(*changes, folder="out", stop_after=None, backend=Pretended, **options):
        began = []

        def listen(event):
            if isinstance(event, Started):
                arguments = event.job.settings.arguments
                began.append((str(event.job), arguments["learning_rate"], arguments["n_epochs"]))
            if len(began) == stop_after and isinstance(event, Finished):
                raise KeyboardInterrupt

        study = tiny(SEARCHED, *changes)
        return tuning.tune(study, tmp_path / folder, backend, on_event=listen, **options), began

    return search


def test_every_variant_has_as_many_trials_of_its_seeds(search):
    found, began = search()
    assert [(best.task, best.variant, best.trials) for best in found] == [("near", "hybrid", 6), ("near", "ppo", 6)]
    assert [name for name, *_ in began[:4]] == [
        "near/hybrid/seed-1000",
        "near/hybrid/seed-1001",
        "near/ppo/seed-1000",
        "near/ppo/seed-1001",
    ]
    assert len(began) == 6 * 2 * 2
    # The shared part of the space is tried alike before anything is learned from it.
    assert began[0][1:] == began[1][1:] == began[2][1:] == began[3][1:]
    assert set(found[0].settings) == {"learning_rate", "n_epochs", "baseline"}
    assert set(found[1].settings) == {"learning_rate", "n_epochs"}


def test_the_first_trial_has_the_variants_own_settings(search):
    _, began = search(("n_epochs = { low = 1", "n_epochs = { choices = [1, 3, 5, 7, 9] } #"), trials=1)
    assert {epochs for _, _, epochs in began} == {1}
    assert all(1e-5 <= rate <= 1e-1 for _, rate, _ in began), "a schedule is not in the space, so it is drawn"
    _, began = search(("n_epochs = { low = 1", "n_epochs = { low = 2"), trials=1, folder="other")
    assert all(2 <= epochs <= 9 for _, _, epochs in began)


SMALL = (
    ("learning_rate = { low = 1e-5, high = 1e-1, log = true }", "learning_rate = { choices = [1e-4, 1e-3] }"),
    ("n_epochs = { low = 1, high = 9 }", "n_epochs = { choices = [1, 2, 3] }"),
)


def test_no_settings_are_tried_twice_and_more_trials_than_settings_are_refused(search):
    _, began = search(*SMALL, only="near/ppo", trials=6)
    assert len(began) == 12, "of two seeds each"
    assert len({(rate, epochs) for _, rate, epochs in began}) == 6
    with pytest.raises(UsageError, match="near/ppo: the space holds only 6 settings to try; ask for 6 trials or fewer"):
        search(*SMALL, only="near/ppo", trials=7)


def test_the_best_is_the_highest_mean_over_seeds(search):
    (found,), began = search(only="near/ppo")
    rates = [rate for name, rate, _ in began if name == "near/ppo/seed-1000"]
    values = {rate: 1 - abs(math.log10(rate) + 3) / 4 + 0.005 for rate in rates if rate <= 3e-2}
    best = max(values, key=values.get)
    assert found.settings["learning_rate"] == best
    assert found.value == pytest.approx(values[best] * 0.75)  # the curve rises over the first half
    assert found.failed == len(rates) - len(values)


def test_the_last_score_as_objective_and_the_range_as_unit(search):
    (area,), (final,) = (
        search(*changes, folder=name, only="near/ppo")[0]
        for name, changes in (
            ("area", ()),
            ("final", (("seeds = 2\n[tune.space]", 'seeds = 2\nobjective = "final"\n[tune.space]'),)),
        )
    )
    assert final.value == pytest.approx(area.value / 0.75)
    changed = ("threshold = 0.5", "threshold = 0.5\nrange = [-1.0, 1.0]")
    ((wide,), _) = search(changed, folder="wide", only="near/ppo")
    assert wide.value == pytest.approx((area.value + 1) / 2)


def test_a_search_learns(search):
    (found,), _ = search(trials=30, only="near/ppo")
    assert abs(math.log10(found.settings["learning_rate"]) + 3) < 0.1


def test_a_stopped_and_continued_search_equals_one_that_was_not_stopped(search):
    found, began = search(folder="whole")
    with pytest.raises(KeyboardInterrupt):
        search(folder="parts", stop_after=7)  # in the second round, before all of its cells were done
    assert search(folder="parts", trials=3)[1] == began[7:12]
    again, rest = search(folder="parts")
    assert rest == began[12:]
    assert again == found
    assert search(folder="parts") == (found, [])
    assert search(folder="other", seed=1)[1] != began


def test_the_best_can_be_put_into_the_study(search, tiny, tmp_path):
    found, _ = search()
    text = (tmp_path / "out/best.toml").read_text()
    assert "# ppo on near: area 0." in text
    study = tiny(SEARCHED)
    start, end = study.text.index("[[variants]]"), study.text.index("[tune]")
    better = reading.parse(study.text[:start] + text + study.text[end:], "better")
    for cell, best, before in zip(cells_of(better), found, cells_of(study), strict=False):
        assert {key: cell.settings.arguments[key] for key in best.settings} == best.settings
        assert cell.settings.num_envs == before.settings.num_envs


@pytest.mark.parametrize(
    ("change", "hint"),
    [
        (("high = 1e-1", "high = 1e-2"), "holds a search of near/hybrid with other settings, seed or space"),
        (("macro_steps = 256", "macro_steps = 128"), "holds a search of near/hybrid with other settings"),
    ],
)
def test_another_search_in_the_folder_is_refused(search, change, hint):
    search(trials=1)
    with pytest.raises(UsageError, match=hint):
        search(change, trials=1)


@pytest.mark.parametrize(
    ("change", "hint"),
    [
        (("n_epochs = { low", "n_epocs = { low"), "no variant of it has a setting n_epocs"),
        (("low = 1, high = 9", "low = 0, high = 9"), "n_epochs must be a whole number of 1 or more, not 0"),
        (('"group-mean"', '"mean"'), "variant 'hybrid' on task 'near': unknown baseline"),
    ],
)
def test_a_space_that_an_algorithm_refuses_is_refused_before_anything_runs(search, tmp_path, change, hint):
    with pytest.raises(UsageError, match=hint):
        search(change)
    assert not (tmp_path / "out").exists()


def test_a_study_without_a_search_and_a_folder_of_something_else_are_refused(tiny, search, tmp_path):
    with pytest.raises(UsageError, match=r"asks for no search; add \[tune\]"):
        tuning.tune(tiny(), tmp_path / "out", Pretended)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/thesis.tex").write_text("mine")
    with pytest.raises(UsageError, match="is not empty and holds no search"):
        search()


def test_without_optuna_the_extra_is_named(search, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UsageError, match=r'needs the extra .tune.: pip install "rl-tracking\[tune\]"'):
        search()


def test_trials_are_trained(search, tmp_path):
    found, began = search(trials=1, backend=lambda folder: LocalBackend(folder, 2))
    assert len(began) == 4
    assert all(0 <= best.value <= 1 and best.failed == 0 for best in found)
    assert len(list((tmp_path / "out/trials/0000").rglob("*.jsonl"))) == 4


@pytest.mark.filterwarnings("ignore::rl_tracking.errors.SettingWarning")  # a choice may be larger than a rollout
@pytest.mark.parametrize("on", ["one task", pytest.param("every task", marks=pytest.mark.slow)])
def test_every_shipped_search_is_sound(on):
    studies = [reading.parse(path.read_text(), name) for name, path in reading.shipped().items()]
    asked = [study for study in studies if study.tune is not None]
    assert asked
    for study in asked:
        met = set()
        for found in searches(study):
            if on == "every task" or found.variant.name not in met:
                found.check(found.tuning.trials)
            met.add(found.variant.name)
