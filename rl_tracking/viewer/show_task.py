"""How each kind of task is shown: a scenario by its scene, a Gymnasium environment by the pictures that it renders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rl_tracking.envs.simulator import Simulator
from rl_tracking.runs.tasks import GymnasiumTask, Pilot, ScenarioTask
from rl_tracking.viewer import app
from rl_tracking.viewer.pictures import Player
from rl_tracking.viewer.runtime import Runtime


def show_scene(task: ScenarioTask, pilot: Pilot, seed: int, **outputs: Any) -> list[Path]:
    """See :func:`rl_tracking.viewer.app.watch` for the outputs."""
    return app.watch(Runtime(Simulator(task.scenario), pilot, seed=seed), **outputs)


def show_pictures(task: GymnasiumTask, pilot: Pilot, seed: int, **outputs: Any) -> list[Path]:
    """See :func:`rl_tracking.viewer.app.watch_pictures` for the outputs."""
    return app.watch_pictures(Player(task, pilot.act, seed), **outputs)
