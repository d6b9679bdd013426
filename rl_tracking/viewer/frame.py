"""Everything one picture shows."""

from __future__ import annotations

from dataclasses import dataclass

from rl_tracking.viewer.moment import Array, Moment, Number
from rl_tracking.viewer.played import PlayedStep


@dataclass(frozen=True, eq=False)
class Frame:
    """One moment of an episode, of K bodies.

    Attributes:
        moment: bodies, zones, lines and numbers at this moment, between two steps.
        shown: the last step before this moment: its rewards, its action, and how the episode ended if it did.
        trails: where each body was, oldest first, ending at the present position, ``[K, T, 3]`` [m].
        low, high: corners of the arena, ``[3]`` [m].
        history: the chart's number at every step so far, ``[step + 1]``; empty where the scene has no chart.
        step: steps done, of at most ``max_steps``; ``dt`` [s] each.
        time: since the episode began [s], between two steps.
        seed, episode: which world this is, and how many episodes have been shown before it.
        paused, speed: how it is being played; a speed of 1 is real time.
        metrics: of the finished episode, by title; empty before.
        pilot, scenario: names.
    """

    moment: Moment
    shown: PlayedStep
    trails: Array
    low: Array
    high: Array
    history: Array
    step: int
    max_steps: int
    dt: float
    time: float
    seed: int
    episode: int
    paused: bool
    speed: float
    metrics: dict[str, str]
    pilot: str
    scenario: str

    @property
    def ended(self) -> bool:
        """Whether this is the last moment of the episode."""
        return bool(self.shown.reason)

    @property
    def chart(self) -> Number | None:
        """The number that the chart shows, at this moment."""
        return None if self.moment.chart is None else self.moment.numbers[self.moment.chart]
