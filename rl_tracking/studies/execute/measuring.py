"""Watches one training: when to evaluate, when the budget is spent, and what the updates reported meanwhile."""

from __future__ import annotations

import dataclasses
import math
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger

from rl_tracking.errors import RunError
from rl_tracking.studies.config.study import Budget

_ENDLESS = 2**62  # macro-steps, where the callback stops the training
_REPORT_EVERY = 0.5  # seconds


@dataclasses.dataclass(frozen=True)
class Measured:
    """One evaluation.

    Attributes:
        macro_steps: decisions made so far.
        simulator_steps: steps simulated so far, all branches counted.
        seconds: of training so far, evaluations left out.
        metrics: figures of the evaluation.
        updates: means of what the updates since the evaluation before reported.
        checkpoints: shares of the budget whose snapshot is to be taken here.
    """

    macro_steps: int
    simulator_steps: int
    seconds: float
    metrics: dict[str, float | None]
    updates: dict[str, float]
    checkpoints: tuple[float, ...] = ()


class UpdateFigures(Logger):
    """An SB3 logger that writes nothing and keeps every ``train/`` figure until it is asked for the means."""

    def __init__(self) -> None:
        super().__init__(None, [])
        self._figures: dict[str, list[float]] = defaultdict(list)

    def record(self, key: str, value: Any, exclude: str | tuple[str, ...] | None = None) -> None:
        """As in SB3; numbers that are not finite are left out of the means."""
        super().record(key, value, exclude)
        if key.startswith("train/") and math.isfinite(float(value)):
            self._figures[key.removeprefix("train/")].append(float(value))

    def take(self) -> dict[str, float]:
        """The mean of each figure since the last call."""
        means = {name: math.fsum(values) / len(values) for name, values in self._figures.items()}
        self._figures.clear()
        return means


class MeasuringCallback(BaseCallback):
    """Evaluates at the first rollout boundary at or after every point and checkpoint, before training and at the end.

    A budget in macro-steps is SB3's own: the rollout that passes it is finished and learned from. One in simulator
    steps or seconds ends at the step that spends it: the policy is then that of the last update.

    Args:
        budget: how long to train.
        points: how many even parts of it are evaluated.
        checkpoints: rising shares of it that are evaluated too.
        measure: evaluates a model.
        keep: receives each evaluation, while the model is still what was evaluated.
        on_progress: called with the share of the budget that is spent, twice a second at most.
    """

    def __init__(
        self,
        budget: Budget,
        points: int,
        checkpoints: Sequence[float],
        measure: Callable[[BaseAlgorithm], dict[str, float | None]],
        keep: Callable[[Measured], None],
        on_progress: Callable[[float], None] | None = None,
    ) -> None:
        super().__init__()
        self._budget, self._points, self._checkpoints = budget, points, list(checkpoints)
        self._measure, self._keep, self._on_progress = measure, keep, on_progress
        self._next_point = 1
        self._trained, self._since, self._reported = 0.0, 0.0, 0.0
        self._steps_of_rollout = self._updates = 0
        self._measured_at = -1  # macro-steps of the latest evaluation
        self._began = self._over = False

    def learn(self, model: BaseAlgorithm, figures: UpdateFigures) -> None:
        """Train a model whose logger is ``figures`` until the budget is spent.

        Raises:
            RunError: the budget ended before the first update.
        """
        self._figures = figures
        model.learn(int(self._budget.amount) if self._budget.unit == "macro_steps" else _ENDLESS, callback=self)
        if self._updates == 0:
            raise RunError(f"the budget of {self._budget} ended within the first rollout, so nothing was learned")

    def remaining(self) -> float:
        """Share of the budget that is left, which the schedules of the model are to follow."""
        return 1.0 - self._share() if self._began else 1.0

    def _on_training_start(self) -> None:
        self._began = True
        self._evaluate(0.0)
        self._since = time.perf_counter()

    def _on_rollout_start(self) -> None:
        # Here the latest update is complete and no rollout has begun.
        if self._steps_of_rollout:
            self._updates += 1
        self._steps_of_rollout = 0
        spent, amount = self._spent(), self._budget.amount
        if spent * self._points >= self._next_point * amount or self._due(spent):
            self._pause()
            self._evaluate(spent)
            self._since = time.perf_counter()
            self._next_point = int(spent * self._points // amount) + 1
        self._over = spent >= amount

    def _on_step(self) -> bool:
        self._steps_of_rollout += 1
        share = self._share()
        now = time.perf_counter()
        if self._on_progress is not None and now - self._reported > _REPORT_EVERY:
            self._reported = now
            self._on_progress(share)
        if self._budget.unit == "macro_steps":
            return True
        complete = self._steps_of_rollout >= self._rollout_steps()
        return not self._over and (share < 1.0 or complete)

    def _on_training_end(self) -> None:
        self._pause()
        if self._over:  # evaluated where the budget ended, at the start of a rollout
            return
        if self._budget.unit == "macro_steps":
            self._updates += 1
        self._evaluate(math.inf)

    def _pause(self) -> None:
        self._trained += time.perf_counter() - self._since

    def _share(self) -> float:
        """Share of the budget that is spent, 1 at most."""
        return min(1.0, self._spent() / self._budget.amount)

    def _spent(self) -> float:
        if self._budget.unit == "macro_steps":
            return self.model.num_timesteps
        if self._budget.unit == "simulator_steps":
            return self._simulator_steps()
        return self._trained + time.perf_counter() - self._since

    def _rollout_steps(self) -> int:
        """Macro-steps of each world in a rollout."""
        model: Any = self.model
        train_freq = getattr(model, "train_freq", None)  # of off-policy algorithms, whose n_steps are of a return
        return int(model.n_steps if train_freq is None else train_freq.frequency)

    def _simulator_steps(self) -> int:
        """Steps simulated; an algorithm without branches counts macro-steps only."""
        return int(getattr(self.model, "num_simulator_steps", self.model.num_timesteps))

    def _due(self, spent: float) -> list[float]:
        """The checkpoints that have been reached and not been evaluated."""
        return [share for share in self._checkpoints if spent >= share * self._budget.amount]

    def _evaluate(self, spent: float) -> None:
        due = self._due(spent)
        self._checkpoints = self._checkpoints[len(due) :]
        self._keep(
            Measured(
                macro_steps=self.model.num_timesteps,
                simulator_steps=self._simulator_steps(),
                seconds=self._trained,
                metrics=self._measure(self.model),
                updates=self._figures.take(),
                checkpoints=tuple(due),
            )
        )
