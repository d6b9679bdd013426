"""Recipes: for a task and an algorithm, the arguments that were found to train well, kept as TOML files.

A recipe is found by its name through :mod:`rl_tracking.plugins`; each names a folder with one file an algorithm. The
constructors here, ``rltrack train`` and the studies take their defaults from the same files.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

import gymnasium as gym
from gymnasium import spaces
from msgspec import Struct, field

from rl_tracking import plugins, schema, toml_files
from rl_tracking.agents.arguments import ALGORITHMS, settable
from rl_tracking.errors import UsageError, unknown
from rl_tracking.schema import Count, Owner, about

EPISODE = "episode"  # in place of a number of steps: the time limit of an episode
LONGEST_ROLLOUT = 2048  # where there is no time limit, or one that no rollout could reach


class Recipe(Struct, frozen=True, kw_only=True):
    """A recipe file, in the form that ``rltrack train --config`` takes."""

    algo: Annotated[str, about("name of the algorithm")]
    scenario: Annotated[str, about("name of the scenario; empty for Gymnasium environments")] = ""
    steps: Annotated[Count, about("budget in macro-steps, all worlds together", unit="steps")]
    num_envs: Annotated[Count, about("worlds")]
    normalize: Annotated[
        bool | None,
        about(
            "normalise observations and rewards (VecNormalize) in a run; if not given, so are Gymnasium environments "
            "whose observations and actions are rows of numbers"
        ),
    ] = None
    parameters: Annotated[dict[str, Any], about("of the scenario")] = field(default_factory=dict)
    arguments: Annotated[dict[str, Any], about("of the algorithm's constructor")] = field(default_factory=dict)
    reward: Annotated[
        dict[str, dict[str, Any]], about("arguments that replace those above under the reward of that name")
    ] = field(default_factory=dict)

    def arguments_for(self, reward: str, max_steps: int | None, known: Collection[str]) -> dict[str, Any]:
        """The arguments for one task.

        Args:
            reward: name of the task's reward; empty where it has none.
            max_steps: time limit of the task's episodes; None without one.
            known: names of the algorithm's arguments; others are left out, since an algorithm that is derived from
                another one takes that one's recipe.
        """
        # Steps are of the task that a study used; an episode of another one may be shorter than the horizon.
        longest = self.rollout_of(max_steps)
        found = {**self.arguments, **self.reward.get(reward, {})}
        if "horizon" in found:
            found["horizon"] = min(found["horizon"], longest)
        return {name: longest if value == EPISODE else value for name, value in found.items() if name in known}

    @staticmethod
    def rollout_of(max_steps: int | None) -> int:
        """Steps of a rollout that holds an episode, 2048 at most."""
        return min(max_steps or LONGEST_ROLLOUT, LONGEST_ROLLOUT)


_WITHOUT = Recipe(algo="", steps=50_000, num_envs=8)


def find(
    name: str | None, scenario: Mapping[str, Any] | None, actions: gym.Space[Any], algos: Collection[str]
) -> Recipe:
    """The recipe of a name, or of a task: that of its scenario and preset, else that of its kind of actions.

    Args:
        name: of a recipe; None for the task's own.
        scenario: ``name`` and ``parameters``; None for a Gymnasium environment.
        actions: action space of one world.
        algos: names of the algorithm and of those that it is derived from; the first that has a recipe counts.

    Raises:
        UsageError: there is no such recipe, or it has none for this algorithm, or the file says what it must not.
    """
    # The most special recipe that has a file for the algorithm, or for one that it is derived from.
    for candidate in _names_for(scenario, actions) if name is None else [name]:
        folder = Path(plugins.resolve("recipe", candidate)) / candidate
        for algo in algos:
            if (folder / f"{algo}.toml").is_file():
                return _read(folder / f"{algo}.toml")
    if name is None:
        return _WITHOUT
    raise UsageError(f"recipe '{name}' has nothing for {next(iter(algos), 'this algorithm')}; it has {algos_in(name)}")


def algos_in(name: str) -> str:
    """The algorithms that a recipe has something for, in a line."""
    folder = Path(plugins.resolve("recipe", name)) / name
    return ", ".join(sorted(file.stem for file in folder.glob("*.toml")))


def _names_for(scenario: Mapping[str, Any] | None, actions: gym.Space[Any]) -> Iterator[str]:
    """Names of recipes for a task, the most special first; names without a recipe are left out."""
    if scenario is not None:
        preset = scenario["parameters"].get("preset")
        candidates = [f"{scenario['name']}-{preset}"] if preset else []
        known = plugins.names("recipe")
        yield from (candidate for candidate in [*candidates, scenario["name"]] if candidate in known)
    yield "gymnasium-box" if isinstance(actions, spaces.Box) else "gymnasium-discrete"


@lru_cache(maxsize=64)
def _read(file: Path) -> Recipe:
    what = f"recipe '{file}'"
    recipe = schema.read(Recipe, toml_files.parse(toml_files.read(file, what), what), Owner.table(what))
    if recipe.algo in ALGORITHMS:  # others may be derived from one of these, and take what they like
        known = settable(recipe.algo)
        for name in {**recipe.arguments, **{name: None for table in recipe.reward.values() for name in table}}:
            if name not in known:
                raise unknown(f"argument of {recipe.algo} in {what}:", name, known)
    return recipe
