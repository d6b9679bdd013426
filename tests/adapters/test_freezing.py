"""Values frozen, thawed, compared and written as bytes."""

import collections
import datetime
import enum
import functools
import itertools
import math
import random
import threading

import gymnasium as gym
import numpy as np
import pytest
import torch

from rl_tracking.adapters.freezing import CODECS, Freezer, Node, NotCopyableError, Thawer
from rl_tracking.adapters.freezing.comparing import differences, same
from rl_tracking.adapters.freezing.core import places_of
from rl_tracking.adapters.freezing.encoding import from_bytes, to_bytes
from rl_tracking.adapters.gym_states import with_new_randomness
from rl_tracking.errors import UsageError


class Phase(enum.Enum):
    FLY = 1
    LAND = 2


Point = collections.namedtuple("Point", ["x", "y"])


class Body:
    def __init__(self, **fields):
        self.__dict__.update(fields)


class Slotted:
    __slots__ = ("a", "b")

    def __init__(self, a, b):
        self.a, self.b = a, b


def freeze(value, layers=()):
    return Freezer(CODECS, places_of(layers)).freeze(value)


def thaw(frozen, live=None, layers=()):
    return Thawer(CODECS, layers).thaw(frozen, live)


def through_bytes(frozen):
    return from_bytes(to_bytes(frozen))


FORTRAN = np.asfortranarray(np.arange(6.0).reshape(2, 3))
VALUES = {
    "none": None,
    "floats": [0.1, -0.0, math.inf, 1e-320],
    "integers": [2**200, -1, True],
    "complex": 1 + 2j,
    "text": ["é", b"\x00\xff", ""],
    "scalars": (np.float32(0.1), np.int8(-3), np.bool_(True), np.str_("a")),
    "tuple of atoms": (1, (2.0, "c")),
    "tuple": (1, [2]),
    "named tuple": Point(1, [2]),
    "nested": {"a": [1, {"b": (2, [3])}], 4: {5, 6}, (7, "x"): frozenset("ab")},
    "ordered": collections.OrderedDict(z=1, a=[2]),
    "counter": collections.Counter("hello"),
    "queue": collections.deque([1, [2]], maxlen=3),
    "flat queue": collections.deque([1, 2], maxlen=2),
    "array": np.arange(6.0).reshape(2, 3),
    "empty array": np.zeros((0, 3), np.float32),
    "fortran array": FORTRAN,
    "zero-dimensional array": np.array(3, np.int16),
    "record array": np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
    "array of objects": np.array([[1, "a"], [None, 2.0]], dtype=object),
    "tensor": torch.arange(6, dtype=torch.bfloat16).reshape(2, 3),
    "empty tensor": torch.zeros(2, 0),
    "number tensor": torch.tensor(True),
    "enum": [Phase.LAND],
    "range": range(3),
}


def described(value):
    """A value with types, shapes and bits told apart."""
    if isinstance(value, np.ndarray) and value.dtype != object:
        return type(value), value.dtype, value.shape, value.strides, value.tobytes()
    if isinstance(value, np.ndarray):
        return value.shape, [described(part) for part in value.flat]
    if isinstance(value, torch.Tensor):
        return value.dtype, tuple(value.shape), value.tolist()
    if isinstance(value, dict):
        return type(value), [(key, described(part)) for key, part in value.items()]
    if isinstance(value, list | tuple | collections.deque):
        return type(value), getattr(value, "maxlen", 0), [described(part) for part in value]
    if isinstance(value, set | frozenset):
        # Equal sets may be walked in different orders: hashes of text differ from one process to the next.
        return type(value), sorted(map(repr, value))
    return type(value), repr(value)


@pytest.mark.parametrize("name", VALUES)
def test_a_value_comes_back_as_it_was(name):
    value = VALUES[name]
    frozen = freeze(value)
    assert described(thaw(frozen)) == described(value)
    assert same(frozen, freeze(value))


@pytest.mark.parametrize("name", sorted(set(VALUES) - {"range", "fortran array"}))
def test_a_value_survives_bytes(name):
    frozen = freeze(VALUES[name])
    back = through_bytes(frozen)
    assert same(back, frozen)
    assert described(thaw(back)) == described(VALUES[name])
    assert to_bytes(back) == to_bytes(frozen)


def test_not_a_number_keeps_its_bits():
    odd = np.array([0x7FF8000000000123], dtype=np.uint64).view(np.float64)
    for value in (odd, float(odd[0]), odd[0]):
        assert np.float64(thaw(through_bytes(freeze(value)))).tobytes() == odd.tobytes()


