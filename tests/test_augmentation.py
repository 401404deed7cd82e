"""Augmentation keeps all layers of a picture aligned: checked on coordinates, and with kornia."""

from pathlib import Path
from typing import Any

import kornia.geometry.transform as oracle
import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dragoman.data import DataSettings, open_data
from dragoman.data.order import Order

SIDES = {"height": 40, "width": 56}


def coordinates() -> np.ndarray:
    """Pixels that tell their row and column, [H, W, 2]."""
    return np.moveaxis(np.mgrid[0 : SIDES["height"], 0 : SIDES["width"]], 0, -1)


@pytest.fixture(scope="module")
def layers(tmp_path_factory):
    """Sixteen pictures in every kind of layer, each telling row and column in its own way."""
    folder = tmp_path_factory.mktemp("layers")
    row, column = np.moveaxis(coordinates(), -1, 0)
    for number in range(16):
        deep = np.stack([row * 100 + number, column * 100 + number], -1).astype(np.uint16)
        colour = np.stack([row, column, np.full_like(row, number)], -1).astype(np.uint8)
        for key, pixels in (
            ("trainA", deep),
            ("trainB", colour),
            ("train_map", row.astype(np.uint8)),
            ("train_instance", column.astype(np.uint8)),
            ("train_mask", (255 * (column > row)).astype(np.uint8)),
        ):
            path = folder / key / f"{number:02}.tif"
            path.parent.mkdir(exist_ok=True)
            if pixels.dtype == np.uint16:
                tifffile.imwrite(path, pixels, photometric="minisblack", planarconfig="contig")
            else:
                Image.fromarray(pixels).save(path.with_suffix(".png"))
    return folder


def opened(folder: Path, **over):
    knobs: dict[str, Any] = {"size": 24, "load_size": 40, "range": "a=full"} | over
    return open_data(DataSettings(str(folder), **knobs))


def first(data, **over) -> dict[str, torch.Tensor]:
    batches = data.batches(**({"batch": 12, "seed": 3} | over))
    try:
        return next(batches)
    finally:
        batches.close()


@settings(max_examples=25)
@given(seed=st.integers(0, 999), flip=st.booleans(), crop=st.sampled_from(["random", "fixed"]))
def test_every_layer_tells_the_same_coordinates(layers, seed, flip, crop):
    batch = first(opened(layers, flip=flip, crop=crop), seed=seed)
    deep = ((batch["a"] + 1) * 32767.5).round()
    colour = ((batch["b"] + 1) * 127.5).round()
    number = colour[:, 2:]
    assert torch.equal(deep, colour[:, :2] * 100 + number)
    assert torch.equal(batch["map"], colour[:, 0].long())
    assert torch.equal(batch["instance"], colour[:, 1].long())
    assert torch.equal(batch["mask"][:, 0], (colour[:, 1] > colour[:, 0]).float())
    steps = colour[:, 1].diff(dim=2)
    assert set(steps.unique().tolist()) <= {1, -1}
    assert (steps == steps[:, :1, :1]).all()


def test_crops_and_mirrors_are_those_of_kornia(layers):
    data = opened(layers)
    batch = first(data)
    draws = Order(3, 0, data.counts["train"]).draws(np.arange(12))
    names = data.names("train")
    for place, row in enumerate(batch["index"].tolist()):
        number = int(names[row])
        whole = np.concatenate([coordinates(), np.full((*coordinates().shape[:2], 1), number)], 2)
        picture = torch.from_numpy(whole).permute(2, 0, 1)[None].float() / 127.5 - 1
        mirrored, down, right = draws[place, :3]
        top, left = int(down * 17), int(right * 33)  # 40 - 24 + 1 and 56 - 24 + 1 places
        box = torch.tensor(
            [[[left, top], [left + 23, top], [left + 23, top + 23], [left, top + 23]]]
        )
        wanted = oracle.crop_by_indices(picture, box)
        if mirrored < 0.5:
            wanted = oracle.hflip(wanted)
        torch.testing.assert_close(batch["b"][place : place + 1], wanted, atol=1e-6, rtol=0)


@pytest.mark.parametrize("fit", ["resize", "pad", "buckets"])
def test_other_fits_keep_the_layers_together(layers, fit):
    over = {"load_size": None, "crop": "fixed"} if fit != "resize" else {}
    data = opened(layers, fit=fit, size=32, **over)
    batch = first(data)
    shape = tuple(batch["b"].shape[2:])
    assert shape in data.shapes
    for key in ("map", "instance"):
        assert tuple(batch[key].shape[1:]) == shape
    colour = (batch["b"] + 1) * 127.5
    assert (batch["map"] - colour[:, 0]).abs().mean() < 1
    assert (batch["instance"] - colour[:, 1]).abs().mean() < 1


def test_buckets_give_batches_of_several_shapes_that_resume(tmp_path):
    generator = np.random.default_rng(0)
    for number in range(30):
        sides = [(32, 32), (32, 64), (60, 32)][number % 3]
        for key in "AB":
            path = tmp_path / f"train{key}" / f"{number}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(generator.integers(0, 256, (*sides, 3)).astype(np.uint8)).save(path)
    data = opened(tmp_path, size=32, load_size=None, fit="buckets", crop="fixed", range=None)
    seen = [tuple(first(data, batch=4, start=n)["a"].shape[2:]) for n in range(8)]
    assert {(32, 32), (16, 48), (48, 16)} & set(seen) == set(seen) or len(set(seen)) == 3
    parts = [first(data, batch=2, start=5, rank=rank, world=2) for rank in range(2)]
    whole = first(data, batch=4, start=5)
    for key, value in whole.items():
        assert torch.equal(torch.cat([part[key] for part in parts]), value)
