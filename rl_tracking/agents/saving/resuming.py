"""What a training needs to continue as if it had never stopped, beside what Stable-Baselines3 saves.

:data:`PARTS` has one entry a thing. :func:`capture` reads all of them between two rollouts, which is cheap;
:func:`to_members` writes them as members of a checkpoint (JSON, tensors and the worlds' own bytes),
:func:`from_members` reads these through a schema, without a pickle, and :func:`put` sets them in a model that was
built alike.
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable, Collection
from typing import Annotated, Any

import msgspec
import numpy as np
import torch
from msgspec import Meta
from stable_baselines3.common.base_class import BaseAlgorithm
from torch import Tensor

from rl_tracking.agents.saving import resumed_generators as generators
from rl_tracking.agents.saving import resumed_replay as replay
from rl_tracking.agents.saving import resumed_values as values
from rl_tracking.agents.saving import weights
from rl_tracking.agents.saving.scalars import Scalar
from rl_tracking.errors import UsageError, brief

VERSION = 1
STATE, TENSORS, WORLDS = "resume.json", "resume-tensors.bin", "resume-worlds.bin"  # members of a checkpoint
LIMITS = {STATE: 2**24, TENSORS: 2**28, WORLDS: 2**28}  # what they may hold [bytes]

Count = Annotated[int, Meta(ge=0)]
Taken = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Part:
    """One thing that is saved and put back.

    Attributes:
        schema: type of its value in the file, for msgspec; tensors and arrays in it are kept beside the JSON.
        get: reads its value, a copy where the training would change it.
        put: sets it in a model.
        pack: the value in the form of the file.
        unpack: the value from that form.
        optional: where the value is None, the file has no such part; files may lack it.
    """

    schema: Any
    get: Callable[[Any], Any]
    put: Callable[[Any, Any], None]
    pack: Callable[[Any], Any] = lambda value: value
    unpack: Callable[[Any], Any] = lambda value: value
    optional: bool = False


def _attribute(name: str, schema: Any, otherwise: Any = None) -> Part:
    """An attribute of the model that is a number; ``otherwise`` for algorithms that do not have it."""

    def put(model: Any, value: Any) -> None:
        if hasattr(model, name):
            setattr(model, name, value)

    return Part(schema, lambda model: getattr(model, name, otherwise), put)


# In the order in which they are put back: generators last, since putting back the worlds may draw from them.
PARTS: dict[str, Part] = {
    # The count first: worlds that were not saved are seeded by it.
    "macro_steps": _attribute("num_timesteps", Count),
    "worlds": Part(bool, values.worlds, values.put_worlds),
    # SB3's loop holds the observation to act on, which the worlds would only return from a reset or a step.
    "observation": Part(values.Arrays | None, values.observation, values.put_observation, *values.ARRAYS),
    "episode_starts": Part(np.ndarray | None, values.episode_starts, values.put_episode_starts),
    # A VecNormalize with its counts: how much the next rollout moves the moments depends on them.
    "observation_moments": Part(dict[str, values.Moments] | None, *values.MOMENTS),
    "reward_moments": Part(values.Moments | None, *values.REWARD_MOMENTS),
    "discounted_returns": Part(np.ndarray | None, *values.RETURNS),
    # Frames and sums of episodes in progress.
    "wrappers": Part(list[dict[str, np.ndarray]], values.wrappers, values.put_wrappers),
    # Counts by which schedules, logs and the reference policy go.
    "simulator_steps": _attribute("num_simulator_steps", Count | None),
    "updates": _attribute("_n_updates", Count),
    "rollouts": _attribute("_rollouts_seen", Count | None),
    # Windows of episodes that logged means cover; SB3 pickles its own.
    "episodes": Part(list[dict[str, Scalar]], values.episodes, values.put_episodes, *values.EPISODES),
    "successes": Part(list[Scalar], values.successes, values.put_successes, *values.SUCCESSES),
    "activated_so_far": Part(Tensor | None, values.activated_so_far, values.put_activated_so_far),
    "activated_returns": Part(Tensor, values.activated_returns, values.put_activated_returns),
    # What an extension has learned and SB3 does not save as a state dict.
    "critic_trust": Part(float | None, values.critic_share, values.put_critic_share),
    "critic_evidence": Part(list[float] | None, values.critic_evidence, values.put_critic_evidence),
    # Of off-policy algorithms.
    "replay_buffer": Part(replay.Replay | None, replay.replay, replay.put_replay, optional=True),
    "original_observation": Part(
        values.Arrays | None,
        replay.original_observation,
        replay.put_original_observation,
        *values.ARRAYS,
        optional=True,
    ),
    "episodes_so_far": Part(Count | None, replay.episodes_so_far, replay.put_episodes_so_far, optional=True),
    "entropy_coefficient": Part(
        Tensor | None, replay.entropy_coefficient, replay.put_entropy_coefficient, optional=True
    ),
    # Generators. The matrices of gSDE were drawn before the rollout begins.
    "exploration_noise": Part(list[Tensor], generators.exploration_noise, generators.put_exploration_noise),
    "spaces": Part(list[generators.SpaceGenerator | None], generators.spaces, generators.put_spaces),
    "python": Part(generators.PythonGenerator, generators.python, generators.put_python),
    "numpy": Part(generators.NumpyGenerator, generators.numpy, generators.put_numpy),
    "torch": Part(list[Tensor], generators.torch_generators, generators.put_torch_generators),
}
_OF_EPISODES = (
    "observation",
    "original_observation",
    "episode_starts",
    "discounted_returns",
    "wrappers",
    "activated_so_far",
)
GENERATORS = ("exploration_noise", "spaces", "python", "numpy", "torch")


class _File(msgspec.Struct, forbid_unknown_fields=True):
    """The JSON member: parts by name, each decoded by its own schema."""

    version: int
    parts: dict[str, msgspec.Raw]


def capture(model: BaseAlgorithm) -> Taken:
    """All parts of a model between two rollouts, by name."""
    return {name: part.get(model) for name, part in PARTS.items()}


def put(model: BaseAlgorithm, taken: Taken, names: Collection[str] = tuple(PARTS)) -> None:
    """Set parts of a model whose env is like the one they are of; without saved worlds, new episodes begin.

    Raises:
        UsageError: they are of another one, or lack the replay buffer of an off-policy algorithm.
    """
    # In the order of the table; parts of episodes only where these episodes continue.
    for name, part in PARTS.items():
        if name in names and (taken["worlds"] is not None or name not in _OF_EPISODES):
            try:
                part.put(model, taken[name])
            except (ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
                raise UsageError(f"its {name.replace('_', ' ')} do not fit this training: {brief(error)}") from error


def why_not_exact(model: BaseAlgorithm) -> str | None:
    """Why a model's worlds cannot be saved, in one line; None if a training can continue exactly."""
    return values.why_not_saved(model.env)


