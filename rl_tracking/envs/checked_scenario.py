"""Checks around scenarios that other packages define; those of this package run without."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import inspect
from collections.abc import Iterator
from typing import Any, NoReturn

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from rl_tracking.envs.base import Metric, Scenario, WorldState
from rl_tracking.envs.checked_scene import scene_fault
from rl_tracking.envs.scene import Scene
from rl_tracking.envs.transition import Step, cached
from rl_tracking.errors import EnvironmentStepError, UsageError, is_plugin, naming

_ATTRIBUTES = tuple(Scenario.__annotations__)
_METHODS = ("initial", "transition", "observation", "reward", "terminal", "measures", "scene", "on")


def checked_scenario(scenario: Scenario) -> Scenario:
    """A scenario with checks around its methods if it is of another package, else itself.

    Raises:
        UsageError: it lacks an answer, or gives one of a kind that nothing can use.
    """
    if not is_plugin(scenario):
        return scenario
    require_answers(scenario)
    return CheckedScenario(scenario)


def require_answers(scenario: Any) -> None:
    """Refuse a scenario that lacks part of the protocol, with the name of what it lacks.

    Raises:
        UsageError: see :class:`rl_tracking.envs.base.Scenario` for what there must be.
    """
    called = f"scenario '{getattr(scenario, 'name', type(scenario).__name__)}'"
    missing = [name for name in _ATTRIBUTES if not hasattr(scenario, name)]
    missing += [f"{name}()" for name in _METHODS if not callable(getattr(scenario, name, None))]
    if missing:
        raise UsageError(f"{called} lacks {', '.join(missing)}; rl_tracking.envs.base.Scenario says what each is")
    for name in ("observation_space", "action_space"):
        space = getattr(scenario, name)
        if not isinstance(space, spaces.Box | spaces.Discrete):
            raise UsageError(f"the {name} of {called} is a {type(space).__name__}; it must be a Box or a Discrete")
    if not (isinstance(scenario.state_class, type) and issubclass(scenario.state_class, WorldState)):
        raise UsageError(f"the state_class of {called} must be a subclass of rl_tracking.envs.base.WorldState")
    if any(not isinstance(metric, Metric) for metric in scenario.metrics):
        raise UsageError(f"the metrics of {called} must be of class rl_tracking.envs.base.Metric")
    for metric in scenario.metrics:
        if metric.success and metric.statistic != "ever":
            raise UsageError(f"metric '{metric.name}' of {called} says success; its statistic must be 'ever'")
    for role in ("headline", "success"):
        named = [metric.name for metric in scenario.metrics if getattr(metric, role)]
        if len(named) > 1:
            raise UsageError(f"{called} has {len(named)} metrics with {role}=True: {', '.join(named)}; one is allowed")


class CheckedScenario:
    """A user's scenario, whose methods are checked: what they return, and that they change nothing in place."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario

    def __getattr__(self, name: str) -> Any:
        """Everything but the checked methods is the scenario's own."""
        return getattr(self._scenario, name)

    def initial(self, key: Tensor, episode: Tensor) -> Any:
        """See :class:`rl_tracking.envs.base.Scenario`."""
        with self._pure("initial", key=key, episode=episode):
            state = self._scenario.initial(key, episode)
        return self._state("initial", state, len(key))

    def transition(self, state: Any, action: Tensor) -> Any:
        """See :class:`rl_tracking.envs.base.Scenario`."""
        with self._pure("transition", action=action, **_fields("state", state)):
            after = self._scenario.transition(state, action)
        return self._state("transition", after, len(state))

    def step(self, before: Any, action: Tensor, after: Any) -> Step:
        """See :class:`rl_tracking.envs.base.Scenario`: the scenario's own step, if it has one."""
        make = getattr(self._scenario, "step", Step)
        with naming(f"scenario '{self._scenario.name}' in step()"):
            step = make(before, action, after)
        if not isinstance(step, Step):
            self._refuse("step", "value", f"a {type(step).__name__}", "a subclass of rl_tracking.envs.base.Step")
        return step

    def observation(self, state: Any) -> Tensor:
        """See :class:`rl_tracking.envs.base.Scenario`."""
        with self._pure("observation", **_fields("state", state)):
            observation = self._scenario.observation(state)
        space = self._scenario.observation_space
        observation = self._tensor("observation", "observation", observation, (len(state), *(space.shape or ())))
        expected = torch.from_numpy(np.empty(0, space.dtype)).dtype
        if observation.dtype != expected:
            self._refuse("observation", "observation", str(observation.dtype), str(expected))
        return observation

    def reward(self, step: Step) -> dict[str, Tensor]:
        """See :class:`rl_tracking.envs.base.Scenario`."""
        agents = () if self._scenario.shared_reward else (len(self._scenario.agents),)
        terms = self._named("reward", step, (len(step.after), *agents))
        if not terms:
            self._refuse("reward", "value", "an empty dict", "a dict of at least one term")
        return terms

    def measures(self, step: Step) -> dict[str, Tensor]:
        """See :class:`rl_tracking.envs.base.Scenario`."""
        measures = self._named("measures", step, (len(step.after),))
        for metric in self._scenario.metrics:
            if metric.measure not in measures:
                self._refuse("measures", "value", f"no '{metric.measure}'", f"what metric '{metric.name}' needs")
            if metric.statistic in ("first", "ever") and measures[metric.measure].dtype != torch.bool:
                self._refuse("measures", metric.measure, str(measures[metric.measure].dtype), "torch.bool")
        return measures

    def terminal(self, step: Step) -> Tensor:
        """See :class:`rl_tracking.envs.base.Scenario`."""
        with self._pure("terminal", **_fields_of_step(step)):
            ends = self._scenario.terminal(step)
        if self._tensor("terminal", "value", ends, (len(step.after),), finite=False).dtype != torch.bool:
            self._refuse("terminal", "value", str(ends.dtype), "torch.bool")
        return ends

    def scene(self, state: Any) -> Scene:
        """See :class:`rl_tracking.envs.base.Scenario`."""
        with self._pure("scene", **_fields("state", state)):
            scene = self._scenario.scene(state)
        fault = scene_fault(scene, len(state))
        if fault is not None:
            self._refuse("scene", *fault)
        return scene

    def _named(self, method: str, step: Step, shape: tuple[int, ...]) -> dict[str, Tensor]:
        """What a method returns by name, checked."""
        with self._pure(method, **_fields_of_step(step)):
            named = getattr(self._scenario, method)(step)
        if not isinstance(named, dict):
            self._refuse(method, "value", f"a {type(named).__name__}", "a dict of tensors by name")
        for name, value in named.items():
            self._tensor(method, name, value, shape)
        return named

    def on(self, device: torch.device | str) -> CheckedScenario:
        """See :class:`rl_tracking.envs.base.Scenario`."""
        return CheckedScenario(self._scenario.on(device))

    @contextlib.contextmanager
    def _pure(self, method: str, **given: Tensor) -> Iterator[None]:
        """Name what the method raises, and any tensor that it was given and wrote to.

        A tensor made in inference mode counts no changes, but raises where it is written to outside of that mode.
        """
        inference = torch.is_inference_mode_enabled()
        before = {name: tensor._version for name, tensor in given.items() if not tensor.is_inference()}
        with (
            naming(f"scenario '{self._scenario.name}' in {method}()"),
            torch.inference_mode(False) if inference else contextlib.nullcontext(),
            torch.no_grad() if inference else contextlib.nullcontext(),
        ):
            yield
        for name, version in before.items():
            if given[name]._version != version:
                raise EnvironmentStepError(
                    f"scenario '{self._scenario.name}' changed {name} in place in {method}() "
                    f"({_place(getattr(self._scenario, method))}); it must return new tensors"
                )

    def _state(self, method: str, state: Any, worlds: int) -> Any:
        if not isinstance(state, self._scenario.state_class):
            self._refuse(method, "value", f"a {type(state).__name__}", f"a {self._scenario.state_class.__name__}")
        for name in vars(state).keys() - {field.name for field in dataclasses.fields(state)}:
            self._refuse(method, "value", f"a state with '{name}'", f"a field of {type(state).__name__}")
        for name, tensor in state.tensors().items():
            if not isinstance(tensor, Tensor) or tensor.shape[:1] != (worlds,):
                shape = list(tensor.shape) if isinstance(tensor, Tensor) else type(tensor).__name__
                self._refuse(method, f"state.{name}", str(shape), f"a tensor [{worlds}, ...]")
        return state

    def _tensor(self, method: str, name: str, value: Any, shape: tuple[int, ...], *, finite: bool = True) -> Tensor:
        if not isinstance(value, Tensor) or value.shape != shape:
            what = f"shape {list(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
            self._refuse(method, name, what, f"a tensor {list(shape)}")
        assert isinstance(value, Tensor)
        if finite and not bool((known := torch.isfinite(value)).all()):
            row = int((~known).nonzero()[0][0])
            raise EnvironmentStepError(
                f"scenario '{self._scenario.name}' returned a {name} from {method}() that is not finite", row
            )
        return value

    def _refuse(self, method: str, field: str, what: str, right: str) -> NoReturn:
        raise EnvironmentStepError(
            f"scenario '{self._scenario.name}' returned as {field} from {method}() {what}; it must be {right}"
        )


def _fields(name: str, state: Any) -> dict[str, Tensor]:
    return {f"{name}.{field}": tensor for field, tensor in state.tensors().items()}


def _fields_of_step(step: Step) -> dict[str, Tensor]:
    # Computed now, so that a change of theirs is seen.
    kind: Any = type(step)
    read = {f"step.{name}": getattr(step, name) for name in _computed(kind)} | {"step.action": step.action}
    return {**read, **_fields("step.before", step.before), **_fields("step.after", step.after)}


@functools.lru_cache(maxsize=64)
def _computed(kind: Any) -> tuple[str, ...]:
    """Names of what a step computes when it is read."""
    return tuple(name for name in dir(kind) if isinstance(getattr(kind, name), cached))


def _place(function: Any) -> str:
    code = inspect.unwrap(getattr(function, "__func__", function)).__code__
    return f"{code.co_filename}:{code.co_firstlineno}"
