"""StarGAN v2: many domains with many looks each, drawn from noise or taken from an example."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from dragoman import controls as choices
from dragoman.errors import SettingsError
from dragoman.losses.adversarial import discriminator_terms, generator_term
from dragoman.losses.distances import l1
from dragoman.losses.penalties import r1_and_outputs
from dragoman.many_domain import DomainSettings, IntoDomain, OneSet
from dragoman.networks.blocks import Border, Resize, initialise, set_border
from dragoman.networks.scaled_norm import ScaledNorm
from dragoman.networks.starganv2 import (
    BOTTOM,
    DEEPER,
    SMALLEST,
    DomainDiscriminator,
    MappingNetwork,
    StyleEncoder,
    StyleGenerator,
    halvings,
)
from dragoman.schedules import linear
from dragoman.settings import knob
from dragoman.styled import Styled
from dragoman.system import Batch, Facts, Progress, Stage, Terms, Turn

TOLD_OF = 1024  # styles whose mean is the usual one of a domain
TOGETHER = 16  # reference pictures that are encoded at a time


@dataclass(frozen=True)
class StarGANv2Settings(DomainSettings):
    """Knobs of StarGAN v2; the defaults are the official implementation's for AFHQ."""

    width: int = knob(
        64, "channels of the first layer of all networks; officially 16384 / side", 1, 4096
    )
    max_width: int = knob(512, "channels of their widest layers", 1, 8192)
    depth: int | None = knob(
        None,
        "times that the generator halves the picture; default: until 16 px are left, with a high "
        "pass 8; fewer keep finer details in place",
        0,
        12,
    )
    norm: ScaledNorm = knob(
        "instance",
        "of the generator where the style has no say; instance, the official one, leaves droplets "
        "on plain pictures of many colours, which it cannot tell apart otherwise; none does not; "
        "layer, which the style's norms are too then, makes no faint pattern strong",
    )
    upsample: Resize = knob(
        "nearest",
        "how the generator doubles the sides; nearest, the official one, leaves steps of 2 px in "
        "slanted lines where it doubles once or twice only; bilinear does not",
    )
    border: Border = knob(
        "zeros", "what the generator sees beyond the border; zeros, as officially, show as a frame"
    )
    latent: int = knob(16, "length of the noise that a style is drawn from", 1, 4096)
    style: int = knob(64, "length of a style", 1, 4096)
    hidden: int = knob(512, "channels of the layers between noise and style", 1, 4096)
    high_pass: float = knob(
        0.0,
        "above 0: the official generator for faces (w_hpf 1), one halving deeper and without "
        "shortcuts where it decodes; its masks of faces, whose details are divided by the number, "
        "are not made here",
        0,
    )
    lambda_style: float = knob(1.0, "weight of the style that must be seen in a fake", 0)
    lambda_cycle: float = knob(1.0, "weight of the way back by the picture's own style", 0)
    lambda_diversity: float = knob(
        2.0, "weight of the difference of two styles' pictures at first; it falls to 0", 0
    )
    lambda_r1: float = knob(1.0, "weight of the discriminator's slope at reals (R1)", 0)
    lr: float = knob(1e-4, "learning rate of Adam", 0)
    lr_mapping: float = knob(1e-6, "that of the mapping network, which must be much lower", 0)
    beta1: float = knob(0.0, "Adam's decay of the mean gradient", 0, 0.9999)
    beta2: float = knob(0.99, "Adam's decay of the mean squared gradient", 0, 0.999999)
    weight_decay: float = knob(1e-4, "Adam's pull of all weights towards 0", 0)


@dataclass(frozen=True)
class StarGANv2Controls(IntoDomain):
    """The domain to be made, and in which style."""

    reference: Any = knob(
        None,
        "pictures of the domain whose style is wanted, the mean of several (in 'dragoman styles' "
        "each is a style); without them styles are drawn",
        pictures=True,
    )
    truncation: float = knob(
        1.0, "of styles, drawn or shown: 1 as they are, 0 the usual one of the domain", 0, 1
    )


class Look(NamedTuple):
    """What the controls come to."""

    domain: int
    shown: Tensor | None = None  # the style of the references, [style]
    usual: Tensor | None = None  # the mean style towards which drawn ones are taken, [style]
    truncation: float = 1.0


class Drawn(NamedTuple):
    """What the turns of a step share."""

    fake: Tensor  # the pictures in the first of the styles, [B, C, H, W]
    styles: Tensor  # two of each target domain, drawn from noise, [B, 2, style]
    diversity: float  # the weight of their difference at this step


