"""Parts of the doctor against slow and simple ways to the same result."""

import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dragoman.data import DataSettings
from dragoman.data.catalogue import Domain
from dragoman.data.doctor import check, copies, measuring, shift, sweep
from dragoman.data.doctor.findings import Finding, Findings, in_order
from dragoman.data.doctor.subject import Look
from dragoman.data.doctor.sweep import Progress, Ward, swept
from dragoman.data.doctor.telling import _short, told

PHOTO = Domain("a", "photo", 3)


@settings(max_examples=50)
@given(
    numbers=st.lists(st.integers(0, 5), max_size=12),
    seed=st.integers(0, 1000),
)
def test_equal_contents_are_paired_with_the_first(numbers, seed):
    rng = np.random.default_rng(seed)
    splits = np.sort(rng.integers(0, 3, len(numbers)))
    considered = rng.random(len(numbers)) < 0.8
    content = np.array([(n, n * n) for n in numbers], np.uint64).reshape(-1, 2)
    found = copies.exact(content, splits, considered)
    same, across = [], []
    for later, number in enumerate(numbers):
        if not considered[later]:
            continue
        equal = [n for n in range(later) if numbers[n] == number and considered[n]]
        own = [n for n in equal if splits[n] == splits[later]]
        same += [[later, own[0]]] if own else []
        other = [n for n in equal if splits[n] != splits[later]]
        across += [[later, other[0]]] if other else []
    assert found.same.tolist() == same
    assert found.across.tolist() == across


def test_copies_are_found_without_comparing_all_with_all():
    """In 6,000 thumbnails, of which 300 are noisy copies: as by comparing all, but for a few."""
    rng = np.random.default_rng(0)
    coarse = rng.normal(size=(5700, 4, 4)).repeat(4, 1).repeat(4, 2).reshape(5700, 256)
    own = 40 * coarse + rng.normal(0, 12, (5700, 256)) + 128
    origin = rng.choice(5700, 300, replace=False)
    noisy = own[origin] + rng.normal(0, 4, (300, 256))
    thumbs = np.concatenate([own, noisy]).clip(0, 255).astype(np.uint8)
    splits = np.repeat([0, 1], [5700, 300])
    everything = np.ones(6000, bool)
    found = copies.candidates(thumbs, splits, everything)
    assert len(found.same) == 0
    assert len(found.across) >= 295
    pairs = dict(found.across.tolist())
    assert all(origin[later - 5700] == earlier for later, earlier in pairs.items())
    largest = max(map(len, copies._buckets(thumbs, np.arange(6000))))
    assert largest < 6000 / 4, "otherwise little is spared"


def test_many_alike_do_not_blow_up_the_comparison():
    rng = np.random.default_rng(0)
    one = rng.integers(0, 256, 256)
    thumbs = (one + rng.integers(-2, 3, (9000, 256))).clip(0, 255).astype(np.uint8)
    largest = max(map(len, copies._buckets(thumbs, np.arange(9000))))
    assert largest <= 4 * copies.BUCKET
    found = copies.candidates(thumbs, np.zeros(9000, int), np.ones(9000, bool))
    assert len(found.same) > 8900
    assert (found.same[:, 0] > found.same[:, 1]).all()


