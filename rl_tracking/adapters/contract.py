"""Which way saves an environment faithfully: tried out on siblings, so that the environment itself is not touched."""

from __future__ import annotations

import contextlib
import copy
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from rl_tracking.adapters.checked import Checks
from rl_tracking.adapters.clocks import without_clocks
from rl_tracking.adapters.freezing import CODECS, Freezer
from rl_tracking.adapters.freezing.form import differences
from rl_tracking.adapters.replay import Replay
from rl_tracking.adapters.shared_state import SharedState
from rl_tracking.adapters.stacks import Blueprint, UnbuildableError
from rl_tracking.adapters.strategies import Fields, MujocoFields, OwnMethods, WayNotOpenError, seeded
from rl_tracking.errors import EnvironmentStepError, UsageError, account
from rl_tracking.restoring.global_generators import GlobalGenerators
from rl_tracking.restoring.protocol import NotRestorableError

_UNSEEDED: tuple[type[Fields], ...] = (OwnMethods, MujocoFields, Fields)
_SEEDED = tuple(map(seeded, _UNSEEDED))
WAYS: tuple[type[Fields], ...] = (*_UNSEEDED, *_SEEDED, Replay)
_STEPS = 40  # of the stretch that is compared; halfway there is a reset
_TIMES = 8  # as often as all comparisons together step
_LATER_STEPS = 24  # of the stretch in a later episode
# Who samples from a space of an environment draws from its generator; where a step does, its outcome tells.
_NOT_COMPARED = frozenset({"space"})


def find_way(blueprint: Blueprint, shared: SharedState) -> type[Fields]:
    """The first way that is open and was seen to be faithful.

    Proved on two siblings, bit for bit: save, some steps, restore, and the same steps again; across resets; in the
    other sibling too; in the first, seeded episode and in a later one. Observations, rewards, ends, and the whole state
    afterwards with its generators. What an ``info`` says, and generators of spaces, do not decide.

    Args:
        blueprint: builds siblings.
        shared: what all worlds share, which must not change.

    Raises:
        NotRestorableError: none is; it says what differed.
        EnvironmentStepError: the environment fails without being saved at all.
    """
    reasons: list[str] = []
    for way in WAYS:
        reason = _reason_against(way, blueprint)
        changed = shared.changed()
        if changed is not None:
            reasons.append(changed)
            break
        if reason is None:
            return way
        if reason and way not in _SEEDED:
            reasons.append(f"{way.title} fails: {reason}")
    _refuse_failing(blueprint)
    raise NotRestorableError(" ".join(f"{blueprint.name} is not restorable; {'; '.join(reasons)}".split()))


@contextlib.contextmanager
def python_generators_kept() -> Iterator[None]:
    """Put back the generators that all of Python shares, whatever an environment does with them."""
    before = np.random.get_state(), random.getstate(), torch.get_rng_state()
    try:
        yield
    finally:
        np.random.set_state(before[0])
        random.setstate(before[1])
        torch.set_rng_state(before[2])


def _reason_against(way: type[Fields], blueprint: Blueprint) -> str | None:
    """What speaks against a way: nothing (None), nothing worth saying (an empty text), or what differed."""
    try:
        return _Trial(way, blueprint).differing()
    except WayNotOpenError as error:
        # Most environments have no such methods and no MuJoCo: not worth a reason.
        return str(error) if way in (Fields, Replay) else ""
    except NotRestorableError as error:
        if isinstance(error, UnbuildableError):
            raise
        return str(error)
    except UsageError:
        raise
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever the environment's own code may raise, sys.exit() included
        return account(error)


def _refuse_failing(blueprint: Blueprint) -> None:
    """Step a sibling that is neither saved nor restored: what fails there is the environment's own fault."""
    env = blueprint.build()
    checks = Checks.of(env)
    try:
        checks.reset(env, seed=1)
        for index, action in enumerate(_sampled(blueprint, _STEPS) * _TIMES):
            observation, _, terminated, truncated, _ = checks.step(env, copy.copy(action))
            checks.finite(observation)
            if terminated or truncated or index % _STEPS == _STEPS // 2:
                checks.reset(env)
    except EnvironmentStepError as error:
        error.kept.append("it failed when it was tried out, before any training")
        raise
    finally:
        env.close()


