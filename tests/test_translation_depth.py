"""Translated files keep what they are: depth, channels, range, profile, transparency, way up."""

from functools import cache
from typing import Any

import numpy as np
import pytest
from noisy import COLOUR, GREY, HEIGHT, MAP, SIX, names, noisy, photograph
from PIL import Image, ImageCms

from dragoman.data.appearance import spread_colours
from dragoman.data.raster import read_raster
from dragoman.data.writing import write_raster
from dragoman.errors import DataError
from dragoman.translating import translate

RANGED: dict[str, tuple[float, float]] = {
    "uint8": (0.0, 255.0),
    "uint16": (100.0, 60000.0),
    "int16": (-6500.0, 6500.0),
    "float32": (-1.5, 2.5),
}


def domain(dtype: str, channels: int, **more: Any) -> dict[str, Any]:
    """Measurements of a depth, each channel with a range of its own."""
    low, high = RANGED[dtype]
    ends = [(low + n, high - n) if dtype != "float32" else (low, high) for n in range(channels)]
    return {
        "name": f"{dtype}x{channels}",
        "kind": "values",
        "channels": channels,
        "dtype": dtype,
        "low": [a for a, _ in ends],
        "high": [b for _, b in ends],
        **more,
    }


def measured(dtype: str, channels: int, width: int = 21, height: int = 13) -> np.ndarray:
    """A picture [H, W, C] that fills the range of its depth."""
    low, high = RANGED[dtype]
    waves = np.stack([photograph(width, height, 1)] * channels, -1) / 255
    waves = waves * np.linspace(0.5, 1, channels)
    return (low + waves * (high - low)).astype(dtype)


@pytest.mark.parametrize("channels", [1, 3, 6])
@pytest.mark.parametrize("source", RANGED)
@pytest.mark.parametrize("target", RANGED)
@pytest.mark.parametrize("suffix", [".tif", ".npy"])
def test_output_has_the_target_s_depth_channels_and_range(
    tmp_path, source, target, channels, suffix
):
    translator = noisy(domain(source, channels), domain(target, 4 - channels % 4))
    picture = measured(source, channels)
    write_raster(tmp_path / f"in{suffix}", picture)
    translate(translator, tmp_path / f"in{suffix}", tmp_path / f"out{suffix}", seed=2)
    made = read_raster(tmp_path / f"out{suffix}")
    assert made.pixels.shape == (13, 21, 4 - channels % 4)
    assert made.header.dtype == target
    assert np.array_equal(made.pixels.squeeze(), translator(picture, seed=2)), "bit for bit"
    low, high = RANGED[target]
    assert low <= made.pixels.min() < made.pixels.max() <= high
    assert made.pixels.max() > low + 0.9 * (high - low), "in the target's own numbers"


def test_metres_in_sixteen_bits_become_a_satellite_picture(tmp_path):
    translator = noisy(HEIGHT, COLOUR)
    write_raster(tmp_path / "in.tif", measured("int16", 1))
    translate(translator, tmp_path / "in.tif", tmp_path / "out")
    made = read_raster(tmp_path / "out/in.tif")
    assert (made.header.dtype, made.header.channels) == ("uint8", 3)
    with Image.open(tmp_path / "out/in.tif") as picture:
        assert picture.mode == "RGB", "any program can show it"


@pytest.mark.parametrize(
    ("source", "picture", "words"),
    [
        (COLOUR, measured("uint16", 3), "holds uint16, but pictures of photo hold uint8; convert"),
        (HEIGHT, measured("uint16", 1), "holds uint16, but pictures of height hold int16"),
        (HEIGHT, measured("int16", 2), "has 2 channels, but pictures of height have 1"),
        (SIX, measured("uint8", 3), "has 3 channels, but pictures of bands have 6"),
        (MAP, measured("uint8", 1), "holds the class"),
        (MAP, measured("uint8", 3), "must hold one whole class number a pixel, it has 3 channels"),
        (domain("float32", 1), np.full((9, 9), np.nan, np.float32), "has 81 values that are no"),
    ],
)
def test_an_input_that_does_not_fit_is_refused_in_one_sentence(tmp_path, source, picture, words):
    write_raster(tmp_path / "in.npy", picture)
    with pytest.raises(DataError, match=f"in.npy {words}") as caught:
        translate(noisy(source, COLOUR), tmp_path / "in.npy", tmp_path / "out.tif")
    assert "\n" not in str(caught.value)
    assert names(tmp_path) == ["in.npy"]


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("palette", [(), ((0, 0, 0), (250, 0, 0), (0, 240, 0), (9, 9, 230))])
def test_label_maps_are_numbers_with_a_palette(tmp_path, suffix, palette):
    translator = noisy(COLOUR, {**MAP, "palette": palette})
    write_raster(tmp_path / "in.jpg", photograph(30, 20))
    translate(translator, tmp_path / "in.jpg", tmp_path / f"out{suffix}")
    made = read_raster(tmp_path / f"out{suffix}", indices=True)
    rgb = read_raster(tmp_path / "in.jpg").pixels
    assert np.array_equal(made.pixels[..., 0], translator(rgb))
    assert made.colours is not None
    assert made.colours[:4].tolist() == [list(c) for c in palette or spread_colours(4)]
    with Image.open(tmp_path / f"out{suffix}") as picture:
        assert picture.mode == "P"
    back = noisy(MAP, COLOUR)
    translate(back, tmp_path / f"out{suffix}", tmp_path / "again.png")
    assert np.array_equal(read_raster(tmp_path / "again.png").pixels, back(translator(rgb)))


