import re
import tomllib

import pytest
import tomli_w
import torch

from rl_tracking import plugins
from rl_tracking.agents.arguments import settable
from rl_tracking.agents.saving.extractors import MHA
from rl_tracking.errors import UsageError
from rl_tracking.runs.build import build
from rl_tracking.runs.keys import parse_pair
from rl_tracking.runs.settings import resolve
from tests.agents.toys import one_line


@pytest.fixture
def config(tmp_path):
    """Writes a config file."""

    def write(text):
        file = tmp_path / "config.toml"
        file.write_text(text)
        return file

    return write


# -- where a value comes from -----------------------------------------------------------------------------------------


def test_the_defaults():
    settings = resolve()
    assert (settings.algo, settings.scenario, settings.seed, settings.device) == ("hybrid-grpo", "pursuit", 0, "cpu")
    assert settings.parameters["preset"] == "drone"
    assert settings.parameters["max_steps"] == 400
    assert settings.arguments["n_samples"] == 4
    assert not settings.normalize


@pytest.mark.parametrize(("key", "values"), [("steps", (10, 20, 30)), ("seed", (1, 2, 3)), ("num_envs", (4, 5, 6))])
def test_given_beats_pairs_beat_the_file_beats_the_defaults(key, values, config):
    file = config(f"{key} = {values[0]}")
    pairs, given = [f"{key}={values[1]}"], {key: values[2]}
    assert getattr(resolve(file=file), key) == values[0]
    assert getattr(resolve(file=file, pairs=pairs), key) == values[1]
    assert getattr(resolve(file=file, pairs=pairs, given=given), key) == values[2]
    assert getattr(resolve(file=file, pairs=pairs, given={key: None}), key) == values[1]


@pytest.mark.parametrize(
    ("key", "values"), [("preset", ("drone", "drone", "sandbox")), ("reward", ("basic", "progress", "sparse"))]
)
def test_preset_and_reward_have_the_same_order_of_authority(key, values, config):
    file = config(f'[parameters]\n{key} = "{values[0]}"')
    pairs, given = [f"{key}={values[1]}"], {key: values[2]}
    assert resolve(file=file).parameters[key] == values[0]
    assert resolve(file=file, pairs=pairs).parameters[key] == values[1]
    assert resolve(file=file, pairs=pairs, given=given).parameters[key] == values[2]


def test_tables_of_the_file_are_completed_and_overridden_key_by_key(config):
    file = config("[parameters]\nmax_steps = 7\nwind_speed = 1\n[arguments]\ngamma = 0.5\nn_epochs = 3\n")
    settings = resolve(file=file, pairs=["max_steps=9", "gamma=0.6"])
    assert (settings.parameters["max_steps"], settings.parameters["wind_speed"]) == (9, 1.0)
    assert (settings.arguments["gamma"], settings.arguments["n_epochs"]) == (0.6, 3)
    assert settings.arguments["n_steps"] == resolve().arguments["n_steps"]


def test_the_algorithm_of_the_command_line_decides_what_is_known(config):
    settings = resolve(file=config('algo = "hybrid-grpo"'), given={"algo": "ppo"})
    assert settings.algo == "ppo"
    assert "n_samples" not in settings.arguments
    with pytest.raises(UsageError, match="ppo has no n_samples, hybrid-grpo and grpo have"):
        resolve(given={"algo": "ppo"}, pairs=["n_samples=4"])


def test_defaults_follow_the_preset_and_the_reward():
    drone, sandbox = resolve(), resolve(given={"preset": "sandbox"})
    assert sandbox.parameters["reward"] == "complex"
    assert (sandbox.num_envs, sandbox.steps) != (drone.num_envs, drone.steps)
    assert "reward_scale" in sandbox.arguments
    assert "reward_scale" not in drone.arguments
    assert "reward_scale" not in resolve(given={"preset": "sandbox", "reward": "tracking"}).arguments
    assert "reward_scale" not in resolve(given={"preset": "sandbox", "algo": "ppo"}).arguments


# -- a run's config gives the run again -------------------------------------------------------------------------------

RUNS = {
    "default": {},
    "sandbox": {"given": {"preset": "sandbox", "seed": 3}},
    "ppo": {"given": {"algo": "ppo", "steps": 100}},
    "much set": {
        "pairs": [
            "net_arch=[32, 32]",
            "activation_fn=ReLU",
            "learning_rate=linear:1e-3",
            "clip_range=0.1",
            "clip_range_vf=linear:0.2:0.1",
            "reward_activation=symlog",
            "target_kl=0.02",
            "wind_speed=1.5",
            "normalize=true",
            "threads=2",
        ]
    },
    "attention": {"pairs": ["features_extractor=mha", "features_extractor_kwargs={width = 8}", "sensor=history"]},
    "two nets": {"pairs": ["net_arch={pi = [8], vf = [16, 16]}"]},
}


