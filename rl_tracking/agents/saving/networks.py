"""The policy's network as settings name it: plain values in, Stable-Baselines3's ``policy_kwargs`` out."""

from __future__ import annotations

from typing import Any

from torch import nn

from rl_tracking.errors import UsageError, unknown


def policy_arguments(named: dict[str, Any], parameters: dict[str, Any]) -> dict[str, Any]:
    """``policy_kwargs`` of named arguments.

    Args:
        named: some of :class:`rl_tracking.agents.arguments.PolicyArguments`, checked by that declaration.
        parameters: of the scenario that the policy is to see.

    Raises:
        UsageError: an unknown features extractor, or one that cannot read what is observed.
    """
    # Texts become classes here, so that settings files need no Python.
    made = dict(named)
    if "activation_fn" in made:
        made["activation_fn"] = getattr(nn, made["activation_fn"])
    extractor, sizes = made.pop("features_extractor", None), made.pop("features_extractor_kwargs", {})
    if extractor is not None:
        made |= _features_extractor(extractor, sizes, parameters)
    elif sizes:
        raise UsageError("features_extractor_kwargs needs a features_extractor, such as features_extractor=mha")
    return made


def _features_extractor(name: str, sizes: dict[str, Any], parameters: dict[str, Any]) -> dict[str, Any]:
    from rl_tracking.agents.saving.extractors import EXTRACTORS

    # Named extractors attend over past observations, which only the sensor 'history' gives.
    if name not in EXTRACTORS:
        raise unknown("features_extractor:", name, EXTRACTORS)
    if parameters.get("sensor") != "history":
        remedy = "add --set sensor=history, or --preset sandbox" if "sensor" in parameters else "leave it out here"
        raise UsageError(f"features_extractor '{name}' reads the history of a pursuit world; {remedy}")
    return {
        "features_extractor_class": EXTRACTORS[name],
        "features_extractor_kwargs": {"steps": parameters["history_steps"], **sizes},
    }
