"""Branches: N actions, or N paths, from every present state of a restorable ``VecEnv``."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from rl_tracking.agents.collect.wrappers import branch_wrappers
from rl_tracking.errors import EnvironmentStepError, UsageError
from rl_tracking.restoring.protocol import (
    BranchStep,
    Differentiable,
    StepGradient,
    StepsBranches,
    describe,
    why_not_restorable,
)
from rl_tracking.restoring.protocol import NotRestorableError as NotRestorableError
from rl_tracking.restoring.step_rows import StepRows
from rl_tracking.restoring.watching import Watch

if TYPE_CHECKING:
    from rl_tracking.agents.collect.observations import Observation

_WITHOUT = "gradient 'score' of hybrid-grpo does not"


class Brancher:
    """Tries N actions from the present states of a restorable ``VecEnv``, which stay as they are.

    Wrappers between the algorithm and the restorable env are honoured: ``VecNormalize`` normalises the branches with
    its present moments, which do not move; ``VecFrameStack`` gives each branch its world's frames and then its own;
    ``VecTransposeImage`` transposes; ``VecMonitor`` and ``VecCheckNan`` do not see them. Any other is refused.

    Args:
        env: the algorithm's env.
        n_samples: N.
        noise: ``common`` or ``independent``.
        watched: compare executed steps with those of branch 0, see :mod:`rl_tracking.restoring.watching`; not comparing
            is for measuring what that costs. An env that steps branch 0 only once has nothing to compare.

    Raises:
        NotRestorableError: the env cannot be forked.
        UsageError: a wrapper that cannot be honoured, or noise the env cannot give.
    """

    def __init__(self, env: VecEnv, n_samples: int, noise: str, *, watched: bool = True) -> None:
        self._outer, self._env = env, cast(Any, env.unwrapped)
        reason = why_not_restorable(self._env)
        if reason is not None:
            raise NotRestorableError(reason)
        # Known before training: a wrapper whose effect on a branch is not known would corrupt the rewards unseen.
        self._wrappers = branch_wrappers(env)
        self._n, self._noise = n_samples, noise
        self._steps_branches = isinstance(self._env, StepsBranches)
        self._watch = Watch(self._env, n_samples) if watched and not self._steps_branches else None
        self._path: list[Any] = []  # transitions of the sibling's worlds since the branches began
        self._sibling: Any = None  # made when branches first run there
        if not self._steps_branches and noise != "common" and not hasattr(self._env, "fork"):
            raise UsageError(f"{type(self._env).__name__} only knows branch_noise 'common', not '{noise}'")

    def step_gradient(self, what: str) -> StepGradient:
        """What a gradient through the steps of the env finds; an env without one is refused, as ``what`` needs it."""
        problem = None
        if not isinstance(self._env, Differentiable):
            problem = f"an environment that can be differentiated (rl_tracking.make_vec); {describe(self._env)} is none"
        elif self._wrappers:
            problem = f"its environment without a wrapper such as {type(self._outer).__name__}"
        elif not isinstance(self._env.action_space, spaces.Box):
            problem = f"actions of a Box, and these are of {type(self._env.action_space).__name__}"
        if problem is not None:
            raise UsageError(f"{what} needs {problem}; {_WITHOUT}")
        found: StepGradient = self._env.step_gradient()
        return found

    @property
    def num_envs(self) -> int:
        """E."""
        worlds: int = self._env.num_envs
        return worlds

    @property
    def simulator_steps(self) -> int:
        """Simulator steps that one decision of all worlds costs: N E, and E more where the env steps twice."""
        return self._n * self.num_envs + (0 if self._steps_branches else self.num_envs)

    def step(self, actions: Tensor) -> BranchStep:
        """Try actions ``[N, E, ...]``, already within the action space."""
        if not self._steps_branches:
            return self._step_on_sibling(actions)
        # An env of tensors steps all N E rows as one batch, and keeps branch 0's step for when it is executed.
        outcome: BranchStep = self._env.step_branches(actions, self._noise)
        if not self._wrappers:
            return outcome
        for wrapper in self._wrappers:
            wrapper.start(self._n)
        reached = _arrays(outcome.observation)
        rows = (outcome.reward, outcome.terminated | outcome.truncated, outcome.truncated)
        step = StepRows(reached, reached, *(row.flatten().cpu().numpy() for row in rows))
        return self._seen(step, outcome.terminated, outcome.truncated)[0]

    def _step_on_sibling(self, actions: Tensor) -> BranchStep:
        if self._watch is None:
            self.start_paths()
            return self.advance_paths(actions)[0]
        self._begin_paths()
        # As one call, so that the generators are read once before the branches and once after the executed step.
        step = self._watch.one_step(self._sibling, self._forked, _flat(actions))
        return self._shown(step, actions.device)[0]

    def path_steps(self, length: int) -> int:
        """Simulator steps of branches of ``length`` steps of all worlds, branch 0 being executed."""
        return length * self.simulator_steps

    def start_paths(self) -> None:
        """Put N copies of every present state on a sibling, where :meth:`advance_paths` moves them."""
        self._begin_paths()
        # Restore on a sibling, not on the env itself: its worlds need no second restore when branch 0 is executed.
        if self._watch is None:
            self._sibling.set_state(self._forked())
        else:
            self._watch.start(self._sibling, self._forked)

    def _begin_paths(self) -> None:
        self._path = []
        if self._sibling is None:
            self._sibling = self._env.spawn(self._n * self.num_envs)
        for wrapper in self._wrappers:
            wrapper.start(self._n)

    def advance_paths(self, actions: Tensor) -> tuple[BranchStep, Observation]:
        """One step of all branches; :meth:`end_paths` follows the last one.

        Args:
            actions: ``[N, E, ...]``, already within the action space.

        Returns:
            What they led to, and the observations ``[N, E, ...]`` for the next actions: those of the next episode
            where one ended.
        """
        outcome = (self._advance_on_device if self._on_device else self._advance)(actions)
        if self._steps_branches:
            self._path.append(self._sibling.last_transition)
        return outcome

    def advance_paths_with_gradient(self, actions: Tensor) -> tuple[BranchStep, Observation]:
        """:meth:`advance_paths` as part of a graph that begins at :meth:`start_paths`."""
        outcome = self._branches_of(self._sibling.advance_with_gradient(actions.flatten(0, 1)))
        self._path.append(self._sibling.last_transition)
        return outcome

    def end_paths(self) -> None:
        """The branches are complete, and branch 0 will be executed."""
        # Its transitions are known, and a simulator is a pure function: executing it takes them instead of a step.
        if self._steps_branches:
            self._env.prefetch(self._path)
            self._path = []
        if self._watch is not None:
            self._watch.end()

    def execute(self, actions: Tensor) -> tuple[Any, Any, np.ndarray[Any, Any], list[dict[str, Any]]]:
        """``env.step`` with the actions of branch 0, ``[E, ...]``.

        Worlds on a GPU take tensors and give tensors, unless a wrapper stands between.

        Raises:
            RestoringFailedError: the executed step differs from that of branch 0.
        """
        wrapped = self._outer is not self._env
        # No copy to the CPU where nothing there would read it.
        if self._off_cpu and not wrapped:
            stepped: tuple[Any, Any, np.ndarray[Any, Any], list[dict[str, Any]]] = self._env.step_tensors(actions)
            return stepped
        arrays = actions.cpu().numpy()
        if self._watch is None:
            return self._outer.step(arrays)
        return self._watch.execute(lambda: self._outer.step(arrays), wrapped=wrapped)

    def _forked(self) -> Any:
        """N copies of every present state, branch-major."""
        # An env with a method of its own can give branches independent noise; copies all meet the same one.
        fork = getattr(self._env, "fork", None)
        return self._env.get_state().repeat(self._n) if fork is None else fork(self._n, self._noise)

    def _advance(self, actions: Tensor) -> tuple[BranchStep, Observation]:
        arrays = _flat(actions)
        step = StepRows.of(self._sibling.step(arrays)) if self._watch is None else self._watch.step_branches(arrays)
        return self._shown(step, actions.device)

    def _shown(self, step: StepRows, device: torch.device) -> tuple[BranchStep, Observation]:
        self._check_form(step)
        terminated, truncated = (
            torch.as_tensor(flag, device=device).view(self._n, -1) for flag in (step.terminated, step.truncated)
        )
        return self._seen(step, terminated, truncated)

    def _check_form(self, step: StepRows) -> None:
        """Refuse returns of a user's env whose shape is not that of its space; NumPy would broadcast them unseen."""
        rows = self._n * self.num_envs
        expected = {"reward": (step.reward, (rows,))}
        space = getattr(self._env, "observation_space", None)
        if isinstance(step.reached, np.ndarray) and space is not None:
            expected["observation"] = step.reached, (rows, *space.shape)
        for name, (array, shape) in expected.items():
            if array.shape != shape:
                raise EnvironmentStepError(
                    f"{type(self._env).__name__} returned {name} of shape {array.shape} from step(); it must be {shape}"
                )

    @property
    def _on_device(self) -> bool:
        """Whether branches stay on a GPU, which they do unless a wrapper takes arrays."""
        return not self._wrappers and self._off_cpu

    @property
    def _off_cpu(self) -> bool:
        return self._steps_branches and bool(getattr(self._env, "off_cpu", False))

    def _advance_on_device(self, actions: Tensor) -> tuple[BranchStep, Observation]:
        return self._branches_of(self._sibling.advance(actions.flatten(0, 1)))

    def _branches_of(self, stepped: tuple[BranchStep, Tensor]) -> tuple[BranchStep, Observation]:
        """A step of N E rows of tensors, ``[N, E, ...]``."""
        step, following = stepped

        def shaped(tensor: Tensor) -> Tensor:
            rows: Tensor = tensor.unflatten(0, (self._n, -1))
            return rows

        branches = BranchStep(*(shaped(getattr(step, field.name)) for field in dataclasses.fields(step)))
        return branches, shaped(following)

    def _seen(self, rows: StepRows, terminated: Tensor, truncated: Tensor) -> tuple[BranchStep, Observation]:
        """A step of the branches as the algorithm sees it, through the wrappers."""
        # Innermost first, as the executed step passes through them.
        for wrapper in self._wrappers:
            rows = wrapper.show(rows)

        def shaped(array: np.ndarray[Any, Any]) -> Tensor:
            tensor: Tensor = torch.as_tensor(array, device=terminated.device).unflatten(0, terminated.shape)
            return tensor

        def observed(arrays: Any) -> Observation:
            return {key: shaped(arrays[key]) for key in arrays} if isinstance(arrays, dict) else shaped(arrays)

        return BranchStep(observed(rows.reached), shaped(rows.reward), terminated, truncated), observed(rows.following)


