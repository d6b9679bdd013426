"""How good an estimator's policy gradient is: noise, bias and direction, against a large Monte Carlo reference.

All estimators start from the same policy, critic and states. Each makes many independent small rollouts; every rollout
gives one gradient of the policy's loss. The reference is the mean over many more states of what N branches of
``reference_horizon`` steps return: the critic has no part in it but beyond the horizon, discounted to almost nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from torch import Tensor

from rl_tracking.agents import settings as settings_of
from rl_tracking.agents.group_policy import GroupPolicyAlgorithm
from rl_tracking.agents.settings import Settings
from rl_tracking.agents.train import build
from rl_tracking.envs.vec_env import make_vec
from rl_tracking.errors import UsageError


@dataclasses.dataclass(frozen=True)
class Estimator:
    """An algorithm that is asked for the gradient of its policy loss.

    Attributes:
        name: short.
        algo: ``hybrid-grpo`` or ``grpo``; PPO's is the former with one sample a state.
        settings: as of ``rltrack train --set``.
        from_start: rollouts begin with episodes, as those of whole episodes must, and not anywhere within one.
    """

    name: str
    algo: str
    settings: dict[str, Any]
    from_start: bool = False


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is measured, and how thoroughly.

    Attributes:
        worlds: E of every rollout.
        rollouts: independent ones of each estimator.
        reference_rollouts: of the reference, with ``worlds`` x 4 roots each.
        reference_horizon: steps.
        reference_samples: N of the reference.
    """

    worlds: int = 64
    rollouts: int = 60
    reference_rollouts: int = 60
    reference_horizon: int = 256
    reference_samples: int = 8


@dataclasses.dataclass(frozen=True)
class Measured:
    """Gradients of one estimator.

    Attributes:
        name: of the estimator.
        gradients: one a rollout, ``[K, P]``.
        macro_steps: of a rollout.
        simulator_steps: of a rollout.
    """

    name: str
    gradients: Tensor
    macro_steps: int
    simulator_steps: int


class StatePool:
    """States of a policy's own episodes, at every step of them.

    Args:
        model: on a scenario.
        worlds: episodes that are flown, from start to time limit.
    """

    def __init__(self, model: Any, worlds: int) -> None:
        env = model.env.unwrapped
        self._env = make_vec(env.scenario.name, worlds, seed=12_345, **env.scenario.parameters)
        self._steps = env.scenario.facts.max_steps
        self._states: list[Any] = []
        observation = self._env.reset()
        for _ in range(self._steps):
            self._states.append(self._env.get_state())
            action, _ = model.predict(observation, deterministic=False)
            observation, _, _, _ = self._env.step(action)

    def draw(self, worlds: int, generator: torch.Generator, *, from_start: bool = False) -> Any:
        """States of ``worlds`` worlds with noise keys of their own, so that no two rollouts meet the same gusts."""
        first = self._states[0]
        rows = torch.randint(len(first), (worlds,), generator=generator).tolist()
        times = torch.randint(self._steps, (worlds,), generator=generator).tolist()
        keys = torch.randint(2**62, (worlds,), generator=generator)
        if from_start:
            return self._env.simulator.initial(keys)
        chosen = type(first).cat([self._states[time].index(row) for time, row in zip(times, rows, strict=True)])
        return chosen.replace(key=keys)


def build_like(policy: dict[str, Any], base: Settings, estimator: Estimator, worlds: int) -> Any:
    """A model of an estimator whose policy and critic are those of ``policy``, a state dict.

    Raises:
        UsageError: an algorithm without groups.
    """
    pairs = {**estimator.settings, "num_envs": worlds, "ent_coef": 0.0}
    place = {name: getattr(base, name) for name in ("scenario", "seed")}
    network: dict[str, Any] = {
        name: base.arguments[name] for name in ("net_arch", "activation_fn") if name in base.arguments
    }
    settings = settings_of.resolve(given={"algo": estimator.algo, **place}, pairs=_pairs({**network, **pairs}))
    settings = dataclasses.replace(settings, parameters=base.parameters)
    model = build(settings)
    if not isinstance(model, GroupPolicyAlgorithm):
        raise UsageError(
            f"estimator '{estimator.name}' needs an algorithm of groups (hybrid-grpo, grpo), not {estimator.algo}"
        )
    model.set_logger(Logger(None, []))
    model.policy.load_state_dict(policy)
    return model


def _pairs(settings: dict[str, Any]) -> list[str]:
    return [f"{name}={_toml(value)}" for name, value in settings.items()]


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)


class _Nothing(BaseCallback):
    def _on_step(self) -> bool:
        return True


def measure(
    model: Any,
    estimator: Estimator,
    pool: StatePool,
    rollouts: int,
    generator: torch.Generator,
    on_rollout: Callable[[], None] = lambda: None,
) -> Measured:
    """One gradient from each of ``rollouts`` independent rollouts of a model, which does not learn."""
    _, callback = model._setup_learn(1, _Nothing())
    env = model.env
    gradients: list[Tensor] = []
    for _ in range(rollouts):
        states = pool.draw(env.num_envs, generator, from_start=estimator.from_start)
        env.unwrapped.set_state(states)
        model._last_obs = env.unwrapped.simulator.observe(states).numpy()
        model._last_episode_starts = np.ones(env.num_envs, dtype=bool)
        simulated, decided = model.num_simulator_steps, model.num_timesteps
        model.collect_rollouts(env, callback, model.rollout_buffer, model.n_steps)
        simulated, decided = model.num_simulator_steps - simulated, model.num_timesteps - decided
        gradients.append(model.policy_gradient())
        on_rollout()
    return Measured(estimator.name, torch.stack(gradients), decided, simulated)


def reference(
    policy: dict[str, Any],
    base: Settings,
    plan: Plan,
    pool: StatePool,
    generator: torch.Generator,
    on_rollout: Callable[[], None] = lambda: None,
) -> Measured:
    """The gradient from the roots alone of long branches, each against the others of its group, ``[K, P]``."""
    horizon = plan.reference_horizon
    estimator = Estimator(
        "reference",
        "hybrid-grpo",
        {
            "n_samples": plan.reference_samples,
            "horizon": horizon,
            "n_steps": horizon,
            "batch_size": 4096,
            "baseline": "leave-one-out",
            "reward_activation": "identity",
            "normalize_advantage": False,
            "gamma": base.arguments["gamma"],
        },
    )
    endless = dataclasses.replace(base, parameters={**base.parameters, "max_steps": 1_000_000})
    model = build_like(policy, endless, estimator, 4 * plan.worlds)
    estimate = model.estimate

    def roots_alone(rollout: Any) -> Any:
        whole = estimate(rollout)
        keep = torch.zeros_like(rollout.alive)
        keep[:, 0] = True
        return dataclasses.replace(whole, keep=keep)

    model.estimate = roots_alone
    return measure(model, estimator, pool, plan.reference_rollouts, generator, on_rollout)
