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

from rl_tracking.agents.saving import checkpoint, description, normalizer, resuming, safe_loading
from rl_tracking.agents.saving.archive import is_ours, open_members
from rl_tracking.errors import UsageError


class SavedModel(BaseAlgorithm):
    """An SB3 algorithm whose checkpoints keep the moments of the ``VecNormalize`` that it was trained under.

    Attributes:
        between_rollouts: no rollout has begun since the latest update, so a training can be resumed from here.
    """

    between_rollouts = True
    named_classes: ClassVar[tuple[type, ...]] = ()  # of the algorithm's own, that its checkpoints may name

    def save(
        self,
        path: str | Path | io.BufferedIOBase,
        exclude: Any = None,
        include: Any = None,
        *,
        resume: bool = False,
        **kwargs: Any,
    ) -> None:
        """SB3's zip with what ``rltrack watch`` and ``eval`` read; see :mod:`rl_tracking.agents.saving.checkpoint`.

        Args:
            path: as in SB3.
            exclude: as in SB3.
            include: as in SB3.
            resume: save all that the training needs to continue as if it had never stopped: states of the worlds,
                generators, statistics; :meth:`load` with an environment like this one puts them back.
            **kwargs: as :func:`rl_tracking.agents.saving.checkpoint.save`.

        Raises:
            UsageError: ``resume`` in the middle of a rollout, or the worlds cannot be saved.
        """
        # As further members of the same zip: a checkpoint is one file.
        if resume:
            kwargs["members"] = {**kwargs.get("members", {}), **self._resume_members()}
        checkpoint.save(self, path, exclude, include, **kwargs)

    def _resume_members(self) -> dict[str, bytes]:
        # In a rollout branches and half a buffer would belong to the state; between two there is only the worlds'.
        if not self.between_rollouts:
            raise UsageError("save(resume=True) in the middle of a rollout: save after learn(), or in on_rollout_start")
        reason = "it has no environment" if self.env is None else resuming.why_not_exact(self)
        if reason is None:
            members = resuming.to_members(resuming.capture(self))
            if resuming.WORLDS in members:
                return members
            reason = "the states of its worlds have no form as bytes"
        raise UsageError(f"this training cannot be saved to continue exactly: {reason}; leave out resume=True")

    @classmethod
    def load(
        cls,
        path: str | Path | io.BufferedIOBase,
        env: GymEnv | None = None,
        device: torch.device | str = "auto",
        custom_objects: dict[str, Any] | None = None,
        *args: Any,
        resume: bool | None = None,
        trust: bool = False,
        **kwargs: Any,
    ) -> Self:
        """As in SB3, but opens no pickle. A model trained under a ``VecNormalize`` acts as it did.

        Classes, spaces and schedules come from what ``rltrack.json`` says of them; what only a pickle could give back
        (a policy class or a schedule of one's own) is given as a keyword, in ``custom_objects``, or trusted. The
        statistics of past episodes and the last observation start afresh, unless the file was saved to be resumed.

        A file of ``save(path, resume=True)``, or a run's checkpoint, has the states of the worlds, the generators and
        everything else with which ``learn(..., reset_num_timesteps=False)`` continues as if it had never stopped. They
        are put back where ``env`` is the same task in as many worlds.

        An ``env`` is wrapped in a ``VecNormalize`` with the saved moments, counts and limits, unless it brings one of
        its own that was used already; ``get_env()`` returns the result. Without ``env``, as in SB3, ``predict`` takes
        normalised observations, and a warning says so; :func:`rl_tracking.load_policy` takes them as they are.

        Args:
            path: a checkpoint.
            env: to continue in.
            device: as in SB3.
            custom_objects: as in SB3.
            *args: as in SB3.
            resume: False to leave ``env`` and the generators as they are; True to refuse a file that cannot be resumed.
            trust: open the pickles of the checkpoint, **which can run code**, and let code be run that it names.
            **kwargs: as in SB3.

        Raises:
            UsageError: the file is damaged; it has a pickle or names code that is needed and not trusted; the moments
                do not fit ``env``, or the wrappers around them are missing; or ``resume`` and the file has nothing to
                continue from, or is of another task.
        """
        # SB3 unpickles what it is not given, so it is given everything that would be unpickled.
        given = {**(custom_objects or {}), **kwargs}
        file, made = safe_loading.substitutes(path, given, cls.named_classes, trust=trust)
        model = super().load(file, env, device, {**made, **(custom_objects or {})}, *args, **kwargs)
        # The moments first: restored observations are those that the VecNormalize returned.
        if model.env is not None:
            model._put_moments_back()
            if resume is not False:
                model._resume_from(file.getvalue(), f"checkpoint '{path}'", needed=bool(resume))
        elif normalizer.saved_moments(model) is not None:
            warnings.warn(
                f"'{path}' was trained under a VecNormalize, and without env predict() takes normalised observations; "
                f"give {cls.__name__}.load() an env, which gets the moments, or use rl_tracking.load_policy()",
                stacklevel=2,
            )
        return model

    def _resume_from(self, content: bytes, name: str, *, needed: bool) -> None:
        members: dict[str, bytes] = {}
        said: dict[str, Any] = {}
        if is_ours(content, name):
            with open_members(content, name) as opened:
                members = {key: opened.read(key, limit) for key, limit in resuming.LIMITS.items() if key in opened}
                said = opened.everything
        if resuming.WORLDS not in members:
            if needed:
                raise UsageError(f"{name} was not saved with resume=True, so its training cannot continue exactly")
            return
        taken = resuming.from_members(members, name)
        # States fit only the same worlds; another task is a new training with old weights.
        differing = [key for key, here in description.worlds_of(self).items() if said.get(key) != here]
        assert self.env is not None
        if differing or len(taken["episode_starts"]) != self.env.num_envs:
            if needed:
                raise UsageError(f"{name} is of another task or number of worlds than env, and cannot continue there")
            return
        resuming.put(self, taken)

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "between_rollouts"]

    def set_env(self, env: GymEnv, force_reset: bool = True) -> None:
        """As in SB3; moments that were saved and have no environment yet come around this one."""
        super().set_env(env, force_reset)
        self._put_moments_back()

    def _put_moments_back(self) -> None:
        moments = normalizer.saved_moments(self)
        if moments is None:
            return
        assert self.env is not None
        self.env = normalizer.put_around(self.env, moments)
        self._vec_normalize_env = unwrap_vec_normalize(self.env)
        # The env holds them from here on, and save() reads them there.
        delattr(self, normalizer.MOMENTS)
