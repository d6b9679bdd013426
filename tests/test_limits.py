import pytest

from rl_tracking import limits, make_vec
from rl_tracking.agents.collect.checks import rollout_samples
from rl_tracking.agents.hybrid_grpo import HybridGRPO
from rl_tracking.errors import SettingWarning, UsageError
from rl_tracking.runs.settings import resolve
from tests.agents.toys import PLAIN


@pytest.mark.parametrize("value", [-1, 2**32, 1.5, "7", None, True])
def test_what_is_no_seed(value):
    with pytest.raises(UsageError, match=r"^seed must be (a whole number|0 or more|4294967295 or less), not "):
        limits.check_seed(value)


def test_seeds():
    assert [limits.check_seed(seed) for seed in (0, 7, 2**32 - 1)] == [0, 7, 2**32 - 1]


def test_memory_is_asked_for():
    free = limits.available()
    assert 2**20 < free < 2**50
    limits.require(1000, "a thousand bytes", "take fewer")
    with pytest.raises(
        UsageError, match=r"^9 worlds take about [\d,.]+ GiB of memory, and [\d.,]+ GiB are free; fewer$"
    ):
        limits.require(10 * free, "9 worlds", "fewer")


def test_a_container_may_have_less(tmp_path, monkeypatch):
    (tmp_path / "memory.max").write_text("5000\n")
    (tmp_path / "memory.current").write_text("2000\n")
    monkeypatch.setattr(limits, "_CONTROL_GROUP", tmp_path)
    assert limits.available() == 3000
    (tmp_path / "memory.max").write_text("max\n")
    assert limits.available() > 2**20


@pytest.mark.parametrize("number", [0, -4, 1.5, "8", True])
def test_counts_of_worlds(number):
    with pytest.raises(UsageError, match=r"^num_envs must be (a whole number|1 or more), not"):
        make_vec("pursuit", number)


def test_too_many_worlds_are_refused_before_they_are_made():
    with pytest.raises(UsageError, match=r"^1,000,000,000 worlds take about [\d,.]+ GiB of memory, .*; ask for fewer$"):
        make_vec("pursuit", 10**9)


@pytest.mark.parametrize(
    ("pair", "factors"),
    [
        ("num_envs=1000000000", "num_envs x horizon x n_samples"),
        ("n_steps=1000000000", "num_envs x n_steps x n_samples"),
        ("n_samples=1000000000", "num_envs x horizon x n_samples"),
    ],
)
def test_too_large_a_rollout_is_refused_before_it_is_made(pair, factors):
    with pytest.raises(UsageError) as error:
        resolve(pairs=["horizon=400", pair])
    text = str(error.value)
    assert f"samples of a rollout ({factors}) take about" in text
    assert text.endswith(f"GiB are free; ask for less than {pair}")
    assert "\n" not in text


def test_from_python_too():
    with pytest.raises(UsageError, match=r"samples of a rollout .* take about"):
        HybridGRPO("MlpPolicy", make_vec("pursuit", 4), **PLAIN, n_steps=10**9)


def test_samples_of_a_rollout():
    assert rollout_samples({"n_steps": 3, "n_samples": 4, "horizon": 5}, 2) == 40
    assert rollout_samples({"n_steps": 3, "n_samples": 4, "horizon": 0}, 2) == 24, "at least: episodes have any length"
    assert rollout_samples({"n_steps": 3}, 2) == 6
    assert rollout_samples({"n_steps": "many"}, 2) == 2


@pytest.mark.parametrize(("n_steps", "horizon"), [(8, 4), (9, 4), (3, 4), (3, 1)])
def test_samples_are_counted_as_they_are_collected(n_steps, horizon):
    sizes = {"n_steps": n_steps, "horizon": horizon, "n_samples": 3}
    model = HybridGRPO("MlpPolicy", make_vec("pursuit", 2), **PLAIN | sizes).learn(1)
    assert model.rollout.reward.numel() == rollout_samples(sizes, 2)


def test_a_minibatch_larger_than_the_rollout_is_a_warning():
    pairs = ["n_steps=2", "num_envs=4", "n_samples=4", "horizon=1"]
    with pytest.warns(SettingWarning, match="^batch_size 33 is more than the 32 samples of a rollout: "):
        resolve(pairs=[*pairs, "batch_size=33"])
    resolve(pairs=[*pairs, "batch_size=32"])


def test_more_threads_than_cores_are_a_warning():
    with pytest.warns(SettingWarning, match="^threads 1000 are more than the"):
        resolve(pairs=["threads=1000"])
