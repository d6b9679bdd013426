"""Declared settings: what is checked, what errors say, what a table of them shows."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any, Literal, TypedDict

import msgspec
import numpy as np
import pytest
from msgspec import Meta, Struct

from rl_tracking import schema
from rl_tracking.errors import UsageError
from rl_tracking.schema import Count, NonNegative, Owner, Positive, Share, about

Gust = Annotated[float, Meta(ge=0, le=200)]


class Budget(Struct):
    steps: Annotated[Count, about("steps of all worlds")]


class Task(Struct):
    name: Annotated[str, about("of the task")]
    range: Annotated[tuple[float, float], about("of the metric")] = (0.0, 1.0)


class World(Struct, kw_only=True):
    speed: Annotated[Positive, about("greatest speed", unit="m/s")] = 18.0
    wind: Annotated[Gust | tuple[Gust, Gust], about("deviation of the gusts", unit="m/s")] = 0.0
    worlds: Annotated[Count, about("how many")] = 1
    share: Annotated[Share, about("of something")] = 0.5
    sensor: Annotated[Literal["relative", "history"], about("what is observed")] = "relative"
    dimensions: Annotated[Literal[2, 3], about("of the world")] = 3
    flag: Annotated[bool, about("yes or no")] = False
    rate: Annotated[NonNegative | str, about("of learning", kind="a number or 'linear:START'")] = 1e-3
    f: Annotated[str | Callable[..., Any], about("of the reward")] = "tanh"
    offset: Annotated[float, about("anything")] = 0.0
    budget: Annotated[Budget | None, about("of the training")] = None
    tasks: Annotated[list[Task], Meta(min_length=1), about("to train on")] = msgspec.field(default_factory=list)


WORLD = Owner("scenario 'x'", "parameter")


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("speed", 3, 3.0),
        ("speed", np.float64(0.5), 0.5),
        ("wind", 200, 200.0),
        ("wind", [0, 3], (0.0, 3.0)),
        ("wind", (2.0, 2.0), (2.0, 2.0)),
        ("worlds", np.int64(4), 4),
        ("share", 0, 0.0),
        ("share", 1, 1.0),
        ("sensor", "history", "history"),
        ("dimensions", 2, 2),
        ("flag", True, True),
        ("rate", "linear:1", "linear:1"),
        ("rate", 0, 0.0),
        ("f", math.tanh, math.tanh),
        ("budget", {"steps": 3}, Budget(3)),
        ("tasks", [{"name": "a"}, {"name": "b", "range": [1, 2]}], [Task("a"), Task("b", (1.0, 2.0))]),
    ],
)
def test_values_that_fit_are_taken_as_their_kind(name, value, expected):
    found = getattr(schema.read(World, {name: value}, WORLD), name)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"speed": 0}, "speed of scenario 'x' must be a number above 0 m/s, not 0"),
        ({"speed": math.nan}, "speed of scenario 'x' must be a number above 0 m/s, not nan"),
        ({"speed": math.inf}, "speed of scenario 'x' must be a number above 0 m/s, not inf"),
        ({"speed": True}, "speed of scenario 'x' must be a number above 0 m/s, not True"),
        ({"offset": math.inf}, "offset of scenario 'x' must be a finite number, not inf"),
        ({"wind": 201}, "wind of scenario 'x' must be a number from 0 to 200 m/s or a range [low, high], not 201"),
        ({"wind": [3, 2]}, "or a range [low, high], not [3, 2]"),
        ({"wind": [0, 201]}, "or a range [low, high], not [0, 201]"),
        ({"wind": [0, 1, 2]}, "or a range [low, high], not [0, 1, 2]"),
        ({"worlds": 0}, "worlds of scenario 'x' must be a whole number of 1 or more, not 0"),
        ({"worlds": 1.5}, "worlds of scenario 'x' must be a whole number of 1 or more, not 1.5"),
        ({"worlds": True}, "worlds of scenario 'x' must be a whole number of 1 or more, not True"),
        ({"share": 1.1}, "share of scenario 'x' must be a number from 0 to 1, not 1.1"),
        ({"sensor": "histroy"}, "unknown sensor of scenario 'x': 'histroy'; did you mean 'history'?"),
        ({"sensor": 3}, "sensor of scenario 'x' must be relative or history, not 3"),
        ({"dimensions": 4}, "dimensions of scenario 'x' must be 2 or 3, not 4"),
        ({"flag": 1}, "flag of scenario 'x' must be true or false, not 1"),
        ({"rate": -1}, "rate of scenario 'x' must be a number or 'linear:START', not -1"),
        ({"f": 3}, "f of scenario 'x' must be a text or a function, not 3"),
        ({"spede": 3}, "unknown parameter of scenario 'x': 'spede'; did you mean 'speed'?"),
        ({"tasks": []}, "tasks of scenario 'x' must be 1 or more tables, [[tasks]], not []"),
        ({"budget": 3}, "budget of scenario 'x' must be a table, [budget], not 3"),
        ({"budget": {"steps": 0}}, "scenario 'x', [budget]: steps must be a whole number of 1 or more, not 0"),
        ({"budget": {}}, "scenario 'x', [budget]: steps is missing; it must be a whole number of 1 or more"),
        ({"budget": {"step": 3}}, "unknown key in scenario 'x', [budget]: 'step'; did you mean 'steps'?"),
        ({"tasks": [{}]}, "scenario 'x', a task: name is missing; it must be a text"),
        ({"tasks": [{"name": "a", "range": 3}]}, "scenario 'x', task 'a': range must be a range [low, high], not 3"),
        ({"tasks": [3]}, "scenario 'x', a task must be a table, not 3"),
    ],
)
def test_values_that_do_not_fit_are_refused_in_one_line(values, text):
    with pytest.raises(UsageError) as caught:
        schema.read(World, values, WORLD)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def test_owners_that_are_tables_come_first_and_those_without_a_name_are_left_out():
    table = Owner.table("study 'x'")
    for owner, texts in (
        (table, ("study 'x': share must be", "unknown key in study 'x': 'shar'", "unknown sensor in study 'x': 'r'")),
        (Owner(), ("share must be", "unknown setting 'shar'", "unknown sensor: 'r'")),
    ):
        for values, text in zip(({"share": 2}, {"shar": 2}, {"sensor": "r"}), texts, strict=True):
            with pytest.raises(UsageError) as caught:
                schema.check(World, values, owner)
            assert str(caught.value).startswith(text)


class Base(TypedDict, total=False):
    gamma: Annotated[Share, about("discount", default=0.99)]


class Other(TypedDict, total=False):
    window: Annotated[Count, about("length", default=5)]


class Both(Base, Other, total=False):
    alpha: Annotated[float, about("weight")]


def test_typed_dicts_are_declarations_too_and_are_joined_by_inheritance():
    found = schema.fields(Both)
    assert list(found) == ["gamma", "window", "alpha"]
    assert [field.default for field in found.values()] == [0.99, 5, schema.REQUIRED]
    assert schema.check(Both, {"window": 3}, Owner()) == {"window": 3}


def test_a_field_has_all_that_a_table_of_settings_shows():
    speed, wind, sensor = (schema.fields(World)[name] for name in ("speed", "wind", "sensor"))
    assert (speed.name, speed.default, speed.unit, speed.description) == ("speed", 18.0, "m/s", "greatest speed")
    assert (speed.kind, speed.bounds) == ("a number above 0 m/s", "above 0")
    assert (wind.bounds, sensor.bounds, sensor.choices) == ("0 to 200", "", ("relative", "history"))
    assert schema.fields(World)["worlds"].bounds == "1 or more"
