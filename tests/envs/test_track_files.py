"""What is read of track files, and what is refused in one line."""

import math
import struct
import sys

import numpy as np
import pytest

from rl_tracking.envs.parts.track_files import read_track
from rl_tracking.errors import UsageError

GOOD = "time,x,y,z\n0,1,2,3\n0.5,2,2,3\n1.5,4,2,1\n"


def read(tmp_path, text, name="flight.csv", longest_gap=2.0):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_track(str(path), longest_gap)


def said(tmp_path, text, **given):
    with pytest.raises(UsageError) as error:
        read(tmp_path, text, **given)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_metres(tmp_path):
    track = read(tmp_path, GOOD)
    assert track.name == "flight.csv"
    assert track.time.tolist() == [0, 0.5, 1.5]
    assert track.position.tolist() == [[1, 2, 3], [2, 2, 3], [4, 2, 1]]


def test_columns_in_any_order_with_others_between_and_times_from_anywhere(tmp_path):
    track = read(tmp_path, "\ufeffY, battery ,T,x\n\n2,ok,100,1\n3,low,101,1\n")
    assert track.time.tolist() == [0, 1]
    assert track.position.tolist() == [[1, 2, 0], [1, 3, 0]], "a flat track has no height"


def test_degrees(tmp_path):
    track = read(tmp_path, "time,lat,lon,alt\n0,60,179.9999,10\n1,60.0001,-179.9999,12\n")
    # A ten-thousandth of a degree north is 11.12 m; twice that east over the date line is half as long at 60 degrees.
    tenth = 6_371_008.8 * math.radians(1e-4)
    assert track.position[0].tolist() == [0, 0, 0]
    assert track.position[1].tolist() == pytest.approx([2 * tenth * 0.5, tenth, 2], rel=1e-5)


def test_the_sample_fits_the_default_arena():
    track = read_track("sample", 0.11)
    assert len(track.time) == 901
    assert (np.ptp(track.position, axis=0) < 60).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty; it needs time and x, y, z in metres, or time and latitude, longitude, altitude"),
        ("\n\n", "is empty; it needs"),
        ("time,x,y,z\n", "has no rows"),
        ("time,x,y,z\n0,1,2,3\n", "has one row; a track needs two or more"),
        ("a,b\n0,1\n", "has the columns a, b; it needs time and x, y, z in metres, or"),
        ("time,x,latitude\n0,1,2\n", "has the columns time, x, latitude; it needs"),
        ("time,x,y,x\n0,1,2,3\n", "has the column x twice"),
        (
            "time,x,y\n0,1,2\n2,1,2\n1,1,2\n",
            "row 3: time 1 s does not follow 2 s; sort the rows by time, each time once",
        ),
        ("time,x,y\n0,1,2\n0,1,2\n", "row 2: time 0 s does not follow 0 s"),
        ("time,x,y\n0,1,2\n1,1,2\n9,1,2\n", "has a gap of 8 s after row 2 (time 1 s), longer than 2 s; fill it, cut"),
        ("time,x,y\n0,1,2\n1,nan,2\n", "row 2: x must be a finite number, not 'nan'"),
        ("time,x,y\n0,1,2\n1,far,2\n", "row 2: x must be a finite number, not 'far'"),
        ("time,x,y\n0,1,2\n1,1\n", "row 2: y must be a finite number, not ''"),
        ("time,x,y\n0,1,2\n1,1e300,2\n", "row 2: time or position is not finite, or beyond 1e+08 m"),
        ("time,lat,lon\n0,1,2\n1,91,2\n", "row 2: latitude must be a number from -90 to 90 degrees, not 91"),
        (b"time,x\xff", "is no text in UTF-8"),
    ],
)
def test_bad_tables_are_one_line(tmp_path, text, message):
    found = said(tmp_path, text)
    assert found.startswith("track file '")
    assert message in found


