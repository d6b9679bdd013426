"""An environment under its wrappers: the layers that hold state."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
from gymnasium.utils import RecordConstructorArgs
from stable_baselines3.common.monitor import Monitor

from rl_tracking.adapters.freezing import is_display, module_of
from rl_tracking.restoring.protocol import NotRestorableError, name_of

Env = gym.Env[Any, Any]

_REFUSED = {
    "RecordVideo": "it films every step; put it around the environment that is evaluated",
    "RenderCollection": "it collects a picture of every step; use render_mode 'rgb_array'",
    "HumanRendering": "it shows every step; use render_mode 'rgb_array', or None",
}

# Wrappers that check calls and keep no state; siblings are built without them.
CHECKING_WRAPPERS = ("PassiveEnvChecker", "OrderEnforcing")

# Fields of Gymnasium's environments that no step and no reset changes; other classes may name such fields too.
_CONSTANTS = {
    "gymnasium.envs.toy_text": ("P", "desc", "initial_state_distrib"),
    "gymnasium.envs.mujoco": ("init_qpos", "init_qvel", "observation_structure"),
}


class EpisodeMonitor(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Adds the return r and length l of a finished episode to its last info, as SB3's ``Monitor`` does.

    It writes nothing and keeps no list, so it may be saved, restored and branched.
    """

    def __init__(self, env: Env) -> None:
        RecordConstructorArgs.__init__(self)
        super().__init__(env)
        self.episode_return = 0.0
        self.episode_length = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """A new episode."""
        self.episode_return, self.episode_length = 0.0, 0
        return self.env.reset(seed=seed, **given(options))

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """One step; the last of an episode reports it."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        self.episode_return += float(reward)
        self.episode_length += 1
        if terminated or truncated:
            info["episode"] = {"r": round(self.episode_return, 6), "l": self.episode_length}
        return observation, reward, terminated, truncated, info


def given(options: dict[str, Any] | None) -> dict[str, Any]:
    """Options of a reset as keyword arguments; none where there are none, because a reset need not accept them."""
    return {} if options is None else {"options": options}


def layers_of(env: Env) -> list[Env]:
    """The environment itself, then the wrappers that hold state, from the inside out."""
    layers = [env]
    while isinstance(env, gym.Wrapper):
        env = env.env
        if type(env).__name__ not in CHECKING_WRAPPERS and not getattr(type(env), "is_recorder", False):
            layers.insert(0, env)
    return layers


def constant_fields(layer: Env) -> tuple[str, ...]:
    """Fields that no step changes, which are not saved; a class names its own in ``constant_fields``."""
    module = type(layer).__module__
    known = next((names for package, names in _CONSTANTS.items() if module.startswith(package)), ())
    return (*known, *getattr(type(layer), "constant_fields", ()))


def prepared(env: Env) -> tuple[Env, Monitor | None]:
    """The environment with an :class:`EpisodeMonitor` in place of SB3's ``Monitor``, and that ``Monitor``.

    Raises:
        NotRestorableError: a wrapper acts on the outside world at every step.
    """
    monitor: Monitor | None = None
    outer: Any = None
    layer: Any = env
    while isinstance(layer, gym.Wrapper):
        why = _REFUSED.get(type(layer).__name__)
        if why is not None:
            raise NotRestorableError(f"the wrapper {type(layer).__name__} of {name_of(env)} cannot be forked: {why}")
        if isinstance(layer, Monitor):
            monitor, layer = layer, EpisodeMonitor(layer.env)
            if outer is None:
                env = layer
            else:
                outer.env = layer
        outer, layer = layer, layer.env
    if not any(isinstance(layer, EpisodeMonitor) for layer in layers_of(env)):
        env = EpisodeMonitor(env)
    return env, monitor


def displays_of(env: Env) -> dict[int, Any]:
    """Windows and pictures of an environment that renders, by identity, with None; a copy is made without them."""
    pictures = ("pygame.surface", "pygame.display")
    shown = [v for v in vars(env).values() if is_display(type(v)) or module_of(type(v)).startswith(pictures)]
    return dict.fromkeys(map(id, shown)) if env.render_mode is not None else {}
