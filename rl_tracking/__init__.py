"""Pursuit worlds whose state is a value, and agents that learn from its branches.

Importing this package registers the Gymnasium ids and imports nothing heavy: the names below are loaded on
first use.

    env = rl_tracking.make_vec("pursuit", num_envs=64, seed=0)
    model = rl_tracking.HybridGRPO("MlpPolicy", env, n_samples=8).learn(200_000)
    model.save("checkpoint.zip")
    policy = rl_tracking.load_policy("checkpoint.zip")
    rl_tracking.evaluate(policy, episodes=200)
"""

import re
from importlib import import_module
from typing import TYPE_CHECKING, Any

import gymnasium

from rl_tracking import plugins

if TYPE_CHECKING:
    from rl_tracking.agents.grpo import GRPO
    from rl_tracking.agents.hybrid_grpo import HybridGRPO
    from rl_tracking.agents.reinforce import REINFORCE
    from rl_tracking.agents.saving.checkpoint import load_policy, load_vec_normalize
    from rl_tracking.agents.shac import SHAC
    from rl_tracking.envs.vec_env import make_vec
    from rl_tracking.restoring.check import check_restorable
    from rl_tracking.runs.evaluate import evaluate

__version__ = "0.1.0"

__all__ = [
    "GRPO",
    "REINFORCE",
    "SHAC",
    "HybridGRPO",
    "__version__",
    "check_restorable",
    "evaluate",
    "load_policy",
    "load_vec_normalize",
    "make_vec",
]

_HOME_OF = {
    "GRPO": "rl_tracking.agents.grpo",
    "HybridGRPO": "rl_tracking.agents.hybrid_grpo",
    "REINFORCE": "rl_tracking.agents.reinforce",
    "SHAC": "rl_tracking.agents.shac",
    "check_restorable": "rl_tracking.restoring.check",
    "evaluate": "rl_tracking.runs.evaluate",
    "load_policy": "rl_tracking.agents.saving.checkpoint",
    "load_vec_normalize": "rl_tracking.agents.saving.checkpoint",
    "make_vec": "rl_tracking.envs.vec_env",
}


def _register_gymnasium_ids() -> None:
    """Name the environments to Gymnasium; their classes are imported when one is made.

    There is no ``max_episode_steps``: the time limit is part of a world's state, not of a wrapper.
    """
    for scenario in plugins.every_name("scenario"):
        words = "".join(part.capitalize() for part in scenario.split("-"))
        # A letter behind a digit is a capital too: `track2d` is Track2D.
        name = f"rl_tracking/{re.sub('(?<=[0-9])[a-z]', lambda letter: letter[0].upper(), words)}-v0"
        if name not in gymnasium.registry:
            gymnasium.register(
                name,
                entry_point="rl_tracking.envs.gym_env:TrackingEnv",
                vector_entry_point="rl_tracking.envs.gym_env:TrackingVectorEnv",
                kwargs={"scenario": scenario},
            )


def __getattr__(name: str) -> Any:
    """Load a public name on its first use (PEP 562)."""
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the lazy names too."""
    return sorted({*globals(), *__all__})


_register_gymnasium_ids()
