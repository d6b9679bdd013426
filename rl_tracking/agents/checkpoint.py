"""The one zip: what Stable-Baselines3 writes, and beside it what a reader needs that opens no pickle.

``rltrack.json`` says what the policy is and where it was trained; ``normalizer.json`` has the moments of a
``VecNormalize``. Readers build the policy from the former and load its tensors with ``weights_only=True``.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import platform
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import VecNormalize

from rl_tracking import plugins
from rl_tracking.agents import policy_spec
from rl_tracking.agents.archive import MEBIBYTE, Archive, open_archive
from rl_tracking.envs.task import Task
from rl_tracking.errors import UsageError

SCHEMA = 2
_DESCRIPTION = "rltrack.json"
_NORMALIZER = "normalizer.json"
_WEIGHTS = "policy.pth"
_MOST_MEMBERS = 64
_LIMITS = {_DESCRIPTION: MEBIBYTE, _NORMALIZER: 16 * MEBIBYTE}  # what a member may hold [bytes]
_LIMIT = 256 * MEBIBYTE  # of every other member
_HYPER_PARAMETERS = (
    "n_steps batch_size n_epochs gamma gae_lambda ent_coef vf_coef max_grad_norm normalize_advantage target_kl "
    "n_samples horizon advantage supervision baseline scale_by_std kl_coef kl_estimator reference_interval reuse "
    "reward_activation reward_scale branch_noise target_entropy temperature_learning_rate reward_window n_candidates "
    "guidance_beta seed"
).split()


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its place at the end, and vanishes if anything goes wrong."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def save(
    model: BaseAlgorithm,
    path: str | Path | io.BufferedIOBase,
    exclude: Any = None,
    include: Any = None,
    metrics: dict[str, Any] | None = None,
    members: Mapping[str, bytes] | None = None,
) -> None:
    """Write a model as SB3 does, plus this project's members; a file is complete or not there.

    ``rltrack.json`` has the size and the SHA-256 of every other member, which readers compare.

    Args:
        model: an SB3 algorithm.
        path: where; ``.zip`` is added if there is no suffix, as in SB3.
        exclude: as in SB3.
        include: as in SB3.
        metrics: figures to keep with it.
        members: further members by name; :func:`read_member` reads them.
    """
    buffer = io.BytesIO()
    BaseAlgorithm.save(model, buffer, exclude, include)
    added = dict(members or {})
    normalizer = model.get_vec_normalize_env()
    if normalizer is not None:
        added[_NORMALIZER] = json.dumps(_moments(normalizer)).encode()
    with zipfile.ZipFile(buffer, "a") as archive:
        for name, content in added.items():
            archive.writestr(name, content)
        digests = {name: _digest(archive.read(name)) for name in archive.namelist()}
        described = describe(model, metrics) | {"members": digests}
        archive.writestr(_DESCRIPTION, json.dumps(described, indent=1, allow_nan=False))
    if isinstance(path, io.BufferedIOBase):
        path.write(buffer.getvalue())
        return
    target = Path(path)
    target = target if target.suffix else target.with_suffix(".zip")
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic(target) as temporary:
        temporary.write_bytes(buffer.getvalue())


def _digest(content: bytes) -> dict[str, Any]:
    """What a description says of a member."""
    return {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def read_member(path: str | Path, name: str, limit: int = _LIMIT) -> bytes | None:
    """A member that :func:`save` was given, compared with its checksum; None if the checkpoint has none of that name.

    Args:
        path: a checkpoint.
        name: of the member.
        limit: the most that it may hold [bytes].

    Raises:
        UsageError: as :func:`load_policy`, or the member is larger.
    """
    path = Path(path)
    with _open(path) as archive:
        return _member(path, archive, name, _description(path, archive), limit) if name in archive else None


def describe(model: BaseAlgorithm, metrics: dict[str, Any] | None = None) -> dict[str, Any]:
    """The content of ``rltrack.json``."""
    scenario = _scenario_of(model)
    task = Task.of(model.env.unwrapped) if scenario is None and model.env is not None else None
    used = [("reward", scenario["parameters"]["reward"])] if scenario and "reward" in scenario["parameters"] else []
    activation = getattr(model, "reward_activation", None)
    if isinstance(activation, str):
        used.append(("activation", activation))
    values = {name: getattr(model, name) for name in _HYPER_PARAMETERS if hasattr(model, name)}
    return {
        "format": "rl_tracking checkpoint",
        "schema": SCHEMA,
        "algorithm": type(model).__name__,
        "macro_steps": model.num_timesteps,
        "simulator_steps": getattr(model, "num_simulator_steps", model.num_timesteps),
        "scenario": scenario,
        "env": None if task is None else task.to_dict(),
        "policy": policy_spec.describe(model.policy),
        "hyper_parameters": {k: v for k, v in values.items() if isinstance(v, int | float | str | bool | None)},
        "plugins": [{"kind": kind, **plugins.origin(kind, name)} for kind, name in used],
        "metrics": metrics or {},
        "versions": versions(),
    }


def _scenario_of(model: BaseAlgorithm) -> dict[str, Any] | None:
    scenario = getattr(model.env.unwrapped, "scenario", None) if model.env is not None else None
    return None if scenario is None else {"name": scenario.name, "parameters": scenario.parameters}


def versions() -> dict[str, str]:
    """Versions of what a result depends on."""
    import gymnasium
    import stable_baselines3

    import rl_tracking

    modules = {"torch": torch, "stable_baselines3": stable_baselines3, "gymnasium": gymnasium, "numpy": np}
    libraries = {name: str(module.__version__) for name, module in modules.items()}
    return {"rl_tracking": rl_tracking.__version__, "python": platform.python_version(), **libraries}


def _moments(normalizer: VecNormalize) -> dict[str, Any]:
    """Observation moments of a VecNormalize, as numbers."""
    # A VecNormalize that leaves observations alone has no moments of them.
    rms = normalizer.obs_rms if normalizer.norm_obs else None
    return {
        "mean": _numbers(rms, "mean"),
        "var": _numbers(rms, "var"),
        "epsilon": normalizer.epsilon,
        "clip_obs": normalizer.clip_obs,
        "reward_mean": float(normalizer.ret_rms.mean),
        "reward_var": float(normalizer.ret_rms.var),
        "clip_reward": normalizer.clip_reward,
    }


def _numbers(rms: Any, name: str) -> Any:
    """``mean`` or ``var`` as nested lists, for a Dict observation one for each normalised key; None for none."""
    if isinstance(rms, dict):
        return {key: getattr(part, name).tolist() for key, part in rms.items()}
    return None if rms is None else getattr(rms, name).tolist()


@dataclasses.dataclass(frozen=True)
class Normalizer:
    """Scales observations by the moments they had at training.

    Attributes:
        moments: mean and variance of each normalised key of a Dict observation; of an array under the key None.
        epsilon: added to the variance.
        clip_obs: the largest size of what comes out.
    """

    moments: dict[str | None, tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]
    epsilon: float
    clip_obs: float

    def __call__(self, observation: Any) -> Any:
        """As ``VecNormalize.normalize_obs``, of an array or a dict of them."""
        if isinstance(observation, dict):
            return {key: self._scaled(key, part) for key, part in observation.items()}
        return self._scaled(None, observation)

    def _scaled(self, key: str | None, observation: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        if key not in self.moments:
            return observation
        mean, var = self.moments[key]
        scaled = (observation - mean) / np.sqrt(var + self.epsilon)
        clipped: np.ndarray[Any, Any] = np.clip(scaled, -self.clip_obs, self.clip_obs).astype(np.float32)
        return clipped


class LoadedPolicy:
    """A trained policy that was read without opening a pickle; ``predict`` is SB3's.

    Attributes:
        path: the file it came from.
        description: the content of ``rltrack.json``; empty for a foreign zip.
    """

    def __init__(
        self, path: Path, policy: ActorCriticPolicy, description: dict[str, Any], normalizer: Normalizer | None
    ) -> None:
        self.path = path
        self.description = description
        self.observation_space = policy.observation_space
        self.action_space = policy.action_space
        self._policy = policy
        self._normalizer = normalizer
        policy.set_training_mode(False)

    def predict(
        self,
        observation: np.ndarray[Any, Any] | dict[str, np.ndarray[Any, Any]],
        state: tuple[np.ndarray[Any, Any], ...] | None = None,
        episode_start: np.ndarray[Any, Any] | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray[Any, Any], tuple[np.ndarray[Any, Any], ...] | None]:
        """Actions for one observation or a batch, as SB3's ``model.predict``."""
        if self._normalizer is not None:
            observation = self._normalizer(observation)
        return self._policy.predict(observation, state, episode_start, deterministic)


