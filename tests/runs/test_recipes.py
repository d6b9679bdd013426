"""Recipes: every algorithm trains as it did when its defaults were tables in code, and the files say what they must."""

import json
import tomllib
import warnings
from pathlib import Path

import pytest

from rl_tracking import plugins
from rl_tracking.agents import recipes
from rl_tracking.agents.arguments import ALGORITHMS, is_off_policy, settable
from rl_tracking.errors import SettingWarning, UsageError
from rl_tracking.runs.build import build
from rl_tracking.runs.settings import recipe_of, resolve
from rl_tracking.runs.tasks import make_task

FILES = sorted((Path(recipes.__file__).parents[1] / "runs" / "recipes").glob("*/*.toml"))
# What `resolve` gave before, for every algorithm: "PRESET REWARD" and "PRESET short" (6 steps) of pursuit, or an id and
# the greatest number of steps of a Gymnasium environment.
BEFORE = [
    (row["algo"], where, {name: row[name] for name in ("steps", "num_envs", "normalize", "arguments")})
    for row in json.loads((Path(__file__).parent / "resolved_before_recipes.json").read_text())
    for where in row["where"]
]


@pytest.mark.parametrize(("algo", "where", "before"), BEFORE, ids=[f"{algo} {where}" for algo, where, _ in BEFORE])
def test_settings_resolve_to_what_they_were(algo, where, before):
    first, *more = where.split()
    if first in ("drone", "sandbox"):
        short = more == ["short"]
        given = {"algo": algo, "preset": first, "reward": None if short else more[0]}
        settings = resolve(given=given, pairs=["max_steps=6"] if short else [])
    else:
        parameters = {"max_episode_steps": int(more[0])} if more else {}
        settings = resolve(given={"algo": algo, "env": first}, parameters=parameters)
    assert {name: getattr(settings, name) for name in before} == before


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_a_recipe_is_a_config_file_of_its_own_task_and_names_its_study(file):
    name, algo = file.parent.name, file.stem
    lines = file.read_text().splitlines()
    assert lines[0].startswith("# ")
    content = tomllib.loads("\n".join(lines))
    assert content["algo"] == algo
    assert set(content["arguments"]) <= set(settable(algo))
    for study in {word for word in " ".join(lines).split() if word.startswith("studies/claims/")}:
        assert (Path(recipes.__file__).parents[1] / study.strip("().,;")).is_file(), study
    env = {"gymnasium-box": "Pendulum-v1", "gymnasium-discrete": "CartPole-v1"}.get(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SettingWarning)  # TRPO's critic sees the whole rollout of the sandbox at once
        settings = resolve(file=file, given={"env": env})
    if name not in ("paper", "pathwise"):  # which are found by their names alone
        of_task = {"algo": algo, "env": env, "scenario": content.get("scenario")}
        assert settings == resolve(given=of_task, parameters=content.get("parameters"))
    if is_off_policy(algo):
        assert settings.steps > 4 * settings.arguments["learning_starts"]
        assert settings.arguments["buffer_size"] >= settings.steps
        return
    samples = settings.arguments["n_samples"] if settings.arguments.get("horizon", 1) > 1 else 1
    rollout = samples * settings.num_envs * settings.arguments["n_steps"]
    assert rollout % min(rollout, settings.arguments.get("batch_size", 1)) == 0
    assert settings.steps > 4 * settings.num_envs * settings.arguments["n_steps"]


def test_every_algorithm_has_a_recipe_for_every_kind_of_task():
    found = {(file.parent.name, file.stem) for file in FILES}
    kinds = {"pursuit-drone", "pursuit-sandbox", "gymnasium-box", "gymnasium-discrete"}  # others may fall back on these
    takes = {(kind, algo) for kind in kinds for algo in ALGORITHMS if not is_off_policy(algo) or "discrete" not in kind}
    takes -= {("gymnasium-box", "shac"), ("gymnasium-discrete", "shac")}  # their worlds have no gradient
    assert found >= takes
    assert {name for name, _ in found} == set(plugins.names("recipe"))


def test_a_reward_that_reaches_2000_is_brought_to_the_size_of_tanh():
    for algo in ("hybrid-grpo", "grpo"):
        settings = resolve(given={"algo": algo, "preset": "sandbox"})
        assert settings.parameters["reward"] == "complex"
        assert 0.1 < 2000 * settings.arguments["reward_scale"] < 4


def test_the_paper_s_recipe_takes_the_place_of_the_task_s():
    settings = resolve(given={"recipe": "paper"}, pairs=["num_envs=2"])
    assert (settings.recipe, settings.arguments["advantage"], settings.arguments["horizon"]) == ("paper", "literal", 1)
    assert settings.arguments["critic_trust"] == "full"
    assert "reward_scale" not in settings.arguments
    model = build(settings)
    assert (model.advantage, model.horizon, model.critic_trust, model.clip_range(1.0)) == ("literal", 1, "full", 0.2)
    assert resolve(given={"recipe": "paper", "algo": "grpo"}).arguments["horizon"] == 1


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"recipe": "papre"}, "unknown recipe 'papre'; did you mean 'paper'?"),
        ({"recipe": "paper", "algo": "trpo"}, "recipe 'paper' has nothing for trpo; it has grpo, hybrid-grpo, ppo"),
    ],
)
def test_recipes_that_are_not_there_are_refused_in_one_line(given, text):
    with pytest.raises(UsageError) as caught:
        resolve(given=given)
    assert str(caught.value) == text


def test_a_recipe_file_that_says_what_it_must_not_is_refused(tmp_path, monkeypatch):
    (tmp_path / "paper").mkdir()
    (tmp_path / "paper" / "ppo.toml").write_text('algo = "ppo"\nsteps = 3\nnum_worlds = 4\n')
    monkeypatch.setattr(plugins, "resolve", lambda kind, name: tmp_path)
    task = make_task("", "CartPole-v1", {})
    with pytest.raises(UsageError, match=r"unknown key in recipe '.*ppo.toml': 'num_worlds'"):
        recipe_of(task, "ppo", "paper")


@pytest.mark.parametrize("table", ["arguments", "reward.sparse"])
def test_an_argument_that_its_algorithm_does_not_have_is_refused(table, tmp_path, monkeypatch):
    (tmp_path / "paper").mkdir()
    (tmp_path / "paper" / "ppo.toml").write_text(f'algo = "ppo"\nsteps = 3\nnum_envs = 4\n[{table}]\nbatchsize = 8\n')
    monkeypatch.setattr(plugins, "resolve", lambda kind, name: tmp_path)
    task = make_task("", "CartPole-v1", {})
    with pytest.raises(
        UsageError, match=r"argument of ppo in recipe '.*ppo.toml': 'batchsize'; did you mean 'batch_size'"
    ):
        recipe_of(task, "ppo", "paper")


def test_steps_of_an_episode_can_be_asked_for():
    assert resolve(pairs=["n_steps=episode", "max_steps=31"]).arguments["n_steps"] == 31


def test_a_reward_s_arguments_in_a_config_file_count_under_that_reward_alone(tmp_path):
    file = tmp_path / "c.toml"
    file.write_text("[arguments]\ngamma = 0.5\n[reward.sparse]\ngamma = 0.7\n")
    assert resolve(file=file).arguments["gamma"] == 0.5
    assert resolve(file=file, given={"reward": "sparse"}).arguments["gamma"] == 0.7
