"""Code that a file names is not run: by no reader, at no depth, unless it is trusted and is what it was."""

import hashlib
import json
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from rl_tracking import evaluate, load_policy, named_code
from rl_tracking.agents.saving import checkpoint
from rl_tracking.errors import UsageError
from rl_tracking.runs.build import build
from rl_tracking.runs.settings import resolve
from rl_tracking.studies.config import reading

SMALL = {"values": {"num_envs": 2, "n_steps": 8, "batch_size": 8, "net_arch": [8]}}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Checkpoints of both kinds of worlds."""
    folder = tmp_path_factory.mktemp("saved")
    for name, given in {"pursuit": {"algo": "ppo"}, "cartpole": {"algo": "ppo", "env": "CartPole-v1"}}.items():
        parameters = {"max_steps": 10} if name == "pursuit" else {}
        model = build(resolve(given=given, parameters=parameters, **SMALL))
        checkpoint.save(model, folder / f"{name}.zip")
    return folder


def ran(evil):
    return (evil / "ran").exists()


def sealed(source, target, change, plugins=()):
    """A checkpoint whose description says something else; every checksum in it is right."""
    with zipfile.ZipFile(source) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    said = json.loads(members["rltrack.json"])
    change(said)
    said["plugins"] += plugins
    members["rltrack.json"] = json.dumps(said).encode()
    with zipfile.ZipFile(target, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return target


def at(*keys, value):
    """A change of a description: ``value`` at the place that ``keys`` lead to."""

    def change(said):
        for key in keys[:-1]:
            said = said[key]
        said[keys[-1]] = value

    return change


def reward(name):
    return "pursuit", at("scenario", "parameters", "reward", value=name)


def env_id(name):
    return "cartpole", at("env", "id", value=name)


def parameter(value):
    return "cartpole", at("env", "parameters", value=value)


KINDS = {
    "a reward in a file": reward("evil.py:f"),
    "a reward in a file, by another way": reward("./evilpkg/../evil.py:f"),
    "a reward in a module": reward("evil:f"),
    "a reward in a package": reward("evilpkg:f"),
    "a reward in a module of a package": reward("evilpkg.mod:f"),
    "a reward of the system": reward("os:system"),
    "a reward of the interpreter": reward("builtins:exec"),
    "a reward in a file without a function": reward("evil.py"),
    "an environment of a module": env_id("evil:Evil-v0"),
    "an environment of a module of a package": env_id("evilpkg.mod:Evil-v0"),
    "a parameter": parameter({"wrapper": "evil:f"}),
    "a parameter with a file": parameter({"script": "evil.py"}),
    "a parameter with dots": parameter({"wrapper": "evilpkg.mod.f"}),
    "a parameter deep within": parameter({"a": [{"b": [1, {"c": "evilpkg.mod:f"}]}]}),
    "a parameter's key": parameter({"a": {"evil.py:f": 1}}),
    "an environment that makes another": (
        "cartpole",
        lambda said: said.update(env={"id": "GymV26Environment-v0", "parameters": {"env_id": "evil:Evil-v0"}}),
    ),
    "a motion": ("pursuit", at("scenario", "parameters", "motion", value="evil:f")),
    "a scenario": ("pursuit", at("scenario", "name", value="evil.py:f")),
    "dynamics": ("pursuit", at("scenario", "parameters", "dynamics", value="evil:f")),
    "a sensor": ("pursuit", at("scenario", "parameters", "sensor", value="evil.py:f")),
    "a policy": ("pursuit", at("policy", "class", value="evil:f")),
    "a policy that is not known": ("pursuit", at("policy", value={"unknown": "evil.py:f"})),
    "an activation function": ("pursuit", at("policy", "activation_fn", value="evil.f")),
    "a features extractor": ("pursuit", at("policy", "features_extractor", value="evil.py:f")),
    "an extractor's argument": ("pursuit", at("policy", "features_extractor_kwargs", value={"features_dim": "evil:f"})),
    "a space": ("pursuit", at("policy", "observation_space", "type", value="evil:f")),
}
# What is named here has no part in an evaluation.
UNUSED = {
    "an algorithm": ("pursuit", at("algorithm", value="evil:f")),
    "a reward activation": ("pursuit", at("hyper_parameters", "reward_activation", value="evil.py:f")),
    "a plugin": (
        "pursuit",
        lambda said: said["plugins"].append({"kind": "reward", "name": "evil.py:f", "source": "file"}),
    ),
    "metrics": ("pursuit", at("metrics", value={"evil.py:f": "evil:f"})),
}


@pytest.mark.parametrize("kind", [*KINDS, *UNUSED])
def test_no_kind_of_named_code_is_run(kind, saved, evil):
    place, change = {**KINDS, **UNUSED}[kind]
    path = sealed(saved / f"{place}.zip", evil / "x.zip", change)
    try:
        evaluate(path, 1)
    except UsageError as error:
        assert kind in KINDS
        assert "\n" not in str(error)  # noqa: PT017
    else:
        assert kind in UNUSED
    assert not ran(evil)


TRUSTED = ["a reward in a file", "a reward in a module", "a reward in a package", "a reward in a module of a package"]
TRUSTED += ["an environment of a module", "an environment of a module of a package"]


@pytest.mark.parametrize("kind", TRUSTED)
def test_it_runs_where_it_is_trusted_and_is_what_it_was(kind, saved, evil):
    place, change = KINDS[kind]
    said = {}
    sealed(saved / f"{place}.zip", evil / "x.zip", lambda found: (change(found), said.update(found)))
    name = said["env"]["id"] if place == "cartpole" else said["scenario"]["parameters"]["reward"]
    digest = hashlib.sha256((evil / "evil.py").read_bytes()).hexdigest()  # all copies are the same
    plugin = {"kind": "it", "name": name, "source": "file", "sha256": digest}

    path = sealed(saved / f"{place}.zip", evil / "x.zip", change, [plugin])
    with pytest.raises(UsageError, match="if you trust it, add --trust"):
        evaluate(path, 1)
    assert not ran(evil)
    other = sealed(saved / f"{place}.zip", evil / "y.zip", change, [plugin | {"sha256": "0" * 64}])
    with pytest.raises(UsageError, match=f"sha256 {digest}.*which has changed since .then sha256 {'0' * 64}"):
        evaluate(other, 1, trust=True)
    assert not ran(evil)
    silent = sealed(saved / f"{place}.zip", evil / "z.zip", change)
    with pytest.raises(UsageError, match="nothing says what it was"):
        evaluate(silent, 1, trust=True)
    assert not ran(evil)
    assert evaluate(path, 1, trust=True)["episodes"] == 1
    assert ran(evil)


def test_a_trusted_policy_is_trusted_wherever_it_is_used(saved, evil):
    place, change = KINDS["a reward in a file"]
    digest = hashlib.sha256((evil / "evil.py").read_bytes()).hexdigest()
    plugin = {"kind": "reward", "name": "evil.py:f", "source": "file", "sha256": digest}
    path = sealed(saved / f"{place}.zip", evil / "x.zip", change, [plugin])
    policy = load_policy(path)  # runs nothing: what it names has no part in acting
    with pytest.raises(UsageError, match=r"reward 'evil\.py:f' is code in file 'evil\.py'"):
        evaluate(policy, 1)
    assert not ran(evil)
    evaluate(load_policy(path, trust=True), 1)
    assert ran(evil)


def test_a_checkpoint_says_the_digests_of_the_code_it_names(evil):
    model = build(resolve(given={"algo": "ppo", "reward": "evilpkg.mod:f"}, parameters={"max_steps": 10}, **SMALL))
    checkpoint.save(model, evil / "x.zip")
    (evil / "ran").unlink()
    evaluate(evil / "x.zip", 1, trust=True)
    with (evil / "evilpkg" / "mod.py").open("a") as file:
        file.write("# changed\n")
    with pytest.raises(UsageError, match="which has changed since"):
        evaluate(evil / "x.zip", 1, trust=True)
    model = build(resolve(given={"algo": "ppo", "env": "evil:Evil-v0"}, **SMALL))
    checkpoint.save(model, evil / "y.zip")
    evaluate(evil / "y.zip", 1, trust=True)
    with pytest.raises(UsageError, match="environment 'evil:Evil-v0' is code in module 'evil'"):
        evaluate(evil / "y.zip", 1)


@pytest.mark.parametrize("name", ["evil", "evilpkg", "evilpkg.mod"])
def test_code_is_found_without_running_it(name, evil):
    found = named_code.find(f"{name}:f", "reward")
    assert found.sha256 == hashlib.sha256((evil / "evil.py").read_bytes()).hexdigest()
    assert not ran(evil)


@pytest.mark.parametrize(
    "text",
    [
        "https://example.org/a",
        "ant.xml",
        "no_such:thing",
        "a b:c",
        "human",
        "x" * 1000,
        "",
        "tracking",
        "random-walk",
        "CartPole-v1",
        "ALE/Pong-v5",
        "linear:1e-3",
        "linear:1e-3:1e-4",
        "12:30",
        "auto_0.1",
    ],
)
def test_what_names_no_code(text):
    assert named_code.find(text, "parameter") is None


# -- config files and studies -----------------------------------------------------------------------------------------

CONFIGS = {
    "a reward": '[parameters]\nreward = "evil.py:f"',
    "an activation": '[arguments]\nreward_activation = "evil:f"',
    "an environment": 'env = "evil:Evil-v0"',
    "an environment behind a parameter of that name": 'env = "evil:Evil-v0"\n[parameters]\nenv = "CartPole-v1"',
    "a parameter behind an argument": 'env = "CartPole-v1"\n[parameters]\ngamma = "evil:f"\n[arguments]\ngamma = 0.9',
    "a parameter of an environment": 'env = "CartPole-v1"\n[parameters.deep]\nlist = [["evil.py:f"]]',
}


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_config_file_runs_nothing(kind, evil):
    (evil / "c.toml").write_text(CONFIGS[kind])
    # The command line gives None for what it was not given.
    for given in (None, {"reward": None, "env": None, "algo": None}):
        with pytest.raises(UsageError, match=r"config file 'c\.toml' names code, which is not run: .*name it yourself"):
            resolve(file=Path("c.toml"), given=given)
    assert not ran(evil)


def test_a_config_file_may_be_overruled_or_trusted(evil):
    (evil / "c.toml").write_text(CONFIGS["a reward"])
    assert resolve(file=Path("c.toml"), given={"reward": "sparse"}).parameters["reward"] == "sparse"
    assert resolve(file=Path("c.toml"), pairs=["reward=sparse"]).parameters["reward"] == "sparse"
    assert not ran(evil)
    assert resolve(file=Path("c.toml"), given={"reward": "evil.py:f"}).parameters["reward"] == "evil.py:f"
    assert resolve(file=Path("c.toml"), trust=True).parameters["reward"] == "evil.py:f"


def test_a_run_s_own_config_file_holds_it_to_the_digest(evil):
    import tomli_w

    (evil / "c.toml").write_text(tomli_w.dumps(resolve(given={"reward": "evil.py:f"}).to_dict()))
    resolve(file=Path("c.toml"), trust=True)
    with (evil / "evil.py").open("a") as file:
        file.write("# changed\n")
    with pytest.raises(UsageError, match="which has changed since"):
        resolve(file=Path("c.toml"), trust=True)


STUDY = """
title = "t"
question = "q"
seeds = 1
[budget]
macro_steps = 64
[[tasks]]
name = "p"
scenario = "pursuit"
metric = "capture_rate"
[tasks.parameters]
max_steps = 10
{task}
[[variants]]
name = "v"
algo = "ppo"
[variants.settings]
n_steps = 8
batch_size = 8
{variant}
{end}
"""
ESTIMATOR = """
[gradients]
checkpoints = [0.5]
[[gradients.estimators]]
name = "e"
algo = "grpo"
settings = { reward_activation = "evil:f" }
"""
STUDIES = {
    "a task": {"task": 'reward = "evil.py:f"'},
    "a variant": {"variant": 'reward = "evil:f"'},
    "a variant on a task": {"end": '[variants.on.p]\nreward = "evilpkg.mod:f"'},
    "an estimator": {"end": ESTIMATOR},
    "what is tried": {"end": '[tune]\n[tune.space]\nreward = { choices = ["sparse", "evil:f"] }'},
}


@pytest.mark.parametrize("kind", STUDIES)
def test_a_study_runs_nothing(kind, evil):
    places = {"task": "", "variant": "", "end": ""}
    (evil / "s.toml").write_text(STUDY.format(**{**places, **STUDIES[kind]}))
    with pytest.raises(UsageError, match=r"study file 's\.toml' names code, which is not run: reward"):
        reading.load(Path("s.toml"))
    assert not ran(evil)
    if kind not in ("what is tried", "an estimator"):  # neither is run with PPO
        reading.load(Path("s.toml"), trust=True)
        assert ran(evil)


@pytest.mark.parametrize("name", reading.shipped())
def test_no_shipped_study_names_code(name):
    content = tomllib.loads(reading.find(name).read_text(encoding="utf-8"))
    parts = [content["tasks"], content["variants"], content.get("gradients", {})]
    assert not list(named_code.find_all(parts, "setting", ("reward", "reward_activation")))


# -- the command line -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [["eval", "--episodes", "2"], ["watch", "--headless", "--screenshot", "a.png"]])
@pytest.mark.parametrize("kind", ["a reward in a file", "an environment of a module"])
def test_commands_say_in_one_line_what_they_do_not_run(command, kind, saved, evil, monkeypatch, capsys):
    from rl_tracking.cli.main import main

    place, change = KINDS[kind]
    sealed(saved / f"{place}.zip", evil / "x.zip", change)
    monkeypatch.setattr(sys, "argv", ["rltrack", command[0], "x.zip", *command[1:]])
    with pytest.raises(SystemExit) as left:
        main()
    lines = capsys.readouterr().err.splitlines()
    assert left.value.code == 2
    assert len(lines) == 1
    assert "rltrack: checkpoint 'x.zip' names code, which is not run:" in lines[0]
    assert "add --trust" in lines[0]
    assert not ran(evil)
    assert not (evil / "a.png").exists()


def test_training_by_a_config_file_says_in_one_line_what_it_does_not_run(evil, monkeypatch, capsys):
    from rl_tracking.cli.main import main

    (evil / "c.toml").write_text(CONFIGS["a reward"])
    monkeypatch.setattr(sys, "argv", ["rltrack", "train", "--config", "c.toml", "--out", "run"])
    with pytest.raises(SystemExit) as left:
        main()
    lines = capsys.readouterr().err.splitlines()
    assert left.value.code == 2
    assert len(lines) == 1
    assert "config file 'c.toml' names code, which is not run: reward 'evil.py:f'" in lines[0]
    assert not ran(evil)
    assert not (evil / "run").exists()
