"""``rltrack eval``: what it measures, prints and refuses."""

import io
import json
import re
import zipfile

import pytest

from tests.failing_envs import ID, check_line

FIGURES = {"capture_rate", "time_in_radius", "time_to_capture", "mean_distance", "return"}
FACTS = {"policy", "scenario", "preset", "episodes", "seed", "skip", "source", "bound"}


def rewritten(path, target, *, drop=(), **members):
    """A copy of a zip without some members and with others replaced."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            if name not in drop:
                new.writestr(name, members.get(name.replace(".", "_"), old.read(name)))
    return target


@pytest.fixture
def plain_sb3(trained, tmp_path):
    """The zip as plain Stable-Baselines3 would have written it."""
    return rewritten(trained.checkpoint, tmp_path / "plain-sb3.zip", drop=["rltrack.json"])


def test_json_has_every_figure_with_its_interval(rltrack, trained):
    ended = rltrack("eval", trained.checkpoint, "--episodes", 12, "--json")
    assert (ended.code, ended.err) == (0, "")
    result = json.loads(ended.out)
    assert result.keys() == FIGURES | FACTS
    assert result["policy"] == "HybridGRPO"
    assert (result["scenario"], result["preset"]) == ("pursuit", "drone")
    assert (result["episodes"], result["skip"], result["source"]) == (12, 0, str(trained.checkpoint))
    for name in FIGURES:
        assert result[name].keys() == {"value", "ci95"}
        if result[name]["value"] is not None:
            low, high = result[name]["ci95"]
            assert low - 1e-12 <= result[name]["value"] <= high + 1e-12


def test_a_figure_of_no_episode_is_null(rltrack):
    ended = rltrack("eval", "hover", "--episodes", 3, "--json", "--set=max_steps=1", "--set=capture_radius=1.3")
    assert json.loads(ended.out)["time_to_capture"] == {"value": None, "ci95": [None, None]}


def test_several_policies_fly_the_same_episodes(rltrack, trained):
    ended = rltrack("eval", trained.checkpoint, "pure-pursuit", "pure-pursuit", "--episodes", 5, "--json")
    mine, one, other = json.loads(ended.out)
    assert mine["policy"] == "HybridGRPO"
    assert one == other
    assert one["policy"] == "pure-pursuit"
    alone = json.loads(rltrack("eval", "pure-pursuit", "--set=max_steps=40", "--episodes", 5, "--json").out)
    assert alone == one  # the scenario was the checkpoint's own, of 40 steps


def test_the_bound_of_the_episodes_is_shown_below_the_policies(rltrack):
    ended = rltrack("eval", "pronav", "random", "--episodes", 20)
    lines = [line.split() for line in ended.out.splitlines() if line.strip()]
    rows = {words[0]: words[1:] for words in lines}
    assert ended.out.index("random") < ended.out.index("bound")
    capture, share, seconds, _, of_return = rows["bound"]
    assert (capture, of_return) == ("100.0%", "unknown")
    assert float(seconds) < float(rows["pronav"][2])
    assert float(share.rstrip("%")) > float(rows["pronav"][1].rstrip("%"))
    assert "bound: no policy can do better in these episodes" in ended.out
    found = json.loads(rltrack("eval", "pronav", "--episodes", 20, "--json").out)["bound"]
    assert f"{found['time_to_capture']['value']:.2f}" == seconds
    skipped = json.loads(rltrack("eval", "pronav", "--episodes", 20, "--skip", 50, "--json").out)["bound"]
    assert skipped["time_in_radius"]["value"] > found["time_in_radius"]["value"]


def test_the_seed_chooses_the_episodes(rltrack):
    def distance(*arguments):
        ended = rltrack("eval", "random", "--episodes", 5, "--set=max_steps=20", "--json", *arguments)
        return json.loads(ended.out)["mean_distance"]["value"]

    assert distance() == distance()
    assert distance("--seed", 3) == distance("--seed", 3)
    assert distance("--seed", 3) != distance("--seed", 4)


def test_skip_leaves_the_first_steps_out(rltrack):
    ended = rltrack("eval", "pure-pursuit", "--episodes", 5, "--set=max_steps=60", "--skip", 50)
    assert "first 50 steps left out" in ended.out
    early, late = (
        json.loads(rltrack("eval", "pure-pursuit", "--episodes", 5, "--set=max_steps=60", "--json", *skip).out)
        for skip in ([], ["--skip", 50])
    )
    assert late["mean_distance"]["value"] < early["mean_distance"]["value"]
    assert late["return"] == early["return"]


def test_the_table(rltrack, trained):
    ended = rltrack("eval", trained.checkpoint, "lead-pursuit", "--episodes", 5)
    assert (ended.code, ended.err) == (0, "")
    for word in ("the same 5 episodes", "95 % intervals", "HybridGRPO", "lead-pursuit", "capture", "return"):
        assert word in ended.out


def test_the_table_keeps_names_whole_on_a_narrow_terminal(rltrack, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    ended = rltrack("eval", "pure-pursuit", "--episodes", 50, "--set=max_steps=40")
    assert "pure-pursuit " in ended.out
    assert max(map(len, ended.out.splitlines())) <= 80


def test_parameters_can_be_replaced(rltrack, trained):
    ended = rltrack("eval", trained.checkpoint, "--episodes", 3, "--json", "--reward", "sparse", "--set", "max_steps=7")
    assert 0 <= json.loads(ended.out)["return"]["value"] <= 7


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["nowhere.zip"], "'nowhere.zip' does not exist"),
        (["pure_pursuit"], "did you mean 'pure-pursuit'?"),
        (["nobody"], "neither a checkpoint file nor a controller"),
        (["pursuit-dron"], "did you mean 'pursuit-drone'?"),
        (["random", "nowhere.zip"], "'nowhere.zip' does not exist"),
        (["pronav:99"], "navigation_constant of controller 'pronav' must be a number from 1 to 20, not 99"),
        (["random", "--episodes", 0], "episodes must be 1 or more, not 0"),
        (["random", "--skip", -1], "skip must lie in 0..399"),
        (["random", "--skip", 400], "skip must lie in 0..399"),
        (["random", "--scenario", "persuit"], "did you mean 'pursuit'?"),
        (["random", "--preset", "sandbocks"], "did you mean 'sandbox'?"),
        (["random", "--reward", "spars"], "did you mean 'sparse'?"),
        (["random", "--set", "max_stepss=3"], "did you mean 'max_steps'?"),
        (["random", "--set", "max_steps"], "--set takes key=value"),
    ],
)
def test_bad_input_is_refused(refused, arguments, hint):
    assert hint in refused("eval", *arguments, "--json")


def test_a_checkpoint_of_other_worlds_is_refused(refused, trained):
    line = refused("eval", trained.checkpoint, "--preset", "sandbox")
    assert "trained in scenario pursuit drone, has observations" in line
    assert "scenario pursuit sandbox has Box" in line


def test_a_folder_is_refused_and_the_checkpoint_in_it_suggested(refused, trained):
    assert f"did you mean '{trained.checkpoint}'?" in refused("eval", trained.folder)


def test_what_is_no_zip_is_refused(refused, tmp_path):
    (tmp_path / "notes.zip").write_text("no zip")
    assert "is no zip file" in refused("eval", "notes.zip")


@pytest.mark.parametrize("share", [0.01, 0.3, 0.6, 0.99])
def test_a_truncated_checkpoint_is_refused(refused, trained, tmp_path, share):
    whole = trained.checkpoint.read_bytes()
    (tmp_path / "cut.zip").write_bytes(whole[: int(share * len(whole))])
    line = refused("eval", "cut.zip")
    assert "'cut.zip' is no zip file, or was cut short" in line
    assert "--trust" not in line
    assert "cut.zip" in refused("eval", "cut.zip", "--trust", "--scenario", "pursuit")


def test_damaged_bytes_are_refused(refused, trained, tmp_path):
    whole = bytearray(trained.checkpoint.read_bytes())
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        at = archive.getinfo("policy.pth").header_offset + 2000
    whole[at : at + 100] = bytes(100)
    (tmp_path / "damaged.zip").write_bytes(whole)
    assert "is damaged" in refused("eval", "damaged.zip")


@pytest.mark.parametrize(
    ("change", "hint"),
    [
        ({"schema": 99}, "has schema 99"),
        ({"schema": "one"}, "is damaged"),
        ({"policy": None}, "describes"),
        ({"scenario": None}, "name a --scenario"),
        ({"scenario": {"name": "chess", "parameters": {}}}, "unknown scenario 'chess'"),
    ],
)
def test_a_description_that_does_not_fit_is_refused(refused, trained, tmp_path, change, hint):
    with zipfile.ZipFile(trained.checkpoint) as archive:
        description = json.loads(archive.read("rltrack.json"))
    text = json.dumps({**description, **change})
    rewritten(trained.checkpoint, tmp_path / "other.zip", rltrack_json=text)
    assert hint in refused("eval", "other.zip")


def test_a_checkpoint_without_weights_is_refused(refused, trained, tmp_path):
    rewritten(trained.checkpoint, tmp_path / "empty.zip", drop=["policy.pth"])
    assert "no member 'policy.pth'" in refused("eval", "empty.zip")


def test_a_plain_sb3_zip_needs_trust(refused, rltrack, plain_sb3):
    assert "--trust" in refused("eval", plain_sb3, "--scenario", "pursuit")
    assert "name a --scenario" in refused("eval", plain_sb3, "--trust")
    ended = rltrack("eval", plain_sb3, "--trust", "--scenario", "pursuit", "--episodes", 2, "--json")
    assert ended.code == 0
    assert json.loads(ended.out)["policy"] == "plain-sb3"


def test_a_single_episode_has_no_interval(rltrack):
    ended = rltrack("eval", "hover", "--episodes", "1", "--set", "max_steps=5")
    assert (ended.code, ended.err) == (0, "")
    assert "one episode" in ended.out
    assert "interval" not in ended.out
    assert not re.search(r"\d%? to \d", ended.out)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--episodes", 10**12], "1,000,000,000,000 episodes take about"),
        (["--seed", -1], "seed must be 0 or more, not -1"),
        (["--seed", 2**32], "seed must be 4294967295 or less, not 4294967296"),
        (["--skip", 400], "skip must lie in 0..399"),
    ],
)
def test_numbers_out_of_range(rltrack, arguments, message):
    ended = rltrack("eval", "hover", *arguments)
    assert ended.code == 2
    assert message in ended.err
    assert ended.err.count("\n") == 1


@pytest.mark.filterwarnings("default")
def test_each_unlikely_setting_is_warned_of_in_one_line(rltrack):
    ended = rltrack("eval", "hover", "--episodes", 2, "--set", "max_steps=3", "--set", "target_speed=300")
    assert ended.code == 0
    lines = ended.err.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("warning: ") for line in lines)


def test_an_environment_that_fails_is_one_line(rltrack):
    ended = rltrack("eval", "random", "--env", ID, "--set=wrong=raises", "--episodes", 200)
    assert (ended.code, ended.out) == (1, "")
    (line,) = ended.err.splitlines()
    check_line(line, "raises")
    assert " of its episode in the episode of seed " in line


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_figures_that_are_not_finite_are_shown_and_end_with_an_error(rltrack, tmp_path, more):
    (tmp_path / "mine.py").write_text("def huge(step):\n    return step.nearest * 0 + 3e38\n")
    ended = rltrack("eval", "hover", "--reward", "mine.py:huge", "--episodes", 3, "--set=max_steps=5", *more)
    assert ended.code == 1
    assert ended.err == "rltrack: figures are not finite: return of hover in 3 of 3 episodes\n"
    if more:
        told = json.loads(ended.out, parse_constant=pytest.fail)
        assert told["return"] == {"value": None, "ci95": [None, None], "not_finite": 3}
    else:
        assert "not finite" in ended.out
