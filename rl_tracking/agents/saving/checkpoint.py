"""The one zip: what Stable-Baselines3 writes, and beside it what a reader needs that opens no pickle.

``rltrack.json`` says what the policy is and where it was trained; ``normalizer.json`` has the moments of a
``VecNormalize``. Readers build the policy from the former and load its tensors with ``weights_only=True``.
"""

from __future__ import annotations

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
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.vec_env import VecEnv

from rl_tracking import files, named_code
from rl_tracking.agents.collect import failing_numbers
from rl_tracking.agents.saving import description, normalizer, policy_spec, sb3_files, weights
from rl_tracking.agents.saving.archive import (
    DESCRIPTION,
    LIMIT,
    NORMALIZER,
    WEIGHTS,
    digest,
    is_ours,
    open_members,
)
from rl_tracking.agents.saving.checkpoint_schema import DescriptionError
from rl_tracking.agents.saving.normalizer import Moments, Normalizer
from rl_tracking.errors import StepError, UsageError, brief


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
    # In memory first, since checksums are of the members as SB3 writes them, and a file is to be complete or absent.
    buffer = io.BytesIO()
    added = dict(members or {})
    moments = normalizer.moments_of(model)
    with _holding(model, moments):
        BaseAlgorithm.save(model, buffer, exclude, include)
    # As JSON too, for readers that open no pickle.
    if moments is not None:
        added[NORMALIZER] = json.dumps(moments, allow_nan=False).encode()
    with zipfile.ZipFile(buffer, "a") as archive:
        for name, content in added.items():
            archive.writestr(name, content)
        # Last, with the checksums of all others.
        digests = {name: digest(archive.read(name)) for name in archive.namelist()}
        described = description.describe(model, metrics) | {"members": digests}
        archive.writestr(DESCRIPTION, json.dumps(described, indent=1, allow_nan=False))
    if isinstance(path, io.BufferedIOBase):
        path.write(buffer.getvalue())
        return
    target = Path(path)
    target = target if target.suffix else target.with_suffix(".zip")
    target.parent.mkdir(parents=True, exist_ok=True)
    files.write_bytes(target, buffer.getvalue())


@contextmanager
def _holding(model: BaseAlgorithm, moments: dict[str, Any] | None) -> Iterator[None]:
    """Let SB3 save the moments as an attribute of the model, so that every class that loads the model has them."""
    attributes = vars(model)
    before = attributes.get(normalizer.MOMENTS)
    if moments is not None:
        attributes[normalizer.MOMENTS] = moments
    try:
        yield
    finally:
        if before is None:
            attributes.pop(normalizer.MOMENTS, None)


def read_member(path: str | Path, name: str, limit: int = LIMIT) -> bytes | None:
    """A member that :func:`save` was given, compared with its checksum; None if the checkpoint has none of that name.

    Args:
        path: a checkpoint.
        name: of the member.
        limit: the most that it may hold [bytes].

    Raises:
        UsageError: as :func:`load_policy`, or the member is larger.
    """
    with open_members(Path(path), f"checkpoint '{path}'") as members:
        return members.read(name, limit) if name in members else None


