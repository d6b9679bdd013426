"""Functions that remember something in the variables of the function that they were made in; and networks."""

from __future__ import annotations

import copy
import types
from typing import Any

import torch

from rl_tracking.adapters.freezing.core import ATOMS, Codec, Freezer, Node, Thawer, label_of, resolve
from rl_tracking.adapters.freezing.objects import Objects
from rl_tracking.adapters.freezing.references import Constants, name_in_code


class _Functions(Codec):
    """Python functions: the code is a constant; variables of an enclosing function, and attributes, are state."""

    kind = "function"
    types = (types.FunctionType,)

    def freeze(self, value: Any, node: Node, freezer: Freezer) -> Any:
        parts = remembered(value)
        if not parts:
            return Node(Constants.kind, name_in_code(value), False, value)
        node.label, node.ref = name_in_code(value), value
        node.content = {name: freezer.freeze_at(f" variable '{name}'", part) for name, part in parts.items()}
        return None

    def thaw(self, node: Node, live: Any, thawer: Thawer) -> Any:
        """The live function if it has the same code, else the saved one; its variables are restored."""
        same = isinstance(live, types.FunctionType) and name_in_code(live) == node.label
        made = live if same else Constants().thaw(node, live, thawer)
        thawer.remember(node, made)
        cells = dict(zip(made.__code__.co_freevars, made.__closure__ or (), strict=True))
        for name, part in node.content.items():
            if name in cells:
                now = content_of(cells[name])
                value = thawer.thaw(part, now)
                if not (value is now or (type(value) is type(now) and type(value) in ATOMS and value == now)):
                    cells[name].cell_contents = value
            elif name in vars(made):
                vars(made)[name] = thawer.thaw(part, vars(made)[name])
        return made


def remembered(function: types.FunctionType) -> dict[str, Any]:
    """What a function can change and find again at its next call: enclosing variables and attributes, by name."""
    found = {name: part for name, part in variables(function) if name != "__class__"}
    return found | {name: part for name, part in vars(function).items() if name != "__wrapped__"}


def variables(function: types.FunctionType) -> list[tuple[str, Any]]:
    """The variables of enclosing functions that a function uses, and what they hold now."""
    names, cells = function.__code__.co_freevars, function.__closure__ or ()
    return [(name, content_of(cell)) for name, cell in zip(names, cells, strict=True)]


def content_of(cell: types.CellType) -> Any:
    """What a variable of an enclosing function holds; None while it is empty."""
    try:
        return cell.cell_contents
    except ValueError:
        return None


# Attributes of a module that connect it to others and hold no numbers.
_WIRING = frozenset(vars(torch.nn.Module())) - {"training", "_parameters", "_buffers", "_modules"}


class _Modules(Objects):
    """Networks without their hooks: parameters, buffers, inner modules and other attributes; restored in place."""

    kind = "module"

    def accepts(self, cls: type) -> bool:
        return issubclass(cls, torch.nn.Module) and super().accepts(cls)

    def freeze(self, value: Any, node: Node, freezer: Freezer) -> None:
        node.label, node.ref = label_of(type(value)), value
        fields = [(name, part) for name, part in vars(value).items() if name not in _WIRING]
        node.content = {name: freezer.freeze_at(f".{name}", part) for name, part in fields}

    def thaw(self, node: Node, live: Any, thawer: Thawer) -> Any:
        """The live network if it is of the same class, else one like the saved network."""
        if label_of(type(live)) != node.label or not thawer.may_reuse(live):
            cls: Any = type(node.ref) if node.ref is not None else resolve(node.label)
            live = copy.copy(node.ref) if node.ref is not None else cls.__new__(cls)
        thawer.remember(node, live)
        fields = vars(live)
        for name in fields.keys() - node.content.keys() - _WIRING:
            del fields[name]
        for name, part in node.content.items():
            fields[name] = thawer.thaw(part, fields.get(name))
        return live


class _Parameters(Codec):
    """Weights of networks, whether they are learned, and their gradients."""

    kind = "parameter"
    types = (torch.nn.Parameter,)

    def freeze(self, value: Any, node: Node, freezer: Freezer) -> None:
        node.content = (freezer.freeze(value.detach()), value.requires_grad, freezer.freeze(value.grad))

    def thaw(self, node: Node, live: Any, thawer: Thawer) -> Any:
        """The live parameter, written to only where it differs: an optimiser may hold it too."""
        frozen, learned, gradient = node.content
        data = thawer.thaw(frozen)
        alike = type(live) is torch.nn.Parameter and (live.shape, live.dtype) == (data.shape, data.dtype)
        if not alike or not thawer.may_reuse(live):
            live = torch.nn.Parameter(data, requires_grad=learned)
        elif live.detach().numpy(force=True).tobytes() != data.numpy(force=True).tobytes():
            with torch.no_grad():
                live.copy_(data)
        live.grad = thawer.thaw(gradient)
        return live


FUNCTION_CODECS = (_Functions(), _Modules(), _Parameters())
