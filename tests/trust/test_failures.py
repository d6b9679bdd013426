"""Environments and rewards that fail, in every algorithm: one line that says where, a step that can be made again."""

import re
import time
import zipfile

import pytest
import torch
from hypothesis import HealthCheck, given, settings, strategies

from rl_tracking import load_policy
from rl_tracking.errors import RunError, UsageError
from rl_tracking.runs import crash as crash_files
from rl_tracking.runs import train as training
from rl_tracking.runs.settings import resolve
from tests.failing_envs import ID, RESETS, STEPS, check_line

ALGOS = ("hybrid-grpo", "grpo", "ppo", "trpo", "reinforce")
OPTIONS = {
    "hybrid-grpo": ["n_samples=2", "horizon=1", "batch_size=40", "n_epochs=1", "n_steps=40"],
    "hybrid-grpo paths": ["n_samples=2", "horizon=4", "batch_size=40", "n_epochs=1", "n_steps=40"],
    "grpo": ["n_samples=2", "n_steps=4"],
    "ppo": ["batch_size=40", "n_epochs=1", "n_steps=40"],
    "trpo": ["batch_size=40", "n_steps=40"],
    "reinforce": ["n_steps=40"],
}

# Rewards of a file: what they do, and what is to be said.
REWARDS = {
    "raises": ("raise KeyError('no')", r"raised KeyError: 'no' \({file}:4\)"),
    "misspells": ("return step.nearst", r"\({file}:4\); did you mean 'nearest'\? step offers action, after, before, "),
    "leaves": ("sys.exit(0)", r"raised SystemExit: 0 \({file}:4\)"),
    "complex": ("return step.nearest * 1j", "returned complex numbers; it must return real ones"),
    "shape": ("return step.distance", r"returned shape \[\d+, 1\]; it must return one number a world"),
    "number": ("return 1.0", "returned a float; it must return a tensor"),
    "nan": ("return step.nearest * float('nan')", "returned nan; it must be finite, in .* at step 12 of its episode"),
    "inf": ("return step.nearest / 0", "returned inf; it must be finite, in .* at step 12 of its episode"),
}
HONEST = "def f(step):\n    return (step.captured + 1.0) * 0.5 - step.nearest\n"
IN_PLACE = """
def f(step):
    captured, nearest = step.captured + 1.0, step.nearest
    captured *= 0.5
    captured -= nearest
    for value in (step, step.before, step.after, step.facts):
        for name in dir(value):
            tensor = getattr(value, name)
            if hasattr(tensor, "zero_"):
                tensor.zero_()
    return captured
"""


def told(algo, place, *pairs, steps=600):
    shared = ["num_envs=2", "net_arch=[8]", *OPTIONS[algo]]
    return resolve(given={"algo": algo.split()[0], "steps": steps, "seed": 0, **place}, pairs=[*shared, *pairs])


def failed(settings_, folder):
    with pytest.raises((RunError, UsageError)) as caught:
        training.train(settings_, folder, episodes=1)
    line = str(caught.value)
    assert "\n" not in line
    replay = re.search(r"`rltrack replay (\S+)( --trust)?` repeats the step; ", line)
    kept = re.search(r"the checkpoint '(.*)' of macro-step ([\d,]+) is intact$", line)
    if kept:
        assert load_policy(kept[1]).description["macro_steps"] == int(kept[2].replace(",", ""))
    else:
        assert line.endswith("no checkpoint exists yet")
    assert re.search(r" after macro-step \d+", line)
    return line, replay and replay[1]


# -- environments -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("algo", OPTIONS)
@pytest.mark.parametrize("wrong", [*STEPS, *RESETS])
def test_every_failure_of_an_environment_is_named_in_every_algorithm(algo, wrong, tmp_path):
    pairs = [f"wrong={wrong}", "max_episode_steps=10", "normalize=false"]
    line, crash = failed(told(algo, {"env": ID}, *pairs), tmp_path / "run")
    check_line(line, wrong)
    assert re.search(r"in (branch \d of )?world \d", line)
    made = crash_files.replay(crash)
    assert made.same, made
    assert line.startswith(made.again)


# -- rewards ----------------------------------------------------------------------------------------------------------


def bad_reward(tmp_path, name):
    body, said = REWARDS[name]
    path = tmp_path / "bad.py"
    condition = "if bool((step.before.step == 12).any()):"
    path.write_text(f"import sys\ndef f(step):\n    {condition}\n        {body}\n    return -step.nearest\n")
    return path, said.format(file=re.escape(str(path)))


