"""The training run of a gradient study, and the snapshots that are taken along it."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger

from rl_tracking import files
from rl_tracking.agents.extensions.critic_weight import ExplainedCriticWeight
from rl_tracking.agents.saving import weights
from rl_tracking.errors import UsageError
from rl_tracking.runs.settings import Settings, resolve
from rl_tracking.runs.train import build
from rl_tracking.studies.gradients.spec import GradientStudy, Place


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """What estimators start from.

    Attributes:
        policy: state dict of the policy, the critic within.
        trust: how far the critic is trusted, in [0, 1]; None if that is not learned.
    """

    policy: dict[str, Any]
    trust: float | None

    @classmethod
    def of(cls, model: Any) -> Snapshot:
        """Of a model as it is now."""
        weight = getattr(model, "critic_weight", None)
        return cls(_copy(model.policy), weight.share if isinstance(weight, ExplainedCriticWeight) else None)

    def save(self, path: Path) -> None:
        """Write it; the file is complete or not there."""
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_tensors(path, dataclasses.asdict(self))

    @classmethod
    def load(cls, path: Path) -> Snapshot:
        """Read it; nothing but tensors and numbers is opened.

        Raises:
            UsageError: it is damaged.
        """
        found = weights.read(path.read_bytes(), f"snapshot '{path}'")
        if not isinstance(found, dict) or set(found) != {field.name for field in dataclasses.fields(cls)}:
            raise UsageError(f"snapshot '{path}' is damaged: it holds something else")
        return cls(**found)


def _copy(module: torch.nn.Module) -> dict[str, Any]:
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


def settings_of(study: GradientStudy, task: Place) -> Settings:
    """The settings of the training run on a task.

    Raises:
        UsageError: an unknown setting, or one that gradients are not measured with.
    """
    training = study.training
    settings = resolve(
        given={"algo": training.algo, "scenario": task.scenario, "seed": training.seed, "steps": training.steps},
        values={**training.settings, **task.settings},
        parameters=task.parameters,
    )
    if settings.normalize:
        raise UsageError("gradients are measured without normalised observations; leave out normalize")
    if settings.device != "cpu":
        raise UsageError(f"gradients are measured on the cpu; leave out device '{settings.device}'")
    return settings


def untrained(settings: Settings) -> Snapshot:
    """What a run begins with.

    Raises:
        UsageError: the algorithm refuses its settings.
    """
    return Snapshot.of(build(msgspec.structs.replace(settings, num_envs=1)))


def train(
    settings: Settings,
    shares: tuple[float, ...],
    keep: Callable[[float, BaseAlgorithm], None],
    on_progress: Callable[[float], None] | None = None,
) -> None:
    """Train, and show the model where the run has come to each of ``shares``, at the end of the update it is in.

    Args:
        settings: of the run.
        shares: of its steps, rising.
        keep: called with the share and the model.
        on_progress: called with the share of the steps that are done.
    """
    model = build(settings)
    model.set_logger(Logger(None, []))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what SB3 advises is for whoever writes the study
        model.learn(settings.steps, callback=_Along(settings.steps, shares, keep, on_progress))


class _Along(BaseCallback):
    def __init__(
        self,
        steps: int,
        shares: tuple[float, ...],
        keep: Callable[[float, BaseAlgorithm], None],
        on_progress: Callable[[float], None] | None,
    ) -> None:
        super().__init__()
        self._steps, self._left, self._keep, self._on_progress = steps, list(shares), keep, on_progress

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        # Here the latest update is complete and no rollout has begun.
        while self._left and self.model.num_timesteps >= self._left[0] * self._steps:
            self._keep(self._left.pop(0), self.model)
        if self._on_progress is not None:
            self._on_progress(min(1.0, self.model.num_timesteps / self._steps))

    def _on_training_end(self) -> None:
        for share in self._left:
            self._keep(share, self.model)