def read_description(path: str | Path) -> dict[str, Any]:
    """``rltrack.json`` of a checkpoint.

    Raises:
        UsageError: as :func:`load_policy`.
    """
    with _open(Path(path)) as archive:
        return _description(Path(path), archive)


def load_policy(path: str | Path, *, trust: bool = False, device: torch.device | str = "cpu") -> LoadedPolicy:
    """The policy of a checkpoint; opens no pickle.

    Args:
        path: a checkpoint.
        trust: also read a foreign SB3 zip, **which runs whatever code its author put into it**.
        device: where the networks live.

    Raises:
        UsageError: missing, no zip, cut short, of a newer schema, or a foreign zip without ``trust``.
    """
    path = Path(path)
    with _open(path) as archive:
        if _DESCRIPTION not in archive and trust:
            return _load_foreign(path, device)
        description = _description(path, archive)
        weights = _member(path, archive, _WEIGHTS, description)
        moments = _member(path, archive, _NORMALIZER, description) if _NORMALIZER in archive else None
    normalizer = None if moments is None else _normalizer(path, moments)
    policy = policy_spec.build(description["policy"], str(path)).to(device)
    try:
        policy.load_state_dict(torch.load(io.BytesIO(weights), map_location=device, weights_only=True))
    except Exception as error:
        raise UsageError(f"checkpoint '{path}' holds weights that do not fit its own description") from error
    return LoadedPolicy(path, policy, description, normalizer)


