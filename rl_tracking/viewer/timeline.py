"""The instrument along the bottom: the clock, and the scene's chart over the whole length of the episode."""

from __future__ import annotations

import numpy as np

from rl_tracking.viewer.canvas import (
    CAPTURED,
    GRID,
    PANEL,
    PANEL_EDGE,
    PURSUERS,
    TARGET,
    TEXT,
    TEXT_DIM,
    TEXT_FAINT,
    Array,
    Canvas,
    Point,
    Rect,
    mix,
)
from rl_tracking.viewer.frame import Frame
from rl_tracking.viewer.panels import MARGIN, draw_panel

CURVE_POINTS = 320


def draw_timeline(canvas: Canvas, frame: Frame) -> None:
    """Draw the clock, the curve of the chart's number if the scene has a chart, and the present moment."""
    width, height = canvas.size
    rect = (MARGIN, height - MARGIN - 80.0, width - 2 * MARGIN, 80.0)
    draw_panel(canvas, rect)
    left, top = rect[0] + 124, rect[1] + 15
    chart = (left, top, rect[2] - 124 - 62, 50.0)
    _clock(canvas, frame, (rect[0] + 18, rect[1] + 12))
    _present(canvas, frame, chart)
    if frame.chart is not None:
        _curve(canvas, frame, chart, frame.chart.value, frame.chart.unit)


def _clock(canvas: Canvas, frame: Frame, place: Point) -> None:
    """Time, step, and whether it is playing."""
    x, y = place
    wide = canvas.text(f"{frame.time:.1f}", (x, y - 3), 22, TEXT, bold=True)
    canvas.text("s", (x + wide + 4, y + 7), 13, TEXT_DIM)
    canvas.text(f"step {frame.step} / {frame.max_steps}", (x, y + 26), 11, TEXT_DIM)
    state = "paused" if frame.paused else "playing" if frame.speed == 1.0 else f"{frame.speed:g} x"
    colour = TARGET if frame.paused else PURSUERS[0]
    top = y + 46
    if frame.paused:
        canvas.rounded((x, top, 3.0, 10.0), 1.0, colour)
        canvas.rounded((x + 5, top, 3.0, 10.0), 1.0, colour)
    else:
        with canvas.magnified((x - 1, top - 1, 11.0, 12.0)) as fine:
            fine.polygon(((x, top), (x + 8, top + 5), (x, top + 10)), colour)
    canvas.text(state, (x + 14, top - 2), 11, colour)


def _curve(canvas: Canvas, frame: Frame, chart: Rect, value: float, unit: str) -> None:
    """The chart's number against time, filled below, up to the present ``value``."""
    left, top, width, height = chart
    floor, level = top + height, frame.moment.level
    known = frame.history[np.isfinite(frame.history)]
    least = min(0.0, float(known.min(initial=0.0)))
    greatest = max(float(known.max(initial=0.0)), 1.5 * (level or 0.0), least + 1e-6)

    def heights(values: Array) -> Array:
        return floor - height * np.clip((np.nan_to_num(values) - least) / (greatest - least), 0.0, 1.0)

    steps = np.arange(0, len(frame.history), max(1, len(frame.history) // CURVE_POINTS))
    times = np.append(steps, frame.time / frame.dt)
    points = np.column_stack((left + width * times / frame.max_steps, heights(np.append(frame.history[steps], value))))
    if level is not None:
        _level(canvas, (left, float(heights(np.array([level]))[0])), width, f"{level:g} {unit}")
    canvas.text(f"{greatest:.3g} {unit}", (left + width + 10, top - 7), 11, TEXT_FAINT)
    if least < 0.0:
        canvas.text(f"{least:.3g} {unit}", (left + width + 10, floor - 7), 11, TEXT_FAINT)
    x, y = points[-1].tolist()
    canvas.polygon([(left, floor), *points.tolist(), (x, floor)], PURSUERS[0], 0.12)
    canvas.lines(points[:-1], points[1:], np.full((len(points) - 1, 3), PURSUERS[0]), 1.6)
    canvas.glow((x, y), 12.0, PURSUERS[0], 0.5)
    canvas.rounded((x - 3, y - 3, 6.0, 6.0), 3.0, TEXT)


def _level(canvas: Canvas, start: Point, width: float, label: str) -> None:
    """A dashed line across the chart, and what it stands for."""
    dashes = np.arange(0.0, width, 10.0)
    rows = np.column_stack((start[0] + dashes, np.full(len(dashes), start[1])))
    canvas.lines(rows, rows + np.array((4.0, 0.0)), np.full((len(rows), 3), mix(PANEL, CAPTURED, 0.55)))
    canvas.text(label, (start[0] + width + 10, start[1] - 7), 11, mix(PANEL, CAPTURED, 0.75))


def _present(canvas: Canvas, frame: Frame, chart: Rect) -> None:
    """The axis of time, and an upright line at the present moment."""
    left, top, width, height = chart
    floor, x = top + height, left + width * frame.time / (frame.dt * frame.max_steps)
    canvas.line((left, floor), (left + width, floor), PANEL_EDGE)
    canvas.line((x, top - 4), (x, floor), mix(PANEL, GRID, 0.6))
