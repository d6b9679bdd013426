"""Checks around scenarios that other packages define; those of this package run without."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator
from typing import Any, NoReturn

import torch
from torch import Tensor

from rl_tracking.envs.base import Scenario
from rl_tracking.envs.transition import Step
from rl_tracking.errors import EnvironmentStepError, is_foreign, naming


def checked_scenario(scenario: Scenario) -> Scenario:
    """A scenario with checks around its verbs if it is not of this package, else itself."""
    return CheckedScenario(scenario) if is_foreign(scenario) else scenario


class CheckedScenario:
    """A user's scenario, whose verbs are checked: what they return, and that they change nothing in place."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario

    def __getattr__(self, name: str) -> Any:
        """Everything but the verbs is the scenario's own."""
        return getattr(self._scenario, name)

    def initial(self, key: Tensor, episode: Tensor) -> Any:
        """See :class:`rl_tracking.envs.base.Scenario`."""
        with self._pure("initial", key=key, episode=episode):
            state = self._scenario.initial(key, episode)
        return self._state("initial", state, len(key))

    def advance(self, state: Any, action: Tensor) -> Any:
        """See :class:`rl_tracking.envs.base.Scenario`."""
        with self._pure("advance", action=action, **_fields("state", state)):
            after = self._scenario.advance(state, action)
        return self._state("advance", after, len(state))

    def observe(self, state: Any) -> Tensor:
        """See :class:`rl_tracking.envs.base.Scenario`."""
        with self._pure("observe", **_fields("state", state)):
            observation = self._scenario.observe(state)
        observation = self._tensor("observe", "observation", observation, (len(state), self._scenario.observation_size))
        if observation.dtype != torch.float32:
            self._refuse("observe", "observation", str(observation.dtype), "torch.float32")
        return observation

    def judge(self, step: Step) -> tuple[Tensor, dict[str, Tensor]]:
        """See :class:`rl_tracking.envs.base.Scenario`."""
        with self._pure("judge", **_fields_of_step(step)):
            judged = self._scenario.judge(step)
        if not isinstance(judged, tuple) or len(judged) != 2 or not isinstance(judged[1], dict):
            self._refuse("judge", "value", f"a {type(judged).__name__}", "(reward, terms)")
        reward, terms = judged
        for name, term in {"reward": reward, **terms}.items():
            self._tensor("judge", name, term, (len(step.after),))
        return reward, terms

    def ends(self, step: Step) -> tuple[Tensor, Tensor]:
        """See :class:`rl_tracking.envs.base.Scenario`."""
        with self._pure("ends", **_fields_of_step(step)):
            ends = self._scenario.ends(step)
        if not isinstance(ends, tuple) or len(ends) != 2:
            self._refuse("ends", "value", f"a {type(ends).__name__}", "(terminated, truncated)")
        for name, flags in zip(("terminated", "truncated"), ends, strict=True):
            if self._tensor("ends", name, flags, (len(step.after),), finite=False).dtype != torch.bool:
                self._refuse("ends", name, str(flags.dtype), "torch.bool")
        return ends

    def on(self, device: torch.device | str) -> CheckedScenario:
        """See :class:`rl_tracking.envs.base.Scenario`."""
        return CheckedScenario(self._scenario.on(device))

    @contextlib.contextmanager
    def _pure(self, verb: str, **given: Tensor) -> Iterator[None]:
        """Name what the verb raises, and any tensor that it was given and wrote to.

        A tensor made in inference mode counts no changes, but raises where it is written to outside of that mode.
        """
        inference = torch.is_inference_mode_enabled()
        before = {name: tensor._version for name, tensor in given.items() if not tensor.is_inference()}
        with (
            naming(f"scenario '{self._scenario.name}' in {verb}()"),
            torch.inference_mode(False) if inference else contextlib.nullcontext(),
            torch.no_grad() if inference else contextlib.nullcontext(),
        ):
            yield
        for name, version in before.items():
            if given[name]._version != version:
                raise EnvironmentStepError(
                    f"scenario '{self._scenario.name}' changed {name} in place in {verb}() "
                    f"({_place(getattr(self._scenario, verb))}); it must return new tensors"
                )

    def _state(self, verb: str, state: Any, worlds: int) -> Any:
        if not isinstance(state, self._scenario.state_class):
            self._refuse(verb, "value", f"a {type(state).__name__}", f"a {self._scenario.state_class.__name__}")
        for name, tensor in state.tensors().items():
            if not isinstance(tensor, Tensor) or tensor.shape[:1] != (worlds,):
                shape = list(tensor.shape) if isinstance(tensor, Tensor) else type(tensor).__name__
                self._refuse(verb, f"state.{name}", str(shape), f"a tensor [{worlds}, ...]")
        return state

    def _tensor(self, verb: str, name: str, value: Any, shape: tuple[int, ...], *, finite: bool = True) -> Tensor:
        if not isinstance(value, Tensor) or value.shape != shape:
            what = f"shape {list(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
            self._refuse(verb, name, what, f"a tensor {list(shape)}")
        assert isinstance(value, Tensor)
        if finite and not bool((known := torch.isfinite(value)).all()):
            row = int((~known).nonzero()[0][0])
            raise EnvironmentStepError(
                f"scenario '{self._scenario.name}' returned a {name} from {verb}() that is not finite", row
            )
        return value

    def _refuse(self, verb: str, field: str, what: str, right: str) -> NoReturn:
        raise EnvironmentStepError(
            f"scenario '{self._scenario.name}' returned as {field} from {verb}() {what}; it must be {right}"
        )


def _fields(name: str, state: Any) -> dict[str, Tensor]:
    return {f"{name}.{field}": tensor for field, tensor in state.tensors().items()}


def _fields_of_step(step: Step) -> dict[str, Tensor]:
    for name in ("captured", "distance_before"):  # computed now, so that a change of theirs is seen
        with contextlib.suppress(AttributeError):  # of a task without a target
            getattr(step, name)
    worked_out = {f"step.{name}": value for name, value in vars(step).items() if isinstance(value, Tensor)}
    return {**worked_out, **_fields("step.before", step.before), **_fields("step.after", step.after)}


def _place(function: Any) -> str:
    code = inspect.unwrap(getattr(function, "__func__", function)).__code__
    return f"{code.co_filename}:{code.co_firstlineno}"
