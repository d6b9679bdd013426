"""The one zip: what is in it, who may read it, and that reading it opens no pickle."""

import base64
import builtins
import hashlib
import io
import json
import math
import os
import pickle
import re
import zipfile
from pathlib import Path

import cloudpickle
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import VecNormalize

import rl_tracking
from rl_tracking import HybridGRPO, load_policy
from rl_tracking.agents.saving import checkpoint, description
from rl_tracking.agents.saving.checkpoint import read_description
from rl_tracking.errors import UsageError
from rl_tracking.runs.shipped import shipped_checkpoints
from rl_tracking.runs.tasks import task_of
from tests.agents.toys import PLAIN, SMALL, LineVecEnv, hybrid, one_line, plain_arguments, tracking


@pytest.fixture(scope="module")
def model():
    return hybrid(tracking(wind_speed=1.0)).learn(24)


@pytest.fixture
def path(model, tmp_path):
    model.save(tmp_path / "checkpoint.zip")
    return tmp_path / "checkpoint.zip"


def observations(model, number=9):
    return np.random.default_rng(0).normal(size=(number, *model.observation_space.shape)).astype(np.float32)


def assert_same_actions(mine, theirs, seen):
    np.testing.assert_array_equal(
        mine.predict(seen, deterministic=True)[0], theirs.predict(seen, deterministic=True)[0]
    )