class StarGANv2(Styled, OneSet):
    """L_adv + l_sty |s - E(y)|_1 + l_cyc |x - G(y, E(x))|_1 - l_ds |y - G(x, s2)|_1, y = G(x, s).

    Choi et al. 2020, equations 1 to 5, with R1. As in the reference code a step has four turns: D
    by styles F(z) drawn from noise, D by styles E(x) of reference pictures, then G, F and E by
    drawn styles, and G alone by references. l_ds falls linearly to 0, G(x, s2) is a constant, the
    target domain is that of the references, and pictures of all classes come equally often.
    """

    Settings = StarGANv2Settings
    settings: StarGANv2Settings
    called = "StarGAN v2"
    Controls: ClassVar[type[choices.Controls]] = StarGANv2Controls
    defaults: ClassVar[dict[str, Any]] = {"batch": 8, "balanced": True}

    def __init__(self, settings: StarGANv2Settings, facts: Facts) -> None:
        super().__init__(settings, facts)
        channels, count = facts.channels["image"], len(self.sets[self.label_set])
        bottom = DEEPER if settings.high_pass else BOTTOM
        judging = halvings(facts.size, SMALLEST)
        width, style, most = settings.width, settings.style, settings.max_width
        halved = halvings(facts.size, bottom) if settings.depth is None else settings.depth
        if halved > (most_halved := halvings(facts.size, 1)):
            raise SettingsError(
                f"--depth {halved} does not go with pictures of {facts.size[0]} x {facts.size[1]} "
                f"px, whose sides it halves so often; choose at most {most_halved}"
            )
        self.generator = StyleGenerator(
            channels,
            style,
            width,
            halved,
            settings.high_pass,
            most,
            settings.norm,
            settings.upsample,
        )
        self.mapping_network = MappingNetwork(count, settings.latent, style, settings.hidden)
        self.style_encoder = StyleEncoder(channels, count, style, width, judging, most)
        self.discriminator = DomainDiscriminator(channels, count, width, judging, most)
        for network in self.children():
            initialise(network, "kaiming")  # as in the reference code
        set_border(self.generator, settings.border)
        self.look = Look(0)

    def stages(self, steps: int) -> list[Stage]:
        learning = [self.generator, self.mapping_network, self.style_encoder]
        turns = [
            Turn(self.discriminator_latent_loss, [self.discriminator]),
            Turn(self.discriminator_reference_loss, [self.discriminator]),
            Turn(self.generator_latent_loss, learning),
            Turn(self.generator_reference_loss, [self.generator]),
        ]
        return [Stage("train", steps, turns, data=self.draws(references=2))]

    def optimizer(self, network: nn.Module) -> Optimizer:
        made = super().optimizer(network)
        if network is self.mapping_network:
            made.param_groups[0]["lr"] = self.settings.lr_mapping
        return made

    def averaged(self) -> list[nn.Module]:
        return [self.generator, self.mapping_network, self.style_encoder]

    # Generating

    @property
    def answers(self) -> int | None:
        drawn = self.look.shown is None and self.look.truncation > 0
        return None if drawn else 1

    def choose(self, controls: choices.Controls) -> None:
        super().choose(controls)
        self.look = self._look(controls)

    @torch.no_grad()
    def _look(self, controls: choices.Controls) -> Look:
        (domain,) = self._wanted(controls)
        if not isinstance(controls, StarGANv2Controls):
            return Look(domain)
        like, share = next(self.generator.parameters()), controls.truncation
        shown = usual = None
        if controls.reference is not None:
            if controls.domain is None:
                raise SettingsError(
                    "the reference shows a style of one domain; name that with --domain, of "
                    f"{', '.join(self.sets[self.label_set])}"
                )
            parts = controls.reference.to(like).split(TOGETHER)
            shown = torch.cat([self.style_encoder(part, domain) for part in parts]).mean(0)
        if share < 1:
            drawn = torch.Generator().manual_seed(0)
            noise = torch.randn(TOLD_OF, self.settings.latent, generator=drawn)
            usual = self.mapping_network(noise.to(like), domain).mean(0)
        return Look(domain, shown, usual, share)

    def _style(self, look: Look, pictures: Tensor) -> Tensor:
        """A style for each of the pictures, [B, style]."""
        count = len(pictures)
        if look.shown is not None:
            style = look.shown.to(pictures).expand(count, -1)
        else:
            style = self.mapping_network(self._noise(pictures, count), look.domain)
        if look.usual is None:
            return style
        usual = look.usual.to(pictures)
        return usual + look.truncation * (style - usual)

    def _noise(self, like: Tensor, *shape: int) -> Tensor:
        """Noise [*shape, latent] on the device of the pictures."""
        return torch.randn(*shape, self.settings.latent, device=like.device, dtype=like.dtype)

    def generate(self, batch: Batch, controls: choices.Controls | None = None) -> Tensor:
        pictures = batch["image"]
        known = controls is None or _alike(controls, self.controls)
        look = self.look if known else self._look(controls)
        style = self._style(look, pictures)
        if known and self.held is not None:
            style = self.held.to(pictures).expand(len(pictures), -1)
        return self.generator(pictures, style).clamp(-1, 1)

    def style(self, like: Tensor) -> Tensor:
        return self._style(self.look, like[:1])

    # Learning

    def share(self, batch: Batch, progress: Progress) -> Drawn:
        real = batch["image"]
        self.check_known(batch)
        noise = self._noise(real, len(real), 2)
        styles = _both(self.mapping_network, noise, batch["reference_label"])
        weight = self.settings.lambda_diversity * linear(progress.fraction, start=0.0)
        return Drawn(self.generator(real, styles[:, 0]), styles, weight)

    def discriminator_latent_loss(self, batch: Batch, drawn: Drawn) -> Terms:
        """D's terms for styles that are drawn."""
        return self._judging(batch, drawn.fake)

    def discriminator_reference_loss(self, batch: Batch, drawn: Drawn) -> Terms:
        """D's terms for styles that are shown."""
        with torch.no_grad():  # nobody learns through these: their graph would only take memory
            style = self.style_encoder(batch["reference"][:, 0], batch["reference_label"])
            fake = self.generator(batch["image"], style)
        return self._judging(batch, fake)

    def generator_latent_loss(self, batch: Batch, drawn: Drawn) -> Terms:
        """The terms of G, F and E for styles that are drawn."""
        back = self.style_encoder(batch["image"], self.own(batch))
        return self._translating(batch, drawn.fake, drawn.styles, back, drawn.diversity)

    def generator_reference_loss(self, batch: Batch, drawn: Drawn) -> Terms:
        """G's terms for styles that are shown; E has learned since D's turn."""
        real = batch["image"]
        with torch.no_grad():  # E does not learn from these
            styles = _both(self.style_encoder, batch["reference"], batch["reference_label"])
            back = self.style_encoder(real, self.own(batch))
        fake = self.generator(real, styles[:, 0])
        return self._translating(batch, fake, styles, back, drawn.diversity)

    def _judging(self, batch: Batch, fake: Tensor) -> Terms:
        real, own, weight = batch["image"], self.own(batch), self.settings.lambda_r1
        shown = self.discriminator(fake, batch["reference_label"])
        if not weight:
            return discriminator_terms("nonsaturating", self.discriminator(real, own), shown)
        penalty, judged = r1_and_outputs(lambda x: self.discriminator(x, own), real)
        terms = discriminator_terms("nonsaturating", judged, shown)
        return {**terms, "penalty": weight * penalty}

    def _translating(
        self, batch: Batch, fake: Tensor, styles: Tensor, back: Tensor, diversity: float
    ) -> Terms:
        """The terms of pictures made in the first of two styles; back: the style of the reals."""
        settings, real, target = self.settings, batch["image"], batch["reference_label"]
        style, other = styles.unbind(1)
        seen = self.style_encoder(fake, target)
        terms = {
            "adversarial": generator_term("nonsaturating", self.discriminator(fake, target)),
            "style": settings.lambda_style * l1(seen, style),
            "cycle": settings.lambda_cycle * l1(self.generator(fake, back), real),
        }
        if diversity:
            with torch.no_grad():  # a constant in the reference code
                second = self.generator(real, other)
            terms["diversity"] = -diversity * l1(fake, second)
        return terms


def _both(network: Callable[[Tensor, Tensor], Tensor], given: Tensor, domain: Tensor) -> Tensor:
    """Two styles of each domain [B], of what is given for each, [B, 2, ...]: [B, 2, style]."""
    styles = network(given.flatten(0, 1), domain.repeat_interleave(2))
    return styles.unflatten(0, (-1, 2))


def _alike(one: choices.Controls, other: choices.Controls) -> bool:
    """True if they are the same but for the number of the answer."""
    ours, theirs = ({**vars(c), "answer": 0, "reference": None} for c in (one, other))
    same = getattr(one, "reference", None) is getattr(other, "reference", None)
    return same and ours == theirs
