"""Whether branches of an environment that is played again can have random numbers of their own."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np

from rl_tracking.restoring.step_rows import StepRows, first_difference

_STEPS = 30  # within which other random numbers must show


def reseeding_changes_steps(env: Any) -> bool:
    """Whether the steps of one world differ after its generators were started afresh.

    Where they do not, the generators cannot be read, and all branches would draw the same numbers.

    Args:
        env: a :class:`rl_tracking.adapters.build.RestorableGymVecEnv` of one world; it is reset and stepped.
    """
    env.seed(0)
    env.reset()
    states, space = env.get_state(), copy.deepcopy(env.action_space)
    space.seed(0)
    actions = [np.stack([space.sample()]) for _ in range(_STEPS)]
    runs = []
    for each in (states, states.reseeded(1)):
        env.set_state(each)
        runs.append(list(_until_done(env, actions)))
    return len(runs[0]) != len(runs[1]) or any(map(first_difference, *runs))


def _until_done(env: Any, actions: list[np.ndarray[Any, Any]]) -> Iterator[StepRows]:
    for action in actions:
        step = StepRows.of(env.step(action))
        yield step
        if step.done.any():
            return