@pytest.mark.parametrize("value", [[[1]], {"a": [1]}, np.zeros(2), collections.deque([1]), Body(a=[1])])
def test_nothing_is_shared_with_the_original_or_between_copies(value):
    frozen = freeze(value)
    kept = to_bytes(frozen)
    first, second = thaw(frozen), thaw(frozen)
    for mine in (value, first):
        if isinstance(mine, np.ndarray):
            mine[0] = 7
        elif isinstance(mine, Body):
            mine.a.append(7)
        elif isinstance(mine, dict):
            mine["a"].append(7)
        else:
            mine[0] = 7
    assert to_bytes(frozen) == kept
    assert to_bytes(freeze(second)) == kept


def test_an_object_that_is_referred_to_twice_stays_one():
    shared = [1]
    body = Body(a=shared, b={"c": shared})
    body.me = body
    for frozen in (freeze(body), through_bytes(freeze(body))):
        back = thaw(frozen)
        assert back.a is back.b["c"]
        assert back.me is back
        assert back.a is not shared


def test_views_of_one_array_stay_views_of_one_array():
    base = np.arange(12.0).reshape(3, 4)
    body = Body(base=base, row=base[1], turned=base.T[::2])
    back = thaw(through_bytes(freeze(body)))
    back.base[1, 2] = -5.0
    assert back.row[2] == back.turned[1, 1] == -5.0
    assert base[1, 2] == 6.0


def test_an_array_that_nobody_may_write_is_not_copied():
    table = np.frombuffer(bytes(range(8)), np.uint8)
    assert thaw(freeze(table)) is table


def test_the_layout_of_an_array_is_kept():
    assert thaw(freeze(FORTRAN)).strides == FORTRAN.strides
    turned = np.ascontiguousarray(np.arange(24).reshape(2, 3, 4)).transpose(1, 0, 2).copy(order="K")
    assert thaw(freeze(turned)).strides == turned.strides


def test_objects_are_restored_in_place_so_that_references_stay_valid():
    body = Body(speed=1.0)
    holder = Body(body=body, move=body.__init__)
    frozen = freeze(holder)
    body.speed, body.later = 2.0, "new"
    assert thaw(frozen, holder) is holder
    assert holder.body is body
    assert vars(body) == {"speed": 1.0}
    assert holder.move.__self__ is body


def test_two_nodes_never_become_one_object():
    holder = Body(a=Body(x=1), b=Body(x=2))
    frozen = freeze(holder)
    holder.b = holder.a
    thaw(frozen, holder)
    assert (holder.a.x, holder.b.x) == (1, 2)


def test_objects_with_slots():
    back = thaw(through_bytes(freeze(Slotted(1, [2]))))
    assert (back.a, back.b) == (1, [2])


def test_a_reference_to_a_layer_becomes_the_layer_of_the_restored_environment():
    mine, theirs = Body(), Body()
    helper = Body(env=mine, act=mine.__init__)
    back = thaw(freeze(helper, [mine]), layers=[theirs])
    assert back.env is theirs
    assert back.act.__self__ is theirs


def test_functions_spaces_and_screens_stay_those_of_the_restored_environment():
    def function():
        return 1

    space = gym.spaces.Discrete(2)
    frozen = freeze(Body(f=function, space=space, g=function))
    live = Body(f=function, space=gym.spaces.Discrete(2), g=None)
    kept = live.space
    thaw(frozen, live)
    assert live.space is kept
    assert live.g is function
    with pytest.raises(UsageError, match=r"refers to .*function \(line \d+\), which bytes cannot hold"):
        thaw(through_bytes(frozen), Body(f=None))


def test_methods_of_lists_and_generators_belong_to_the_restored_objects():
    generator = np.random.default_rng(0)
    trail = [[1]]
    body = Body(trail=trail, note=trail.append, rng=generator, draw=generator.random, root=math.sqrt)
    frozen = freeze(body)
    live = Body(trail=[], note=[].append, rng=None, draw=None, root=math.sqrt)
    for back in (thaw(frozen), thaw(through_bytes(frozen), live)):
        back.note(2)
        assert back.trail == [[1], 2]
        assert back.draw.__self__ is back.rng
        assert back.root is math.sqrt


def test_a_partial_function_is_saved_with_its_arguments():
    trail = [[1]]
    back = thaw(
        freeze(Body(trail=trail, note=functools.partial(list.append, trail), scale=functools.partial(pow, exp=2)))
    )
    back.note(2)
    assert back.trail == [[1], 2]
    assert trail == [[1]]
    assert back.scale(3) == 9


# -- random numbers ---------------------------------------------------------------------------------------------------

GENERATORS = {
    "pcg64": lambda: np.random.default_rng(3),
    "mt19937": lambda: np.random.Generator(np.random.MT19937(3)),
    "philox": lambda: np.random.Generator(np.random.Philox(3)),
    "sfc64": lambda: np.random.Generator(np.random.SFC64(3)),
    "random state": lambda: np.random.RandomState(3),
    "python": lambda: random.Random(3),
}


