"""The instruments over the picture: who flies, the scenario's numbers, the rewards, the ending and the keys."""

from __future__ import annotations

import math

from rl_tracking.viewer.canvas import (
    CAPTURED,
    LOSS,
    PANEL_EDGE,
    PURSUERS,
    TEXT,
    TEXT_DIM,
    TEXT_FAINT,
    Canvas,
    Colour,
    Point,
    pursuer_colour,
)
from rl_tracking.viewer.frame import Frame
from rl_tracking.viewer.moment import NO_VALUE, Array, Number
from rl_tracking.viewer.panels import MARGIN, draw_panel, shortened, signed
from rl_tracking.viewer.timeline import draw_timeline
from rl_tracking.viewer.zones import zone_colour

WIDTH = 262.0
ROW = 20.0
MOST_NUMBERS = 8
MOST_ZONES = 4
MOST_TERMS = 14
COLUMN = 54.0  # of one agent's rewards

KEYS = (
    ("space", "pause, play"),
    (".", "one step"),
    (",", "one step back"),
    ("[  ]", "slower, faster"),
    ("r", "restart with the next seed"),
    ("arrows, drag", "orbit"),
    ("+  -  wheel", "zoom"),
    ("f", "follow the chase"),
    ("o", "orbit by itself"),
    ("h", "this help"),
    ("q  Esc", "quit"),
)


def draw_hud(canvas: Canvas, frame: Frame, *, show_help: bool = False) -> None:
    """Draw the instruments of a frame."""
    _flight(canvas, frame)
    bottom = _rewards(canvas, frame) if len(frame.shown.reward) == 1 else _rewards_of_agents(canvas, frame)
    _metrics(canvas, frame, bottom + 14)
    draw_timeline(canvas, frame)
    if frame.ended:
        _ending(canvas, frame)
    if show_help:
        _help(canvas)


def _flight(canvas: Canvas, frame: Frame) -> None:
    """Top left: the pilot, the scenario's numbers, the zones that light up, and the last action if it is discrete."""
    moment = frame.moment
    headline = moment.chart or next(iter(moment.numbers), None)
    others = [(name, number) for name, number in moment.numbers.items() if name != headline][:MOST_NUMBERS]
    zones = [index for index, zone in enumerate(moment.zones) if zone.lights][:MOST_ZONES]
    rows = len(others) + len(zones) + bool(frame.shown.action) + (moment.chart is not None)
    height = 70.0 + (62.0 if headline else 0.0) + ROW * rows + (8.0 if rows else 0.0)
    draw_panel(canvas, (MARGIN, MARGIN, WIDTH, height))
    x, right, y = MARGIN + 18, MARGIN + WIDTH - 18, MARGIN + 14
    canvas.text(shortened(frame.pilot, 24), (x, y), 17, TEXT, bold=True)
    canvas.text(f"{frame.scenario}   seed {frame.seed}   episode {frame.episode + 1}", (x, y + 24), 12, TEXT_DIM)
    canvas.line((x, y + 48), (right, y + 48), PANEL_EDGE)
    y += 56
    if headline is not None:
        _headline(canvas, frame, headline, (x, y), right)
        y += 60
    if moment.chart is not None:
        _extremes(canvas, frame, (x, y), right)
        y += ROW
    for index in zones:
        _zone(canvas, frame, index, (x, y), right)
        y += ROW
    for name, number in others:
        _row(canvas, (x, y), right, name, _quantity(number))
        y += ROW
    if frame.shown.action:
        _row(canvas, (x, y), right, "action", shortened("  ".join(map(str, frame.shown.action)), 24))


def _headline(canvas: Canvas, frame: Frame, name: str, place: Point, right: float) -> None:
    """The number that matters most, large; the chart's number is green while some zone is lit up."""
    moment = frame.moment
    value, unit = moment.numbers[name]
    colour = CAPTURED if name == moment.chart and moment.active.any() else TEXT
    wide = canvas.text(_rounded(value), place, 42, colour, bold=True)
    canvas.text(unit, (place[0] + wide + 6, place[1] + 25), 17, TEXT_DIM)
    canvas.text(shortened(name, 16), (right, place[1] + 28), 12, TEXT_FAINT, "right")


