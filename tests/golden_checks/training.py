"""Whole training steps give the official losses and weights, in float64 over several steps."""

import torch
from torch import Tensor

from dragoman.convert import junyanz
from dragoman.engine import sum_of
from dragoman.system import Batch, Facts, Progress
from dragoman.systems.pix2pix import Pix2Pix
from golden_checks.fixture import Fixture
from golden_checks.losses import objective
from golden_checks.steps import STEPS, Steps, stored_steps


def system_of(fixture: Fixture) -> Pix2Pix:
    """The pix2pix system of the fixture's weights and settings."""
    settings = fixture.constructor
    height, width = fixture.tensors["input/real_A"].shape[-2:]
    channels = {"a": settings["input_nc"], "b": settings["output_nc"]}
    return junyanz.pix2pix(
        fixture.under("weights/netG/"),
        fixture.under("weights/netD/"),
        Facts(channels=channels, size=(height, width)),
        dropout=0.0 if settings["no_dropout"] else 0.5,
        adversarial=objective(settings["gan_mode"]),
        lambda_l1=settings["lambda_L1"],
        lr=settings["lr"],
        beta1=settings["beta1"],
    )


def official_losses(heard: dict[str, dict[str, Tensor]]) -> dict[str, Tensor]:
    """The official names and halves of a step's terms, by turn."""
    discriminator, generator = heard["discriminator"], heard["generator"]
    real, fake = 2 * discriminator["real"], 2 * discriminator["fake"]
    losses = {"D": (real + fake) / 2, "D_real": real, "D_fake": fake}
    losses |= {"G_GAN": generator["adversarial"], "G_L1": generator["l1"]}
    return losses | {"G": generator["adversarial"] + generator["l1"]}


def check_start(fixture: Fixture, batch: Batch) -> None:
    """Pictures, losses and gradients before any update."""
    system = system_of(fixture)
    fake = system.share(batch, Progress(0, STEPS))
    fake.retain_grad()
    terms = system.discriminator_loss(batch, fake)
    sum_of(terms).backward(inputs=list(system.discriminator.parameters()))
    heard = {"discriminator": terms, "generator": system.generator_loss(batch, fake)}
    learning = [fake, *system.generator.parameters()]
    sum_of(heard["generator"]).backward(inputs=learning)
    fixture.compare("output/fake_B", fake)
    assert fake.grad is not None
    fixture.compare("grad/fake_B (of loss_G)", fake.grad)
    for name, loss in official_losses(heard).items():
        fixture.compare(f"output/losses_at_init/{name}", loss)
    for network, name in ((system.generator, "netG/"), (system.discriminator, "netD/")):
        fixture.compare_gradients(network, junyanz.network_layers(network), name)


def check_steps(fixture: Fixture, batch: Batch, dtype: torch.dtype, prefix: str) -> None:
    """Losses of every stored step of the engine, and the weights after it."""
    steps = Steps(system_of(fixture).to(dtype))
    batch = {key: value.to(dtype) for key, value in batch.items()}
    for step in stored_steps(fixture, prefix):
        heard = steps.take(batch)
        part = f"{prefix}step{step}/"
        for name, loss in official_losses(heard).items():
            if f"{part}loss_{name}" in fixture.tensors:
                fixture.compare(f"{part}loss_{name}", loss)
        for name, ours in (("netG", "generator"), ("netD", "discriminator")):
            network = steps.engine.system.get_submodule(ours)
            layers = junyanz.network_layers(network)
            fixture.compare_weights(f"{part}weight_stats/{name}/", network, layers)


def check_pix2pix(fixture: Fixture) -> None:
    """The official optimize_parameters, by our system and engine."""
    batch = {"a": fixture.tensors["input/real_A"], "b": fixture.tensors["input/real_B"]}
    check_start(fixture, batch)
    check_steps(fixture, batch, torch.float32, "output/")
    check_steps(fixture, batch, torch.float64, "output64/")
