"""Plays episodes: play, pause, step, rewind, restart. Draws nothing, so that it can be tested without a window."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch

from rl_tracking.envs.simulator import world_keys
from rl_tracking.runs.tasks import checked_pilot
from rl_tracking.viewer.frame import Frame
from rl_tracking.viewer.moment import NO_VALUE, Moment, between, padded
from rl_tracking.viewer.played import PlayedStep, first_step, next_step

if TYPE_CHECKING:
    from rl_tracking.envs.simulator import Simulator
    from rl_tracking.envs.totals import Metric
    from rl_tracking.runs.tasks import Pilot

TRAIL_STEPS = 110
SPEED_LIMITS = (0.125, 8.0)


class Runtime:
    """Plays one episode after another: the steps played so far, the one shown, and how far the next one has begun.

    Args:
        simulator: the world, a pure function of its state.
        pilot: acts.
        seed: of the first episode; each further episode takes the next one.
        episodes: stop after so many; None never stops.
        hold: how long the end of an episode is shown before the next one begins [s].
    """

    def __init__(
        self,
        simulator: Simulator,
        pilot: Pilot,
        seed: int = 0,
        *,
        episodes: int | None = None,
        hold: float = 1.2,
    ) -> None:
        if episodes is not None and episodes < 1:
            raise ValueError(f"the number of episodes must be at least 1, not {episodes}")
        self.simulator, self.pilot = simulator, pilot
        self._act = checked_pilot(pilot, simulator.action_shape)
        self.episodes, self.hold = episodes, hold
        self.paused, self.speed = False, 1.0
        self.seed, self.episode = seed, 0
        self._scenario = simulator.scenario
        self._begin(seed)

    @property
    def step(self) -> int:
        """Steps done in the episode, at the moment shown."""
        return self._step

    @property
    def fraction(self) -> float:
        """Share of the way from this step to the next one, in [0, 1)."""
        return self._fraction

    @property
    def shown(self) -> PlayedStep:
        """The step shown."""
        return self._played[self._step]

    @property
    def played(self) -> tuple[PlayedStep, ...]:
        """Every step of the episode simulated so far."""
        return tuple(self._played)

    @property
    def ended(self) -> bool:
        """Whether the step shown is the episode's last one."""
        return bool(self.shown.reason)

    @property
    def finished(self) -> bool:
        """Whether the last of ``episodes`` has ended and has been shown long enough."""
        last = self.episodes is not None and self.episode + 1 >= self.episodes
        return last and self.ended and self._held >= self.hold

    def play(self) -> None:
        """Resume."""
        self.paused = False

    def pause(self) -> None:
        """Pause."""
        self.paused = True

    def toggle(self) -> None:
        """Pause, or resume."""
        self.paused = not self.paused

    def forward(self, steps: int = 1) -> None:
        """Pause and advance by whole steps, to the end of the episode at most."""
        self.pause()
        self._fraction = 0.0
        for _ in range(steps):
            if self.ended:
                return
            self._next_step()
            self._step += 1

    def back(self, steps: int = 1) -> None:
        """Pause and go back by whole steps, to the start of the episode at most."""
        self.pause()
        self.rewind(max(0, self._step - steps))

    def rewind(self, step: int) -> None:
        """Show another step of this episode; played from there, the episode repeats exactly.

        Raises:
            ValueError: the step is not one that has been simulated.
        """
        if not 0 <= step < len(self._played):
            raise ValueError(f"step {step} is not among the {len(self._played) - 1} steps simulated so far")
        self._step, self._fraction, self._held = step, 0.0, 0.0

    def restart(self, seed: int | None = None) -> None:
        """Begin the next episode, with the next seed unless one is given."""
        self.episode += 1
        self._begin(self.seed + 1 if seed is None else seed)

    def faster(self, factor: float) -> None:
        """Multiply the playing speed, within ``SPEED_LIMITS``."""
        low, high = SPEED_LIMITS
        self.speed = min(max(self.speed * factor, low), high)

    def advance(self, seconds: float) -> None:
        """Advance by ``seconds`` of real time; nothing moves while paused."""
        if self.paused:
            return
        if self.ended:
            self._wait(seconds)
            return
        self._fraction += seconds * self.speed / self._scenario.dt
        while self._fraction > 0.0:
            self._next_step()
            if self._fraction < 1.0:
                return
            self._step += 1
            self._fraction -= 1.0
            if self.ended:
                self._fraction = 0.0

    def frame(self) -> Frame:
        """Everything that a picture of this moment shows."""
        moment, scenario = self._moment(), self._scenario
        past = [step.moment for step in self._played[: self._step + 1]]
        same = [then.position for then in past[-TRAIL_STEPS:] if then.bodies is moment.bodies]
        chart = moment.chart
        return Frame(
            moment=moment,
            shown=self.shown,
            trails=np.stack([*same, moment.position], axis=1),
            low=self._low,
            high=self._high,
            history=np.array([then.numbers[chart].value for then in past if chart in then.numbers] if chart else []),
            step=self._step,
            max_steps=scenario.max_steps,
            dt=scenario.dt,
            time=(self._step + self._fraction) * scenario.dt,
            seed=self.seed,
            episode=self.episode,
            paused=self.paused,
            speed=self.speed,
            metrics=self._metrics(),
            pilot=self.pilot.name,
            scenario=scenario.name,
        )

    def _moment(self) -> Moment:
        """The motion between the step shown and the next one."""
        if self._fraction == 0.0:
            return self.shown.moment
        now, after = self._played[self._step], self._played[self._step + 1]
        return between(now.moment, after.moment, self._fraction, self._scenario.dt)

    def _metrics(self) -> dict[str, str]:
        """The scenario's metrics of the episode, by title, once it has ended."""
        if not self.ended:
            return {}
        values = self.simulator.metrics(self.shown.state)
        return dict(_in_words(metric, float(values[metric.name][0])) for metric in self._scenario.metrics)

    def _begin(self, seed: int) -> None:
        """Show the first state of an episode."""
        self.seed = seed
        state = self.simulator.initial(world_keys(seed, 1))
        scene = self._scenario.scene(state)
        self._low, self._high = padded(scene.low), padded(scene.high)
        self._played = [first_step(self._scenario, state, self.simulator.observation(state))]
        self._step, self._fraction, self._held = 0, 0.0, 0.0

    def _wait(self, seconds: float) -> None:
        """Keep showing an ended episode for a while, then begin the next one if there is one."""
        self._held += seconds
        if self._held >= self.hold and not self.finished:
            self.restart()

    def _next_step(self) -> None:
        """Simulate the step after the one shown, unless it has been."""
        if self._step + 1 < len(self._played):
            return
        before = self.shown
        with torch.no_grad():
            action = self._act(before.state, before.observation)
            transition = self.simulator.transition(before.state, action)
        self._played.append(next_step(self._scenario, before, transition))


def _in_words(metric: Metric, value: float) -> tuple[str, str]:
    """The title and the value of a metric of a single episode."""
    if metric.statistic == "ever":
        return metric.measure.replace("_", " "), "yes" if value else "no"
    return metric.title, metric.text(value) if math.isfinite(value) else NO_VALUE
