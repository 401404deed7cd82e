"""Translating files: everything asked for is found and put in its place, in a fitting format."""

import os
from pathlib import Path

import numpy as np
import pytest
from noisy import COLOUR, HEIGHT, MAP, SIX, names, noisy, photograph
from PIL import Image

from dragoman.data.raster import read_raster
from dragoman.data.writing import write_raster
from dragoman.errors import DataError
from dragoman.translating import translate
from dragoman.translating.sources import find


def asked(text: object, out: Path | None = None) -> list[str]:
    """The files that `find` finds, as text."""
    found = find(str(text), out)
    return ["+".join(map(str, found.files(number))) for number in range(len(found))]


# What is asked for


def test_a_folder_is_translated_picture_by_picture(translator, pictures, tmp_path):
    out = tmp_path / "out"
    assert translate(translator, pictures, out, seed=3) == f"wrote 4 of 4 pictures to {out}"
    assert names(out) == ["clear.webp", "deep/two.jpg", "grey.BMP", "one.png"]
    with Image.open(out / "one.png") as made:
        assert np.array_equal(np.asarray(made), translator(photograph(20, 30), seed=3))
    with Image.open(out / "deep" / "two.jpg") as made:
        assert (made.size, made.format) == ((33, 9), "JPEG")


@pytest.mark.parametrize(
    ("pattern", "wanted"),
    [
        ("in/*.png", ["one.png"]),
        ("in/**/*.jpg", ["deep/two.jpg"]),
        ("in/**/*", ["clear.webp", "deep/two.jpg", "grey.BMP", "one.png"]),
        ("in/**", ["clear.webp", "deep/two.jpg", "grey.BMP", "one.png"]),
        ("in/*/t?o.*", ["deep/two.jpg"]),
        ("in/**/deep/**/*.jpg", ["deep/two.jpg"]),
        ("in/[a-g]*.*", ["clear.webp", "grey.BMP"]),
        ("i*/deep/*", ["in/deep/two.jpg"]),
        ("**/one.png", ["in/one.png"]),
    ],
)
def test_a_pattern_names_pictures_below_its_fixed_part(
    translator, pictures, tmp_path, monkeypatch, pattern, wanted
):
    monkeypatch.chdir(tmp_path)
    count = len(wanted)
    assert translate(translator, pattern, "out") == f"wrote {count} of {count} pictures to out"
    assert names(tmp_path / "out") == wanted


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(translator, tmp_path):
    write_raster(tmp_path / "a[1]+*.png", photograph(8, 8))
    write_raster(tmp_path / "a1.png", photograph(8, 8))
    assert asked(tmp_path / "a[1]+*.png") == [str(tmp_path / "a[1]+*.png")]


@pytest.mark.parametrize("form", ["@{}", "{}"])
def test_a_list_names_files_relative_to_itself(translator, pictures, tmp_path, form):
    text = "\ufeffin/one.png\r\n\n# a comment\n  in/deep/two.jpg \nin/deep/../one.png\n"
    listed = tmp_path / "list.txt"
    listed.write_text(text, encoding="utf-8")
    out = tmp_path / "out"
    assert translate(translator, form.format(listed), out) == f"wrote 2 of 2 pictures to {out}"
    assert names(out) == ["deep/two.jpg", "one.png"]


def test_lines_of_a_list_that_are_no_pictures_do_not_stop_the_rest(translator, pictures, tmp_path):
    listed = tmp_path / "list.txt"
    listed.write_text(f"{pictures}/one.png\nin/none.png\nin/deep\nin/notes.txt\n")
    with pytest.raises(DataError) as caught:
        translate(translator, f"@{listed}", tmp_path / "out")
    told = str(caught.value).splitlines()
    assert told[0].startswith(f"wrote 1 of 4 pictures to {tmp_path / 'out'}; these could not be")
    assert told[1] == f"  {pictures}/none.png cannot be read (No such file or directory)"
    assert told[2] == f"  {pictures}/deep is a folder, not a picture"
    assert told[3].startswith(f"  {pictures}/notes.txt is not a readable picture")
    assert names(tmp_path / "out") == ["one.png"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\n# nothing\n", "names no pictures; write one path on each line"),
        (b"a.png\n\xff\xfe\n", "line 2 of .* is not UTF-8"),
        (b"a\0.png\n", "line 1 of .* is no path"),
        (b"a" * (1 << 17), "line 1 of .* is no path"),
    ],
)
def test_a_list_that_is_none(tmp_path, content, words):
    (tmp_path / "list.txt").write_bytes(content)
    with pytest.raises(DataError, match=words):
        find(f"@{tmp_path}/list.txt")


