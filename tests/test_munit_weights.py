"""Official weights of MUNIT and UNIT become our networks, and their perceptual distance."""

import copy
from typing import Any

import pytest
import torch
from synthetic import make
from test_munit_networks import shuffled
from torch import Tensor, nn
from torch.nn import functional

from dragoman.convert import munit as convert
from dragoman.convert import renaming
from dragoman.errors import FileError
from dragoman.losses.domain_invariant import DomainInvariant
from dragoman.losses.perceptual import PerceptualSettings
from dragoman.networks import vgg
from dragoman.networks.munit import Autoencoder, Judges, LayerNorm
from dragoman.networks.unit import Variational
from dragoman.networks.vgg import VGG
from dragoman.system import Facts, Progress

MANNERS: list[tuple[Any, Any]] = [
    ("relu", "reflect"),
    ("leaky_relu", "zero"),
    ("relu", "replicate"),
]
OFFICIAL = {"weight": "gamma", "bias": "beta"}  # entries of a layer norm


def official(network: nn.Module, layers: dict[str, str]) -> dict[str, Tensor]:
    """The state of a network under official names."""
    state = {}
    for theirs, ours in renaming.our_keys(network, layers).items():
        layer, _, entry = theirs.rpartition(".")
        own = network.get_submodule(ours.rpartition(".")[0])
        if isinstance(own, LayerNorm):
            entry = OFFICIAL[entry]
        state[f"{layer}.{entry.replace('weight_orig', 'weight_bar')}"] = network.state_dict()[ours]
    return state


def same(x: Any, y: Any) -> bool:
    if isinstance(x, Tensor):
        return torch.equal(x, y)
    return all(same(*pair) for pair in zip(x, y, strict=True))


# Official weights


@pytest.mark.parametrize(("activation", "padding"), MANNERS)
@pytest.mark.parametrize(
    "sizes", [(1, 3, 4, 1, 2, 3, 5, 4), (4, 1, 3, 3, 1, 2, 6, 2), (3, 2, 2, 0, 1, 2, 4, 1)]
)
def test_official_generators_are_read_whatever_their_settings(sizes, activation, padding):
    network = shuffled(Autoencoder(*sizes, activation=activation, padding=padding))
    state = official(network, convert.autoencoder_layers(network))
    for block in range(len(network.decoder.blocks)):  # which nobody reads
        state[f"dec.model.0.model.{block}.model.0.norm.running_mean"] = torch.rand(3)
    made = convert.autoencoder(state, activation, padding)
    x = torch.randn(3, sizes[0], 25, 38)
    assert same(made.encode(x), network.encode(x))
    assert same(made(x), network(x))


def test_official_names_of_a_generator():
    network = Autoencoder(3, depth=1, blocks=2, width=2, style_depth=3, mapping_width=4)
    names = set(official(network, convert.autoencoder_layers(network)))
    assert {
        "enc_content.model.0.conv.weight",
        "enc_content.model.2.model.1.model.0.conv.bias",
        "enc_style.model.3.conv.weight",
        "enc_style.model.5.weight",
        "dec.model.0.model.1.model.1.conv.weight",
        "dec.model.2.norm.gamma",
        "dec.model.3.conv.bias",
        "mlp.model.2.fc.weight",
    } <= names


@pytest.mark.parametrize(("activation", "padding"), MANNERS)
@pytest.mark.parametrize("sizes", [(1, 3, 1, 2), (3, 2, 3, 1), (2, 4, 0, 3)])
def test_official_generators_of_unit_are_read(sizes, activation, padding):
    network = shuffled(Variational(*sizes, activation=activation, padding=padding))
    other = shuffled(Variational(sizes[0] + 1, *sizes[1:], activation, padding))
    states = [official(net, convert.variational_layers(net)) for net in (network, other)]
    made = convert.variational(states[0], activation, padding)
    x = torch.randn(2, sizes[0], 26, 19)
    assert torch.equal(made(x), network(x))
    both = convert.unit_generator(states[0], states[1], activation, padding)
    assert torch.equal(both(x, "a", "a"), network(x))
    assert torch.equal(both(x, "a", "b"), other.decoder(network.encoder(x)))