@pytest.mark.parametrize("name", RUNS)
def test_the_resolved_config_resolves_to_itself(name, config):
    settings = resolve(**RUNS[name])
    written = tomli_w.dumps(settings.to_dict())
    assert tomllib.loads(written) == settings.to_dict()
    assert resolve(file=config(written)) == settings


@pytest.mark.parametrize("name", RUNS)
def test_what_is_resolved_can_be_built(name):
    settings = resolve(**RUNS[name])
    model = build(settings)
    assert model.env.num_envs == settings.num_envs
    assert model.seed == settings.seed
    assert isinstance(model, plugins.resolve("algo", settings.algo))


# -- the constructor's arguments --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "start", "middle", "end"), [("linear:2e-3:1e-4", 2e-3, 1.05e-3, 1e-4), ("linear:0.4", 0.4, 0.2, 0.0)]
)
@pytest.mark.parametrize("name", ["learning_rate", "clip_range", "clip_range_vf"])
def test_schedules(name, text, start, middle, end):
    schedule = resolve(pairs=[f"{name}={text}"]).constructor_arguments()[name]
    assert [schedule(left) for left in (1.0, 0.5, 0.0)] == pytest.approx([start, middle, end])


def test_numbers_are_no_schedules():
    assert resolve(pairs=["learning_rate=1e-3"]).constructor_arguments()["learning_rate"] == 1e-3


def test_arguments_of_the_policy_are_gathered():
    arguments = resolve(pairs=["net_arch=[8]", "activation_fn=ELU", "log_std_init=-1.0"]).constructor_arguments()
    assert arguments["policy_kwargs"] == {"net_arch": [8], "activation_fn": torch.nn.ELU, "log_std_init": -1.0}
    assert not {"net_arch", "activation_fn", "log_std_init"} & set(arguments)
    assert resolve().constructor_arguments()["policy_kwargs"] is None


@pytest.mark.parametrize("algo", ["hybrid-grpo", "grpo", "reinforce", "ppo", "trpo"])
def test_attention_reads_as_many_records_as_the_sensor_gives(algo):
    pairs = ["preset=sandbox", "features_extractor=mha", "features_extractor_kwargs={width = 8, heads = 2}"]
    settings = resolve(given={"algo": algo}, pairs=[*pairs, "history_steps=9"])
    network = settings.constructor_arguments()["policy_kwargs"]
    assert network == {
        "features_extractor_class": MHA,
        "features_extractor_kwargs": {"steps": 9, "width": 8, "heads": 2},
    }


@pytest.mark.parametrize(
    ("pairs", "text"),
    [
        (
            ["features_extractor=mha"],
            "'mha' reads the history of a pursuit world; add --set sensor=history, or --preset",
        ),
        (["features_extractor=mah"], "unknown features_extractor: 'mah'; did you mean 'mha'"),
        (["features_extractor=3"], "features_extractor must be a name, not 3"),
        (["features_extractor_kwargs={width = 8}"], "needs a features_extractor, such as features_extractor=mha"),
        (["sensor=history", "features_extractor=mha", "features_extractor_kwargs=8"], "must be a table such as"),
        (["env=CartPole-v1", "features_extractor=mha"], "reads the history of a pursuit world; leave it out here"),
    ],
)
def test_attention_that_does_not_fit_is_refused(pairs, text):
    place = {"env": "CartPole-v1"} if pairs[0].startswith("env=") else {}
    with pytest.raises(UsageError, match=re.escape(text)) as caught:
        resolve(given=place, pairs=[pair for pair in pairs if not pair.startswith("env=")])
    one_line(caught)


@pytest.mark.parametrize(
    ("sizes", "text"),
    [
        ("{width = 9, heads = 2}", "the width of MHA must be even and a multiple of its 2 heads, not 9"),
        ("{layers = 0}", "layers of MHA must be a whole number of 1 or more, not 0"),
        ("{steps = 5}", "a history of 5 steps is a flat observation of a multiple of 5"),
        ("{breadth = 5}", "hybrid-grpo refuses its arguments"),
    ],
)
def test_attention_of_sizes_that_cannot_be_is_refused(sizes, text):
    pairs = ["sensor=history", "features_extractor=mha", f"features_extractor_kwargs={sizes}"]
    with pytest.raises(UsageError, match=text) as caught:
        build(resolve(pairs=pairs))
    one_line(caught)


