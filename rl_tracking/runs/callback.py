"""What a run does between rollouts: report progress, save checkpoints, and stop when asked to."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.utils import safe_mean

from rl_tracking.agents.collect import failing_numbers as failures
from rl_tracking.agents.saving import resuming
from rl_tracking.envs.totals import Metric
from rl_tracking.runs.folder import Boundary, RunFolder, RunState
from rl_tracking.runs.log import RunLog

_SAVE_EVERY = 10.0  # seconds between checkpoints of a run in progress


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far a run is; rates are of the whole run, figures are means over the latest episodes.

    Attributes:
        macro_steps: decisions made.
        simulator_steps: steps simulated, all branches counted.
        total: budget in macro-steps.
        seconds: of training.
        episode_return: NaN before the first episode ends.
        success_rate: NaN where no episode has ended or episodes do not say whether they succeeded.
        metrics: those of the task that its worlds report of finished episodes, over the episodes that have a value.
    """

    macro_steps: int
    simulator_steps: int
    total: int
    seconds: float
    episode_return: float
    success_rate: float = math.nan
    metrics: Mapping[Metric, float] = dataclasses.field(default_factory=dict)

    @property
    def macro_steps_per_second(self) -> float:
        """Decisions a second."""
        return self.macro_steps / max(self.seconds, 1e-9)

    @property
    def seconds_left(self) -> float:
        """At the present rate."""
        return max(0.0, self.total - self.macro_steps) / max(self.macro_steps_per_second, 1e-9)


def score_of(model: BaseAlgorithm) -> float:
    """What decides which checkpoint is the best: the mean return of the latest episodes; NaN before the first ends."""
    episodes = list(model.ep_info_buffer or [])
    return float(safe_mean([item["r"] for item in episodes])) if episodes else math.nan


class RunCallback(BaseCallback):
    """Reports progress, saves now and then, and stops when asked to.

    Args:
        total: budget in macro-steps.
        metrics: of the task; progress has those that its worlds report.
        folder: of the run.
        earlier: where the run continues from; None at its beginning.
        on_progress: called after every rollout.
        should_stop: asked at every macro-step.

    Attributes:
        stopped: it was asked to stop.
        seconds: of training, earlier parts of the run included.
        boundary: the latest end of an update, or the beginning.
    """

    def __init__(
        self,
        total: int,
        metrics: Sequence[Metric],
        folder: RunFolder,
        earlier: Boundary | None,
        on_progress: Callable[[Progress], None] | None,
        should_stop: Callable[[], bool] | None,
    ) -> None:
        super().__init__()
        self.stopped = False
        self._total, self._metrics, self._folder = total, metrics, folder
        self._again = earlier if earlier is not None and earlier.state.at_rollout_start else None
        self._seconds_before = earlier.state.seconds if earlier else 0.0
        self._best = earlier.state.best if earlier else None
        self._on_progress, self._should_stop = on_progress, should_stop
        self.seconds = self._seconds_before
        self.boundary: Boundary

    def _on_training_start(self) -> None:
        self._started = time.perf_counter()
        self._saved: float | None = self._started if self._seconds_before else None
        # SB3's rates and times are of the whole run, too.
        self.model.start_time -= int(self._seconds_before * 1e9)
        self.model._num_timesteps_at_start = 0

    def _on_rollout_start(self) -> None:
        # Here the latest update is complete and no rollout has begun: the place to save.
        if self._again is not None:
            # SB3 has drawn exploration noise by now; the checkpoint was taken after that.
            resuming.put(self.model, self._again.taken, resuming.GENERATORS)
            self._again = None
        self._take(at_rollout_start=True)
        if self.boundary.macro_steps > 0 and self._save_is_due():
            self.save()
            self._saved = time.perf_counter()

    def _save_is_due(self) -> bool:
        return self._saved is None or time.perf_counter() - self._saved > _SAVE_EVERY

    def _take(self, *, at_rollout_start: bool) -> None:
        failures.check_model(self.model)
        state = RunState(at_rollout_start, self._elapsed(), self._best, self._log.position())
        self.boundary = Boundary(resuming.capture(self.model), state)

    @property
    def _log(self) -> RunLog:
        log = self.model.logger
        assert isinstance(log, RunLog)
        return log

    def save(self) -> None:
        """Save the model, which is at the boundary."""
        self._log.sync()
        self._folder.save(self.model, self.boundary, score_of(self.model))
        self._best = self.boundary.state.best

    def end(self) -> None:
        """Save the end of the training; where it was stopped in the middle of a rollout, the beginning of that."""
        if self.stopped:
            resuming.put(self.model, self.boundary.taken)
            self._log.rewind(self.boundary.state.log)
            self.boundary.state.seconds = self.seconds
        else:
            self._take(at_rollout_start=False)
        self.save()

    def _on_step(self) -> bool:
        self.stopped = self._should_stop is not None and self._should_stop()
        return not self.stopped

    def _on_rollout_end(self) -> None:
        self.seconds = self._elapsed()
        if self._on_progress is not None:
            self._on_progress(self._progress())

    def _on_training_end(self) -> None:
        self.seconds = self._elapsed()

    def _elapsed(self) -> float:
        return self._seconds_before + time.perf_counter() - self._started

    def _progress(self) -> Progress:
        model = self.model
        episodes = list(model.ep_info_buffer or [])
        successes = list(model.ep_success_buffer or [])
        reported = {metric: [item[metric.name] for item in episodes if metric.name in item] for metric in self._metrics}
        return Progress(
            macro_steps=model.num_timesteps,
            simulator_steps=getattr(model, "num_simulator_steps", model.num_timesteps),
            total=self._total,
            seconds=self.seconds,
            episode_return=score_of(model),
            success_rate=float(safe_mean(successes)) if successes else math.nan,
            metrics={metric: float(safe_mean(values)) for metric, values in reported.items() if values},
        )
