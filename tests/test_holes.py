"""Holes that a user cuts into a picture, and systems that take pictures of one size only."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from synthetic import make

from dragoman.errors import DataError
from dragoman.pipeline import Translator
from dragoman.translating import translate

PHOTO = {"name": "photo", "kind": "photo", "channels": 3}
HOLE = np.s_[3:9, 20:30]
CENTRE = np.s_[8:24, 8:24]


def translator(domain: dict[str, Any] = PHOTO, **over: Any) -> Translator:
    """A context encoder for pictures of 32 x 32."""
    config = {"system": "context_encoder", "domains": {"image": domain}}
    return Translator(make("context_encoder", **over), config, "cpu")


def picture(height: int = 32, width: int = 32) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def with_hole(alpha: int = 0) -> np.ndarray:
    """The picture with a transparent part, whose colours are nobody's business."""
    transparency = np.full((32, 32, 1), 255, np.uint8)
    transparency[HOLE] = alpha
    return np.concatenate([picture(), transparency], 2)


def changed(made: Any, before: np.ndarray | None = None) -> np.ndarray:
    """Where the translator has painted."""
    return (np.asarray(made) != (picture() if before is None else before)).any(-1)


def within(place: Any) -> np.ndarray:
    mask = np.zeros((32, 32), bool)
    mask[place] = True
    return mask


def saved(path: Path, pixels: np.ndarray) -> Path:
    Image.fromarray(pixels).save(path)
    return path


@pytest.mark.parametrize("mask", ["centre", "region", "data"])
def test_what_is_transparent_is_filled(tmp_path, mask):
    one = translator(mask=mask)
    file = saved(tmp_path / "in.png", with_hole())
    translate(one, file, tmp_path / "out.png")
    written = Image.open(tmp_path / "out.png")
    assert written.mode == "RGB"
    painted = [np.asarray(x) for x in (written, one(Image.fromarray(with_hole())), one(file))]
    assert all(np.array_equal(made, painted[0]) for made in painted)
    assert not (changed(painted[0]) & ~within(HOLE)).any()
    assert changed(painted[0])[HOLE].mean() > 0.9
    shown = torch.from_numpy(picture()).permute(2, 0, 1)[None] / 127.5 - 1
    hole = torch.from_numpy(within(HOLE)).float()[None, None]
    exact = one.translate(shown, hole=hole)
    levels = ((exact[0].permute(1, 2, 0) + 1) * 127.5).round().numpy()
    assert np.abs(levels - painted[0]).max() <= 1


@pytest.mark.parametrize("alpha", [1, 255])
def test_without_a_fully_transparent_pixel_the_centre_is_filled(tmp_path, alpha):
    one = translator()
    translate(one, saved(tmp_path / "in.png", with_hole(alpha)), tmp_path / "out.png")
    made = np.asarray(Image.open(tmp_path / "out.png"))
    assert made.shape[-1] == 4, "transparency that is no hole is carried"
    assert changed(made[..., :3])[CENTRE].mean() > 0.9


def test_white_lays_the_hole_over_white(tmp_path):
    file = saved(tmp_path / "in.png", with_hole())
    translate(translator(), file, tmp_path / "out.png", alpha="white")
    made = np.asarray(Image.open(tmp_path / "out.png"))
    assert (made[HOLE][:, 4:] == 255).all()
    assert changed(made)[CENTRE].mean() > 0.9


def test_holes_that_cannot_be_filled_are_refused():
    tensor, hole = torch.zeros(2, 3, 32, 32), torch.ones(2, 1, 32, 32)
    with pytest.raises(DataError, match="context_encoder fills no holes of one's own"):
        translator(mask="none").translate(tensor, hole=hole)
    for wrong in (hole[:1], hole[:, 0], hole[..., 1:]):
        with pytest.raises(DataError, match=r"the shape \[2, 1, 32, 32\], it has"):
            translator().translate(tensor, hole=wrong)


@pytest.mark.parametrize("knobs", [{"predict": "centre", "overlap": 0}, {"mask": "none"}])
def test_systems_that_fill_the_centre_or_nothing_carry_transparency(tmp_path, knobs):
    one = translator(**knobs)
    assert not one.fills
    translate(one, saved(tmp_path / "in.png", with_hole()), tmp_path / "out.png")
    assert np.array_equal(np.asarray(Image.open(tmp_path / "out.png"))[..., 3], with_hole()[..., 3])


def test_kept_transparency_is_a_channel_and_no_hole():
    assert not translator({"name": "cut", "kind": "photo", "channels": 3, "alpha": "keep"}).fills


def test_pictures_with_and_without_holes_go_through_one_folder(tmp_path):
    (tmp_path / "in").mkdir()
    for number in range(6):
        pixels = with_hole() if number % 3 else picture()
        saved(tmp_path / "in" / f"{number}.png", pixels)
    one = translator()
    translate(one, tmp_path / "in", tmp_path / "out", batch=4)
    listed = [Image.open(tmp_path / "in" / f"{number}.png") for number in range(6)]
    for number, made in enumerate(one.many(listed, batch=4)):
        place = HOLE if number % 3 else CENTRE
        for painted in (np.asarray(made), np.asarray(Image.open(tmp_path / f"out/{number}.png"))):
            assert painted.shape == (32, 32, 3)
            assert not (changed(painted) & ~within(place)).any()
            assert changed(painted)[place].mean() > 0.9


@pytest.mark.parametrize(("height", "width"), [(20, 20), (31, 32), (64, 64), (2000, 1000)])
def test_pictures_of_other_sizes_are_refused_before_they_are_read(
    tmp_path, monkeypatch, height, width
):
    one, pixels = translator(), picture(height, width)
    words = f"is {width}x{height} pixels, .*trained on pictures of 32x32 .*resize it to that"
    tensor = torch.zeros(3, height, width)
    for wrong in (pixels, Image.fromarray(pixels), tensor, saved(tmp_path / "in.png", pixels)):
        for how in ({}, {"tile": 16}):
            with pytest.raises(DataError, match=words):
                one(wrong, **how)
    monkeypatch.setattr("dragoman.translating.files.read_whole", None)  # its header is enough
    with pytest.raises(DataError, match=words):
        translate(one, tmp_path / "in.png", tmp_path / "out.png")
    assert not (tmp_path / "out.png").exists()


def test_the_card_tells_of_the_only_size(tmp_path):
    one = translator()
    one.config |= {"facts": {"size": [32, 32]}, "credits": ""}
    one.save(tmp_path)
    text = (tmp_path / "README.md").read_text()
    assert "trained at 32 x 32 px and accepts no other size" in text
