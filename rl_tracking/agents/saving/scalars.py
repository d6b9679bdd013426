"""Numbers and texts with their kinds, as JSON that gives them back bit for bit, NaN and NumPy's types too."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from msgspec import Meta

Text = Annotated[str, Meta(max_length=400)]
Scalar = tuple[Annotated[str, Meta(max_length=16)], Text]  # kind and value


def to_scalar(value: Any) -> Scalar | None:
    """A number or a text with its kind, so that it comes back bit for bit; None for what is neither."""
    # Hexadecimal floats are exact, NaN and infinities included; np.float64 is a Python float.
    if isinstance(value, np.generic) and not isinstance(value, np.float64):
        kind = value.dtype.name
        return (
            (kind, float(value).hex() if value.dtype.kind == "f" else str(value))
            if value.dtype.kind in "fiub"
            else None
        )
    # bool is an int to Python, so its own name goes with it.
    if isinstance(value, bool | int | str):
        return type(value).__name__, str(value)
    return ("float", float(value).hex()) if isinstance(value, float) else None


def from_scalar(scalar: Scalar) -> Any:
    """What :func:`to_scalar` was given.

    Raises:
        ValueError: it is something else.
    """
    kind, text = scalar
    if kind == "str":
        return text
    if kind in ("bool", "bool_"):
        return text == "True" if kind == "bool" else np.bool_(text == "True")
    if kind in ("int", "float"):
        return int(text) if kind == "int" else float.fromhex(text)
    dtype = np.dtype(kind)
    if dtype.kind not in "fiu":
        raise ValueError(f"no number of kind {kind}")
    return dtype.type(float.fromhex(text) if dtype.kind == "f" else int(text))
