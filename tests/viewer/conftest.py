"""Worlds small enough to be known by heart: one pursuer that flies along x, and a scene with one of everything."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from rl_tracking.envs.scene import Bodies, Lines, Scene, Zone
from rl_tracking.envs.totals import Metric
from rl_tracking.viewer.runtime import Runtime

DT = 0.1
TARGET = torch.tensor([[[6.0, 5.0, 3.0]]])


class LineWorld:
    """Pursuer at (seed-independent) x = 1 + step [m], height 3; target at (6, 5, 3); 10 m arena.

    An action of 1 is a step of 1 m; the reward terms are 1 and -step. Its scene has a sphere about the target, the line
    between the two, and their distance as a chart.
    """

    def __init__(self, steps: int = 8, dimensions: int = 3, radius: float = 1.5, terminates: bool = False) -> None:
        self.dimensions, self.radius, self.terminates, self.calls = dimensions, radius, terminates, 0
        metrics = (
            Metric("capture_rate", "captured", "ever", success=True),
            Metric("mean_distance", "distance", "mean", "m"),
            Metric("time_to_capture", "captured", "first", "s"),
        )
        self.scenario = SimpleNamespace(
            name="line",
            dt=DT,
            max_steps=steps,
            agents=("pursuer",),
            shared_reward=True,
            metrics=metrics,
            action_space=SimpleNamespace(shape=(1,)),
            scene=self.scene,
        )
        self.action_shape = (1,)

    def initial(self, key: Tensor) -> Any:
        return self._state(0, torch.tensor([[[1.0, 5.0, 3.0]]]), int(key[0]))

    def _state(self, step: int, position: Tensor, key: int) -> Any:
        velocity = torch.zeros(1, 1, self.dimensions)
        velocity[..., 0] = 1.0 / DT if step else 0.0
        return SimpleNamespace(position=position[..., : self.dimensions], velocity=velocity, step=step, key=key)

    def distance(self, state: Any) -> Tensor:
        return (state.position - TARGET[..., : self.dimensions]).norm(dim=-1).amin(dim=-1)

    def scene(self, state: Any) -> Scene:
        target, distance = TARGET[..., : self.dimensions], self.distance(state)
        return Scene(
            low=torch.zeros(self.dimensions),
            high=torch.full((self.dimensions,), 10.0),
            bodies=(
                Bodies("pursuer", "drone", "pursuer", state.position, state.velocity, torch.zeros_like(state.velocity)),
                Bodies("target", "ball", "target", target, torch.zeros_like(target)),
            ),
            zones=(
                Zone("capture radius", "sphere", target[:, 0], torch.tensor([self.radius]), distance <= self.radius),
            ),
            lines=(Lines("line of sight", torch.cat((state.position, target), dim=1)[:, None]),),
            numbers={"distance": (distance, "m"), "lap": (torch.tensor([3.0]), "")},
            chart="distance",
            level=self.radius,
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
        captured = self.distance(after) <= self.radius
        terminated = captured & self.terminates
        reward = torch.tensor([1.0 - step])
        return SimpleNamespace(
            after=after,
            action=action,
            observation=self.observation(after),
            reward=reward,
            rewards=reward,
            terms={"alive": torch.tensor([1.0]), "late": torch.tensor([-float(step)])},
            measures={"captured": captured, "distance": self.distance(after)},
            terminated=terminated,
            truncated=torch.tensor([step >= self.scenario.max_steps]) & ~terminated,
        )

    def metrics(self, state: Any) -> dict[str, Tensor]:
        captured = (self.distance(state) <= self.radius).double()
        return {
            "capture_rate": captured,
            "mean_distance": torch.tensor([2.5]),
            "time_to_capture": torch.tensor([torch.nan]),
        }


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


class FleetWorld:
    """Three pursuers paid one by one by discrete actions, two targets, obstacles, zones of every shape; no chart.

    The pursuers circle; the episode ends after 40 steps in a crash.
    """

    def __init__(self, dimensions: int = 3, pursuers: int = 3) -> None:
        self.dimensions, self.pursuers = dimensions, pursuers
        self.scenario = SimpleNamespace(
            name="fleet",
            dt=DT,
            max_steps=60,
            agents=tuple(f"pursuer_{i}" for i in range(pursuers)),
            shared_reward=False,
            metrics=(Metric("order", "order", "mean", headline=True),),
            action_space=SimpleNamespace(shape=(pursuers,)),
            scene=self.scene,
        )
        self.action_shape = (pursuers,)

    def initial(self, key: Tensor) -> Any:
        return SimpleNamespace(step=0)

    def observation(self, state: Any) -> Tensor:
        return torch.zeros(1, 1)

    def _circle(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """Positions, velocities and accelerations ``[1, P, D]`` on a circle of 12 m, once round in 6 s."""
        rate = 2 * torch.pi / 6.0
        angle = rate * DT * step + torch.arange(self.pursuers) * 2 * torch.pi / self.pursuers
        ring = torch.stack((angle.cos(), angle.sin(), 0.2 * (2 * angle).sin()), dim=-1)[None]
        tangent = torch.stack((-angle.sin(), angle.cos(), torch.zeros_like(angle)), dim=-1)[None]
        level = ring * torch.tensor([1.0, 1.0, 0.0])
        centre = torch.tensor([20.0, 20.0, 9.0])
        every = (centre + 12 * ring, 12 * rate * tangent, -12 * rate**2 * level)
        return tuple(tensor[..., : self.dimensions] for tensor in every)

    def scene(self, state: Any) -> Scene:
        d, none = self.dimensions, torch.tensor([False])
        position, velocity, acceleration = self._circle(state.step)
        targets = torch.tensor([[[18.0, 22.0, 12.0], [31.0, 12.0, 8.0]]])[..., :d]

        def at(*place: float) -> Tensor:
            return torch.tensor([place])[:, :d]

        lit = torch.tensor([state.step % 20 >= 10])
        return Scene(
            low=torch.zeros(d),
            high=torch.tensor([40.0, 40.0, 24.0])[:d],
            bodies=(
                Bodies("pursuers", "drone", "pursuer", position, velocity, acceleration),
                Bodies("targets", "ball", "target", targets, torch.zeros_like(targets)),
                Bodies(
                    "pillars",
                    "box",
                    "obstacle",
                    torch.tensor([[[8.0, 30.0, 3.0], [33.0, 30.0, 3.0]]])[..., :d],
                    size=3.0,
                ),
                Bodies("rock", "ball", "obstacle", at(26.0, 26.0, 2.0)[:, None], size=2.0),
                Bodies("base", "box", "other", at(6.0, 6.0, 1.0)[:, None], size=1.0),
            ),
            zones=(
                Zone("sight", "sphere", targets[:, 0], torch.tensor([2.5]), lit),
                Zone("orbit", "ring", at(20.0, 20.0, 9.0), torch.tensor([12.0]), none),
                Zone("gate", "box", at(31.0, 12.0, 8.0), torch.tensor([[2.0, 4.0, 3.0]])[:, :d], lit),
                Zone("no entry", "cylinder", at(9.0, 12.0, 0.0), torch.tensor([4.0])),
            ),
            lines=(Lines("formation", torch.stack((position, position.roll(-1, dims=1)), dim=2)),),
            numbers={"order": (torch.tensor([0.25]), ""), "spacing": (torch.tensor([20.8]), "m")},
        )

    def transition(self, state: Any, action: Tensor) -> Any:
        after = SimpleNamespace(step=state.step + 1)
        each = torch.arange(1.0, self.pursuers + 1)[None] / 10
        crashed = torch.tensor([after.step >= 40])
        return SimpleNamespace(
            after=after,
            action=action,
            observation=self.observation(after),
            reward=2 * each.sum(dim=-1) - 1,
            rewards=3 * each - 0.25,
            terms={"pace": 3 * each, "time": torch.tensor([-0.25])},
            measures={"crashed_into_rock": crashed, "order": torch.tensor([0.25])},
            terminated=crashed,
            truncated=torch.tensor([False]),
        )

    def metrics(self, state: Any) -> dict[str, Tensor]:
        return {"order": torch.tensor([0.25])}


class Turning:
    """Each agent's number as its action."""

    name = "turning"

    def __init__(self, agents: int) -> None:
        self.agents = agents

    def act(self, state: Any, observation: Tensor) -> Tensor:
        return torch.arange(self.agents)[None]


@pytest.fixture
def fleet() -> Make:
    """``fleet(dimensions=..., pursuers=...)``: a runtime over a FleetWorld."""

    def build(dimensions: int = 3, pursuers: int = 3) -> Runtime:
        simulator: Any = FleetWorld(dimensions, pursuers)
        return Runtime(simulator, Turning(pursuers))

    return build