def rewritten(path, checksums=True, **members):
    """The zip with some members replaced (bytes), or left out (None); ``__`` stands for the dot of a name.

    Checksums are put right, as whoever means harm would do.
    """
    changes = {name.replace("__", "."): data for name, data in members.items()}
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    content.update(changes)
    if checksums and "rltrack.json" not in changes:
        said = json.loads(content["rltrack.json"])
        said["members"] = {
            name: {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            for name, data in content.items()
            if data is not None and name != "rltrack.json"
        }
        content["rltrack.json"] = json.dumps(said).encode()
    other = path.with_name("rewritten.zip")
    with zipfile.ZipFile(other, "w") as archive:
        for name, data in content.items():
            if data is not None:
                archive.writestr(name, data)
    return other


def redescribed(path, **changes):
    said = {**read_description(path), **changes}
    return rewritten(path, rltrack__json=json.dumps(said).encode())


def refused(path, text, **arguments):
    with pytest.raises(UsageError, match=text) as caught:
        load_policy(path, **arguments)
    assert str(path) in one_line(caught)


# -- reading ----------------------------------------------------------------------------------------------------------


def test_a_loaded_policy_acts_as_the_model_did(model, path):
    policy = load_policy(path)
    assert_same_actions(policy, model, observations(model))
    assert_same_actions(policy, model, observations(model)[0])
    assert (policy.observation_space, policy.action_space) == (model.observation_space, model.action_space)
    assert policy.path == path
    torch.manual_seed(0)
    mine, _ = policy.predict(observations(model))
    torch.manual_seed(0)
    np.testing.assert_array_equal(mine, model.predict(observations(model))[0])


def test_the_name_at_the_top_of_the_package(path):
    assert rl_tracking.load_policy is load_policy
    assert rl_tracking.load_policy(str(path)).description["algorithm"] == "HybridGRPO"


def test_what_a_checkpoint_says_of_itself(model, path):
    said = read_description(path)
    assert said == load_policy(path).description
    assert (said["format"], said["schema"], said["algorithm"]) == ("rl_tracking checkpoint", 2, "HybridGRPO")
    assert (said["macro_steps"], said["simulator_steps"]) == (24, 72)
    assert said["scenario"]["name"] == "pursuit"
    assert said["scenario"]["parameters"]["wind_speed"] == 1.0
    assert said["hyper_parameters"]["n_samples"] == 3
    assert said["hyper_parameters"]["reward_activation"] == "tanh"
    assert {(item["kind"], item["name"], item["source"]) for item in said["plugins"]} == {
        ("scenario", "pursuit", "built-in"),
        ("reward", "tracking", "built-in"),
        ("motion", "random-walk", "built-in"),
        ("activation", "tanh", "built-in"),
    }
    assert said["versions"]["rl_tracking"] == rl_tracking.__version__
    assert said["versions"]["torch"] == torch.__version__
    assert task_of(load_policy(path)).parameters == model.env.scenario.parameters


def test_plugins_of_one_s_own_are_hashed(tmp_path):
    source = tmp_path / "mine.py"
    source.write_text("def halved(reward):\n    return reward / 2\n\ndef near(step):\n    return -step.nearest\n")
    trained = hybrid(tracking(reward=f"{source}:near"), reward_activation=f"{source}:halved")
    trained.save(tmp_path / "x.zip")
    plugins = {plugin["kind"]: plugin for plugin in read_description(tmp_path / "x.zip")["plugins"]}
    for kind in ("reward", "activation"):
        assert plugins[kind]["source"] == "file"
        assert plugins[kind]["sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()


def test_metrics_are_kept(model, tmp_path):
    checkpoint.save(model, tmp_path / "x.zip", metrics={"capture_rate": {"value": 0.5, "ci95": [0.4, 0.6]}})
    assert read_description(tmp_path / "x.zip")["metrics"]["capture_rate"]["value"] == 0.5


@pytest.mark.parametrize("kind", [PPO, A2C])
def test_other_algorithms_are_saved_the_same_way(kind, tmp_path):
    batch = {"batch_size": 24} if kind is PPO else {}
    # A copy: A2C writes its optimizer into what it is given.
    trained = kind("MlpPolicy", tracking(), n_steps=6, policy_kwargs={**SMALL}, device="cpu", seed=0, **batch)
    checkpoint.save(trained, tmp_path / "x.zip")
    said = read_description(tmp_path / "x.zip")
    assert (said["algorithm"], said["macro_steps"], said["simulator_steps"]) == (kind.__name__, 0, 0)
    assert_same_actions(load_policy(tmp_path / "x.zip"), trained, observations(trained))
    assert_same_actions(kind.load(tmp_path / "x.zip"), trained, observations(trained))


@pytest.mark.parametrize("kind", [HybridGRPO, PPO])
def test_stable_baselines3_s_own_load_reads_it(kind, model, path):
    assert_same_actions(kind.load(path), model, observations(model))


@pytest.mark.parametrize("space", [spaces.Discrete(3), spaces.MultiDiscrete([2, 3]), spaces.MultiBinary(2)])
def test_other_action_spaces(space, tmp_path):
    trained = hybrid(LineVecEnv(3, space)).learn(18)
    trained.save(tmp_path / "x.zip")
    policy = load_policy(tmp_path / "x.zip")
    assert policy.action_space == space
    assert_same_actions(policy, trained, observations(trained))
    assert policy.description["scenario"] is None


def test_saving_to_an_open_file(model):
    file = io.BytesIO()
    model.save(file)
    assert set(zipfile.ZipFile(file).namelist()) >= {"data", "policy.pth", "rltrack.json"}


# -- members and their checksums --------------------------------------------------------------------------------------


def test_a_further_member_is_kept_and_given_back(model, tmp_path):
    checkpoint.save(model, tmp_path / "x.zip", members={"worlds.bin": b"state of the worlds"})
    assert checkpoint.read_member(tmp_path / "x.zip", "worlds.bin") == b"state of the worlds"
    assert checkpoint.read_member(tmp_path / "x.zip", "nothing.bin") is None
    with pytest.raises(UsageError, match=r"a member 'worlds\.bin' of 19 bytes, which may have 18 at most"):
        checkpoint.read_member(tmp_path / "x.zip", "worlds.bin", limit=18)
    assert_same_actions(load_policy(tmp_path / "x.zip"), model, observations(model))


@pytest.mark.parametrize("member", ["policy.pth", "normalizer.json"])
def test_a_member_that_is_not_the_one_saved_is_refused(member, tmp_path):
    hybrid(VecNormalize(tracking())).save(tmp_path / "x.zip")
    with zipfile.ZipFile(tmp_path / "x.zip") as archive:
        data = bytearray(archive.read(member))
    data[len(data) // 2] ^= 1
    changed = rewritten(tmp_path / "x.zip", checksums=False, **{member.replace(".", "__"): bytes(data)})
    refused(changed, f"is damaged: '{member}' is not what was saved")


@pytest.mark.parametrize("name", ["pursuit-drone", "pursuit-sandbox"])
def test_checkpoints_of_schema_1_are_read(name):
    policy = load_policy(shipped_checkpoints()[name])
    assert policy.description["schema"] == 1
    assert policy.predict(np.zeros(policy.observation_space.shape, np.float32))[0].shape == policy.action_space.shape


# -- the normaliser ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [HybridGRPO, PPO])
def test_the_moments_of_a_normaliser_come_along(make, tmp_path):
    env = VecNormalize(tracking(), clip_obs=3.0, epsilon=1e-3)
    trained = make(
        "MlpPolicy", env, **plain_arguments(make), n_steps=6, batch_size=24, policy_kwargs=SMALL, device="cpu", seed=0
    ).learn(48)
    checkpoint.save(trained, tmp_path / "x.zip")
    policy, seen = load_policy(tmp_path / "x.zip"), 5 * observations(trained, 50)
    expected, _ = trained.predict(env.normalize_obs(seen), deterministic=True)
    np.testing.assert_allclose(policy.predict(seen, deterministic=True)[0], expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(policy.predict(seen[3], deterministic=True)[0], expected[3], rtol=1e-5, atol=1e-6)
    assert np.abs(expected - trained.predict(seen, deterministic=True)[0]).max() > 1e-2
    assert float(np.abs(env.normalize_obs(seen)).max()) == 3.0


def test_a_normaliser_of_rewards_alone_leaves_observations(tmp_path):
    trained = hybrid(VecNormalize(tracking(), norm_obs=False)).learn(24)
    trained.save(tmp_path / "x.zip")
    assert_same_actions(load_policy(tmp_path / "x.zip"), trained, observations(trained))


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"{}", b'{"mean": [0, 0]}', b'{"mean": "x", "var": 1}', b"\xff"])
def test_damaged_moments_are_refused(data, tmp_path):
    hybrid(VecNormalize(tracking())).save(tmp_path / "x.zip")
    refused(rewritten(tmp_path / "x.zip", normalizer__json=data), "is damaged: 'normalizer.json' cannot be read")


# -- no pickle --------------------------------------------------------------------------------------------------------


class Bomb:
    """Unpickling it makes a folder."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


@pytest.fixture
def no_pickle(monkeypatch):
    def forbidden(*args, **kwargs):
        raise AssertionError("a pickle was opened")

    for module, names in ((pickle, ("load", "loads", "Unpickler", "_Unpickler")), (cloudpickle, ("load", "loads"))):
        for name in names:
            monkeypatch.setattr(module, name, forbidden)


def test_reading_opens_no_pickle(model, path, no_pickle):
    assert read_description(path)["schema"] == 2
    assert_same_actions(load_policy(path), model, observations(model))
    with pytest.raises(AssertionError, match="a pickle was opened"):
        PPO.load(path)


def test_reading_with_trust_opens_no_pickle_of_a_checkpoint_of_ours(path, no_pickle):
    load_policy(path, trust=True)


def with_bomb(path, folder):
    """The checkpoint with a bomb where Stable-Baselines3 keeps the policy's class."""
    with zipfile.ZipFile(path) as archive:
        data = json.loads(archive.read("data"))
    data["policy_class"][":serialized:"] = base64.b64encode(pickle.dumps(Bomb(folder))).decode()
    return rewritten(path, data=json.dumps(data).encode())


def test_a_malicious_pickle_beside_the_policy_is_never_opened(model, path, tmp_path):
    folder = tmp_path / "made by the pickle"
    armed = with_bomb(path, folder)
    assert_same_actions(load_policy(armed), model, observations(model))
    read_description(armed)
    assert not folder.exists()
    # The bomb is a real one: the way that opens pickles sets it off.
    with pytest.raises(Exception):  # noqa: B017, PT011
        PPO.load(armed)
    assert folder.is_dir()


@pytest.mark.parametrize("member", ["policy__pth", "pytorch_variables__pth", "policy__optimizer__pth"])
def test_malicious_weights_are_never_opened(member, path, tmp_path):
    folder = tmp_path / "made by the pickle"
    file = io.BytesIO()
    torch.save({"weights": Bomb(folder)}, file)
    armed = rewritten(path, **{member: file.getvalue()})
    if member == "policy__pth":
        refused(armed, r"'policy\.pth' of checkpoint .* holds something else than tensors: '\w+ mkdir'")
    else:
        load_policy(armed)
    assert not folder.exists()
    torch_load = torch.load(io.BytesIO(file.getvalue()), weights_only=False)
    assert torch_load == {"weights": None}
    assert folder.is_dir()


def test_an_unsafe_file_is_not_opened_for_want_of_a_safe_one(path, tmp_path):
    """Without our description there is no way back to the pickle, unless it is trusted."""
    folder = tmp_path / "made by the pickle"
    armed = rewritten(with_bomb(path, folder), rltrack__json=None)
    refused(
        armed, "has no rltrack.json, so it was not written by rl_tracking; if you trust where it comes from, add --tr"
    )
    assert not folder.exists()


# -- what is refused --------------------------------------------------------------------------------------------------


def test_a_file_that_is_not_there(tmp_path):
    refused(tmp_path / "nothing.zip", "does not exist")
    with pytest.raises(UsageError, match="does not exist"):
        read_description(tmp_path / "nothing.zip")


def test_a_folder(path, tmp_path):
    refused(tmp_path, f"is a folder, not a file; did you mean '{path}'")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "is a folder, not a file$")


@pytest.mark.parametrize("trust", [False, True])
def test_a_file_cut_short(trust, path):
    content = path.read_bytes()
    # The weights are zips too: cut behind one of them, the file ends like a whole zip.
    behind = [at + 22 for at in range(len(content) - 22) if content[at : at + 4] == b"PK\x05\x06"]
    assert len(behind) >= 3
    for length in (*range(0, len(content), len(content) // 40), *behind, len(content) - 1):
        path.write_bytes(content[:length])
        refused(path, "is no zip file, or was cut short", trust=trust)


@pytest.mark.parametrize("content", [b"hello\n" * 100, b"PK\x03\x04", b"\x00" * 5000, pickle.dumps({"a": 1})])
def test_a_file_that_is_no_zip(content, tmp_path):
    (tmp_path / "x.zip").write_bytes(content)
    refused(tmp_path / "x.zip", "is no zip file")


def test_a_file_with_flipped_bytes(model, path):
    """Whatever is damaged, it is refused in one line or it was nothing that the policy needs."""
    content, refusals = path.read_bytes(), 0
    for place in range(0, len(content), len(content) // 80):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :])
        try:
            policy = load_policy(path)
        except UsageError as error:
            assert "\n" not in str(error)  # noqa: PT017
            refusals += 1
        else:
            assert_same_actions(policy, model, observations(model))
    assert refusals > 10


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"schema": 3}, "has schema 3, and this rl_tracking reads up to 2; upgrade rl-tracking"),
        ({"schema": 99, "policy": None}, "has schema 99"),
        ({"schema": "new"}, "is damaged: 'rltrack.json' cannot be read"),
        ({"schema": None}, "is damaged: 'rltrack.json' cannot be read"),
        ({"policy": None}, "is damaged: 'rltrack.json' describes no policy"),
        ({"policy": "MlpPolicy"}, "is damaged: 'rltrack.json' describes no policy"),
        ({"policy": {}}, "describes a policy that cannot be built: Object missing required field `class`"),
    ],
)
def test_descriptions_that_are_refused(change, text, path):
    refused(redescribed(path, **change), text)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"3", b"null", b"\xff\xfe", b'{"format": "x"}'])