@pytest.mark.parametrize("norm", ["none", "instance", "batch", "layer", "spectral"])
@pytest.mark.parametrize("sizes", [(1, 3, 2, 1), (5, 2, 3, 4), (3, 4, 1, 2)])
def test_official_discriminators_are_read_whatever_their_settings(sizes, norm):
    network = shuffled(Judges(*sizes, norm, "relu", "replicate")).eval()
    state = official(network, convert.discriminator_layers(network))
    made = convert.discriminator(state, norm, "relu", "replicate").eval()
    x = torch.randn(3, sizes[0], 81, 70)
    assert same(made(x), network(x))
    if norm != "instance" and sizes[2] > 1:  # which leaves no trace
        assert same(convert.discriminator(state, None, "relu", "replicate").eval()(x), network(x))


def test_official_names_of_a_discriminator():
    judges = [Judges(3, 2, 3, 2, norm) for norm in ("layer", "spectral", "batch")]
    found = [set(official(net, convert.discriminator_layers(net))) for net in judges]
    assert {"cnns.1.2.norm.gamma", "cnns.1.3.weight", "cnns.0.0.conv.weight"} <= found[0]
    own = {"weight_bar", "weight_u", "weight_v", "bias"}
    assert {f"cnns.1.2.conv.module.{entry}" for entry in own} <= found[1]
    assert {"cnns.0.0.conv.weight", "cnns.0.3.bias"} <= found[1]
    assert {"cnns.1.1.norm.weight", "cnns.1.1.norm.running_var"} <= found[2]


def test_spectral_layers_are_those_of_pytorch():
    """Each forward of the official layer takes one power iteration, as PyTorch's in training."""
    network = shuffled(Judges(3, 2, 2, 1, "spectral"))
    state = official(network, convert.discriminator_layers(network))
    made: Any = convert.discriminator(state).train()
    conv = made.scales[0].layers[1].conv
    theirs = nn.utils.spectral_norm(nn.Conv2d(2, 4, 4, 2))
    theirs.load_state_dict(
        {
            "weight_orig": state["cnns.0.1.conv.module.weight_bar"],
            **{k: state[f"cnns.0.1.conv.module.{k}"] for k in ("weight_u", "weight_v", "bias")},
        }
    )
    x = torch.randn(1, 2, 8, 8)
    for _ in range(2):
        wanted = theirs(functional.pad(x, (1, 1, 1, 1), mode="reflect"))
        torch.testing.assert_close(conv(x), wanted)


def test_weights_that_do_not_fit_are_refused():
    network = Autoencoder(3, 2, 2, 1, 1, 2, 4)
    state = official(network, convert.autoencoder_layers(network))
    with pytest.raises(FileError, match=r"hold 'a'; give the state of one domain, as state\['a'\]"):
        convert.autoencoder({"a": state, "b": state})  # ty: ignore
    with pytest.raises(FileError, match=r"no layer 'enc\.model\.0\.conv\.weight'.*; check that"):
        convert.variational(state)
    with pytest.raises(FileError, match=r"no layer 'cnns\.0\.0\.conv\.weight'"):
        convert.discriminator(state)
    lacking = {key: value for key, value in state.items() if not key.startswith("mlp")}
    with pytest.raises(
        FileError, match=r"no 'mlp\.model\.0\.fc\.weight', which every official Ada"
    ):
        convert.autoencoder(lacking)
    lacking = {key: value for key, value in state.items() if key != "dec.model.2.norm.gamma"}
    with pytest.raises(FileError, match=r"missing: dec\.model\.2\.norm\.weight"):
        convert.autoencoder(lacking)


def test_domains_of_two_networks_are_refused():
    first, second = (
        official(net, convert.variational_layers(net))
        for net in (Variational(3, 2, 1, 2), Variational(3, 4, 1, 3))
    )
    with pytest.raises(
        FileError,
        match="one UNIT: domain a has width 2, blocks 2, domain b width 4, blocks 3; give both",
    ):
        convert.unit_generator(first, second)


