import copy
import dataclasses
import io
import pickle

import pytest
import torch
from torch import Tensor

from rl_tracking.envs.state import State


@dataclasses.dataclass(frozen=True)
class Toy(State):
    place: Tensor
    count: Tensor
    alive: Tensor


@dataclasses.dataclass(frozen=True)
class Other(State):
    place: Tensor
    count: Tensor
    alive: Tensor


def toy(worlds=3, offset=0.0):
    rows = torch.arange(worlds, dtype=torch.float32)
    return Toy(
        place=torch.stack([rows, rows + 0.5], dim=-1) + offset,
        count=torch.arange(worlds) + 10,
        alive=torch.arange(worlds) % 2 == 0,
    )


def test_length_is_the_number_of_worlds():
    assert len(toy(3)) == 3
    assert len(toy(1)) == 1
    assert toy().device == torch.device("cpu")
    assert list(toy().tensors()) == ["place", "count", "alive"]


@pytest.mark.parametrize(
    ("worlds", "counts"),
    [
        (0, [10]),
        (2, [12]),
        (-1, [12]),
        (-3, [10]),
        (slice(1, None), [11, 12]),
        (torch.tensor([2, 0, 2]), [12, 10, 12]),
        (torch.tensor([True, False, True]), [10, 12]),
    ],
)
def test_index_chooses_worlds_and_keeps_their_axis(worlds, counts):
    chosen = toy()[worlds]
    assert chosen.count.tolist() == counts
    assert chosen.place.tolist() == [[count - 10.0, count - 9.5] for count in counts]
    assert chosen.equal(toy().index(worlds))


@pytest.mark.parametrize("world", [3, -4])
def test_a_world_that_is_not_there(world):
    with pytest.raises(IndexError, match=f"world {world} of 3"):
        toy()[world]


def test_repeat_is_branch_major():
    repeated = toy().repeat(2)
    assert repeated.count.tolist() == [10, 11, 12, 10, 11, 12]
    assert repeated.place.tolist() == [[0, 0.5], [1, 1.5], [2, 2.5]] * 2
    assert repeated.alive.tolist() == [True, False, True] * 2
    # Branch i of world w is row i * B + w.
    assert toy().repeat(4)[3 * 3 + 1].equal(toy()[1])


def test_repeat_keeps_deeper_axes():
    state = toy().replace(place=torch.arange(24.0).view(3, 2, 4))
    assert state.repeat(2).place.shape == (6, 2, 4)
    assert torch.equal(state.repeat(2).place[3:], state.place)


def test_repeat_gives_the_branches_memory_of_their_own():
    state = toy()
    repeated = state.repeat(1)
    repeated.place.add_(1)
    assert state.equal(toy())


@pytest.mark.parametrize("n", [0, -1])
def test_repeat_at_least_once(n):
    with pytest.raises(ValueError, match=f"not {n}"):
        toy().repeat(n)


def test_where_takes_each_world_whole():
    mixed = toy().where(torch.tensor([True, False, True]), toy(offset=100.0))
    assert mixed.place.tolist() == [[0, 0.5], [101, 101.5], [2, 2.5]]
    assert mixed.count.tolist() == [10, 11, 12]


def test_put_replaces_rows():
    fresh = Toy(torch.tensor([[7.0, 8.0], [5.0, 6.0]]), torch.tensor([70, 50]), torch.tensor([True, True]))
    state = toy()
    put = state.put(torch.tensor([2, 0]), fresh)
    assert put.place.tolist() == [[5, 6], [1, 1.5], [7, 8]]
    assert put.count.tolist() == [50, 11, 70]
    assert put.alive.tolist() == [True, False, True]
    assert state.equal(toy())


def test_cat_lines_batches_up():
    both = Toy.cat([toy(2), toy(1, offset=9.0)])
    assert both.count.tolist() == [10, 11, 10]
    assert both.place.tolist() == [[0, 0.5], [1, 1.5], [9, 9.5]]
    assert Toy.cat([toy()[0], toy()[1:]]).equal(toy())


def test_where_put_and_cat_undo_each_other():
    a, b = toy(), toy(offset=3.0)
    assert a.where(torch.tensor([False] * 3), b).equal(b)
    assert a.put(torch.arange(3), b).equal(b)


def test_equal_compares_bits():
    odd = toy().replace(place=torch.tensor([[float("nan"), -0.0], [float("inf"), 1.0], [0.0, 1e-45]]))
    assert odd.equal(odd.map(torch.clone))
    assert not odd.equal(odd.replace(place=odd.place.nan_to_num(nan=1.0)))
    positive_zero = odd.place.clone()
    positive_zero[0, 1] = 0.0
    assert torch.equal(positive_zero[0, 1], odd.place[0, 1]), "the number is the same, its bits are not"
    assert not odd.equal(odd.replace(place=positive_zero))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16])
