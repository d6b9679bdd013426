"""Getters and setters of what only an off-policy algorithm remembers between two rollouts.

Others have none of it: their values are None, and nothing is written.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from torch import Tensor

from rl_tracking.errors import UsageError

LARGEST = 2**27  # bytes of a replay buffer that a checkpoint keeps
_ONE = ""  # key of an observation that is no dictionary
_FIELDS = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")


class NotKeptError(UsageError):
    """A checkpoint without the replay buffer that a training needs to continue."""


class Replay(msgspec.Struct, forbid_unknown_fields=True):
    """The filled part of a replay buffer.

    Attributes:
        arrays: by field and key of the observation, ``[rows, E, ...]``.
        position: row that is written next.
        full: whether every row is filled.
    """

    arrays: dict[str, np.ndarray]
    position: int
    full: bool


def why_not_kept(model: Any) -> str | None:
    """Why a checkpoint cannot keep a model's replay buffer, in one line; None if it can or there is none."""
    if not isinstance(model, OffPolicyAlgorithm):
        return None
    rows: Any = model.replay_buffer
    size = sum(array.nbytes for array in _arrays(rows).values())
    if size <= LARGEST:
        return None
    fits = LARGEST // (size // (rows.buffer_size * rows.n_envs))
    return (
        f"its replay buffer of {rows.buffer_size * rows.n_envs:,} transitions takes up to {size / 2**20:,.0f} MiB, and "
        f"a checkpoint keeps {LARGEST / 2**20:,.0f} MiB at most; set buffer_size={fits // 1000 * 1000} or less"
    )


def replay(model: Any) -> Replay | None:
    """What the replay buffer holds: views, which are right until the next transition is stored."""
    if not isinstance(model, OffPolicyAlgorithm) or why_not_kept(model) is not None:
        return None
    buffer: Any = model.replay_buffer
    rows = buffer.buffer_size if buffer.full else buffer.pos
    return Replay({name: array[:rows] for name, array in _arrays(buffer).items()}, buffer.pos, buffer.full)


def put_replay(model: Any, value: Replay | None) -> None:
    """Fill the replay buffer; without a value it stays as it is.

    Raises:
        NotKeptError: it is empty, and the training had stored something.
    """
    if not isinstance(model, OffPolicyAlgorithm):
        return
    buffer: Any = model.replay_buffer
    if value is None:
        if model.num_timesteps > 0 and buffer.pos == 0 and not buffer.full:
            raise NotKeptError(why_not_kept(model) or "the checkpoint holds no replay buffer")
        return
    live = _arrays(buffer)
    rows = buffer.buffer_size if value.full else value.position
    if value.arrays.keys() != live.keys() or not 0 <= value.position < buffer.buffer_size:
        raise ValueError("a replay buffer of other fields or another size")
    for name, array in value.arrays.items():
        # NumPy would broadcast rows of another shape, and round numbers of another kind, without a word.
        if (array.shape, array.dtype) != ((rows, *live[name].shape[1:]), live[name].dtype):
            raise ValueError(f"{name} of shape {list(array.shape)} {array.dtype}")
        live[name][:rows] = array
    buffer.pos, buffer.full = value.position, value.full


def _arrays(buffer: Any) -> dict[str, np.ndarray]:
    """The arrays of a replay buffer by field and key, not copies."""
    found: dict[str, np.ndarray] = {}
    for field in _FIELDS:
        held = getattr(buffer, field, None)  # one that saves memory has no next observations
        parts = held if isinstance(held, dict) else {_ONE: held}
        found |= {f"{field} {key}".strip(): part for key, part in parts.items() if part is not None}
    return found


def original_observation(model: Any) -> Any:
    """The last observation before it was normalised, which is what the replay buffer stores."""
    if not isinstance(model, OffPolicyAlgorithm) or model.get_vec_normalize_env() is None:
        return None
    last: Any = model._last_original_obs
    if isinstance(last, dict):
        return {key: part.copy() for key, part in last.items()}
    return None if last is None else last.copy()


def put_original_observation(model: Any, value: Any) -> None:
    """Set it."""
    if isinstance(model, OffPolicyAlgorithm):
        model._last_original_obs = value


def episodes_so_far(model: Any) -> int | None:
    """How many episodes have ended, by which off-policy algorithms log."""
    return model._episode_num if isinstance(model, OffPolicyAlgorithm) else None


def put_episodes_so_far(model: Any, value: int | None) -> None:
    """Set it."""
    if value is not None:
        model._episode_num = value


def entropy_coefficient(model: Any) -> Tensor | None:
    """The logarithm of an entropy coefficient that is learned beside the networks."""
    found: Tensor | None = getattr(model, "log_ent_coef", None)
    return None if found is None else found.detach().clone()


def put_entropy_coefficient(model: Any, value: Tensor | None) -> None:
    """Set it, in place: the optimiser holds the tensor."""
    if value is not None:
        if value.shape != model.log_ent_coef.shape:
            raise ValueError(f"of shape {list(value.shape)}")
        model.log_ent_coef.data.copy_(value)