def to_members(taken: Taken) -> dict[str, bytes]:
    """What :func:`capture` took, as members of a checkpoint. Worlds that have no form as bytes are left out."""
    tensors: dict[str, Tensor] = {}

    def set_aside(value: Any) -> str:
        if isinstance(value, np.ndarray):
            value = torch.from_numpy(np.array(value))
        if not isinstance(value, Tensor):
            raise NotImplementedError(type(value).__name__)
        name = str(len(tensors))
        tensors[name] = value.detach().cpu().clone()
        return name

    # Worlds write their own bytes; everything else is JSON, with arrays and tensors in a file beside it.
    worlds = values.worlds_to_bytes(taken["worlds"])
    taken = {**taken, "worlds": worlds is not None}
    parts = {
        name: msgspec.Raw(msgspec.json.encode(part.pack(taken[name]), enc_hook=set_aside))
        for name, part in PARTS.items()
        if not (part.optional and taken[name] is None)
    }
    buffer = io.BytesIO()
    torch.save(tensors, buffer)
    members = {STATE: msgspec.json.encode(_File(VERSION, parts)), TENSORS: buffer.getvalue()}
    return members if worlds is None else {**members, WORLDS: worlds}


def from_members(members: dict[str, bytes], name: str) -> Taken:
    """What :func:`to_members` wrote.

    Args:
        members: by name.
        name: what errors call the checkpoint.

    Raises:
        UsageError: they are damaged, or of a newer version.
    """
    damaged = UsageError(f"{name} is damaged: what a training needs to continue cannot be read")
    try:
        content = msgspec.json.decode(members[STATE], type=_File)
    except (KeyError, msgspec.DecodeError) as error:
        raise damaged from error
    if content.version > VERSION:
        raise UsageError(
            f"{name} was written by a newer rl_tracking, whose training this one cannot continue "
            f"(version {content.version}, this one reads up to {VERSION}); upgrade rl-tracking"
        )
    # Each part has a schema, so a damaged file ends in one line here and not somewhere in the training.
    try:
        tensors = weights.read(members[TENSORS], f"'{TENSORS}' of {name}")
        taken = _decoded(content.parts, tensors)
    except Exception as error:  # torch raises many kinds for damaged data
        raise damaged from error
    taken["worlds"] = members[WORLDS] if taken["worlds"] else None
    return taken


def _decoded(parts: dict[str, msgspec.Raw], tensors: dict[str, Tensor]) -> Taken:
    def look_up(kind: type, name: Any) -> Any:
        tensor = tensors[name]
        if not isinstance(tensor, Tensor):
            raise ValueError("no tensor")
        return tensor if kind is Tensor else tensor.numpy()

    return {
        name: None
        if part.optional and name not in parts
        else part.unpack(msgspec.json.decode(parts[name], type=part.schema, dec_hook=look_up))
        for name, part in PARTS.items()
    }
