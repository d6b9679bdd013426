"""Watching while training: readings of the global generators, and the comparison of steps bit by bit."""

import copy
import pickle
import random

import numpy as np
import pytest
import torch

from rl_tracking.errors import RunError
from rl_tracking.restoring import global_generators
from rl_tracking.restoring.global_generators import GlobalGenerators
from rl_tracking.restoring.step_rows import Difference, StepRows, first_difference
from rl_tracking.restoring.watching import RestoringFailedError

DRAWS = {
    "random.random": (random.random, "Python's random"),
    "random.choice": (lambda: random.choice([1, 2]), "Python's random"),
    "random.shuffle": (lambda: random.shuffle([1, 2, 3]), "Python's random"),
    "random.seed": (lambda: random.seed(5), "Python's random"),
    "624 words of random": (lambda: [random.getrandbits(32) for _ in range(624)], "Python's random"),
    "np.random.rand": (np.random.rand, "NumPy's np.random"),
    "np.random.randint": (lambda: np.random.randint(5), "NumPy's np.random"),
    "np.random.seed": (lambda: np.random.seed(5), "NumPy's np.random"),
    "np.random.permutation": (lambda: np.random.permutation(5), "NumPy's np.random"),
    "624 words of np.random": (lambda: np.random.bytes(4 * 624), "NumPy's np.random"),
    "torch.rand": (lambda: torch.rand(()), "PyTorch's torch"),
    "torch.manual_seed": (lambda: torch.manual_seed(5), "PyTorch's torch"),
    "torch.randperm": (lambda: torch.randperm(3), "PyTorch's torch"),
    "624 words of torch": (lambda: torch.rand(624), "PyTorch's torch"),
    "nn.Linear": (lambda: torch.nn.Linear(2, 2), "PyTorch's torch"),
}


@pytest.fixture(autouse=True)
def generators_stay():
    """Tests that draw leave the generators as they were."""
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()
    yield
    random.setstate(before[0])
    np.random.set_state(before[1])
    torch.set_rng_state(before[2])


@pytest.mark.parametrize("draw", DRAWS)
def test_a_draw_is_seen_and_its_generator_named(draw):
    function, name = DRAWS[draw]
    generators = GlobalGenerators()
    for _ in range(3):
        before = generators.read()
        function()
        assert generators.moved_since(before) == [name]
        random.random(), np.random.rand(), torch.rand(())  # so that the same seed again is a move again


@pytest.mark.parametrize("draw", DRAWS)
def test_a_draw_is_seen_where_memory_is_not_laid_out_as_expected(draw, monkeypatch):
    monkeypatch.setattr(global_generators, "_holds", lambda address, words: False)
    test_a_draw_is_seen_and_its_generator_named(draw)


def test_the_second_of_two_normal_numbers_of_python_is_seen():
    generators = GlobalGenerators()
    for _ in range(4):
        before = generators.read()
        random.gauss(0, 1)
        assert generators.moved_since(before) == ["Python's random"]


@pytest.mark.parametrize("draw", [np.random.normal, lambda: torch.randn(())])
def test_of_two_normal_numbers_of_numpy_and_torch_one_is_seen(draw):
    generators, seen = GlobalGenerators(), 0
    for _ in range(4):
        before = generators.read()
        draw()
        seen += bool(generators.moved_since(before))
    assert seen == 2


def test_memory_is_read_where_this_python_numpy_and_torch_keep_their_generators():
    assert [getattr(reader, "func", None) for reader in GlobalGenerators()._readers] == [getattr] * 2 + [
        getattr,
        None,
        getattr,
    ]


def test_another_generator_in_place_of_numpys_is_seen():
    generators, own = GlobalGenerators(), np.random.get_bit_generator()
    before = generators.read()
    try:
        np.random.set_bit_generator(np.random.PCG64(3))
        assert generators.moved_since(before) == ["NumPy's np.random"]
        other = GlobalGenerators()
        before = other.read()
        assert other.moved_since(before) == []
        np.random.rand()
        assert other.moved_since(before) == ["NumPy's np.random"]
    finally:
        np.random.set_bit_generator(own)


def test_a_copy_reads_the_same_generators():
    for generators in (copy.deepcopy(GlobalGenerators()), pickle.loads(pickle.dumps(GlobalGenerators()))):
        before = generators.read()
        assert generators.moved_since(before) == []
        random.random()
        np.random.rand()
        assert generators.moved_since(before) == ["Python's random", "NumPy's np.random"]


def test_other_generators_are_not_read_and_reading_draws_nothing():
    generators = GlobalGenerators()
    before, states = generators.read(), (random.getstate(), np.random.get_state(), torch.get_rng_state())
    random.Random(3).random()
    np.random.default_rng(3).normal()
    np.random.RandomState(3).rand()
    torch.rand((), generator=torch.Generator().manual_seed(3))
    assert generators.moved_since(before) == []
    assert random.getstate() == states[0]
    assert np.array_equal(np.random.get_state()[1], states[1][1])
    assert torch.equal(torch.get_rng_state(), states[2])