def _extremes(canvas: Canvas, frame: Frame, place: Point, right: float) -> None:
    """The least and the greatest value of the chart's number in the episode so far."""
    x, y = place
    unit = "" if frame.chart is None else frame.chart.unit
    canvas.text("least", place, 12, TEXT_FAINT)
    canvas.text(_quantity(Number(float(frame.history.min()), unit)), (x + 44, y), 12, TEXT_DIM)
    canvas.text("greatest", (x + 116, y), 12, TEXT_FAINT)
    canvas.text(_quantity(Number(float(frame.history.max()), unit)), (right, y), 12, TEXT_DIM, "right")


def _zone(canvas: Canvas, frame: Frame, index: int, place: Point, right: float) -> None:
    """A light for a zone: whether something is inside, and for how long in the episode so far."""
    x, y = place
    active, colour = bool(frame.moment.active[index]), zone_colour(frame, index)
    canvas.rounded((x, y + 4, 8.0, 8.0), 4.0, colour, 1.0 if active else 0.45)
    canvas.text(shortened(frame.moment.zones[index].name, 20), (x + 16, y), 12, colour if active else TEXT_FAINT)
    canvas.text(f"{frame.shown.lit_steps[index] * frame.dt:.1f} s", (right, y), 12, TEXT_DIM, "right")


def _row(canvas: Canvas, place: Point, right: float, name: str, value: str) -> None:
    """A name on the left, its value on the right."""
    canvas.text(shortened(name, 20), place, 12, TEXT_FAINT)
    canvas.text(value, (right, place[1]), 12, TEXT_DIM, "right")


def _rewards(canvas: Canvas, frame: Frame) -> float:
    """Top right: the reward of this step, term by term, and the return so far; the bottom of the panel."""
    row = 24.0
    left, top = canvas.size[0] - MARGIN - WIDTH, MARGIN
    terms = list(frame.shown.terms.items())[:MOST_TERMS]
    draw_panel(canvas, (left, top, WIDTH, 84.0 + row * len(terms)))
    x, right, reward = left + 18, left + WIDTH - 18, float(frame.shown.reward[0])
    canvas.text("reward", (x, top + 14), 12, TEXT_FAINT)
    canvas.text(signed(reward), (right, top + 12), 15, _sign_colour(reward), "right", bold=True)
    for index, (name, values) in enumerate(terms):
        _term(canvas, (x, top + 44 + index * row), right, name, float(values[0]), frame.shown.term_scale)
    y = top + 46 + row * len(terms)
    canvas.line((x, y), (right, y), PANEL_EDGE)
    canvas.text("return", (x, y + 11), 12, TEXT_FAINT)
    canvas.text(signed(float(frame.shown.episode_return[0])), (right, y + 9), 15, TEXT, "right", bold=True)
    return y + 38


def _term(canvas: Canvas, place: Point, right: float, name: str, value: float, scale: float) -> None:
    """One reward term: its name, a bar from the middle to the left or right, its value."""
    x, y = place
    canvas.text(shortened(name, 13), (x, y), 12, TEXT_DIM)
    middle, half = x + 124, 36.0
    canvas.rounded((middle - half, y + 5, 2 * half, 6.0), 3.0, PANEL_EDGE, 0.6)
    length = half * min(abs(value) / scale, 1.0) if scale > 0 else 0.0
    if length >= 0.5:
        start = middle if value > 0 else middle - length
        canvas.rounded((start, y + 5, length, 6.0), 3.0, CAPTURED if value > 0 else LOSS)
    canvas.line((middle, y + 3), (middle, y + 13), TEXT_FAINT)
    canvas.text(signed(value), (right, y), 12, TEXT, "right")


