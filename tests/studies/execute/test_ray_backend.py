"""Cells on a Ray cluster of two nodes, one of which is lost; and clusters that are not there."""

import socket
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from rl_tracking.errors import UsageError
from rl_tracking.studies.execute import run as running
from rl_tracking.studies.execute.cells import cells_of
from rl_tracking.studies.execute.job import Started
from rl_tracking.studies.execute.ray_backend import RayBackend
from tests.studies.conftest import TINY_GRADIENTS, records, timeless

# Says on which node it runs, and is there to be found as long as the node is.
MARKING = """
import pathlib, ray
def marking(step):
    (pathlib.Path({folder!r}) / ray.get_runtime_context().get_node_id()).touch()
    return step.nearest
"""


@pytest.mark.parametrize(
    ("address", "hint"),
    [
        ("127.0.0.1:{free}", "no Ray cluster answers at '127.0.0.1:"),
        ("ray://127.0.0.1:{free}", "no Ray cluster answers at 'ray://127.0.0.1:"),
        ("no-such-host.invalid:6379", "no Ray cluster answers at 'no-such-host.invalid:6379'"),
        ("127.0.0.1", "--address must be HOST:PORT"),
        ("127.0.0.1:many", "--address must be HOST:PORT"),
    ],
)
def test_a_dead_address_is_refused_in_one_line_within_seconds(address, hint):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = address.format(free=free.getsockname()[1])
    pytest.importorskip("ray")  # whose import takes seconds
    before = time.monotonic()
    with pytest.raises(UsageError, match=hint) as error:
        RayBackend(Path(), 0, address)
    assert time.monotonic() - before < 30  # Ray itself would try for minutes
    assert "\n" not in str(error.value)


def test_without_ray_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r'needs the extra .ray.: pip install "rl-tracking\[ray\]"'):
        RayBackend(Path(), 0)


@pytest.fixture
def cluster(monkeypatch):
    """A head and a second node, of one core each; they find this package only as the driver brings it."""
    from ray.cluster_utils import Cluster

    monkeypatch.delenv("PYTHONPATH", raising=False)
    size = {"num_cpus": 1, "object_store_memory": 80_000_000, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=size)
    cluster.second = cluster.add_node(**size)
    cluster.wait_for_nodes()
    yield cluster
    cluster.shutdown()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_lost_node_loses_no_cell(cluster, tiny, tmp_path):
    reward, marks = tmp_path / "reward.py", tmp_path / "marks"
    reward.write_text(MARKING.format(folder=str(marks)))
    marks.mkdir()
    study = tiny(("macro_steps = 256", "seconds = 5"), ('"progress"', f'"{reward}:marking"'))
    events, removed = [], threading.Event()

    def remove():
        while not (marks / cluster.second.node_id).exists():
            time.sleep(0.1)
        cluster.remove_node(cluster.second, allow_graceful=False)
        removed.set()

    threading.Thread(target=remove, daemon=True).start()
    outcome = running.run(
        study, tmp_path / "out", RayBackend(tmp_path / "out", 0, cluster.address), on_event=events.append
    )
    assert removed.is_set()
    assert outcome.failed == ()
    assert sorted(map(str, outcome.finished)) == sorted(map(str, cells_of(study)))
    began = Counter(str(event.job) for event in events if isinstance(event, Started))
    assert sorted(began.values()) == [1, 1, 1, 2]
    for cell in cells_of(study):
        assert records(cell.results(tmp_path / "out"))[-1]["seconds"] >= 5


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_results_on_ray_equal_local_ones_and_failures_are_reported(cluster, tiny, tmp_path):
    rewards = tmp_path / "reward.py"
    rewards.write_text("import os\ndef leaves(step): os._exit(1)\ndef raises(step): raise KeyError('no')")
    variant = '[[variants]]\nname = "{0}"\nalgo = "ppo"\nsettings = {{ reward = "' + str(rewards) + ':{0}" }}\n'
    more = variant.format("leaves") + variant.format("raises") + "[[claims]]"
    study = tiny(("[[claims]]", more), ("seeds = 2", "seeds = 1"))
    outcome = running.run(study, tmp_path / "out", RayBackend(tmp_path / "out", 2, cluster.address))
    errors = {str(failed.job): failed.error for failed in outcome.failed}
    assert "its worker was lost 4 times" in errors["near/leaves/seed-0"]
    assert "raised KeyError: 'no'" in errors["near/raises/seed-0"]
    assert len(outcome.finished) == 2
    for cell in outcome.finished:
        cell.run(tmp_path / "alone", lambda share: None)
        assert timeless(cell.results(tmp_path / "alone")) == timeless(cell.results(tmp_path / "out"))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_gradients_are_measured_on_nodes_that_are_sent_the_files_they_need(cluster, tiny, tmp_path):
    study, folder = tiny(text=TINY_GRADIENTS, checked=False), tmp_path / "out"
    outcome = running.run(study, folder, RayBackend(folder, 2, cluster.address))
    assert outcome.failed == ()
    assert [str(job) for job in outcome.finished[:1]] == ["near/hybrid/seed-0"]
    assert len(outcome.finished) == 7
    assert all(job.finished(folder) for job in outcome.finished)
