"""``load`` of this project's algorithms: everything comes back, and no pickle is opened for it."""

import base64
import contextlib
import json
import math
import os
import pickle
import zipfile

import cloudpickle
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.utils import LinearSchedule

from rl_tracking import HybridGRPO
from rl_tracking.agents.grpo import GRPO
from rl_tracking.agents.reinforce import REINFORCE, MonteCarloBuffer
from rl_tracking.errors import UsageError
from rl_tracking.runs.shipped import shipped_checkpoints
from tests.agents.saving.test_checkpoint import rewritten
from tests.agents.toys import PLAIN, SMALL, LineVecEnv, ScenesVecEnv, hybrid, one_line, tracking


@pytest.fixture
def forbid_pickles(monkeypatch):
    """Call it, and no pickle can be opened any more; training opens some, as torch imports its compiler."""

    def forbidden(*args, **kwargs):
        raise AssertionError("a pickle was opened")

    def forbid():
        for module, names in ((pickle, ("load", "loads", "Unpickler", "_Unpickler")), (cloudpickle, ("load", "loads"))):
            for name in names:
                monkeypatch.setattr(module, name, forbidden)

    return forbid


def reinforce():
    return REINFORCE("MlpPolicy", tracking(), n_steps=6, policy_kwargs=SMALL, device="cpu", seed=0)


def grpo(**arguments):
    return GRPO(
        "MlpPolicy", tracking(), recipe="paper", n_steps=6, horizon=4, policy_kwargs=SMALL, device="cpu", **arguments
    )


NETWORK = {"net_arch": {"pi": [4], "vf": [8]}, "activation_fn": torch.nn.ELU, "optimizer_class": torch.optim.AdamW}
MODELS = {
    "plain": hybrid,
    "schedules": lambda: hybrid(learning_rate=LinearSchedule(1e-3, 1e-4, 0.5), clip_range=0.3, clip_range_vf=0.1),
    "network": lambda: hybrid(policy_kwargs={**NETWORK, "optimizer_kwargs": {"weight_decay": 0.1}}),
    "extensions": lambda: hybrid(ent_coef="auto", reward_window=50, n_candidates=6, critic_trust="explained"),
    "no limit": lambda: hybrid(max_grad_norm=math.inf, use_sde=True),
    "choices": lambda: hybrid(LineVecEnv(3, spaces.Discrete(3))),
    "pictures": lambda: HybridGRPO("MultiInputPolicy", ScenesVecEnv(), **PLAIN, n_steps=4, batch_size=12, device="cpu"),
    "grpo": lambda: grpo(kl_coef=0.1, reuse=1),
    "reinforce": reinforce,
}


def plain(model):
    """The attributes that are plain values."""
    kinds = bool | int | float | str | None
    return {name: value for name, value in vars(model).items() if isinstance(value, kinds) and name != "start_time"}


@pytest.mark.parametrize("name", MODELS)
def test_a_model_comes_back_whole_without_a_pickle(name, tmp_path, forbid_pickles):
    model = MODELS[name]()
    model.learn(24)
    model.save(tmp_path / "x")
    forbid_pickles()
    again = type(model).load(tmp_path / "x", device="cpu")
    theirs = plain(again)
    different = {key: (value, theirs.get(key)) for key, value in plain(model).items() if theirs.get(key) != value}
    of_a_training = {"_custom_logger", "_last_obs", "_last_episode_starts", "between_rollouts"}
    assert set(different) <= of_a_training
    assert (again.observation_space, again.action_space) == (model.observation_space, model.action_space)
    for share in (1.0, 0.7, 0.0):
        assert again.lr_schedule(share) == model.lr_schedule(share)
        for schedule in ("clip_range", "clip_range_vf"):
            if callable(getattr(model, schedule, None)):
                assert getattr(again, schedule)(share) == getattr(model, schedule)(share)
    for (key, one), other in zip(model.policy.state_dict().items(), again.policy.state_dict().values(), strict=True):
        assert torch.equal(one, other), key
    one, other = (each.policy.optimizer.state_dict() for each in (model, again))
    assert str(one) == str(other)
    assert type(again.policy.optimizer) is type(model.policy.optimizer)
    assert again.rollout_buffer_class is model.rollout_buffer_class
    assert isinstance(again.rollout_buffer, MonteCarloBuffer) is isinstance(model, REINFORCE)


def test_it_goes_on_learning_as_after_a_load_with_pickles(tmp_path):
    hybrid(learning_rate=LinearSchedule(1e-2, 0.0, 1.0)).learn(24).save(tmp_path / "x.zip")
    after = []
    for trust in (False, True):
        again = HybridGRPO.load(tmp_path / "x.zip", env=tracking(seed=5), device="cpu", trust=trust)
        again.set_random_seed(0)
        again.learn(24, reset_num_timesteps=False)
        after.append(torch.cat([tensor.flatten() for tensor in again.policy.state_dict().values()]))
    assert torch.equal(*after)


class Mine(ActorCriticPolicy):
    pass


def falling(progress):
    return 1e-3 * progress


