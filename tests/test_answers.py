"""Several answers for one picture: in Python, in files, and what a finished stage leaves."""

import json
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from synthetic import make

import dragoman
from dragoman import training
from dragoman.errors import DataError, SettingsError
from dragoman.pipeline import Translator, load
from dragoman.system import Stage
from dragoman.systems.pix2pix import Pix2Pix
from dragoman.translating import translate

PHOTO = {"name": "photo", "kind": "photo", "channels": 3}


def translator(**over: Any) -> Translator:
    """A pix2pix whose generator has dropout, unless said otherwise."""
    system = make("pix2pix", generator="resnet", blocks=1, **over)
    return Translator(system, {"system": "pix2pix", "domains": {"a": PHOTO, "b": PHOTO}}, "cpu")


def picture(side: int = 40) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)


def arrays(one: Translator, count: int, seed: int = 0) -> list[np.ndarray]:
    """Answers of a translator as arrays."""
    made = one.answers(picture(), count, seed)
    found = [answer for answer in made if isinstance(answer, np.ndarray)]
    assert len(found) == count
    return found


def test_answers_differ_and_the_seed_brings_them_back():
    one = translator()
    first, second = arrays(one, 2), arrays(one, 2)
    assert not np.array_equal(first[0], first[1])
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert not np.array_equal(first[1], arrays(one, 2, seed=1)[1])


def test_the_first_answer_is_what_calling_returns():
    one = translator()
    assert np.array_equal(arrays(one, 1)[0], one(picture()))


def test_answers_in_tiles_equal_answers_in_one_piece():
    one = translator(norm="none").answering(1)
    whole, tiles = one(picture(96)), one(picture(96), tile=32)
    assert np.abs(whole.astype(int) - tiles).max() <= 1


def test_answers_that_there_are_not():
    fixed = translator(at_test="eval")
    assert fixed.system.answers == 1
    with pytest.raises(SettingsError, match="pix2pix as it was trained has one answer"):
        fixed.answers(picture(), 2)
    with pytest.raises(SettingsError, match="counted from 0; there is no answer -1"):
        translator().answering(-1)


def test_files_of_answers(tmp_path):
    Image.fromarray(picture()).save(tmp_path / "in.png")
    with pytest.raises(SettingsError, match="has one answer for a picture; leave --answers out"):
        translate(translator(at_test="eval"), tmp_path / "in.png", tmp_path / "x.png", answers=2)
    one = translator()
    told = translate(one, tmp_path / "in.png", tmp_path / "out.png", answers=3)
    assert told.splitlines() == [f"wrote {tmp_path / f'out_{n}.png'}" for n in (1, 2, 3)]
    expected = arrays(one, 3)
    for number in range(3):
        made = np.asarray(Image.open(tmp_path / f"out_{number + 1}.png"))
        assert np.array_equal(made, expected[number])


def test_folders_of_answers(tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("x", "y"):
        Image.fromarray(picture()).save(tmp_path / "in" / f"{name}.png")
    translate(translator(), tmp_path / "in", tmp_path / "out", answers=2)
    names = sorted(path.name for path in (tmp_path / "out").glob("*.png"))
    assert names == ["x_1.png", "x_2.png", "y_1.png", "y_2.png"]


def test_a_picture_that_cannot_be_read_costs_no_answer_of_the_others(tmp_path):
    (tmp_path / "in").mkdir()
    Image.fromarray(picture()).save(tmp_path / "in" / "good.png")
    (tmp_path / "in" / "bad.png").write_bytes(b"nothing")
    with pytest.raises(DataError, match="wrote 1 of 2 pictures") as raised:
        translate(translator(), tmp_path / "in", tmp_path / "out", answers=2)
    names = sorted(path.name for path in (tmp_path / "out").glob("*.png"))
    assert names == ["good_1.png", "good_2.png"]
    assert str(raised.value).count("these could not be translated") == 1


@pytest.fixture
def two_stages(monkeypatch):
    """Let pix2pix learn in two stages, the first of two steps."""
    whole = Pix2Pix.stages

    def stages(self, steps):
        turns = whole(self, steps)[0].turns
        return [Stage("early", 2, turns), Stage("late", steps - 2, turns)]

    monkeypatch.setattr(Pix2Pix, "stages", stages)


def test_the_best_of_the_last_stage_makes_the_translator(tiny, tmp_path, monkeypatch, two_stages):
    scores = iter([0.1, 0.2, 0.5, 0.6])
    monkeypatch.setattr(training, "validate", lambda *_: {"lpips": next(scores)})
    folder = tmp_path / "run"
    run = dragoman.train("pix2pix", folder=folder, steps=4, checkpoint_every=1, **tiny)
    best = json.loads((run.folder / "run.json").read_text())["best"]
    assert best == {"step": 3, "stage": "late", "by": "lpips", "score": 0.5}


def test_every_finished_stage_but_the_last_leaves_its_translator(tiny, tmp_path, two_stages):
    run = dragoman.train("pix2pix", folder=tmp_path / "run", steps=4, average=0.0, **tiny)
    assert [path.name for path in run.stages.iterdir()] == ["early"]
    early, late = load(run.stages / "early", "cpu"), load(run.folder, "cpu")
    weights = zip(early.system.parameters(), late.system.parameters(), strict=True)
    assert any(not torch.equal(a, b) for a, b in weights)
    assert early(picture()).shape == (40, 40, 3)
