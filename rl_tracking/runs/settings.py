"""A training run as one value: read from a TOML file and from ``key=value`` pairs, checked, written back."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import msgspec

from rl_tracking import named_code, plugins, schema
from rl_tracking.agents import arguments as declared
from rl_tracking.agents import constructor, recipes
from rl_tracking.agents.collect import checks
from rl_tracking.agents.recipes import EPISODE, Recipe
from rl_tracking.agents.saving.networks import policy_arguments
from rl_tracking.errors import SettingWarning, UsageError, unknown
from rl_tracking.runs import keys
from rl_tracking.runs.keys import (
    CODE,
    DEFAULT_ALGO,
    PLACES,
    TOP_LEVEL,
    RunSettings,
    check_argument,
    place_of,
    refuse_argument_of_others,
)
from rl_tracking.runs.tasks import Task, make_task, named_task
from rl_tracking.schema import Owner, about

_DEFAULT_PLACES = {"algo": DEFAULT_ALGO, "env": "", "recipe": ""}


class Settings(RunSettings, frozen=True, kw_only=True):
    """Everything a training run depends on."""

    parameters: Annotated[dict[str, Any], about("of the scenario, all of them; of an environment, those given")]
    arguments: Annotated[dict[str, Any], about("of the algorithm's constructor, policy arguments among them")]

    def task(self) -> Task:
        """What the run is on, made anew."""
        return make_task(self.scenario, self.env, self.parameters)

    def to_dict(self) -> dict[str, Any]:
        """As the TOML file that :func:`resolve` reads."""
        top = {name: getattr(self, name) for name in TOP_LEVEL if name != "recipe" or self.recipe}
        tables = {"parameters": self.parameters, "arguments": self.arguments}
        named = named_code.find_all({"env": self.env, **tables}, "setting", CODE)
        code = {item.name: item.sha256 for item in named if item.sha256}
        return {**top, **tables, **({"code": code} if code else {})}

    def constructor_arguments(self, remaining: Callable[[], float] | None = None) -> dict[str, Any]:
        """What the algorithm's constructor is called with: schedules made, policy arguments gathered.

        Args:
            remaining: share of the budget that is left, which schedules follow; that of SB3's macro-steps if not given.
        """
        arguments = {
            name: _schedule(value, remaining) if isinstance(value, str) and value.startswith("linear:") else value
            for name, value in self.arguments.items()
        }
        policy = {
            name: arguments.pop(name) for name in schema.fields(declared.network_of(self.algo)) if name in arguments
        }
        recipe = (
            {"recipe": self.recipe} if self.recipe and hasattr(plugins.resolve("algo", self.algo), "declared") else {}
        )
        return {**arguments, **recipe, "policy_kwargs": policy_arguments(policy, self.parameters) or None}


def _schedule(text: str, remaining: Callable[[], float] | None) -> Callable[[float], float]:
    """A schedule of the share of SB3's macro-steps that is left, or of another share."""
    line = constructor.linear(text)
    return line if remaining is None else lambda _: line(remaining())


def resolve(
    *,
    file: Path | None = None,
    given: dict[str, Any] | None = None,
    pairs: list[str] | None = None,
    values: dict[str, Any] | None = None,
    parameters: dict[str, Any] | None = None,
    trust: bool = False,
    otherwise: str = named_code.OTHERWISE,
) -> Settings:
    """Settings from, in rising order of authority: defaults, a TOML file, ``key=value`` pairs, given values.

    Args:
        file: TOML with the top-level keys of :class:`Settings` and the tables ``parameters`` and ``arguments``.
        given: top-level keys; None counts as not given. ``preset`` and ``reward`` go to the scenario.
        pairs: ``key=value``; the key may be top-level, the scenario's or the algorithm's; another is the
            environment's, if there is one.
        values: the same as ``pairs``, as values.
        parameters: of the scenario or the environment, over those of the file.
        trust: run code that the file names (``file.py:function``, ``package.module:function``, ``module:EnvId``);
            where its table ``code`` has a digest, that must be the code's.
        otherwise: what else can be done about such code, for the error.

    Raises:
        UsageError: an unknown key or name, a value of the wrong kind, or code that is not trusted.
    """
    given = {name: value for name, value in (given or {}).items() if value is not None}
    pairs_ = [*map(keys.parse_pair, pairs or []), *(values or {}).items()]
    # The file, and what may be run of the code that it names.
    content: dict[str, Any] = {}
    if file is not None:
        content = keys.read_file(file)
        over = [given, parameters or {}, dict(pairs_)]
        keys.refuse_code(file, content, over, trust=trust, otherwise=otherwise)
    tables = _Tables(content.pop("parameters", {}), content.pop("arguments", {}), content.pop("reward", {}), content)
    tables.parameters |= parameters or {}
    # The names that decide which other keys there are; then all other keys, each in its table.
    of_scenario: dict[str, Any] = {name: given.pop(name) for name in ("preset", "reward") if name in given}
    tables.top |= {name: value for name, value in given.items() if name in PLACES}
    algo, env, recipe = (tables.top.get(name, default) for name, default in _DEFAULT_PLACES.items())
    named = named_task(tables.top.get("scenario"), env, of_scenario)
    preset = tables.parameters.get("preset") if set(tables.parameters) - {"preset", "reward"} else None
    tables.put(pairs_, algo, named)
    tables.top |= given
    tables.parameters |= of_scenario
    if named.known_parameters is not None and preset is not None and tables.parameters["preset"] != preset:
        raise UsageError(
            f"config file '{file}' sets the parameters of preset '{preset}', which preset "
            f"'{tables.parameters['preset']}' would keep; leave out --config, or change the file"
        )
    # What was not given, from the recipe of the task.
    task = make_task(**named.names, parameters=tables.parameters)
    return _completed(task, algo, recipe, tables)


