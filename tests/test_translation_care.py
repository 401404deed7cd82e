"""Translating files: nothing is overwritten, what is there is skipped, bad pictures are listed."""

import dataclasses
import os

import numpy as np
import pytest
from noisy import names, noisy, photograph

from dragoman import cli
from dragoman.data.raster import read_raster
from dragoman.data.writing import write_raster
from dragoman.errors import DataError, SettingsError
from dragoman.settings import signature_parser
from dragoman.translating import translate
from dragoman.translating.options import Options

# What is never touched


def test_a_folder_is_never_written_into_itself(translator, pictures, tmp_path):
    before = {p: p.read_bytes() for p in pictures.rglob("*") if p.is_file()}
    (tmp_path / "alias").symlink_to(pictures)
    for out in (pictures, tmp_path / "alias"):
        with pytest.raises(DataError, match="holds the pictures themselves, which stay"):
            translate(translator, pictures, out)
    for _ in range(2):  # what was written inside is not translated again
        told = translate(translator, pictures, pictures / "out", again=True)
        assert told.startswith("wrote 4 of 4")
    told = translate(translator, f"{pictures}/**/*", pictures / "out", again=True)
    assert told.startswith("wrote 4 of 4")
    assert all(path.read_bytes() == content for path, content in before.items())


@pytest.mark.parametrize("way", ["name", "link", "hard link", "folder", "pattern", "list"])
def test_an_input_is_never_overwritten_by_whatever_name(translator, pictures, tmp_path, way):
    one = pictures / "one.png"
    source, out = str(one), tmp_path / "out.png"
    if way == "name":
        out = pictures / "deep" / ".." / "one.png"
    elif way == "link":
        out.symlink_to(one)
    elif way == "hard link":
        out.hardlink_to(one)
    elif way == "folder":
        out = pictures
    elif way == "pattern":
        source, out = f"{pictures}/*.png", pictures
    else:
        (tmp_path / "list.txt").write_text("in/one.png\nin/deep/two.jpg\n")
        source, out = f"@{tmp_path}/list.txt", pictures
    before = {p: p.read_bytes() for p in pictures.rglob("*") if p.is_file()}
    with pytest.raises(DataError, match=r"which stays?; name another") as caught:
        translate(translator, source, out, again=True)
    assert "one.png" in str(caught.value) or "out.png" in str(caught.value)
    assert all(path.read_bytes() == content for path, content in before.items())


def test_folders_and_files_in_the_way(translator, tmp_path, pictures):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="is a file; to translate a folder, name a folder"):
        translate(translator, pictures, tmp_path / "file")
    with pytest.raises(DataError, match="is the name of a picture; to translate a folder, name a"):
        translate(translator, pictures, tmp_path / "new.png")
    with pytest.raises(DataError, match="cannot write"):
        translate(translator, pictures / "one.png", tmp_path / "file" / "made.png")
    (tmp_path / "out" / "one.png").mkdir(parents=True)
    with pytest.raises(DataError, match=r"wrote 3 of 4 .*\n  .*one.png.* cannot write .*one.png"):
        translate(translator, pictures, tmp_path / "out")
    assert names(tmp_path / "out") == ["clear.webp", "deep/two.jpg", "grey.BMP"], "nothing stays"


# What is there already


def test_what_is_there_is_skipped_unless_its_input_is_newer(translator, pictures, tmp_path):
    out = tmp_path / "out"
    translate(translator, pictures, out)
    (out / "grey.BMP").unlink()
    (out / ".one.png.1234").write_bytes(b"torn")
    made = {name: (out / name).stat().st_mtime_ns for name in names(out)}
    told = translate(translator, pictures, out)
    assert told == (
        f"wrote 1 of 4 pictures to {out}; 3 were there already (--again true translates them anew)"
    )
    future = (out / "one.png").stat().st_mtime + 10
    os.utime(pictures / "one.png", (future, future))
    assert translate(translator, pictures, out).startswith("wrote 1 of 4 pictures")
    now = {name: (out / name).stat().st_mtime_ns for name in names(out)}
    assert now["one.png"] > made["one.png"]
    assert {n for n in made if now[n] != made[n]} == {"one.png"}
    assert translate(translator, pictures, out, again=True) == f"wrote 4 of 4 pictures to {out}"


def test_a_file_that_was_named_is_always_translated(translator, pictures, tmp_path):
    for seed in (0, 1):
        translate(translator, pictures / "one.png", tmp_path / "made.png", seed=seed)
        made = read_raster(tmp_path / "made.png").pixels
        assert np.array_equal(made, translator(photograph(20, 30), seed=seed))


def test_shards_divide_the_work(translator, pictures, tmp_path):
    out, seen = tmp_path / "out", []
    for part, wanted in [("1/3", 2), ("2/3", 1), ("3/3", 1)]:
        text = f"wrote {wanted} of {wanted} pictures to {out}"
        assert translate(translator, pictures, out, shard=part) == text
        seen.append(set(names(out)))
    assert seen[0] == {"clear.webp", "one.png"}, "the first, fourth, seventh ... by name"
    assert seen[1] - seen[0] == {"deep/two.jpg"}
    assert seen[2] - seen[1] == {"grey.BMP"}
    assert translate(translator, pictures, out, shard="5/9") == f"wrote 0 of 0 pictures to {out}"


