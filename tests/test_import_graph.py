"""Which files of the package import which: no circles, and few imports a file."""

import ast
import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Mean number of files of this package that a file imports, by room.
MOST = {"restoring": 1.5, "agents": 3.0, "adapters": 3.1, "viewer": 3.4, "studies": 4.0}


def _parsed():
    """Every module of the package by its dotted name; the package itself only lists its lazy public names."""
    files = {
        path: ".".join(path.relative_to(ROOT).with_suffix("").parts) for path in (ROOT / "rl_tracking").rglob("*.py")
    }
    names = {path: name.removesuffix(".__init__") for path, name in files.items()}
    return {name: ast.parse(path.read_text()) for path, name in names.items() if name != "rl_tracking"}


def _statements(tree):
    """All statements and expressions but those for type checkers alone."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            yield node
            waiting += ast.iter_child_nodes(node)


def _imports(tree, known):
    found = set()
    for node in _statements(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            parts = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= parts & known or {node.module}
            found |= {node.module} if parts - known else set()
    return found & known


@pytest.fixture(scope="module")
def graph():
    """Modules to the modules that they import, inside functions too."""
    parsed = _parsed()
    return {name: _imports(tree, set(parsed)) - {name} for name, tree in parsed.items()}


def test_the_graph_knows_an_import_when_it_sees_one(graph):
    assert "rl_tracking.agents.group_model" in graph["rl_tracking.agents.group_policy"]
    assert "rl_tracking.runs.settings" in graph["rl_tracking.cli.train"], "imports inside functions count"
    assert graph["rl_tracking.errors"] == set()


def test_no_files_import_each_other_in_a_circle(graph):
    try:
        order = list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))
    assert len(order) == len(graph)


@pytest.mark.parametrize("room", MOST)
def test_files_of_a_room_import_few_others(graph, room):
    counts = [len(imports) for name, imports in graph.items() if name.startswith(f"rl_tracking.{room}")]
    assert sum(counts) / len(counts) < MOST[room]


def test_the_way_from_a_reward_to_the_gradient_is_short():
    """The walk in the documentation names the files that a reader opens, in their order."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    section = text.split("## From a reward to the gradient")[1].split("\n## ")[0]
    files = re.findall(r"^\d+\. `([\w/]+\.py)`", section, flags=re.M)
    assert 10 <= len(files) <= 14
    assert len(set(files)) == len(files)
    for file in files:
        assert (ROOT / "rl_tracking" / file).is_file(), file