@pytest.mark.parametrize("shape", [(16, 16, 1), (40, 23, 3), (5, 300, 2), (1, 1, 4), (257, 19, 1)])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "float32"])
def test_cells_are_means_of_pixels(shape, dtype):
    rng = np.random.default_rng(0)
    pixels = (rng.random(shape) * 200 - (100 if dtype == "int16" else 0)).astype(dtype)
    cells = measuring.blocks(pixels, 16)
    height, width, _ = shape
    for row in range(16):
        for column in range(16):
            y, x = row * height // 16, column * width // 16
            end_y = max(y + 1, (row + 1) * height // 16)
            end_x = max(x + 1, (column + 1) * width // 16)
            mean = pixels[y:end_y, x:end_x].astype(float).mean((0, 1))
            np.testing.assert_allclose(cells[row, column], mean, rtol=1e-5, atol=1e-4)


def test_the_greatest_depths_do_not_overflow():
    for dtype in ("uint16", "int16"):
        pixels = np.full((3000, 700, 2), np.iinfo(dtype).max, dtype)
        assert (measuring.blocks(pixels, 16) == np.iinfo(dtype).max).all()


def test_class_numbers_of_every_depth_are_counted():
    for dtype in ("uint8", "uint16", "int16", "int32"):
        low, high = max(-65536, np.iinfo(dtype).min), min(65535, np.iinfo(dtype).max)
        pixels = np.array([[low, low, high], [0, 1, high]], dtype)[..., None]
        measures = measuring.measures(np.arange(1), None, "map")
        measures.take(0, Look(pixels, 2, 3, 1), None)
        counted = {int(n) - measuring.ZERO: int(measures.ids[n]) for n in measures.ids.nonzero()[0]}
        expected = dict.fromkeys({low, 0, 1, high}, 0)
        for number in pixels.ravel().tolist():
            expected[number] += 1
        assert counted == expected


@pytest.mark.parametrize("change", ["hands", "colour", "place", "aspect"])
def test_what_is_but_similar_is_not_the_same(change):
    """A clock at another hour, another colour, moved, or cut."""

    def clock(hand: tuple[int, int], fill: str = "white") -> Image.Image:
        from PIL import ImageDraw

        picture = Image.new("RGB", (96, 96), "white")
        pen = ImageDraw.Draw(picture)
        pen.ellipse((10, 10, 85, 85), outline="black", width=4, fill=fill)
        pen.line((48, 48, *hand), fill="black", width=4)
        return picture

    one = clock((48, 20))
    other = {
        "hands": clock((75, 48)),
        "colour": clock((48, 20), "yellow"),
        "place": clock((48, 20)).rotate(0, translate=(9, 0), fillcolor="white"),
        "aspect": clock((48, 20)).crop((0, 5, 96, 91)),
    }[change]
    assert copies.alike(np.asarray(one), np.asarray(one.resize((192, 192))), PHOTO)
    assert not copies.alike(np.asarray(one), np.asarray(other), PHOTO)


def test_empty_sky_is_no_copy_of_empty_sky():
    ramp = np.linspace(100, 112, 96).astype(np.uint8)
    sky = np.repeat(np.repeat(ramp[:, None], 96, 1)[..., None], 3, 2)
    assert not copies.alike(sky, sky + np.uint8(1), PHOTO)


@settings(max_examples=15)
@given(down=st.integers(-9, 9), right=st.integers(-9, 9), size=st.integers(48, 120))
def test_every_shift_is_found(down, right, size):
    rng = np.random.default_rng(abs(down) + 20 * abs(right))
    surfaces = []
    for _ in range(10):
        small = rng.integers(0, 256, (size // 6, size // 6), np.uint8)
        whole = np.asarray(Image.fromarray(small).resize((size + 20, size + 30)))[..., None]
        a = whole[10 : 10 + size, 10:]
        b = (
            255
            - whole[10 - down : 10 - down + size, 10 - right : 20 + size - right][:, : a.shape[1]]
        )
        a = a[:, : b.shape[1]]
        surfaces.append(shift.surface(a, b // 2, (False, False)))
    found = shift.estimate([one for one in surfaces if one is not None])
    assert found is not None
    assert max(abs(found.down - down), abs(found.right - right)) <= 1
    assert found.moved == (max(abs(found.down), abs(found.right)) >= 2)
    assert not found.scattered


def test_shifts_of_label_maps():
    """Borders of classes and the edges of a photograph lie in the same place, or 3 px apart."""
    rng = np.random.default_rng(0)
    for away in (0, 3):
        surfaces = []
        for _ in range(10):
            small = Image.fromarray(rng.integers(0, 3, (9, 9), np.uint8))
            classes = np.asarray(small.resize((70, 70), Image.Resampling.NEAREST))
            photo = np.asarray(Image.fromarray(classes * np.uint8(90)).convert("RGB"))
            photo = np.roll(photo, away, 1)
            surfaces.append(shift.surface(classes[..., None], photo, (True, False)))
        found = shift.estimate([one for one in surfaces if one is not None])
        assert found is not None
        assert (found.down, found.right) == (0, away)


def test_too_few_pairs_or_pixels_tell_nothing():
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 1), np.uint8)
    assert shift.surface(noise[:31], noise[:31], (False, False)) is None
    assert shift.surface(noise, np.full_like(noise, 7), (False, False)) is None
    one = shift.surface(noise, noise, (False, False))
    assert one is not None
    assert shift.estimate([one] * 7) is None
    assert shift.estimate([one] * 8) is not None


def test_work_is_done_in_order_with_few_in_flight():
    running, most, lock = 0, 0, threading.Lock()

    def work(number: int) -> int:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.001 * (number % 3))
        with lock:
            running -= 1
        return number * 2

    taken = []

    def given():
        for number in range(40):
            taken.append(number)
            yield number

    done = swept(work, given(), threads=3)
    assert next(done) == 0
    assert len(taken) <= sweep.AHEAD * 3
    assert list(done) == [2 * n for n in range(1, 40)]
    assert most <= 3


def test_an_error_in_a_thread_comes_out():
    def work(number: int) -> int:
        return 1 // (number - 5)

    with pytest.raises(ZeroDivisionError):
        list(swept(work, range(100)))


def test_progress_is_told_now_and_then(monkeypatch):
    monkeypatch.setattr(sweep, "PATIENCE", 0.0)
    said: list[str] = []
    progress = Progress(1000, said.append)
    progress.add(250)
    assert said[0].startswith("looked at 250 of 1,000 pictures, ")
    assert said[0].endswith(" s to go")
    Progress(10, None).add(5)


def test_lines_are_bounded_but_counted(monkeypatch):
    monkeypatch.setattr(sweep, "MOST_LINES", 3)
    ward = Ward(["x.png has no partner in y"])
    for number in range(9):
        ward.add(("unreadable", f"{number}.png is empty"))
    partner, unreadable = ward.findings()
    assert (partner.count, partner.message) == (1, "pictures without partner: 1")
    assert unreadable.count == 9
    assert unreadable.examples == ("0.png is empty", "1.png is empty", "2.png is empty")


def test_findings_are_ordered_by_level_and_give_the_verdict():
    found = [Finding(level, "x", level, 1) for level in ("note", "warning", "fatal", "note")]
    ordered = in_order(found)
    assert [one.level for one in ordered] == ["fatal", "warning", "note", "note"]
    assert Findings("d", ordered).verdict == "fatal"
    assert Findings("d", ordered[1:]).verdict == "warning"
    assert Findings("d", ()).verdict == "well"
    assert told(Findings("d", ()), 5).endswith("nothing was found")


@pytest.mark.parametrize("value", [0, 1e-9, 255, -6500, 123456, 1234567.9, -3.4e38, 0.00012345])
def test_numbers_in_the_table_are_short_and_near(value):
    text = _short(value)
    assert len(text) <= 8
    assert float(text) == pytest.approx(value, rel=0.06)


def test_pictures_of_any_shape_are_examined(tmp_path, monkeypatch):
    monkeypatch.setenv("DRAGOMAN_CACHE", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    for number in range(24):
        height, width = [(1, 1), (3, 50), (70, 2), (16, 16), (33, 47)][number % 5]
        pixels = rng.integers(0, 256, (height, width, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    findings = check(DataSettings(data=str(tmp_path), size=8, layout="single"))
    codes = {one.code for one in findings.found}
    assert {"constant", "small", "aspect", "sizes"} <= codes
    assert not findings.of("fatal")
    assert "from 1x1 to 47x33 pixels" in told(findings, 3)


def test_large_jpegs_are_decoded_smaller_but_measured_as_they_are(tmp_path, monkeypatch):
    monkeypatch.setenv("DRAGOMAN_CACHE", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    for number in range(20):
        small = Image.fromarray(rng.integers(0, 256, (9, 12, 3), np.uint8))
        small.resize((1200, 900), Image.Resampling.BICUBIC).save(tmp_path / f"{number:02}.jpg")
    Image.open(tmp_path / "03.jpg").resize((600, 450)).save(tmp_path / "30.jpg")
    findings = check(DataSettings(data=str(tmp_path), size=256, layout="single"))
    near = [one for one in findings.found if one.code in ("near_duplicate", "leak")]
    assert [one.examples for one in near] == [(f"{tmp_path}/30.jpg = {tmp_path}/03.jpg",)]
    numbers = findings.statistics["image"]["splits"]["train"]
    assert numbers["width"]["max"] == 1200
    assert numbers["height"]["max"] == 900