def test_what_is_set_elsewhere_is_no_argument():
    for algo in ("hybrid-grpo", "ppo"):
        known = settable(algo)
        assert {"learning_rate", "gamma", "net_arch"} <= set(known)
        assert not {"policy", "env", "seed", "device", "verbose", "policy_kwargs", "self", "args", "kwargs"} & set(
            known
        )
    assert "n_samples" in settable("hybrid-grpo")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a=1", ("a", 1)),
        ("a = 1.5 ", ("a", 1.5)),
        ("a=1e-3", ("a", 1e-3)),
        ("a=true", ("a", True)),
        ("a=word", ("a", "word")),
        ("a=two words", ("a", "two words")),
        ('a="1"', ("a", "1")),
        ("a=[1, 2]", ("a", [1, 2])),
        ("a=linear:1:2", ("a", "linear:1:2")),
        ("a=x=y", ("a", "x=y")),
        ("a=mine.py:f", ("a", "mine.py:f")),
    ],
)
def test_pairs(text, expected):
    key, value = parse_pair(text)
    assert (key, value) == expected
    assert type(value) is type(expected[1])


# -- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "a", "=1", "a=", " = ", "a= "])
def test_pairs_that_are_none(text):
    with pytest.raises(UsageError, match="--set takes key=value") as caught:
        parse_pair(text)
    one_line(caught)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"given": {"algo": "hybrid-grp"}}, "unknown algo 'hybrid-grp'; did you mean 'hybrid-grpo'"),
        ({"given": {"scenario": "persuit"}}, "unknown scenario 'persuit'; did you mean 'pursuit'"),
        ({"given": {"preset": "dron"}}, "unknown preset .*'dron'; did you mean 'drone'"),
        ({"given": {"reward": "trackng"}}, "unknown reward 'trackng'; did you mean 'tracking'"),
        ({"given": {"steps": 0}}, "steps must be a whole number from 1 to .*, not 0"),
        ({"given": {"seed": -1}}, "seed must be a whole number from 0 to .*, not -1"),
        ({"pairs": ["gama=0.9"]}, "unknown setting 'gama'; did you mean 'gamma'"),
        ({"pairs": ["windspeed=1"]}, "unknown setting 'windspeed'; did you mean 'wind_speed'"),
        (
            {"pairs": ["max_steps=many"]},
            "max_steps of scenario 'pursuit' must be a whole number from 1 to .*, not 'm",
        ),
        ({"pairs": ["num_envs=0"]}, "num_envs must be a whole number from 1 to .*, not 0"),
        ({"pairs": ["num_envs=2.5"]}, "num_envs must be a whole number from 1 to .*, not 2.5"),
        ({"pairs": ["threads=0"]}, "threads must be a whole number from 1 to 1,024, not 0"),
        ({"pairs": ["normalize=yes"]}, "normalize must be true or false, not 'yes'"),
        (
            {"pairs": ["learning_rate=fast"]},
            "learning_rate must be a number of 0 or more, .*, not 'fast'",
        ),
        ({"pairs": ["learning_rate=linear:a:b"]}, "not 'linear:a:b'"),
        ({"pairs": ["learning_rate=linear:1:2:3"]}, "not 'linear:1:2:3'"),
        ({"pairs": ["activation_fn=Tahn"]}, "unknown activation_fn: 'Tahn'; did you mean 'Tanh'"),
        ({"pairs": ["activation_fn=3"]}, "activation_fn must be Tanh, ReLU, .* or LeakyReLU, not 3"),
    ],
)
def test_bad_settings_are_refused_in_one_line(arguments, text):
    with pytest.raises(UsageError, match=text) as caught:
        resolve(**arguments)
    one_line(caught)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("stepz = 3", "unknown key in config file .*'stepz'; did you mean 'steps'"),
        ("steps = ", "is not TOML"),
        ("\x00", "is not TOML"),
        ("steps = 'many'", "config file .*: steps must be a whole number from .*, not 'many'"),
        ("algo = 3", "config file .*: algo must be a name, not 3"),
        ("scenario = []", r"config file .*: scenario must be a name, not \[\]"),
        ("parameters = 5", "parameters in config file .* must be a table"),
        ("arguments = 'x'", "arguments in config file .* must be a table"),
        ("[arguments]\ngama = 1", "unknown argument of hybrid-grpo: 'gama'; did you mean 'gamma'"),
        ("[parameters]\nwindspeed = 1", "unknown parameter of scenario 'pursuit': 'windspeed'; did you mean 'wind_sp"),
        ("[parameters]\nreward = 3", "reward of scenario 'pursuit' must be a name, not 3"),
        ("[parameters]\npreset = 3", "preset of scenario 'pursuit' must be drone or sandbox, not 3"),
    ],
)
def test_bad_files_are_refused_in_one_line(content, text, config):
    with pytest.raises(UsageError, match=text) as caught:
        resolve(file=config(content))
    one_line(caught)