def _sampled(blueprint: Blueprint, number: int) -> list[Any]:
    """Actions, the same every time."""
    space = copy.deepcopy(blueprint.env.action_space)
    space.seed(1)
    return [space.sample() for _ in range(number)]


class _Trial:
    """Two siblings and what is done to them."""

    def __init__(self, way: type[Fields], blueprint: Blueprint) -> None:
        self._first, self._second = way(blueprint.build()), way(blueprint.build())
        self._generators = GlobalGenerators()
        self._actions = _sampled(blueprint, _STEPS)

    def differing(self) -> str | None:
        """What is not as it was before; None if everything is."""
        try:
            return self._in_first_episode() or self._in_later_episode()
        finally:
            self._first.env.close()
            self._second.env.close()

    def _in_first_episode(self) -> str | None:
        self._first.begin(seed=1)
        self._second.begin(seed=2)
        return self._compared(self._actions)

    def _in_later_episode(self) -> str | None:
        self._first.begin()
        self._run(self._first, self._actions)
        self._first.begin()
        found = self._compared(self._actions[:_LATER_STEPS])
        return None if found is None else f"{found}, in a later episode"

    def _compared(self, actions: list[Any]) -> str | None:
        """From here: save, steps, restore, the same steps, in one sibling and in the other."""
        self._run(self._first, actions[:7])
        saved = self._first.save()
        outside = self._generators.read()
        outcomes = self._run(self._first, actions)
        drawn = self._generators.moved_since(outside)
        what = f"it draws from {drawn[0]}, a generator that all of Python shares" if drawn else ""
        hint = f", and {what}" if drawn else ""
        after = self._first.save()
        self._run(self._second, actions[:3])
        for way, where in ((self._first, ""), (self._second, " in a sibling")):
            way.restore(saved)
            found = _first_difference(outcomes, self._run(way, actions)) or _state_difference(after, way.save())
            if found is not None:
                return f"{found}{where}{hint}"
        self._first.restore(saved)
        self._run(self._second, actions[:3])
        few = self._run(self._first, actions[:5])
        found = _first_difference(outcomes[: len(few)], few)
        if found is not None:
            return f"{found}, since a sibling has made some steps"
        return f"{what}; draw from self.np_random instead" if drawn else None

    def _run(self, way: Fields, actions: list[Any]) -> list[dict[str, Any]]:
        """Step, start a new episode where one ends, and once in the middle of one."""
        outcomes = []
        for index, action in enumerate(actions):
            observation, reward, terminated, truncated, _ = way.env.step(copy.copy(action))
            outcomes.append(_outcome(observation, reward=reward, terminated=terminated, truncated=truncated))
            if terminated or truncated or index == _STEPS // 2:
                outcomes.append(_outcome(way.begin()[0]))
        return outcomes


def _outcome(observation: Any, **numbers: Any) -> dict[str, Any]:
    """What was returned and something depends on, frozen."""
    freezer = Freezer(CODECS)
    return {"observation": freezer.freeze(observation), **{name: freezer.freeze(x) for name, x in numbers.items()}}


def _first_difference(first: list[dict[str, Any]], second: list[dict[str, Any]]) -> str | None:
    for step, (a, b) in enumerate(zip(first, second, strict=False)):
        found = without_clocks(differences(a, b))
        if found:
            return f"{found[0]} of step {step + 1} is another"
    return None if len(first) == len(second) else "the number of episodes is another"


def _state_difference(a: Any, b: Any) -> str | None:
    found = without_clocks(differences(a, b, _NOT_COMPARED))
    return f"afterwards {', '.join(found[:3])} differs" if found else None
