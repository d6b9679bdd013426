"""What a pursuit is put together from, chosen by its parameters."""

from __future__ import annotations

import math

import numpy as np
from gymnasium import spaces

from rl_tracking import plugins
from rl_tracking.envs.parts.arena import Arena, Motion
from rl_tracking.envs.parts.dynamics import Drone, Dynamics, Kinematic
from rl_tracking.envs.parts.rewards import Reward, plugin_reward, require_judge
from rl_tracking.envs.parts.sensors import OBSERVATION_LIMIT, History, Sensor, relative
from rl_tracking.envs.parts.target_step import TargetStep
from rl_tracking.envs.scenarios.pursuit.parameters import PursuitParameters, highest


def spaces_of(values: PursuitParameters, sensor: Sensor) -> tuple[spaces.Box, spaces.Box]:
    """Observation and action space of one world."""
    size = sensor.size(values.pursuers, values.dimensions)
    observation = spaces.Box(-OBSERVATION_LIMIT, OBSERVATION_LIMIT, (size,), np.float32)
    return observation, spaces.Box(-1.0, 1.0, (values.pursuers * values.dimensions,), np.float32)


def longest_approach(values: PursuitParameters, motion: Motion) -> float:
    """See :class:`rl_tracking.envs.parts.target_step.TargetFacts`."""
    if values.author_bugs or (values.dynamics == "kinematic" and highest(values.wind_speed) > 0):
        return math.inf
    of_target = motion.speed * values.dt
    own = values.longest_step
    longest = max(own, of_target) if values.target_moves_last else own + of_target
    return 1.001 * longest + 1e-5 * values.arena_size  # positions are rounded


def dynamics_of(values: PursuitParameters) -> Dynamics:
    """How pursuers move."""
    if values.dynamics == "kinematic":
        return Kinematic(values.dt, values.step_length, values.whole_units)
    return Drone(
        values.dt,
        max_acceleration=highest(values.max_acceleration),
        max_speed=highest(values.max_speed),
        drag=highest(values.drag),
        motor_lag=highest(values.motor_lag),
        substeps=values.substeps,
    )


def sensor_of(values: PursuitParameters, arena: Arena, dynamics: Dynamics) -> Sensor:
    """What is observed."""
    if values.sensor == "history":
        return History(arena, values.history_steps)
    scale = dynamics.acceleration_limit if values.dynamics == "drone" else None
    return relative(arena, values.capture_radius, dynamics.speed_limit, scale)


def reward_of(spec: str) -> Reward:
    """The reward of a name, or of code that is named."""
    found = plugin_reward(spec, plugins.resolve("reward", spec))
    require_judge(spec, found, "pursuit", TargetStep)
    return found
