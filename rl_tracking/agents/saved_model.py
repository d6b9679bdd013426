"""Saving and loading of this project's algorithms: SB3's zip with what a reader needs, and moments that come back."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.type_aliases import GymEnv
from stable_baselines3.common.vec_env import unwrap_vec_normalize

from rl_tracking.agents import checkpoint, safe_loading, vec_normalize


class SavedModel(BaseAlgorithm):
    """An SB3 algorithm whose checkpoints keep the moments of the ``VecNormalize`` that it was trained under."""

    named_classes: ClassVar[tuple[type, ...]] = ()  # of the algorithm's own, that its checkpoints may name

    def save(self, path: str | Path | io.BufferedIOBase, *args: Any, **kwargs: Any) -> None:
        """SB3's zip with what ``rltrack watch`` and ``eval`` read; see :mod:`rl_tracking.agents.checkpoint`."""
        checkpoint.save(self, path, *args, **kwargs)

    @classmethod
    def load(
        cls,
        path: str | Path | io.BufferedIOBase,
        env: GymEnv | None = None,
        device: torch.device | str = "auto",
        custom_objects: dict[str, Any] | None = None,
        *args: Any,
        trust: bool = False,
        **kwargs: Any,
    ) -> Self:
        """As in SB3, but opens no pickle. A model trained under a ``VecNormalize`` acts as it did.

        Classes, spaces and schedules come from what ``rltrack.json`` says of them; what only a pickle could give back
        (a policy class or a schedule of one's own) is given as a keyword, in ``custom_objects``, or trusted. The
        statistics of past episodes and the last observation begin afresh.

        With ``env``, that is put into a ``VecNormalize`` with the saved moments, counts and limits, unless it brings
        one of its own that has seen something; ``get_env()`` gives the result. Without, as in SB3, ``predict`` takes
        normalised observations, and a warning says so; :func:`rl_tracking.load_policy` takes them as they are.

        Args:
            path: a checkpoint.
            env: to go on in.
            device: as in SB3.
            custom_objects: as in SB3.
            *args: as in SB3.
            trust: open the pickles of the checkpoint, **which can run code**, and let code be run that it names.
            **kwargs: as in SB3.

        Raises:
            UsageError: the file is damaged; it has a pickle or names code that is needed and not trusted; the moments
                do not fit ``env``, or the wrappers around them are missing.
        """
        given = {**(custom_objects or {}), **kwargs}
        file, made = safe_loading.stand_ins(path, given, cls.named_classes, trust=trust)
        model = super().load(file, env, device, {**made, **(custom_objects or {})}, *args, **kwargs)
        if model.env is not None:
            model._put_moments_back()
        elif vec_normalize.saved_moments(model) is not None:
            warnings.warn(
                f"'{path}' was trained under a VecNormalize, and without env predict() takes normalised observations; "
                f"give {cls.__name__}.load() an env, which gets the moments, or use rl_tracking.load_policy()",
                stacklevel=2,
            )
        return model

    def set_env(self, env: GymEnv, force_reset: bool = True) -> None:
        """As in SB3; moments that were saved and have no environment yet come around this one."""
        super().set_env(env, force_reset)
        self._put_moments_back()

    def _put_moments_back(self) -> None:
        moments = vec_normalize.saved_moments(self)
        if moments is None:
            return
        assert self.env is not None
        self.env = vec_normalize.put_around(self.env, moments)
        self._vec_normalize_env = unwrap_vec_normalize(self.env)
        delattr(self, vec_normalize.MOMENTS)