def _normalizer(path: Path, data: bytes) -> Normalizer | None:
    try:
        moments = json.loads(data)
        if moments["mean"] is None:
            return None
        mean, var = (m if isinstance(m, dict) else {None: m} for m in (moments["mean"], moments["var"]))
        pairs = {key: (np.array(mean[key], dtype=np.float64), np.array(var[key], dtype=np.float64)) for key in mean}
        return Normalizer(pairs, float(moments["epsilon"]), float(moments["clip_obs"]))
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"checkpoint '{path}' is damaged: '{_NORMALIZER}' cannot be read") from error


def _load_foreign(path: Path, device: torch.device | str) -> LoadedPolicy:
    """A zip that plain SB3 wrote: its class is not known, so PPO's loader is tried."""
    from stable_baselines3 import PPO

    try:
        model = PPO.load(path, device=device)
    except Exception as error:
        text = " ".join(str(error).split())[:200]
        raise UsageError(f"'{path}' is not a Stable-Baselines3 PPO model: {text}") from error
    return LoadedPolicy(path, model.policy, {}, None)


@contextmanager
def _open(path: Path) -> Iterator[Archive]:
    if not path.exists():
        raise UsageError(f"checkpoint '{path}' does not exist")
    if not path.is_file():
        inside = path / "checkpoint.zip"
        hint = f"; did you mean '{inside}'?" if inside.is_file() else ""
        raise UsageError(f"checkpoint '{path}' is a folder, not a file{hint}")
    with open_archive(path, f"checkpoint '{path}'", most=_MOST_MEMBERS) as archive:
        yield archive


def _member(path: Path, archive: Archive, name: str, description: dict[str, Any], limit: int = _LIMIT) -> bytes:
    """A member, compared with the checksum in the description; descriptions of schema 1 have none."""
    content = archive.read(name, _LIMITS.get(name, limit))
    if description["schema"] > 1 and description.get("members", {}).get(name) != _digest(content):
        raise UsageError(f"checkpoint '{path}' is damaged: '{name}' is not what was saved (its checksum differs)")
    return content


def _description(path: Path, archive: Archive) -> dict[str, Any]:
    if _DESCRIPTION not in archive:
        raise UsageError(
            f"'{path}' has no {_DESCRIPTION}, so it was not written by rl_tracking; "
            "if you trust where it comes from, add --trust (a Stable-Baselines3 zip can run code)"
        )
    try:
        description = json.loads(archive.read(_DESCRIPTION, _LIMITS[_DESCRIPTION]))
        schema = int(description["schema"])
    except UsageError:
        raise
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UsageError(f"checkpoint '{path}' is damaged: '{_DESCRIPTION}' cannot be read") from error
    if schema > SCHEMA:
        raise UsageError(
            f"checkpoint '{path}' has schema {schema}, and this rl_tracking reads up to {SCHEMA}; upgrade rl-tracking"
        )
    assert isinstance(description, dict)
    if not isinstance(description.get("policy"), dict):
        raise UsageError(f"checkpoint '{path}' is damaged: '{_DESCRIPTION}' describes no policy")
    return description
