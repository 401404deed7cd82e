"""Official weights of pix2pixHD become our networks and systems."""

from typing import Any

import pytest
import torch
from synthetic import FACTS, make, picture_batch
from test_pix2pixhd import translator_of

from dragoman.convert import pix2pixhd as convert
from dragoman.convert import renaming
from dragoman.errors import FileError
from dragoman.networks.pix2pixhd import CoarseToFine, Encoder
from dragoman.pipeline import load
from dragoman.system import Facts, Progress
from dragoman.systems.pix2pixhd import Pix2PixHD

FAST: dict[str, Any] = {
    "blocks": 1,
    "enhancer_blocks": 1,
    "scales": 2,
    "discriminator_layers": 2,
    "encoder_width": 4,
    "perceptual": "none",
}


def small(**knobs: Any) -> Pix2PixHD:
    return make("pix2pixhd", **(FAST | knobs))


def official(network, layers):
    """The state of a network under official names."""
    state = network.state_dict()
    return {theirs: state[ours] for theirs, ours in renaming.our_keys(network, layers).items()}


@pytest.mark.parametrize("norm", ["instance", "batch"])
@pytest.mark.parametrize("padding", ["reflect", "zero"])
@pytest.mark.parametrize("enhancers", [0, 1, 2])
def test_official_generators_are_read_whatever_their_settings(enhancers, padding, norm):
    network = CoarseToFine(3, 2, 8, 2, 3, enhancers, 2, norm, padding, alone=False).eval()
    made = convert.generator(official(network, convert.generator_layers(network))).eval()
    x = torch.randn(1, 3, 32, 48)
    assert torch.equal(network(x), made(x))


def test_official_names_count_from_the_finest_enhancer_outwards():
    network = CoarseToFine(3, 2, 8, 1, 2, enhancers=2, enhancer_blocks=1, alone=False)
    names = set(convert.generator_layers(network).values())
    coarse = {"model.1", "model.4", "model.7.conv_block.1", "model.8.conv_block.5", "model.9"}
    finer = {"model1_1.1", "model1_2.1", "model2_1.4", "model2_2.0.conv_block.5", "model2_2.5"}
    assert coarse | finer <= names


def test_an_official_system_goes_on_here_and_is_saved(tmp_path):
    source = small(features=2, instances="map", share_global=0.0)
    layers = convert.generator_layers(source.generator)
    generator = official(source.generator, layers)
    judge = official(source.discriminator, convert.discriminator_layers(source.discriminator))
    look = official(source.encoder, convert.encoder_layers(source.encoder))
    made = convert.pix2pixhd(generator, judge, FACTS, look, perceptual="none")
    assert [stage.name for stage in made.stages(10)] == ["enhancer", "joint"]
    batch = picture_batch(0)
    ours, theirs = (s.share(batch, Progress(0, 1)).pictures for s in (made, source))
    assert torch.equal(ours, theirs)
    first = translator_of(made)
    first.save(tmp_path)
    second = load(tmp_path, "cpu")
    assert torch.equal(first.translate(batch["a"]), second.translate(batch["a"]))


def test_official_weights_that_do_not_fit_are_refused():
    system = small()
    generator = official(system.generator.coarse, convert._global_layers(system.generator.coarse))
    judge = official(system.discriminator, convert.discriminator_layers(system.discriminator))
    other = Facts(channels={"a": 7, "b": 3}, size=(32, 32))
    with pytest.raises(
        FileError, match=r"for 4 .* to 3 channels, judged by 7; the data has 7 and 3"
    ):
        convert.pix2pixhd(generator, judge, other)
    with pytest.raises(FileError, match=r"no convolution 'model\.1\.weight'"):
        convert.generator(judge)
    encoder = Encoder(3, 2, 4, 1)
    with pytest.raises(FileError, match="not those of an official generator"):
        convert.generator(official(encoder, convert.encoder_layers(encoder)))
    with pytest.raises(FileError, match="leave padding out"):
        convert.generator(generator, padding="zero")


def test_an_official_global_generator_that_cannot_draw_has_no_stage_of_its_own():
    source = small(share_global=0.0)
    generator = official(source.generator, convert.generator_layers(source.generator))
    judge = official(source.discriminator, convert.discriminator_layers(source.discriminator))
    with pytest.raises(FileError, match=r"share_global=0\.5 .* leave share_global out"):
        convert.pix2pixhd(generator, judge, FACTS, share_global=0.5)