def test_damaged_descriptions(data, path):
    refused(rewritten(path, rltrack__json=data), "is damaged: 'rltrack.json' cannot be read")


def test_a_policy_that_can_be_built_and_cannot_act(tmp_path):
    env = LineVecEnv()
    env.observation_space = spaces.Dict({"place": spaces.Box(-1.0, 1.0, (1,), np.float32)})
    model = PPO("MultiInputPolicy", env, n_steps=4, batch_size=12, policy_kwargs=SMALL, device="cpu")
    checkpoint.save(model, tmp_path / "x.zip")
    said = read_description(tmp_path / "x.zip")
    said["policy"]["observation_space"]["spaces"]["place"]["shape"] = []
    refused(redescribed(tmp_path / "x.zip", policy=said["policy"]), "describes a policy that cannot act: ")


def test_a_description_without_a_policy(path):
    refused(rewritten(path, rltrack__json=b'{"schema": 1}'), "describes no policy")


def test_weights_that_are_missing_or_damaged(path):
    refused(rewritten(path, policy__pth=None), "has no member 'policy.pth'; it is damaged")
    refused(rewritten(path, policy__pth=b"nonsense"), r"'policy\.pth' of checkpoint .* is no zip file")


def with_weights(path, **numbers):
    """The checkpoint with the elements of some tensors set to a number."""
    with zipfile.ZipFile(path) as archive:
        state = torch.load(io.BytesIO(archive.read("policy.pth")), weights_only=True)
    for name, value in numbers.items():
        state[name.replace("__", ".")].view(-1)[:] = value
    file = io.BytesIO()
    torch.save(state, file)
    return rewritten(path, policy__pth=file.getvalue())


