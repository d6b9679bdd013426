"""A world small enough to be known by heart: one pursuer flies along x, the target waits."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from rl_tracking.viewer.runtime import Runtime

DT = 0.1


class LineWorld:
    """Pursuer at (seed-independent) x = 1 + step [m], height 3; target at (6, 5, 3); 10 m arena.

    An action of 1 is a step of 1 m; the reward terms are 1 and -step.
    """

    def __init__(self, steps: int = 8, dimensions: int = 3, radius: float = 1.5, terminates: bool = False) -> None:
        self.dimensions, self.terminates, self.calls, self.action_shape = dimensions, terminates, 0, (1,)
        facts = SimpleNamespace(
            dt=DT,
            max_steps=steps,
            capture_radius=radius,
            arena_low=torch.zeros(dimensions),
            arena_high=torch.full((dimensions,), 10.0),
        )
        self.scenario = SimpleNamespace(name="line", facts=facts, dt=DT, max_steps=steps)

    def initial(self, key: Tensor) -> Any:
        return self._state(0, torch.tensor([[[1.0, 5.0, 3.0]]]), int(key[0]))

    def _state(self, step: int, position: Tensor, key: int) -> Any:
        d = self.dimensions
        velocity = torch.zeros(1, 1, d)
        velocity[..., 0] = 1.0 / DT if step else 0.0
        return SimpleNamespace(
            position=position[..., :d],
            velocity=velocity,
            acceleration=torch.zeros(1, 1, d),
            target_position=torch.tensor([[6.0, 5.0, 3.0]])[:, :d],
            target_velocity=torch.zeros(1, d),
            step=step,
            key=key,
        )

    def observation(self, state: Any) -> Tensor:
        return torch.tensor([[float(state.step)]])

    def transition(self, state: Any, action: Tensor) -> Any:
        self.calls += 1
        step = state.step + 1
        full = torch.zeros(1, 1, 3)
        full[..., : self.dimensions] = state.position
        full[..., 0] += float(action[0, 0])
        after = self._state(step, full, state.key)
        nearest = (after.position - after.target_position).norm(dim=-1).amin(dim=-1)
        captured = nearest <= self.scenario.facts.capture_radius
        terminated = captured & self.terminates
        return SimpleNamespace(
            after=after,
            observation=self.observation(after),
            reward=torch.tensor([1.0 - step]),
            terms={"alive": torch.tensor([1.0]), "late": torch.tensor([-float(step)])},
            terminated=terminated,
            truncated=torch.tensor([step >= self.scenario.max_steps]) & ~terminated,
            measures={"distance": nearest, "captured": captured},
        )


class Ahead:
    """Always one metre along x."""

    name = "ahead"

    def act(self, state: Any, observation: Tensor) -> Tensor:
        return torch.tensor([[1.0]])


Make = Callable[..., Runtime]


@pytest.fixture
def make() -> Make:
    """``make(seed=..., episodes=..., hold=..., **world)``: a runtime over a LineWorld."""

    def build(seed: int = 0, episodes: int | None = None, hold: float = 1.0, **world: Any) -> Runtime:
        simulator: Any = LineWorld(**world)
        return Runtime(simulator, Ahead(), seed, episodes=episodes, hold=hold)

    return build
