"""Checks of the SPADE fixtures, by official class."""

import re
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from dragoman.convert import renaming, spade
from dragoman.engine import sum_of
from dragoman.losses.perceptual import RISING_VGG, Perceptual
from dragoman.networks.spade import SPADEGenerator
from dragoman.networks.vgg import VGG
from dragoman.system import Batch, Facts, Progress
from dragoman.systems.spade import SPADE
from golden_checks.fixture import NEGLIGIBLE, Fixture
from golden_checks.losses import objective

DOUBLINGS = {"normal": 5, "more": 6, "most": 7}
Made = dict[str, Tensor]  # what a network made, by name


def bottom_of(settings: dict[str, Any]) -> tuple[int, int]:
    """Height and width of the bottom, which the official constructor computes so."""
    width = settings["crop_size"] // 2 ** DOUBLINGS[settings["num_upsampling_layers"]]
    return round(width / settings["aspect_ratio"]), width


def generator_of(settings: dict[str, Any], weights: dict[str, Tensor]) -> SPADEGenerator:
    """The converted generator."""
    depth = DOUBLINGS[settings["num_upsampling_layers"]]
    height, width = (side << depth for side in bottom_of(settings))
    made = spade.generator(weights, depth, (height, width))
    assert made.depth == depth
    return made


def check_modes(
    fixture: Fixture,
    make: Callable[[], nn.Module],
    run: Callable[[nn.Module, dict[str, Tensor]], Made],
) -> None:
    """Outputs, input gradients, parameter gradients and buffers in every stored mode."""
    modes = fixture.meta.get("modes", f'["{fixture.meta.get("mode", "eval")}"]')
    for mode in ("eval", "train"):
        if f'"{mode}"' not in modes:
            continue
        network = make().train(mode == "train")
        layers = spade.network_layers(network)
        inputs = {k: v for k, v in fixture.under("input/").items() if "cotangent/" not in k}
        inputs = {k: v.clone().requires_grad_(True) for k, v in inputs.items()}
        made = run(network, inputs)
        part = f"{mode}/" if fixture.under(f"output/{mode}/") else ""
        for key, value in made.items():
            fixture.compare(f"output/{part}{key}", value)
        weighted = fixture.under("input/cotangent/")
        if weighted:
            pulled = weighted if set(weighted) <= set(made) else {next(iter(made)): weighted["0"]}
            torch.stack([(made[key] * c).sum() for key, c in pulled.items()]).sum().backward()
            for key in fixture.under(f"grad/{part}"):
                gradient = inputs[key].grad
                assert gradient is not None
                fixture.compare(f"grad/{part}{key}", gradient)
            if fixture.meta.get("grad_param_stats_mode") == mode:
                compare_gradients(fixture, network, layers)
        if mode == "train":
            fixture.compare_state(network, layers)


def compare_gradients(
    fixture: Fixture, network: nn.Module, layers: dict[str, str], prefix: str = ""
) -> None:
    """Compare [sum, L2 norm, largest] of every parameter's gradient; prefix as "netG/".

    The convolutions that make scale and shift have gradients whose sum is small beside its terms.
    It is known only as well as the sum of their sizes: float64 differs from the stored float32 by
    more than the tolerance of the largest number.
    """
    parameters, named = dict(network.named_parameters()), renaming.our_keys(network, layers)
    start = f"grad_param_stats/{prefix}"
    stored = fixture.under(start)
    largest = max(float(stats[2]) for stats in stored.values())
    for name, stats in stored.items():
        key, gradient = start + name, parameters[named[name]].grad
        if float(stats[2]) < NEGLIGIBLE * largest:
            fixture.compared.add(key)
            continue
        assert gradient is not None, f"no gradient reached {name}"
        ours = torch.stack([gradient.sum(), gradient.norm(), gradient.abs().max()])
        if (ours[0] - stats[0]).abs() <= fixture.tolerance("grad") * gradient.abs().sum():
            ours[0] = stats[0]
        fixture.compare(key, ours)


def check_norm(fixture: Fixture) -> None:
    """SPADE: the norm alone."""
    weights = fixture.under("weights/")
    check_modes(
        fixture,
        lambda: spade.norm(weights),
        lambda network, given: {"out": network(given["x"], given["segmap"])},
    )


def check_block(fixture: Fixture) -> None:
    """SPADEResnetBlock."""
    weights = fixture.under("weights/")
    check_modes(
        fixture,
        lambda: spade.block(weights),
        lambda network, given: {"out": network(given["x"], given["seg"])},
    )


def check_generator(fixture: Fixture) -> None:
    """SPADEGenerator, from a map alone or from z too."""
    settings, weights = fixture.constructor, fixture.under("weights/")
    bottom = bottom_of(settings)
    check_modes(
        fixture,
        lambda: generator_of(settings, weights),
        lambda network, given: {"out": network(given["seg"], given.get("z"), bottom)},
    )


def check_encoder(fixture: Fixture) -> None:
    """ConvEncoder: mean and log variance."""
    weights = fixture.under("weights/")
    check_modes(
        fixture,
        lambda: spade.encoder(weights),
        lambda network, given: dict(zip(("mu", "logvar"), network(given["x"]), strict=True)),
    )


