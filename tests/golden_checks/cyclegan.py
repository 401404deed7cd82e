"""CycleGAN's training steps give the official pictures, losses, gradients and weights."""

import random
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

from dragoman.convert import junyanz, renaming
from dragoman.engine import sum_of
from dragoman.system import Batch, Facts, Progress
from dragoman.systems.cyclegan import CycleGAN
from golden_checks.fixture import NEGLIGIBLE, Fixture
from golden_checks.losses import objective
from golden_checks.pix2pixhd import statistics
from golden_checks.steps import STEPS, Steps, stored_steps

ROUNDING, NEAR, MOST = 1e-6, 4, 0.05
NETWORKS = {"netG_A": "to_b", "netG_B": "to_a", "netD_A": "discriminator_b"}
NETWORKS |= {"netD_B": "discriminator_a"}
TERMS = {"G_A": "adversarial_b", "G_B": "adversarial_a", "cycle_A": "cycle_a"}
TERMS |= {"cycle_B": "cycle_b", "idt_A": "identity_b", "idt_B": "identity_a"}


def system_of(fixture: Fixture) -> CycleGAN:
    """The system of the fixture's weights and settings."""
    settings = fixture.constructor
    real = {name: fixture.tensors[f"input/real_{name}"] for name in "AB"}
    height, width = real["A"].shape[-2:]
    return junyanz.cyclegan(
        {name: fixture.under(f"weights/netG_{name}/") for name in "AB"},
        {name: fixture.under(f"weights/netD_{name}/") for name in "AB"},
        Facts({"a": real["A"].shape[1], "b": real["B"].shape[1]}, (height, width)),
        dropout=0.0 if settings["no_dropout"] else 0.5,
        adversarial=objective(settings["gan_mode"]),
        lambda_a=settings["lambda_A"],
        lambda_b=settings["lambda_B"],
        lambda_identity=settings["lambda_identity"],
        history=settings["pool_size"],
        lr=settings["lr"],
        beta1=settings["beta1"],
    )


def official_draws(size: int) -> Iterator[tuple[bool, int]]:
    """The choices of the official history, by Python's random numbers."""
    while True:
        if random.uniform(0, 1) > 0.5:
            yield True, random.randint(0, size - 1)
        else:
            yield False, 0


def losses(heard: dict[str, dict[str, Tensor]]) -> dict[str, Tensor]:
    """The official names of a step's terms."""
    ours, judged = heard["generator"], heard["discriminator"]
    told = {name: ours.get(term, torch.zeros(())) for name, term in TERMS.items()}
    told["G"] = torch.stack(list(ours.values())).sum()
    for name, side in (("A", "b"), ("B", "a")):
        told[f"D_{name}"] = judged[f"real_{side}"] + judged[f"fake_{side}"]
    return told


def learned(fixture: Fixture, batch: Batch, dtype: torch.dtype) -> Any:
    """Take the gradients of both turns; returns the system, the fakes and all terms."""
    system = system_of(fixture).to(dtype)
    batch = {key: value.to(dtype) for key, value in batch.items()}
    fake = system.share(batch, Progress(0, STEPS))
    heard = {
        "generator": system.generator_loss(batch, fake),
        "discriminator": system.discriminator_loss(batch, fake),
    }
    for terms, kind in zip(heard.values(), ("netG", "netD"), strict=True):
        networks = [system.get_submodule(ours) for n, ours in NETWORKS.items() if kind in n]
        sum_of(terms).backward(inputs=[p for network in networks for p in network.parameters()])
    return system, fake, heard


def check_start(fixture: Fixture, batch: Batch) -> None:
    """Pictures, losses and gradients before any update."""
    system, fake, heard = learned(fixture, batch, torch.float32)
    near = [learned(fixture, moved(batch, seed), torch.float64)[0] for seed in range(NEAR)]
    made = {"fake_A": fake.a, "fake_B": fake.b}
    made |= {"rec_A": system.to_a(fake.b), "rec_B": system.to_b(fake.a)}
    if "output/idt_A" in fixture.tensors:
        made |= {"idt_A": system.to_b(batch["b"]), "idt_B": system.to_a(batch["a"])}
    for name, pictures in made.items():
        fixture.compare(f"output/{name}", pictures)
    for name, loss in losses(heard).items():
        fixture.compare(f"output/losses_at_init/{name}", loss)
    for name, ours in NETWORKS.items():
        if any(key.startswith(f"grad_param_stats/{name}/") for key in fixture.tensors):
            compare_gradients(fixture, name, [one.get_submodule(ours) for one in (system, *near)])


def moved(batch: Batch, seed: int) -> Batch:
    """The batch in float64, moved as little as float32 rounds; seed 0: not at all."""
    torch.manual_seed(seed)
    noise = ROUNDING if seed else 0.0
    return {k: v.double() + noise * torch.randn_like(v.double()) for k, v in batch.items()}


def compare_gradients(fixture: Fixture, name: str, networks: list[nn.Module]) -> None:
    """Compare the gradients of the first network, given others whose pictures hardly differ.

    A ReLU that stands at 0 but for rounding is open in one and shut in another, which can change
    gradients by a hundredth: as much as they differ among each other is allowed.
    """
    start, layers = f"grad_param_stats/{name}/", junyanz.network_layers(networks[0])
    named = renaming.our_keys(networks[0], layers)
    largest = max(float(stats[2]) for stats in fixture.under(start).values())
    for key, stats in fixture.under(start).items():
        if float(stats[2]) < NEGLIGIBLE * largest:
            fixture.compared.add(start + key)
            continue
        mine, *others = (statistics(n.get_parameter(named[key])) for n in networks)
        apart = max(float((other - mine).abs().max() / mine.abs().max()) for other in others)
        allowed = max(fixture.tolerance("grad_param_stats"), min(2 * apart, MOST))
        fixture.compare(start + key, mine, allowed)


def check_steps(fixture: Fixture, batch: Batch, dtype: torch.dtype, prefix: str) -> None:
    """Losses of every stored step of the engine, and the weights after it."""
    steps = Steps(system_of(fixture).to(dtype))
    random.seed(int(fixture.meta["pool_random_seed"]))
    for step in stored_steps(fixture, prefix):
        turned = {key: value.to(dtype).roll(step - 1, 0) for key, value in batch.items()}
        heard = steps.take(turned)
        part = f"{prefix}step{step}/"
        for name, loss in losses(heard).items():
            fixture.compare(f"{part}loss_{name}", loss)
        for name, ours in NETWORKS.items():
            network = steps.engine.system.get_submodule(ours)
            layers = junyanz.network_layers(network)
            fixture.compare_weights(f"{part}weight_stats/{name}/", network, layers)


def check_cyclegan(fixture: Fixture) -> None:
    """The official optimize_parameters, by our system and engine."""
    batch = {"a": fixture.tensors["input/real_A"], "b": fixture.tensors["input/real_B"]}
    check_start(fixture, batch)
    with patch("dragoman.losses.history.draws", official_draws):
        check_steps(fixture, batch, torch.float32, "output/")
        check_steps(fixture, batch, torch.float64, "output64/")
