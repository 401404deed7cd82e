"""Own pictures: layouts, pairs, crops that stay aligned, and every unfit file named at once."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dragoman.data import DataSettings, open_data
from dragoman.data.files import Files
from dragoman.errors import DataError, DragomanError

TINY = Path(__file__).parent / "data" / "tiny"


def _save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)


def _coordinates(width: int, height: int, number: int) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x, y, np.full_like(x, number)], -1).astype(np.uint8)


@pytest.fixture
def pairs(tmp_path):
    """Twelve pairs whose pixels tell column, row and number; b is the negative of a."""
    for number in range(12):
        picture = _coordinates(100, 80, number)
        _save(tmp_path / "trainA" / f"{number:02}.png", picture)
        _save(tmp_path / "trainB" / f"{number:02}.png", 255 - picture)
    return tmp_path


def _open(data, **options):
    return open_data(DataSettings(data=str(data), **options))


def _take(data, count: int, **options):
    batches = data.batches(**({"batch": 8, "seed": 1} | options))
    try:
        return [next(batches) for _ in range(count)]
    finally:
        batches.close()


def test_crops_and_flips_treat_both_alike(pairs):
    data = _open(pairs, size=64, load_size=80)
    places = set()
    for batch in _take(data, 30):
        assert torch.equal(batch["b"], -batch["a"])
        pixels = torch.round((batch["a"] + 1) * 127.5).int()
        for picture in pixels:
            step = picture[0, 0, 1] - picture[0, 0, 0]
            assert step in (1, -1)  # mirrored or not, never resized
            assert torch.equal(picture[0, 0, 1:] - picture[0, 0, :-1], step.expand(63))
            places.add((int(picture[0].min()), int(picture[1].min()), int(step)))
    columns, rows, steps = (set(values) for values in zip(*places, strict=True))
    assert min(columns) <= 3  # of 0 to 36
    assert max(columns) >= 33
    assert len(rows) == 17
    assert steps == {1, -1}


def test_held_out_pictures_are_stable_and_apart(pairs):
    data = _open(pairs, size=64)
    splits = {split: set(data.names(split)) for split in data.counts}
    assert all(splits.values())
    assert set.union(*splits.values()) == {f"{n:02}" for n in range(12)}
    assert sum(map(len, splits.values())) == 12
    # SHA-1 of "11" begins at 0.093 of its range, of "08" at 0.12 and of "05" at 0.16
    assert splits["test"] == {"11"}
    assert splits["val"] == {"05", "08"}
    for key in "ab":
        shutil.copy(pairs / f"train{key.upper()}" / "00.png", pairs / f"train{key.upper()}/new.png")
    more = _open(pairs, size=64)
    for split, names in splits.items():
        assert set(more.names(split)) - {"new"} <= names


def test_evaluation_takes_the_middle_unvaried(pairs):
    data = _open(pairs, size=80)
    batch = data.rows("train", [0])
    pixels = torch.round((batch["a"][0] + 1) * 127.5).int()
    assert pixels[0, 0].tolist() == list(range(10, 90))
    assert pixels[1, :, 0].tolist() == list(range(80))


def test_batches_resume_and_are_shared_by_processes(pairs):
    whole = _take(_open(pairs, size=32), 4, batch=6, seed=2)
    resumed = _take(_open(pairs, size=32), 1, batch=6, seed=2, start=3)[0]
    parts = [
        _take(_open(pairs, size=32), 1, batch=3, seed=2, start=3, rank=r, world=2)[0]
        for r in range(2)
    ]
    for key, value in whole[3].items():
        assert torch.equal(resumed[key], value)
        assert torch.equal(torch.cat([part[key] for part in parts]), value)


def test_unpaired_folders_are_drawn_independently(tmp_path):
    for number in range(20):
        _save(tmp_path / "x" / f"{number}.png", np.full((16, 16, 3), number))
    for number in range(9):
        _save(tmp_path / "y" / f"other{number}.png", np.full((24, 16, 3), 100 + number))
    data = _open(f"{tmp_path}/x,{tmp_path}/y", size=16, pairing="unpaired")
    assert data.name == "x-y-unpaired"
    assert not data.partners("train")
    data.check()
    seen = [
        (int(a), int(b))
        for batch in _take(data, 20)
        for a, b in zip(batch["a"][:, 0, 0, 0] * 127.5, batch["b"][:, 0, 0, 0] * 127.5, strict=True)
    ]
    assert len(set(seen)) > 40  # of 14 to 18 times 7 pairs; if joined, at most 18
    counts = [data._source.count("train", key) for key in "ab"]
    batches = list(data.split("train", 4))
    assert sum(len(batch["b"]) for batch in batches) == max(counts)


@pytest.mark.parametrize("style", ["{split}{key}", "{split}/{key}"])
def test_layouts_with_given_splits(tmp_path, style):
    for split, count in (("train", 5), ("val", 2), ("test", 3)):
        for key in "AB":
            for number in range(count):
                folder = tmp_path / style.format(split=split, key=key)
                _save(folder / "deep" / f"{number}.jpg", np.zeros((16, 16, 3)))
    data = _open(tmp_path, size=16)
    assert data.counts == {"train": 5, "val": 2, "test": 3}
    assert list(data.names("val")) == ["deep/0", "deep/1"]


def test_tiny_set_opens_by_layout_and_by_folders():
    data = _open(TINY / "earth32", size=32)
    assert data.counts == {"train": 15, "val": 1, "test": 6}
    data.check()
    two = _open(f"{TINY}/emoji32/trainA,{TINY}/emoji32/trainB", size=32)
    assert sum(two.counts.values()) == 16


def test_small_and_long_pictures_are_scaled_up(tmp_path):
    for number, (width, height) in enumerate([(7, 9), (355, 32), (64, 180), (256, 256), (1, 1)]):
        for key in "AB":
            pixels = np.full((height, width, 3), 50 * number)
            _save(tmp_path / f"train{key}" / f"{number}.png", pixels)
    data = _open(tmp_path, size=64)
    data.check()
    for batch in _take(data, 3):
        assert batch["a"].shape == (8, 3, 64, 64)
        assert torch.equal(batch["a"], batch["b"])
    small = _take(data, 1, size=16)[0]  # as asked for by a stage
    assert small["a"].shape == (8, 3, 16, 16)


def test_grey_domains_keep_one_channel(tmp_path):
    for number in range(4):
        _save(tmp_path / "trainA" / f"{number}.png", np.full((8, 8), 10 * number))
        grey = np.full((8, 8), 10 * number)
        _save(tmp_path / "trainB" / f"{number}.png", np.stack([grey] * 3, -1) if number else grey)
    data = _open(tmp_path, size=8)
    assert data.facts.channels == {"a": 1, "b": 3}
    batch = data.rows("train", [0, 1])
    assert torch.equal(batch["a"].expand(-1, 3, -1, -1), batch["b"])
    assert data.show("a", batch["a"]).shape == (2, 8, 8, 3)


@settings(max_examples=25)
@given(
    width=st.integers(1, 60),
    height=st.integers(1, 60),
    size=st.integers(8, 40),
    extra=st.integers(0, 9),
    fixed=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_any_size_gives_aligned_squares(tmp_path_factory, width, height, size, extra, fixed, seed):
    folder = tmp_path_factory.mktemp("any")
    for number in range(3):
        picture = _coordinates(width, height, number)
        _save(folder / "trainA" / f"{number}.png", picture)
        _save(folder / "trainB" / f"{number}.png", picture)
    crop = "fixed" if fixed else "random"
    data = _open(folder, size=size, load_size=size + extra, crop=crop)
    data.check()
    batch = _take(data, 1, batch=3, seed=seed)[0]
    assert batch["a"].shape == (3, 3, size, size)
    assert torch.equal(batch["a"], batch["b"])
    assert data.rows("test", [0])["a"].shape == (1, 3, size, size)


def test_colour_varies_both_alike_and_stays_in_range(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (16, 16, 3))
    for number in range(8):
        for key in "AB":
            _save(tmp_path / f"train{key}" / f"{number}.png", picture)
    batch = _take(_open(tmp_path, size=16, crop="fixed", flip=False, colour=0.3), 1)[0]
    assert torch.equal(batch["a"], batch["b"])
    assert batch["a"].abs().max() <= 1
    assert len({float(mean) for mean in batch["a"].mean((1, 2, 3))}) == 8


def _truncated(path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3))
    _save(path, noise)
    path.write_bytes(path.read_bytes()[:6000])


def test_check_names_everything_at_once(pairs):
    (pairs / "trainB" / "00.png").unlink()
    _save(pairs / "trainB" / "alone.png", np.zeros((8, 8, 3)))
    _save(pairs / "trainB" / "01.png", np.zeros((80, 90, 3)))
    _truncated(pairs / "trainA" / "02.png")
    (pairs / "trainA" / "03.png").write_bytes(b"")
    _save(pairs / "trainA" / "04.jpg", np.zeros((80, 100, 3)))
    data = _open(pairs, size=32)
    with pytest.raises(DataError) as caught:
        data.check()
    text = str(caught.value)
    assert text.startswith(f"6 problems in the pictures of {pairs}; mend or remove these files:")
    for words in (
        "trainA/00.png has no partner in",
        "trainB/alone.png has no partner in",
        "01.png is 100x80 pixels, but its partner",
        "is 90x80",
        "trainA/02.png is cut off",
        "trainA/03.png is empty",
        "trainA/04.png has the same name as 04.jpg",
    ):
        assert words in text, words


def test_check_shows_twenty_and_counts_the_rest(pairs):
    for number in range(30):
        _save(pairs / "trainA" / f"more{number}.png", np.zeros((8, 8, 3)))
    with pytest.raises(DataError, match=r"^30 problems") as caught:
        _open(pairs, size=32).check()
    assert str(caught.value).count("\n") == 21
    assert "... and 10 more" in str(caught.value)


def test_unreadable_file_stops_the_batches_with_its_name(pairs):
    for number in range(12):
        _truncated(pairs / "trainA" / f"{number:02}.png")
    with pytest.raises(DataError, match=r"trainA/\d\d\.png is cut off"):
        _take(_open(pairs, size=32), 1)


def test_layout_refusals(tmp_path):
    with pytest.raises(DataError, match=r"needs the folders trainA and trainB.*it has no folder"):
        _open(tmp_path)
    (tmp_path / "trainA").mkdir()
    with pytest.raises(DataError, match=r"has the folder trainA but lacks .*trainB"):
        _open(tmp_path)
    (tmp_path / "trainB").mkdir()
    with pytest.raises(DataError, match="no picture left for train"):
        _open(tmp_path)
    for number in range(5):
        _save(tmp_path / "trainA" / f"a{number}.png", np.zeros((8, 8)))
        _save(tmp_path / "trainB" / f"b{number}.png", np.zeros((8, 8)))
    with pytest.raises(DragomanError, match="use --pairing unpaired"):
        _open(tmp_path)
    with pytest.raises(DragomanError, match="--load_size 20 is less than --size 32"):
        _open(tmp_path, size=32, load_size=20, pairing="unpaired")


def test_memory_is_bounded(pairs, monkeypatch):
    monkeypatch.setattr("dragoman.data.files.MEMORY", 100_000)
    data = _open(pairs, size=64, load_size=80)
    expected = [batch["a"].clone() for batch in _take(data, 5)]
    source = data._source
    assert isinstance(source, Files)
    assert 0 < source._kept_bytes <= 100_000
    monkeypatch.setattr("dragoman.data.files.MEMORY", 10**9)
    for batch, other in zip(expected, _take(_open(pairs, size=64, load_size=80), 5), strict=True):
        assert torch.equal(batch, other["a"])


def test_finding_follows_no_links(tmp_path):
    _save(tmp_path / "outside" / "secret.png", np.zeros((8, 8)))
    for key in "AB":
        for number in range(3):
            _save(tmp_path / "set" / f"train{key}" / f"{number}.png", np.zeros((8, 8)))
        (tmp_path / "set" / f"train{key}" / "link").symlink_to(tmp_path / "outside")
    data = _open(tmp_path / "set", size=8)
    assert sorted(name for split in data.counts for name in data.names(split)) == ["0", "1", "2"]
