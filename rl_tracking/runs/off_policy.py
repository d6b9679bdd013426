"""What is different in a run of an off-policy algorithm: its rollouts are a few steps long."""

from __future__ import annotations

import time

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

from rl_tracking.runs.callback import RunCallback

_REPORT_EVERY = 0.1  # seconds between reports of progress
_LARGEST_SHARE = 0.05  # of the time that saving may take: a checkpoint holds the replay buffer


def callback_of(model: BaseAlgorithm) -> type[RunCallback]:
    """What watches a run of a model."""
    return ReplayRunCallback if isinstance(model, OffPolicyAlgorithm) else RunCallback


def log_interval(model: BaseAlgorithm) -> int:
    """Rollouts after which figures are written; of an off-policy algorithm, episodes: one of each world."""
    return model.n_envs if isinstance(model, OffPolicyAlgorithm) else 1


class ReplayRunCallback(RunCallback):
    """As its base, but reads the model only where it is saved, and reports progress ten times a second at most.

    A stop is asked for at every macro-step and takes effect in the first step of a rollout, before that step is stored:
    the replay buffer is then as it was at the boundary.
    """

    _reported = _saving = 0.0
    _stop_asked = _in_first_step = False

    def _on_rollout_start(self) -> None:
        self._ask()
        self._in_first_step = True
        if self._again is not None or self._stop_asked or self._save_is_due():
            super()._on_rollout_start()

    def _ask(self) -> None:
        self._stop_asked = self._stop_asked or (self._should_stop is not None and self._should_stop())

    def save(self) -> None:
        """See :class:`RunCallback`."""
        began = time.perf_counter()
        super().save()
        self._saving = time.perf_counter() - began

    def _save_is_due(self) -> bool:
        paused = self._saved is None or time.perf_counter() - self._saved > self._saving / _LARGEST_SHARE
        return paused and super()._save_is_due()

    def _on_step(self) -> bool:
        # What is asked for later than in the first step waits for the next rollout, where the boundary is taken.
        self.stopped = self._in_first_step and self._stop_asked
        self._in_first_step = False
        self._ask()
        return not self.stopped

    def _on_rollout_end(self) -> None:
        self.seconds = self._elapsed()
        if self._on_progress is not None and self.seconds - self._reported >= _REPORT_EVERY:
            self._reported = self.seconds
            self._on_progress(self._progress())

    def _on_training_end(self) -> None:
        super()._on_training_end()
        if self._on_progress is not None and not self.stopped:
            self._on_progress(self._progress())
