"""Networks, losses and gradients of pix2pixHD give the official numbers."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from dragoman.convert import pix2pixhd, renaming
from dragoman.engine import sum_of
from dragoman.losses.adversarial import Adversarial
from dragoman.losses.perceptual import RISING_VGG, Perceptual
from dragoman.networks.instance_features import numbered, pool
from dragoman.networks.multiscale import MultiscaleDiscriminator
from dragoman.networks.pix2pixhd import CoarseToFine
from dragoman.networks.vgg import VGG
from dragoman.system import Batch, Facts, Progress, Terms
from dragoman.systems.pix2pixhd import Made, Pix2PixHD
from golden_checks.fixture import NEGLIGIBLE, Fixture, Unsupported
from golden_checks.losses import leaf

Outputs = dict[str, Tensor]  # by the fixture's name
WORST = 1e-3  # error of a gradient that noise may excuse
SLICES = {f"slice{block}": f"relu{block}_1" for block in range(1, 6)}


def check_modes(
    fixture: Fixture,
    make: Callable[[], nn.Module],
    layers: Callable[[Any], dict[str, str]],
    run: Callable[[nn.Module, Tensor], Outputs],
) -> None:
    """Compare outputs, gradients and buffers of a network in every stored mode."""
    modes = fixture.meta.get("modes", f'["{fixture.meta.get("mode", "eval")}"]')
    for mode in ("eval", "train"):
        if f'"{mode}"' not in modes:
            continue
        part = f"{mode}/" if fixture.under(f"output/{mode}/") else ""
        network = make().train(mode == "train")
        x = leaf(fixture.tensors["input/x"])
        outputs = run(network, x)
        for name, output in outputs.items():
            fixture.compare(f"output/{part}{name}", output)
        cotangents = fixture.under("input/cotangent/")
        if cotangents:
            # A network of one output has a cotangent named by its number.
            wanted = {name if name in cotangents else "0": o for name, o in outputs.items()}
            terms = [(wanted[name] * c).sum() for name, c in cotangents.items()]
            torch.stack(terms).sum().backward()
            assert x.grad is not None
            fixture.compare(f"grad/{part}x", x.grad)
            if fixture.meta.get("grad_param_stats_mode") == mode:
                fixture.compare_gradients(network, layers(network))
        if mode == "train":
            fixture.compare_state(network, layers(network))


def check_generator(fixture: Fixture) -> None:
    """The global generator, alone or with enhancers."""
    padding = fixture.constructor.get("padding_type")
    weights = fixture.under("weights/")

    def make() -> CoarseToFine:
        return pix2pixhd.generator(weights, padding)

    check_modes(fixture, make, pix2pixhd.generator_layers, lambda net, x: {"out": net(x)})


def check_encoder(fixture: Fixture) -> None:
    """The feature encoder, before and after averaging over instances."""
    instances = numbered(fixture.tensors["input/inst"][:, 0])

    def run(network: nn.Module, x: Tensor) -> Outputs:
        before = network(x)
        return {"features_before_pooling": before, "out": pool(before, instances)}

    def make() -> nn.Module:
        return pix2pixhd.encoder(fixture.under("weights/"))

    check_modes(fixture, make, pix2pixhd.encoder_layers, run)


def check_discriminator(fixture: Fixture) -> None:
    """All layers of all scales, or the logits of each."""
    settings = fixture.constructor
    features = settings["getIntermFeat"]

    def run(network: nn.Module, x: Tensor) -> Outputs:
        scales = network(x)
        if not features:
            logits = [scale[-1] for scale in scales]
            scales = [[x.sigmoid() if settings["use_sigmoid"] else x] for x in logits]
        return {
            f"scale{s}/layer{number}": layer
            for s, scale in enumerate(scales)
            for number, layer in enumerate(scale)
        }

    def make() -> MultiscaleDiscriminator:
        return pix2pixhd.discriminator(fixture.under("weights/"))

    def layers(network: MultiscaleDiscriminator) -> dict[str, str]:
        return pix2pixhd.discriminator_layers(network, features)

    check_modes(fixture, make, layers, run)


def classifier(weights: dict[str, Tensor]) -> VGG:
    """The stand-in for VGG19."""
    taps = list(RISING_VGG)
    return VGG(weights, depth=19, taps=taps, width=weights["features.0.weight"].shape[0])


def check_vgg_loss(fixture: Fixture) -> None:
    """The perceptual term, the activations it compares, and its gradient."""
    network, settings = classifier(fixture.under("weights/")), fixture.constructor
    weights = dict(zip(SLICES.values(), settings["weights"], strict=True))
    assert weights == RISING_VGG
    perceptual = Perceptual.of(network, weights, scaling="signed")
    x, y = leaf(fixture.tensors["input/x"]), fixture.tensors["input/y"]
    activations = perceptual.features(x)
    for name, layer in SLICES.items():
        fixture.compare(f"output/{name}_x", activations[layer])
    loss = perceptual(x, y)
    loss.backward()
    fixture.compare("output/loss", loss)
    assert x.grad is not None
    fixture.compare("grad/x", x.grad)


def system_of(fixture: Fixture) -> Pix2PixHD:
    """The system of the fixture's weights and settings."""
    settings = fixture.constructor
    if settings["load_features"]:
        raise Unsupported("features from a file")
    height, width = fixture.tensors["input/image"].shape[-2:]
    inputs = settings["label_nc"] or settings["input_nc"]
    kind: Adversarial = "nonsaturating" if settings["no_lsgan"] else "least_squares"
    weight = settings["lambda_feat"]
    nets = {name: fixture.under(f"weights/{name}/") for name in ("netG", "netD", "netE")}
    system = pix2pixhd.pix2pixhd(
        nets["netG"],
        nets["netD"],
        Facts(
            channels={"a": inputs, "b": settings["output_nc"]},
            size=(height, width),
            maps=("a",) if settings["label_nc"] else (),
        ),
        nets["netE"] or None,
        adversarial=kind,
        lambda_feature=0.0 if settings["no_ganFeat_loss"] else weight,
        lambda_perceptual=0.0 if settings["no_vgg_loss"] else weight,
        features_of="classes" if settings["label_feat"] else "instances",
    )
    if not settings["no_vgg_loss"]:
        network = classifier(fixture.under("weights/vgg19/"))
        system.perceptual = Perceptual.of(network, RISING_VGG, scaling="signed")
    return system


