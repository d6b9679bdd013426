"""A training run as one value: read from a TOML file and from ``key=value`` pairs, checked, written back."""

from __future__ import annotations

import dataclasses
import math
import os
import warnings
from pathlib import Path
from typing import Any

from stable_baselines3.common.utils import LinearSchedule

from rl_tracking import limits, named_code
from rl_tracking.agents.collect import rollout_size as sizes
from rl_tracking.agents.saving.networks import policy_arguments
from rl_tracking.envs.vec_env import make_scenario
from rl_tracking.errors import SettingWarning, UsageError, unknown
from rl_tracking.runs import config_file
from rl_tracking.runs.config_file import CODE, PLACES, TOP_LEVEL
from rl_tracking.runs.defaults import POLICY_ARGUMENTS, arguments_of
from rl_tracking.runs.tasks import Task, make_task
from rl_tracking.runs.tasks.finding import refuse_both

_SCHEDULED = ("learning_rate", "clip_range", "clip_range_vf")
_FLAGS = ("normalize_advantage", "ortho_init", "use_sde", "scale_by_std")
# Kind and bounds of arguments that SB3 takes unseen and stumbles over later, or never.
_NUMBERS: dict[str, tuple[type, float, float]] = {
    **dict.fromkeys(("n_steps", "batch_size", "n_epochs"), (int, 1, math.inf)),
    **dict.fromkeys(("gamma", "gae_lambda"), (float, 0, 1)),
    **dict.fromkeys((*_SCHEDULED, "vf_coef", "max_grad_norm", "target_kl", "kl_coef"), (float, 0, math.inf)),
    **dict.fromkeys(("temperature_learning_rate", "guidance_beta"), (float, 0, math.inf)),
    **dict.fromkeys(("reward_window", "n_candidates"), (int, 0, math.inf)),
    "target_entropy": (float, -math.inf, math.inf),
    **dict.fromkeys(("ent_coef", "log_std_init", "reward_scale"), (float, -math.inf, math.inf)),
}
# Numbers that may be words instead, which the algorithm checks.
_OR_WORDS = ("ent_coef", "target_entropy")
# What an algorithm may be asked for and lack: the extension behind each argument.
_EXTENSIONS = {
    "target_entropy": "adaptive temperature",
    "temperature_learning_rate": "adaptive temperature",
    "reward_window": "rolling reward window",
    "n_candidates": "guided sampling",
    "guidance_beta": "guided sampling",
    "horizon": "horizon",
    "n_samples": "groups of samples",
}


_MOST = {"steps": 10**12, "num_envs": 10**9, "threads": 1024}


@dataclasses.dataclass(frozen=True)
class Settings:
    """Everything a training run depends on.

    Attributes:
        algo: name of the algorithm.
        scenario: name of the scenario; empty where ``env`` is given.
        env: id of a Gymnasium environment; empty where a scenario is.
        steps: budget in macro-steps (decisions of all worlds together).
        num_envs: worlds.
        seed: of networks, sampling and worlds.
        normalize: put a ``VecNormalize`` around the worlds.
        device: where worlds and networks live.
        threads: of torch on the CPU; small networks gain nothing from a second one.
        parameters: of the scenario, all of them; of the environment, those that were given.
        arguments: of the algorithm's constructor, policy arguments among them.
    """

    algo: str
    scenario: str
    env: str
    steps: int
    num_envs: int
    seed: int
    normalize: bool
    device: str
    threads: int
    parameters: dict[str, Any]
    arguments: dict[str, Any]

    def task(self) -> Task:
        """What the run is on, made anew."""
        return make_task(self.scenario, self.env, self.parameters)

    def to_dict(self) -> dict[str, Any]:
        """As the TOML file that :func:`resolve` reads."""
        top = {name: getattr(self, name) for name in TOP_LEVEL}
        tables = {"parameters": self.parameters, "arguments": self.arguments}
        named = named_code.find_all({"env": self.env, **tables}, "setting", CODE)
        code = {item.name: item.sha256 for item in named if item.sha256}
        return {**top, **tables, **({"code": code} if code else {})}

    def constructor_arguments(self) -> dict[str, Any]:
        """What the algorithm's constructor is called with: schedules made, policy arguments gathered."""
        arguments = dict(self.arguments)
        policy = {name: arguments.pop(name) for name in POLICY_ARGUMENTS if name in arguments}
        for name in _SCHEDULED:
            if isinstance(arguments.get(name), str):
                arguments[name] = _schedule(name, arguments[name])
        return {**arguments, "policy_kwargs": policy_arguments(policy, self.parameters) or None}


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
    content = config_file.read(file) if file is not None else {}
    if file is not None:
        said = {name: value for name, value in (given or {}).items() if value is not None}
        over = [said, parameters or {}, dict(map(config_file.parse_pair, pairs or [])), values or {}]
        config_file.refuse_code(file, content, over, trust=trust, otherwise=otherwise)
    parameters = {**content.pop("parameters", {}), **(parameters or {})}
    arguments = dict(content.pop("arguments", {}))
    top = {**content}
    given = {name: value for name, value in (given or {}).items() if value is not None}
    of_scenario: dict[str, Any] = {name: given.pop(name) for name in ("preset", "reward") if name in given}
    top |= {name: value for name, value in given.items() if name in PLACES}
    algo, env = top.get("algo", "hybrid-grpo"), top.get("env", "")
    if env:
        refuse_both(env, {"scenario": top.get("scenario"), **of_scenario})
    scenario = "" if env else top.get("scenario") or "pursuit"
    known_arguments = arguments_of(algo)
    known_parameters = None if env else list(make_scenario(scenario).parameters)
    of_file = parameters.get("preset") if set(parameters) - {"preset", "reward"} else None
    for key, value in [*map(config_file.parse_pair, pairs or []), *(values or {}).items()]:
        _refuse_extension(algo, key, value, known_arguments)
        place = _place_of(key, known_parameters, known_arguments)
        {"top": top, "parameters": parameters, "arguments": arguments}[place][key] = value
    top |= given
    parameters |= of_scenario
    if not env and of_file is not None and parameters["preset"] != of_file:
        raise UsageError(
            f"config file '{file}' sets the parameters of preset '{of_file}', which preset "
            f"'{parameters['preset']}' would keep; leave out --config, or change the file"
        )
    for key, value in arguments.items():
        _refuse_extension(algo, key, value, known_arguments)
        if key not in known_arguments:
            raise unknown(f"argument of {algo}:", key, known_arguments)
    task = make_task(scenario, env, parameters)
    base = task.recipe(algo)
    top = {
        "steps": base.steps,
        "num_envs": base.num_envs,
        "seed": 0,
        "normalize": task.normalize,
        "device": "cpu",
        "threads": 1,
        **top,
        "algo": algo,
        "scenario": scenario,
        "env": env,
    }
    _check_top(top)
    settings = Settings(**top, parameters=task.parameters, arguments={**base.arguments, **arguments})
    for name, value in settings.arguments.items():
        _check_argument(name, value)
    settings.constructor_arguments()
    _check_sizes(settings, sizes.numbers_of(task.observation_space, task.action_space), arguments)
    return settings


