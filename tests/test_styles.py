"""Styles side by side, and the way from one to the next."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from synthetic import picture_batch, translator

from dragoman.errors import DataError, FileError, SettingsError
from dragoman.pipeline import Translator
from dragoman.report.sheet import GAP
from dragoman.translating.styles import paint_styles

SYSTEMS = ("munit", "starganv2")


@pytest.fixture(scope="module", params=SYSTEMS)
def loaded(request) -> Translator:
    return translator(request.param)


@pytest.fixture
def picture(tmp_path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "in.png")
    return tmp_path / "in.png"


def test_a_held_style_is_what_would_have_been_made(loaded):
    one: Any = loaded.choosing()
    pictures = picture_batch(0)[one.system.source][:1]
    torch.manual_seed(3)
    style = one.system.style(pictures)
    torch.manual_seed(3)
    own = one.system.generate({one.system.source: pictures})
    one.system.hold(style)
    batch = {one.system.source: pictures}
    torch.testing.assert_close(one.system.generate(batch), own)
    assert torch.equal(one.system.generate(batch), one.system.generate(batch))
    one.system.choose(one.system.controls)
    assert one.system.held is None, "what is chosen anew counts"


def cells(path: Path, rows: int, columns: int) -> np.ndarray:
    """The pictures of 32 px of a sheet, [rows, columns, 32, 32, 3], the inputs first."""
    pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)
    step = 128 + GAP  # they are enlarged four times
    body = pixels[len(pixels) - rows * step :, pixels.shape[1] - columns * step :]
    found = body.reshape(rows, step, columns, step, 3).swapaxes(1, 2)
    return found[:, :, 2:128:4, 2:128:4]


def made(one: Translator, picture: Path) -> np.ndarray:
    """The picture as the translator makes it."""
    return np.asarray(one(Image.open(picture))).astype(int)


def directed(one: Translator) -> dict[str, str]:
    """The choice of a domain, where there are several."""
    sets = list(one.system.domains().values())
    return {"domain": sets[0][1]} if sets else {}


def test_the_grid_has_a_row_for_each_domain(loaded, picture, tmp_path):
    said = paint_styles(loaded, str(picture), tmp_path / "out.png", count=3)
    assert said == f"wrote {tmp_path / 'out.png'}"
    domains = loaded.system.domains()
    named = [word for classes in domains.values() for word in classes] or [""]
    grid = Image.open(tmp_path / "out.png")
    margin = grid.width - 4 * 128 - 5 * GAP  # for the names of the domains
    assert 0 < margin <= 128 if domains else margin == 0
    found = cells(tmp_path / "out.png", len(named), 4)
    for row, name in zip(found, named, strict=True):
        assert np.array_equal(row[0], np.asarray(Image.open(picture)))
        one = loaded.choosing(domain=name) if name else loaded
        for number in range(3):  # the styles of `--answers 3`
            assert np.abs(row[1 + number] - made(one.answering(number), picture)).max() <= 1
        assert not np.array_equal(row[1], row[2])
    if domains:
        assert not np.array_equal(found[0, 1:], found[1, 1:])
    assert loaded.system.held is None


def test_the_way_from_style_to_style_moves_and_comes_back(loaded, picture, tmp_path):
    for name in ("way.gif", "way.apng"):
        paint_styles(loaded, str(picture), tmp_path / name, count=2, frames=3)
        with Image.open(tmp_path / name) as moving:
            assert getattr(moving, "n_frames", 1) == 6
    chosen = directed(loaded)
    paint_styles(loaded, str(picture), tmp_path / "way.png", count=2, frames=2, **chosen)
    paint_styles(loaded, str(picture), tmp_path / "ends.png", count=2, **chosen)
    first, middle, second, back = cells(tmp_path / "way.png", 1, 5)[0, 1:]
    ends = cells(tmp_path / "ends.png", 1, 3)[0, 1:]
    assert np.array_equal(first, ends[0])
    assert np.array_equal(second, ends[1])
    assert np.abs(middle - back).max() <= 1, "half-way back is half-way"
    for end in ends:
        assert np.abs(back - end).max() > 1


@pytest.mark.parametrize("name", [*SYSTEMS, "funit"])
def test_each_reference_is_a_style(name, picture, tmp_path):
    loaded = translator(name)
    chosen = {} if loaded.system.examples else directed(loaded)
    generator = np.random.default_rng(1)
    for number in range(3):
        look = generator.integers(0, 80 * (number + 1), (32, 32, 3), np.uint8)
        Image.fromarray(look).save(tmp_path / f"look{number}.png")
    shown = {"reference": f"{tmp_path}/look*.png", **chosen}
    ones: Any = [loaded.choosing(reference=tmp_path / f"look{n}.png", **chosen) for n in range(3)]
    wanted = [made(one, picture) for one in ones]
    assert np.abs(wanted[0] - wanted[2]).max() > 1
    for count in ({}, {"count": 3}):
        paint_styles(loaded, str(picture), tmp_path / "grid.png", **count, **shown)
        assert np.array_equal(cells(tmp_path / "grid.png", 1, 4)[0, 1:], wanted)
    paint_styles(loaded, str(picture), tmp_path / "way.png", frames=2, **shown)
    way = cells(tmp_path / "way.png", 1, 7)[0, 1:]
    assert np.array_equal(way[::2], wanted), "a station is the style of a reference"
    like = picture_batch(0)["a"][:1]
    for number, other in ((0, 1), (1, 2), (2, 0)):
        between: Any = ones[0].choosing()
        styles = [ones[n].system.style(like) for n in (number, other)]
        between.system.hold((styles[0] + styles[1]) / 2)
        assert np.abs(way[2 * number + 1] - made(between, picture)).max() <= 1
    paint_styles(loaded, str(picture), tmp_path / "way.gif", frames=4, **shown)
    assert getattr(Image.open(tmp_path / "way.gif"), "n_frames", 1) > 6


def test_what_goes_by_examples_alone_wants_them(picture, tmp_path):
    for count in ({}, {"count": 3}):
        with pytest.raises(SettingsError, match="give --reference with some pictures of the class"):
            paint_styles(translator("funit"), str(picture), tmp_path / "out.png", **count)


def test_one_reference_and_no_truncation_are_one_style(loaded, picture, tmp_path):
    chosen, out = directed(loaded), tmp_path / "out.png"
    one = {"reference": str(picture), **chosen}
    paint_styles(loaded, str(picture), out, **one)
    assert cells(out, 1, 2).shape[1] == 2
    words = "--reference shows 1 picture, each a style of its own, but "
    with pytest.raises(SettingsError, match=words + "--count is 3; leave --count out"):
        paint_styles(loaded, str(picture), out, count=3, **one)
    with pytest.raises(SettingsError, match=words + "--frames 4 goes from one style to another"):
        paint_styles(loaded, str(picture), out, frames=4, **one)
    mean = {"truncation": 0.0, **chosen}
    paint_styles(loaded, str(picture), out, **mean)
    assert np.array_equal(cells(out, 1, 2)[0, 1], made(loaded.choosing(**mean), picture))
    words = (
        "--truncation 0 leaves one style, the mean one; leave --count and --frames out, or raise"
    )
    for more in ({"count": 2}, {"frames": 3}, {"count": 1, "frames": 3}):
        with pytest.raises(SettingsError, match=words):
            paint_styles(loaded, str(picture), out, **more, **mean)


def test_references_that_are_alike_are_refused(loaded, picture, tmp_path):
    chosen, out = directed(loaded), tmp_path / "out.png"
    twice = [str(picture), str(picture)]
    words = "all pictures of --reference come to the same style; "
    with pytest.raises(SettingsError, match=words + "show others"):
        paint_styles(loaded, str(picture), out, reference=twice, **chosen)
    with pytest.raises(SettingsError, match=r"--reference shows 2 pictures, .* but --count is 5"):
        paint_styles(loaded, str(picture), out, reference=twice, count=5, **chosen)
    many = np.zeros((65, 3, 32, 32), np.float32)
    with pytest.raises(SettingsError, match=r"shows 65 pictures, .*; show at most 64"):
        paint_styles(loaded, str(picture), out, reference=torch.from_numpy(many), **chosen)
    Image.new("RGB", (32, 32)).save(tmp_path / "black.png")
    if loaded.config["system"] == "munit":  # which takes references to the mean, too
        shown = [str(picture), str(tmp_path / "black.png")]
        with pytest.raises(SettingsError, match=words + "raise --truncation, which is 0"):
            paint_styles(loaded, str(picture), out, reference=shown, truncation=0.0)


def test_references_are_of_a_domain_that_is_named(picture, tmp_path):
    many, out = translator("starganv2"), tmp_path / "out.png"
    words = "the pictures of --reference are of one domain; name it with --domain"
    with pytest.raises(SettingsError, match=words):
        paint_styles(many, str(picture), out, reference=str(picture))
    named = many.choosing(**directed(many))
    paint_styles(named, str(picture), out, reference=str(picture))
    assert cells(out, 1, 2).shape[1] == 2


def test_one_domain_only_where_it_is_chosen(picture, tmp_path):
    many = translator("starganv2")
    names = next(iter(many.system.domains().values()))
    paint_styles(many, str(picture), tmp_path / "all.png", count=2)
    rows = cells(tmp_path / "all.png", len(names), 3)
    for name, row in zip(names, rows, strict=True):
        paint_styles(many, str(picture), tmp_path / "one.png", count=2, domain=name)
        assert np.array_equal(cells(tmp_path / "one.png", 1, 3)[0], row)
    chosen = many.choosing(domain=names[1])
    paint_styles(chosen, str(picture), tmp_path / "chosen.png", count=2)
    assert np.array_equal(cells(tmp_path / "chosen.png", 1, 3)[0], rows[1])


def test_pictures_of_different_sizes_fit_into_one(loaded, tmp_path):
    (tmp_path / "in").mkdir()
    for name, size in (("a", (32, 32)), ("b", (32, 16)), ("c", (8, 16))):
        Image.new("RGB", size, (200, 30, 30)).save(tmp_path / "in" / f"{name}.png")
    paint_styles(loaded, str(tmp_path / "in"), tmp_path / "x.png", count=2, **directed(loaded))
    square, wide, high = cells(tmp_path / "x.png", 3, 3)
    white = np.array([255] * 3)
    red = np.array([200, 30, 30])
    assert (square[0] == red).all()
    assert (wide[0, 8:24] == red).all(), "as wide as it was, in the middle"
    assert (wide[:, [0, 7, 24, 31]] == white).all()
    assert (high[0][:, 8:24] == red).all(), "enlarged"
    assert (high[:, :, [0, 7, 24, 31]] == white).all()
    assert (wide[1, 8:24] != white).any()


@pytest.mark.parametrize(
    ("out", "options", "words"),
    [
        ("a.gif", {}, "--frames is missing: .*a.gif is to move"),
        ("a.jpg", {}, "must end in .png, .gif, .apng"),
        ("a.png", {"count": 64, "frames": 120, "tow": "a"}, "munit has no control 'tow'.*'to'"),
        ("a.png", {"count": 0}, "--count must be at least 1"),
        ("a.gif", {"count": 1, "frames": 5}, "--frames 5 goes from .*--count is 1; use --count 2"),
    ],
)
def test_refusals(picture, tmp_path, out, options, words):
    with pytest.raises(SettingsError, match=words):
        paint_styles(translator("munit"), str(picture), tmp_path / out, **options)


def test_systems_without_styles_and_too_much_are_refused(picture, tmp_path):
    with pytest.raises(SettingsError, match="cyclegan has no styles; 'dragoman translate'"):
        paint_styles(translator("cyclegan"), str(picture), tmp_path / "a.png")
    Image.fromarray(np.zeros((1100, 1000, 3), np.uint8)).save(tmp_path / "large.png")
    with pytest.raises(DataError, match=r"large\.png is 1000x1100 pixels, too large for a sheet"):
        paint_styles(translator("munit"), str(tmp_path / "large.png"), tmp_path / "a.png")
    Image.fromarray(np.zeros((700, 700, 3), np.uint8)).save(tmp_path / "wide.png")
    wide, out = str(tmp_path / "wide.png"), tmp_path / "a.png"
    with pytest.raises(SettingsError, match="more than fit on a sheet"):
        paint_styles(translator("munit"), wide, out, count=64, frames=10)


@pytest.mark.parametrize(
    ("out", "words"),
    [
        ("none/a.png", "there is no folder .*none; make it, or name one that exists"),
        ("in.png/a.png", "there is no folder .*in.png; make it"),
        ("folder.png", "folder.png is a folder; name a file"),
    ],
)
def test_the_place_is_checked_before_anything_is_read(tmp_path, picture, out, words):
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(FileError, match=words):
        paint_styles("no run", "no picture", tmp_path / out)


def test_pictures_stay_and_bad_ones_are_named(picture, tmp_path):
    before, one = picture.read_bytes(), translator("munit")
    with pytest.raises(
        DataError, match=r"in\.png is one of the pictures, which stay; name another"
    ):
        paint_styles(one, str(picture), picture)
    assert picture.read_bytes() == before
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "link.png").symlink_to(picture)
    picture.rename(tmp_path / "in" / "in.png")
    picture.write_bytes(before)
    with pytest.raises(DataError, match=r"link\.png is a link that leads out of"):
        paint_styles(one, str(tmp_path / "in"), tmp_path / "a.png")
