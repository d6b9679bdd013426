"""What an agent may ask of a vectorised environment whose state can be saved, copied and restored."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Protocol, Self, runtime_checkable

import gymnasium as gym
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecEnvWrapper
from torch import Tensor

from rl_tracking import plugins
from rl_tracking.errors import RunError, StepError, UsageError


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
class ExactStates(Protocol):
    """States that hold everything that decides a step, so that steps from equal states are equal bit for bit."""

    def decisive_differences(self, other: Any) -> list[str]:
        """Names of the differing fields on which a later step can depend."""


@runtime_checkable
class Restorable(Protocol):
    """A ``VecEnv`` whose state can be saved and restored."""

    num_envs: int

    def get_state(self) -> Any:
        """The states of all worlds, ``len == num_envs``."""

    def set_state(self, states: Any) -> None:
        """Restore states; the next step is bit-equal to the one that followed ``get_state``."""

    def spawn(self, num_envs: int) -> Any:
        """A sibling with ``num_envs`` worlds of its own, in which branches run."""


@dataclasses.dataclass(frozen=True)
class BranchStep:
    """One step of N branches from each of E states, branch-major, before any reset.

    Attributes:
        observation: of the states reached ``[N, E, ...]``; of a terminal state, not of the next episode.
        reward: ``[N, E]``.
        terminated: ``[N, E]`` bool.
        truncated: ``[N, E]`` bool.
    """

    observation: Any
    reward: Tensor
    terminated: Tensor
    truncated: Tensor


@runtime_checkable
class StepsBranches(Protocol):
    """A restorable ``VecEnv`` that steps all branches itself, on tensors and without a sibling."""

    def step_branches(self, actions: Tensor, noise: str = "common") -> BranchStep:
        """Step ``[N, E, A]`` actions from the present states, which do not change."""

    @property
    def last_transition(self) -> Any:
        """The latest step of all worlds."""

    def prefetch(self, path: Sequence[Any]) -> None:
        """Reuse transitions of a sibling, whose first worlds are these, for the next steps with the same actions."""


@dataclasses.dataclass(frozen=True)
class StepGradient:
    """What a gradient through the steps of an environment finds there.

    Attributes:
        reward: what the reward is called.
        terms: of each of its terms, by name, whether its gradient with respect to the actions is ever not 0.
        bytes: that a step of one world keeps for the backward pass, about.
    """

    reward: str
    terms: dict[str, bool]
    bytes: int


@runtime_checkable
class Differentiable(Protocol):
    """A restorable ``VecEnv`` of tensors whose step can be differentiated with respect to states and actions."""

    action_space: gym.Space[Any]

    def step_gradient(self) -> StepGradient:
        """What a gradient finds, from a few steps of copies of the present states."""

    def advance_with_gradient(self, action: Tensor) -> tuple[BranchStep, Tensor]:
        """A step of all worlds as part of a graph that begins where states were last set.

        Args:
            action: ``[E, *action_space.shape]``, within the action space.

        Returns:
            What it led to, ``[E, ...]``, and the observations to go on from. Where an episode ended these are of the
            next one, which no gradient reaches.
        """


class NotRestorableError(UsageError):
    """The environment's state cannot be saved and restored exactly."""


class SharedStateError(StepError, RunError):
    """State that all worlds share has changed during the run; no saved state holds it."""


def why_not_restorable(env: Any) -> str | None:
    """One line that says what an environment lacks to be restorable; None if it has everything."""
    missing = [name for name in ("get_state", "set_state", "spawn") if not callable(getattr(env, name, None))]
    if not missing:
        return None
    return (
        f"{describe(env)} is not restorable: it has no {', '.join(missing)}; "
        "use rl_tracking.make_vec(...), a DummyVecEnv of Gymnasium environments, or give the VecEnv these methods "
        "(see rl_tracking.restoring.protocol)"
    )


def as_restorable(env: Any) -> Any:
    """The environment itself if its state can be saved and restored, else a restorable ``VecEnv`` of it.

    Gymnasium environments, ids, functions that make one and SB3's ``DummyVecEnv`` go through the adapter that
    :mod:`rl_tracking.plugins` names; SB3's wrappers around a ``DummyVecEnv`` stay around what that returns.

    Args:
        env: a ``VecEnv``, a ``gymnasium.Env``, a registered id or a function that makes an environment.

    Raises:
        NotRestorableError: its state cannot be saved and restored; it says why.
        UsageError: an unknown id.
    """
    if isinstance(env, VecEnvWrapper) and type(env.unwrapped) is DummyVecEnv:
        innermost = env
        while isinstance(innermost.venv, VecEnvWrapper):
            innermost = innermost.venv
        innermost.venv = as_restorable(innermost.venv)
        return env
    if type(env) is DummyVecEnv or isinstance(env, str | gym.Env) or (callable(env) and not isinstance(env, VecEnv)):
        return plugins.resolve("adapter", "gymnasium")(env)
    reason = why_not_restorable(env)
    if reason is not None:
        raise NotRestorableError(reason)
    return env


def name_of(env: Any) -> str:
    """The id of a Gymnasium environment, of those in a ``VecEnv`` too; the class where there is none."""
    inner = env.unwrapped if isinstance(env, VecEnv | gym.Env) else env
    envs = getattr(inner, "envs", None)
    world = envs[0].unwrapped if envs else inner
    spec = getattr(world, "spec", None)
    return spec.id if spec is not None else type(world).__name__


def describe(env: Any) -> str:
    """What messages call an environment: its class, and its id if it has one."""
    if callable(env) and not isinstance(env, VecEnv | gym.Env):
        return str(getattr(env, "__qualname__", type(env).__name__))
    inner = env.unwrapped if isinstance(env, VecEnv | gym.Env) else env
    name, cls = name_of(inner), type(inner).__name__
    return cls if name == cls else f"{cls} of {name}"
