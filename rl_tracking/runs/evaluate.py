"""Flies policies and controllers through the same episodes and measures them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from rl_tracking import limits, plugins
from rl_tracking.agents.controllers.guidance import Controller
from rl_tracking.agents.saving import vec_normalize
from rl_tracking.agents.saving.checkpoint import LoadedPolicy, load_policy
from rl_tracking.envs.base import Scenario
from rl_tracking.envs.parts.handout import handed_out
from rl_tracking.envs.simulator import Simulator, world_keys
from rl_tracking.envs.transition import Facts
from rl_tracking.envs.vec_env import make_scenario
from rl_tracking.errors import EnvironmentStepError, UsageError, is_foreign, naming
from rl_tracking.runs import intervals
from rl_tracking.runs.evaluate_env import PolicyEnvPilot, check_fits, evaluate_env, task_of
from rl_tracking.runs.shipped import checkpoint_path
from rl_tracking.runs.tasks import Task

EVALUATION_SEED = 1_000_000  # far from the seeds that training runs are given
DEFAULT_EPISODES = 200
_BYTES_A_STEP = 2 * 11  # of an episode: distance, reward and three flags, as rows and stacked


class Pilot(Protocol):
    """Whatever flies: a trained policy or a controller."""

    @property
    def name(self) -> str:
        """What tables and windows call it."""

    def act(self, state: Any, observation: Tensor) -> Tensor:
        """Actions ``[B, A]`` for B worlds."""


@dataclasses.dataclass(frozen=True)
class ControllerPilot:
    """A classical controller, which reads the true state."""

    name: str
    controller: Controller
    facts: Facts

    def act(self, state: Any, observation: Tensor) -> Tensor:
        """See :class:`Pilot`."""
        return self.controller(self.facts, state)


@dataclasses.dataclass(frozen=True)
class PolicyPilot:
    """Anything with SB3's ``predict``, which reads the observation."""

    name: str
    policy: Any
    deterministic: bool = True

    def act(self, state: Any, observation: Tensor) -> Tensor:
        """See :class:`Pilot`."""
        action, _ = self.policy.predict(observation.cpu().numpy(), deterministic=self.deterministic)
        return torch.as_tensor(action, device=observation.device).reshape(observation.shape[0], -1)


def load_pilot(spec: str, scenario: Scenario | None = None, *, trust: bool = False) -> tuple[Pilot, Scenario]:
    """A pilot and its scenario, by the path of a checkpoint or a name.

    Args:
        spec: a path, a name of ``rltrack list controllers`` or of ``rltrack list checkpoints``.
        scenario: where to fly; a checkpoint's own if not given, the default one for controllers.
        trust: see :func:`rl_tracking.agents.saving.checkpoint.load_policy`.

    Raises:
        UsageError: no such file or name, a bad file, or a checkpoint of another scenario.
    """
    path = checkpoint_path(spec)
    if path is None:
        try:
            controller = plugins.resolve("controller", spec)
        except UsageError as error:
            raise UsageError(f"'{spec}' is neither a checkpoint file nor a controller ({error})") from error
        scenario = scenario or make_scenario("pursuit")
        return ControllerPilot(spec, controller, scenario.facts), scenario
    policy = load_policy(path, trust=trust)
    scenario = scenario or scenario_of(policy)
    _check_fits(policy, scenario)
    return PolicyPilot(_name_of(policy), policy), scenario


def scenario_of(policy: LoadedPolicy, **replaced: Any) -> Scenario:
    """The scenario a checkpoint was trained in, with some parameters replaced.

    Raises:
        UsageError: it was trained in none, or one that names code and is not trusted.
    """
    trained = policy.description.get("scenario")
    _refuse_task(policy, "a scenario", "scenario, preset and reward are for the pursuit worlds")
    if trained is None:
        raise UsageError(f"checkpoint '{policy.path}' does not say where it was trained; name a --scenario")
    kept = {name: value for name, value in trained["parameters"].items() if name not in replaced}
    policy.refuse_code(kept, always=("reward",))
    return make_scenario(trained["name"], **kept, **replaced)


def _refuse_task(policy: LoadedPolicy, other: str, advice: str = "give it a command of its own") -> None:
    trained = policy.description.get("env")
    if trained is not None:
        raise UsageError(
            f"checkpoint '{policy.path}' was trained in environment '{trained['id']}', not in {other}; {advice}"
        )


def _name_of(policy: LoadedPolicy) -> str:
    return str(policy.description.get("algorithm", policy.path.stem))