def result(observation=((1.0, 2.0), (3.0, 4.0)), reward=(0.5, 0.25), ended=(), truncated=(), terminal=(9.0, 9.0)):
    """What ``VecEnv.step`` returns of two worlds."""
    infos = [{"TimeLimit.truncated": world in truncated} for world in (0, 1)]
    for world in ended:
        infos[world]["terminal_observation"] = np.array(terminal)
    done = np.array([world in ended for world in (0, 1)])
    return np.array(observation), np.array(reward, dtype=np.float32), done, infos


def test_equal_steps_do_not_differ():
    for arguments in ({}, {"ended": (1,)}, {"ended": (0, 1), "truncated": (1,)}, {"reward": (np.nan, 0.0)}):
        assert first_difference(StepRows.of(result(**arguments)), StepRows.of(result(**arguments))) is None


@pytest.mark.parametrize(
    ("change", "world", "field"),
    [
        ({"observation": ((1.0, 2.0), (3.0, np.nextafter(4.0, 5.0)))}, 1, "observation at index 1"),
        ({"reward": (0.5, np.nextafter(np.float32(0.25), np.float32(1)))}, 1, "reward"),
        ({"reward": (-0.0, 0.25)}, 0, "reward"),
        ({"ended": (0,)}, 0, "termination"),
        ({"ended": (1,), "truncated": (1,)}, 1, "truncation"),
    ],
)
def test_the_first_bit_that_differs_is_named(change, world, field):
    plain = result(reward=(0.0, 0.25)) if "reward" in change and change["reward"][0] == 0 else result()
    found = first_difference(StepRows.of(result(**change)), StepRows.of(plain))
    assert (found.world, found.field) == (world, field)
    assert found.values[0] != found.values[1]


def test_a_terminal_observation_and_the_next_episodes_first_one_are_compared():
    one = StepRows.of(result(ended=(1,)))
    assert first_difference(one, StepRows.of(result(ended=(1,), terminal=(9.0, 8.0)))) == Difference(
        1, "observation at index 1", ("9.0", "8.0")
    )
    other = StepRows.of(result(ended=(1,), observation=((1.0, 2.0), (3.5, 4.0))))
    assert first_difference(one, other) == Difference(
        1, "first observation of the next episode at index 0", ("3.0", "3.5")
    )
    assert first_difference(one, other, next_episode=False) is None


def test_rounding_is_no_difference_unless_steps_must_be_exact():
    one, other = (StepRows.of(result(observation=((1e3, number), (3.0, 4.0)))) for number in (0.1, 0.1 + 1e-12))
    assert first_difference(one, other).field == "observation at index 1"
    assert first_difference(one, other, exact=False) is None
    far = StepRows.of(result(observation=((1e3, 0.1 + 1e-9), (3.0, 4.0))))
    assert first_difference(one, far, exact=False).field == "observation at index 1"
    ends = StepRows.of(result(observation=((1e3, 0.1), (3.0, 4.0)), ended=(0,)))
    assert first_difference(one, ends, exact=False).field == "termination"
    holes = [StepRows.of(result(reward=(np.nan, 0.25 + extra))) for extra in (0.0, 1e-6)]
    assert first_difference(*holes, exact=False) is None


def test_differences_in_dicts_images_and_types_are_found():
    def rows(**parts):
        return StepRows.of(({name: np.array(part) for name, part in parts.items()}, *result()[1:]))

    one = rows(place=[[1.0], [2.0]], step=[3, 4])
    assert first_difference(one, rows(place=[[1.0], [2.0]], step=[3, 4])) is None
    assert first_difference(one, rows(place=[[1.0], [2.0]], step=[3, 5])) == Difference(
        1, "observation 'step'", ("4", "5")
    )
    assert first_difference(one, rows(place=[[1.0], [2.0]], step=[3.0, 4.0])).field == "form of the observation 'step'"
    image = np.zeros((2, 4, 4, 3), np.uint8)
    other = image.copy()
    other[1, 2, 3, 0] = 7
    found = first_difference(StepRows.of((image, *result()[1:])), StepRows.of((other, *result()[1:])))
    assert found == Difference(1, "observation at index (2, 3, 0)", ("0", "7"))


def test_steps_are_copies_of_the_arrays_that_an_env_returns():
    returned = result(ended=(0,))
    step = StepRows.of(returned)
    for array in (*returned[:3], returned[3][0]["terminal_observation"]):
        array[...] = 0
    assert first_difference(step, StepRows.of(result(ended=(0,)))) is None


def test_the_error_says_when():
    error = RestoringFailedError("Toy-v0", "another reward", "draw otherwise", row=1)
    error.locate(macro_step=120)
    assert isinstance(error, RunError)
    said = "Toy-v0 is not restored faithfully: another reward, in world 1 after macro-step 120; draw otherwise"
    assert str(error) == said


@pytest.mark.gpu
def test_a_draw_on_a_gpu_is_seen():
    torch.rand((), device="cuda")
    generators = GlobalGenerators()
    before = generators.read()
    torch.ones(3, device="cuda")
    assert generators.moved_since(before) == []
    torch.rand((), device="cuda")
    assert generators.moved_since(before) == ["PyTorch's torch.cuda"]