@pytest.mark.parametrize(
    ("algo", "name"),
    [
        pytest.param(algo, name, marks=() if (i + j) % len(REWARDS) == 0 else pytest.mark.slow)
        for i, algo in enumerate(OPTIONS)
        for j, name in enumerate(REWARDS)
    ],
)
def test_every_failure_of_a_reward_is_named_in_every_algorithm(algo, name, tmp_path):
    path, said = bad_reward(tmp_path, name)
    line, crash = failed(told(algo, {}, f"reward={path}:f", "max_steps=20"), tmp_path / "run")
    assert line.startswith(f"reward '{path}:f' ")
    assert re.search(said, line), line
    made = crash_files.replay(crash, trust=True)
    assert made.same, made
    assert made.before["step"] == 12
    assert made.terms == {"f": made.again}


@pytest.mark.parametrize("algo", OPTIONS)
def test_a_reward_that_changes_all_it_is_given_trains_as_one_that_does_not(algo, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "compare", lambda *_: [{"policy": "none"}])
    weights = []
    for name, text in (("honest", HONEST), ("in_place", IN_PLACE)):
        path = tmp_path / f"{name}.py"
        path.write_text(text)
        budget = 8 if algo == "grpo" else 80
        result = training.train(
            told(algo, {}, f"reward={path}:f", "max_steps=20", "spawn_radius=2.0", steps=budget), tmp_path / name
        )
        weights.append(load_policy(result.path)._policy.state_dict())
    assert weights[0].keys() == weights[1].keys()
    for name, tensor in weights[0].items():
        assert torch.equal(tensor, weights[1][name]), name


# -- crash files ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def crash(tmp_path_factory):
    folder = tmp_path_factory.mktemp("crash")
    path, _ = bad_reward(folder, "nan")
    _, file = failed(told("hybrid-grpo", {}, f"reward={path}:f", "max_steps=20"), folder / "run")
    with open(file, "rb") as content:
        return content.read()


@pytest.mark.parametrize("examples", [30, pytest.param(3000, marks=pytest.mark.slow)])
def test_a_damaged_crash_file_is_one_line_or_does_no_harm(crash, examples, tmp_path):
    file = tmp_path / "crash-0.zip"

    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    @given(strategies.data())
    def damaged(data):
        content = bytearray(crash)
        for _ in range(data.draw(strategies.integers(1, 4))):
            at = data.draw(strategies.integers(0, len(content) - 1))
            kind = data.draw(strategies.sampled_from(("byte", "cut", "drop", "double")))
            if kind == "byte":
                content[at] = data.draw(strategies.integers(0, 255))
            elif kind == "cut":
                del content[at:]
            elif kind == "drop":
                del content[at : at + 40]
            else:
                content[at:at] = content[at : at + 40]
            if not content:
                break
        file.write_bytes(content)
        replays(file)

    damaged()


@pytest.mark.parametrize("examples", [30, pytest.param(3000, marks=pytest.mark.slow)])
def test_a_crash_file_that_says_something_else_is_one_line_or_does_no_harm(crash, examples, tmp_path):
    """Every member may be another, with checksums that are right."""
    import hashlib
    import io
    import json

    with zipfile.ZipFile(io.BytesIO(crash)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    plain = strategies.one_of(
        strategies.none(),
        strategies.booleans(),
        strategies.integers(-(2**70), 2**70),
        strategies.floats(),
        strategies.text(max_size=20),
        strategies.just("os:system"),
        strategies.just([]),
        strategies.just({}),
    )
    file = tmp_path / "crash-0.zip"

    def leaves(value, path=()):
        items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for key, item in items:
            yield (*path, key)
            yield from leaves(item, (*path, key))

    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    @given(strategies.data())
    def altered(data):
        said = json.loads(members["crash.json"])
        content = dict(members)
        if data.draw(strategies.booleans()):
            *path, last = data.draw(strategies.sampled_from(sorted(leaves(said), key=str)))
            place = said
            for key in path:
                place = place[key]
            place[last] = data.draw(plain)
        else:
            name = data.draw(strategies.sampled_from(("states.bin", "actions.bin")))
            changed = bytearray(content[name])
            changed[data.draw(strategies.integers(0, len(changed) - 1))] ^= data.draw(strategies.integers(1, 255))
            content[name] = bytes(changed)
            digest = {"size": len(changed), "sha256": hashlib.sha256(changed).hexdigest()}
            said["members"][name] = digest
        content["crash.json"] = json.dumps(said).encode()
        with zipfile.ZipFile(file, "w") as archive:
            for name, member in content.items():
                archive.writestr(name, member)
        replays(file)

    altered()


def replays(file):
    """Replaying gives a result, or one line."""
    said, started = "", time.process_time()  # of this process alone: others may share its core
    try:
        crash_files.replay(file, trust=True).to_dict()
    except (UsageError, RunError) as error:
        said = str(error)
    assert "\n" not in said
    assert time.process_time() - started < 5.0