def _check_fits(policy: Any, scenario: Scenario) -> None:
    """Refuse a policy, loaded or an SB3 model, whose observations or actions are of another scenario."""
    if isinstance(policy, LoadedPolicy):
        _refuse_task(policy, f"scenario {scenario.name}")
    sizes = {
        "observations": (policy.observation_space.shape, (scenario.observation_size,)),
        "actions": (policy.action_space.shape, (scenario.num_pursuers * scenario.dimensions,)),
    }
    for what, (has, needs) in sizes.items():
        if has != needs:
            here = f"{scenario.name} {scenario.parameters.get('preset', '')}".strip()
            raise UsageError(f"{_origin(policy)} {what} of shape {has}; {here} has {needs}")


def _origin(policy: Any) -> str:
    if not isinstance(policy, LoadedPolicy):
        return f"this {type(policy).__name__} has"
    trained = policy.description.get("scenario") or {"name": "an unknown scenario", "parameters": {}}
    where = f"{trained['name']} {trained['parameters'].get('preset', '')}".strip()
    return f"checkpoint '{policy.path}' was trained on {where} with"


def checked_pilot(pilot: Pilot, action_size: int) -> Callable[[Any, Tensor], Tensor]:
    """``pilot.act``; one of another package is given copies, and what it returns or raises is checked.

    Args:
        pilot: flies.
        action_size: A, numbers of an action.
    """
    controller = getattr(pilot, "controller", None)
    ours = not is_foreign(pilot) and str(getattr(controller, "__module__", __name__)).startswith("rl_tracking.")
    return pilot.act if ours else lambda state, observation: _checked_action(pilot, state, observation, action_size)


def _checked_action(pilot: Pilot, state: Any, observation: Tensor, action_size: int) -> Tensor:
    name = f"controller '{pilot.name}'"
    with naming(name):
        action: Any = pilot.act(handed_out(state), observation.clone())
    expected = (observation.shape[0], action_size)
    if not isinstance(action, Tensor) or action.shape != expected or not action.is_floating_point():
        what = f"{action.dtype} {list(action.shape)}" if isinstance(action, Tensor) else f"a {type(action).__name__}"
        raise EnvironmentStepError(f"{name} returned {what}; it must be a tensor of real numbers {list(expected)}")
    finite = torch.isfinite(action)
    if not bool(finite.all()):
        row = int((~finite).nonzero()[0][0])
        raise EnvironmentStepError(f"{name} returned an action that is not finite", row)
    return action.clone()


@dataclasses.dataclass(frozen=True)
class Episodes:
    """What was measured of B episodes over at most T steps.

    Attributes:
        distance: of the nearest pursuer ``[T, B]`` [m].
        in_radius: within the capture radius at the end of the step ``[T, B]`` bool.
        captured: within the capture radius on the way of the step ``[T, B]`` bool.
        reward: ``[T, B]``.
        alive: the step belongs to the episode ``[T, B]`` bool.
        dt: control step [s].
    """

    distance: Tensor
    in_radius: Tensor
    captured: Tensor
    reward: Tensor
    alive: Tensor
    dt: float


@torch.inference_mode()
def fly(simulator: Simulator, pilot: Pilot, keys: Tensor) -> Episodes:
    """One episode of every key ``[B]``, all at once."""
    state = simulator.initial(keys)
    observation = simulator.observe(state)
    act = checked_pilot(pilot, simulator.action_size)
    alive = torch.ones_like(keys, dtype=torch.bool)
    rows: list[tuple[Tensor, ...]] = []
    while bool(alive.any()):
        transition = simulator.transition(state, act(state, observation))
        rows.append((transition.nearest, transition.in_radius, transition.captured, transition.reward, alive))
        alive = alive & ~transition.done
        state, observation = transition.after, transition.observation
    distance, inside, captured, reward, mask = (torch.stack(column) for column in zip(*rows, strict=True))
    return Episodes(distance, inside & mask, captured & mask, reward * mask, mask, simulator.scenario.facts.dt)


