"""Which way saves an environment faithfully: tried out on siblings, so that the environment itself is not touched."""

from __future__ import annotations

import copy
import random
from typing import Any

import numpy as np
import torch

from rl_tracking.envs.clocks import without_clocks
from rl_tracking.envs.faithful import CODECS, Freezer, NotCopyableError
from rl_tracking.envs.faithful.form import differences
from rl_tracking.envs.replay import Replay
from rl_tracking.envs.restorable import NotRestorableError
from rl_tracking.envs.stacks import Blueprint, UnbuildableError
from rl_tracking.envs.ways import Fields, MujocoFields, OwnMethods, WayNotOpenError

WAYS: tuple[type[Fields], ...] = (OwnMethods, MujocoFields, Fields, Replay)
_STEPS = 40  # of the stretch that is compared; halfway there is a reset


def find_way(blueprint: Blueprint) -> type[Fields]:
    """The first way that is open and was seen to be faithful.

    Proved on two siblings, bit for bit: save, some steps, restore, and the same steps again; across a reset; in the
    other sibling too. Observations, rewards, ends, infos, and the whole state afterwards with its generators.

    Raises:
        NotRestorableError: none is; it says what differed.
    """
    reasons = []
    before = np.random.get_state(), random.getstate(), torch.get_rng_state()
    try:
        for way in WAYS:
            try:
                reason = _Trial(way, blueprint).differing()
            except WayNotOpenError as error:
                # That it has no such methods, or no MuJoCo, is no news.
                reason = str(error) if way in (Fields, Replay) else ""
            except UnbuildableError:
                raise
            except NotRestorableError as error:
                reason = str(error)
            except Exception as error:  # whatever the environment's own code may raise
                reason = f"{type(error).__name__}: {error}"
            if reason is None:
                return way
            if reason:
                reasons.append(f"{way.title} fails: {reason}")
    finally:
        np.random.set_state(before[0])
        random.setstate(before[1])
        torch.set_rng_state(before[2])
    raise NotRestorableError(" ".join(f"{blueprint.name} is not restorable; {'; '.join(reasons)}".split()))


class _Trial:
    """Two siblings and what is done to them."""

    def __init__(self, way: type[Fields], blueprint: Blueprint) -> None:
        self._first, self._second = way(blueprint.build()), way(blueprint.build())
        space = copy.deepcopy(blueprint.env.action_space)
        space.seed(1)
        self._actions = [space.sample() for _ in range(_STEPS)]

    def differing(self) -> str | None:
        """What is not as it was before; None if everything is."""
        try:
            return self._differing()
        finally:
            self._first.env.close()
            self._second.env.close()

    def _differing(self) -> str | None:
        self._first.env.reset(seed=1)
        self._run(self._first, self._actions[:7])
        saved = self._first.save()
        outside = _global_randomness()
        outcomes = self._run(self._first, self._actions)
        hint = "" if _global_randomness() == outside else ", and it draws from a generator that all of Python shares"
        after = self._first.save()
        self._second.env.reset(seed=2)
        self._run(self._second, self._actions[:3])
        for way, where in ((self._first, ""), (self._second, " in a sibling")):
            way.restore(saved)
            found = _first_difference(outcomes, self._run(way, self._actions)) or _state_difference(after, way.save())
            if found is not None:
                return f"{found}{where}{hint}"
        self._run(self._second, self._actions[:3])
        found = _state_difference(after, self._first.save())
        return None if found is None else f"{found}, since a sibling has made some steps"

    def _run(self, way: Fields, actions: list[Any]) -> list[dict[str, Any]]:
        """Step, start a new episode where one ends, and once in the middle of one."""
        outcomes = []
        for index, action in enumerate(actions):
            observation, reward, terminated, truncated, info = way.env.step(copy.copy(action))
            outcomes.append(_outcome(observation, info, reward=reward, terminated=terminated, truncated=truncated))
            if terminated or truncated or index == _STEPS // 2:
                outcomes.append(_outcome(*way.env.reset()))
        return outcomes


def _outcome(observation: Any, info: dict[str, Any], **numbers: Any) -> dict[str, Any]:
    """Everything that was returned, frozen; what an info holds that cannot be is left out."""
    freezer = Freezer(CODECS)
    frozen = {"observation": freezer.freeze(observation), **{name: freezer.freeze(x) for name, x in numbers.items()}}
    for name, value in info.items():
        mark = freezer.mark()
        try:
            frozen[f"info {name}"] = freezer.freeze(value)
        except NotCopyableError:
            freezer.forget(mark)
    return frozen


def _first_difference(first: list[dict[str, Any]], second: list[dict[str, Any]]) -> str | None:
    for step, (a, b) in enumerate(zip(first, second, strict=False)):
        found = without_clocks(differences(a, b))
        if found:
            return f"{found[0]} of step {step + 1} is another"
    return None if len(first) == len(second) else "the number of episodes is another"


def _state_difference(a: Any, b: Any) -> str | None:
    found = without_clocks(differences(a, b))
    return f"afterwards {', '.join(found[:3])} differs" if found else None


def _global_randomness() -> tuple[Any, ...]:
    state: Any = np.random.get_state()
    return state[1].tobytes(), state[2:], random.getstate(), torch.get_rng_state().numpy().tobytes()
