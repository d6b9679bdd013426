"""Values that hide something: slots, closures, networks, memory that is shared, pictures."""

import types

import numpy as np
import pytest
import torch

from rl_tracking.adapters.freezing import NotCopyableError
from rl_tracking.adapters.freezing.comparing import differences, same
from tests.adapters.test_freezing import Body, freeze, thaw, through_bytes


class Private:
    __slots__ = ("__n", "plain")

    def __init__(self, n):
        self.__n = n

    @property
    def n(self):
        return self.__n


class MorePrivate(Private):
    __slots__ = ("__n",)

    def __init__(self, n):
        super().__init__(n)
        self.__n = -n

    @property
    def own(self):
        return self.__n


class WithoutAccess(Private):
    """Its attributes are computed, and reading one that is not there does something."""

    def __getattr__(self, name):
        raise AssertionError(f"{name} was asked for")


@pytest.mark.parametrize("cls", [Private, MorePrivate, WithoutAccess])
def test_private_slots_are_saved_and_later_ones_are_removed(cls):
    value = cls(3)
    frozen = freeze(value)
    value.plain = 5
    for back in (thaw(frozen, value), thaw(frozen), thaw(through_bytes(frozen))):
        assert back.n == 3
        assert cls is not MorePrivate or back.own == -3
        assert "plain" not in freeze(back).content
        assert same(freeze(back), frozen)


@pytest.mark.parametrize("base", [float, int, str, list, dict, tuple, np.ndarray, Exception])
def test_objects_of_classes_that_extend_a_built_in_type_are_refused(base):
    cls = type("Own", (base,), {})
    value = np.zeros(2).view(cls) if base is np.ndarray else cls()
    with pytest.raises(NotCopyableError, match="Own, whose state cannot be read"):
        freeze(Body(part=value))


def test_a_namespace_is_its_attributes():
    frozen = freeze(Body(part=types.SimpleNamespace(a=[1])))
    assert thaw(frozen).part.a == [1]


def made_functions():
    count, trail = 0, [[]]

    def tick():
        nonlocal count
        count += 1
        trail.append(count)
        return count

    def seen():
        return count, len(trail)

    return tick, seen


def test_variables_of_closures_are_restored():
    tick, seen = made_functions()
    body = Body(tick=tick, seen=seen)
    tick()
    frozen = freeze(body)
    tick()
    tick()
    assert list(differences(frozen, freeze(body))) == ["seen.count", "seen.trail", "tick.count"]
    thaw(frozen, body)
    assert seen() == (1, 2)
    assert body.tick() == 2
    assert seen() == (2, 3), "both still share them"
    other = Body(**dict(zip(("tick", "seen"), made_functions(), strict=True)))
    for part in (frozen, through_bytes(frozen)):
        thaw(part, other)
        assert other.seen() == (1, 2)
        assert other.tick() == 2
    assert seen() == (2, 3), "of another world"


def test_attributes_of_functions_are_restored():
    def note():
        note.calls.append(1)

    note.calls = []
    body = Body(note=note)
    frozen = freeze(body)
    note()
    thaw(frozen, body)
    assert note.calls == []


def test_a_function_that_remembers_what_cannot_be_copied_is_refused_with_its_variable():
    numbers = iter([1])
    with pytest.raises(NotCopyableError, match=r"draw variable 'numbers' is a builtins.list_iterator"):
        freeze(Body(draw=lambda: next(numbers)))


def network():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3), torch.nn.Dropout(0.5))


def test_buffers_weights_and_mode_of_a_network_are_restored():
    body = Body(network=network())
    frozen = freeze(body)
    before = {name: tensor.clone() for name, tensor in body.network.state_dict().items()}
    kept = list(body.network.parameters())
    other = Body(network=network())
    for part in (frozen, through_bytes(frozen)):
        for holder in (body, other):
            with torch.no_grad():
                holder.network(torch.ones(4, 2))
                for weight in holder.network.parameters():
                    weight.add_(1)
            holder.network.eval()
            thaw(part, holder)
            assert all(torch.equal(now, before[name]) for name, now in holder.network.state_dict().items())
            assert all(module.training for module in holder.network.modules())
    assert all(mine is now for mine, now in zip(kept, body.network.parameters(), strict=True)), "in place"


def test_unchanged_weights_are_not_written_to():
    """They may be those of the policy that learns."""
    body = Body(network=network())
    frozen = freeze(body)
    versions = [weight._version for weight in body.network.parameters()]
    thaw(frozen, body)
    assert [weight._version for weight in body.network.parameters()] == versions


def test_gradients_are_restored():
    body = Body(network=network())
    body.network(torch.ones(4, 2)).sum().backward()
    frozen = freeze(body)
    gradients = [weight.grad.clone() for weight in body.network.parameters()]
    body.network.zero_grad()
    thaw(frozen, body)
    assert all(torch.equal(weight.grad, was) for weight, was in zip(body.network.parameters(), gradients, strict=True))


def test_tensors_and_arrays_that_share_memory_share_it_after_a_restore():
    whole = torch.arange(12.0).reshape(3, 4)
    body = Body(whole=whole, row=whole[1], turned=whole.T[::2], array=whole.numpy()[:, 1])
    for frozen in (freeze(body), through_bytes(freeze(body))):
        back = thaw(frozen)
        back.whole[1, 2] = -5
        back.array[0] = 7
        assert back.row[2] == back.turned[1, 1] == -5
        assert back.whole[0, 1] == 7
        assert whole[1, 2] == 6
        assert same(freeze(thaw(frozen)), freeze(body))


def test_an_array_over_the_memory_of_something_else_is_refused():
    with pytest.raises(NotCopyableError, match="an array over the memory of a"):
        freeze(Body(part=np.frombuffer(bytearray(8), np.uint8)))


def test_a_picture_is_its_pixels():
    pygame = pytest.importorskip("pygame")
    picture = pygame.Surface((4, 3))
    picture.fill((10, 20, 30))
    body = Body(picture=picture, part=picture.subsurface((1, 1, 2, 1)))
    frozen = freeze(body)
    picture.set_at((1, 1), (0, 0, 0))
    assert list(differences(frozen, freeze(body))) == ["part"]
    for part in (frozen, through_bytes(frozen)):
        back = thaw(part, Body(picture=None, part=None))
        assert back.picture.get_at((1, 1))[:3] == back.part.get_at((0, 0))[:3] == (10, 20, 30)
        back.part.fill((1, 1, 1))
        assert back.picture.get_at((1, 1))[:3] == (1, 1, 1)
    assert thaw(frozen, body).picture is picture
    assert picture.get_at((1, 1))[:3] == (10, 20, 30)


def test_an_object_that_holds_a_window_is_not_made_where_there_is_none():
    pygame = pytest.importorskip("pygame")
    painter = Body(clock=pygame.time.Clock(), drawn=3)
    frozen = freeze(Body(painter=painter))
    assert thaw(frozen, Body(painter=None)).painter is None
    painter.drawn = 5
    live = Body(painter=painter)
    assert thaw(frozen, live).painter is painter
    assert painter.drawn == 3
