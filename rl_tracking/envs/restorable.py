"""What an agent may ask of a vectorised environment whose state can be saved, copied and put back."""

from __future__ import annotations

import dataclasses
from typing import Any, Protocol, Self, runtime_checkable

import gymnasium as gym
import numpy as np
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from rl_tracking.errors import UsageError


class States(Protocol):
    """The states of some worlds, as one immutable value."""

    def __len__(self) -> int:
        """Number of worlds."""

    def __getitem__(self, worlds: Any) -> Self:
        """Some of the worlds."""

    def repeat(self, n: int) -> Self:
        """``n`` copies, branch-major."""

    def to_bytes(self) -> bytes:
        """A copy as bytes."""

    def differences(self, other: object) -> list[str]:
        """Names of what differs; empty when bit-equal."""


@runtime_checkable
class Restorable(Protocol):
    """A ``VecEnv`` that can be forked."""

    num_envs: int

    def get_state(self) -> Any:
        """The states of all worlds, ``len == num_envs``."""

    def set_state(self, states: Any) -> None:
        """Put states back; the next step is bit-equal to the one that followed ``get_state``."""

    def spawn(self, num_envs: int) -> Any:
        """A sibling with ``num_envs`` slots of its own: where branches run."""


@dataclasses.dataclass(frozen=True)
class BranchStep:
    """What N actions led to from each of E states, all branch-major; nothing was reset.

    Attributes:
        observation: of the states reached ``[N, E, ...]``; a terminal state's own, not the next episode's.
        reward: ``[N, E]``.
        terminated: ``[N, E]`` bool.
        truncated: ``[N, E]`` bool.
    """

    observation: Any
    reward: Tensor
    terminated: Tensor
    truncated: Tensor


@runtime_checkable
class Foreseeing(Protocol):
    """A restorable ``VecEnv`` that steps all branches itself, without a sibling and without leaving tensors."""

    def foresee(self, actions: Tensor, noise: str = "common") -> BranchStep:
        """Try the actions ``[N, E, A]`` from the present states, which stay as they are."""


class NotRestorableError(UsageError):
    """The environment's state cannot be saved and put back faithfully."""


def why_not_restorable(env: Any) -> str | None:
    """One line that says what an environment lacks to be restorable; None if it has everything."""
    missing = [name for name in ("get_state", "set_state", "spawn") if not callable(_method(env, name))]
    if not missing:
        return None
    return (
        f"{_describe(env)} is not restorable: it has no {', '.join(missing)}; "
        "use rl_tracking.make_vec(...) or give the VecEnv these methods (see rl_tracking.envs.restorable)"
    )


def as_restorable(env: Any) -> Any:
    """``env`` itself if it can be forked, or the batch of one world that an ``rl_tracking`` env stands for.

    Args:
        env: a ``VecEnv``, a ``gymnasium.Env`` or a registered id.

    Raises:
        NotRestorableError: its state cannot be saved and put back.
    """
    if isinstance(env, str):
        env = gym.make(env)
    if isinstance(env, gym.Env) and callable(_method(env.unwrapped, "to_vec")):
        _refuse_wrappers(env)
        return env.unwrapped.to_vec()  # type: ignore[attr-defined]
    reason = why_not_restorable(env)
    if reason is not None:
        raise NotRestorableError(reason)
    return env


def _refuse_wrappers(env: gym.Env[Any, Any]) -> None:
    harmless = ("OrderEnforcing", "PassiveEnvChecker")
    while isinstance(env, gym.Wrapper):
        if type(env).__name__ not in harmless:
            raise NotRestorableError(
                f"the wrapper {type(env).__name__} keeps state or changes what is seen and cannot be forked; "
                "use rl_tracking.make_vec(...) and SB3's VecEnv wrappers"
            )
        env = env.env


def _method(env: Any, name: str) -> Any:
    return getattr(env, name, None)


def _describe(env: Any) -> str:
    inner = env.unwrapped if isinstance(env, VecEnv | gym.Env) else env
    envs = getattr(inner, "envs", None)
    name = type(inner).__name__
    if envs and getattr(envs[0], "spec", None) is not None:
        return f"{name} of {envs[0].spec.id}"
    spec = getattr(inner, "spec", None)
    return f"{name} of {spec.id}" if spec is not None else name


@dataclasses.dataclass(frozen=True)
class Check:
    """One property of a restorable environment: its name, whether it holds, and what differed if not."""

    name: str
    passed: bool
    detail: str = ""


@dataclasses.dataclass(frozen=True)
class Report:
    """What :func:`check_restorable` found."""

    environment: str
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """True if every check passed."""
        return all(check.passed for check in self.checks)

    def __str__(self) -> str:
        """One line a check."""
        lines = [f"{self.environment}: {'restorable' if self.ok else 'NOT restorable'}"]
        lines += [
            f"  {'ok  ' if c.passed else 'FAIL'} {c.name}{': ' + c.detail if c.detail else ''}" for c in self.checks
        ]
        return "\n".join(lines)


