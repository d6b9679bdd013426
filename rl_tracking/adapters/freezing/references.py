"""What is kept by reference: functions, classes, spaces, screens, and immutable objects."""

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

from rl_tracking.adapters.freezing.core import Freezer, Node, Thawer, label_of, module_of, resolve
from rl_tracking.errors import UsageError

_KEPT: tuple[type, ...] = (
    types.ModuleType,
    types.MethodDescriptorType,
    types.WrapperDescriptorType,
    type,
    np.ufunc,
    gym.Space,
    EnvSpec,
    logging.Logger,
)
_VALUES: tuple[type, ...] = (
    datetime.date,
    datetime.time,
    datetime.timedelta,
    datetime.tzinfo,
    decimal.Decimal,
    fractions.Fraction,
    pathlib.PurePath,
    range,
    slice,
    np.dtype,
    re.Pattern,
    uuid.UUID,
)
_DISPLAYS = {"Clock", "Font", "Window", "Renderer", "Sound", "Texture"}  # of pygame
_DISPLAY_LIBRARIES = {"OpenGL", "glfw", "pyglet", "matplotlib", "moviepy", "imageio"}
_WITH_RENDERERS = {"gymnasium", "gym", "mujoco", "dm_control"}  # whose modules with "render" in their names only show


def is_display(cls: type) -> bool:
    """Whether a class is a library's for showing: windows, fonts, clocks, renderers. Others are judged by what they do.

    Pictures are not: an environment may draw on one and look at it again.
    """
    root, _, rest = module_of(cls).partition(".")
    if root == "pygame":
        return cls.__name__ in _DISPLAYS
    return root in _DISPLAY_LIBRARIES or (root in _WITH_RENDERERS and "render" in rest)


class Constants:
    """What is no state; whoever is restored keeps its own, and gets the saved one only where it has none."""

    kind = "constant"

    def accepts(self, cls: type) -> bool:
        """Functions of C, classes, modules, spaces, loggers, and what shows."""
        return issubclass(cls, _KEPT) or is_display(cls)

    def freeze(self, value: Any, node: Node, freezer: Freezer) -> None:
        """By reference."""
        node.label, node.content, node.ref = name_in_code(value), is_display(type(value)), value

    def thaw(self, node: Node, live: Any, thawer: Thawer) -> Any:
        """The living one if it is of the same name.

        Raises:
            UsageError: there is none, and the node was read from bytes.
        """
        if live is not None and name_in_code(live) == node.label:
            return live
        if node.ref is None and not node.content:
            raise UsageError(f"this state refers to {node.label.replace(':', '.')}, which bytes cannot hold")
        return node.ref


def name_in_code(value: Any) -> str:
    """What identifies a constant: module, name and, of a function, the line."""
    if isinstance(value, types.ModuleType):
        return f"the module:{value.__name__}"
    named = value if hasattr(value, "__qualname__") else type(value)
    line = f" (line {value.__code__.co_firstlineno})" if isinstance(value, types.FunctionType) else ""
    return f"{getattr(named, '__module__', None)}:{named.__qualname__}{line}"


class Methods:
    """Bound methods, of Python classes and of C ones: whose, and their name."""

    kind = "method"

    def accepts(self, cls: type) -> bool:
        """Whatever has a ``__self__``; of a function of a C module, it is the module."""
        return cls in (types.MethodType, types.BuiltinFunctionType, types.MethodWrapperType)

    def freeze(self, value: Any, node: Node, freezer: Freezer) -> None:
        """The object is frozen too."""
        node.label = value.__name__
        node.content = (freezer.freeze_at(".__self__", value.__self__),)

    def thaw(self, node: Node, live: Any, thawer: Thawer) -> Any:
        """The method of the object that was restored."""
        return getattr(thawer.thaw(node.content[0], getattr(live, "__self__", None)), node.label)


class Partials:
    """Functions with some of their arguments."""

    kind = "partial"

    def accepts(self, cls: type) -> bool:
        """``functools.partial``."""
        return cls is functools.partial

    def freeze(self, value: Any, node: Node, freezer: Freezer) -> None:
        """The function and the arguments."""
        parts = (value.func, list(value.args), value.keywords)
        node.content = [freezer.freeze_at(".func", parts[0]), *map(freezer.freeze, parts[1:])]

    def thaw(self, node: Node, live: Any, thawer: Thawer) -> Any:
        """A new one."""
        function, arguments, keywords = node.content
        function = thawer.thaw(function, getattr(live, "func", None))
        return functools.partial(function, *thawer.thaw(arguments), **thawer.thaw(keywords))


class Values:
    """Immutable objects of the standard library: kept by reference, and without a form as bytes."""

    kind = "value"

    def accepts(self, cls: type) -> bool:
        """Dates, paths, ranges and the like."""
        return issubclass(cls, _VALUES)

    def freeze(self, value: Any, node: Node, freezer: Freezer) -> None:
        """By reference."""
        node.label, node.ref = label_of(type(value)), value

    def thaw(self, node: Node, live: Any, thawer: Thawer) -> Any:
        """The same object."""
        return node.ref


class Enums:
    """Members of an enumeration, by name."""

    kind = "enum"

    def accepts(self, cls: type) -> bool:
        """All of them."""
        return issubclass(cls, enum.Enum)

    def freeze(self, value: Any, node: Node, freezer: Freezer) -> None:
        """Name and class."""
        node.label, node.content, node.ref = label_of(type(value)), value.name, value

    def thaw(self, node: Node, live: Any, thawer: Thawer) -> Any:
        """The member."""
        return node.ref if node.ref is not None else resolve(node.label)[node.content]  # type: ignore[index]


REFERENCE_CODECS = (Enums(), Constants(), Methods(), Partials(), Values())