def _flat(actions: Tensor) -> np.ndarray[Any, Any]:
    """``[N, E, ...]`` as an array ``[N E, ...]``."""
    array: np.ndarray[Any, Any] = actions.flatten(0, 1).cpu().numpy()
    return array


def _arrays(observation: Observation) -> Any:
    """``[N, E, ...]`` as arrays ``[N E, ...]``."""
    if isinstance(observation, dict):
        return {key: leaf.flatten(0, 1).cpu().numpy() for key, leaf in observation.items()}
    return observation.flatten(0, 1).cpu().numpy()


class ExecutableActions:
    """Sampled actions in the shape of their space and within its bounds, as SB3 hands them to an environment.

    A policy samples the elements of a Box as one row. SB3 reshapes them to the space's shape, then unscales what a
    squashed policy gives (whose samples lie in [-1, 1]) and clips what any other gives.

    Args:
        space: an action space that :func:`rl_tracking.agents.collect.checks.check_action_space` lets pass.
        squashed: whether the policy squashes its output.
        device: where sampled actions live.
    """

    def __init__(self, space: spaces.Space[Any], *, squashed: bool, device: torch.device) -> None:
        self._box = isinstance(space, spaces.Box)
        self._squashed = squashed
        if isinstance(space, spaces.Box):
            self._shape = space.shape
            # As NumPy promotes a float32 action with bounds of that kind; moved to the device once, not at every step.
            kind = np.result_type(np.float32, space.low.dtype)
            self._low, self._high = (torch.as_tensor(b.astype(kind), device=device) for b in (space.low, space.high))

    def __call__(self, action: Tensor) -> Tensor:
        """``[..., E, A] -> [..., E, *shape]`` of a Box; other actions as they are."""
        if not self._box:
            return action
        # Policies see the elements of a Box as one row; the environment takes them in the space's shape.
        action = action.reshape(*action.shape[:-1], *self._shape)
        if self._squashed:
            return self._low + 0.5 * (action + 1.0) * (self._high - self._low)
        # Clipped only here: the log-probability is of the action as it was sampled (as in SB3).
        return torch.minimum(torch.maximum(action, self._low), self._high)