def _rewards_of_agents(canvas: Canvas, frame: Frame) -> float:
    """Top right where each agent has its own reward: a column for each, a row for each term; the panel's bottom."""
    row, names = 22.0, 118.0
    terms = list(frame.shown.terms.items())[:MOST_TERMS]
    width = 36.0 + names + COLUMN * len(frame.shown.reward)
    left, top = canvas.size[0] - MARGIN - width, MARGIN
    draw_panel(canvas, (left, top, width, 88.0 + row * len(terms)))
    x, right, y = left + 18, left + width - 18, top + 14
    for agent in range(len(frame.shown.reward)):
        place = (x + names + COLUMN * (agent + 1) - 7, y + 5, 7.0, 7.0)
        canvas.rounded(place, 3.5, pursuer_colour(agent))
    _cells(canvas, (x, y + 20), names, "reward", frame.shown.reward, bold=True)
    for index, (name, values) in enumerate(terms):
        _cells(canvas, (x, y + 20 + row * (index + 1)), names, name, values)
    y += 20 + row * (len(terms) + 1)
    canvas.line((x, y), (right, y), PANEL_EDGE)
    _cells(canvas, (x, y + 8), names, "return", frame.shown.episode_return, bold=True)
    return y + 32


def _cells(canvas: Canvas, place: Point, names: float, name: str, values: Array, bold: bool = False) -> None:
    """A row of the table of rewards: a name of width ``names``, then a value for each agent."""
    x, y = place
    canvas.text(shortened(name, 15), place, 12, TEXT_FAINT if bold else TEXT_DIM)
    for agent, value in enumerate(values.tolist()):
        colour = _sign_colour(value) if bold else TEXT
        canvas.text(signed(value), (x + names + COLUMN * (agent + 1), y), 12, colour, "right", bold)


def _metrics(canvas: Canvas, frame: Frame, top: float) -> None:
    """Below the rewards once the episode has ended: the scenario's metrics of it."""
    rows = list(frame.metrics.items())[:MOST_NUMBERS]
    if rows:
        left = canvas.size[0] - MARGIN - WIDTH
        draw_panel(canvas, (left, top, WIDTH, 20.0 + ROW * len(rows)))
        for index, (name, text) in enumerate(rows):
            _row(canvas, (left + 18, top + 12 + ROW * index), left + WIDTH - 18, name, text)


def _ending(canvas: Canvas, frame: Frame) -> None:
    """Top middle: how the episode ended, and when."""
    reason, width = frame.shown.reason, 280.0
    draw_panel(canvas, (canvas.size[0] / 2 - width / 2, MARGIN, width, 44.0))
    label = shortened(f"{reason[0].upper()}{reason[1:]} after {frame.time:.1f} s", 30)
    colour = CAPTURED if frame.shown.success else TEXT
    canvas.text(label, (canvas.size[0] / 2, MARGIN + 12), 16, colour, "centre", bold=True)


def _help(canvas: Canvas) -> None:
    """In the middle: what the keys do."""
    width, row = 330.0, 24.0
    height = 64.0 + row * len(KEYS)
    left, top = (canvas.size[0] - width) / 2, (canvas.size[1] - height) / 2
    draw_panel(canvas, (left, top, width, height))
    canvas.text("Keys", (left + 24, top + 18), 16, TEXT, bold=True)
    for index, (key, meaning) in enumerate(KEYS):
        y = top + 50 + index * row
        canvas.text(key, (left + 24, y), 13, PURSUERS[0])
        canvas.text(meaning, (left + 134, y), 13, TEXT_DIM)


def _quantity(number: Number) -> str:
    """A value with its unit."""
    is_count = number.unit == "" and number.value.is_integer()
    return f"{number.value:.0f}" if is_count else f"{_rounded(number.value)} {number.unit}".rstrip()


def _rounded(value: float) -> str:
    """A value with as many digits as are read at a glance; a dash for none."""
    if not math.isfinite(value):
        return NO_VALUE
    return (
        f"{value:.1f}" if 1 <= abs(value) < 1000 or value == 0 else f"{value:.2g}" if abs(value) < 1 else f"{value:.0f}"
    )


def _sign_colour(value: float) -> Colour:
    return CAPTURED if value > 0 else LOSS if value < 0 else TEXT
