"""Write assets/tracks/sample.csv, the flight that `--set motion=track` follows.

A drone of the pursuit scenario flies lead pursuit after a target between waypoints, and its path is what is kept:
90 s, ten positions a second, in metres.

    python examples/sample_track.py assets/tracks/sample.csv
"""

import sys
from pathlib import Path

import torch

from rl_tracking.agents.controllers.guidance import lead_pursuit
from rl_tracking.envs.noise import world_keys
from rl_tracking.envs.simulator import Simulator
from rl_tracking.envs.vec_env import make_scenario

SEED, STEPS = 7, 900


def main(file: str) -> None:
    sizes = {"arena_size": 50.0, "target_spawn_size": 30.0, "target_speed": 4.5, "max_speed": 5.5, "max_steps": STEPS}
    scenario = make_scenario("pursuit", motion="waypoints", **sizes)
    simulator = Simulator(scenario)
    state = simulator.initial(world_keys(SEED, 1))
    lines = ["time,x,y,z"]
    with torch.inference_mode():
        for step in range(STEPS + 1):
            x, y, z = state.position[0, 0].tolist()
            lines.append(f"{step * scenario.dt:.1f},{x:.2f},{y:.2f},{z:.2f}")
            state = simulator.transition(state, lead_pursuit(scenario, state)).after
    Path(file).parent.mkdir(parents=True, exist_ok=True)
    Path(file).write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
