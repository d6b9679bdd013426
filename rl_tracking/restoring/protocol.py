"""What an agent may ask of a vectorised environment whose state can be saved, copied and put back."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Protocol, Self, runtime_checkable

import gymnasium as gym
import numpy as np
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecEnvWrapper
from torch import Tensor

from rl_tracking.errors import RunError, StepError, UsageError
from rl_tracking.restoring.check import Check as Check
from rl_tracking.restoring.check import Cost, Probe, measure


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

    @property
    def last_transition(self) -> Any:
        """The latest step of all worlds."""

    def expect(self, path: Sequence[Any]) -> None:
        """Take the coming steps from a sibling's, :attr:`last_transition` each, whose first worlds are these."""


class NotRestorableError(UsageError):
    """The environment's state cannot be saved and put back faithfully."""


class SharedStateError(StepError, RunError):
    """Something that all worlds share has changed while it was in use, so states do not hold all there is."""


def why_not_restorable(env: Any) -> str | None:
    """One line that says what an environment lacks to be restorable; None if it has everything."""
    missing = [name for name in ("get_state", "set_state", "spawn") if not callable(_method(env, name))]
    if not missing:
        return None
    return (
        f"{_describe(env)} is not restorable: it has no {', '.join(missing)}; "
        "use rl_tracking.make_vec(...), a DummyVecEnv of Gymnasium environments, or give the VecEnv these methods "
        "(see rl_tracking.restoring.protocol)"
    )


def as_restorable(env: Any) -> Any:
    """Something that can be forked: ``env`` itself, or what stands for it.

    An ``rl_tracking`` environment becomes a batch of one world. Any other Gymnasium environment, by id or as it is, and
    the environments of an SB3 ``DummyVecEnv``, go into a :class:`rl_tracking.adapters.build.RestorableGymVecEnv`; SB3's
    wrappers around a ``DummyVecEnv`` stay around that.

    Args:
        env: a ``VecEnv``, a ``gymnasium.Env``, a registered id or a function that makes an environment.

    Raises:
        NotRestorableError: its state cannot be saved and put back; it says why.
        UsageError: an unknown id.
    """
    if isinstance(env, str) or (callable(env) and not isinstance(env, VecEnv | gym.Env)):
        return _of_maker(env)
    if isinstance(env, gym.Env):
        return _native(env) or _adapted(env)
    if type(env) is DummyVecEnv:
        return _adapted(env)
    if isinstance(env, VecEnvWrapper) and type(env.unwrapped) is DummyVecEnv:
        innermost = env
        while isinstance(innermost.venv, VecEnvWrapper):
            innermost = innermost.venv
        innermost.venv = _adapted(innermost.venv)
        return env
    reason = why_not_restorable(env)
    if reason is not None:
        raise NotRestorableError(reason)
    return env


def _of_maker(env: Any) -> Any:
    """What an id or a function makes."""
    from rl_tracking.adapters import registry
    from rl_tracking.adapters.usable import made_by

    named = isinstance(env, str)
    made = made_by(lambda: registry.make(env), f"environment '{env}'") if named else made_by(env)
    native = _native(made)
    made.close()
    return native or _adapted(env)


def _adapted(env: Any) -> Any:
    from rl_tracking.adapters.build import RestorableGymVecEnv

    return RestorableGymVecEnv.of(env) if isinstance(env, DummyVecEnv) else RestorableGymVecEnv(env)


def _native(env: gym.Env[Any, Any]) -> Any:
    """The batch of one world that an ``rl_tracking`` environment stands for, unless a wrapper keeps state."""
    if not callable(_method(env.unwrapped, "to_vec")):
        return None
    harmless = ("OrderEnforcing", "PassiveEnvChecker")
    layer = env
    while isinstance(layer, gym.Wrapper):
        if type(layer).__name__ not in harmless:
            return None
        layer = layer.env
    return layer.to_vec()  # type: ignore[attr-defined]


def _method(env: Any, name: str) -> Any:
    return getattr(env, name, None)


def _describe(env: Any) -> str:
    if callable(env) and not isinstance(env, VecEnv | gym.Env):
        return str(getattr(env, "__qualname__", type(env).__name__))
    inner = env.unwrapped if isinstance(env, VecEnv | gym.Env) else env
    envs = getattr(inner, "envs", None)
    name = type(inner).__name__
    if envs and getattr(envs[0], "spec", None) is not None:
        return f"{name} of {envs[0].spec.id}"
    spec = getattr(inner, "spec", None)
    return f"{name} of {spec.id}" if spec is not None else name


@dataclasses.dataclass(frozen=True)
class Report:
    """What :func:`check_restorable` found."""

    environment: str
    checks: tuple[Check, ...]
    way: str = ""
    cost: Cost | None = None

    @property
    def ok(self) -> bool:
        """True if every check passed."""
        return all(check.passed for check in self.checks)

    def __str__(self) -> str:
        """One line a check."""
        by = f" by {self.way}" if self.ok and self.way else ""
        lines = [f"{self.environment}: {'restorable' if self.ok else 'NOT restorable'}{by}"]
        lines += [
            f"  {'ok  ' if c.passed else 'FAIL'} {c.name}{': ' + c.detail if c.detail else ''}" for c in self.checks
        ]
        if self.cost is not None:
            lines.append(f"  a restore costs {self.cost}")
        return "\n".join(lines)


def check_restorable(env: Any, *, steps: int = 50, branches: int = 4, seed: int = 0, cost: bool = False) -> Report:
    """Prove that an environment can be forked, or say exactly what differs.

    Checks, by running it: saving, ``steps`` steps and restoring gives the same steps again, bit for bit; branches
    give the same in forward and in reverse order; branching leaves the parent untouched; siblings share no memory;
    a state survives a trip through bytes and the end of an episode; and in a later episode a sibling does what the
    world itself does that goes on, for four times as many steps.

    Args:
        env: a ``VecEnv``, a ``gymnasium.Env``, a registered id or a function that makes an environment. It is stepped
            and left at its reset.
        steps: length of the compared stretches.
        branches: how many branches are tried.
        seed: of the actions, and of the environment's reset.
        cost: measure a restore against a step, too.

    Raises:
        NotRestorableError: it lacks the methods to begin with, or something that all worlds share changes.
    """
    name = env if isinstance(env, str) else _describe(env)
    env = as_restorable(env)
    env.seed(seed)
    env.reset()
    probe = Probe(env, np.random.default_rng(seed), steps, branches)
    try:
        checks = (
            probe.same_steps_again(),
            probe.branch_order(),
            probe.parent_untouched(),
            probe.no_shared_memory(),
            probe.through_bytes(),
            probe.survives_done(),
            probe.later_episode(),
        )
        env.reset()
    except SharedStateError as error:
        raise NotRestorableError(str(error)) from error
    way = getattr(env, "way", "its own get_state and set_state")
    if getattr(env, "slow", False):
        way += " (slow)"
    return Report(name, checks, way, measure(env) if cost else None)
