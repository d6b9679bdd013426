"""SB3's ``load`` without its pickles: what is pickled in a checkpoint is rebuilt from the JSON description.

SB3 writes numbers, texts and tables of the model's attributes as JSON and pickles the rest (classes, spaces, schedules,
buffers of past episodes). It does not unpickle an attribute that it is given in ``custom_objects``.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from stable_baselines3.common import buffers
from stable_baselines3.common.utils import LinearSchedule

from rl_tracking import named_code
from rl_tracking.agents.saving import checkpoint_schema, policy_spec, weights
from rl_tracking.agents.saving.archive import ATTRIBUTES, Members, is_ours, open_members
from rl_tracking.agents.saving.checkpoint_schema import Description
from rl_tracking.errors import UsageError

_PICKLED = ":serialized:"
# Past episodes and observations, which start afresh, and attributes that SB3 and the algorithms make as they set up.
_MADE_ANEW = (
    "ep_info_buffer ep_success_buffer _last_obs _last_episode_starts _last_original_obs lr_schedule action_noise "
    "_logger _rollout_figures"
).split()
_OF_EARLIER_VERSIONS = ("_rollout_figures",)  # pickled then, of classes that are no longer here
_LINEAR = ("start", "end", "end_fraction")
_CLASSES = {
    f"{kind.__module__}.{kind.__qualname__}": kind
    for kind in (
        *policy_spec.CLASSES,
        buffers.RolloutBuffer,
        buffers.DictRolloutBuffer,
        *(getattr(torch.optim, name) for name in ("Adam", "AdamW", "RMSprop", "SGD")),
    )
}


def substitutes(
    path: str | Path | io.BufferedIOBase, given: Mapping[str, Any], classes: Collection[type], *, trust: bool
) -> tuple[io.BytesIO, dict[str, Any]]:
    """What SB3's ``load`` needs so that it opens no pickle.

    Args:
        path: as SB3 takes it.
        given: attributes that the caller brings.
        classes: that may be named beside those known here.
        trust: open pickles, and let code be run that the checkpoint names and that is what it was.

    Returns:
        The file, whose members were checked, and attributes by name for ``custom_objects``.

    Raises:
        UsageError: it is damaged; or there is something pickled, or code, that is not trusted.
    """
    content, name = _content(path)
    if trust and not is_ours(content, name):
        return io.BytesIO(content), {}
    with open_members(content, name) as members:
        said = members.said
        # SB3's load() will read these with torch.load; here each is checked first.
        for member in members.names:
            if member.endswith(".pth"):
                weights.read(members.read(member), f"'{member}' of {name}")
        attributes = _attributes(members) if ATTRIBUTES in members else {}
    # An activation by file or module would run when the model is set up.
    _refuse_code(attributes, given, said, name, trust=trust)
    if trust:
        return io.BytesIO(content), {key: None for key in _OF_EARLIER_VERSIONS if key in attributes}
    # Everything pickled gets a substitute, so that SB3 opens none of the pickles.
    known = {f"{kind.__module__}.{kind.__qualname__}": kind for kind in classes} | _CLASSES
    pickled = [key for key, value in attributes.items() if isinstance(value, dict) and _PICKLED in value]
    return io.BytesIO(content), {key: _substitute(key, attributes[key], said, known, given, name) for key in pickled}


def _attributes(members: Members) -> dict[str, Any]:
    try:
        found = json.loads(members.read(ATTRIBUTES))  # which knows the infinities that SB3 writes
        checkpoint_schema.check_depth(found)
        return {**found}
    except UsageError:
        raise
    except (ValueError, TypeError, RecursionError) as error:
        raise UsageError(f"{members.name} is damaged: '{ATTRIBUTES}' cannot be read: {error}") from error


def _content(path: str | Path | io.BufferedIOBase) -> tuple[bytes, str]:
    """A file's content and what errors call it; as in SB3, ``.zip`` is added where there is no such file."""
    if isinstance(path, io.BufferedIOBase):
        return path.read(), "the checkpoint"
    # As SB3 completes a name.
    file = Path(path)
    file = file if file.exists() else Path(f"{path}.zip")
    try:
        return file.read_bytes(), f"checkpoint '{file}'"
    except OSError as error:
        raise UsageError(f"checkpoint '{path}' cannot be read: {error.strerror}") from error


def _refuse_code(
    attributes: dict[str, Any], given: Mapping[str, Any], said: Description, name: str, *, trust: bool
) -> None:
    kept = {key: value for key, value in attributes.items() if key == "reward_activation" and key not in given}
    named = named_code.find_all(kept, "it", ("reward_activation",))
    named_code.refuse(
        named, name, trust=trust, digests=said.digests, otherwise=", or give reward_activation=... yourself"
    )


def _substitute(
    key: str, beside: dict[str, Any], said: Description, known: Mapping[str, type], given: Mapping[str, Any], name: str
) -> Any:
    """The attribute that is pickled under ``key``; ``beside`` is the text that SB3 writes beside a pickle."""
    try:
        if key in _MADE_ANEW:
            return None
        # Schema 1 had no arguments of constructors; the text beside the pickle has what is needed of them.
        if said.schema == 1 and key not in ("observation_space", "action_space"):
            return _of_schema_1(key, beside, said)
        if key == "policy_class":
            return known[said.hyper_parameters["policy"]["class"]]
        if key in ("observation_space", "action_space"):
            return policy_spec.build_space(said.spaces.get(key) or said.policy[key])
        return _made(said.hyper_parameters[key], known)
    except (KeyError, TypeError, ValueError) as error:
        if key in given:
            return given[key]
        raise UsageError(
            f"{name} keeps {key} as a pickle, which could run code and is not opened; give {key}=... yourself, "
            f"or add trust=True if you trust where it comes from"
        ) from error


def _of_schema_1(key: str, beside: dict[str, Any], said: Description) -> Any:
    """The same for a description without the arguments.

    Raises:
        KeyError: the text beside the pickle does not have it either.
    """
    if key == "policy_class":
        return {kind.__name__: kind for kind in policy_spec.CLASSES}[said.policy["class"]]
    if key == "rollout_buffer_class" and beside["__module__"] == buffers.__name__:
        return None  # SB3 chooses by the observations
    constant = re.fullmatch(r"ConstantSchedule\(val=([-+.e\d]+)\)", str(beside.get("value_schedule")))
    return float(constant[1]) if constant else LinearSchedule(*(float(beside[name]) for name in _LINEAR))


def _made(value: Any, known: Mapping[str, type]) -> Any:
    """An argument from its description; the reverse of :mod:`rl_tracking.agents.saving.description`.

    Raises:
        KeyError: only a pickle can give it back.
    """
    if isinstance(value, list):
        return [_made(item, known) for item in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {"class"}:
        return known[value["class"]]
    if set(value) == {"number"}:
        return float(value["number"])
    if value.get("schedule") == "linear":
        return LinearSchedule(*(float(value[name]) for name in _LINEAR))
    if set(value) == {"unknown"}:
        raise KeyError(value["unknown"])
    return {name: _made(item, known) for name, item in value.items()}
