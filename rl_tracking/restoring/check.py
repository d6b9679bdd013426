"""The contract of a restorable environment, checked by running one: :func:`check_restorable`."""

from __future__ import annotations

import copy
import dataclasses
import statistics
import time
from typing import Any

import gymnasium as gym
import numpy as np

from rl_tracking.restoring.protocol import NotRestorableError, SharedStateError, as_restorable, describe
from rl_tracking.restoring.step_rows import StepRows, first_difference

_LATER = 4  # the comparison in a later episode runs for this many times the steps of the others


@dataclasses.dataclass(frozen=True)
class Check:
    """One property of a restorable environment: its name, whether it holds, and what differed if not."""

    name: str
    passed: bool
    detail: str = ""


@dataclasses.dataclass(frozen=True)
class Cost:
    """What saving, restoring and stepping take, per world, measured side by side [s]."""

    save: float
    restore: float
    step: float
    branches: int

    @property
    def branching(self) -> float:
        """Saving once, then restoring and stepping every branch, relative to the steps alone."""
        return 1 + (self.save / self.branches + self.restore) / self.step

    def __str__(self) -> str:
        """The ratios, and the times behind them."""
        return (
            f"{self.restore / self.step:.2f} x a step ({self.restore * 1e6:.1f} us against {self.step * 1e6:.1f} us), "
            f"{self.branches} branches {self.branching:.2f} x their steps"
        )


@dataclasses.dataclass(frozen=True)
class Report:
    """What :func:`check_restorable` found: each check, how the state is saved, and what a restore costs."""

    environment: str
    checks: tuple[Check, ...]
    strategy: str = ""
    cost: Cost | None = None

    @property
    def ok(self) -> bool:
        """True if every check passed."""
        return all(check.passed for check in self.checks)

    def __str__(self) -> str:
        """One line a check."""
        by = f" by {self.strategy}" if self.ok and self.strategy else ""
        lines = [f"{self.environment}: {'restorable' if self.ok else 'NOT restorable'}{by}"]
        lines += [
            f"  {'ok  ' if c.passed else 'FAIL'} {c.name}{': ' + c.detail if c.detail else ''}" for c in self.checks
        ]
        if self.cost is not None:
            lines.append(f"  a restore costs {self.cost}")
        return "\n".join(lines)


def check_restorable(env: Any, *, steps: int = 50, branches: int = 4, seed: int = 0, cost: bool = False) -> Report:
    """Check that an environment can be saved and restored exactly, or say what differs.

    Checked by running it: after a restore the same ``steps`` steps follow, bit for bit; branches give the same in
    forward and in reverse order; branching does not change the parent; a saved state shares no memory with a world,
    can be written as bytes and read back, and stays valid after the end of an episode; and in a later episode a
    restored sibling repeats the steps of the world, over four times as many steps.

    Args:
        env: a ``VecEnv``, a ``gymnasium.Env``, a registered id or a function that makes an environment. It is stepped,
            and reset at the end.
        steps: length of the compared stretches.
        branches: how many branches are compared.
        seed: of the actions, and of the environment's reset.
        cost: measure a restore against a step, too.

    Raises:
        NotRestorableError: it lacks the methods, no snapshot strategy restores it, or state that all worlds share
            changes.
    """
    name = env if isinstance(env, str) else describe(env)
    env = as_restorable(env)
    env.seed(seed)
    env.reset()
    contract = _Contract(env, np.random.default_rng(seed), steps, branches)
    try:
        checks = (
            contract.same_steps_again(),
            contract.branch_order(),
            contract.parent_untouched(),
            contract.no_shared_memory(),
            contract.through_bytes(),
            contract.survives_done(),
            contract.later_episode(),
        )
        env.reset()
    except SharedStateError as error:
        raise NotRestorableError(str(error)) from error
    strategy = getattr(env, "strategy", "its own get_state and set_state")
    if getattr(env, "slow", False):
        strategy += " (slow)"
    return Report(name, checks, strategy, measure(env) if cost else None)


