"""What UNIT and MUNIT share: both domains have codes of one kind, and judges of several scales."""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from dragoman.errors import SettingsError
from dragoman.losses.adversarial import Adversarial, discriminator_terms, generator_term
from dragoman.losses.domain_invariant import DomainInvariant
from dragoman.losses.perceptual import PerceptualSettings
from dragoman.networks.blocks import Start, initialise
from dragoman.networks.munit import Activation, Judges, Norm
from dragoman.networks.resnet import Padding
from dragoman.networks.spectral import settle
from dragoman.settings import knob
from dragoman.system import Batch, Facts, Progress, Stage, Terms, Turn
from dragoman.two_way import OTHER, TwoWay

SCALES = 3  # of the reference code


@dataclass(frozen=True)
class SharedLatentSettings(PerceptualSettings):
    """Knobs of UNIT and MUNIT; the defaults are the official implementation's."""

    width: int = knob(64, "channels of the encoders' first layer", 1, 4096)
    depth: int = knob(2, "times the encoders halve the sides, and double the channels", 0, 8)
    blocks: int = knob(4, "residual blocks on either side of the code", 1, 64)
    activation: Activation = knob("relu", "the generators' activation")
    padding: Padding = knob("reflect", "what networks see beyond the border")
    start: Start = knob("kaiming", "starting weights of the generators")
    discriminator_width: int = knob(64, "channels of the discriminators' first layer", 1, 4096)
    discriminator_layers: int = knob(4, "halvings in the discriminator of each scale", 1, 8)
    scales: int | None = knob(
        None,
        "discriminators of each domain, each at half the size of the one before; default 3, less "
        "for small pictures",
        1,
        8,
    )
    discriminator_norm: Norm = knob("none", "the discriminators' norm")
    discriminator_activation: Activation = knob("leaky_relu", "the discriminators' activation")
    discriminator_padding: Padding | None = knob(None, "the discriminators' padding, if another")
    discriminator_start: Start = knob("normal", "starting weights of the discriminators")
    adversarial: Adversarial = knob("least_squares", "the adversarial objective")
    lambda_adversarial: float = knob(1.0, "weight of the adversarial terms of both sides", 0)
    lambda_perceptual: float = knob(
        0.0,
        "weight of the domain-invariant perceptual distance of a picture and its translation",
        0,
    )
    redraw: bool = knob(
        False,
        "let the generators' turn draw noise, and make translations, of its own, as the reference "
        "code does; else the discriminators' are taken, which saves two passes through decoders",
    )
    lr: float = knob(1e-4, "learning rate of Adam", 0)
    lr_discriminator: float | None = knob(None, "the discriminators', where it differs", 0)
    beta1: float = knob(0.5, "Adam's decay of the mean gradient", 0, 0.9999)
    beta2: float = knob(0.999, "Adam's decay of the mean squared gradient", 0, 0.99999)
    weight_decay: float = knob(1e-4, "share of each weight that is added to its gradient", 0, 1)


class Shared(NamedTuple):
    """What both turns of a step go by; without noise and translations each turn makes its own."""

    codes: Any  # of the true pictures, by domain
    noise: list[Any]  # of the translations, and of more where the generators need it; by domain
    fake: dict[str, Tensor]  # translations, by the domain that they are made of


