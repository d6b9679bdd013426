"""What is kept by reference: functions of C, classes, displays and immutable objects; methods by their owner."""

from __future__ import annotations

import datetime
import decimal
import enum
import fractions
import functools
import logging
import pathlib
import re
import types
import uuid
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec

from rl_tracking.adapters.freezing.core import Codec, Freezer, Node, Thawer, label_of, module_of, resolve
from rl_tracking.errors import UsageError

_DISPLAYS = {"Clock", "Font", "Window", "Renderer", "Sound", "Texture"}  # of pygame
_DISPLAY_LIBRARIES = {"OpenGL", "glfw", "pyglet", "matplotlib", "moviepy", "imageio"}
_WITH_RENDERERS = {"gymnasium", "gym", "mujoco", "dm_control"}  # their modules with "render" in the name only display


def is_display(cls: type) -> bool:
    """Whether a class of a library only displays: windows, fonts, clocks, renderers.

    Pictures are not displays, because an environment may draw on one and read it again.
    """
    root, _, rest = module_of(cls).partition(".")
    if root == "pygame":
        return cls.__name__ in _DISPLAYS
    return root in _DISPLAY_LIBRARIES or (root in _WITH_RENDERERS and "render" in rest)


class Constants(Codec):
    """Functions of C, classes, modules, spaces, loggers and displays; a restored world keeps its own."""

    kind = "constant"
    bases = (
        *(types.ModuleType, types.MethodDescriptorType, types.WrapperDescriptorType, type, np.ufunc),
        *(gym.Space, EnvSpec, logging.Logger),
    )

    def accepts(self, cls: type) -> bool:
        """Subclasses too."""
        return issubclass(cls, self.bases) or is_display(cls)

    def freeze(self, value: Any, node: Node, freezer: Freezer) -> None:
        """By name and by reference."""
        node.label, node.content, node.ref = name_in_code(value), is_display(type(value)), value

    def thaw(self, node: Node, live: Any, thawer: Thawer) -> Any:
        """The live one if it has the same name, else the saved one.

        Raises:
            UsageError: there is none, and the node was read from bytes.
        """
        if live is not None and name_in_code(live) == node.label:
            return live
        if node.ref is None and not node.content:
            raise UsageError(f"this state refers to {node.label.replace(':', '.')}, which bytes cannot hold")
        return node.ref


def name_in_code(value: Any) -> str:
    """The name that identifies a constant: module, qualified name and, for a function, its line."""
    if isinstance(value, types.ModuleType):
        return f"the module:{value.__name__}"
    named = value if hasattr(value, "__qualname__") else type(value)
    line = f" (line {value.__code__.co_firstlineno})" if isinstance(value, types.FunctionType) else ""
    return f"{getattr(named, '__module__', None)}:{named.__qualname__}{line}"


class _Methods(Codec):
    """Bound methods, by their object and their name; the object of a function of a C module is that module."""

    kind = "method"
    types = (types.MethodType, types.BuiltinFunctionType, types.MethodWrapperType)

    def freeze(self, value: Any, node: Node, freezer: Freezer) -> None:
        node.label = value.__name__
        node.content = (freezer.freeze_at(".__self__", value.__self__),)

    def thaw(self, node: Node, live: Any, thawer: Thawer) -> Any:
        return getattr(thawer.thaw(node.content[0], getattr(live, "__self__", None)), node.label)


class _Partials(Codec):
    """``functools.partial``, by the function and its arguments."""

    kind = "partial"
    types = (functools.partial,)

    def freeze(self, value: Any, node: Node, freezer: Freezer) -> None:
        parts = (value.func, list(value.args), value.keywords)
        node.content = [freezer.freeze_at(".func", parts[0]), *map(freezer.freeze, parts[1:])]

    def thaw(self, node: Node, live: Any, thawer: Thawer) -> Any:
        function, arguments, keywords = node.content
        function = thawer.thaw(function, getattr(live, "func", None))
        return functools.partial(function, *thawer.thaw(arguments), **thawer.thaw(keywords))


class _Values(Codec):
    """Immutable objects of the standard library, by reference; they have no form as bytes."""

    kind = "value"
    bases = (
        *(datetime.date, datetime.time, datetime.timedelta, datetime.tzinfo, decimal.Decimal, fractions.Fraction),
        *(pathlib.PurePath, range, slice, np.dtype, re.Pattern, uuid.UUID),
    )

    def accepts(self, cls: type) -> bool:
        return issubclass(cls, self.bases)

    def freeze(self, value: Any, node: Node, freezer: Freezer) -> None:
        node.label, node.ref = label_of(type(value)), value

    def thaw(self, node: Node, live: Any, thawer: Thawer) -> Any:
        return node.ref


class _Enums(Codec):
    """Members of an enumeration, by name."""

    kind = "enum"

    def accepts(self, cls: type) -> bool:
        return issubclass(cls, enum.Enum)

    def freeze(self, value: Any, node: Node, freezer: Freezer) -> None:
        node.label, node.content, node.ref = label_of(type(value)), value.name, value

    def thaw(self, node: Node, live: Any, thawer: Thawer) -> Any:
        return node.ref if node.ref is not None else resolve(node.label)[node.content]  # type: ignore[index]


REFERENCE_CODECS = (_Enums(), Constants(), _Methods(), _Partials(), _Values())
