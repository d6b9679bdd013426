"""Which cells of an arena have been visited: one bit a cell in the state of a world, and counts by block."""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor

_BITS = 64  # cells in a word
BLOCKS = 2  # along each axis, of which the share that is visited is counted


@dataclasses.dataclass(frozen=True)
class Grid:
    """Cubic cells over a square or cubic arena from the origin; the last ones may reach over its walls.

    Attributes:
        cell: side of a cell [m].
        cells: along each axis.
        dimensions: of the arena.
    """

    cell: float
    cells: int
    dimensions: int

    @classmethod
    def over(cls, size: float, cell: float, dimensions: int) -> Grid:
        """Cells of side ``cell`` [m] over an arena of side ``size`` [m]."""
        return cls(cell, max(math.ceil(size / cell - 1e-9), 1), dimensions)

    @property
    def total(self) -> int:
        """Number of cells."""
        return int(self.cells**self.dimensions)

    def places(self, position: Tensor) -> Tensor:
        """The cell along each axis that positions ``[B, P, D]`` [m] lie in, int64."""
        return (position / self.cell).floor().clamp(0, self.cells - 1).long()

    def index(self, places: Tensor, along: int | None = None) -> Tensor:
        """The number of a cell ``[B, P, D]`` among ``along`` (the cells) an axis, ``[B, P]`` int64."""
        along = along or self.cells
        number = places[..., 0]
        for axis in range(1, self.dimensions):
            number = number * along + places[..., axis]
        return number

    def start(self, position: Tensor) -> tuple[Tensor, Tensor]:
        """:meth:`visit` by the first positions ``[B, P, D]`` [m]."""
        words = -(-self.total // _BITS)
        visited = torch.zeros(words, len(position), dtype=torch.int64, device=position.device).t()
        counts = torch.zeros(BLOCKS**self.dimensions, len(position), device=position.device).t()
        return self.visit(visited, counts, position)

    def visit(self, visited: Tensor, counts: Tensor, position: Tensor) -> tuple[Tensor, Tensor]:
        """What has been visited after pursuers have been at ``position``.

        Args:
            visited: bits before ``[B, W]`` int64.
            counts: visited cells of each block before ``[B, 2^D]``.
            position: ``[B, P, D]`` [m].
        """
        places = self.places(position)
        cell = self.index(places)
        block = self.index(places * BLOCKS // self.cells, BLOCKS)
        words, totals = visited.t().clone(), counts.t().clone()
        # One pursuer after the other: two of them in one cell visit it once.
        for pursuer in range(cell.shape[1]):
            word = (cell[:, pursuer] // _BITS).unsqueeze(0)
            bit = torch.bitwise_left_shift(torch.ones_like(word), cell[:, pursuer].unsqueeze(0) % _BITS)
            held = words.gather(0, word)
            fresh = (held & bit) == 0
            words.scatter_(0, word, held | bit)
            totals.scatter_add_(0, block[:, pursuer].unsqueeze(0), fresh.to(totals.dtype))
        return words.t(), totals.t()

    def is_visited(self, visited: Tensor, cell: Tensor) -> Tensor:
        """Whether cells ``[N]`` have been visited, ``[B, N]`` bool."""
        held = visited[:, cell // _BITS]
        found: Tensor = torch.bitwise_right_shift(held, cell % _BITS) & 1 == 1
        return found

    def share(self, counts: Tensor) -> Tensor:
        """The share of each block that is visited ``[B, 2^D]``; blocks count as equally large."""
        share: Tensor = counts * (BLOCKS**self.dimensions / self.total)
        return share