def draws(generator):
    if isinstance(generator, np.random.Generator):
        # Half a word is kept for the next 32 bits.
        return [int(generator.integers(100, dtype=np.uint32)) for _ in range(5)] + list(generator.normal(size=3))
    return (
        [generator.gauss(0, 1) for _ in range(3)] if isinstance(generator, random.Random) else list(generator.randn(3))
    )


@pytest.mark.parametrize("name", GENERATORS)
def test_a_generator_continues_where_it_was(name):
    generator = GENERATORS[name]()
    draws(generator)
    frozen = freeze(generator)
    expected = draws(generator)
    for part in (frozen, through_bytes(frozen)):
        assert draws(thaw(part)) == expected
        assert thaw(part, generator) is generator
        assert draws(generator) == expected
    other = GENERATORS[name]()
    assert draws(thaw(frozen, other)) == expected


def test_a_torch_generator_continues_where_it_was():
    generator = torch.Generator().manual_seed(4)
    frozen = freeze(generator)
    expected = torch.rand(3, generator=generator)
    assert torch.equal(torch.rand(3, generator=thaw(through_bytes(frozen))), expected)


def test_generators_spawn_the_same_children_after_a_restore():
    generator = np.random.default_rng(5)
    generator.spawn(1)
    frozen = freeze(generator)
    expected = generator.spawn(1)[0].random()
    for part in (frozen, through_bytes(frozen)):
        assert thaw(part, generator).spawn(1)[0].random() == expected
        assert thaw(part, np.random.default_rng(99)).spawn(1)[0].random() == expected


def test_a_generator_that_two_share_stays_one():
    generator = np.random.default_rng(5)
    back = thaw(freeze(Body(a=generator, b=[generator])))
    assert back.a is back.b[0]


@pytest.mark.parametrize("name", GENERATORS)
def test_new_randomness_differs_and_follows_from_its_seed(name):
    frozen = freeze({"g": GENERATORS[name](), "place": [1.5]})
    seeded = [thaw(with_new_randomness(frozen, seed)) for seed in ((1, 0), (1, 0), (2, 0))]
    first, again, other = (draws(value["g"]) for value in seeded)
    assert first == again
    assert first != other
    assert first != draws(GENERATORS[name]())
    assert all(value["place"] == [1.5] for value in seeded)


# -- what is no value -------------------------------------------------------------------------------------------------

REFUSED = {
    "iterator": lambda: iter([1]),
    "counter": lambda: itertools.count(),
    "lock": lambda: threading.Lock(),
    "file": lambda: open("/dev/null"),  # noqa: SIM115
    "gradient": lambda: torch.zeros(1, requires_grad=True),
    "set of objects": lambda: {Body()},
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_holds_its_state_elsewhere_is_refused_with_its_place(name):
    value = REFUSED[name]()
    with pytest.raises(NotCopyableError) as caught:
        freeze(Body(parts={"first": [0, value]}))
    assert str(caught.value).startswith("parts['first'][1] is a ")
    if name == "file":
        value.close()


def test_a_date_is_a_value_but_has_no_bytes():
    frozen = freeze([datetime.date(2020, 1, 2)])
    assert thaw(frozen) == [datetime.date(2020, 1, 2)]
    with pytest.raises(UsageError, match=r"a datetime.date has no form as bytes: 2020-01-02"):
        to_bytes(frozen)


# -- comparing --------------------------------------------------------------------------------------------------------


def test_differences_are_named_by_their_place():
    first = freeze(Body(a=1.0, b=[1, {"c": np.zeros(3)}], d=(1, 2)))
    second = freeze(Body(a=1, b=[1, {"c": np.array([0.0, -0.0, 0.0])}], d=(1, 3), e=None))
    assert sorted(differences(first, second)) == ["a", "b[1]['c']", "d[1]", "e"]
    assert list(differences(first, first)) == []


def test_equal_values_give_equal_bytes_in_whatever_order_attributes_were_set():
    assert to_bytes(freeze(Body(a=[1], b=[2]))) == to_bytes(freeze(Body(b=[2], a=[1])))
    assert to_bytes(freeze({"a": 1, "b": 2})) != to_bytes(freeze({"b": 2, "a": 1}))


@pytest.mark.parametrize(
    "data", [b"", b"nonsense", b"rl_tracking frozen 1\n", b"rl_tracking frozen 1\n" + b"\xff" * 40]
)
def test_bytes_of_something_else_are_refused(data):
    with pytest.raises(ValueError, match="these bytes hold no saved states of this version"):
        from_bytes(data)


def test_bytes_that_name_a_class_run_none_of_its_code():
    class Loud:
        def __init__(self):
            raise AssertionError("made")

    node = Node("object", "subprocess:Popen", {})
    with pytest.raises(UsageError, match=r"subprocess.Popen, which cannot be made from bytes"):
        thaw(through_bytes(node))
    with pytest.raises(UsageError, match="which is not loaded here"):
        thaw(through_bytes(Node("object", "no_such_module:Thing", {})))
