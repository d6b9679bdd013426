"""Formations: where each of P pursuers belongs, in the level plane about a centre. Lengths in [m]."""

from __future__ import annotations

import math

FORMATIONS = ("square", "circle", "line", "wedge")
Slot = tuple[float, float]


def square(pursuers: int, scale: float) -> list[Slot]:
    """A grid of ``ceil(sqrt(P))`` columns, row after row, centred; neighbours are ``scale`` apart."""
    columns = math.ceil(math.sqrt(pursuers))
    rows = math.ceil(pursuers / columns)
    places = [divmod(pursuer, columns) for pursuer in range(pursuers)]
    return [((column - (columns - 1) / 2) * scale, (row - (rows - 1) / 2) * scale) for row, column in places]


def circle(pursuers: int, scale: float) -> list[Slot]:
    """A circle of radius ``scale``, at angles 2 pi i / P."""
    angles = [2 * math.pi * pursuer / pursuers for pursuer in range(pursuers)]
    return [(scale * math.cos(angle), scale * math.sin(angle)) for angle in angles]


def line(pursuers: int, scale: float) -> list[Slot]:
    """A line along x, centred; neighbours are ``scale`` apart."""
    return [((pursuer - (pursuers - 1) / 2) * scale, 0.0) for pursuer in range(pursuers)]


def wedge(pursuers: int, scale: float) -> list[Slot]:
    """An arc of 60 degrees ahead, along x, that opens to its ends: they are at 1.25 ``scale``, its middle at 1."""
    shares = [(pursuer - (pursuers - 1) / 2) / max(pursuers - 1, 1) for pursuer in range(pursuers)]
    polar = [(share * math.pi / 3, scale * (1 + abs(share) / 2)) for share in shares]
    return [(distance * math.cos(angle), distance * math.sin(angle)) for angle, distance in polar]


_LAYOUTS = {"square": square, "circle": circle, "line": line, "wedge": wedge}


def slots(formation: str, pursuers: int, scale: float) -> list[Slot]:
    """The place (x, y) of each pursuer from the centre [m], in the order of the pursuers.

    The layouts are those of the paper author's sandbox.

    Args:
        formation: one of :data:`FORMATIONS`.
        pursuers: how many, P.
        scale: of the formation [m]: distance of neighbours in ``square`` and ``line``, radius of ``circle``, distance
            of the middle of ``wedge``.
    """
    return _LAYOUTS[formation](pursuers, scale)


def least_gap(places: list[Slot]) -> float:
    """The least distance between two places [m]; infinite for one alone."""
    gaps = [math.dist(a, b) for i, a in enumerate(places) for b in places[:i]]
    return min(gaps, default=math.inf)


def reach(places: list[Slot]) -> float:
    """How far the places lie from the centre along x or y at most [m]."""
    return max(abs(coordinate) for place in places for coordinate in place)
