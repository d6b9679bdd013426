"""The one zip: what Stable-Baselines3 writes, and beside it what a reader needs that opens no pickle.

``rltrack.json`` says what the policy is and where it was trained; ``normalizer.json`` has the moments of a
``VecNormalize``. Readers build the policy from the former and load its tensors with ``weights_only=True``.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import VecEnv

from rl_tracking import files, named_code
from rl_tracking.agents import checkpoint_schema, description, foreign, normalizer, policy_spec, vec_normalize, weights
from rl_tracking.agents.archive import MEBIBYTE, Archive, open_archive
from rl_tracking.agents.checkpoint_schema import SCHEMA, Description, DescriptionError
from rl_tracking.agents.config_file import OTHERWISE
from rl_tracking.agents.normalizer import Moments, Normalizer
from rl_tracking.errors import UsageError

_DESCRIPTION = "rltrack.json"
_NORMALIZER = "normalizer.json"
_WEIGHTS = "policy.pth"
_MOST_MEMBERS = 64
_LIMITS = {  # what a member may hold [bytes]
    _DESCRIPTION: MEBIBYTE,
    _NORMALIZER: 16 * MEBIBYTE,
    _WEIGHTS: 128 * MEBIBYTE,
}
_LIMIT = 256 * MEBIBYTE  # of every other member


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
    added = dict(members or {})
    moments = vec_normalize.moments_of(model)
    with _holding(model, moments):
        BaseAlgorithm.save(model, buffer, exclude, include)
    if moments is not None:
        added[_NORMALIZER] = json.dumps(moments, allow_nan=False).encode()
    with zipfile.ZipFile(buffer, "a") as archive:
        for name, content in added.items():
            archive.writestr(name, content)
        digests = {name: _digest(archive.read(name)) for name in archive.namelist()}
        described = description.describe(model, metrics) | {"members": digests}
        archive.writestr(_DESCRIPTION, json.dumps(described, indent=1, allow_nan=False))
    if isinstance(path, io.BufferedIOBase):
        path.write(buffer.getvalue())
        return
    target = Path(path)
    target = target if target.suffix else target.with_suffix(".zip")
    target.parent.mkdir(parents=True, exist_ok=True)
    files.write_bytes(target, buffer.getvalue())


@contextmanager
def _holding(model: BaseAlgorithm, moments: dict[str, Any] | None) -> Iterator[None]:
    """Let SB3 save the moments as an attribute of the model, so that every class that loads it finds them."""
    attributes = vars(model)
    before = attributes.get(vec_normalize.MOMENTS)
    if moments is not None:
        attributes[vec_normalize.MOMENTS] = moments
    try:
        yield
    finally:
        if before is None:
            attributes.pop(vec_normalize.MOMENTS, None)


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
        said, _ = _description(path, archive)
        return _member(path, archive, name, said, limit) if name in archive else None


class LoadedPolicy:
    """A trained policy that was read without opening a pickle; ``predict`` is SB3's.

    Attributes:
        path: the file it came from.
        description: the content of ``rltrack.json``; empty for a foreign zip.
        trust: whether code that it names may be run; see :meth:`refuse_code`.
    """

    def __init__(
        self,
        path: Path,
        policy: ActorCriticPolicy,
        description: dict[str, Any],
        normalizer: Normalizer | None,
        *,
        trust: bool = False,
        digests: Mapping[str, str | None] | None = None,
    ) -> None:
        self.path = path
        self.description = description
        self.trust = trust
        self.observation_space = policy.observation_space
        self.action_space = policy.action_space
        self._policy, self._normalizer, self._digests = policy, normalizer, digests or {}
        policy.set_training_mode(False)

    def refuse_code(self, value: Any, always: Collection[str] = ()) -> None:
        """Refuse a part of the description that names code, unless it is trusted and is what it was at training.

        Args:
            value: what is about to be used.
            always: see :func:`rl_tracking.named_code.find_all`.

        Raises:
            UsageError: which code, and how to allow it.
        """
        named = named_code.find_all(value, "it", always)
        what = f"checkpoint '{self.path}'"
        named_code.refuse(named, what, trust=self.trust, digests=self._digests, otherwise=OTHERWISE)

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
        return _description(Path(path), archive)[1]


def load_policy(path: str | Path, *, trust: bool = False, device: torch.device | str = "cpu") -> LoadedPolicy:
    """The policy of a checkpoint; opens no pickle and runs nothing that the checkpoint names.

    Args:
        path: a checkpoint.
        trust: let code be run that the checkpoint names and that is what it was at training; also read a foreign SB3
            zip, **which runs whatever code its author put into it**.
        device: where the networks live.

    Raises:
        UsageError: missing, no zip, cut short, of a newer schema, or a foreign zip without ``trust``.
    """
    path = Path(path)
    with _open(path) as archive:
        if _DESCRIPTION not in archive and trust:
            return LoadedPolicy(path, foreign.load(path, device), {}, None)
        said, everything = _description(path, archive)
        tensors = _member(path, archive, _WEIGHTS, said)
        moments = _member(path, archive, _NORMALIZER, said) if _NORMALIZER in archive else None
    read = weights.read(tensors, f"'{_WEIGHTS}' of checkpoint '{path}'")
    policy = policy_spec.build(said.policy, str(path), len(tensors))
    weights.put(policy, read, f"checkpoint '{path}' holds weights that")
    scaling = None if moments is None else _scaling(path, moments, policy)
    return LoadedPolicy(path, policy.to(device), everything, scaling, trust=trust, digests=said.digests)


def load_vec_normalize(path: str | Path, env: VecEnv) -> VecEnv:
    """``env`` in the ``VecNormalize`` that a checkpoint was trained under; opens no pickle.

    For the classes of Stable-Baselines3, whose ``load`` does not know of it: ``PPO.load(path, env=this)``. Those of
    this package do it in ``load(path, env)``.

    Args:
        path: a checkpoint.
        env: as :func:`rl_tracking.agents.vec_normalize.put_around` takes it.

    Raises:
        UsageError: as :func:`load_policy`; there was none, or it does not fit ``env``.
    """
    moments = read_member(path, _NORMALIZER, _LIMITS[_NORMALIZER])
    if moments is None:
        raise UsageError(f"checkpoint '{path}' was not trained under a VecNormalize; use the environment as it is")
    return vec_normalize.put_around(env, _moments(Path(path), moments))


def _scaling(path: Path, moments: bytes, policy: ActorCriticPolicy) -> Normalizer | None:
    try:
        read = _moments(path, moments)
        for wrapper in read.outside:
            if wrapper != "VecTransposeImage":  # which leaves alone what is normalised
                raise UsageError(
                    f"checkpoint '{path}' was trained under a VecNormalize inside a {wrapper}, and what that shows can "
                    f"no longer be normalised; load it with its algorithm's load(path, env={wrapper}(...)), which "
                    "puts the moments back inside"
                )
        return normalizer.build(read, policy.observation_space)
    except DescriptionError as error:
        raise UsageError(f"checkpoint '{path}' is damaged: '{_NORMALIZER}' cannot be read: {error}") from error


def _moments(path: Path, content: bytes) -> Moments:
    try:
        return normalizer.read(content)
    except DescriptionError as error:
        raise UsageError(f"checkpoint '{path}' is damaged: '{_NORMALIZER}' cannot be read: {error}") from error


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


def _member(path: Path, archive: Archive, name: str, said: Description, limit: int = _LIMIT) -> bytes:
    """A member, compared with the checksum in the description; descriptions of schema 1 have none."""
    content = archive.read(name, _LIMITS.get(name, limit))
    if said.schema > 1:
        expected = said.members.get(name)
        if expected is None or _digest(content) != {"size": expected.size, "sha256": expected.sha256}:
            raise UsageError(f"checkpoint '{path}' is damaged: '{name}' is not what was saved (its checksum differs)")
    return content


def _description(path: Path, archive: Archive) -> tuple[Description, dict[str, Any]]:
    """``rltrack.json``, as far as it is read here, and all of it."""
    if _DESCRIPTION not in archive:
        raise UsageError(
            f"'{path}' has no {_DESCRIPTION}, so it was not written by rl_tracking; "
            "if you trust where it comes from, add --trust (a Stable-Baselines3 zip can run code)"
        )
    content = archive.read(_DESCRIPTION, _LIMITS[_DESCRIPTION])
    try:
        everything = checkpoint_schema.decode(content, dict[str, Any])
        schema = checkpoint_schema.convert(everything.get("schema"), int)
        if schema > SCHEMA:
            raise UsageError(
                f"checkpoint '{path}' has schema {schema}, and this rl_tracking reads up to {SCHEMA}; "
                "upgrade rl-tracking"
            )
        if not isinstance(everything.get("policy"), dict):
            raise UsageError(f"checkpoint '{path}' is damaged: '{_DESCRIPTION}' describes no policy")
        return checkpoint_schema.convert(everything, Description), everything
    except DescriptionError as error:
        raise UsageError(f"checkpoint '{path}' is damaged: '{_DESCRIPTION}' cannot be read: {error}") from error