def check_discriminator(fixture: Fixture) -> None:
    """MultiscaleDiscriminator: every layer, or the logits alone without feature matching."""
    weights = fixture.under("weights/")

    def run(network: nn.Module, given: dict[str, Tensor]) -> Made:
        scales = network(given["x"])
        if fixture.constructor.get("no_ganFeat_loss"):
            scales = [scale[-1:] for scale in scales]
        return {
            f"D{number}/layer{index}": layer
            for number, scale in enumerate(scales)
            for index, layer in enumerate(scale)
        }

    check_modes(fixture, lambda: spade.discriminator(weights), run)


def system_of(fixture: Fixture) -> SPADE:
    """The SPADE system of the fixture's weights and settings."""
    settings = fixture.constructor
    depth = DOUBLINGS[settings["num_upsampling_layers"]]
    height, width = (side << depth for side in bottom_of(settings))
    classes = settings["label_nc"] + bool(settings["contain_dontcare_label"])
    made = spade.spade(
        fixture.under("weights/netG/"),
        fixture.under("weights/netD/"),
        Facts(channels={"a": classes, "b": settings["output_nc"]}, size=(height, width)),
        fixture.under("weights/netE/") or None,
        depth=depth,
        instances="none" if settings["no_instance"] else "map",
        adversarial=objective(settings["gan_mode"]),
        lambda_feature=0.0 if settings["no_ganFeat_loss"] else settings["lambda_feat"],
        lambda_perceptual=settings["lambda_vgg"],
        lambda_kl=settings["lambda_kld"],
        kl="sum",
        perceptual="none",
    )
    if not settings["no_vgg_loss"]:
        made.perceptual = stand_in(fixture)
    return made


def stand_in(fixture: Fixture) -> Perceptual:
    """The perceptual term with the fixture's own classifier."""
    places = [re.match(r"(weights/.*?)features\.0\.weight", key) for key in fixture.tensors]
    (prefix,) = (place[1] for place in places if place)
    weights, layers = fixture.under(prefix), RISING_VGG
    network = VGG(weights, 19, list(layers), width=weights["features.0.weight"].shape[0])
    return Perceptual.of(network, layers, "l1", "signed")


def draws_of(fixture: Fixture, latent: int) -> list[Tensor]:
    """The random numbers behind z, of the generator's pass and of the discriminator's."""
    given = fixture.under("input/")
    found = [given[key] for key in sorted(given) if given[key].shape[1:] == (latent,)]
    assert found, "the fixture holds no draw of z"
    return [found[0], found[-1]]


def check_losses(fixture: Fixture) -> None:
    """Pix2PixModel: the map, the picture, and all losses of both passes before any update."""
    system, given = system_of(fixture), fixture.under("input/")
    classes = system.facts.channels["a"]
    one_hot = functional.one_hot(given["label"][:, 0].long(), classes).permute(0, 3, 1, 2)
    batch = {"a": 2 * one_hot.float() - 1, "b": given["image"]}
    if "instance" in given and system.settings.instances == "map":
        batch["instance"] = given["instance"]
    fixture.compare("output/semantics", system.condition(batch))
    latent = system.settings.latent
    draws = draws_of(fixture, latent) if system.settings.multimodal else [None, None]
    networks = {"netG": "generator", "netD": "discriminator"}
    if system.settings.multimodal:
        networks["netE"] = "encoder"
    shared = shared_with(system, batch, draws[0])
    fixture.compare("output/fake_image (generator pass)", shared["fake"])
    terms = system.generator_loss(batch, shared)
    learners = [system.get_submodule(name) for name in networks.values() if name != "discriminator"]
    sum_of(terms).backward(inputs=[p for one in learners for p in one.parameters()])
    # The official trainer makes the picture again for the discriminator.
    judged = system.discriminator_loss(batch, shared_with(system, batch, draws[1]))
    sum_of(judged).backward(inputs=list(system.discriminator.parameters()))
    terms |= judged
    for official, name in networks.items():
        if fixture.under(f"grad_param_stats/{official}/"):
            network = system.get_submodule(name)
            compare_gradients(fixture, network, spade.network_layers(network), f"{official}/")
    names = {"GAN": "adversarial", "GAN_Feat": "feature", "VGG": "perceptual", "KLD": "kl"}
    names |= {"D_Fake": "fake", "D_real": "real"}
    for name in fixture.under("output/loss/"):
        fixture.compare(f"output/loss/{name}", terms[names[name]])


def shared_with(system: SPADE, batch: Batch, draw: Tensor | None) -> dict[str, Tensor]:
    """What the turns share, with z of a given draw."""
    if draw is None:
        return system.share(batch, Progress(0, 1))
    mean, log_variance = system.encoder(batch["b"])
    z = mean + draw * (log_variance / 2).exp()
    fake = system.generator(system.condition(batch), z)
    return {"fake": fake, "mean": mean, "log_variance": log_variance}


CHECKS: dict[str, Callable[[Fixture], None]] = {
    "SPADE": check_norm,
    "SPADEResnetBlock": check_block,
    "SPADEGenerator": check_generator,
    "ConvEncoder": check_encoder,
    "MultiscaleDiscriminator": check_discriminator,
    "Pix2PixModel": check_losses,
}
