"""DiscoGAN: relations between two piles found by translating there and back."""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from torch import Tensor

from dragoman.errors import SettingsError
from dragoman.losses.adversarial import Adversarial, discriminator_terms, generator_term
from dragoman.losses.distances import l2
from dragoman.losses.feature_matching import batch_means
from dragoman.networks.blocks import Norm, Start, Upsample, initialise
from dragoman.networks.discogan import INMOST, DiscoDiscriminator, DiscoGenerator
from dragoman.settings import knob
from dragoman.system import Batch, Facts, Progress, Stage, Terms, Turn
from dragoman.two_way import OTHER, TwoWay

USUAL = 4  # halvings, as in the reference code


@dataclass(frozen=True)
class DiscoGANSettings:
    """Knobs of DiscoGAN; the defaults are the official implementation's, but for `start`.

    Officially weights start as PyTorch has them.
    """

    width: int = knob(64, "channels of the generators' first layer", 1, 4096)
    depth: int | None = knob(
        None,
        "times that the networks halve the picture; default: down to 4 px, at most 4, so that of "
        "pictures above 64 px patches are judged, not the whole",
        1,
        12,
    )
    bottleneck: int = knob(
        0, "channels of the layers that bring 4 x 4 places to one and back; officially 0 or 100", 0
    )
    norm: Norm = knob("batch", "normalisation in generators and discriminators")
    upsample: Upsample = knob("transposed", "how the generators enlarge: resizing avoids grids")
    start: Start = knob("normal", "starting weights of all networks; normal: N(0, 0.02)")
    discriminator_width: int = knob(64, "channels of the discriminators' first layer", 1, 4096)
    adversarial: Adversarial = knob("nonsaturating", "the adversarial objective")
    lambda_adversarial: float = knob(0.1, "weight of the adversarial terms", 0)
    lambda_matching: float = knob(0.9, "weight of feature matching", 0)
    rate: float = knob(
        0.5, "share of the way there and back in the generators' loss; the rest is the above", 0, 1
    )
    rate_start: float = knob(0.01, "the same at the beginning", 0, 1)
    rate_steps: int = knob(10000, "steps that the beginning takes, at most half of all", 0)
    lr: float = knob(2e-4, "learning rate of Adam", 0)
    lr_discriminator: float | None = knob(None, "the discriminators', where it differs", 0)
    beta1: float = knob(0.5, "Adam's decay of the mean gradient", 0, 0.9999)
    weight_decay: float = knob(1e-5, "Adam's pull of all weights towards 0", 0)


class Fakes(NamedTuple):
    """What the turns of a step share."""

    a: Tensor  # of the true b
    b: Tensor  # of the true a
    rate: float


class DiscoGAN(TwoWay):
    """Of each domain (1 - r) (0.1 L_GAN + 0.9 L_FM) + r |G'(G(x)) - x|^2.

    Kim et al. 2017, equations 3 to 8, with the weights, the feature matching of batch means and the
    turns of the reference code: D steps every third time, G on the other two, and r is small at
    the beginning. The discriminators judge the whole picture. Networks see [0, 1].
    """

    Settings = DiscoGANSettings
    settings: DiscoGANSettings
    defaults: ClassVar[dict[str, Any]] = {"batch": 64, "pairing": "unpaired"}

    def __init__(self, settings: DiscoGANSettings, facts: Facts) -> None:
        super().__init__(settings, facts)
        depth = self._depth(min(facts.size))
        for to in "ba":
            here, there = facts.channels[OTHER[to]], facts.channels[to]
            generator = DiscoGenerator(
                here,
                there,
                width=settings.width,
                depth=depth,
                bottleneck=settings.bottleneck,
                norm=settings.norm,
                upsample=settings.upsample,
            )
            judge = DiscoDiscriminator(there, settings.discriminator_width, depth, settings.norm)
            self.add_module(f"to_{to}", initialise(generator, settings.start))
            self.add_module(f"discriminator_{to}", initialise(judge, settings.start))

    def _depth(self, side: int) -> int:
        """How often the networks halve pictures of that side; raises SettingsError."""
        most = (side // INMOST).bit_length() - 1
        depth = self.settings.depth or max(1, min(USUAL, most))
        if depth > most:
            raise SettingsError(
                f"--depth {depth} needs pictures of at least {INMOST << depth} px, these have "
                f"{side}; use "
                + (f"--depth {most} or less, or " if most > 0 else "")
                + f"--size {INMOST << depth}"
            )
        return depth

    def stages(self, steps: int) -> list[Stage]:
        judges = [self.get_submodule(f"discriminator_{to}") for to in "ba"]
        judge = Turn(self.discriminator_loss, judges, every=3)
        translate = Turn(self.generator_loss, self.averaged(), every=3, at=(1, 2))
        return [Stage("train", steps, [judge, translate])]

    def translated(self, to: str, pictures: Tensor) -> Tensor:
        return 2 * self.get_submodule(f"to_{to}")((pictures + 1) / 2) - 1

    def share(self, batch: Batch, progress: Progress) -> Fakes:
        settings = self.settings
        # Without the half, a run of minutes would be at its beginning to the end.
        early = progress.step < min(settings.rate_steps, progress.steps // 2)
        b = self.translated("b", batch["a"])
        a = self.translated("a", batch["b"])
        return Fakes(a, b, settings.rate_start if early else settings.rate)

    def judged(self, to: str, pictures: Tensor) -> list[Tensor]:
        """The activations of a discriminator, its logits last."""
        return self.get_submodule(f"discriminator_{to}")((pictures + 1) / 2)

    def generator_loss(self, batch: Batch, fake: Fakes) -> Terms:
        settings, terms = self.settings, {}
        kind, rest = settings.adversarial, 1 - fake.rate
        for to, made in (("b", fake.b), ("a", fake.a)):
            true, source = batch[to], batch[OTHER[to]]
            heard, wanted = self.judged(to, made), self.judged(to, true)
            fooled = generator_term(kind, heard[-1], wanted[-1])
            # The reference code leaves the first layer out.
            matched = batch_means(wanted[1:-1], heard[1:-1])
            back = l2((self.translated(OTHER[to], made) + 1) / 2, (source + 1) / 2)
            terms[f"adversarial_{to}"] = rest * settings.lambda_adversarial * fooled
            terms[f"matching_{to}"] = rest * settings.lambda_matching * matched
            terms[f"cycle_{OTHER[to]}"] = fake.rate * back
        return terms

    def discriminator_loss(self, batch: Batch, fake: Fakes) -> Terms:
        terms = {}
        for to, made in (("b", fake.b), ("a", fake.a)):
            real, shown = self.judged(to, batch[to])[-1], self.judged(to, made)[-1]
            for name, term in discriminator_terms(self.settings.adversarial, real, shown).items():
                terms[f"{name}_{to}"] = term / 2
        return terms
