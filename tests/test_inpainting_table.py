"""The rows of the inpainting table see only what is around the hole, and the probe what it may."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from synthetic import FACTS, make

from dragoman import masks

PATH = Path(__file__).parents[1] / "recipes" / "inpainting.py"


@pytest.fixture(scope="module")
def recipe():
    return SimpleNamespace(**runpy.run_path(str(PATH)))


def pictures(count, seed=0):
    torch.manual_seed(seed)
    return torch.rand(count, 3, 32, 32) * 2 - 1


def test_gradients_of_a_slope_vote_for_its_direction(recipe):
    ramp = torch.linspace(-1, 1, 32).expand(1, 3, 32, 32)
    none = torch.zeros(1, 1, 32, 32)
    along = recipe.hog(ramp, none).view(9, 4, -1)
    assert along.shape[-1] == 9  # blocks of 2 x 2 among 4 x 4 cells
    assert along[0].min() > 0
    assert along[1:].abs().max() == 0
    down = recipe.hog(ramp.transpose(2, 3), none).view(9, 4, -1)
    torch.testing.assert_close(down[4], down[5])  # 90 degrees lie between the two
    assert down[[0, 1, 2, 3, 6, 7, 8]].abs().max() < 1e-5


@pytest.mark.parametrize("own", [False, True])
def test_neighbours_are_found_by_what_is_around_the_hole(recipe, own):
    train, system = pictures(20), make("context_encoder").eval()
    describe = recipe.own(system) if own else recipe.hog
    holes = torch.cat([masks.centre((32, 32)), masks.centre((32, 32), 0.25)])
    test = torch.where(holes > 0, pictures(2, seed=1), train[[4, 11]])
    found = recipe.nearest(test, train, holes, describe)
    assert torch.equal(found, train[[4, 11]])


def test_the_mean_fill_is_the_visible_mean(recipe):
    hole = masks.centre((32, 32))
    picture = torch.where(hole > 0, 1.0, torch.tensor([0.2, -0.4, 0.0])[:, None, None])
    found = recipe.mean_fill(picture, hole)
    torch.testing.assert_close(found[0, :, 20, 20], torch.tensor([0.2, -0.4, 0.0]))


def test_scores_are_means_over_pictures_then_over_seeds(recipe):
    hole, real = masks.centre((32, 32)).expand(2, 1, 32, 32), torch.zeros(2, 3, 32, 32)
    found = recipe.scores([real + 0.2, real + 0.4], real, hole)["l1_percent"]
    assert found["seeds"] == pytest.approx([10, 20])
    assert found["mean"] == pytest.approx(15)
    assert found["spread"] == pytest.approx(50**0.5)


def test_the_probe_reads_what_features_tell_and_nothing_else(recipe):
    """Bright or dark pictures are told apart; random labels are not."""
    system = make("context_encoder", facts=FACTS).eval()
    splits = {}
    for seed, name in enumerate(("train", "val", "test")):
        labels = torch.arange(60) % 2
        bright = (labels * 2 - 1)[:, None, None, None] * 0.5
        splits[name] = {"image": pictures(60, seed) * 0.4 + bright, "label": labels}
    assert recipe.probe(system, splits, 2)["accuracy"] > 0.95
    for split in splits.values():
        split["label"] = torch.randint(0, 2, (60,))
    assert recipe.probe(system, splits, 2)["accuracy"] < 0.8
