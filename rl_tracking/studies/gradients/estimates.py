"""How good an estimator's policy gradient is: noise, bias and direction, against a large Monte Carlo reference.

All estimators start from the same policy, critic and states. Each makes many independent small rollouts; every rollout
gives one gradient of the policy's loss. The reference is the mean over many more states of what N branches of
``reference_horizon`` steps return: the critic has no part in it but beyond the horizon, discounted to almost nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import torch
from stable_baselines3.common.logger import Logger
from torch import Tensor

from rl_tracking import plugins, schema
from rl_tracking.agents.arguments import PolicyArguments, settable
from rl_tracking.agents.group_policy import GroupPolicyAlgorithm
from rl_tracking.envs.vec_env import TrackingVecEnv
from rl_tracking.errors import UsageError
from rl_tracking.runs.build import build
from rl_tracking.runs.settings import Settings, resolve
from rl_tracking.studies.config.gradients import REFERENCE, Estimator, GradientPlan
from rl_tracking.studies.execute.cells import Cell, located
from rl_tracking.studies.execute.snapshot import Snapshot

_ENDLESS = 1_000_000  # steps: no branch of the reference meets a time limit
_SEED_OF_STATES = 12_345
# The arguments that define the objective, with their values for an algorithm that lacks them.
OBJECTIVE = {"gamma": 0.99, "reward_activation": "identity", "reward_scale": 1.0}
_PLAIN = {"critic_trust": "full"}


@dataclasses.dataclass(frozen=True)
class Measured:
    """Gradients of one estimator.

    Attributes:
        gradients: one a rollout, ``[K, P]``.
        macro_steps: of a rollout.
        simulator_steps: of a rollout.
    """

    gradients: Tensor
    macro_steps: int
    simulator_steps: int


class StatePool:
    """States of a policy's own episodes, at every step of them.

    Args:
        model: on worlds of a scenario.
        worlds: episodes, from their start to the time limit.

    Raises:
        UsageError: the model's worlds have no noise keys, so that their randomness cannot be drawn anew.
    """

    def __init__(self, model: Any, worlds: int) -> None:
        self._env = worlds_of(model).spawn(worlds)
        self._env.seed(_SEED_OF_STATES)
        self._steps = self._env.scenario.max_steps
        self._states: list[Any] = []
        observation = self._env.reset()
        for _ in range(self._steps):
            self._states.append(self._env.get_state())
            action, _ = model.predict(observation, deterministic=False)
            observation, _, _, _ = self._env.step(action)

    def observation(self, states: Any) -> np.ndarray:
        """What the worlds return in some states ``[B, ...]``."""
        return np.asarray(self._env.simulator.observation(states).cpu())

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


def worlds_of(model: Any) -> TrackingVecEnv:
    """The worlds of a model.

    Raises:
        UsageError: they are no scenario's.
    """
    worlds = model.env.unwrapped
    if not isinstance(worlds, TrackingVecEnv):
        raise UsageError("gradients are measured on scenarios, where the noise of a state can be drawn anew")
    return worlds


def settings_like(base: Settings, estimator: Estimator, plan: GradientPlan) -> Settings:
    """The settings of an estimator: its own, and of the training run ``base`` what they are to have in common.

    Raises:
        UsageError: an unknown setting, or one that changes the task.
    """
    of_policy = (*schema.fields(PolicyArguments), "use_sde")
    shared = {name: value for name, value in base.arguments.items() if name in of_policy}
    shared |= {name: _value_of(base, name, otherwise) for name, otherwise in OBJECTIVE.items()}
    steps = base.task().max_steps if estimator.from_start else plan.steps
    fixed = {"num_envs": plan.worlds, "ent_coef": 0.0}
    # An extension is part of an estimator only where its own settings name it.
    plain = {name: value for name, value in _PLAIN.items() if name in settable(estimator.algo)}
    settings = resolve(
        given={"algo": estimator.algo, "scenario": base.scenario, "seed": base.seed},
        values={"n_steps": steps, **plain, **shared, **estimator.settings, **fixed},
        parameters=base.parameters,
    )
    if settings.parameters != base.parameters:
        changed = [name for name, value in settings.parameters.items() if base.parameters.get(name) != value]
        raise UsageError(f"{', '.join(changed)} would change the task, which is the same for every estimator")
    return settings


def _value_of(base: Settings, name: str, otherwise: Any) -> Any:
    """An argument of the run: its own, or the algorithm's default."""
    declared = settable(base.algo).get(name)
    default = otherwise if declared is None or declared.default is schema.REQUIRED else declared.default
    return base.arguments.get(name, default)