def test_files_of_equal_name_are_stacked(tmp_path):
    translator = noisy(SIX, COLOUR)
    for folder, suffix in (("a", ".png"), ("b", ".tif")):
        write_raster(tmp_path / folder / f"x/one{suffix}", photograph(20, 12))
        write_raster(tmp_path / folder / f"only_{folder}{suffix}", photograph(20, 12))
    write_raster(tmp_path / "a/other.png", photograph(20, 12))
    write_raster(tmp_path / "b/other.tif", photograph(20, 13))
    with pytest.raises(DataError) as caught:
        translate(translator, f"{tmp_path}/a+{tmp_path}/b", tmp_path / "out")
    told = str(caught.value).splitlines()
    assert told[0].startswith("wrote 1 of 3 pictures to ")
    assert told[1] == (f"  {tmp_path}/a/only_a.png: has no partner of that name in {tmp_path}/b")
    assert "other.tif is 20x13 pixels, but" in told[2]
    assert names(tmp_path / "out") == ["x/one.png"]
    both = np.concatenate([photograph(20, 12)] * 2, 2)
    made = read_raster(tmp_path / "out/x/one.png").pixels
    assert np.array_equal(made, translator(both))
    with pytest.raises(DataError, match="has no partner of that name"):
        translator.many(f"{tmp_path}/a+{tmp_path}/b")
    with pytest.raises(DataError, match=r"other\.tif is 20x13 pixels, but"):
        translator((tmp_path / "a/other.png", tmp_path / "b/other.tif"))
    (many,) = translator.many(f"{tmp_path}/a/x+{tmp_path}/b/x")
    assert isinstance(many, np.ndarray)
    assert np.array_equal(many, made)


