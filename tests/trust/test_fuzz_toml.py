"""Damaged config files and studies are refused in one line or mean something: nothing is run, quickly."""

import json
import tomllib
import warnings

import msgspec
import pytest
import tomli_w
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from rl_tracking.errors import UsageError
from rl_tracking.runs.build import build
from rl_tracking.runs.settings import resolve
from rl_tracking.studies.config import reading
from rl_tracking.studies.execute import cells
from tests.trust.damage import Content, damaged_bytes, damaged_tree, leaves, put
from tests.trust.watching import Watch

STUDY = """
title = "Two ways"
question = "Which?"
seeds = 2
[budget]
macro_steps = 64
[evaluation]
points = 2
episodes = 2
[[tasks]]
name = "short"
scenario = "pursuit"
metric = "capture_rate"
threshold = 0.5
range = [0.0, 1.0]
parameters = { max_steps = 10, wind_speed = 1.0 }
[[tasks]]
name = "cart"
env = "CartPole-v1"
metric = "return"
[[variants]]
name = "ppo"
algo = "ppo"
settings = { n_steps = 8, batch_size = 8, net_arch = [8], learning_rate = "linear:1e-3" }
[[variants]]
name = "hybrid"
algo = "hybrid-grpo"
settings = { n_steps = 8, batch_size = 8, n_samples = 2, reward_activation = "tanh" }
on = { short = { horizon = 2 } }
[[claims]]
name = "better"
text = "It is."
measure = "final"
variant = "hybrid"
than = "ppo"
better = "higher"
tasks = ["short"]
[tune]
trials = 3
[tune.space]
learning_rate = { low = 1e-4, high = 1e-2, log = true }
n_epochs = { choices = [1, 2] }
"""
NASTY_TOML = [
    "1979-05-27T07:32:00Z", "1979-05-27", "07:32:00", "9" * 5000, "0x" + "f" * 5000, "[" * 3000 + "]" * 3000,
    "[[[[" * 50,
    "{a=" * 500 + "1" + "}" * 500, "nan", "-inf", '"\\u0000"', '"""\n\n"""', "1e999", ".".join("a" * 3000) + " = 1",
    "true\n[" + ".".join("b" * 2000) + "]", "1\nx = 2", "0b1", "1_0",
]  # fmt: skip


def writable(value):
    """As much of a value as TOML can say."""
    if isinstance(value, dict):
        return {str(key): writable(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [writable(item) for item in value if item is not None]
    return "" if value is None else value


@st.composite
def damaged_toml(draw, whole):
    """The bytes of a file, its values, or its text changed."""
    text = whole.data
    kind = draw(st.sampled_from(["bytes", "tree", "tree", "text", "start"]))
    if kind == "bytes":
        return Content(draw(damaged_bytes(text.encode())))
    if kind == "start":
        start = draw(st.sampled_from([b"\xef\xbb\xbf", b"\xff\xfe", b"\x00", b"\xef\xbb\xbf\xef\xbb\xbf", b"# \xe9\n"]))
        return Content(start + text.encode())
    tree = tomllib.loads(text)
    if kind == "tree":
        changed = writable(damaged_tree(draw, tree))
        try:
            return Content(tomli_w.dumps(changed).encode())
        except (TypeError, ValueError, AttributeError):  # no table, or what UTF-8 cannot say
            return Content(json.dumps(changed).encode())
    path = draw(st.sampled_from([path for path in leaves(tree) if path]))
    nasty = draw(st.sampled_from(NASTY_TOML))
    return Content(tomli_w.dumps(put(tree, path, "@@@")).replace('"@@@"', nasty).encode())


def configs():
    """Config files as runs write them."""
    runs = [
        {"given": {"preset": "sandbox"}, "pairs": ["features_extractor=mha", "features_extractor_kwargs={width = 8}"]},
        {"given": {"algo": "grpo", "env": "CartPole-v1"}, "pairs": ["net_arch={pi = [8], vf = [16, 16]}"]},
        {"given": {"algo": "ppo"}, "pairs": ["clip_range_vf=linear:0.2:0.1", "target_kl=0.02", "wind_speed=1.5"]},
    ]
    return [Content(tomli_w.dumps(resolve(**run).to_dict())) for run in runs]


def use_config(path):
    """All that a config file is read for; the worlds of a run are made, two of them."""
    settings = resolve(file=path)
    model = build(msgspec.structs.replace(settings, num_envs=min(2, settings.num_envs)))
    model.env.close()


def studies():
    names = [*list(reading.shipped())[:2], "pursuit-gradients"]
    return [Content(STUDY)] + [Content(reading.shipped()[name].read_text(encoding="utf-8")) for name in names]


def use_study(path):
    """All that a study is read for before it runs; a large one is not built."""
    study = reading.parse(reading.read(path), path.stem)
    if study.gradients is None and len(study.tasks) * len(study.variants) <= 4:
        reading.load(path)
        len(cells.cells_of(study))


def fuzz(kinds, path, examples, *, derandomize):
    """``kinds`` are whole files and what they are used for."""
    watch = Watch()

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=derandomize,
        phases=[Phase.generate],  # the file that failed is still there: nothing needs to be shrunk
        suppress_health_check=list(HealthCheck),
    )
    @given(st.sampled_from(kinds).flatmap(lambda kind: st.tuples(damaged_toml(kind[0]), st.just(kind[1]))))
    def run(drawn):
        content, use = drawn
        path.write_bytes(content.data)
        with watch.reading(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # which say of settings that they are unwise
            try:
                use(path)
            except UsageError as error:
                watch.refused += 1
                assert "\n" not in str(error)  # noqa: PT017

    run()
    watch.report("TOML files")
    assert watch.count >= examples
    assert watch.refused > examples // 3


def kinds():
    wholes = {use_config: configs(), use_study: studies()}
    return [(whole, use) for use, files in wholes.items() for whole in files]


def test_damaged_toml(evil):
    fuzz(kinds(), evil / "x.toml", 60, derandomize=True)


@pytest.mark.slow
def test_many_damaged_toml_files(evil):
    fuzz(kinds(), evil / "x.toml", 3000, derandomize=False)


@pytest.mark.parametrize("number", [2**31, 2**62])
def test_a_study_of_more_seeds_than_anybody_trains_is_refused(number, tmp_path):
    (tmp_path / "s.toml").write_text(STUDY.replace("seeds = 2", f"seeds = {number}"))
    with pytest.raises(UsageError, match="seeds must be a whole number from 1 to 10,000"):
        use_study(tmp_path / "s.toml")