def test_a_norm_at_odds_with_the_weights_is_refused():
    judges = [Judges(3, 2, 2, 1, norm) for norm in ("layer", "none")]
    layered, plain = (official(net, convert.discriminator_layers(net)) for net in judges)
    with pytest.raises(FileError, match=r"with layer norm .* norm=instance; leave norm out"):
        convert.discriminator(layered, "instance")
    with pytest.raises(FileError, match=r"with no norm .* norm=batch; leave norm out"):
        convert.discriminator(plain, "batch")


# Whole systems


def states_of(system: Any, kind: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The official states of a system's generators and discriminators, by domain."""
    made, judges = {}, {}
    for domain in "ab":
        if kind == "unit":
            network = getattr(system.generator, domain)
            layers = convert.variational_layers(network)
        else:
            network = system.of(domain)
            layers = convert.autoencoder_layers(network)
        judge = system.judge(domain)
        made[domain] = official(network, layers)
        judges[domain] = official(judge, convert.discriminator_layers(judge))
    return made, judges


@pytest.mark.parametrize("norm", ["none", "layer"])
@pytest.mark.parametrize(
    ("kind", "knobs"),
    [
        ("unit", {"share_weights": False, "depth": 1, "blocks": 2}),
        ("munit", {"style": 3, "style_depth": 2, "mapping_width": 5, "mapping_layers": 2}),
        ("munit", {"style": 3, "mapping_layers": 1, "mapping_width": 1, "depth": 3}),
    ],
)
def test_systems_of_official_states_have_their_settings_and_pictures(kind, knobs, norm):
    facts = Facts({"a": 3, "b": 1}, (32, 32))
    knobs = {"scales": 1, "discriminator_layers": 3, "discriminator_norm": norm, **knobs}
    system = shuffled(make(kind, facts=facts, activation="leaky_relu", padding="zero", **knobs))
    convert_it = {"unit": convert.unit, "munit": convert.munit}[kind]
    manner: Any = {"activation": "leaky_relu", "padding": "zero"}
    made = convert_it(*states_of(system, kind), facts, **manner)
    assert made.settings == system.settings
    batch = {"a": torch.rand(2, 3, 32, 32), "b": torch.rand(2, 1, 32, 32)}
    for call in ("generator_loss", "discriminator_loss"):
        terms = []
        for one in (system, made):
            torch.manual_seed(0)
            terms.append(getattr(one, call)(batch, one.share(batch, Progress(0, 1))))
        assert terms[0] == terms[1]


def test_systems_for_other_data_or_of_two_models_are_refused():
    facts = Facts({"a": 3, "b": 1}, (32, 32))
    first, second = (make("munit", facts=facts, blocks=1, style=n) for n in (3, 4))
    states, judges = states_of(first, "munit")
    with pytest.raises(FileError, match="of 3 and 1 channels, judged by 3 and 1; the data has 1"):
        convert.munit(states, judges, Facts({"a": 1, "b": 1}, (32, 32)))
    mixed = {"a": states["a"], "b": states_of(second, "munit")[0]["b"]}
    with pytest.raises(FileError, match="one MUNIT: domain a has style 3, domain b style 4; give"):
        convert.munit(mixed, judges, facts)
    swapped = {"a": judges["b"], "b": judges["a"]}
    with pytest.raises(FileError, match="judged by 1 and 3"):
        convert.munit(states, swapped, facts)


# The perceptual distance


def vgg_state(width: int = 2) -> dict[str, Tensor]:
    """Random weights by official names."""
    torch.manual_seed(2)
    empty = nn.Sequential(*(layer for _, layer in vgg.layers(16, width))).to_empty(device="cpu")
    names = [name for name, _ in vgg.layers(16)]
    state = {}
    for key, value in empty.state_dict().items():
        number, entry = key.split(".")
        state[f"{names[int(number)]}.{entry}"] = torch.randn_like(value) / 3
    return state


def test_the_official_classifier_sees_blue_first_and_pools_three_times():
    state = vgg_state()
    network = convert.vgg16(state, ["relu1_1", "relu5_3"])
    x = torch.randn(2, 3, 48, 32)
    heard = network(x)
    wanted = functional.conv2d(x.flip(1), state["conv1_1.weight"], state["conv1_1.bias"], padding=1)
    torch.testing.assert_close(heard["relu1_1"], wanted.relu())
    assert heard["relu5_3"].shape == (2, 16, 6, 4)
    del state["conv3_2.weight"]
    assert convert.vgg16(state, ["relu2_2"])(x)["relu2_2"].shape == (2, 4, 24, 16)
    with pytest.raises(FileError, match=r"no 'conv3_2\.weight', which every official Vgg16 has"):
        convert.vgg16(state)
    with pytest.raises(FileError, match=r"no 'conv1_1\.weight'"):
        convert.vgg16({"features.0.weight": torch.zeros(1)})


def test_the_distance_by_definition():
    network = convert.vgg16(vgg_state(), ["relu2_1", "relu3_1"])
    distance = DomainInvariant.of(network, {"relu2_1": 2.0, "relu3_1": 0.5}, "l2", "signed")
    x, y = torch.randn(2, 3, 24, 16, requires_grad=True), torch.randn(2, 3, 24, 16)
    ours, theirs = network(x), network(y)
    parts = [
        (functional.instance_norm(ours[name]) - functional.instance_norm(theirs[name])).square()
        for name in ("relu2_1", "relu3_1")
    ]
    made = distance(x, y)
    torch.testing.assert_close(made, 2 * parts[0].mean() + 0.5 * parts[1].mean())
    made.backward()
    assert x.grad is not None


def test_the_distance_knows_no_scale_of_activations():
    network = convert.vgg16(vgg_state(), ["conv1_1"])
    distance = DomainInvariant.of(network, {"conv1_1": 1.0}, "l2", "signed")
    x = torch.randn(1, 3, 16, 16)
    padded = functional.pad(x[..., 1:-1, 1:-1], (1, 1, 1, 1))  # so that its border may be scaled
    assert float(distance(padded, 3 * padded)) < 1e-3


def test_the_classifiers_to_choose_from(tmp_path):
    built_in = DomainInvariant(PerceptualSettings())
    assert built_in.weights == {"relu5": 1.0}
    x, y = torch.rand(2, 3, 64, 64) * 2 - 1, torch.rand(2, 3, 64, 64) * 2 - 1
    torch.manual_seed(0)
    assert 0 < float(built_in(x, y)) < 4  # of values of variance 1
    missing = DomainInvariant(PerceptualSettings("vgg16", str(tmp_path / "none.pth")))
    with pytest.raises(FileError, match="VGG16 needs its ImageNet weights"):
        missing.check()
    assert DomainInvariant(PerceptualSettings("vgg19", "x")).weights == {"relu5_4": 1.0}
    assert not DomainInvariant(PerceptualSettings("none"))


def test_vgg16_of_a_file_has_no_fourth_pooling(monkeypatch):
    made: list[Any] = []
    monkeypatch.setattr(VGG, "__init__", lambda self, *given, **how: made.append((given, how)))
    distance = DomainInvariant(PerceptualSettings("vgg16", "vgg16.pth"))
    distance._read()
    (given, how), *rest = made
    assert not rest
    assert given[1:] == (16, ["relu5_3"])
    assert how == {"pools": (1, 2, 3)}


def test_copies_of_a_distance_measure_the_same():
    network = convert.vgg16(vgg_state(), ["relu3_1"])
    distance = DomainInvariant.of(network, {"relu3_1": 1.0}, "l2")
    x, y = torch.rand(1, 3, 16, 16), torch.rand(1, 3, 16, 16)
    assert torch.equal(copy.deepcopy(distance)(x, y), distance(x, y))
