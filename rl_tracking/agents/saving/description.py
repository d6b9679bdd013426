"""What a checkpoint says of a model: where and with which arguments it was trained, and with which versions."""

from __future__ import annotations

import inspect
import math
import platform
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.type_aliases import TrainFreq, TrainFrequencyUnit
from stable_baselines3.common.utils import ConstantSchedule, FloatSchedule, LinearSchedule

from rl_tracking import named_code, plugins
from rl_tracking.agents.saving import policy_spec
from rl_tracking.agents.saving.checkpoint_schema import SCHEMA
from rl_tracking.errors import UsageError

# Arguments of a constructor that SB3 keeps under another name.
_ATTRIBUTES = {"stats_window_size": "_stats_window_size"}
_ELSEWHERE = ("self", "args", "kwargs", "env", "_init_setup_model")  # the environment has an entry of its own


def describe(model: BaseAlgorithm, metrics: dict[str, Any] | None = None) -> dict[str, Any]:
    """The content of ``rltrack.json``, but for its list of members."""
    place = worlds_of(model)
    return {
        "format": "rl_tracking checkpoint",
        "schema": SCHEMA,
        "algorithm": type(model).__name__,
        "macro_steps": model.num_timesteps,
        "simulator_steps": getattr(model, "num_simulator_steps", model.num_timesteps),
        **place,
        "policy": policy_spec.describe(model.policy),
        "spaces": {name: _space(getattr(model, name)) for name in ("observation_space", "action_space")},
        "hyper_parameters": arguments_of(model),
        "plugins": _plugins(model, place),
        "metrics": metrics or {},
        "versions": versions(),
    }


def _space(space: spaces.Space[Any]) -> dict[str, Any] | None:
    try:
        return policy_spec.describe_space(space)
    except UsageError:  # of a kind that only a user's policy reads
        return None


def arguments_of(model: BaseAlgorithm) -> dict[str, Any]:
    """Every argument of the constructors of a model's class and of those it is made of, as JSON."""
    # From the class down to SB3's PPO or A2C, whose own bases take nothing that these do not pass on.
    names: dict[str, None] = {}
    for cls in type(model).__mro__:
        if cls.__name__ in ("OnPolicyAlgorithm", "OffPolicyAlgorithm"):
            break
        if "__init__" in vars(cls):
            names |= dict.fromkeys(inspect.signature(vars(cls)["__init__"]).parameters)
    missing = object()
    found = {name: getattr(model, _ATTRIBUTES.get(name, name), missing) for name in names if name not in _ELSEWHERE}
    found["policy"] = type(model.policy)
    return {name: _plain(value) for name, value in found.items() if value is not missing}


def _plain(value: Any) -> Any:
    """A value as JSON; what JSON cannot express becomes a text under the key ``unknown``."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | str):
        return value
    # JSON has no infinities; a reader makes a float of the text.
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {"number": str(float(value))}
    if isinstance(value, TrainFreq):
        return value.frequency if value.unit is TrainFrequencyUnit.STEP else [value.frequency, value.unit.value]
    if isinstance(value, FloatSchedule):
        return _plain(value.value_schedule)
    if isinstance(value, ConstantSchedule):
        return _plain(value.val)
    if isinstance(value, LinearSchedule):
        return {"schedule": "linear", **{name: _plain(item) for name, item in vars(value).items()}}
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    # By name: a reader looks the class up among those that it knows.
    if isinstance(value, type):
        return {"class": f"{value.__module__}.{value.__qualname__}"}
    return str(value) if isinstance(value, torch.device) else {"unknown": type(value).__name__}


def _plugins(model: BaseAlgorithm, place: dict[str, Any]) -> list[dict[str, Any]]:
    """Everything that was chosen by a name, with the version or the digest of its source."""
    scenario, env = place["scenario"], place["env"]
    used = [("scenario", scenario["name"])] if scenario else []
    parameters = scenario["parameters"] if scenario else {}
    used += [("reward", parameters["reward"])] if isinstance(parameters.get("reward"), str) else []
    if isinstance(parameters.get("motion"), str):  # with its options
        used.append(("motion", parameters["motion"].partition(":")[0]))
    activation = getattr(model, "reward_activation", None)
    if isinstance(activation, str):
        used.append(("activation", activation))
    found = [{"kind": kind, **plugins.origin(kind, name)} for kind, name in used]
    known = {plugin["name"] for plugin in found}
    # Code by file or module wherever it is named in the parameters: its digest is compared before it runs again.
    for code in named_code.find_all(parameters if env is None else env, "parameter", always=("id",)):
        if code.name not in known:
            known.add(code.name)
            found.append(code.to_dict())
    return found


def worlds_of(model: BaseAlgorithm) -> dict[str, Any]:
    """What a model's worlds are, by their own ``describe()``: ``scenario`` and ``env``, one of which or both are None.

    A ``VecEnv`` of Stable-Baselines3 has no such method; the adapters of Gymnasium environments then describe it.
    """
    # A model that was loaded without an env, and is saved again.
    if model.env is None:
        return {"scenario": None, "env": None}
    env = model.env.unwrapped
    describe_worlds: Any = getattr(env, "describe", None)
    found = describe_worlds() if callable(describe_worlds) else plugins.resolve("adapter", "description")(env)
    return {"scenario": found["scenario"], "env": found["env"]}


def versions() -> dict[str, str]:
    """Versions of what a result depends on."""
    import gymnasium
    import stable_baselines3

    import rl_tracking

    modules = {"torch": torch, "stable_baselines3": stable_baselines3, "gymnasium": gymnasium, "numpy": np}
    libraries = {name: str(module.__version__) for name, module in modules.items()}
    return {"rl_tracking": rl_tracking.__version__, "python": platform.python_version(), **libraries}