def test_equal_sees_the_last_bit(dtype):
    one = toy().replace(place=torch.ones(3, 2, dtype=dtype))
    above = one.place.clone()
    above[2, 1] += torch.finfo(dtype).eps
    assert one.differences(one.replace(place=above)) == ["place"]


def test_equal_compares_shape_type_and_class():
    state = toy()
    assert state.equal(toy())
    assert not state.equal(state.repeat(2))
    assert not state.equal(state.replace(place=state.place.double()))
    assert not state.equal(Other(state.place, state.count, state.alive))
    assert not state.equal(None)
    assert not state.equal(3)


def test_differences_name_the_fields():
    state = toy()
    assert state.differences(toy()) == []
    changed = state.replace(place=state.place + 1, alive=~state.alive)
    assert state.differences(changed) == ["place", "alive"]
    assert state.differences(Other(state.place, state.count, state.alive)) == ["Toy is not Other"]


def test_a_state_is_frozen():
    state = toy()
    with pytest.raises(dataclasses.FrozenInstanceError):
        state.place = torch.zeros(3, 2)
    with pytest.raises(dataclasses.FrozenInstanceError):
        del state.count


def test_replace_and_map_leave_the_original_alone():
    state = toy()
    assert state.replace(count=state.count + 1).count.tolist() == [11, 12, 13]
    assert state.map(lambda tensor: tensor.flip(0)).count.tolist() == [12, 11, 10]
    assert isinstance(state.replace(), Toy)
    assert state.equal(toy())


def test_bytes_keep_every_bit():
    state = Toy(
        torch.tensor([[float("nan"), -0.0], [float("-inf"), 1e-45]]),
        torch.tensor([-(2**63), 2**63 - 1]),
        torch.tensor([True, False]),
    )
    back = Toy.from_bytes(state.to_bytes())
    assert back.equal(state)
    assert back.place.view(torch.int32).tolist() == state.place.view(torch.int32).tolist()


def test_bytes_of_a_few_worlds_do_not_carry_all_the_others():
    many = Toy(torch.zeros(20_000, 2), torch.zeros(20_000, dtype=torch.int64), torch.zeros(20_000, dtype=torch.bool))
    assert len(many[5].to_bytes()) < 10_000 < len(many.to_bytes())
    assert Toy.from_bytes(many[5].to_bytes()).equal(many[5])


def test_bytes_are_a_copy():
    state = toy()
    back = Toy.from_bytes(state.to_bytes())
    back.place.add_(1)
    assert state.equal(toy())


@pytest.mark.parametrize("spoil", [lambda data: b"", lambda data: b"garbage", lambda data: data[: len(data) // 2]])
def test_bytes_that_are_no_state(spoil):
    with pytest.raises(ValueError, match="hold no saved Toy"):
        Toy.from_bytes(spoil(toy().to_bytes()))


def test_bytes_of_something_else_that_torch_saved():
    buffer = io.BytesIO()
    torch.save([1, 2, 3], buffer)
    with pytest.raises(ValueError, match="hold no saved Toy"):
        Toy.from_bytes(buffer.getvalue())


def test_bytes_of_another_class():
    state = toy()
    with pytest.raises(ValueError, match="hold a Other, not a Toy"):
        Toy.from_bytes(Other(state.place, state.count, state.alive).to_bytes())


def test_bytes_with_other_fields():
    buffer = io.BytesIO()
    torch.save({"class": "Toy", "fields": {"place": torch.zeros(1)}}, buffer)
    with pytest.raises(ValueError, match="hold a Toy of another version; its fields differ in alive, count"):
        Toy.from_bytes(buffer.getvalue())


ran = []


class Bomb:
    def __reduce__(self):
        return ran.append, (True,)


def test_bytes_run_no_code():
    buffer = io.BytesIO()
    torch.save({"class": "Toy", "fields": Bomb()}, buffer)
    with pytest.raises(ValueError, match="hold no saved Toy"):
        Toy.from_bytes(buffer.getvalue())
    assert ran == []


def test_what_is_derived_is_kept_for_this_state_alone():
    state = toy()
    state.derived["size"] = torch.ones(3)
    assert state.derived["size"].sum() == 3
    for other in (state.replace(count=state.count + 1), state[0], state.repeat(2), copy.deepcopy(state)):
        assert other.derived == {}
    assert list(state.tensors()) == ["place", "count", "alive"], "not part of the value"
    assert state.differences(toy()) == []


def test_a_copy_by_pickle_is_equal():
    state = toy()
    state.derived["size"] = torch.ones(3)
    copied = pickle.loads(pickle.dumps(state))
    assert copied.differences(state) == []
    assert copied.derived == {}
