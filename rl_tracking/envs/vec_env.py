"""Many worlds as a Stable-Baselines3 ``VecEnv``: the one holder of the current state."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn
from torch import Tensor

from rl_tracking import limits, plugins
from rl_tracking.envs.actions import checked_actions
from rl_tracking.envs.base import Scenario
from rl_tracking.envs.checked_scenario import require_answers
from rl_tracking.envs.noise import fork, world_keys
from rl_tracking.envs.simulator import Simulator, require_memory
from rl_tracking.envs.step_gradient import step_gradient
from rl_tracking.envs.transition import Transition
from rl_tracking.envs.vec_env_base import OneObjectVecEnv, infos_of_finished
from rl_tracking.errors import Evidence, StepError, UsageError, account, unknown
from rl_tracking.restoring.protocol import BranchStep, StepGradient


def make_scenario(scenario: str, /, **parameters: Any) -> Scenario:
    """A scenario by name, with its parameters (``preset=...`` among them)."""
    make = plugins.resolve("scenario", scenario)
    try:
        made: Scenario = make(**parameters)
    except UsageError:
        raise
    except Exception as error:  # whatever somebody's constructor raises at parameters that it was not made for
        given = ", ".join(f"{name}={value!r}" for name, value in parameters.items()) or "none"
        raise UsageError(f"scenario '{scenario}' refuses its parameters ({given}): {account(error)}") from error
    require_answers(made)
    return made


def make_vec(
    scenario: str = "pursuit",
    num_envs: int = 64,
    seed: int | None = None,
    device: torch.device | str = "cpu",
    **parameters: Any,
) -> TrackingVecEnv:
    """A batch of worlds.

    Args:
        scenario: name of the scenario.
        num_envs: how many worlds E.
        seed: world i has the same episodes whatever ``num_envs`` is; None draws one.
        device: where the worlds live.
        **parameters: of the scenario, ``preset`` among them.

    Raises:
        UsageError: an unknown name or value.
    """
    return TrackingVecEnv(make_scenario(scenario, **parameters), num_envs, seed, device)


class TrackingVecEnv(OneObjectVecEnv):
    """E worlds of a scenario, stepped together; restorable. Auto-reset, infos and seeds as in SB3.

    ``infos[i]`` of a finished episode has ``terminal_observation``, ``TimeLimit.truncated``, ``episode`` (SB3's Monitor
    keys r and l, and each metric of the scenario that has a value) and, where a metric says success, ``is_success``.
    """

    def __init__(
        self,
        scenario: Scenario,
        num_envs: int,
        seed: int | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        num_envs = limits.check_count("num_envs", num_envs)
        self.simulator = Simulator(scenario, device)
        require_memory(self.simulator, num_envs, f"{num_envs:,} worlds")
        self.scenario = self.simulator.scenario
        self.render_mode: str | None = None
        super().__init__(num_envs, scenario.observation_space, scenario.action_space)
        self._state: Any = None
        self._last: Transition | None = None
        self._pending: Tensor | None = None
        self._prefetched: deque[Transition] = deque()
        self.seed(seed)

    def describe(self) -> dict[str, dict[str, Any] | None]:
        """What ``rltrack.json`` says of these worlds: the scenario with its parameters, and no Gymnasium ``env``."""
        return {"scenario": {"name": self.scenario.name, "parameters": self.scenario.parameters}, "env": None}

    # -- restorable -------------------------------------------------------------------------------------------------

    def get_state(self) -> Any:
        """The states of all worlds; a reference, since a state never changes: writing to its tensors raises."""
        return self._current()

    def set_state(self, states: Any) -> None:
        """Put back states of as many worlds as this has slots."""
        expected = self.scenario.state_class
        if not isinstance(states, expected):
            raise UsageError(f"set_state takes a {expected.__name__}, not a {type(states).__name__}")
        if len(states) != self.num_envs:
            raise UsageError(f"set_state takes {self.num_envs} worlds, not {len(states)}")
        shapes = {name: tensor.shape[1:] for name, tensor in self._current().tensors().items()}
        for name, tensor in states.tensors().items():
            if tensor.shape[1:] != shapes[name]:
                raise UsageError(
                    f"these states are of another scenario: {name} has shape {list(tensor.shape[1:])} a world, "
                    f"not {list(shapes[name])}"
                )
        self._state = states.to(self.simulator.device)
        self._prefetched.clear()

    def spawn(self, num_envs: int) -> TrackingVecEnv:
        """A sibling of the same scenario with ``num_envs`` slots of its own."""
        return TrackingVecEnv(self.scenario, num_envs, seed=0, device=self.simulator.device)

    def fork(self, branches: int, noise: str = "common") -> Any:
        """``branches`` copies of every present state, branch-major; see :meth:`step_branches` for ``noise``."""
        if noise not in ("common", "independent"):
            raise unknown("noise of branches:", noise, ("common", "independent"))
        state = self._current()
        repeated = state.repeat(branches)
        return repeated if noise == "common" else repeated.replace(key=fork(state.key, state.step, branches))

    @torch.inference_mode()  # a sixth faster than no_grad
    def step_branches(self, actions: Tensor, noise: str = "common") -> BranchStep:
        """Step N actions from every present state; the present states do not change.

        Args:
            actions: ``[N, E, *action_space.shape]`` on the simulator's device.
            noise: ``common``: all branches meet the same gusts and targets; ``independent``: each has its own, and
                branch 0 those of the world itself.

        A following ``step`` with the actions of branch 0 reuses its transition: the simulator is a pure function, so
        computing it again would give the same.

        Raises:
            UsageError: actions of another shape.
        """
        branches, expected = actions.shape[0], (self.num_envs, *self.simulator.action_shape)
        if actions.shape[1:] != expected:
            sizes = ", ".join(map(str, expected))
            raise UsageError(f"branches have actions of shape {list(actions.shape)}, expected [N, {sizes}]")
        states = self.fork(branches, noise)
        transition = self._stepped(states, actions.flatten(0, 1))
        self.prefetch([transition])
        return BranchStep(
            transition.observation.unflatten(0, (branches, -1)),
            transition.reward.view(branches, -1),
            transition.terminated.view(branches, -1),
            transition.truncated.view(branches, -1),
        )

    def prefetch(self, path: Sequence[Transition]) -> None:
        """Reuse these transitions for the next steps, as long as those take the same actions.

        Args:
            path: transitions of a sibling that stepped from the present states; its first worlds are these, the other
                rows are not used.
        """
        self._prefetched = deque(path)

    # -- VecEnv -----------------------------------------------------------------------------------------------------

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Take effect at the next reset; the worlds' keys follow from the seed and their number."""
        if seed is None:
            seed = int(np.random.randint(0, np.iinfo(np.uint32).max, dtype=np.uint32))
        self._base_seed: int | None = limits.check_seed(seed)
        return [seed] * self.num_envs

    @torch.inference_mode()
    def reset(self) -> VecEnvObs:
        """New episodes everywhere: those of the seed if one was set since the last reset, else the next ones."""
        self._state, self._base_seed = self._fresh(), None
        self._prefetched.clear()
        self.reset_infos = [{} for _ in range(self.num_envs)]
        return self._numpy(self.simulator.observation(self._state)).copy(order="K")

    def _fresh(self) -> Any:
        if self._base_seed is None:
            return self.simulator.restart(self._state)
        keys = world_keys(self._base_seed, self.num_envs, self.simulator.device)
        return self.simulator.initial(keys)

    def step_async(self, actions: np.ndarray) -> None:
        """Take actions ``[E, *action_space.shape]``; the next :meth:`step_wait` applies them.

        Raises:
            UsageError: wrong shape, a number that is not finite, or one that a Discrete space lacks.
        """
        given = checked_actions(self.action_space, actions, self.num_envs)
        self._pending = torch.from_numpy(given).to(self.simulator.device)

    def step_wait(self) -> VecEnvStepReturn:
        """Apply the actions; worlds that end are reset at once."""
        if self._pending is None:
            raise UsageError("step_wait was called before step_async")
        action, self._pending = self._pending, None
        observation, reward, ended, infos = self.step_tensors(action)
        # Copies: SB3 adds the bootstrapped value of a time limit to the rewards, wrappers and callbacks may write, too.
        return self._numpy(observation).copy(order="K"), self._numpy(reward).copy(), ended, infos

    @torch.inference_mode()
    def step_tensors(self, action: Tensor) -> tuple[Tensor, Tensor, np.ndarray, list[dict[str, Any]]]:
        """``step`` of valid actions ``[E, ...]`` whose observation and reward stay on the simulator's device.

        Only which worlds ended, E bits, and what is said of those are read from there.
        """
        transition = self._transition(action)
        self._last, self._state = transition, transition.after
        done = transition.done
        observation = transition.observation
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        ended = done.cpu().numpy()
        if ended.any():
            worlds = done.nonzero().squeeze(-1)
            for world, info in zip(worlds.tolist(), infos_of_finished(self.simulator, transition, worlds), strict=True):
                infos[world] = info
            fresh = self.simulator.restart(transition.after.index(worlds))
            self._state = transition.after.put(worlds, fresh)
            observation = observation.index_put((worlds,), self.simulator.observation(fresh))
        return observation, transition.reward, ended, infos

    @property
    def max_episode_steps(self) -> int:
        """The time limit of an episode."""
        return self.scenario.max_steps

    @property
    def off_cpu(self) -> bool:
        """Whether worlds are on another device, so that arrays are copies of what is there."""
        return self.simulator.device.type != "cpu"

    @torch.inference_mode()
    def advance(self, action: Tensor) -> tuple[BranchStep, Tensor]:
        """A step of all worlds on the device, for siblings: nothing is read from there, and there are no infos.

        Args:
            action: ``[E, *action_space.shape]``.

        Returns:
            What it led to, ``[E, ...]``, and the observations to go on from: those of the next episode where one ended.
        """
        self._last = self._transition(action)
        return self._shown(self._last), self._go_on_from(self._last)

    @torch.enable_grad()
    def advance_with_gradient(self, action: Tensor) -> tuple[BranchStep, Tensor]:
        """:meth:`advance` as part of a graph; see :class:`rl_tracking.restoring.protocol.Differentiable`."""
        transition = self._stepped(self._current(), action)
        # What is kept for the executed steps must not keep the graph.
        self._last = transition.detached()
        if self.off_cpu or bool(transition.done.any()):
            return self._shown(transition), self._go_on_from(transition)
        self._state = transition.after
        return self._shown(transition), transition.observation

    def step_gradient(self) -> StepGradient:
        """See :class:`rl_tracking.restoring.protocol.Differentiable`."""
        return step_gradient(self.simulator, self._current())

    @staticmethod
    def _shown(transition: Transition) -> BranchStep:
        return BranchStep(transition.observation, transition.reward, transition.terminated, transition.truncated)

    def _go_on_from(self, transition: Transition) -> Tensor:
        """Begin the next episode where one ended; the observations ``[E, ...]`` to go on from."""
        done = transition.done
        fresh = self.simulator.restart(transition.after)
        self._state = fresh.where(done, transition.after)
        ended = done.view(-1, *[1] * (transition.observation.dim() - 1))
        return torch.where(ended, self.simulator.observation(fresh), transition.observation)

    def _transition(self, action: Tensor) -> Transition:
        state = self._current()
        if self._prefetched:
            seen = self._prefetched.popleft()
            # Rows are taken of what is executed alone: of a path, as a rule, that is the first step.
            if torch.equal(seen.action[: self.num_envs], self.simulator.within(action)):
                return seen.rows(self.num_envs)
            self._prefetched.clear()
        return self._stepped(state, action)

    def _stepped(self, state: Any, action: Tensor) -> Transition:
        """The simulator's transition; where it fails, the error holds what it takes to make the step again."""
        try:
            return self.simulator.transition(state, action)
        except StepError as error:
            error.evidence = Evidence(state, action.unsqueeze(0).cpu().numpy())
            raise

    def _current(self) -> Any:
        if self._state is None:
            with torch.inference_mode():
                self._state = self._fresh()
        return self._state

    @property
    def last_transition(self) -> Transition | None:
        """The latest step, before any reset: states, reward terms and ends."""
        return self._last

    @staticmethod
    def _numpy(tensor: Tensor) -> np.ndarray:
        return tensor.cpu().numpy()
