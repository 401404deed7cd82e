"""pix2pix: a generator learns a picture's partner, a discriminator judges the pair."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from dragoman.controls import Controls
from dragoman.errors import SettingsError
from dragoman.losses.adversarial import (
    LABELLED,
    Adversarial,
    discriminator_terms,
    generator_term,
)
from dragoman.losses.distances import l1
from dragoman.losses.penalties import gradient_penalty
from dragoman.networks.blocks import Norm, initialise
from dragoman.networks.generator import (
    GeneratorSettings,
    answers_of,
    build_generator,
    make_pictures,
    set_at_test,
)
from dragoman.networks.patch import Field, patch_discriminator
from dragoman.settings import knob
from dragoman.system import Batch, Facts, Progress, Stage, System, Terms, Turn


@dataclass(frozen=True)
class Pix2PixSettings(GeneratorSettings):
    """Knobs of pix2pix; the defaults are the official implementation's."""

    objective: Literal["L1", "GAN", "cGAN", "L1+GAN", "L1+cGAN"] = knob(
        "L1+cGAN", "the terms in play; with cGAN the discriminator sees the input too"
    )
    adversarial: Adversarial = knob("nonsaturating", "the adversarial objective")
    lambda_l1: float = knob(100.0, "weight of the L1 term", 0)
    lambda_adversarial: float = knob(1.0, "weight of the generator's adversarial term", 0)
    lambda_penalty: float = knob(
        10.0, "weight of the gradient penalty that the wasserstein objective has", 0
    )
    real_label: float = knob(1.0, "what D is told of real pairs; 0.9 is one-sided smoothing", 0, 1)
    patch: Field = knob(70, "receptive field of the discriminator in px: 1, 16, 70 or image")
    discriminator_width: int = knob(64, "channels of the discriminator's first layer", 1, 4096)
    discriminator_norm: Norm | None = knob(None, "the discriminator's norm, where it differs")
    lr: float = knob(2e-4, "learning rate of Adam", 0)
    lr_discriminator: float | None = knob(None, "the discriminator's, where it differs", 0)
    beta1: float = knob(0.5, "Adam's decay of the mean gradient", 0, 0.9999)

    def __post_init__(self) -> None:
        if self.objective.startswith("L1") and self.lambda_l1 == 0:
            raise SettingsError(
                f"--objective {self.objective} with --lambda_l1 0 has no L1 term; "
                "use --objective cGAN or a weight above 0"
            )
        norm = self.discriminator_norm or self.norm
        if self.adversarial == "wasserstein" and norm == "batch":
            raise SettingsError(
                "--adversarial wasserstein penalises the critic's slope at each picture, which a "
                "batch norm mixes; use --discriminator_norm instance"
            )
        if "GAN" not in self.objective:
            return
        if self.lambda_adversarial == 0:
            raise SettingsError(
                f"--objective {self.objective} with --lambda_adversarial 0 has no adversarial "
                "term; use --objective L1 or a weight above 0"
            )
        if self.real_label != 1 and self.adversarial not in LABELLED:
            raise SettingsError(
                f"--real_label {self.real_label:g} smooths labels, which --adversarial "
                f"{self.adversarial} has not; leave it at 1 or use one of {', '.join(LABELLED)}"
            )


class Pix2Pix(System):
    """G* = arg min_G max_D L_cGAN(G, D) + lambda L_L1(G) (Isola et al. 2017, equation 4)."""

    Settings = Pix2PixSettings
    settings: Pix2PixSettings

    def __init__(self, settings: Pix2PixSettings, facts: Facts) -> None:
        super().__init__(settings, facts)
        a, b, size = facts.channels["a"], facts.channels["b"], min(facts.size)
        self.l1 = "L1" in settings.objective
        self.gan = "GAN" in settings.objective
        self.conditional = "cGAN" in settings.objective
        self.generator = build_generator(settings, a, b, size)
        if self.gan:
            self.discriminator = patch_discriminator(
                a + b if self.conditional else b,
                settings.patch,
                width=settings.discriminator_width,
                norm=settings.discriminator_norm or settings.norm,
                size=size,
            )
            initialise(self.discriminator, settings.start)

    def stages(self, steps: int) -> list[Stage]:
        turns = [Turn(self.generator_loss, [self.generator])]
        if self.gan:  # the generator answers to the discriminator just updated
            turns.insert(0, Turn(self.discriminator_loss, [self.discriminator]))
        return [Stage("train", steps, turns)]

    def train(self, mode: bool = True) -> "Pix2Pix":
        super().train(mode)
        set_at_test(self.generator, self.settings.at_test, mode)
        return self

    def generate(self, batch: Batch, controls: Controls | None = None) -> Tensor:
        return make_pictures(self.generator, batch["a"], self.settings.at_test)

    def share(self, batch: Batch, progress: Progress) -> Tensor:
        return self.generate(batch)

    def judged(self, batch: Batch, picture: Tensor) -> Tensor:
        """The discriminator's logits for a picture."""
        return self.discriminator(self.seen(batch, picture))

    def seen(self, batch: Batch, picture: Tensor) -> Tensor:
        """What the discriminator sees: the picture, with its input if conditional."""
        return torch.cat([batch["a"], picture], 1) if self.conditional else picture

    def discriminator_loss(self, batch: Batch, made: Tensor) -> Terms:
        # Fakes first, as officially: a batch norm's running statistics depend on the order.
        fake, real = self.judged(batch, made), self.judged(batch, batch["b"])
        terms = discriminator_terms(self.settings.adversarial, real, fake, self.settings.real_label)
        terms = {name: term / 2 for name, term in terms.items()}  # halved: D learns slower than G
        if self.settings.adversarial == "wasserstein":
            real, fake = self.seen(batch, batch["b"]), self.seen(batch, made)
            slope = gradient_penalty(self.discriminator, real, fake)
            terms["penalty"] = self.settings.lambda_penalty * slope
        return terms

    def generator_loss(self, batch: Batch, fake: Tensor) -> Terms:
        terms = {}
        if self.gan:
            kind = self.settings.adversarial
            real = self.judged(batch, batch["b"]) if kind == "relativistic" else None
            term = generator_term(kind, self.judged(batch, fake), real)
            terms["adversarial"] = self.settings.lambda_adversarial * term
        if self.l1:
            terms["l1"] = self.settings.lambda_l1 * l1(fake, batch["b"])
        return terms

    @property
    def answers(self) -> int | None:
        return answers_of(self.generator, self.settings.at_test)