@pytest.mark.parametrize(
    ("make", "key", "value"),
    [
        (lambda: hybrid(learning_rate=falling), "learning_rate", falling),
        (lambda: HybridGRPO(Mine, tracking(), **PLAIN, n_steps=6, batch_size=24, device="cpu"), "policy_class", Mine),
        (lambda: hybrid(reward_activation=torch.sign), "reward_activation", torch.sign),
    ],
)
def test_what_only_a_pickle_gives_back_is_given_or_trusted(make, key, value, tmp_path, forbid_pickles, monkeypatch):
    model = make()
    model.save(tmp_path / "x.zip")
    forbid_pickles()
    with pytest.raises(UsageError, match=f"keeps {key} as a pickle, which could run code and is not opened") as caught:
        HybridGRPO.load(tmp_path / "x.zip", device="cpu")
    one_line(caught)
    again = HybridGRPO.load(tmp_path / "x.zip", device="cpu", custom_objects={key: value})
    assert getattr(again, key) is value
    monkeypatch.undo()
    trusted = HybridGRPO.load(tmp_path / "x.zip", device="cpu", trust=True)
    assert type(trusted.policy).__name__ == type(model.policy).__name__


class Bomb:
    """Unpickling it makes a folder."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (self.folder,)


@pytest.mark.parametrize("key", ["policy_class", "observation_space", "ep_info_buffer", "learning_rate", "surprise"])
def test_a_malicious_pickle_is_not_opened(key, tmp_path):
    hybrid().save(tmp_path / "x.zip")
    with zipfile.ZipFile(tmp_path / "x.zip") as archive:
        data = json.loads(archive.read("data"))
    folder = tmp_path / "made by the pickle"
    data[key] = {":type:": "x", ":serialized:": base64.b64encode(pickle.dumps(Bomb(str(folder)))).decode()}
    armed = rewritten(tmp_path / "x.zip", data=json.dumps(data).encode())
    if key == "surprise":
        with pytest.raises(UsageError, match="keeps surprise as a pickle"):
            HybridGRPO.load(armed, device="cpu")
    else:
        HybridGRPO.load(armed, device="cpu")
    assert not folder.exists()
    with contextlib.suppress(Exception):  # the bomb is a real one: SB3's own load sets it off
        PPO.load(armed)
    assert folder.is_dir()


@pytest.mark.parametrize("name", ["pursuit-drone", "pursuit-sandbox"])
def test_checkpoints_of_schema_1_are_loaded(name, forbid_pickles):
    path = shipped_checkpoints()[name]
    trusted = HybridGRPO.load(path, device="cpu", trust=True)
    forbid_pickles()
    model = HybridGRPO.load(path, device="cpu")
    assert (model.observation_space, model.action_space) == (trusted.observation_space, trusted.action_space)
    for share in (1.0, 0.7, 0.0):
        assert model.lr_schedule(share) == trusted.lr_schedule(share)
        assert model.clip_range(share) == trusted.clip_range(share)
    assert model.rollout_buffer_class is trusted.rollout_buffer_class
    observation = np.ones(model.observation_space.shape, np.float32)
    mine, theirs = (each.predict(observation, deterministic=True)[0] for each in (model, trusted))
    np.testing.assert_array_equal(mine, theirs)


def test_a_plain_sb3_zip_needs_trust(tmp_path):
    model = PPO("MlpPolicy", tracking(), n_steps=6, batch_size=24, policy_kwargs=SMALL, device="cpu")
    model.save(tmp_path / "x.zip")
    with pytest.raises(UsageError, match="was not written by rl_tracking"):
        HybridGRPO.load(tmp_path / "x.zip", device="cpu")


def test_an_activation_by_file_needs_trust_and_its_digest(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text("def half(reward):\n    return reward / 2\n")
    hybrid(reward_activation="mine.py:half").save(tmp_path / "x.zip")
    with pytest.raises(UsageError, match=r"reward_activation 'mine\.py:half' is code in file 'mine\.py'.*add --trust"):
        HybridGRPO.load(tmp_path / "x.zip", device="cpu")
    assert HybridGRPO.load(tmp_path / "x.zip", device="cpu", reward_activation="tanh").reward_activation == "tanh"
    assert HybridGRPO.load(tmp_path / "x.zip", device="cpu", trust=True).reward_activation == "mine.py:half"
    (tmp_path / "mine.py").write_text("def half(reward):\n    return reward / 3\n")
    with pytest.raises(UsageError, match="which has changed since"):
        HybridGRPO.load(tmp_path / "x.zip", device="cpu", trust=True)


def test_damaged_members_are_refused(tmp_path):
    hybrid().save(tmp_path / "x.zip")
    for member, data in {"data": b"{", "policy__optimizer__pth": b"nonsense", "policy__pth": b"PK"}.items():
        with pytest.raises(UsageError) as caught:
            HybridGRPO.load(rewritten(tmp_path / "x.zip", **{member: data}), device="cpu")
        one_line(caught)
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        HybridGRPO.load(tmp_path / "nothing")


def test_other_network_arguments_than_those_saved_are_refused_as_in_sb3(tmp_path):
    hybrid(policy_kwargs=NETWORK).save(tmp_path / "x.zip")
    with pytest.raises(ValueError, match="policy kwargs do not equal the stored"):
        HybridGRPO.load(tmp_path / "x.zip", device="cpu", policy_kwargs={"net_arch": [3]})


def test_numbers_of_numpy_are_described(tmp_path):
    hybrid(gamma=np.float64(0.9), n_epochs=np.int64(3), vf_coef=np.float32(0.25)).save(tmp_path / "x.zip")
    again = HybridGRPO.load(tmp_path / "x.zip", device="cpu")
    assert (again.gamma, again.n_epochs, again.vf_coef) == (0.9, 3, 0.25)
