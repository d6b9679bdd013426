"""Makes the step of a crash file again, and says what there was: state, action, reward terms, and what happens now."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rl_tracking import named_code
from rl_tracking.adapters.gym_states import GymStates
from rl_tracking.agents.saving import weights
from rl_tracking.agents.saving.description import versions
from rl_tracking.envs.actions import checked_actions
from rl_tracking.envs.parts.rewards import Reward
from rl_tracking.envs.simulator import Simulator
from rl_tracking.envs.transition import Step
from rl_tracking.envs.vec_env import TrackingVecEnv, make_scenario
from rl_tracking.errors import StepError, UsageError, account
from rl_tracking.runs import crash as crash_files
from rl_tracking.runs.crash import CrashFile
from rl_tracking.runs.tasks import GymnasiumTask

_MOST_NUMBERS = 64  # of a field that are shown
_CHANGED = "; where it was changed on purpose, add --changed to see the step with it as it is now"


@dataclasses.dataclass(frozen=True)
class Replayed:
    """A step of a crash file, made again.

    Attributes:
        file: the crash file.
        place: the scenario or the environment.
        error: what was said at the crash.
        again: what is said now; None if the step went well.
        same: whether the same failed now.
        where: branch, world, macro_step and step of the episode, as far as they are known.
        steps: how many steps were made; the last one is the one in question.
        action: of the world in question.
        before: its state before the step, by field.
        after: what the step led to, by field; empty where it failed before.
        terms: of the reward, by name: a number, or what was wrong.
        versions: of packages that are others now than at the crash: then and now.
    """

    file: str
    place: str
    error: str
    again: str | None
    same: bool
    where: dict[str, int]
    steps: int
    action: Any
    before: dict[str, Any]
    after: dict[str, Any]
    terms: dict[str, Any]
    versions: dict[str, tuple[str, str]]

    def to_dict(self) -> dict[str, Any]:
        """As JSON; numbers that are not finite are texts."""
        plain: dict[str, Any] = _plain(dataclasses.asdict(self))
        return plain


def replay(path: str | Path, *, trust: bool = False, changed: bool = False) -> Replayed:
    """Rebuild the worlds of a crash file, put their state back and make the step again.

    Args:
        path: of the crash file.
        trust: let code be run that the file names (a reward by file, an environment by module).
        changed: and do so where it was changed since the crash.

    Raises:
        UsageError: the file is missing, damaged or something else; it names code that is not trusted; or its worlds
            cannot be made here.
    """
    file = crash_files.read(Path(path))
    _refuse_code(file, trust=trust, changed=changed)
    if file.crash.scenario is not None:
        return _replay_scenario(file)
    if file.crash.env is not None:
        return _replay_env(file)
    raise UsageError(f"crash file '{path}' is damaged: it names neither a scenario nor an environment")


def _refuse_code(file: CrashFile, *, trust: bool, changed: bool) -> None:
    crash = file.crash
    place: Any = crash.scenario or crash.env
    named = () if place is None else (place.parameters, {"id": getattr(place, "id", "")})
    code = [found for value in named for found in named_code.find_all(value, "it", always=("id", "reward"))]
    digests = None if changed else {plugin.name: plugin.sha256 for plugin in crash.plugins}
    try:
        named_code.refuse(code, f"crash file '{file.path}'", trust=trust, digests=digests)
    except UsageError as error:
        raise UsageError(f"{error}{_CHANGED if trust else ''}") from error


# -- worlds of this package -------------------------------------------------------------------------------------------


def _replay_scenario(file: CrashFile) -> Replayed:
    crash, scenario = file.crash, file.crash.scenario
    assert scenario is not None
    env = TrackingVecEnv(make_scenario(scenario.name, **scenario.parameters), len(file.actions[0]), seed=0)
    weights.read(file.states, f"'states.bin' of crash file '{file.path}'")  # before torch opens it
    try:
        env.set_state(env.scenario.state_class.from_bytes(file.states))
        action = torch.from_numpy(checked_actions(env.action_space, file.actions[-1], env.num_envs))
    except (UsageError, ValueError) as error:
        raise UsageError(f"crash file '{file.path}' holds no worlds of {scenario.name}: {error}") from error
    row = crash.row or 0
    states = env.get_state()
    before = _row(states, row)
    after: dict[str, Any] = {}
    terms: dict[str, Any] = {}
    failed: StepError | None = None
    with torch.no_grad():
        try:
            step, made = env.simulator.step(states, action), env.simulator.transition(states, action)
            after = _row(made.after, row) | _distance(step, "distance", row)
            before |= _distance(step, "distance_before", row)
            terms = {name: float(term[row]) for name, term in made.terms.items()}
            terms["reward"] = float(made.reward[row])
        except StepError as error:
            failed = error
            after, terms = _pieces(env.simulator, states, action, row, before)
    place = f"{scenario.name} {scenario.parameters.get('preset', '')}".strip()
    return _told(file, place, failed, action[row].numpy(), before, after, terms)


def _pieces(
    simulator: Simulator, states: Any, action: Tensor, row: int, before: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What can be computed of a step that fails: the state after it, and each term of the reward."""
    scenario: Any = simulator.scenario
    try:
        step: Any = simulator.step(states, action)
    except StepError:
        return {}, {}
    reward = getattr(scenario, "reward_terms", None)
    terms: dict[str, Any] = {}
    if isinstance(reward, Reward):
        for name, weight, function in reward.terms:
            try:
                terms[name] = float(function(step)[row]) * weight
            except StepError as error:
                terms[name] = error.problem
    before |= _distance(step, "distance_before", row)
    return _row(step.after, row) | _distance(step, "distance", row), terms


