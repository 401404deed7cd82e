"""Styles side by side, and the way from one to the next."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from synthetic import picture_batch, translator

from dragoman.errors import DataError, SettingsError
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


def test_the_grid_has_a_row_for_each_domain(loaded, picture, tmp_path):
    said = paint_styles(loaded, str(picture), tmp_path / "out.png", count=3)
    assert said == f"wrote {tmp_path / 'out.png'}"
    domains = loaded.system.domains()
    rows = sum(len(classes) for classes in domains.values()) or 1
    grid = Image.open(tmp_path / "out.png")
    margin = grid.width - 4 * 128 - 5 * GAP  # for the names of the domains
    assert 0 < margin <= 128 if domains else margin == 0
    assert grid.height > rows * (128 + GAP)
    pixels = np.asarray(grid)[-128 - GAP : -GAP]
    columns = [pixels[:, margin + GAP + n * (128 + GAP) :][:, :128] for n in (1, 2, 3)]
    assert not np.array_equal(columns[0], columns[1])
    assert loaded.system.held is None


def test_the_way_from_style_to_style_moves_and_comes_back(loaded, picture, tmp_path):
    for name in ("way.gif", "way.apng"):
        paint_styles(loaded, str(picture), tmp_path / name, count=2, frames=3)
        with Image.open(tmp_path / name) as moving:
            assert getattr(moving, "n_frames", 1) == 6


def test_one_domain_only_where_it_is_chosen(picture, tmp_path):
    many = translator("starganv2")
    name = next(iter(many.system.domains().values()))[1]
    paint_styles(many, str(picture), tmp_path / "one.png", count=2, domain=name)
    paint_styles(many, str(picture), tmp_path / "all.png", count=2)
    assert Image.open(tmp_path / "one.png").height < Image.open(tmp_path / "all.png").height


@pytest.mark.parametrize(
    ("out", "options", "words"),
    [
        ("a.gif", {}, "--frames is missing: .*a.gif is to move"),
        ("a.jpg", {}, "must end in .png, .gif, .apng"),
        ("a.png", {"count": 64, "frames": 120, "tow": "a"}, "munit has no control 'tow'.*'to'"),
        ("a.png", {"count": 0}, "--count must be at least 1"),
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
