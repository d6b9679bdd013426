"""What a gradient through the steps of a scenario finds there: which terms of the reward, and how much memory."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rl_tracking.envs.simulator import Simulator
from rl_tracking.restoring.protocol import StepGradient

_STEPS = 8  # more than a reward looks back
_WORLDS = 4
_PUSHES = (0.5, -0.3, 0.2, -0.6)  # of an axis in [-1, 1], step by step


@torch.enable_grad()
def step_gradient(simulator: Simulator, state: Any) -> StepGradient:
    """Differentiate a few steps of copies of some worlds.

    Args:
        simulator: with actions of a Box.
        state: of some worlds.
    """
    state = state[slice(min(len(state), _WORLDS))].map(Tensor.clone)
    kept: dict[int, int] = {}
    actions, terms = [], dict[str, Tensor]()

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.data_ptr()] = tensor.nbytes  # several operations may keep the same memory
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        for step in range(_STEPS):
            push = _PUSHES[step % len(_PUSHES)]
            actions.append(
                torch.full((len(state), *simulator.action_shape), push, device=state.device).requires_grad_()
            )
            transition = simulator.transition(state, actions[-1])
            for name, term in transition.terms.items():
                terms[name] = terms.get(name, torch.zeros(())) + term.sum()
            state = transition.after
    found = {name: _has_gradient(term, actions) for name, term in terms.items()}
    reward = simulator.scenario.parameters.get("reward")
    name = f"the reward of {simulator.scenario.name}" if reward is None else f"reward '{reward}'"
    return StepGradient(name, found, sum(kept.values()) // (_STEPS * len(state)))


def _has_gradient(term: Tensor, actions: list[Tensor]) -> bool:
    if not term.requires_grad:
        return False
    found = torch.autograd.grad(term, actions, retain_graph=True, allow_unused=True)
    return any(bool((part != 0).any()) for part in found if part is not None)
