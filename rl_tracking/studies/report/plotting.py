"""How all figures look: colours, sizes, axes, legends. Needs matplotlib, which comes with the extra ``plots``."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rl_tracking.errors import UsageError
from rl_tracking.studies.report.numbers import short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 110
INK = "#333333"
UNIT_AXES = {
    "macro_steps": "macro-steps (decisions)",
    "simulator_steps": "simulator steps (all branches)",
    "seconds": "training time [s]",
}
# Okabe and Ito (2008): distinct with every kind of colour blindness. Their yellow is too pale for lines on white.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (5, 2, 1, 2)))
_LETTERS, _HANDLE = 13, 7  # letters of a legend on an inch, and what a line and its gaps take, in letters
_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "axes.titlesize": 10.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#ececec",
    "grid.linewidth": 0.8,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "lines.linewidth": 1.8,
    "legend.frameon": False,
}

_DECADES = 1e3  # a logarithmic axis longer than this is marked at powers of ten alone


def require_matplotlib() -> None:
    """Refuse to begin without it.

    Raises:
        UsageError: it is not installed.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise UsageError('the figures of a report need an extra: pip install "rl-tracking[plots]"')


@contextmanager
def style() -> Iterator[None]:
    """The look of every figure, for as long as it is drawn and saved; other figures do not change."""
    import matplotlib

    with matplotlib.rc_context(_STYLE):
        yield


def looks(variants: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Colour and dash of each variant, the same in every figure; dashes differ where colours run out."""
    return {
        name: {"color": _COLOURS[at % len(_COLOURS)], "linestyle": _DASHES[at // len(_COLOURS) % len(_DASHES)]}
        for at, name in enumerate(variants)
    }


def grid(rows: int, columns: int, size: tuple[float, float], **arguments: Any) -> tuple[Figure, list[list[Axes]]]:
    """A figure of ``rows x columns`` axes on a size [inch], without pyplot and its global state."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    figure = Figure(figsize=size, dpi=DPI, layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.06))
    return figure, [list(row) for row in figure.subplots(rows, columns, squeeze=False, **arguments)]


def named_lines(axes: Axes, names: Sequence[str]) -> None:
    """A vertical axis with one line a name, from the top."""
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_yticks(range(len(names)), list(names))
    axes.set_ylim(len(names) - 0.45, -0.55)


def count_axis(axes: Axes) -> None:
    """Ticks of the horizontal axis as ``20k`` and ``1.5M``."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10], min_n_ticks=3))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))


def log_axis(axes: Axes) -> None:
    """A logarithmic horizontal axis with ticks at 1, 2 and 5, or at powers of ten if it is long; data come first."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_xscale("log")
    low, high = axes.get_xlim()
    few = high / low > _DECADES  # ticks at 1, 2 and 5 would run into each other
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0,) if few else (1.0, 2.0, 5.0), numticks=8))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    axes.xaxis.set_minor_formatter(NullFormatter())


def legend_above(figure: Figure, handles: Sequence[Any], labels: Sequence[str]) -> None:
    """One legend for the whole figure, above what it explains, on as few lines as its width allows."""
    room = _LETTERS * figure.get_figwidth()
    needs = [len(label) + _HANDLE for label in labels]
    columns = len(labels) if sum(needs) <= room else max(1, int(room / max(needs)))
    figure.legend(handles, labels, loc="outside upper left", ncols=columns, handlelength=2.2)