def evaluate(
    policy: Any,
    episodes: int = DEFAULT_EPISODES,
    *,
    scenario: Scenario | None = None,
    seed: int = EVALUATION_SEED,
    skip: int = 0,
    trust: bool = False,
) -> dict[str, Any]:
    """Measure a policy over episodes; the figures of ``rltrack eval --json``.

    Args:
        policy: a loaded policy, an SB3 model, a :class:`Pilot`, or the path or name of one.
        episodes: how many; the same seed gives every policy the same ones.
        scenario: where; a checkpoint's own if not given, an SB3 model's env's.
        seed: of the episodes.
        skip: steps left out at the start of each episode for ``time_in_radius`` and ``mean_distance``.
        trust: of a path; see :func:`rl_tracking.agents.saving.checkpoint.load_policy`.

    A policy of a Gymnasium environment runs through that, see
    :func:`rl_tracking.runs.evaluate_env.evaluate_env`; ``scenario`` and ``skip`` are not for it.

    Returns:
        ``policy``, ``scenario``, ``episodes``, ``seed``, ``skip``, and for each figure its ``value`` and 95 %
        interval ``ci95``: ``capture_rate`` (episodes with a capture; Wilson's interval), ``time_in_radius`` (share of
        steps), ``time_to_capture`` [s] (of the episodes with one), ``mean_distance`` [m], ``return`` (bootstrap).

    Raises:
        UsageError: nothing to fly, or numbers that make no sense.
    """
    if isinstance(policy, str | Path):
        path = checkpoint_path(str(policy))
        policy = str(policy) if path is None else load_policy(path, trust=trust)
    found = None if scenario is not None else _in_env(policy)
    if found is not None:
        if skip:
            raise UsageError("skip is for scenarios; in a Gymnasium environment it must be 0")
        return evaluate_env(found[0], episodes, found[1], seed=seed)
    pilot, scenario = _pilot(policy, scenario)
    episodes, seed = limits.check_count("episodes", episodes), limits.check_seed(seed)
    if not 0 <= skip < scenario.facts.max_steps:
        raise UsageError(f"skip must lie in 0..{scenario.facts.max_steps - 1}, the episode's steps, not {skip}")
    simulator = Simulator(scenario)
    limits.require(
        episodes * scenario.facts.max_steps * _BYTES_A_STEP,
        f"{episodes:,} episodes of {scenario.facts.max_steps:,} steps",
        "ask for fewer",
    )
    flown = fly(simulator, pilot, world_keys(seed, episodes))
    return {
        "policy": pilot.name,
        "scenario": scenario.name,
        "preset": scenario.parameters.get("preset"),
        "episodes": episodes,
        "seed": seed,
        "skip": skip,
        **figures(flown, skip),
    }


def _in_env(policy: Any) -> tuple[PolicyEnvPilot, Task] | None:
    """A policy and the Gymnasium environment it was trained in; None if that was none."""
    if isinstance(policy, str):  # a controller
        return None
    if isinstance(policy, LoadedPolicy):
        task, name = task_of(policy), _name_of(policy)
    else:
        env = getattr(policy, "env", None)
        task, name = Task.of(getattr(env, "unwrapped", None)), type(policy).__name__
    if task is None:
        return None
    check_fits(policy, task, f"this {name}")
    return PolicyEnvPilot(name, policy if isinstance(policy, LoadedPolicy) else with_normalizer(policy)), task


def _pilot(policy: Any, scenario: Scenario | None) -> tuple[Pilot, Scenario]:
    if isinstance(policy, str):
        return load_pilot(policy, scenario)
    if isinstance(policy, LoadedPolicy):
        scenario = scenario or scenario_of(policy)
        _check_fits(policy, scenario)
        return PolicyPilot(_name_of(policy), policy), scenario
    env = getattr(policy, "env", None)
    if scenario is None:
        scenario = getattr(getattr(env, "unwrapped", None), "scenario", None)
    if scenario is None:
        raise UsageError("evaluate() needs a scenario: this policy does not say where it flies")
    if hasattr(policy, "act"):
        return policy, scenario
    if hasattr(policy, "observation_space"):
        _check_fits(policy, scenario)
    return PolicyPilot(type(policy).__name__, with_normalizer(policy)), scenario


def with_normalizer(model: Any) -> Any:
    """An SB3 model seen through its own VecNormalize, or through the moments it was saved with, if it has any."""
    env: Any = model.get_vec_normalize_env() if hasattr(model, "get_vec_normalize_env") else None
    normalize: Any = vec_normalize.saved_scaling(model) if env is None else env.normalize_obs
    if normalize is None:
        return model

    class Normalized:
        def predict(self, observation: np.ndarray[Any, Any], deterministic: bool) -> Any:
            return model.predict(normalize(observation), deterministic=deterministic)

    return Normalized()


def figures(flown: Episodes, skip: int = 0) -> dict[str, dict[str, Any]]:
    """The figures of some episodes, each with its 95 % interval."""
    counted = flown.alive.clone()
    counted[:skip] = False
    steps = counted.sum(dim=0)
    some = steps > 0
    inside = ((flown.in_radius & counted).sum(dim=0)[some] / steps[some]).double().numpy()
    distance = ((flown.distance * counted).sum(dim=0)[some] / steps[some]).double().numpy()
    success = flown.captured.any(dim=0)
    first = flown.captured.int().argmax(dim=0)[success]
    time_to_capture = ((first + 1) * flown.dt).double().numpy()
    total = flown.reward.sum(dim=0).double().numpy()
    return {
        "capture_rate": intervals.proportion(int(success.sum()), success.numel()),
        "time_in_radius": intervals.mean(inside),
        "time_to_capture": intervals.mean(time_to_capture),
        "mean_distance": intervals.mean(distance),
        "return": intervals.mean(total),
    }
