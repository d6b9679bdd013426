"""The track against the flight that it follows; what every motion keeps is in ``test_motions.py``."""

import pytest
import torch

from rl_tracking.envs.noise import world_keys
from rl_tracking.envs.parts.arena import square_arena
from rl_tracking.envs.parts.motions_recorded import Track
from rl_tracking.envs.parts.track_files import RecordedTrack, read_track
from rl_tracking.envs.scenarios.pursuit.scenario import make_pursuit
from rl_tracking.envs.scenarios.track2d.scenario import make_track2d
from rl_tracking.envs.vec_env import make_scenario
from rl_tracking.errors import SettingWarning, UsageError
from tests.envs.test_motions import FLAT, SMALL, anchors, path

# Along x for 2 s at 5 m/s, then up for 1 s at 10 m/s; from 20 m below and before the arena's centre.
TIME, POSITION = [0.0, 2.0, 3.0], [[0.0, 7.0, 0.0], [10.0, 7.0, 0.0], [10.0, 7.0, 10.0]]


def recorded(time=TIME, position=POSITION, scale=1.0):
    return RecordedTrack(
        "flight.csv",
        torch.tensor(time, dtype=torch.float64).numpy(),
        (scale * torch.tensor(position, dtype=torch.float64)).numpy(),
    )


def flown(motion, arena=SMALL, steps=60, worlds=1):
    return path(motion, anchors(arena, worlds), world_keys(0, worlds), arena, steps)


def test_there_and_back_at_its_own_pace_about_the_centre():
    seen = flown(Track(20.0, recorded(), random_start=False))
    # The middle of the flight, (5, 7, 5), is the arena's, (30, 30, 30).
    place = seen.position[:, 0]
    for second, expected in {
        0.0: (25, 30, 25),
        1.0: (30, 30, 25),
        2.0: (35, 30, 25),
        3.0: (35, 30, 35),
        4.0: (35, 30, 25),
        6.0: (25, 30, 25),
    }.items():
        assert place[round(second * 10)].tolist() == pytest.approx(expected, abs=1e-4)
    assert seen.velocity[5, 0].tolist() == pytest.approx([5, 0, 0], abs=1e-4)
    assert seen.velocity[25, 0].tolist() == pytest.approx([0, 0, 10], abs=1e-4)
    assert seen.velocity[35, 0].tolist() == pytest.approx([0, 0, -10], abs=1e-4)


def test_a_slow_target_flies_it_at_a_lower_pace():
    motion = Track(4.0, recorded(), random_start=False)
    place = flown(motion, steps=150).position[:, 0]
    # 0.4 of its pace: 2 s of the flight take 5 s.
    assert place[50].tolist() == pytest.approx((35, 30, 25), abs=1e-4)
    assert place[75].tolist() == pytest.approx((35, 30, 35), abs=1e-3)
    assert motion.cut(SMALL) == [
        "track 'flight.csv' is flown at 0.4 of its pace: its 10 m/s are more than the target's 4"
    ]
    assert Track(10.0, recorded()).cut(SMALL) == []


def test_speeds_of_their_own():
    motion = Track(torch.tensor([[0.0], [5.0], [50.0]]), recorded(), random_start=False)
    place = flown(motion, steps=20, worlds=3).position[-1]
    assert place[:, 0].tolist() == pytest.approx([25, 30, 35], abs=1e-4)


def test_it_is_resampled_by_straight_lines():
    coarse = square_arena(60.0, 3, 0.8, whole_units=False, device="cpu")
    place = flown(Track(20.0, recorded(), random_start=False), arena=coarse, steps=3).position[:, 0]
    # At 2.4 s it has climbed for 0.4 s; what lies between is not met, and what comes after the last step is left out.
    expected = [[0, 0], [4, 0], [8, 0], [10, 4]]
    assert (place - place[0])[:, [0, 2]].tolist() == [pytest.approx(row, abs=1e-4) for row in expected]