class SharedLatent(TwoWay):
    """Two-way translation by way of codes that the decoders of both domains can read.

    The discriminators step first, then all generators at once. True pictures are encoded, and
    translations made, once for both turns: the first moves no generator, so that they still hold
    in the second, and only the second learns through them. In the reference code each turn draws
    noise of its own; `redraw` does so too.
    """

    draws: ClassVar[int] = 1  # of noise that the generators need
    defaults: ClassVar[dict[str, Any]] = {"batch": 1, "schedule": "tenths", "pairing": "unpaired"}

    def __init__(self, settings: SharedLatentSettings, facts: Facts) -> None:
        super().__init__(settings, facts)
        a, b = facts.channels["a"], facts.channels["b"]
        self.discriminator_a, self.discriminator_b = self._judges(a), self._judges(b)
        seen = [1 if channels in (1, 3) else channels for channels in (a, b)]
        if settings.lambda_perceptual and seen[0] != seen[1]:
            raise SettingsError(
                "--lambda_perceptual compares pictures with their translations, but those of a "
                f"have {a} channels and those of b {b}; use --lambda_perceptual 0"
            )
        self.perceptual = DomainInvariant(settings)

    def _judges(self, channels: int) -> Judges:
        settings, side = self.settings, min(self.facts.size)
        layers = settings.discriminator_layers
        scales = settings.scales or default_scales(layers, side)
        network = Judges(
            channels,
            settings.discriminator_width,
            layers,
            scales,
            settings.discriminator_norm,
            settings.discriminator_activation,
            settings.discriminator_padding or settings.padding,
        )
        self._check_side(
            network.smallest, f"--discriminator_layers {layers} with --scales {scales}"
        )
        return settle(initialise(network, settings.discriminator_start))

    def _check_side(self, smallest: int, knobs: str) -> None:
        """Raise SettingsError if the training pictures are too small for networks of such knobs."""
        side = min(self.facts.size)
        if side < smallest:
            raise SettingsError(
                f"{knobs} needs pictures of at least {smallest} px, these have {side}; use less of "
                "them, or a larger --size"
            )

    def check(self) -> None:
        if self.settings.lambda_perceptual:
            self.perceptual.check()

    def stages(self, steps: int) -> list[Stage]:
        judge = Turn(self.discriminator_loss, [self.discriminator_a, self.discriminator_b])
        translate = Turn(self.generator_loss, self.averaged())
        return [Stage("train", steps, [judge, translate])]

    def optimizer(self, network: nn.Module) -> Optimizer:
        """Adam as for every system, with decay of weights as an L2 term."""
        optimizer = super().optimizer(network)
        for group in optimizer.param_groups:
            group["weight_decay"] = self.settings.weight_decay
        return optimizer

    def share(self, batch: Batch, progress: Progress) -> Shared:
        """The codes of the true pictures and, but for `redraw`, their translations."""
        codes = {domain: self.encoded(domain, batch[domain]) for domain in OTHER}
        return Shared(codes, [], {}) if self.settings.redraw else self.made(codes, self.draws)

    def made(self, codes: Any, draws: int) -> Shared:
        """Translations with fresh noise, of which so much is drawn."""
        noise = self.noise(codes, draws)
        return Shared(codes, noise, self.crossed(codes, noise[0]))

    def encoded(self, domain: str, pictures: Tensor) -> Any:
        """The code of pictures [B, C, H, W] of a domain."""
        raise NotImplementedError

    def noise(self, codes: Any, times: int) -> list[Any]:
        """What is drawn from the prior for each domain, so many times afresh."""
        raise NotImplementedError

    def crossed(self, codes: Any, noise: Any) -> dict[str, Tensor]:
        """Pictures of each domain made of the other's codes and of noise, by domain."""
        raise NotImplementedError

    def generator_loss(self, batch: Batch, shared: Shared) -> Terms:
        """What the generators minimise."""
        raise NotImplementedError

    def discriminator_loss(self, batch: Batch, shared: Shared) -> Terms:
        fake = {domain: one.detach() for domain, one in shared.fake.items()}
        if not fake:
            with torch.no_grad():  # no generator learns here: graphs of decoders are memory lost
                fake = self.made(shared.codes, 1).fake
        settings, terms = self.settings, {}
        for domain in OTHER:
            judge = self.judge(domain)
            against, true = judge(fake[domain]), judge(batch[domain])
            told = [
                discriminator_terms(settings.adversarial, *pair)
                for pair in zip(true, against, strict=True)
            ]
            for part in ("real", "fake"):
                summed = torch.stack([scale[part] for scale in told]).sum()
                terms[f"{part}_{domain}"] = settings.lambda_adversarial * summed
        return terms

    def judge(self, domain: str) -> nn.Module:
        """The discriminator of a domain."""
        return self.discriminator_a if domain == "a" else self.discriminator_b

    def fooling(self, domain: str, fake: Tensor, real: Tensor) -> Tensor:
        """The weighted adversarial term of the pictures made of a domain, summed over scales."""
        kind, judge = self.settings.adversarial, self.judge(domain)
        logits = judge(fake)
        partners = judge(real) if kind == "relativistic" else [None] * len(logits)
        told = [generator_term(kind, *pair) for pair in zip(logits, partners, strict=True)]
        return self.settings.lambda_adversarial * torch.stack(told).sum()

    def kept(self, domain: str, fake: Tensor, given: Tensor) -> Terms:
        """The perceptual term, if wanted, of pictures made of a domain and those they show."""
        weight = self.settings.lambda_perceptual
        if not weight or not self.perceptual:
            return {}
        return {f"perceptual_{domain}": weight * self.perceptual(fake, given)}


def default_scales(layers: int, side: int) -> int:
    """How many discriminators of so many halvings pictures of that shorter side allow: at most 3.

    The last scale must have a logit; one scale is tried in any case.
    """
    count = 1
    while count < SCALES and side > (2**layers - 1) << count:
        count += 1
    return count