def test_weights_that_are_not_finite(path):
    refused(with_weights(path, action_net__weight=math.nan), "holds weights that are not finite: action_net.weight")
    refused(with_weights(path, value_net__bias=math.inf), "holds weights that are not finite: value_net.bias")


def test_finite_weights_that_give_no_distribution(path):
    with pytest.raises(UsageError, match=r"cannot act: Expected parameter|whose actions are no distribution"):
        load_policy(with_weights(path, log_std=-1e30)).predict(np.ones(18, np.float32))


def test_weights_whose_sums_overflow_give_finite_actions_or_an_error_in_one_line(path):
    # The order in which a sum is made decides whether it is infinite or not a number.
    armed = with_weights(path, action_net__weight=3e38, action_net__bias=3e38)
    found = None
    try:
        action, _ = load_policy(armed).predict(np.ones(18, np.float32))
    except UsageError as error:
        found = str(error)
    expected = r"cannot act: Expected parameter|whose actions are no distribution"
    assert np.isfinite(action).all() if found is None else re.search(expected, found)


@pytest.mark.parametrize("change", [torch.Tensor.double, torch.Tensor.half, lambda tensor: tensor[:-1]])
def test_weights_of_another_kind(change, path):
    with zipfile.ZipFile(path) as archive:
        state = torch.load(io.BytesIO(archive.read("policy.pth")), weights_only=True)
    state["action_net.weight"] = change(state["action_net.weight"])
    file = io.BytesIO()
    torch.save(state, file)
    refused(rewritten(path, policy__pth=file.getvalue()), "do not fit its own description: action_net.weight is ")