def test_a_large_flight_is_shrunk_on_all_axes_alike():
    motion = Track(1e3, recorded(scale=12.0), random_start=False)
    seen = flown(motion, steps=30).position[:, 0]
    assert (seen.amax(dim=0) - seen.amin(dim=0)).tolist() == pytest.approx([60, 0, 60], abs=1e-3)
    assert motion.cut(SMALL) == [
        "track 'flight.csv' is shrunk to 0.5 of its size: its 120 x 0 x 120 m do not fit in the arena of 60 m"
    ]


def test_or_held_at_the_walls():
    motion = Track(1e3, recorded(scale=12.0), fit="clip", random_start=False)
    place = flown(motion, steps=30).position[:, 0]
    assert place[0].tolist() == [0, 30, 0]
    assert place[10].tolist() == pytest.approx([30, 30, 0]), "halfway along x, below the floor"
    (said,) = motion.cut(SMALL)
    assert said.startswith(
        "track 'flight.csv' is held at the walls in 100% of its samples, on x, z: its 120 x 0 x 120 m"
    )


def test_a_flat_arena_has_no_heights():
    motion = Track(20.0, recorded(), random_start=False)
    seen = flown(motion, arena=FLAT, steps=20)
    assert seen.position[-1, 0].tolist() == pytest.approx([35, 30], abs=1e-4)
    assert motion.cut(FLAT) == ["track 'flight.csv' loses its heights, 10 m, in a flat arena"]


def test_it_starts_anywhere_there_or_back():
    motion, worlds = Track(20.0, recorded()), 3000
    first = flown(motion, steps=1, worlds=worlds)
    leg = first.memory[0, :, 0]
    assert (leg.amin().item(), leg.amax().item()) == (0, 59)
    assert (leg < 30).float().mean().item() == pytest.approx(0.5, abs=0.03)


def test_it_does_not_drift_in_a_long_time():
    motion = Track(7.0, recorded(), random_start=False)
    legs, place = 60, flown(motion, steps=6000).memory[-1, 0]
    expected = 6000 * 0.7 % legs
    gone = (place[0] + place[1]).item()
    assert min(abs(gone - expected), legs - abs(gone - expected)) < 0.01


def test_a_track_shorter_than_a_step_or_too_long_is_refused():
    with pytest.raises(UsageError, match=r"track 'flight.csv' lasts 0.05 s, less than a control step of 0.1 s"):
        Track(5.0, recorded([0.0, 0.05], [[0.0] * 3, [1.0] * 3])).cut(SMALL)
    with pytest.raises(UsageError, match="has 2,000,000 control steps; 1,048,576 are the most"):
        Track(5.0, recorded([0.0, 2e5], [[0.0] * 3, [1.0] * 3])).cut(SMALL)


def test_scenarios_say_what_was_cut():
    with pytest.warns(SettingWarning, match=r"track 'sample.csv' is flown at 0.\d+ of its pace"):
        make_pursuit(motion="track", target_speed=2.0)
    with pytest.warns(SettingWarning, match=r"track 'sample.csv' loses its heights"):
        make_track2d(motion="track")
    for scenario in ("swarm", "intercept"):
        with pytest.warns(SettingWarning) as said:
            make_scenario(scenario, motion="track", target_speed=2.0)
        assert any("track 'sample.csv' is flown at 0." in str(one.message) for one in said), scenario


def test_options(tmp_path):
    file = tmp_path / "mine.csv"
    file.write_text("time,x,y,z\n0,0,0,0\n9,1,1,1\n")
    motion = make_pursuit(motion=f"track:file={file},fit=clip,max_gap=10,random_start=false").motion
    assert (motion.recorded.name, motion.fit, motion.random_start) == ("mine.csv", "clip", False)
    assert make_pursuit(motion="track").motion.recorded is read_track("sample", 2.0), "it is read once"
    with pytest.raises(UsageError, match="gap of 9 s after row 1"):
        make_pursuit(motion=f"track:{file}")
    with pytest.raises(UsageError, match="fit of motion 'track': 'stretch'"):
        make_pursuit(motion="track:fit=stretch")
