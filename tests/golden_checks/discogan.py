"""Checks of the discogan fixtures, by official class."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dragoman.convert import discogan
from dragoman.engine import sum_of
from dragoman.losses import distances, feature_matching
from dragoman.losses.adversarial import discriminator_terms, generator_term
from dragoman.networks.discogan import DiscoDiscriminator, DiscoGenerator
from dragoman.system import Terms
from golden_checks.fixture import Fixture
from golden_checks.pix2pixhd import Outputs, check_modes, compare_gradients

ADVERSARIAL, MATCHING = 0.1, 0.9  # the official shares of the generators' objective
OTHER = {"A": "B", "B": "A"}


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


def learn(fixture: Fixture, dtype: torch.dtype) -> Learnt:
    """Take the gradients of both objectives at the start, in a precision.

    Pictures, networks and terms are named by the domain that the pictures come to be of.
    """
    weights = {n: fixture.under(f"weights/generator_{n}/") for n in OTHER}
    made = {name: discogan.generator(state) for name, state in weights.items()}
    weights = {n: fixture.under(f"weights/discriminator_{n}/") for n in OTHER}
    judges = {name: discogan.discriminator(state) for name, state in weights.items()}
    for network in (*made.values(), *judges.values()):
        network.to(dtype).train(fixture.meta.get("mode", "train") == "train")
    real = {name: fixture.tensors[f"input/{name}"].to(dtype) for name in OTHER}
    fake = {name: made[name](real[other]) for name, other in OTHER.items()}
    again = {name: made[name](fake[other]) for name, other in OTHER.items()}
    told = {}
    for name, judge in judges.items():
        heard, faked = judge(real[name]), judge(fake[name])
        terms = discriminator_terms("nonsaturating", heard[-1], faked[-1])
        told[f"dis_{name}"] = (terms["real"] + terms["fake"]) / 2
        told[f"gen_{name}"] = generator_term("nonsaturating", faked[-1])
        told[f"fm_{name}"] = feature_matching.batch_means(heard[1:-1], faked[1:-1])
        told[f"recon_{name}"] = distances.l2(again[name], real[name])
    rate = fixture.constructor["rate"]
    shares = {"gen": (1 - rate) * ADVERSARIAL, "fm": (1 - rate) * MATCHING, "recon": rate}
    terms = {f"{k}_{n}": share * told[f"{k}_{n}"] for k, share in shares.items() for n in OTHER}
    told["gen_total"] = sum_of(terms)
    told["dis_total"] = told["dis_A"] + told["dis_B"]
    learners = {"gen_total": made, "dis_total": judges}
    for name, networks in learners.items():
        inputs = [p for network in networks.values() for p in network.parameters()]
        told[name].backward(inputs=inputs, retain_graph=True)
    pictures = {"AB": fake["B"], "BA": fake["A"], "ABA": again["A"], "BAB": again["B"]}
    named = {f"generator_{n}": made[n] for n in OTHER}
    return Learnt(named | {f"discriminator_{n}": judges[n] for n in OTHER}, pictures, told)


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
