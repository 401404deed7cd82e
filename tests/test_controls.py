"""What may be chosen of pictures: declared once, checked, and offered by Python and commands."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from synthetic import picture_batch, translator

from dragoman import cli
from dragoman.controls import Controls, Towards, changed, offered
from dragoman.data.catalogue import Domain
from dragoman.errors import DataError, SettingsError
from dragoman.many_domain import IntoDomain
from dragoman.settings import knob, knobs
from dragoman.translating import translate
from dragoman.translating.references import reference_pictures

PHOTO = Domain("photo")
PIXELS = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)


@dataclass(frozen=True)
class Shown(Towards):
    reference: Any = knob(None, "pictures of the look that is wanted", pictures=True)
    truncation: float = knob(1.0, "how far a look may be from the usual one", 0, 2)


@dataclass(frozen=True)
class Look(IntoDomain):
    reference: Any = knob(None, "pictures of the look that is wanted", pictures=True)


def test_answers_are_no_control_and_pictures_are_told_apart():
    assert offered(Controls) == {}
    assert offered(Towards) == {"to": False}
    assert offered(Shown) == {"to": False, "reference": True, "truncation": False}
    assert knobs([Shown])["reference"].type == str | None


def test_changed_checks_all_but_pictures():
    now = Shown(reference=torch.zeros(1, 3, 8, 8), to="a")
    after = changed(now, {"truncation": 0.5})
    assert (after.to, after.truncation, after.reference) == ("a", 0.5, now.reference)
    assert changed(now, {"reference": None}).reference is None
    assert changed(now, {"to": "a"}).reference is not None
    assert changed(now, {"to": "b"}).reference is None, "it shows a, not b"
    owl = Look(domain="owl", reference=torch.zeros(1, 3, 8, 8))
    assert changed(owl, {"domain": "owl"}).reference is not None
    assert changed(owl, {"domain": "cat"}).reference is None
    with pytest.raises(SettingsError, match="--truncation must be at most 2, got 3"):
        changed(now, {"truncation": 3})
    with pytest.raises(SettingsError, match="--to must be one of a, b, got 'c'"):
        changed(now, {"to": "c"})


def test_a_translator_that_goes_both_ways():
    there = translator()
    back = there.choosing(to="a")
    assert (there.system.source, there.system.target) == ("a", "b")
    assert (back.system.source, back.system.target) == ("b", "a")
    pictures = picture_batch(0)["a"]
    made, returned = there.translate(pictures), back.translate(pictures)
    for to, ours in (("b", made), ("a", returned)):
        network = there.system.get_submodule(f"to_{to}")
        torch.testing.assert_close(ours, network(pictures), rtol=1e-4, atol=1e-5)
    assert torch.equal(back.choosing(to="b").translate(pictures), made)
    assert not torch.equal(made, returned)


def test_unknown_controls_are_named():
    with pytest.raises(SettingsError, match=r"cyclegan has no control 'too'.*'to'.*it has to"):
        translator().choosing(too="a")
    with pytest.raises(SettingsError, match="regression has no control 'to'; nothing can be"):
        translator("regression").choosing(to="a")


def test_the_command_line_offers_the_controls_of_the_translator(tmp_path, capsys):
    translator().save(tmp_path / "both")
    translator("regression").save(tmp_path / "one")
    Image.fromarray(PIXELS).save(tmp_path / "in.png")
    files = [str(tmp_path / name) for name in ("both", "in.png", "out.png")]

    def call(*argv: str) -> tuple[Any, str]:
        with pytest.raises(SystemExit) as ended:
            cli.main(list(argv))
        return ended.value.code, "".join(capsys.readouterr())

    code, said = call("translate", files[0], "--help")
    assert (code, "--to" in said) == (0, True)
    made = {}
    for to in ("a", "b"):
        assert call("translate", *files, "--to", to, "--again", "true")[0] == 0
        made[to] = np.asarray(Image.open(files[2]))
    assert not np.array_equal(made["a"], made["b"])
    assert call("translate", *files, "--to", "c") == (
        2,
        "dragoman: --to must be one of a, b, got 'c'\n",
    )
    code, said = call("translate", str(tmp_path / "one"), *files[1:], "--to", "a")
    lacking = "dragoman: regression has no control 'to'; nothing can be chosen of it\n"
    assert (code, said) == (2, lacking)
    code, said = call("translate", *files, "--truncation", "0.5")
    assert (code, said) == (2, "dragoman: cyclegan has no control 'truncation'; it has to\n")
    code, said = call("styles", *files, "--reference=x.png")
    assert (code, said) == (2, "dragoman: cyclegan has no control 'reference'; it has to\n")
    code, said = call("translate", *files, "--count", "2")
    assert (code, said) == (2, "dragoman: unknown setting '--count' (did you mean 'out'?)\n")
    code, said = call("translate", str(tmp_path / "none"), *files[1:], "--to", "a")
    assert "there is no translator" in said


def test_translating_from_python_takes_controls_beside_options(tmp_path):
    Image.fromarray(PIXELS).save(tmp_path / "in.png")
    both = translator()
    translate(both, tmp_path / "in.png", tmp_path / "a.png", to="a")
    picture = Image.open(tmp_path / "in.png")
    made = np.asarray(both.choosing(to="a")(picture))
    assert np.array_equal(np.asarray(Image.open(tmp_path / "a.png")), made)
    with pytest.raises(SettingsError, match=r"unknown setting 'tp'.*'to'"):
        translate(both, tmp_path / "in.png", tmp_path / "b.png", tp="a")
    with pytest.raises(SettingsError, match=r"cyclegan has no control 'domain'.*it has to"):
        translate(both, tmp_path / "in.png", tmp_path / "b.png", domain="x")


def test_references_come_to_the_size_of_training(tmp_path):
    grey = np.zeros((20, 40, 3), np.uint8)
    grey[:, 10:30] = 255  # the middle, which is what a square keeps
    Image.fromarray(grey).save(tmp_path / "one.png")
    Image.fromarray(255 - grey).save(tmp_path / "two.png")
    found = reference_pictures(tmp_path, PHOTO, (10, 10))
    assert found.shape == (2, 3, 10, 10)
    inner = found[..., 2:8]  # next to the edges bicubic weights see both sides
    torch.testing.assert_close(inner[0], torch.ones(3, 10, 6))
    torch.testing.assert_close(inner[1], -torch.ones(3, 10, 6))
    several = [grey, Image.fromarray(grey), str(tmp_path / "one.png"), found[1]]
    assert torch.equal(reference_pictures(several, PHOTO, (10, 10)), found[[0, 0, 0, 1]])


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([], "--reference holds no pictures"),
        (torch.zeros(3, 9, 10), "must have the shape .3, 10, 10. of the training pictures"),
        (torch.full((3, 10, 10), 3.0), "must hold floats in .-1, 1."),
        (np.zeros((10, 10, 4), np.uint8), "must be an array .height, width, 3."),
        ("nowhere.png", "there is no picture or folder nowhere.png"),
    ],
)
def test_references_that_do_not_fit(given, words):
    with pytest.raises(DataError, match=words):
        reference_pictures(given, PHOTO, (10, 10))
