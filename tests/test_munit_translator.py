"""MUNIT in a translator: references, seeds, and pictures in tiles."""

import pytest
import torch
from synthetic import KEYS
from test_munit import pictures, small
from tiles import furthest, photograph, tiled, untiled
from torch import nn

from dragoman.errors import SettingsError
from dragoman.networks.munit import LayerNorm
from dragoman.pipeline import Translator
from dragoman.systems.munit import MUNIT, MUNITControls
from dragoman.tiling.norms import Moments, _normalised, kind_of
from dragoman.tiling.passage import Passage


def translator(system: MUNIT) -> Translator:
    domain = {"name": "photo", "kind": "photo", "channels": 3}
    config = {
        "system": "munit",
        "settings": vars(system.settings),
        "facts": vars(system.facts),
        "domains": dict.fromkeys(KEYS, domain),
        "data": "synthetic",
        "credits": "",
        "training": {},
    }
    return Translator(system, config, "cpu")


def test_a_translator_goes_by_references_and_seeds():
    usual = translator(small(width=8))
    picture, shown = pictures(1), pictures(2, seed=5)
    fixed = usual.choosing(reference=shown)
    first = fixed.translate(picture, seed=0)
    assert torch.equal(fixed.translate(picture, seed=1), first)
    wanted = usual.system.of("b").style(shown).mean(0, keepdim=True)  # ty: ignore
    torch.testing.assert_close(first, usual.system.styled("b", picture, wanted))  # ty: ignore
    # What drew nothing with a reference still draws, by its seed, without one.
    seeded = usual.translate(picture, seed=0)
    assert torch.equal(usual.translate(picture, seed=0), seeded)
    assert not torch.equal(usual.translate(picture, seed=1), seeded)
    assert not torch.equal(usual.answering(1).translate(picture), seeded)
    with pytest.raises(SettingsError, match=r"has one answer for a picture.*no answer 1"):
        fixed.answering(1)
    assert fixed.choosing(to="a").system.shown is None, "the reference shows b"
    again = fixed.choosing(reference=None)
    assert torch.equal(again.translate(picture, seed=0), seeded)


@pytest.mark.parametrize("shown", [False, True])
def test_tiles_agree_with_the_whole_picture(shown):
    """The norms' layers see the whole, and all tiles have one style."""
    system, picture = small(depth=1).eval(), photograph(80, 112)
    if shown:
        system.choose(MUNITControls(reference=pictures()))
    whole = untiled(system, picture, seed=3)
    assert float(whole.std()) > 0.05
    assert furthest(tiled(system, picture, 3, tile=48, norms="exact"), whole) < 1e-3
    other = tiled(system, picture, 4, tile=48, norms="exact")
    assert (furthest(other, whole) < 1e-3) == shown


def test_a_sample_of_a_picture_has_one_style(monkeypatch):
    """Parts that run as one batch would each draw their own."""
    system, picture = small(depth=1).eval(), photograph(140, 140)
    joint, kept = [], Passage._together
    monkeypatch.setattr(
        Passage, "_together", lambda *given: joint.append(kept(*given)) or joint[-1]
    )
    drawn = tiled(system, picture, 3, tile=64, norms="fast")
    torch.manual_seed(3)
    system.shown = torch.randn(1, 3)  # the same, but drawn no more
    assert furthest(tiled(system, picture, tile=64, norms="fast"), drawn) < 1e-3
    assert joint == [False, True]


def test_tiles_norm_as_the_layer_norm_does():
    layer, x = LayerNorm(3, eps=0.1), torch.randn(1, 3, 5, 4) * 3 + 1
    nn.init.normal_(layer.bias)
    kind, moments = kind_of(layer), Moments(1)
    assert kind is not None
    assert kind.groups(layer, 3) == 1
    for part in x.split(2, 2):
        moments.add(part.reshape(1, -1, *part.shape[2:]))
    torch.testing.assert_close(_normalised(layer, x, moments, kind), layer(x))