class _Contract:
    """One method a property; each steps the environment with random actions."""

    def __init__(self, env: Any, rng: np.random.Generator, steps: int, branches: int) -> None:
        self.env, self.steps, self.branches = env, steps, branches
        self._space: gym.Space[Any] = copy.deepcopy(env.action_space)
        self._space.seed(int(rng.integers(2**31)))

    def _actions(self, env: Any, steps: int) -> list[Any]:
        return [np.stack([self._space.sample() for _ in range(env.num_envs)]) for _ in range(steps)]

    def _run(self, env: Any, actions: list[Any]) -> list[StepRows]:
        return [StepRows.of(env.step(action)) for action in actions]

    def same_steps_again(self) -> Check:
        """Save, run, restore, run again."""
        actions = self._actions(self.env, self.steps)
        saved = self.env.get_state()
        first = self._run(self.env, actions)
        self.env.set_state(saved)
        return _compare("save, step, restore: the same steps again", first, self._run(self.env, actions))

    def branch_order(self) -> Check:
        """A branch gives the same steps whether it runs first or last."""
        saved, sibling = self.env.get_state(), self.env.spawn(self.env.num_envs)
        plans = [self._actions(self.env, 3) for _ in range(self.branches)]
        results = []
        for order in (range(self.branches), reversed(range(self.branches))):
            steps: dict[int, list[StepRows]] = {}
            for branch in order:
                sibling.set_state(saved)
                steps[branch] = self._run(sibling, plans[branch])
            results.append([step for branch in range(self.branches) for step in steps[branch]])
        sibling.close()
        return _compare("branches in forward and reverse order", *results)

    def parent_untouched(self) -> Check:
        """Running branches on a sibling does not move the parent."""
        saved, sibling = self.env.get_state(), self.env.spawn(self.branches * self.env.num_envs)
        # Kept as bytes, because a state that is not a value would change together with the parent.
        kept = saved.to_bytes()
        sibling.set_state(saved.repeat(self.branches))
        self._run(sibling, self._actions(sibling, 3))
        sibling.close()
        after = self.env.get_state()
        same = after.to_bytes() == kept
        differing = [] if same else after.differences(type(saved).from_bytes(kept))
        return Check("branching leaves the parent untouched", same, ", ".join(differing))

    def no_shared_memory(self) -> Check:
        """A saved state does not change while the world that it was taken from is stepped."""
        saved = self.env.get_state()
        before = saved.to_bytes()
        self._run(self.env, self._actions(self.env, 3))
        same = saved.to_bytes() == before
        return Check("a saved state shares no memory with the world", same, "" if same else "its bytes changed")

    def through_bytes(self) -> Check:
        """A state written as bytes and read back is the same."""
        saved = self.env.get_state()
        differing = type(saved).from_bytes(saved.to_bytes()).differences(saved)
        return Check("a state written as bytes and read back is the same", not differing, ", ".join(differing))

    def survives_done(self) -> Check:
        """A state saved before the end of an episode can be restored after it."""
        name = "a state saved before the end of an episode can be restored after it"
        limit = 100_000
        for _ in range(limit):
            saved = self.env.get_state()
            (action,) = self._actions(self.env, 1)
            first = StepRows.of(self.env.step(action))
            if first.done.any():
                break
        else:
            return Check(name, False, f"no episode ended within {limit} steps")
        self.env.set_state(saved)
        return _compare(name, [first], [StepRows.of(self.env.step(action))])

    def later_episode(self) -> Check:
        """In a later episode a restored sibling, and the restored world, repeat the steps of the world."""
        name = "in a later episode, a restored sibling repeats the steps of the world"
        self.env.reset()
        sibling = self.env.spawn(self.env.num_envs)
        self._run(self.env, self._actions(self.env, self.steps // 2))
        saved, actions = self.env.get_state(), self._actions(self.env, _LATER * self.steps)
        first = self._run(self.env, actions)
        for env in (sibling, self.env):
            env.set_state(saved)
            check = _compare(name, first, self._run(env, actions))
            if not check.passed:
                break
        sibling.close()
        return check


def measure(env: Any, *, branches: int = 8, rounds: int = 30) -> Cost:
    """Time saving, restoring and stepping side by side, along random actions; the medians are returned.

    Args:
        env: a restorable ``VecEnv``; it is stepped.
        branches: how many copies of each world are restored and stepped at a time.
        rounds: number of measurements.
    """
    sibling = env.spawn(branches * env.num_envs)
    space = copy.deepcopy(env.action_space)
    space.seed(0)
    saves: list[float] = []
    restores: list[float] = []
    steps: list[float] = []
    for _ in range(rounds):
        actions = np.stack([space.sample() for _ in range(sibling.num_envs)])
        times = [time.perf_counter()]
        states = env.get_state()
        times.append(time.perf_counter())
        sibling.set_state(states.repeat(branches))
        times.append(time.perf_counter())
        sibling.step(actions)
        times.append(time.perf_counter())
        for found, start, end in zip((saves, restores, steps), times, times[1:], strict=False):
            found.append(end - start)
        env.step(actions[: env.num_envs])
    sibling.close()
    save, restore, step = (statistics.median(found) / env.num_envs for found in (saves, restores, steps))
    return Cost(save, restore / branches, step / branches, branches)


def _compare(name: str, first: list[StepRows], second: list[StepRows]) -> Check:
    for step, (a, b) in enumerate(zip(first, second, strict=True)):
        found = first_difference(a, b)
        if found is not None:
            return Check(name, False, f"{found.field} of step {step + 1} differs in world {found.world}")
    return Check(name, True)
