"""Kinds of text that study files share."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

_NAME_IN_WORDS = "a name of letters, digits, '.', '_' and '-' that starts with a letter or digit"
Name = Annotated[
    str,
    Meta(pattern=r"\A[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9_-])?\Z", extra={"words": _NAME_IN_WORDS}),
]
"""A name that can be a folder's on any system."""
Text = Annotated[str, Meta(pattern=r"\S", extra={"words": "a text"})]
"""A text that is not blank."""
