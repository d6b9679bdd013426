"""The saved step of a crash file, made again in the worlds of a task."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rl_tracking.adapters.gym_states import GymStates
from rl_tracking.agents.saving import weights
from rl_tracking.envs.actions import checked_actions
from rl_tracking.envs.base import Scenario
from rl_tracking.envs.parts.rewards import Reward
from rl_tracking.envs.simulator import Simulator
from rl_tracking.envs.vec_env import TrackingVecEnv
from rl_tracking.errors import StepError, UsageError, account

_MOST_NUMBERS = 64  # of a field that are shown


@dataclasses.dataclass(frozen=True)
class SavedStep:
    """What it takes to make a step again.

    Attributes:
        source: what errors call the file, such as ``crash file 'x.zip'``.
        states: of R worlds before the first of K steps, as their own bytes.
        actions: ``[K, R, ...]``; the last of the K steps is the one in question.
        row: of the world in question.
    """

    source: str
    states: bytes
    actions: np.ndarray[Any, Any]
    row: int


@dataclasses.dataclass(frozen=True)
class RepeatedStep:
    """A step made again, of one world.

    Attributes:
        action: that was taken.
        before: the world's state before the step, by field.
        after: what the step led to, by field; empty where it failed before.
        terms: of the reward, by name: a number, or what was wrong.
        failed: the error of the step; None if it went well.
    """

    action: Any
    before: dict[str, Any]
    after: dict[str, Any]
    terms: dict[str, Any]
    failed: StepError | None


# -- worlds of a scenario ---------------------------------------------------------------------------------------------


@torch.no_grad()
def repeat_in_scenario(scenario: Scenario, saved: SavedStep) -> RepeatedStep:
    """Restore the worlds of a scenario and step them.

    Raises:
        UsageError: the states or the actions are those of other worlds.
    """
    env = TrackingVecEnv(scenario, len(saved.actions[0]), seed=0)
    weights.read(saved.states, f"'states.bin' of {saved.source}")  # before torch opens it
    try:
        env.set_state(env.scenario.state_class.from_bytes(saved.states))
        action = torch.tensor(checked_actions(env.action_space, saved.actions[-1], env.num_envs))
    except (UsageError, ValueError) as error:
        raise UsageError(f"{saved.source} holds no worlds of {scenario.name}: {error}") from error
    states, row, failed = env.get_state(), saved.row, None
    before = _row(states, row)
    try:
        made = env.simulator.transition(states, action)
        after = _row(made.after, row) | {name: value[row].item() for name, value in made.measures.items()}
        terms: dict[str, Any] = {name: term[row].tolist() for name, term in made.terms.items()}
        terms["reward"] = float(made.reward[row])
    except StepError as error:
        failed = error
        after, terms = _parts(env.simulator, states, action, row)
    return RepeatedStep(action[row].numpy(), before, after, terms, failed)


def _parts(simulator: Simulator, states: Any, action: Tensor, row: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """What can be computed of a step that fails: the state after it, and each term of the reward."""
    try:
        step: Any = simulator.step(states, action)
    except StepError:
        return {}, {}
    reward = getattr(simulator.scenario, "reward_terms", None)
    terms: dict[str, Any] = {}
    if isinstance(reward, Reward):
        for name, weight, function in reward.terms:
            try:
                terms[name] = float(function(step)[row]) * weight
            except StepError as error:
                terms[name] = error.problem
    return _row(step.after, row), terms


def _row(states: Any, row: int) -> dict[str, Any]:
    return {name: tensor[row].cpu().numpy().copy() for name, tensor in states.tensors().items() if tensor[row].numel()}


# -- Gymnasium environments -------------------------------------------------------------------------------------------


def repeat_in_environment(worlds: Any, saved: SavedStep, label: str) -> RepeatedStep:
    """Restore one environment and make the steps.

    Args:
        worlds: a restorable ``VecEnv`` of one environment, which is closed at the end.
        saved: the states and the actions.
        label: what errors call the environment.

    Raises:
        UsageError: the states are those of another environment.
    """
    row, failed = saved.row, None
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}
    terms: dict[str, Any] = {}
    try:
        _put(worlds, saved, label)
        env = worlds.envs[0].unwrapped
        try:
            for actions in saved.actions[:-1, row : row + 1]:
                worlds.step(actions)
            before = _fields(env)
            observation, reward, done, infos = worlds.step(saved.actions[-1, row : row + 1])
            after = {"observation": infos[0].get("terminal_observation", _first(observation)), "done": bool(done[0])}
            after |= _fields(env)
            terms = {"reward": float(reward[0])}
        except StepError as error:
            failed = error
        return RepeatedStep(saved.actions[-1, row], before, after, terms, failed)
    finally:
        worlds.close()


def _put(worlds: Any, saved: SavedStep, label: str) -> None:
    try:
        worlds.set_state(GymStates.from_bytes(saved.states)[saved.row])
    except StepError:
        raise
    except Exception as error:  # states of a hostile file can be anything
        raise UsageError(f"{saved.source} holds no states of {label}: {account(error)}") from error


def _first(observation: Any) -> Any:
    return {key: leaf[0] for key, leaf in observation.items()} if isinstance(observation, dict) else observation[0]


def _fields(env: Any) -> dict[str, Any]:
    """The fields of an environment that are numbers, texts or arrays of numbers."""
    found: dict[str, Any] = {}
    for name, value in vars(env).items():
        if isinstance(value, bool | int | float | str | np.number):
            found[name] = value
        elif isinstance(value, np.ndarray | list | tuple) and 0 < np.size(value) <= _MOST_NUMBERS:
            array = np.asarray(value)
            if array.dtype.kind in "biuf":
                found[name] = array.copy()
    return found
