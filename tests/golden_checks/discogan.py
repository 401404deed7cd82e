"""Checks of the discogan fixtures, by official class."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dragoman.convert import discogan
from dragoman.engine import sum_of
from dragoman.networks.discogan import DiscoDiscriminator, DiscoGenerator
from dragoman.system import Facts, Progress, Terms
from dragoman.systems.discogan import DiscoGAN, DiscoGANSettings
from golden_checks.fixture import Fixture
from golden_checks.pix2pixhd import Outputs, check_modes, compare_gradients

DOMAINS = {"A": "a", "B": "b"}  # ours by the official one
LEARNERS = (  # the objective, our name of its networks and the official one
    ("gen_total", "to", "generator"),
    ("dis_total", "discriminator", "discriminator"),
)


def check_generator(fixture: Fixture) -> None:
    """The generator, with or without extra layers."""
    extra = fixture.constructor.get("extra_layers")

    def make() -> nn.Module:
        return discogan.generator(fixture.under("weights/"), extra)

    check_modes(fixture, make, discogan.generator_layers, lambda net, x: {"out": net(x)})


def check_discriminator(fixture: Fixture) -> None:
    """The probability, and the activations of all layers but the first."""

    def make() -> nn.Module:
        return discogan.discriminator(fixture.under("weights/"))

    def run(network: nn.Module, x: Tensor) -> Outputs:
        _, *heard, logits = network(x)
        made = {f"relu{number}": layer for number, layer in enumerate(heard, start=2)}
        return made | {"prob": logits.sigmoid()}

    check_modes(fixture, make, discogan.discriminator_layers, run)


@dataclass
class Learnt:
    """The networks with their gradients, by official name; pictures; terms of both objectives."""

    networks: dict[str, DiscoGenerator | DiscoDiscriminator]
    pictures: dict[str, Tensor]
    told: Terms


def official(fixture: Fixture, dtype: torch.dtype) -> DiscoGAN:
    """Our system with the official networks, in a precision."""
    made, rate = {}, fixture.constructor["rate"]
    for name, domain in DOMAINS.items():
        made[f"to_{domain}"] = discogan.generator(fixture.under(f"weights/generator_{name}/"))
        judge = discogan.discriminator(fixture.under(f"weights/discriminator_{name}/"))
        made[f"discriminator_{domain}"] = judge
    shapes = {DOMAINS[name]: fixture.tensors[f"input/{name}"].shape for name in DOMAINS}
    height, width = shapes["a"][2:]
    facts = Facts({domain: shape[1] for domain, shape in shapes.items()}, (height, width))
    base = fixture.constructor["base"]
    settings = DiscoGANSettings(width=base, discriminator_width=base, rate_start=rate)
    system = DiscoGAN(settings, facts)
    for name, network in made.items():
        setattr(system, name, network)
    return system.to(dtype).train(fixture.meta.get("mode", "train") == "train")


def learn(fixture: Fixture, dtype: torch.dtype) -> Learnt:
    """Take the gradients of both objectives at the start, in a precision.

    Pictures, networks and terms are named by the domain that the pictures come to be of.
    """
    system, settings = official(fixture, dtype), DiscoGANSettings()
    batch = {ours: 2 * fixture.tensors[f"input/{n}"].to(dtype) - 1 for n, ours in DOMAINS.items()}
    shared = system.share(batch, Progress(0, 2))
    made, judged = system.generator_loss(batch, shared), system.discriminator_loss(batch, shared)
    told = {"gen_total": sum_of(made), "dis_total": sum_of(judged)}
    rest = 1 - shared.rate
    for name, ours in DOMAINS.items():
        told[f"dis_{name}"] = judged[f"real_{ours}"] + judged[f"fake_{ours}"]
        told[f"gen_{name}"] = made[f"adversarial_{ours}"] / (rest * settings.lambda_adversarial)
        told[f"fm_{name}"] = made[f"matching_{ours}"] / (rest * settings.lambda_matching)
        told[f"recon_{name}"] = made[f"cycle_{ours}"] / shared.rate
    named = {}
    for total, ours, theirs in LEARNERS:
        networks = {f"{theirs}_{n}": getattr(system, f"{ours}_{d}") for n, d in DOMAINS.items()}
        inputs = [p for network in networks.values() for p in network.parameters()]
        told[total].backward(inputs=inputs, retain_graph=True)
        named |= networks
    back = {"ABA": system.translated("a", shared.b), "BAB": system.translated("b", shared.a)}
    pictures = {"AB": shared.b, "BA": shared.a, **back}
    return Learnt(named, {name: (one + 1) / 2 for name, one in pictures.items()}, told)


def check_losses(fixture: Fixture) -> None:
    """Pictures, all terms of both objectives, and the gradients of all four networks."""
    ours, exact = learn(fixture, torch.float32), learn(fixture, torch.float64)
    for name, term in ours.told.items():
        fixture.compare(f"output/loss/{name}", term)
    for name, picture in ours.pictures.items():
        if f"output/{name}" in fixture.tensors:
            fixture.compare(f"output/{name}", picture)
    for name, network in ours.networks.items():
        layers = discogan.network_layers(network)
        compare_gradients(fixture, network, exact.networks[name], layers, f"{name}/")


CHECKS: dict[str, Callable[[Fixture], None]] = {
    "Generator": check_generator,
    "Discriminator": check_discriminator,
    "training losses of image_translation.py (discogan)": check_losses,
}