def build_like(
    snapshot: Snapshot, base: Settings, estimator: Estimator, plan: GradientPlan, worlds: int | None = None
) -> Any:
    """A model of an estimator with the policy, the critic and the critic's weight that a training run had.

    Args:
        snapshot: of the run.
        base: settings of the run.
        estimator: what is built.
        plan: how many worlds and steps.
        worlds: another number of worlds than the plan's.

    Raises:
        UsageError: an algorithm without groups, unknown settings, or such as need what the run does not have.
    """
    if not issubclass(plugins.resolve("algo", estimator.algo), GroupPolicyAlgorithm):
        raise UsageError(f"algo must be one of groups (hybrid-grpo, grpo), not {estimator.algo}")
    settings = settings_like(base, estimator, plan)
    model: Any = build(msgspec.structs.replace(settings, num_envs=worlds or plan.worlds))
    model.set_logger(Logger(None, []))
    try:
        model.policy.load_state_dict(snapshot.policy)
    except RuntimeError as error:
        raise UsageError("its network differs from the training run's, whose weights it is to take over") from error
    if model.critic_weight.is_learned:
        if snapshot.trust is None:
            raise UsageError(
                f"critic_trust '{model.critic_trust}' is learned along the run; give it to the variant too"
            )
        model.critic_weight.share = snapshot.trust
    return model


def measure(
    model: Any,
    estimator: Estimator,
    pool: StatePool,
    rollouts: int,
    generator: torch.Generator,
    on_rollout: Callable[[], None] = lambda: None,
    estimate: Callable[[Any], Any] | None = None,
) -> Measured:
    """One gradient from each of ``rollouts`` independent rollouts of a model, which does not learn.

    Args:
        model: of the estimator.
        estimator: what is measured.
        pool: states that rollouts start from.
        rollouts: how many.
        generator: draws the states.
        on_rollout: called after each rollout.
        estimate: of a rollout; the model's own if not given.
    """
    torch.manual_seed(generator.initial_seed())  # the model was built with the run's seed, as those of others were
    gradients: list[Tensor] = []
    for _ in range(rollouts):
        states = pool.draw(model.n_envs, generator, from_start=estimator.from_start)
        model.collect_from(states, pool.observation(states))
        gradients.append(model.policy_gradient((estimate or model.estimate)(model.rollout)))
        on_rollout()
    return Measured(torch.stack(gradients), model.num_timesteps, model.num_simulator_steps)


def reference(
    snapshot: Snapshot,
    base: Settings,
    plan: GradientPlan,
    pool: StatePool,
    generator: torch.Generator,
    on_rollout: Callable[[], None] = lambda: None,
) -> Measured:
    """The gradient from the roots alone of long branches, each against the others of its group, ``[K, P]``."""
    settings = {
        "n_samples": plan.reference_samples,
        "horizon": plan.reference_horizon,
        "n_steps": plan.reference_horizon,
        "baseline": "leave-one-out",
        "critic_trust": "full",
        "reward_activation": "identity",
        "normalize_advantage": False,
    }
    estimator = Estimator(name=REFERENCE, algo="hybrid-grpo", settings=settings)
    unlimited = {"max_steps": _ENDLESS} if "max_steps" in base.parameters else {}
    endless = msgspec.structs.replace(base, parameters=base.parameters | unlimited)
    model = build_like(snapshot, endless, estimator, plan, worlds=4 * plan.worlds)

    def roots_alone(rollout: Any) -> Any:
        """The model's estimate, of which only the first step of each branch is kept."""
        keep = torch.zeros_like(rollout.valid)
        keep[:, 0] = True
        return dataclasses.replace(model.estimate(rollout), keep=keep)

    return measure(model, estimator, pool, plan.reference_rollouts, generator, on_rollout, roots_alone)


def check_estimators(plan: GradientPlan, cell: Cell) -> None:
    """Build every estimator on one world of a cell's task, as a run will on many.

    Raises:
        UsageError: gradients are not measured with the cell's settings, an algorithm refuses an estimator's settings,
            or an estimator cannot take over the cell's policy.
    """
    with located(cell.task, cell.variant):
        if cell.settings.normalize:
            raise UsageError("gradients are measured without normalised observations; leave out normalize")
        if cell.settings.device != "cpu":
            raise UsageError(f"gradients are measured on the cpu; leave out device '{cell.settings.device}'")
        model = build(msgspec.structs.replace(cell.settings, num_envs=1))
        worlds_of(model)
        untrained = Snapshot.of(model)
    for estimator in plan.estimators:
        with located(cell.task, cell.variant, f", estimator '{estimator.name}'"):
            build_like(untrained, cell.settings, estimator, plan, worlds=1)