class _Tables:
    """What was given for a run, by where it belongs.

    Attributes:
        parameters: of the task.
        arguments: of the algorithm.
        by_reward: arguments under the reward of a name.
        top: of the run.
    """

    def __init__(
        self,
        parameters: dict[str, Any],
        arguments: dict[str, Any],
        by_reward: dict[str, dict[str, Any]],
        top: dict[str, Any],
    ) -> None:
        self.parameters, self.arguments = dict(parameters), dict(arguments)
        self.by_reward, self.top = by_reward, dict(top)

    def put(self, pairs: list[tuple[str, Any]], algo: str, task: Task) -> None:
        """Put each key with its value where it belongs.

        Raises:
            UsageError: a key that belongs nowhere.
        """
        known = declared.settable(algo)
        for key, value in pairs:
            place: dict[str, Any] = getattr(self, place_of(key, algo, task.known_parameters, known))
            place[key] = value


def _completed(task: Task, algo: str, recipe: str, tables: _Tables) -> Settings:
    """The settings with what was not given from the recipe of the task, all of them checked.

    Raises:
        UsageError: an unknown argument, or a value that cannot be.
    """
    known = declared.settable(algo)
    given = tables.arguments | tables.by_reward.get(str(task.parameters.get("reward", "")), {})
    if given.get("n_steps") == EPISODE:
        given["n_steps"] = Recipe.rollout_of(task.max_steps)
    for key in given:
        if key not in known:
            refuse_argument_of_others(algo, key)
            raise unknown(f"argument of {algo}:", key, known)
    base = recipe_of(task, algo, recipe or None)
    normalize = task.normalize if base.normalize is None else base.normalize
    defaults = {"steps": base.steps, "num_envs": base.num_envs, "normalize": normalize}
    top = schema.check(RunSettings, {**defaults, **tables.top, "algo": algo, **task.names}, Owner())
    arguments = {name: check_argument(known[name], value) for name, value in {**base.arguments, **given}.items()}
    settings = Settings(**top, parameters=task.parameters, arguments=arguments)
    settings.constructor_arguments()
    check = _check_replay if declared.is_off_policy(algo) else _check_rollout
    check(settings, checks.numbers_of(task.observation_space, task.action_space), given)
    _check_threads(settings)
    return settings


def recipe_of(task: Task, algo: str, name: str | None = None) -> Recipe:
    """The recipe of an algorithm on a task, with the arguments for its reward and for episodes of its length.

    Args:
        task: to train on.
        algo: name of the algorithm.
        name: of the recipe; None for the task's own.

    Raises:
        UsageError: there is no such recipe, or it has none for this algorithm.
    """
    known = declared.settable(algo)
    algos = [algo] if algo in declared.ALGORITHMS else [algo, *declared.algos_of(plugins.resolve("algo", algo))]
    found = recipes.find(name, task.describe()["scenario"], task.action_space, algos)
    arguments = found.arguments_for(str(task.parameters.get("reward", "")), task.max_steps, known)
    return msgspec.structs.replace(found, arguments=arguments)


def _check_rollout(settings: Settings, numbers: int, given: dict[str, Any]) -> None:
    """Refuse a rollout too large for memory; warn of arguments that were ``given`` and cannot do what they say."""
    checks.check_memory(settings.arguments, settings.num_envs, numbers)
    count, batch = checks.rollout_samples(settings.arguments, settings.num_envs), given.get("batch_size") or 0
    if batch > count > 0:
        warnings.warn(
            f"batch_size {batch:,} is more than the {count:,} samples of a rollout: each epoch is one update of all",
            SettingWarning,
            stacklevel=4,
        )


def _check_replay(settings: Settings, numbers: int, given: dict[str, Any]) -> None:
    """Refuse a replay buffer too large for memory; warn of a training that ends before its first update."""
    checks.check_replay_memory(settings.arguments, numbers)
    starts = settings.arguments.get("learning_starts", 0)
    if "learning_starts" in given and starts >= settings.steps:
        warnings.warn(
            f"learning_starts {starts:,} are all of the {settings.steps:,} steps, so nothing is learned",
            SettingWarning,
            stacklevel=4,
        )


def _check_threads(settings: Settings) -> None:
    """Warn of more threads than cores."""
    cores = os.cpu_count() or 1
    if settings.threads > cores:
        warnings.warn(f"threads {settings.threads} are more than the {cores} cores here", SettingWarning, stacklevel=3)
