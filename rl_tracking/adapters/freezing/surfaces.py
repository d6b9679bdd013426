"""Pictures of pygame, for environments that look at what they have drawn."""

from __future__ import annotations

import sys
from typing import Any

from rl_tracking.adapters.freezing.core import Codec, Freezer, Node, NotCopyableError, Thawer, module_of


class _Surfaces(Codec):
    """``pygame.Surface``: size, format and pixels; a part of another surface is saved with that one."""

    kind = "surface"

    def accepts(self, cls: type) -> bool:
        return cls.__name__ == "Surface" and module_of(cls).startswith("pygame")

    def freeze(self, value: Any, node: Node, freezer: Freezer) -> None:
        parent = value.get_parent()
        if parent is not None:
            node.label, node.content = "part", [freezer.freeze(parent), value.get_offset(), value.get_size()]
            return
        if value.get_locked():
            raise NotCopyableError("a locked pygame.Surface, whose pixels something else refers to")
        shape = (value.get_size(), value.get_bitsize(), value.get_masks())
        node.content = [shape, value.get_flags(), value.get_colorkey(), value.get_alpha(), value.get_buffer().raw]

    def thaw(self, node: Node, live: Any, thawer: Thawer) -> Any:
        """The live surface if it has the same size and format, else a new one."""
        pygame: Any = sys.modules["pygame"]
        same_class = type(live) is pygame.Surface
        if node.label == "part":
            parent, offset, size = node.content
            whole = thawer.thaw(parent)
            if same_class and live.get_parent() is whole and live.get_offset() == tuple(offset):
                return live
            return whole.subsurface((*offset, *size))
        (size, depth, masks), flags, key, alpha, pixels = node.content
        made = live
        if not same_class or (live.get_size(), live.get_bitsize(), live.get_masks()) != (size, depth, masks):
            made = pygame.Surface(size, flags & pygame.SRCALPHA, depth, masks)
        if made.get_colorkey() != key:
            made.set_colorkey(key)
        if made.get_alpha() != alpha:
            made.set_alpha(alpha)
        made.get_buffer().write(pixels, 0)
        return made


SURFACE_CODECS = (_Surfaces(),)
