"""Plays episodes: play, pause, step, rewind, restart. Draws nothing, so it is tested without a window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from rl_tracking.envs.simulator import world_keys
from rl_tracking.runs.tasks.scenario_episodes import checked_pilot
from rl_tracking.viewer.frame import Array, Frame, Snapshot, between, padded, snapshot

if TYPE_CHECKING:
    from torch import Tensor

    from rl_tracking.envs.simulator import Simulator
    from rl_tracking.envs.transition import Transition
    from rl_tracking.runs.tasks import Pilot

TRAIL_STEPS = 110
SPEED_LIMITS = (0.125, 8.0)


@dataclass(frozen=True, eq=False)
class Record:
    """One step of the episode as it was: the state reached and what leads on from it.

    Attributes:
        state: the scenario's state (one world), an immutable value; setting it back restores the world.
        observation: what the pilot sees there, ``[1, O]``.
        view: the same state as arrays.
        distance: of the nearest pursuer to the target, as the step was judged [m].
        reward, terms: of the step that led here.
        episode_return: sum of rewards up to here.
        term_scale: greatest magnitude of a term up to here.
        reason: why the episode ended here; empty where it goes on.
    """

    state: Any
    observation: Tensor
    view: Snapshot
    distance: float
    reward: float = 0.0
    terms: tuple[tuple[str, float], ...] = ()
    episode_return: float = 0.0
    term_scale: float = 0.0
    reason: str = ""


class Runtime:
    """Where the playing is: one episode's records, the step shown, and the fraction towards the next one.

    Args:
        simulator: the world, a pure function of its state.
        pilot: chooses the actions.
        seed: of the first episode; each further episode takes the next one.
        episodes: stop after so many; None goes on for ever.
        hold: time an ended episode stays in view before the next one begins [s].
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
        self._facts: Any = getattr(simulator.scenario, "facts")  # noqa: B009 - of scenarios with a target
        self._low, self._high = padded(self._facts.arena_low), padded(self._facts.arena_high)
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
    def record(self) -> Record:
        """The record of the step shown."""
        return self._records[self._step]

    @property
    def records(self) -> tuple[Record, ...]:
        """Every step of the episode simulated so far."""
        return tuple(self._records)

    @property
    def ended(self) -> bool:
        """Whether the step shown is the episode's last one."""
        return bool(self.record.reason)

    @property
    def finished(self) -> bool:
        """Whether the last of ``episodes`` has ended and been held in view."""
        last = self.episodes is not None and self.episode + 1 >= self.episodes
        return last and self.ended and self._held >= self.hold

    def play(self) -> None:
        """Let time run."""
        self.paused = False

    def pause(self) -> None:
        """Stop time."""
        self.paused = True

    def toggle(self) -> None:
        """Pause, or play on."""
        self.paused = not self.paused

    def forward(self, steps: int = 1) -> None:
        """Pause and go on by whole steps, as far as the episode lasts."""
        self.pause()
        self._fraction = 0.0
        for _ in range(steps):
            if self.ended:
                return
            self._next_record()
            self._step += 1

    def back(self, steps: int = 1) -> None:
        """Pause and go back by whole steps, as far as the episode's beginning."""
        self.pause()
        self.rewind(max(0, self._step - steps))

    def rewind(self, step: int) -> None:
        """Show an earlier step of this episode again; played on from there, it is the same episode.

        Raises:
            ValueError: the step is not one that has been simulated.
        """
        if not 0 <= step < len(self._records):
            raise ValueError(f"step {step} is not among the {len(self._records) - 1} steps flown so far")
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
        """Let ``seconds`` of the watcher's time pass; nothing moves while paused."""
        if self.paused:
            return
        if self.ended:
            self._wait(seconds)
            return
        self._fraction += seconds * self.speed / self._facts.dt
        while self._fraction > 0.0:
            self._next_record()
            if self._fraction < 1.0:
                return
            self._step += 1
            self._fraction -= 1.0
            if self.ended:
                self._fraction = 0.0

    def frame(self) -> Frame:
        """The present moment as a picture needs it."""
        record, facts = self.record, self._facts
        moment, distance = self._moment()
        past = self._records[: self._step + 1]
        recent = [item.view for item in past[-TRAIL_STEPS:]] + [moment]
        distances = np.array([item.distance for item in past])
        return Frame(
            moment=moment,
            trails=np.stack([view.position for view in recent], axis=1),
            target_trail=np.stack([view.target_position for view in recent]),
            arena_low=self._low,
            arena_high=self._high,
            capture_radius=facts.capture_radius,
            distance=distance,
            closest=float(distances.min()),
            distances=distances,
            in_radius=distance <= facts.capture_radius,
            time_in_radius=float((distances[1:] <= facts.capture_radius).sum()) * facts.dt,
            step=self._step,
            max_steps=facts.max_steps,
            dt=facts.dt,
            time=(self._step + self._fraction) * facts.dt,
            reward=record.reward,
            terms=dict(record.terms),
            term_scale=record.term_scale,
            episode_return=record.episode_return,
            seed=self.seed,
            episode=self.episode,
            paused=self.paused,
            speed=self.speed,
            ended=self.ended,
            reason=record.reason,
            pilot=self.pilot.name,
            scenario=self.simulator.scenario.name,
        )

    def _moment(self) -> tuple[Snapshot, float]:
        """What is between the step shown and the next one, and the distance there [m]."""
        if self._fraction == 0.0:
            return self.record.view, self.record.distance
        now, after = self._records[self._step], self._records[self._step + 1]
        distance = now.distance + self._fraction * (after.distance - now.distance)
        return between(now.view, after.view, self._fraction, self._facts.dt), distance

    def _begin(self, seed: int) -> None:
        """Put the first state of an episode on view."""
        self.seed = seed
        state = self.simulator.initial(world_keys(seed, 1))
        view = snapshot(state)
        self._records = [Record(state, self.simulator.observation(state), view, view.distance)]
        self._step, self._fraction, self._held = 0, 0.0, 0.0

    def _wait(self, seconds: float) -> None:
        """Hold an ended episode in view, then begin the next one if there is one."""
        self._held += seconds
        if self._held >= self.hold and not self.finished:
            self.restart()

    def _next_record(self) -> None:
        """Simulate the step after the one shown, unless it has been."""
        if self._step + 1 < len(self._records):
            return
        before = self.record
        with torch.no_grad():
            action = self._act(before.state, before.observation)
            transition = self.simulator.transition(before.state, action)
        reward = float(transition.reward[0])
        terms = tuple((name, float(value[0])) for name, value in transition.terms.items())
        self._records.append(
            Record(
                state=transition.after,
                observation=transition.observation,
                view=snapshot(transition.after, before.view),
                distance=float(transition.measures["distance"][0]),
                reward=reward,
                terms=terms,
                episode_return=before.episode_return + reward,
                term_scale=max([before.term_scale, *(abs(value) for _, value in terms)]),
                reason=_reason(transition),
            )
        )

    @property
    def arena(self) -> tuple[Array, Array]:
        """Corners of the arena, ``[3]`` each [m]."""
        return self._low, self._high


def _reason(transition: Transition) -> str:
    """Why the episode ended with this step; empty if it did not."""
    if bool(transition.terminated[0]):
        return "captured" if bool(transition.measures["captured"][0]) else "terminated"
    return "time limit" if bool(transition.truncated[0]) else ""
