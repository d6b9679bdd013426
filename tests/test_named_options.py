"""Options behind a name: ``name:key=value,key=value``."""

from typing import Annotated

import pytest
from msgspec import Meta, Struct

from rl_tracking import named_options
from rl_tracking.errors import UsageError
from rl_tracking.schema import about

Angle = Annotated[float, Meta(ge=0, le=180)]


class Options(Struct, frozen=True, kw_only=True):
    rate: Annotated[float, Meta(gt=0), about("how often", unit="1/s")] = 2.0
    turn: Annotated[Angle | tuple[Angle, Angle], about("how far", unit="degrees")] = (45.0, 90.0)
    count: Annotated[int, about("how many")] = 3
    both: Annotated[bool, about("on both sides")] = False


def read(text):
    return named_options.read("motion", "turning", text, Options)


def test_every_kind_of_value():
    assert read("rate=0.5,turn=[10,20],count=4,both=true") == Options(rate=0.5, turn=(10.0, 20.0), count=4, both=True)
    assert read(" turn = 30 ") == Options(turn=30.0)
    assert read("7") == Options(rate=7.0), "the first option needs no name"


def test_the_defaults_as_text_can_be_read_back():
    text = named_options.as_text("turning", Options)
    assert text == "turning:rate=2,turn=[45,90],count=3,both=false"
    assert read(text.partition(":")[2]) == Options()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rate=1,rate=2", "rate of motion 'turning' is given twice"),
        ("speed=1", "unknown option of motion 'turning': 'speed'"),
        ("rate=fast", "rate of motion 'turning' must be a number above 0 1/s, not 'fast'"),
        ("rate=", "options of motion 'turning' are given as turning:rate=VALUE, not 'rate='"),
        ("turn=[20,10]", "turn of motion 'turning' must be a number from 0 to 180 degrees or a range [low, high]"),
        ("turn=[20", "turn of motion 'turning' must be a number from 0 to 180 degrees or a range [low, high]"),
    ],
)
def test_refused(text, message):
    with pytest.raises(UsageError) as error:
        read(text)
    assert message in str(error.value)