@pytest.mark.parametrize("part", ["0/3", "4/3", "3", "a/b", "1/0", "-1/2", "1/2/3", ""])
def test_a_shard_that_is_none(translator, pictures, tmp_path, part):
    with pytest.raises(SettingsError, match="--shard must be i/n with i from 1 to n, as 2/4"):
        translate(translator, pictures, tmp_path / "out", shard=part)


@pytest.mark.parametrize(
    ("over", "words"),
    [
        ({"quality": 0}, "--quality must be at least 1, got 0"),
        ({"norms": "best"}, "--norms must be one of fast, exact, got 'best'"),
        ({"alpha": "keep"}, "--alpha must be one of carry, white, refuse, got 'keep'"),
        ({"batch": 0}, "--batch must be at least 1"),
        ({"tile": 5}, "--tile must be at least 16, got 5"),
        ({"tiles": 5}, r"unknown setting 'tiles' \(did you mean 'tile'\?\)"),
        ({"device": "gpu"}, "--device gpu is unknown"),
    ],
)
def test_wrong_settings(pictures, tmp_path, over, words):
    saved = noisy().save(tmp_path / "saved")
    with pytest.raises(SettingsError, match=words):
        translate(saved, pictures, tmp_path / "out", **over)
    assert not (tmp_path / "out").exists()


# What cannot be translated


@pytest.fixture
def bad(pictures):
    """The names of bad pictures among good ones."""
    whole = (pictures / "one.png").read_bytes()
    (pictures / "cut.png").write_bytes(whole[: len(whole) // 2])
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 255
    (pictures / "flipped.png").write_bytes(flipped)
    (pictures / "empty.jpg").write_bytes(b"")
    (pictures / "text.png").write_text("no picture")
    write_raster(pictures / "deep.png", photograph(8, 8)[..., 0].astype(np.uint16) * 256)
    write_raster(pictures / "six.npy", np.concatenate([photograph(9, 9)] * 2, 2))
    return ["cut.png", "deep.png", "empty.jpg", "flipped.png", "six.npy", "text.png"]


def test_bad_pictures_are_listed_while_the_others_are_written(
    translator, pictures, bad, tmp_path, capsys
):
    saved = translator.save(tmp_path / "saved")
    with pytest.raises(SystemExit) as ended:
        cli.main(["translate", str(saved), str(pictures), str(tmp_path / "out")])
    assert ended.value.code == 1
    out, err = capsys.readouterr()
    told = [line for line in err.splitlines() if "pictures/s" not in line]
    assert not out
    assert told[0].startswith(f"dragoman: wrote 4 of 10 pictures to {tmp_path / 'out'}; these cou")
    assert len(told) == 1 + len(bad)
    for name, line in zip(bad, told[1:], strict=True):
        assert line.startswith(f"  {pictures / name} "), line
        assert line.count(str(pictures / name)) == 1, "each is named once"
    assert "deep.png holds uint16, but pictures of photo hold uint8" in told[2]
    assert "six.npy has 6 channels, but pictures of photo have 3" in told[5]
    assert len(names(tmp_path / "out")) == 4


def test_a_single_bad_picture_has_exit_code_1_too(translator, pictures, bad, tmp_path, capsys):
    saved = translator.save(tmp_path / "saved")
    with pytest.raises(SystemExit) as ended:
        cli.main(["translate", str(saved), str(pictures / bad[0]), str(tmp_path / "x.png")])
    assert ended.value.code == 1
    assert capsys.readouterr().err == f"dragoman: {pictures / bad[0]} is cut off\n"


def test_an_error_that_nobody_thought_of_stays_with_its_picture(
    translator, pictures, tmp_path, monkeypatch
):
    from dragoman.translating import files

    def broken(path, *args, **kwargs):
        if path.name == "one.png":
            raise ZeroDivisionError("of\ncourse")
        write_raster(path, *args, **kwargs)

    monkeypatch.setattr(files, "write_raster", broken)
    with pytest.raises(DataError, match=r"wrote 3 of 4 .*\n  .*one.png: ZeroDivisionError: of cou"):
        translate(translator, pictures, tmp_path / "out")


def test_pictures_beyond_the_limit_are_refused(translator, pictures, tmp_path):
    write_raster(pictures / "one.png", photograph(40, 30))
    with pytest.raises(
        DataError, match=r"wrote 3 of 4 .*\n  .*one.png has 40x30 pixels, more than"
    ):
        translate(translator, pictures, tmp_path / "out", max_megapixels=0.001)


def test_the_list_of_bad_pictures_ends_somewhere(translator, pictures, bad, tmp_path, monkeypatch):
    from dragoman.translating import job

    monkeypatch.setattr(job, "MOST_LINES", 2)
    with pytest.raises(DataError) as caught:
        translate(translator, pictures, tmp_path / "out")
    assert str(caught.value).splitlines()[3:] == ["  and 4 more"]


def test_the_command_has_every_option_with_its_default():
    parser = signature_parser(cli.translate, "dragoman translate")
    found = parser.parse_args(["a run", "in", "out"]).as_dict()
    wanted = {field.name: field.default for field in dataclasses.fields(Options)}
    assert found == {"run": "a run", "source": "in", "out": "out"} | wanted
