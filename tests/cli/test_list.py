"""``rltrack list``."""

import json
from pathlib import Path

import pytest

from rl_tracking import plugins
from rl_tracking.agents.arguments import settable
from rl_tracking.runs import settings_list
from rl_tracking.runs.keys import TOP_LEVEL
from rl_tracking.runs.settings import resolve
from rl_tracking.studies.config.study import StudyFile

NAMES = {
    "scenarios": ["pursuit", "track2d"],
    "algos": ["hybrid-grpo", "ppo"],
    "rewards": ["basic", "catch", "complex", "nearer", "progress", "sparse", "tracking"],
    "activations": ["clip", "identity", "sigmoid", "symlog", "tanh", "tanh-z-score", "z-score"],
    "motions": "circle cube evader jink lissajous random random-walk square stationary track waypoints weave".split(),
    "controllers": ["hover", "lead-pursuit", "mppi", "mppi-clairvoyant", "pronav", "pure-pursuit", "random"],
}


@pytest.mark.parametrize("kind", NAMES)
def test_every_kind(rltrack, kind):
    ended = rltrack("list", kind)
    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.splitlines()
    for name in NAMES[kind]:
        (line,) = [line for line in lines if line.startswith(f"{name} ")]
        assert "built-in" in line


def test_every_name_comes_with_a_line_that_says_what_it_is():
    for kind in (kind.removesuffix("s") for kind in NAMES):
        for name in plugins.names(kind):
            assert plugins.summary(kind, name), f"{kind} {name}"


def test_options_of_a_controller_are_listed_with_their_defaults(rltrack):
    rows = {row["name"]: row["what"] for row in json.loads(rltrack("list", "controllers", "--json").out)}
    assert rows["pronav"].endswith("; pronav:navigation_constant=3")
    assert ":" not in rows["hover"]


def test_text_in_brackets_is_not_taken_for_markup(rltrack, monkeypatch):
    monkeypatch.setattr(plugins, "summary", lambda kind, name: "one number a world [B] [/b]")
    ended = rltrack("list", "scenarios")
    assert ended.code == 0
    assert "one number a world [B] [/b]" in ended.out


@pytest.mark.parametrize(
    ("kind", "hint"),
    [("reward", "did you mean 'rewards'?"), ("algo", "did you mean 'algos'?"), ("xyz", "known: activations, algos")],
)
def test_an_unknown_kind_is_refused(refused, kind, hint):
    assert hint in refused("list", kind)


# -- settings ---------------------------------------------------------------------------------------------------------


def settings(rltrack, *arguments):
    ended = rltrack("list", "settings", "--json", *arguments)
    assert (ended.code, ended.err) == (0, "")
    return {row["name"]: row for row in json.loads(ended.out)}


def test_every_setting_is_listed_with_kind_bounds_default_and_what_it_does(rltrack):
    found = settings(rltrack, "--algo", "hybrid-grpo", "--preset", "sandbox")
    assert all(row["description"] and row["kind"] for row in found.values())
    assert found["gamma"] == {
        "group": "algorithm",
        "name": "gamma",
        "kind": "a number from 0 to 1",
        "bounds": "0 to 1",
        "unit": "",
        "default": 0.9,
        "description": "discount of a step",
        "required": False,
    }
    assert (found["arena_size"]["unit"], found["arena_size"]["default"]) == ("m", 500.0)
    assert (found["max_grad_norm"]["default"], found["branch_noise"]["default"]) == (0.5, "common")
    resolved = resolve(given={"preset": "sandbox"})
    assert set(found) == {*TOP_LEVEL, *resolved.parameters, *settable("hybrid-grpo")}


@pytest.mark.parametrize("algo", ["grpo", "ppo", "reinforce", "trpo"])
def test_the_settings_of_an_algorithm_in_a_gymnasium_environment_are_those_that_it_takes(rltrack, algo):
    found = settings(rltrack, "--algo", algo, "--env", "CartPole-v1")
    assert set(found) == {*TOP_LEVEL, *settable(algo)}
    assert found["num_envs"]["default"] == 8
    for name, value in resolve(given={"algo": algo, "env": "CartPole-v1"}).arguments.items():
        assert found[name]["default"] == value


@pytest.mark.parametrize("algo", ["sac", "tqc", "crossq"])
def test_the_settings_of_an_off_policy_algorithm_are_those_that_it_takes(rltrack, algo):
    found = settings(rltrack, "--algo", algo, "--env", "Pendulum-v1")
    assert set(found) == {*TOP_LEVEL, *settable(algo)}
    assert {"buffer_size", "train_freq", "n_critics"} <= set(found)


def test_the_table_of_settings_fits_into_80_columns(rltrack, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    ended = rltrack("list", "settings", "--algo", "ppo")
    assert ended.code == 0
    assert max(map(len, ended.out.splitlines())) <= 80
    for name in ("num_envs", "wind_speed", "clip_range_vf", "features_extractor_kwargs"):
        assert sum(line.startswith(f"{name} ") for line in ended.out.splitlines()) == 1


def test_the_keys_of_study_files_are_listed_by_table(rltrack, refused):
    ended = rltrack("list", "settings", "--study", "--json")
    assert (ended.code, ended.err) == (0, "")
    found = {(row["group"], row["name"]): row for row in json.loads(ended.out)}
    assert all(row["description"] and row["kind"] for row in found.values())
    assert {group for group, _ in found} == {
        "",
        "[budget]",
        "[evaluation]",
        "[[tasks]]",
        "[[variants]]",
        "[[claims]]",
        "[tune]",
        "[tune.space.NAME]",
        "[gradients]",
        "[[gradients.estimators]]",
        "[[gradients.ratios]]",
    }
    points = found["[evaluation]", "points"]
    assert (points["default"], points["kind"], points["required"]) == (20, "a whole number of 1 or more", False)
    assert found["[[claims]]", "than"]["required"]
    shown = rltrack("list", "settings", "--study").out
    assert "[[gradients.ratios]]" in shown and "required" in shown
    assert "--algo is for the settings of a run" in refused("list", "settings", "--study", "--algo", "ppo")


def test_options_that_are_for_settings_are_refused_elsewhere(refused):
    assert "--algo is for `rltrack list settings`; leave it out" in refused("list", "motions", "--algo", "ppo")


def test_recipes_are_listed_with_their_algorithms(rltrack):
    (line,) = [line for line in rltrack("list", "recipes").out.splitlines() if line.startswith("paper ")]
    assert "grpo, hybrid-grpo, ppo" in line


def test_the_page_of_settings_is_up_to_date():
    """``rltrack list settings --page > docs/settings.md`` makes it."""
    page = Path(__file__).parents[2] / "docs" / "settings.md"
    assert page.read_text(encoding="utf-8") == settings_list.page({"Study files": StudyFile})