def batch_of(fixture: Fixture) -> Batch:
    """The batch as our system takes it, label maps of -1 and 1."""
    label, settings = fixture.tensors["input/label"], fixture.constructor
    count = settings["label_nc"]
    hot = functional.one_hot(label[:, 0].long(), count).movedim(3, 1).float() if count else label
    return {
        "a": 2 * hot - 1 if count else label,
        "b": fixture.tensors["input/image"],
        "instance": fixture.tensors["input/inst"][:, 0],
    }


def official_losses(generator: Terms, discriminator: Terms) -> Terms:
    """The official names and factors of a step's terms."""
    zero = torch.zeros(())
    losses = {
        "G_GAN": generator["adversarial"],
        "G_GAN_Feat": generator.get("feature", zero),
        "G_VGG": generator.get("perceptual", zero),
        "G_total": sum_of(generator),
        "D_total": sum_of(discriminator),
    }
    return losses | {f"D_{name}": 2 * term for name, term in discriminator.items()}


def learn(fixture: Fixture, dtype: torch.dtype) -> tuple[Pix2PixHD, Batch, Made, Terms, Terms]:
    """Take the gradients of both turns in a precision; returns all that was made on the way."""
    system = system_of(fixture).train().to(dtype)
    batch = {k: v.to(dtype) if v.is_floating_point() else v for k, v in batch_of(fixture).items()}
    made = system.share(batch, Progress(0, 1))
    terms = system.generator_loss(batch, made), system.discriminator_loss(batch, made)
    networks = [n for name, n in system.named_children() if name in ("generator", "encoder")]
    sum_of(terms[0]).backward(inputs=[p for n in networks for p in n.parameters()])
    sum_of(terms[1]).backward(inputs=list(system.discriminator.parameters()))
    return system, batch, made, *terms


def compare_gradients(
    fixture: Fixture, ours: nn.Module, exact: nn.Module, layers: dict[str, str], prefix: str
) -> None:
    """Compare the gradients of a network, given the same in float64.

    The headers of whole models measured no noise of gradients, though official float32 gradients
    that nearly cancel are off by more than the base tolerance. The golden set's rule for the
    others, 5 times the noise, is applied to the noise that our float32 has.
    """
    start = f"grad_param_stats/{prefix}"
    named = renaming.our_keys(ours, layers)
    largest = max(float(stats[2]) for stats in fixture.under(start).values())
    for key, stats in fixture.under(start).items():
        if float(stats[2]) < NEGLIGIBLE * largest:
            fixture.compared.add(start + key)
            continue
        mine, true = (statistics(network.get_parameter(named[key])) for network in (ours, exact))
        noise = float((mine - true).abs().max() / true.abs().max())
        fixture.compare(
            start + key, mine, max(fixture.tolerance("grad_param_stats"), min(5 * noise, WORST))
        )


def statistics(parameter: Tensor) -> Tensor:
    """[sum, L2 norm, largest] of a gradient, in float64."""
    gradient = parameter.grad
    assert gradient is not None, "no gradient reached a parameter"
    return torch.stack([gradient.sum(), gradient.norm(), gradient.abs().max()]).double()


def check_model(fixture: Fixture) -> None:
    """Pictures, every loss, and the gradients of generator, encoder and discriminator."""
    system, batch, made, generator, judge = learn(fixture, torch.float32)
    exact = learn(fixture, torch.float64)[0]
    fixture.compare("output/fake_image", made.pictures)
    fixture.compare("output/input_label (onehot+edge)", system.condition(batch))
    for name, loss in official_losses(generator, judge).items():
        if f"output/loss/{name}" in fixture.tensors:
            fixture.compare(f"output/loss/{name}", loss)
    features = not any(key.startswith("weights/netD/layer") for key in fixture.tensors)
    layers = {
        "netG": pix2pixhd.generator_layers(system.generator),
        "netD": pix2pixhd.discriminator_layers(system.discriminator, features),
    }
    if made.features is not None:
        layers["netE"] = pix2pixhd.encoder_layers(system.encoder)
    names = {"netG": "generator", "netD": "discriminator", "netE": "encoder"}
    for net, theirs in layers.items():
        pair = (s.get_submodule(names[net]) for s in (system, exact))
        compare_gradients(fixture, *pair, theirs, f"{net}/")


CHECKS: dict[str, Callable[[Fixture], None]] = {
    "GlobalGenerator": check_generator,
    "LocalEnhancer": check_generator,
    "Encoder": check_encoder,
    "MultiscaleDiscriminator": check_discriminator,
    "VGGLoss": check_vgg_loss,
    "Pix2PixHDModel.forward": check_model,
}