class LoadedPolicy:
    """A trained policy that was read without opening a pickle; ``predict`` is SB3's.

    Attributes:
        path: the file it came from.
        description: the content of ``rltrack.json``; empty for a zip of plain Stable-Baselines3.
        trust: whether named code may be run; see :meth:`refuse_code`.
    """

    def __init__(
        self,
        path: Path,
        policy: BasePolicy,
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
        named_code.refuse(named, what, trust=self.trust, digests=self._digests, otherwise=named_code.OTHERWISE)

    def predict(
        self,
        observation: np.ndarray[Any, Any] | dict[str, np.ndarray[Any, Any]],
        state: tuple[np.ndarray[Any, Any], ...] | None = None,
        episode_start: np.ndarray[Any, Any] | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray[Any, Any], tuple[np.ndarray[Any, Any], ...] | None]:
        """Actions for one observation or a batch, as SB3's ``model.predict``.

        Raises:
            UsageError: finite weights that give actions which are not.
        """
        # As at training, with the moments of the end of it.
        if self._normalizer is not None:
            observation = self._normalizer(observation)
        try:
            return self._policy.predict(observation, state, episode_start, deterministic)
        except ValueError as error:
            cause = failing_numbers.behind(error, self._policy, failing_numbers.as_tensors(observation))
            if cause is error:
                raise
            if isinstance(cause, StepError):  # of what it was given
                raise cause from error
            raise UsageError(f"checkpoint '{self.path}' holds weights whose actions are no distribution") from error


def read_description(path: str | Path) -> dict[str, Any]:
    """``rltrack.json`` of a checkpoint.

    Raises:
        UsageError: as :func:`load_policy`.
    """
    with open_members(Path(path), f"checkpoint '{path}'") as members:
        return members.everything


def load_policy(path: str | Path, *, trust: bool = False, device: torch.device | str = "cpu") -> LoadedPolicy:
    """The policy of a checkpoint; opens no pickle and runs nothing that the checkpoint names.

    Args:
        path: a checkpoint.
        trust: run code that the checkpoint names, if it has the digest that it had at training; also read a zip of
            plain Stable-Baselines3, **which runs whatever code its author put into it**.
        device: where the networks live.

    Raises:
        UsageError: missing, no zip, cut short, of a newer schema, or of plain Stable-Baselines3 without ``trust``.
    """
    path, name = Path(path), f"checkpoint '{path}'"
    # A zip of plain SB3 has no description, and only its pickles say what the policy is.
    if trust and not is_ours(path, name):
        return LoadedPolicy(path, sb3_files.load(path, device), {}, None)
    with open_members(path, name) as members:
        said, everything = members.said, members.everything
        tensors = members.read(WEIGHTS)
        moments = members.read(NORMALIZER) if NORMALIZER in members else None
    # Read the tensors and build the policy from JSON; nothing that the file names is imported or run.
    read = weights.read(tensors, f"'{WEIGHTS}' of {name}")
    policy = policy_spec.build(said.policy, str(path), len(tensors))
    # Names, shapes and kinds must match, so that the description cannot be of another policy.
    weights.put(policy, read, f"{name} holds weights that")
    _try(policy, name)
    # Observations are scaled here: the policy was trained on normalised ones.
    scaling = None if moments is None else _scaling(path, moments, policy)
    return LoadedPolicy(path, policy.to(device), everything, scaling, trust=trust, digests=said.digests)


def _try(policy: BasePolicy, name: str) -> None:
    """Let a policy act once, since a description can be of a policy that is built and fails at its first call."""
    try:
        policy.predict(policy.observation_space.sample(), deterministic=True)
    except Exception as error:  # whatever networks raise at what they were not made for
        raise UsageError(f"{name} describes a policy that cannot act: {brief(error)}") from error


def load_vec_normalize(path: str | Path, env: VecEnv) -> VecEnv:
    """``env`` in the ``VecNormalize`` that a checkpoint was trained under; opens no pickle.

    For the classes of Stable-Baselines3, whose ``load`` does not know of it: ``PPO.load(path, env=this)``. Those of
    this package do it in ``load(path, env)``.

    Args:
        path: a checkpoint.
        env: as :func:`rl_tracking.agents.saving.normalizer.put_around` takes it.

    Raises:
        UsageError: as :func:`load_policy`; there was none, or it does not fit ``env``.
    """
    moments = read_member(path, NORMALIZER)
    if moments is None:
        raise UsageError(f"checkpoint '{path}' was not trained under a VecNormalize; use the environment as it is")
    return normalizer.put_around(env, _moments(Path(path), moments))


def _scaling(path: Path, moments: bytes, policy: BasePolicy) -> Normalizer | None:
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
        raise UsageError(f"checkpoint '{path}' is damaged: '{NORMALIZER}' cannot be read: {error}") from error


def _moments(path: Path, content: bytes) -> Moments:
    try:
        return normalizer.read(content)
    except DescriptionError as error:
        raise UsageError(f"checkpoint '{path}' is damaged: '{NORMALIZER}' cannot be read: {error}") from error