def test_weights_of_another_shape(path):
    said = read_description(path)
    said["policy"]["net_arch"] = [17]
    refused(redescribed(path, policy=said["policy"]), "holds weights that do not fit its own description")


def test_a_policy_that_only_its_own_code_can_build(tmp_path):
    class Mine(ActorCriticPolicy):
        pass

    trained = HybridGRPO(Mine, tracking(), **PLAIN, n_steps=6, batch_size=24, device="cpu")
    trained.save(tmp_path / "x.zip")
    refused(tmp_path / "x.zip", "uses the policy class Mine, which a safe reader cannot build; load it with its algo")
    assert read_description(tmp_path / "x.zip")["policy"] == {"unknown": "the policy class Mine"}


def test_zips_of_plain_sb3(tmp_path):
    trained = PPO("MlpPolicy", tracking(), n_steps=6, batch_size=24, policy_kwargs=SMALL, device="cpu", seed=0)
    trained.save(tmp_path / "plain-sb3.zip")
    refused(tmp_path / "plain-sb3.zip", "--trust")
    policy = load_policy(tmp_path / "plain-sb3.zip", trust=True)
    assert_same_actions(policy, trained, observations(trained))
    assert policy.description == {}
    with pytest.raises(UsageError, match="does not say where it was trained; name a --scenario"):
        task_of(policy)


def test_zips_that_are_no_model(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("readme.txt", "nothing here")
    refused(tmp_path / "x.zip", "has no rltrack.json")
    refused(tmp_path / "x.zip", "is not a Stable-Baselines3 PPO model", trust=True)


# -- writing ----------------------------------------------------------------------------------------------------------


def test_a_suffix_is_added_and_folders_are_made(model, tmp_path):
    model.save(tmp_path / "a" / "b" / "model")
    model.save(str(tmp_path / "other.model"))
    names = sorted(str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*") if file.is_file())
    assert names == ["a/b/model.zip", "other.model"]


@pytest.mark.parametrize("moment", ["writing", "replacing", "describing", "interrupted"])
def test_a_failure_leaves_the_old_file_and_no_other(moment, model, path, monkeypatch):
    before = path.read_bytes()
    error = KeyboardInterrupt if moment == "interrupted" else OSError

    def half(self, data):
        with builtins.open(self, "wb") as file:
            file.write(data[: len(data) // 2])
        raise error("disk full")

    def fail(*args, **kwargs):
        raise error("disk full")

    if moment in ("writing", "interrupted"):
        monkeypatch.setattr(Path, "write_bytes", half)
    elif moment == "replacing":
        monkeypatch.setattr(os, "replace", fail)
    else:
        monkeypatch.setattr(description, "describe", fail)
    with pytest.raises(error):
        model.save(path)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_no_half_written_file_bears_the_name(model, tmp_path, monkeypatch):
    seen, replace = [], os.replace

    def watched(source, target):
        seen.append((Path(source).exists(), Path(target).exists()))
        replace(source, target)

    monkeypatch.setattr(os, "replace", watched)
    model.save(tmp_path / "new.zip")
    assert seen == [(True, False)]
    load_policy(tmp_path / "new.zip")