def test_two_named_files_are_stacked_whatever_their_names(tmp_path):
    translator = noisy(SIX, COLOUR)
    write_raster(tmp_path / "x.png", photograph(20, 12))
    write_raster(tmp_path / "y.tif", 255 - photograph(20, 12))
    made = tmp_path / "made.png"
    assert translate(translator, f"{tmp_path}/x.png+{tmp_path}/y.tif", made) == f"wrote {made}"
    both = np.concatenate([photograph(20, 12), 255 - photograph(20, 12)], 2)
    assert np.array_equal(read_raster(made).pixels, translator(both))
    three = "+".join(str(tmp_path / name) for name in ("x.png", "y.tif", "x.png"))
    with pytest.raises(DataError, match="and its fellows have 9 channels, but pictures of bands"):
        translate(translator, three, tmp_path / "nine.png")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nowhere", "there is no picture or folder nowhere"),
        ("imges", r"there is no picture or folder imges \(did you mean 'images'\?\)"),
        ("images", "images holds no pictures; known endings: .png, .jpg"),
        ("images/*.tif", r"no picture fits images/\*.tif; \*\* stands for any folders"),
        ("other/*.tif", "there is no folder other, in which"),
        ("@other.txt", "the list other.txt cannot be read"),
        ("images+nowhere", "there is no picture or folder nowhere"),
        ("images+", "the name of the picture or folder is empty"),
        ("", "the name of the picture or folder is empty"),
    ],
)
def test_what_is_not_there(tmp_path, monkeypatch, text, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").mkdir()
    with pytest.raises(DataError, match=words) as caught:
        find(text)
    assert "\n" not in str(caught.value)


def test_links_are_not_followed_out_of_a_folder(pictures, tmp_path):
    write_raster(tmp_path / "secret" / "x.png", photograph(8, 8))
    (pictures / "inner.png").symlink_to(pictures / "one.png")
    (pictures / "out.png").symlink_to(tmp_path / "secret" / "x.png")
    (pictures / "broken.png").symlink_to(tmp_path / "none.png")
    (pictures / "circle.png").symlink_to(pictures / "circle.png")
    (pictures / "folder").symlink_to(tmp_path / "secret")
    (pictures / "around").symlink_to(pictures)
    os.mkfifo(pictures / "pipe.png")
    found = find(str(pictures))
    assert found.names[0] == ["clear.webp", "deep/two.jpg", "grey.BMP", "inner.png", "one.png"]
    assert found.problems == [(f"{pictures}/out.png", f"is a link that leads out of {pictures}")]
    assert asked(f"{pictures}/**/*.png") == [f"{pictures}/inner.png", f"{pictures}/one.png"]
    assert asked(pictures / "out.png") == [str(pictures / "out.png")], "but one that was named is"
    assert asked(pictures / "folder") == [str(pictures / "folder/x.png")]


# Where results go


def test_a_file_goes_to_a_file_or_into_a_folder(translator, pictures, tmp_path):
    one = pictures / "one.png"
    for out, place in [
        ("a/made.tif", "a/made.tif"),
        ("a", "a/one.png"),
        ("b/", "b/one.png"),
        ("c", "c/one.png"),
    ]:
        out = f"{tmp_path}/{out}"
        assert translate(translator, one, out) == f"wrote {tmp_path / place}"
        assert np.array_equal(read_raster(tmp_path / place).pixels, translator(photograph(20, 30)))
    with pytest.raises(
        DataError, match=r"made.xyz has no picture ending; use .png, .*made.xyz/ for"
    ):
        translate(translator, one, tmp_path / "made.xyz")
    with pytest.raises(DataError, match=r"made.png and --format .tif do not agree; leave one out"):
        translate(translator, one, tmp_path / "made.png", format="tif")


@pytest.mark.parametrize("form", ["tif", ".tif", "TIF"])
def test_the_format_may_be_chosen(translator, pictures, tmp_path, form):
    translate(translator, pictures, tmp_path / "out", format=form)
    assert names(tmp_path / "out") == ["clear.tif", "deep/two.tif", "grey.tif", "one.tif"]


DEEP = {"name": "deep", "kind": "photo", "channels": 3, "dtype": "uint16"}
MANY = {"name": "many", "kind": "labels", "channels": 300, "dtype": "uint16"}
BYTE = {"name": "byte", "kind": "values", "channels": 1}


@pytest.mark.parametrize(
    ("target", "wanted"),
    [
        (COLOUR, {".png": ".png", ".jpg": ".jpg", ".bmp": ".bmp", ".webp": ".webp"}),
        (MAP, {".png": ".png", ".jpg": ".png", ".tif": ".tif", ".webp": ".png", ".npy": ".npy"}),
        (BYTE, {".jpeg": ".png", ".bmp": ".bmp", ".npz": ".npz"}),
        (DEEP, {".jpg": ".png", ".png": ".png", ".TIF": ".TIF", ".bmp": ".png"}),
        (HEIGHT, {".png": ".tif", ".npy": ".npy", ".tiff": ".tiff", ".jpg": ".tif"}),
        (SIX, {".png": ".tif", ".npz": ".npz"}),
        (MANY, {".png": ".png", ".jpg": ".png", ".bmp": ".png"}),
    ],
)
def test_pictures_keep_their_format_where_it_can_hold_the_output(tmp_path, target, wanted):
    translator = noisy(COLOUR, target)
    for number, suffix in enumerate(wanted):
        write_raster(tmp_path / f"in/{number}{suffix}", photograph(9, 8))
    translate(translator, tmp_path / "in", tmp_path / "out")
    assert names(tmp_path / "out") == [f"{n}{s}" for n, s in enumerate(wanted.values())]
    for name in names(tmp_path / "out"):
        raster = read_raster(tmp_path / "out" / name, indices=target["kind"] == "labels")
        planes = 1 if target["kind"] == "labels" else target["channels"]
        assert raster.header.dtype == target.get("dtype", "uint8")
        assert raster.pixels.shape == (8, 9, planes)


@pytest.mark.parametrize(
    ("target", "form", "words"),
    [
        (HEIGHT, "png", "cannot write 1 channel of int16 as .png; .tif, .tiff, .npy, .npz can"),
        (SIX, "jpg", "cannot write 6 channels of uint8 as .jpg; .tif"),
        (MAP, "jpg", "JPEG changes class numbers; use .png or .tif for label maps"),
        (COLOUR, "gif", "cannot write .gif; write one of .png, "),
    ],
)
def test_a_format_that_cannot_hold_the_output_is_refused_before_work(
    pictures, tmp_path, target, form, words
):
    translator = noisy(COLOUR, target)
    with pytest.raises(DataError, match=words):
        translate(translator, pictures, tmp_path / "out", format=form)
    with pytest.raises(DataError, match=words.split(";")[0] if form != "gif" else "no picture end"):
        translate(translator, pictures / "one.png", tmp_path / f"out.{form}")
    assert names(tmp_path) == [f"in/{name}" for name in names(pictures)]


def test_two_pictures_that_would_become_one_are_refused_by_name(translator, pictures, tmp_path):
    write_raster(pictures / "one.tif", photograph(9, 9))
    translate(translator, pictures, tmp_path / "apart")  # each keeps its ending
    with pytest.raises(DataError) as caught:
        translate(translator, pictures, tmp_path / "out", format="png")
    assert str(caught.value) == (
        f"{pictures}/one.png and {pictures}/one.tif would both become {tmp_path}/out/one.png; "
        "rename one of them"
    )
    assert not (tmp_path / "out").exists()
