"""What made the pictures of a folder is written down: others do not pass for them later."""

import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from noisy import names, noisy, photograph
from PIL import Image
from synthetic import translator as small

from dragoman.data.raster import read_raster
from dragoman.data.writing import write_raster
from dragoman.errors import FileError, SettingsError
from dragoman.pipeline import load
from dragoman.translating import translate
from dragoman.translating.files import Stages
from dragoman.translating.job import Stopped
from dragoman.translating.options import Options
from dragoman.translating.record import NAME, read_record, record_of


@pytest.fixture
def photographs(tmp_path):
    for number in range(3):
        write_raster(tmp_path / "in" / f"{number}.png", photograph(32, 32))
    return tmp_path / "in"


def read(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in names(folder)}


OTHERWISE = "out holds pictures that were made otherwise: "
REMEDY = "; name another folder, or use --again true to make them anew$"


@pytest.mark.parametrize(
    ("name", "before", "after", "words"),
    [
        ("starganv2", {"domain": "blue"}, {"domain": "green"}, "--domain was blue"),
        ("starganv2", {}, {"domain": "green"}, "--domain was not given"),
        ("starganv2", {"domain": "blue"}, {"domain": "blue", "seed": 1}, "--seed was 0"),
        ("munit", {"to": "a", "seed": 2}, {}, "--seed was 2, --to was a"),
        ("munit", {"truncation": 0.5}, {"truncation": 0.25}, "--truncation was 0.5"),
        ("munit", {"reference": "0.png"}, {"reference": "1.png"}, "--reference was of other pic"),
        ("munit", {"reference": "0.png"}, {}, "--reference was given"),
        ("munit", {}, {"reference": "0.png"}, "--reference was not given"),
        ("cyclegan", {"tile": 16}, {"tile": 16, "norms": "exact"}, "--norms was fast"),
    ],
)
def test_pictures_of_another_choice_are_not_taken_for_those_wanted(
    photographs, tmp_path, name, before, after, words
):
    for number in range(2):
        write_raster(tmp_path / f"{number}.png", photograph(32, 32) // (1 + number))
    chosen = [
        {k: str(tmp_path / v) if k == "reference" else v for k, v in one.items()}
        for one in (before, after)
    ]
    one, out = small(name), tmp_path / "out"
    translate(one, photographs, out, **chosen[0])
    was = read(out)
    with pytest.raises(SettingsError, match=OTHERWISE + words) as caught:
        translate(one, photographs, out, **chosen[1])
    assert str(caught.value).endswith(REMEDY[:-1])
    assert "\n" not in str(caught.value)
    assert read(out) == was
    assert translate(one, photographs, out, **chosen[0]).startswith("wrote 0 of 3 pictures")
    assert translate(one, photographs, out, again=True, **chosen[1]).startswith("wrote 3 of 3")
    assert translate(one, photographs, out, **chosen[1]).startswith("wrote 0 of 3 pictures")
    with pytest.raises(SettingsError, match=OTHERWISE):
        translate(one, photographs, out, **chosen[0])


def test_another_translator_is_noticed_and_a_saved_one_is_the_same(translator, pictures, tmp_path):
    translate(translator, pictures, tmp_path / "out")
    saved = load(translator.save(tmp_path / "saved"), "cpu")
    assert translate(saved, pictures, tmp_path / "out").startswith("wrote 0 of 4")
    words = OTHERWISE + "the translator was another one or had learned less" + REMEDY
    for other in (noisy(dropout=0.25), small("pix2pix")):
        with pytest.raises(SettingsError, match=words):
            translate(other, pictures, tmp_path / "out")


def test_the_record_goes_by_what_changes_pixels(translator):
    def of(one=translator, **options):
        return record_of(one, replace(Options(), **options))

    same = {"answers": 3, "format": "tif", "batch": 4, "shard": "1/2", "again": True, "workers": 1}
    assert of(**same) == of()
    for name, value in {
        "seed": 1,
        "tile": 32,
        "context": 4,
        "quality": 9,
        "alpha": "white",
    }.items():
        assert of(**{name: value}).differences(of()) == [f"--{name} was {_usual(name)}"]
    assert of(translator.answering(2)).differences(of()) == ["the answer was not given"]


def _usual(name: str) -> object:
    usual = getattr(Options(), name)
    return "not given" if usual is None else usual


def test_more_answers_join_those_that_are_there(translator, pictures, tmp_path):
    translate(translator, pictures, tmp_path / "out", answers=2)
    told = translate(translator, pictures, tmp_path / "out", answers=3).splitlines()
    assert [line.split(" of ")[0] for line in told] == ["wrote 0", "wrote 0", "wrote 4"]


def test_a_folder_from_before_records_is_gone_on_with(translator, pictures, tmp_path):
    out = tmp_path / "out"
    translate(translator, pictures, out, seed=1)
    (out / NAME).unlink()
    (out / "one.png").unlink()
    assert translate(translator, pictures, out).startswith("wrote 1 of 4 pictures")
    assert not (out / NAME).exists(), "nobody knows what made the others"
    assert translate(translator, pictures, out, again=True).startswith("wrote 4 of 4 pictures")
    with pytest.raises(SettingsError, match="--seed was 0"):
        translate(translator, pictures, out, seed=1)


def test_a_folder_that_was_emptied_is_begun_anew(translator, pictures, tmp_path):
    out = tmp_path / "out"
    translate(translator, pictures, out, seed=1)
    for name in names(out):
        (out / name).unlink()
    assert translate(translator, pictures, out).startswith("wrote 4 of 4 pictures")


def test_shards_share_a_folder_and_its_record(translator, pictures, tmp_path):
    out = tmp_path / "out"
    for part in ("1/2", "2/2"):
        assert translate(translator, pictures, out, shard=part).startswith("wrote 2 of 2")
    with pytest.raises(SettingsError, match="--seed was 0"):
        translate(translator, pictures, out, shard="1/2", seed=1)
    translate(translator, pictures, out, shard="1/2", seed=1, again=True)
    told = translate(translator, pictures, out, shard="2/2", seed=1)
    assert told.startswith("wrote 2 of 2 pictures"), "what is older was made otherwise"
    assert translate(translator, pictures, out, seed=1).startswith("wrote 0 of 4 pictures")
    made = read_raster(out / "one.png").pixels
    assert np.array_equal(made, translator(photograph(20, 30), seed=1))


def test_making_anew_goes_on_after_a_stop(translator, tmp_path, monkeypatch):
    for number in range(40):
        write_raster(tmp_path / f"in/{number:02}.png", photograph(20, 20))
    out = tmp_path / "out"
    translate(translator, tmp_path / "in", out)
    write = Stages.write

    def stopping(self, work):
        if work.place.name == "05.png":
            os.kill(os.getpid(), signal.SIGINT)
        return write(self, work)

    with monkeypatch.context() as patched:
        patched.setattr(Stages, "write", stopping)
        with pytest.raises(Stopped):
            translate(translator, tmp_path / "in", out, seed=1, again=True)
    wanted = translator(photograph(20, 20), seed=1)

    def right() -> int:
        return sum(np.array_equal(read_raster(out / name).pixels, wanted) for name in names(out))

    assert 5 < right() < 40
    translate(translator, tmp_path / "in", out, seed=1)
    assert right() == 40


def test_one_that_began_meanwhile_is_noticed(translator, pictures, tmp_path, monkeypatch):
    from dragoman.translating import job

    out, plan = tmp_path / "out", job.make_plan

    def late(*given):
        monkeypatch.setattr(job, "make_plan", plan)
        translate(translator, pictures, out, seed=1)
        return plan(*given)

    monkeypatch.setattr(job, "make_plan", late)
    with pytest.raises(SettingsError, match="--seed was 1"):
        translate(translator, pictures, out)


def test_a_named_file_does_not_slip_among_others(translator, pictures, tmp_path):
    out, one = tmp_path / "out", pictures / "one.png"
    translate(translator, pictures, out)
    for place in (out, out / "one.png"):
        with pytest.raises(
            SettingsError, match=r"one\.png lies among .* otherwise: --seed was 0; name another pl"
        ):
            translate(translator, one, place, seed=1)
    assert translate(translator, one, out) == f"wrote {out / 'one.png'}"
    assert translate(translator, one, out / "new.png", seed=1) == f"wrote {out / 'new.png'}"
    assert names(tmp_path / "elsewhere") == []
    translate(translator, one, tmp_path / "elsewhere" / "x.png", seed=1)
    assert os.listdir(tmp_path / "elsewhere") == ["x.png"], "nothing lies beside a single file"


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"translator": 1, "options": {}, "controls": {}, "since": 0}']
)
def test_a_damaged_record(translator, pictures, tmp_path, content):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / NAME).write_text(content)
    with pytest.raises(FileError, match=r"out/\.dragoman\.json is damaged; remove it, or name an"):
        translate(translator, pictures, tmp_path / "out")


