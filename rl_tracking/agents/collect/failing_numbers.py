"""Where numbers stopped being finite in a training, and the likely cause."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm

from rl_tracking.errors import EnvironmentStepError, RunError, StepError, brief

if TYPE_CHECKING:
    from rl_tracking.agents.collect.observations import Observation

_NO_DISTRIBUTION = "Expected parameter"  # torch's words for a distribution that makes no sense
_LARGE_REWARD, _LARGE_RATE = 1e3, 0.1


@contextmanager
def located(macro_step: int, worlds: int | None = None) -> Iterator[None]:
    """Add to the error of a step when and where it happened.

    Args:
        macro_step: of the training.
        worlds: E, where the rows that were stepped are branch-major, ``[N E]``.
    """
    try:
        yield
    except StepError as error:
        if worlds is not None and error.row is not None:
            branch, world = divmod(error.row, worlds)
            error.locate(branch=branch, world=world)
        error.locate(macro_step=macro_step)
        raise


@contextmanager
def explained(
    policy: Any, observation: Observation, *, macro_step: int | None = None, observations_alone: bool = False
) -> Iterator[None]:
    """Replace torch's error about a distribution that cannot be by its cause.

    Args:
        policy: that is called here.
        observation: what it is given, ``[B, ...]``.
        macro_step: when; for the text.
        observations_alone: leave an error that the observation did not cause to the caller.
    """
    try:
        yield
    except ValueError as error:
        rate = None if macro_step is None else learning_rate(policy)
        cause = behind(error, policy, observation, macro_step=macro_step, rate=rate)
        if cause is error or (observations_alone and not isinstance(cause, StepError)):
            raise
        raise cause from error


def check_finite(name: str, tensor: torch.Tensor, macro_step: int) -> None:
    """Refuse a rollout with numbers that are not finite, before they reach the networks.

    Args:
        name: what the tensor is.
        tensor: ``[..., N, E]``, steps first.
        macro_step: of the training.

    Raises:
        RunError: one is not finite; it says in which step, branch and world.
    """
    # One flag from the device; where it is, is only asked when something is wrong.
    finite = torch.isfinite(tensor).flatten(0, -3)
    if not bool(finite.all()):
        step, branch, world = (int(index) for index in (~finite).nonzero()[0])
        raise RunError(
            f"the {name} of branch {branch} in world {world} is not finite, in step {step + 1} of the rollout "
            f"that ends at macro-step {macro_step}; the policy was not changed"
        )


def behind(
    error: ValueError,
    policy: torch.nn.Module,
    observation: Observation,
    *,
    macro_step: int | None = None,
    rate: float | None = None,
) -> Exception:
    """Why a policy gave no distribution of actions; the error itself if it is about something else.

    Args:
        error: what was raised as the policy was called.
        policy: it.
        observation: what it was given, ``[B, ...]``.
        macro_step: when; for the text.
        rate: the learning rate, for advice.
    """
    if not str(error).startswith(_NO_DISTRIBUTION):
        return error
    # The environment first: an observation that is not finite makes every policy fail, whatever its weights.
    found = _not_finite(observation, 1)
    if found is not None:
        field, (row,), number = found
        failed = EnvironmentStepError(f"the {field} is {number}; it must be finite", row)
        failed.locate(macro_step=macro_step)
        return failed
    what = "actions are no longer a distribution" if _bad_tensor(policy) is None else "weights are no longer finite"
    when = "" if macro_step is None else f" at macro-step {macro_step}"
    return RunError(f"the policy's {what}{when}; {_advice(None, rate)}")


def check_reached(reached: Observation, axes: int) -> None:
    """Refuse observations of a rollout that are not finite.

    Args:
        reached: by the branches, ``[..., N, E, ...]``, steps first.
        axes: how many come before those of an observation.

    Raises:
        EnvironmentStepError: one is not; it says in which step, branch and world.
    """
    found = _not_finite(reached, axes)
    if found is not None:
        field, (*_, branch, world), number = found
        error = EnvironmentStepError(f"the {field} that a step led to is {number}; it must be finite", world)
        error.locate(branch=branch)
        raise error


def _not_finite(observation: Observation, axes: int) -> tuple[str, tuple[int, ...], float] | None:
    """The first number that is not finite: its field, its place on the leading axes, and itself."""
    leaves = observation.items() if isinstance(observation, dict) else [("", observation)]
    for key, leaf in leaves:
        if leaf.is_floating_point() and not bool(torch.isfinite(leaf).all()):
            place = tuple((~torch.isfinite(leaf)).nonzero()[0].tolist())
            rest = place[axes:]
            where = f" at index {rest[0] if len(rest) == 1 else rest}" if rest else ""
            return f"observation{f' {key!r}' if key else ''}{where}", place[:axes], float(leaf[place])
    return None


# -- of a model after an update ---------------------------------------------------------------------------------------


def check_model(model: BaseAlgorithm) -> None:
    """Refuse a model that its latest update made unusable, before it is saved.

    Raises:
        RunError: as :func:`check_weights`, or its policy gives no distribution of actions any more.
    """
    check_weights(model)
    _check_distribution(model)


def check_weights(model: BaseAlgorithm) -> None:
    """Refuse a model whose latest update left numbers that are not finite; no network runs.

    Raises:
        RunError: it did; the text says at which macro-step, and the likely cause.
    """
    for name, module in _learned(model):
        bad = _bad_tensor(module)
        if bad is not None:
            raise RunError(
                f"the update at macro-step {model.num_timesteps} left weights that are not finite ({name}.{bad}); "
                f"{advice(model)}"
            )
    # Moments that are not finite turn every later observation into NaN, in runs that load them as well.
    normalizer = model.get_vec_normalize_env()
    for name in ("obs_rms", "ret_rms"):
        for moments in _each(getattr(normalizer, name, None)):
            if not (np.isfinite(moments.mean).all() and np.isfinite(moments.var).all()):
                raise RunError(
                    f"the moments of VecNormalize ({name}) are not finite at macro-step {model.num_timesteps}: "
                    "observations or rewards are too large to be normalised"
                )


def _check_distribution(model: BaseAlgorithm) -> None:
    """Refuse finite weights that give no distribution, such as a logarithm of a deviation that has no exponential."""
    observation = last_observation(model)
    policy: Any = model.policy
    training = policy.training
    policy.set_training_mode(False)
    try:
        with torch.no_grad():
            # Acting once shows what finite weights hide, such as a standard deviation of 0.
            found = policy.get_distribution(_on(observation, model.device)).distribution
        for name in ("loc", "scale"):
            numbers = getattr(found, name, None)
            if isinstance(numbers, torch.Tensor) and not bool(torch.isfinite(numbers).all()):
                raise ValueError(_NO_DISTRIBUTION)
    except ValueError as error:
        rate = learning_rate(policy)
        cause = behind(error, policy, observation, macro_step=model.num_timesteps, rate=rate)
        if cause is not error:
            raise cause from error
    except Exception:  # a policy of the user's that acts by other methods
        return
    finally:
        policy.set_training_mode(training)


def _on(observation: Observation, device: torch.device) -> Observation:
    if isinstance(observation, dict):
        return {key: leaf.to(device) for key, leaf in observation.items()}
    return observation.to(device)


def overflow(error: Exception, model: BaseAlgorithm) -> RunError | None:
    """An overflow in an update as an error in one line; None if the error is about something else."""
    text = brief(error)
    if "overflow" not in text:
        return None
    return RunError(f"the update at macro-step {model.num_timesteps} overflows ({text}); {advice(model)}")


def _learned(model: BaseAlgorithm) -> Iterator[tuple[str, torch.nn.Module]]:
    """The policy, and what extensions have learned."""
    for name in model._get_torch_save_params()[0]:
        part: Any = model
        for step in name.split("."):
            part = getattr(part, step)
        # Only modules with parameters: a reward window that is not full yet holds NaN.
        if isinstance(part, torch.nn.Module) and any(True for _ in part.parameters()):
            yield name, part


def _bad_tensor(module: torch.nn.Module) -> str | None:
    """The name of a tensor of a module that is not finite."""
    tensors = [(name, tensor) for name, tensor in module.state_dict().items() if tensor.is_floating_point()]
    # One number a tensor and one transfer from the device: a sum is finite only if all its terms are.
    if not tensors or bool(torch.isfinite(torch.stack([tensor.sum().float() for _, tensor in tensors])).all()):
        return None
    return next((name for name, tensor in tensors if not bool(torch.isfinite(tensor).all())), None)


def advice(model: BaseAlgorithm) -> str:
    """The likely cause of numbers that are not finite, in a few words."""
    return _advice(_largest_reward(model), learning_rate(model.policy))


def learning_rate(policy: Any) -> float | None:
    """The step size of a policy's optimiser, or of its actor's; None without one."""
    optimizer = getattr(policy, "optimizer", None) or getattr(getattr(policy, "actor", None), "optimizer", None)
    groups = getattr(optimizer, "param_groups", None)
    return float(groups[0]["lr"]) if groups else None


def _advice(largest: float | None, rate: float | None) -> str:
    # Large rewards are the usual cause, unless the rate is so high that it is enough by itself.
    known = "" if rate is None else f" than {rate:g}"
    if largest is not None and largest > _LARGE_REWARD and not (rate is not None and rate > _LARGE_RATE):
        return f"rewards reach {largest:.3g}, which is the likely cause: scale them (reward_scale, normalize)"
    return f"try a lower learning_rate{known}"


def _largest_reward(model: BaseAlgorithm) -> float | None:
    """Of the latest rollout, in absolute value; None if there was none."""
    # Groups are kept in a rollout of their own; SB3's algorithms fill a buffer.
    if hasattr(model, "rollout"):
        rewards = getattr(model.rollout, "reward", None)
    else:
        buffer = getattr(model, "rollout_buffer", None) or getattr(model, "replay_buffer", None)
        rewards = getattr(buffer, "rewards", None)
    if rewards is None or not len(rewards):
        return None
    return float(torch.as_tensor(rewards).abs().max())


def _each(moments: Any) -> list[Any]:
    if moments is None:
        return []
    return list(moments.values()) if isinstance(moments, dict) else [moments]


def last_observation(model: BaseAlgorithm) -> Observation:
    """The latest observation of a model's worlds, ``[E, ...]``; zeros before the first reset."""
    last: Any = getattr(model, "_last_obs", None)
    if last is None:
        return torch.zeros(1, *(model.observation_space.shape or ()))
    return as_tensors(last)


def as_tensors(arrays: Any) -> Observation:
    """An observation of arrays, as one of tensors."""
    as_tensor: Any = torch.as_tensor
    return {key: as_tensor(leaf) for key, leaf in arrays.items()} if isinstance(arrays, dict) else as_tensor(arrays)
