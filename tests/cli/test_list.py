"""``rltrack list``."""

import pytest

from rl_tracking import plugins

NAMES = {
    "scenarios": ["pursuit"],
    "algos": ["hybrid-grpo", "ppo"],
    "rewards": ["basic", "complex", "progress", "sparse", "tracking"],
    "activations": ["clip", "identity", "sigmoid", "symlog", "tanh", "tanh-z-score", "z-score"],
    "motions": ["circle", "cube", "lissajous", "random-walk", "stationary"],
    "controllers": ["hover", "lead-pursuit", "pure-pursuit", "random"],
}


@pytest.mark.parametrize("kind", NAMES)
def test_every_kind(rltrack, kind):
    ended = rltrack("list", kind)
    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.splitlines()
    for name in NAMES[kind]:
        (line,) = [line for line in lines if line.startswith(f"{name} ")]
        assert "built-in" in line


def test_every_name_comes_with_a_line_that_says_what_it_is():
    for kind in (kind.removesuffix("s") for kind in NAMES):
        for name in plugins.names(kind):
            assert plugins.summary(kind, name), f"{kind} {name}"


def test_text_in_brackets_is_not_taken_for_markup(rltrack, monkeypatch):
    monkeypatch.setattr(plugins, "summary", lambda kind, name: "one number a world [B] [/b]")
    ended = rltrack("list", "scenarios")
    assert ended.code == 0
    assert "one number a world [B] [/b]" in ended.out


@pytest.mark.parametrize(
    ("kind", "hint"),
    [("reward", "did you mean 'rewards'?"), ("algo", "did you mean 'algos'?"), ("xyz", "known: activations, algos")],
)
def test_an_unknown_kind_is_refused(refused, kind, hint):
    assert hint in refused("list", kind)
