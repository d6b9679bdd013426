from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from rl_tracking.errors import UsageError
from rl_tracking.viewer import outputs
from rl_tracking.viewer.outputs import FILM_SUFFIXES, check_output, open_film, save_png


def picture(value: int, size: tuple[int, int] = (32, 18)) -> np.ndarray:
    """Dark, with one bright square whose place depends on ``value``."""
    pixels = np.full((size[1], size[0], 3), 12, dtype=np.uint8)
    pixels[4:10, value : value + 6] = (87, 231, 158)
    return pixels


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("film.avi", r"--record: '.*film\.avi' must end in \.gif or \.mp4"),
        ("film", r"must end in \.gif or \.mp4"),
        ("missing/film.gif", r"the directory '.*missing' does not exist"),
        ("folder.gif", r"'.*folder\.gif' cannot be written"),
    ],
)
def test_files_that_cannot_be_written_are_refused(tmp_path, name, message) -> None:
    (tmp_path / "folder.gif").mkdir()
    with pytest.raises(UsageError, match=message) as caught:
        check_output(tmp_path / name, "--record", FILM_SUFFIXES)
    assert "\n" not in str(caught.value)


def test_a_good_path_is_accepted_in_any_case(tmp_path) -> None:
    check_output(tmp_path / "film.GIF", "--record", FILM_SUFFIXES)


def test_an_mp4_without_its_extra_names_the_extra(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(outputs.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r'pip install "rl-tracking\[video\]"'):
        check_output(tmp_path / "film.mp4", "--record", FILM_SUFFIXES)


def test_a_png_keeps_every_pixel(tmp_path) -> None:
    save_png(tmp_path / "p.png", picture(3))
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "p.png")), picture(3))
    assert [path.name for path in tmp_path.iterdir()] == ["p.png"]


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch) -> None:
    path = tmp_path / "p.png"
    path.write_bytes(b"old")

    def torn(self, part, **options):
        Path(part).write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(Image.Image, "save", torn)
    with pytest.raises(OSError, match="disk full"):
        save_png(path, picture(0))
    assert path.read_bytes() == b"old"
    assert [item.name for item in tmp_path.iterdir()] == ["p.png"]


def test_a_gif_has_its_pictures_its_pace_and_its_colours(tmp_path) -> None:
    path = tmp_path / "f.gif"
    film = open_film(path, 20)
    for i in range(8):
        film.add(picture(i))
    assert not path.exists()
    film.save()
    with Image.open(path) as image:
        assert image.n_frames == 8
        assert image.info["loop"] == 0
        for i in range(8):
            image.seek(i)
            assert image.info["duration"] == 50
            shown = np.asarray(image.convert("RGB")).astype(int)
            assert np.abs(shown - picture(i)).max() < 12
    assert [item.name for item in tmp_path.iterdir()] == ["f.gif"]


def test_the_palette_has_the_theme_s_colours_that_come_later(tmp_path) -> None:
    film = open_film(tmp_path / "f.gif", 20)
    film.add(np.full((18, 32, 3), 12, dtype=np.uint8))
    film.add(picture(5))
    film.save()
    with Image.open(tmp_path / "f.gif") as image:
        image.seek(1)
        shown = np.asarray(image.convert("RGB")).astype(int)
    assert np.abs(shown - picture(5)).max() < 12


def test_a_gif_of_pictures_that_do_not_change_stays_small(tmp_path) -> None:
    rng = np.random.default_rng(0)
    still = rng.integers(0, 60, size=(90, 160, 3), dtype=np.uint8)
    sizes = []
    for count in (2, 20):
        film = open_film(tmp_path / f"{count}.gif", 20)
        for i in range(count):
            moved = still.copy()
            moved[10:14, 5 * i : 5 * i + 4] = 255
            film.add(moved)
        film.save()
        sizes.append((tmp_path / f"{count}.gif").stat().st_size)
    assert sizes[1] < 2 * sizes[0]  # ten times the pictures


def test_a_discarded_film_leaves_nothing(tmp_path) -> None:
    film = open_film(tmp_path / "f.gif", 20)
    film.add(picture(0))
    film.discard()
    film.save()
    assert list(tmp_path.iterdir()) == []


class FakeEncoder:
    """Stands for imageio_ffmpeg: writes how many pictures it was sent."""

    def __init__(self) -> None:
        self.arguments: tuple = ()

    def write_frames(self, path, size, **options):
        self.arguments = (size, options["fps"])
        count = 0
        Path(path).write_text("begun")
        try:
            while True:
                frame = yield
                if frame is not None:
                    assert frame.shape == (size[1], size[0], 3)
                    count += 1
        finally:
            Path(path).write_text(f"{count} pictures")


@pytest.fixture
def encoder(monkeypatch) -> FakeEncoder:
    fake = FakeEncoder()
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", SimpleNamespace(write_frames=fake.write_frames))
    return fake


def test_an_mp4_is_encoded_beside_its_place(tmp_path, encoder) -> None:
    path = tmp_path / "f.mp4"
    film = open_film(path, 30)
    for i in range(5):
        film.add(picture(i))
    assert not path.exists()
    film.save()
    assert path.read_text() == "5 pictures"
    assert encoder.arguments == ((32, 18), 30)
    assert [item.name for item in tmp_path.iterdir()] == ["f.mp4"]


def test_a_discarded_mp4_leaves_nothing(tmp_path, encoder) -> None:
    film = open_film(tmp_path / "f.mp4", 30)
    film.add(picture(0))
    film.discard()
    assert list(tmp_path.iterdir()) == []
