"""Translating files and folders: bad pictures are named, good ones written, none overwritten."""

import numpy as np
import pytest
from noisy import noisy, photograph
from PIL import Image

from dragoman.errors import DataError
from dragoman.translation import translate


@pytest.fixture(scope="module")
def translator():
    return noisy()


@pytest.fixture
def folder(translator, tmp_path):
    """The translator as it is saved."""
    return translator.save(tmp_path / "saved")


@pytest.fixture
def pictures(tmp_path):
    """A folder with good pictures of several kinds, in folders and beside other files."""
    source = tmp_path / "in"
    (source / "deep").mkdir(parents=True)
    Image.fromarray(photograph(20, 30)).save(source / "one.png")
    Image.fromarray(photograph(33, 9)).save(source / "deep" / "two.jpg")
    Image.fromarray(photograph(8, 8, 1)).save(source / "grey.BMP")
    Image.new("RGBA", (5, 6), (255, 0, 0, 0)).save(source / "clear.webp")
    (source / "notes.txt").write_text("no picture")
    return source


def test_a_folder_is_translated_picture_by_picture(folder, translator, pictures, tmp_path):
    out = tmp_path / "out"
    assert translate(folder, pictures, out, seed=3) == f"wrote 4 of 4 pictures to {out}"
    written = sorted(p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file())
    assert written == ["clear.png", "deep/two.png", "grey.png", "one.png"]
    with Image.open(out / "one.png") as made:
        assert np.array_equal(np.asarray(made), translator(photograph(20, 30), seed=3))
    with Image.open(out / "deep" / "two.png") as made:
        assert made.size == (33, 9)


def test_bad_pictures_are_listed_while_the_others_are_written(folder, pictures, tmp_path):
    whole = (pictures / "one.png").read_bytes()
    (pictures / "cut.png").write_bytes(whole[: len(whole) // 2])
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 255
    (pictures / "flipped.png").write_bytes(flipped)
    (pictures / "empty.jpg").write_bytes(b"")
    (pictures / "text.png").write_text("no picture")
    Image.fromarray(photograph(8, 8).astype(np.uint16)[..., 0] * 256).save(pictures / "deep.png")
    Image.fromarray(photograph(9, 9)).save(pictures / "one.tif")
    with pytest.raises(DataError) as caught:
        translate(folder, pictures, tmp_path / "out")
    told = str(caught.value).splitlines()
    assert told[0].startswith(f"wrote 4 of 10 pictures to {tmp_path / 'out'}; these could not be")
    bad = ["cut.png", "deep.png", "empty.jpg", "flipped.png", "one.tif", "text.png"]
    assert len(told) == 1 + len(bad)
    for name, line in zip(bad, told[1:], strict=True):
        assert line.startswith(f"  {pictures / name}: "), line
    assert "one.png has the same name" in told[5]
    assert len(list((tmp_path / "out").rglob("*.*"))) == 4


def test_a_folder_is_never_written_into_itself(folder, pictures):
    before = {p: p.read_bytes() for p in pictures.rglob("*") if p.is_file()}
    with pytest.raises(DataError, match="holds the pictures themselves, which stay"):
        translate(folder, pictures, pictures)
    assert all(path.read_bytes() == content for path, content in before.items())
    for _ in range(2):  # what was written inside is not translated again
        assert translate(folder, pictures, pictures / "out").startswith("wrote 4 of 4")


def test_folders_without_pictures_and_files_in_the_way(folder, tmp_path, pictures):
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="holds no pictures; known endings: "):
        translate(folder, tmp_path / "none", tmp_path / "out")
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="is a file; to translate a folder, name a folder"):
        translate(folder, pictures, tmp_path / "file")
    with pytest.raises(DataError, match="cannot write"):
        translate(folder, pictures / "one.png", tmp_path / "file" / "made.png")
