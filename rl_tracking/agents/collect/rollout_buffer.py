"""What stands where SB3 keeps its rollout buffer: groups of branches do not fit there."""

from __future__ import annotations

from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.buffers import DictRolloutBuffer, RolloutBuffer

from rl_tracking.errors import UsageError

_STANDARD = (None, RolloutBuffer, DictRolloutBuffer)


class NoRolloutBuffer:
    """Takes what SB3 gives a rollout buffer, and no memory; reading it raises an error that names the rollout."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        """Refuse to stand for data.

        Raises:
            UsageError: always, unless Python itself asks.
        """
        if name.startswith("__"):
            raise AttributeError(name)
        raise UsageError(
            f"rollout_buffer.{name}: groups of branches do not fit into a rollout buffer; see model.rollout, whose "
            "executed(...) gives what belongs to the executed steps"
        )


def check_rollout_buffer(model: BaseAlgorithm) -> None:
    """Refuse a rollout buffer of the user's own, which would never be filled.

    Raises:
        UsageError: one was given.
    """
    kind, arguments = model.rollout_buffer_class, model.rollout_buffer_kwargs  # type: ignore[attr-defined]
    if kind not in _STANDARD or arguments:
        name = "rollout_buffer_kwargs" if kind in _STANDARD else "rollout_buffer_class"
        raise UsageError(f"{type(model).__name__} takes no {name}: groups of branches do not fit into a rollout buffer")
