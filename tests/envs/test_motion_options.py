"""Options of motions: what they are called on the command line and on the page."""

from pathlib import Path

import pytest

from rl_tracking import named_options, plugins, schema
from rl_tracking.envs.parts import motion_options
from rl_tracking.errors import UsageError

PAGE = (Path(__file__).parents[2] / "docs" / "scenarios" / "pursuit.md").read_text(encoding="utf-8")
ROWS = {line.split("`")[1]: line for line in PAGE.splitlines() if line.startswith("| `")}


@pytest.mark.parametrize("name", [name for name, origin in plugins.names("motion").items() if origin == "built-in"])
def test_the_page_has_every_motion_with_its_defaults(name):
    assert name in ROWS
    if name in motion_options.OPTIONS:
        assert f"`{named_options.as_text(name, motion_options.OPTIONS[name])}`" in ROWS[name]


@pytest.mark.parametrize("name", motion_options.OPTIONS)
def test_the_page_has_every_option_with_its_unit_and_bounds(name):
    for field in schema.fields(motion_options.OPTIONS[name]).values():
        cells = [cell.strip() for cell in ROWS[field.name].strip("|").split("|")]
        assert cells[1] == field.unit.replace("^2", "²")
        assert cells[2] == (
            ", ".join(field.choices) or field.bounds or ("true, false" if field.default is True else "")
        )


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("jink:turn=[135,45]", "turn of motion 'jink' must be a number from 0 to 180 degrees or a range [low, high]"),
        (
            "weave:period=[4,2]",
            "period of motion 'weave' must be a number from 0.001 to 100,000 s or a range [low, high]",
        ),
        ("evader:acceleration=0", "acceleration of motion 'evader' must be a number from 0.001 to 10,000 m/s^2, not 0"),
        ("waypoints:pause=-1", "pause of motion 'waypoints' must be a number from 0 to 10,000 s, not -1"),
        ("evader:speed=3", "unknown option of motion 'evader': 'speed'"),
        ("random:axes=2", "motion 'random' takes no options"),
        ("evade", "unknown motion 'evade'"),
    ],
)
def test_wrong_options_are_one_line(spec, message):
    with pytest.raises(UsageError) as error:
        motion_options.parsed(spec)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