def _place_of(key: str, parameters: list[str] | None, arguments: list[str]) -> str:
    """Where a key belongs; an environment's ``parameters`` are not known beforehand."""
    top = [name for name in TOP_LEVEL if name not in PLACES]
    if key in top:
        return "top"
    if parameters is not None and key in parameters:
        return "parameters"
    if key in arguments:
        return "arguments"
    if parameters is None:
        return "parameters"
    raise unknown("option", key, [*top, *parameters, *arguments])


def _refuse_extension(algo: str, key: str, value: Any, arguments: list[str]) -> None:
    """Say of an extension's argument that the algorithm lacks the extension, and which one has it.

    Raises:
        UsageError: it does.
    """
    adaptive = key == "ent_coef" and isinstance(value, str) and "target_entropy" not in arguments
    if adaptive or (key in _EXTENSIONS and key not in arguments):
        extension = "adaptive temperature" if adaptive else _EXTENSIONS[key]
        raise UsageError(f"{algo} has no {extension} ({key}); use --algo hybrid-grpo, or leave {key} out")


def _check_top(values: dict[str, Any]) -> None:
    words = {int: "a whole number", str: "a name", bool: "true or false"}
    for name, kind in TOP_LEVEL.items():
        if type(values[name]) is not kind:
            raise UsageError(f"{name} must be {words[kind]}, not {values[name]!r}")
    for name, most in _MOST.items():
        limits.check_count(name, values[name], 1, most)
    limits.check_seed(values["seed"])


def _check_sizes(settings: Settings, numbers: int, given: dict[str, Any]) -> None:
    """Refuse a rollout too large for memory; warn of arguments that were ``given`` and cannot do what they say."""
    sizes.check_memory(settings.arguments, settings.num_envs, numbers)
    count, batch = sizes.samples(settings.arguments, settings.num_envs), given.get("batch_size") or 0
    if batch > count > 0:
        warnings.warn(
            f"batch_size {batch:,} is more than the {count:,} samples of a rollout: each epoch is one update of all",
            SettingWarning,
            stacklevel=3,
        )
    cores = os.cpu_count() or 1
    if settings.threads > cores:
        warnings.warn(f"threads {settings.threads} are more than the {cores} cores here", SettingWarning, stacklevel=3)


def _check_argument(name: str, value: Any) -> None:
    if name in _FLAGS and type(value) is not bool:
        raise UsageError(f"{name} must be true or false, not {value!r}")
    if name not in _NUMBERS or (name in (*_SCHEDULED, *_OR_WORDS) and isinstance(value, str)):
        return
    kind, low, high = _NUMBERS[name]
    if isinstance(value, bool) or not isinstance(value, int if kind is int else int | float):
        raise UsageError(f"{name} must be {'a whole number' if kind is int else 'a number'}, not {value!r}")
    if not (math.isfinite(value) and low <= value <= high):
        bounds = (
            f"{low:g} to {high:g}" if math.isfinite(high) else f"{low:g} or more" if math.isfinite(low) else "finite"
        )
        raise UsageError(f"{name} must be {bounds}, not {value}")


def _schedule(name: str, text: str) -> LinearSchedule:
    parts = text.split(":")
    try:
        if parts[0] != "linear" or len(parts) not in (2, 3):
            raise ValueError
        return LinearSchedule(float(parts[1]), float(parts[2]) if len(parts) == 3 else 0.0, 1.0)
    except ValueError:
        raise UsageError(f"{name} must be a number or 'linear:START' or 'linear:START:END', not '{text}'") from None