def test_what_is_said_of_a_gap_helps(tmp_path):
    text = "time,x,y\n0,1,2\n4.5,1,2\n"
    assert "allow it with max_gap=5" in said(tmp_path, text)
    assert len(read(tmp_path, text, longest_gap=5.0).time) == 2


def test_what_is_no_file(tmp_path):
    for path, message in ((tmp_path / "none.csv", "No such file"), (tmp_path, "is no file")):
        with pytest.raises(UsageError, match=message):
            read_track(str(path), 2.0)


def test_a_file_that_changes_is_read_anew(tmp_path):
    assert read(tmp_path, GOOD).time[-1] == 1.5
    assert read(tmp_path, GOOD + "2.5,0,0,0\n").time[-1] == 2.5


# -- PX4 logs, written here byte by byte: https://docs.px4.io/main/en/dev_log/ulog_file_format.html

LOCAL = "uint64_t timestamp;float x;float y;float z;bool xy_valid;bool z_valid"
GLOBAL = "uint64_t timestamp;double lat;double lon;float alt"


def message(kind, body):
    return struct.pack("<HB", len(body), ord(kind)) + body


def ulog(topics):
    """A log of topics: name to (format, layout, rows)."""
    out = b"ULog\x01\x12\x35\x01" + struct.pack("<Q", 0) + message("B", bytes(40))
    for name, (fields, _, _) in topics.items():
        out += message("F", f"{name}:{fields};".encode())
    for number, name in enumerate(topics):
        out += message("A", struct.pack("<BH", 0, number) + name.encode())
    for number, (_, layout, rows) in enumerate(topics.values()):
        for row in rows:
            out += message("D", struct.pack("<H", number) + struct.pack(layout, *row))
    return out


class TestLogs:
    @pytest.fixture(autouse=True)
    def _reader(self):
        pytest.importorskip("pyulog")

    def test_the_local_position_is_north_east_down(self, tmp_path):
        rows = [(1_000_000, 10, 20, -30, 1, 1), (1_500_000, 11, 22, -33, 1, 1), (2_000_000, 9, 9, 9, 0, 1)]
        log = ulog({"vehicle_local_position": (LOCAL, "<Qfff??", rows)})
        track = read(tmp_path, log, name="flight.ulg")
        assert track.time.tolist() == [0, 0.5], "what the estimator calls invalid is left out"
        assert track.position.tolist() == [[20, 10, 30], [22, 11, 33]]

    def test_the_global_position_where_there_is_no_other(self, tmp_path):
        rows = [(0, 47.0, 8.0, 500.0), (1_000_000, 47.0001, 8.0, 505.0)]
        log = ulog({"vehicle_global_position": (GLOBAL, "<Qddf", rows), "other": ("uint64_t timestamp", "<Q", [])})
        track = read(tmp_path, log, name="flight.ULG")
        assert track.position[1].tolist() == pytest.approx([0, 11.1195, 5], rel=1e-4)

    @pytest.mark.parametrize(
        ("log", "words"),
        [
            (ulog({"vehicle_status": ("uint64_t timestamp", "<Q", [(1,), (2,)])}), "has no positions: no valid sample"),
            (ulog({"vehicle_local_position": (LOCAL, "<Qfff??", [(1, 0, 0, 0, 0, 0)])}), "has no positions"),
            (ulog({"vehicle_local_position": (LOCAL, "<Qfff??", [(1, 0, 0, 0, 1, 1)])}), "has one sample; a track"),
            (b"", "is no PX4 log that can be read"),
            (b"time,x,y\n0,1,2\n1,2,3\n", "is no PX4 log that can be read"),
        ],
    )
    def test_bad_logs_are_one_line(self, tmp_path, log, words):
        assert words in said(tmp_path, log, name="flight.ulg")


def test_without_the_extra_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyulog", None)
    assert "it needs the extra 'logs', pip install \"rl-tracking[logs]\"" in said(tmp_path, b"ULog", name="x.ulg")