def test_a_record_is_not_trusted(translator, pictures, tmp_path):
    out = tmp_path / "out"
    translate(translator, pictures, out)
    saved = json.loads((out / NAME).read_text())
    saved["options"]["seed"] = "a\nb" * 1000
    (out / NAME).write_text(json.dumps(saved))
    with pytest.raises(SettingsError, match="--seed was a ba b") as caught:
        translate(translator, pictures, out)
    assert len(str(caught.value)) < 600
    assert "\n" not in str(caught.value)


def test_a_folder_that_cannot_be_written_is_refused_at_once(translator, pictures, tmp_path):
    (tmp_path / "file").write_text("")
    words = r"cannot write into .*file/out \(Not a directory\); name another folder"
    with pytest.raises(FileError, match=words):
        translate(translator, pictures, tmp_path / "file" / "out")


def test_the_record_is_no_picture(translator, pictures, tmp_path):
    out = tmp_path / "out"
    translate(translator, pictures, out)
    found = read_record(out)
    assert found is not None
    assert (found.options, found.controls, found.since) == ({}, {}, 0)
    assert (
        translate(translator, out, tmp_path / "next")
        == f"wrote 4 of 4 pictures to {tmp_path / 'next'}"
    )
    Image.open(tmp_path / "next" / "one.png").verify()
