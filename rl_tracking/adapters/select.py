"""Selects the snapshot strategy of an environment: the first one that passes the contract checks on siblings."""

from __future__ import annotations

import contextlib
import copy
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from rl_tracking.adapters.blueprint import Blueprint, UnbuildableError
from rl_tracking.adapters.checks import Checks
from rl_tracking.adapters.freezing import CODECS, Freezer, differences, without_clocks
from rl_tracking.adapters.replay import Replay
from rl_tracking.adapters.shared_state import SharedState
from rl_tracking.adapters.strategies import Fields, MujocoFields, NotApplicableError, OwnMethods, seeded
from rl_tracking.errors import EnvironmentStepError, UsageError, account
from rl_tracking.restoring.global_generators import GlobalGenerators
from rl_tracking.restoring.protocol import NotRestorableError

_UNSEEDED: tuple[type[Fields], ...] = (OwnMethods, MujocoFields, Fields)
_SEEDED = tuple(map(seeded, _UNSEEDED))
STRATEGIES: tuple[type[Fields], ...] = (*_UNSEEDED, *_SEEDED, Replay)
_STEPS = 40  # of the stretch that is compared; halfway there is a reset
_TIMES = 8  # stretches of that length that all comparisons take together
_LATER_STEPS = 24  # of the stretch in a later episode
# Others may draw from the spaces of an environment too; where a step does, its outcome shows that.
_NOT_COMPARED = frozenset({"space"})


def select_strategy(blueprint: Blueprint, shared: SharedState) -> type[Fields]:
    """The first strategy that applies and passes the contract checks.

    Checked on two siblings, bit for bit: save, some steps, restore, and the same steps again; across resets; in the
    other sibling too; in the first, seeded episode and in a later one. Compared are observations, rewards, ends, and
    the whole state afterwards with its generators; not ``info``, and not the generators of spaces.

    Args:
        blueprint: builds siblings.
        shared: what all worlds share, which must not change.

    Raises:
        NotRestorableError: none does; it says what differed.
        EnvironmentStepError: the environment fails without being saved at all.
    """
    reasons: list[str] = []
    for strategy in STRATEGIES:
        reason = _reason_against(strategy, blueprint)
        changed = shared.changed()
        if changed is not None:
            reasons.append(changed)
            break
        if reason is None:
            return strategy
        if reason and strategy not in _SEEDED:
            reasons.append(f"{strategy.title} fails: {reason}")
    _refuse_failing(blueprint)
    raise NotRestorableError(" ".join(f"{blueprint.name} is not restorable; {'; '.join(reasons)}".split()))


@contextlib.contextmanager
def global_generators_kept() -> Iterator[None]:
    """Restore the generators that the whole process shares, which an environment may draw from."""
    before = np.random.get_state(), random.getstate(), torch.get_rng_state()
    try:
        yield
    finally:
        np.random.set_state(before[0])
        random.setstate(before[1])
        torch.set_rng_state(before[2])


def _reason_against(strategy: type[Fields], blueprint: Blueprint) -> str | None:
    """What speaks against a strategy: nothing (None), nothing worth saying (an empty text), or what differed."""
    try:
        return _Trial(strategy, blueprint).difference()
    except NotApplicableError as error:
        # Most environments have no such methods and no MuJoCo: not worth a reason.
        return str(error) if strategy in (Fields, Replay) else ""
    except (UnbuildableError, KeyboardInterrupt):
        raise
    except NotRestorableError as error:
        return str(error)
    except UsageError:
        raise
    except BaseException as error:  # whatever the environment's own code may raise, sys.exit() included
        return account(error)


def _refuse_failing(blueprint: Blueprint) -> None:
    """Step a sibling that is neither saved nor restored: an error there is the environment's own."""
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
    """Actions, the same at every call."""
    space = copy.deepcopy(blueprint.env.action_space)
    space.seed(1)
    return [space.sample() for _ in range(number)]


class _Trial:
    """The contract checks of one strategy, on two siblings."""

    def __init__(self, strategy: type[Fields], blueprint: Blueprint) -> None:
        with_spaces = blueprint.draws_from_spaces
        self._first, self._second = (strategy(blueprint.build(), with_spaces=with_spaces) for _ in range(2))
        self._generators = GlobalGenerators()
        self._actions = _sampled(blueprint, _STEPS)

    def difference(self) -> str | None:
        """What a restore does not bring back; None if it brings back everything."""
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
        # Save in the middle of an episode, and note which shared generators the steps after it move.
        self._run(self._first, actions[:7])
        saved = self._first.save()
        reading = self._generators.read()
        outcomes = self._run(self._first, actions)
        moved = self._generators.moved_since(reading)
        what = f"it draws from {moved[0]}, a generator that all of Python shares" if moved else ""
        hint = f", and {what}" if moved else ""
        after = self._first.save()
        # Restore in the same environment and in one that other steps have led elsewhere: the same steps must follow.
        self._run(self._second, actions[:3])
        for strategy, where in ((self._first, ""), (self._second, " in a sibling")):
            strategy.restore(saved)
            again = self._run(strategy, actions)
            found = _first_difference(outcomes, again) or _state_difference(after, strategy.save())
            if found is not None:
                return f"{found}{where}{hint}"
        # Steps of a sibling must not change what follows a restore.
        self._first.restore(saved)
        self._run(self._second, actions[:3])
        few = self._run(self._first, actions[:5])
        found = _first_difference(outcomes[: len(few)], few)
        if found is not None:
            return f"{found}, since a sibling has made some steps"
        return f"{what}; draw from self.np_random instead" if moved else None

    def _run(self, strategy: Fields, actions: list[Any]) -> list[dict[str, Any]]:
        """Step, start a new episode where one ends, and once in the middle of one."""
        outcomes = []
        for index, action in enumerate(actions):
            observation, reward, terminated, truncated, _ = strategy.env.step(copy.copy(action))
            outcomes.append(_outcome(observation, reward=reward, terminated=terminated, truncated=truncated))
            if terminated or truncated or index == _STEPS // 2:
                outcomes.append(_outcome(strategy.begin()[0]))
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