def test_files_that_cannot_be_read(tmp_path):
    for path in (tmp_path / "nothing.toml", tmp_path):
        with pytest.raises(UsageError, match="does not exist") as caught:
            resolve(file=path)
        one_line(caught)
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="is no text in UTF-8: invalid start byte at byte 0") as caught:
        resolve(file=tmp_path / "binary.toml")
    one_line(caught)


@pytest.mark.parametrize(
    ("pairs", "text"),
    [
        (["n_samples=0"], "n_samples must be a whole number of 1 or more"),
        (["n_samples=2.5"], "not 2.5"),
        (["baseline=mean"], "unknown baseline: 'mean'; known: group-mean"),
        (["reward_activation=tan"], "unknown activation 'tan'; did you mean 'tanh'"),
        (["batch_size=1"], "hybrid-grpo refuses its arguments: `batch_size` must be greater than 1"),
        (["n_steps=few"], "n_steps must be a whole number of 1 or more, not 'few'"),
        (["net_arch=[-3]"], "net_arch must be a list of widths such as .*, not .-3."),
        (["net_arch=wide"], "net_arch must be a list of widths such as .*, not 'wide'"),
        (["device=gpu"], "device 'gpu' cannot be used here, try 'cpu'"),
        (["device=meteor"], "device 'meteor' cannot be used here"),
    ],
)
def test_what_the_algorithm_refuses_is_one_line_too(pairs, text):
    with pytest.raises(UsageError, match=text) as caught:
        build(resolve(pairs=pairs))
    one_line(caught)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has such a device")
def test_a_device_that_is_not_there():
    with pytest.raises(UsageError, match="device 'cuda' cannot be used here, try 'cpu'") as caught:
        build(resolve(given={"device": "cuda"}))
    one_line(caught)


def test_another_preset_than_the_file_s_is_refused_where_it_would_only_change_the_name(tmp_path):
    before = resolve()
    file = tmp_path / "config.toml"
    file.write_text(tomli_w.dumps(before.to_dict()))
    with pytest.raises(UsageError, match=r"sets the parameters of preset 'drone'.*'sandbox' would keep"):
        resolve(file=file, given={"preset": "sandbox"})
    assert resolve(file=file, given={"preset": "drone"}) == before


@pytest.mark.parametrize(
    ("algo", "pair", "others"),
    [
        ("ppo", "reward_window=100", "hybrid-grpo has"),
        ("grpo", "n_candidates=16", "hybrid-grpo has"),
        ("trpo", "n_samples=4", "hybrid-grpo and grpo have"),
        ("reinforce", "horizon=4", "hybrid-grpo and grpo have"),
        ("ppo", "supervision=outcome", "grpo has"),
        ("hybrid-grpo", "cg_damping=0.2", "trpo has"),
    ],
)
def test_an_argument_that_only_other_algorithms_have_is_refused_with_their_names(algo, pair, others):
    name = pair.partition("=")[0]
    with pytest.raises(UsageError) as caught:
        resolve(given={"algo": algo}, pairs=[pair])
    other = others.split()[0]
    assert str(caught.value) == f"{algo} has no {name}, {others}; use --algo {other}, or leave {name} out"


@pytest.mark.parametrize("algo", ["ppo", "grpo"])
def test_a_value_that_only_another_algorithm_takes_is_refused_with_its_name(algo):
    with pytest.raises(UsageError) as caught:
        resolve(given={"algo": algo}, pairs=["ent_coef=auto"])
    assert str(caught.value) == "ent_coef must be a finite number, not 'auto'; hybrid-grpo takes that"


def test_extensions_are_settings():
    pairs = ["ent_coef=auto_0.1", "target_entropy=-2", "reward_window=500", "n_candidates=16", "guidance_beta=0.5"]
    arguments = resolve(pairs=pairs).arguments
    assert arguments["ent_coef"] == "auto_0.1"
    assert (arguments["target_entropy"], arguments["reward_window"]) == (-2, 500)
    assert (arguments["n_candidates"], arguments["guidance_beta"]) == (16, 0.5)