def check_restorable(env: Any, *, steps: int = 50, branches: int = 4, seed: int = 0) -> Report:
    """Prove that an environment can be forked, or say exactly what differs.

    Checks, by running it: saving, ``steps`` steps and restoring gives the same steps again, bit for bit; branches
    give the same in forward and in reverse order; branching leaves the parent untouched; siblings share no memory;
    a state survives a trip through bytes and the end of an episode.

    Args:
        env: a ``VecEnv``, a ``gymnasium.Env`` or a registered id. It is stepped and left at its reset.
        steps: length of the compared stretches.
        branches: how many branches are tried.
        seed: of the actions, and of the environment's reset.

    Raises:
        NotRestorableError: it lacks the methods to begin with.
    """
    name = env if isinstance(env, str) else _describe(env)
    env = as_restorable(env)
    env.seed(seed)
    env.reset()
    probe = _Probe(env, np.random.default_rng(seed), steps, branches)
    checks = (
        probe.same_steps_again(),
        probe.branch_order(),
        probe.parent_untouched(),
        probe.no_shared_memory(),
        probe.through_bytes(),
        probe.survives_done(),
    )
    env.reset()
    return Report(name, checks)


class _Probe:
    """Runs an environment through the properties of a restorable one."""

    def __init__(self, env: Any, rng: np.random.Generator, steps: int, branches: int) -> None:
        self.env, self.rng, self.steps, self.branches = env, rng, steps, branches

    def _actions(self, env: Any, steps: int) -> list[Any]:
        space: gym.Space[Any] = env.action_space
        space.seed(int(self.rng.integers(2**31)))
        return [np.stack([space.sample() for _ in range(env.num_envs)]) for _ in range(steps)]

    def _run(self, env: Any, actions: list[Any]) -> list[tuple[Any, ...]]:
        return [_outcome(env.step(action)) for action in actions]

    def same_steps_again(self) -> Check:
        """Save, run, restore, run again."""
        actions = self._actions(self.env, self.steps)
        saved = self.env.get_state()
        first = self._run(self.env, actions)
        self.env.set_state(saved)
        return _compare("save, step, restore: the same steps again", first, self._run(self.env, actions))

    def branch_order(self) -> Check:
        """Each branch alone gives the same, whichever comes first."""
        saved, sibling = self.env.get_state(), self.env.spawn(self.env.num_envs)
        plans = [self._actions(self.env, 3) for _ in range(self.branches)]
        results: list[dict[int, list[tuple[Any, ...]]]] = []
        for order in (range(self.branches), reversed(range(self.branches))):
            outcome = {}
            for branch in order:
                sibling.set_state(saved)
                outcome[branch] = self._run(sibling, plans[branch])
            results.append(outcome)
        forward = [step for branch in range(self.branches) for step in results[0][branch]]
        backward = [step for branch in range(self.branches) for step in results[1][branch]]
        sibling.close()
        return _compare("branches in forward and reverse order", forward, backward)

    def parent_untouched(self) -> Check:
        """Running branches on a sibling does not move the parent."""
        saved, sibling = self.env.get_state(), self.env.spawn(self.branches * self.env.num_envs)
        # Kept as bytes: a state that is no value would change along with the parent.
        kept = saved.to_bytes()
        sibling.set_state(saved.repeat(self.branches))
        self._run(sibling, self._actions(sibling, 3))
        sibling.close()
        after = self.env.get_state()
        same = after.to_bytes() == kept
        differing = [] if same else after.differences(type(saved).from_bytes(kept))
        return Check("branching leaves the parent untouched", same, ", ".join(differing))

    def no_shared_memory(self) -> Check:
        """A saved state does not change as the world that it was taken from goes on."""
        saved = self.env.get_state()
        before = saved.to_bytes()
        self._run(self.env, self._actions(self.env, 3))
        same = saved.to_bytes() == before
        return Check("a saved state shares no memory with the world", same, "" if same else "its bytes changed")

    def through_bytes(self) -> Check:
        """to_bytes and from_bytes give the state back."""
        saved = self.env.get_state()
        differing = type(saved).from_bytes(saved.to_bytes()).differences(saved)
        return Check("a state survives a trip through bytes", not differing, ", ".join(differing))

    def survives_done(self) -> Check:
        """A state saved before the end of an episode is good after it."""
        name = "a state saved before the end of an episode is good after it"
        limit = 100_000
        for _ in range(limit):
            saved = self.env.get_state()
            (action,) = self._actions(self.env, 1)
            first = _outcome(self.env.step(action))
            if first[2].any():
                break
        else:
            return Check(name, False, f"no episode ended within {limit} steps")
        self.env.set_state(saved)
        return _compare(name, [first], [_outcome(self.env.step(action))])


def _outcome(result: Any) -> tuple[Any, ...]:
    """Observation, reward, done and the terminal observations of a step, as arrays of their own."""
    observation, reward, done, infos = result
    last = [np.array(info["terminal_observation"]) for info in infos if "terminal_observation" in info]
    return np.array(observation), np.array(reward), np.array(done), np.array(last)


def _compare(name: str, first: list[tuple[Any, ...]], second: list[tuple[Any, ...]]) -> Check:
    for step, (a, b) in enumerate(zip(first, second, strict=True)):
        for part, x, y in zip(("observation", "reward", "done", "terminal observation"), a, b, strict=True):
            if x.tobytes() != y.tobytes():
                at: Any = np.argwhere(~np.isclose(x, y, rtol=0, atol=0, equal_nan=True)) if x.shape == y.shape else []
                where = f" at index {tuple(int(i) for i in at[0])}" if len(at) else ""
                return Check(name, False, f"{part} of step {step + 1} differs{where}")
    return Check(name, True)