def _distance(step: Step, name: str, row: int) -> dict[str, Any]:
    """Of each pursuer to the target [m], where a scenario has such."""
    try:
        return {"distance": getattr(step, name)[row].cpu().numpy().copy()}
    except AttributeError:
        return {}


def _row(states: Any, row: int) -> dict[str, Any]:
    return {name: tensor[row].cpu().numpy().copy() for name, tensor in states.tensors().items() if tensor[row].numel()}


# -- adapted environments ---------------------------------------------------------------------------------------------


def _replay_env(file: CrashFile) -> Replayed:
    crash = file.crash
    assert crash.env is not None
    row = crash.row or 0
    worlds: Any = GymnasiumTask(crash.env.id, dict(crash.env.parameters)).worlds(1, 0, must_restore=True)
    try:
        try:
            worlds.set_state(GymStates.from_bytes(file.states)[row])
        except StepError:
            raise
        except Exception as error:  # states of a hostile file can be anything
            raise UsageError(
                f"crash file '{file.path}' holds no states of environment '{crash.env.id}': {account(error)}"
            ) from error
        before: dict[str, Any] = {}
        after: dict[str, Any] = {}
        terms: dict[str, Any] = {}
        failed: StepError | None = None
        env = worlds.envs[0].unwrapped
        try:
            for actions in file.actions[:-1, row : row + 1]:
                worlds.step(actions)
            before = _fields(env)
            observation, reward, done, infos = worlds.step(file.actions[-1, row : row + 1])
            after = {"observation": infos[0].get("terminal_observation", _first(observation)), "done": bool(done[0])}
            after |= _fields(env)
            terms = {"reward": float(reward[0])}
        except StepError as error:
            failed = error
        return _told(file, crash.env.id, failed, file.actions[-1, row], before, after, terms)
    finally:
        worlds.close()


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


# -- both -------------------------------------------------------------------------------------------------------------


def _told(
    file: CrashFile,
    place: str,
    failed: StepError | None,
    action: Any,
    before: dict[str, Any],
    after: dict[str, Any],
    terms: dict[str, Any],
) -> Replayed:
    crash, now = file.crash, versions()
    others = {name: (crash.versions.get(name, "unknown"), version) for name, version in now.items()}
    return Replayed(
        file=str(file.path),
        place=place,
        error=crash.error,
        again=None if failed is None else failed.problem,
        same=failed is not None and failed.problem == crash.problem,
        where=dict(crash.places),
        steps=len(file.actions),
        action=action,
        before=before,
        after=after,
        terms=terms,
        versions={name: pair for name, pair in others.items() if pair[0] != pair[1]},
    )


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