def test_more_classes_than_a_palette_holds_are_numbers_of_16_bits(tmp_path):
    many = {"name": "many", "kind": "labels", "channels": 300, "dtype": "uint16"}
    translator = noisy(COLOUR, many)
    last = translator.system.get_submodule("generator.last")
    last.get_parameter("weight")[:256] = 0
    last.get_parameter("bias")[:256] = -9  # the first of equals would win
    write_raster(tmp_path / "in.png", photograph(30, 20))
    translate(translator, tmp_path / "in.png", tmp_path / "out.png")
    made = read_raster(tmp_path / "out.png", indices=True)
    assert made.header.dtype == "uint16"
    assert np.array_equal(made.pixels[..., 0], translator(photograph(30, 20)))
    assert made.pixels.max() > 255


@cache
def profile(kind: str) -> bytes:
    """A colour profile as files carry it."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    data[16:20] = {"grey": b"GRAY", "colour": b"RGB "}[kind]
    return bytes(data)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg", ".webp"])
@pytest.mark.parametrize(
    ("a", "b", "kept"),
    [(COLOUR, COLOUR, True), (COLOUR, GREY, False), (COLOUR, MAP, False), (GREY, GREY, True)],
)
def test_the_colour_profile_is_kept_where_it_can_mean_something(tmp_path, suffix, a, b, kept):
    if suffix == ".webp" and a is GREY:
        pytest.skip("WebP has no grey pictures")
    kind = "grey" if a is GREY else "colour"
    write_raster(tmp_path / f"in{suffix}", photograph(20, 10, a["channels"]), icc=profile(kind))
    translate(noisy(a, b), tmp_path / f"in{suffix}", tmp_path / "out")
    (name,) = names(tmp_path / "out")
    made = read_raster(tmp_path / "out" / name)
    assert made.icc == (profile(kind) if kept else None)


@pytest.mark.parametrize("turn", range(1, 9))
def test_the_way_up_is_obeyed_and_the_output_is_upright(tmp_path, turn):
    translator = noisy()
    exif = Image.Exif()
    exif[274] = turn
    Image.fromarray(photograph(30, 20)).save(tmp_path / "in.png", exif=exif)
    upright = read_raster(tmp_path / "in.png").pixels
    assert upright.shape[:2] == ((20, 30) if turn < 5 else (30, 20))
    translate(translator, tmp_path / "in.png", tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as made:
        assert made.getexif().get(274, 1) == 1
        assert np.array_equal(np.asarray(made), translator(upright))


def seen_through(dtype: str = "uint8", channels: int = 3) -> np.ndarray:
    """A picture whose last channel is transparency, from none to all."""
    most = np.iinfo(dtype).max
    alpha = np.linspace(0, most, 24 * 16).reshape(16, 24, 1).astype(dtype)
    colours = photograph(24, 16, channels).reshape(16, 24, channels)
    return np.concatenate([(colours.astype(np.float64) * (most / 255)).astype(dtype), alpha], 2)


@pytest.mark.parametrize(
    ("source", "target", "suffix", "form"),
    [
        (COLOUR, COLOUR, ".png", None),
        (COLOUR, COLOUR, ".webp", None),
        (COLOUR, COLOUR, ".tif", None),
        (COLOUR, GREY, ".png", None),
        (GREY, COLOUR, ".png", "tif"),
        (COLOUR, domain("uint16", 3), ".png", None),
        (domain("uint16", 3), COLOUR, ".png", None),
        (COLOUR, domain("float32", 2), ".png", "tif"),
    ],
)
@pytest.mark.parametrize("tile", [None, 16])
def test_transparency_is_carried_onto_the_output(tmp_path, source, target, suffix, form, tile):
    translator = noisy({"dtype": "uint8", **source}, target, norm="none")
    picture = seen_through(translator.source.dtype, source["channels"])
    write_raster(tmp_path / f"in{suffix}", picture, alpha=True)
    translate(translator, tmp_path / f"in{suffix}", tmp_path / "out", format=form, tile=tile)
    (name,) = names(tmp_path / "out")
    made = read_raster(tmp_path / "out" / name)
    assert made.header.alpha
    assert made.header.channels == target["channels"] + 1
    most = {"uint8": 255, "uint16": 65535, "float32": 1.0}
    share = made.pixels[..., -1] / most[made.header.dtype]
    wanted = picture[..., -1] / most[translator.source.dtype]
    assert np.abs(share - wanted).max() <= (0.51 / 255 if made.header.dtype == "uint8" else 1e-5)
    translate(translator, tmp_path / f"in{suffix}", tmp_path / "white", format=form, alpha="white")
    flat = read_raster(tmp_path / "white" / name)
    assert not flat.header.alpha
    difference = flat.pixels.astype(np.float64) - made.pixels[..., :-1]
    room = (1 if tile else 0) * (1e-3 if made.header.dtype == "float32" else 1)
    assert np.abs(difference).max() <= room, "the network saw white beneath"


@pytest.mark.parametrize(
    ("target", "place", "words"),
    [
        (COLOUR, "out.jpg", "transparency was laid over white, since such a .jpg has none"),
        (COLOUR, "out.npy", "transparency was laid over white, since such a .npy has none"),
        (MAP, "out.png", "transparency was laid over white, since label maps have none"),
    ],
)
def test_where_there_is_no_transparency_it_is_said_once(tmp_path, capsys, target, place, words):
    for name in ("in/1.png", "in/2.png"):
        write_raster(tmp_path / name, seen_through(), alpha=True)
    translator, suffix = noisy(COLOUR, target), place[3:]
    translate(translator, tmp_path / "in", tmp_path / "out", format=suffix)
    err = capsys.readouterr().err
    assert err.splitlines()[0] == f"2 pictures: {words}"
    assert err.count("transparency") == 1
    translate(translator, tmp_path / "in/1.png", tmp_path / place, alpha="white")
    one, other = (read_raster(tmp_path / p).pixels for p in (place, f"out/1{suffix}"))
    assert np.array_equal(one, other)


def test_transparency_may_be_refused(tmp_path):
    write_raster(tmp_path / "in.png", seen_through(), alpha=True)
    with pytest.raises(DataError, match=r"in.png has transparency, which --alpha refuse forbids"):
        translate(noisy(), tmp_path / "in.png", tmp_path / "out.png", alpha="refuse")
    learned = noisy({**COLOUR, "alpha": "refuse"}, COLOUR)
    with pytest.raises(DataError, match=r"in.png has transparency, which --alpha refuse forbids"):
        translate(learned, tmp_path / "in.png", tmp_path / "out.png")


def test_transparency_that_was_learned_is_a_channel(tmp_path):
    clear = {"name": "clear", "kind": "photo", "channels": 4, "alpha": "keep"}
    translator = noisy(clear, clear)
    write_raster(tmp_path / "in.png", seen_through(), alpha=True)
    translate(translator, tmp_path / "in.png", tmp_path / "out.png")
    made = read_raster(tmp_path / "out.png")
    assert made.header.alpha
    assert np.array_equal(made.pixels, translator(seen_through()))
    write_raster(tmp_path / "solid.png", seen_through()[..., :3])
    translate(translator, tmp_path / "solid.png", tmp_path / "out2.png")
    solid = seen_through()
    solid[..., 3] = 255
    assert np.array_equal(read_raster(tmp_path / "out2.png").pixels, translator(solid))


@pytest.mark.parametrize("suffix", [".npy", ".tif"])
def test_channels_come_first_where_they_did(tmp_path, suffix):
    translator = noisy(domain("uint16", 3), domain("float32", 2))
    picture = measured("uint16", 3, width=100, height=70)
    write_raster(tmp_path / f"in{suffix}", picture, planar=True)
    for tile in (None, 48):
        translate(translator, tmp_path / f"in{suffix}", tmp_path / f"out{suffix}", tile=tile)
        made = read_raster(tmp_path / f"out{suffix}")
        assert made.header.planar
        assert made.pixels.shape == (70, 100, 2)
    if suffix == ".npy":
        assert np.load(tmp_path / "out.npy").shape == (2, 70, 100)


@pytest.mark.parametrize("quality", [10, 95])
def test_the_quality_of_jpegs(tmp_path, quality):
    write_raster(tmp_path / "in.jpg", photograph(64, 64))
    translate(noisy(), tmp_path / "in.jpg", tmp_path / "out.jpg", quality=quality)
    wanted = noisy()(read_raster(tmp_path / "in.jpg").pixels).astype(float)
    error = np.abs(read_raster(tmp_path / "out.jpg").pixels - wanted).mean()
    assert (error < 3) == (quality == 95)
