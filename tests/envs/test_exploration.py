import pytest
import torch

from rl_tracking.envs import layout
from rl_tracking.envs.parts.exploration import Grid


def test_cells_by_hand():
    grid = Grid.over(500.0, 25.0, 3)
    assert (grid.cells, grid.total) == (20, 8000)
    position = torch.tensor([[[0.0, 24.9, 25.0], [499.0, 500.0, -1.0]]])
    assert grid.places(position).tolist() == [[[0, 0, 1], [19, 19, 0]]]
    assert grid.index(grid.places(position)).tolist() == [[1, 19 * 400 + 19 * 20]]
    assert Grid.over(10.0, 3.0, 2).total == 16, "the last cells reach over the wall"


@pytest.mark.parametrize(("dimensions", "cell"), [(2, 7.0), (3, 12.5)])
def test_against_sets(dimensions, cell):
    """Many steps of several pursuers, against a set of cells for each world."""
    grid, worlds = Grid.over(50.0, cell, dimensions), 5
    path = torch.rand(60, worlds, 3, dimensions, generator=torch.Generator().manual_seed(0)) * 50
    visited, counts = grid.start(layout.worlds_fastest(path[0]))
    seen = [{tuple(p) for p in (path[0, w] // cell).int().tolist()} for w in range(worlds)]
    for position in path[1:]:
        before = visited.clone()
        visited, counts = grid.visit(visited, counts, layout.worlds_fastest(position))
        assert torch.equal(visited & before, before), "what has been visited stays so"
        for world in range(worlds):
            seen[world] |= {tuple(p) for p in (position[world] // cell).int().tolist()}
    assert counts.sum(dim=-1).tolist() == [len(cells) for cells in seen]
    flags = grid.is_visited(visited, torch.arange(grid.total)).view(worlds, *[grid.cells] * dimensions)
    for world in range(worlds):
        assert {tuple(place) for place in flags[world].nonzero().tolist()} == seen[world]


def test_two_in_one_cell_visit_it_once_and_no_state_is_changed():
    grid = Grid.over(100.0, 10.0, 3)
    visited, counts = grid.start(torch.full((1, 2, 3), 5.0))
    assert counts.sum().item() == 1
    kept, number = visited.clone(), counts.clone()
    after, more = grid.visit(visited, counts, torch.tensor([[[15.0, 5, 5], [16.0, 5, 5]]]))
    assert more.sum().item() == 2
    assert torch.equal(visited, kept)
    assert torch.equal(counts, number)
    assert not torch.equal(after, kept)


def test_the_highest_bit_of_a_word():
    grid = Grid.over(640.0, 10.0, 2)  # 64 cells along y: one word a column
    visited, _ = grid.start(torch.tensor([[[5.0, 635.0]]]))
    assert grid.is_visited(visited, torch.tensor([62, 63, 64])).tolist() == [[False, True, False]]


def test_blocks_are_halves():
    grid = Grid.over(40.0, 10.0, 2)
    _, counts = grid.start(torch.tensor([[[1.0, 1.0], [1.0, 39.0], [39.0, 1.0], [31.0, 11.0], [39.0, 39.0]]]))
    assert counts.tolist() == [[1, 1, 2, 1]]
    assert grid.share(counts).tolist() == [[0.25, 0.25, 0.5, 0.25]]
