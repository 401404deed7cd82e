"""Official weights of the context encoder become our networks and systems."""

import pytest
import torch
from synthetic import FACTS, batches
from torch.nn import functional

from dragoman.convert import context_encoder as convert
from dragoman.engine import Engine, EngineSettings
from dragoman.errors import FileError
from dragoman.networks.context_encoder import Inpainter, WholeDiscriminator
from dragoman.settings import build
from dragoman.system import Facts


def trained(system, steps=2):
    """Take some steps and return all terms told, the last of each."""
    heard = {}
    how = build(EngineSettings, {"device": "cpu", "precision": "fp32"})
    engine = Engine(
        system,
        how,
        steps,
        lambda step, turn, terms: heard.update({f"{turn}.{n}": t for n, t in terms.items()}),
    )
    for _ in engine.run(batches):
        pass
    return heard


TERMS = {"generator.l2", "generator.adversarial", "discriminator.real", "discriminator.fake"}


def official(network, layers):
    """The network's state under official names."""
    state = {}
    for key, value in network.state_dict().items():
        layer, _, entry = key.rpartition(".")
        state[f"{layers(network)[layer]}.{entry}"] = value.clone()
    return state


def shuffled(network):
    torch.manual_seed(3)
    for tensor in network.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand_like(tensor) + 0.1)
    return network.eval()


@pytest.mark.parametrize("ups", [2, 3])
def test_official_weights_of_the_centre_and_of_the_whole_come_back(ups):
    network = shuffled(Inpainter(2, 3, (40, 24), 3, 3, "conv", 7, ups=ups, decoder_width=2))
    state = official(network, convert.generator_layers)
    assert state.keys() >= {"0.8.weight", "1.running_mean", "3.weight", f"{3 * ups + 3}.bias"}
    x = torch.randn(2, 2, 40, 24)
    assert torch.equal(convert.generator(state).eval()(x), network(x))


def converted(facts=FACTS, ups=2, judged=16, **over):
    generator = shuffled(Inpainter(3, 3, (32, 32), 3, 3, "conv", 5, ups=ups))
    judge = shuffled(WholeDiscriminator(3, (judged, judged), 2))
    states = {
        "generator_state": official(generator, convert.generator_layers),
        "discriminator_state": official(judge, convert.discriminator_layers),
    }
    return convert.context_encoder(**(states | over), facts=facts, overlap=2), generator, judge


def test_an_official_model_becomes_a_system_that_trains():
    system, generator, judge = converted()
    assert (system.weights == 10).sum() == 16**2 - 12**2
    for ours, theirs in ((system.generator, generator), (system.discriminator, judge)):
        for key, value in theirs.state_dict().items():
            assert torch.equal(ours.state_dict()[key], value)
    assert set(trained(system)) == TERMS


def test_an_official_model_of_random_holes_judges_and_weighs_all_of_its_output():
    system, generator, judge = converted(ups=3, judged=32)
    picture = torch.rand(2, 3, 32, 32) * 2 - 1
    hole = system.hole({"image": picture, "index": torch.arange(2)})
    made = generator(system.filled(picture, hole))
    shared = {"hole": hole, "made": made}
    terms = system.eval().generator_loss({"image": picture}, shared)
    squares = (made - picture).square().mean()
    torch.testing.assert_close(terms["l2"], 0.999 * squares)
    fooled = functional.softplus(-judge(made)).mean()
    torch.testing.assert_close(terms["adversarial"], 0.001 * fooled)
    assert set(trained(system)) == TERMS


def test_weights_that_do_not_fit_are_refused():
    with pytest.raises(FileError, match="makes pictures of 16 x 16 px, but netD judges 32 x 32"):
        converted(judged=32)
    with pytest.raises(FileError, match="for 3 to 3 channels, judged by 3; the data has 1"):
        converted(Facts(channels={"image": 1}, size=(32, 32)))
    with pytest.raises(FileError, match="pictures of 32 x 32 px, the data has 64 x 64; use --size"):
        converted(Facts(channels={"image": 3}, size=(64, 64)))
    with pytest.raises(FileError, match="not those of a context encoder's netG; they are: x"):
        converted(generator_state={"x": torch.zeros(1)})
    with pytest.raises(FileError, match="not those of a context encoder's netD"):
        converted(discriminator_state={"x": torch.zeros(1)})
    with pytest.raises(FileError, match="not those of a context encoder's channel-wise layer"):
        convert.channelwise({"weight": torch.zeros(2, 5, 5), "bias": torch.zeros(2, 5)})
