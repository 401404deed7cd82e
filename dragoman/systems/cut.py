"""CUT: what a patch was tells what it must become, so that one generator is enough."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from dragoman.controls import Controls
from dragoman.errors import SettingsError
from dragoman.losses.contrastive import PatchHeads, draw_places, patch_nce
from dragoman.losses.history import History
from dragoman.networks.blocks import Start, Upsample, initialise, painted
from dragoman.networks.generator import (
    answers_of,
    kept_channels,
    make_pictures,
    set_at_test,
    started,
)
from dragoman.networks.resnet import BORDER, ResNetGenerator
from dragoman.settings import knob
from dragoman.system import Batch, Facts, Progress, Stage, System, Terms, Turn
from dragoman.unpaired import OFFICIAL, UnpairedSettings, fooling, judging, make_discriminator

PROBE = 16  # px: side of the picture by which the channels of layers are found


@dataclass(frozen=True)
class CUTSettings(UnpairedSettings):
    """Knobs of CUT; the defaults are the official implementation's.

    But for the discriminator, which is CycleGAN's; the official one blurs before it halves.
    """

    generator: Literal["resnet"] = knob("resnet", "the generator, whose layers are tapped")
    upsample: Upsample = knob("bilinear", "how the generator enlarges; officially blurred")
    antialias: bool = knob(True, "the generator blurs before it halves")
    start: Start = knob("xavier", "starting weights of all networks; officially Xavier of 0.02")
    history: int = knob(0, "past fakes that the discriminator is shown again; 0: none", 0, 10000)
    lambda_nce: float = knob(
        1.0, "weight of the contrast of patches; FastCUT: 10, and --schedule late", 0
    )
    identity: bool = knob(True, "contrast also what is made of b; FastCUT: false")
    flip_equivariance: bool = knob(False, "mirror half of the batches on their way; FastCUT: true")
    layers: str | None = knob(
        None,
        "layers of the generator whose patches are contrasted, apart by commas; without it those "
        "of the reference code: border,down.0.conv,down.1.conv,blocks.0 and the middle block",
    )
    patches: int = knob(256, "patches of each layer", 2, 1 << 16)
    temperature: float = knob(0.07, "of the similarities", 0.001, 100)
    across: bool = knob(False, "patches of other pictures of the batch are negatives too")
    head_width: int = knob(256, "length of the vectors that patches become", 1, 4096)


class Made(NamedTuple):
    """What the turns of a step share: pictures, and what their sources are at the tapped layers."""

    fake: Tensor
    keys: list[Tensor]
    same: Tensor | None  # what is made of b, which should stay b
    same_keys: list[Tensor]
    flipped: bool


class CUT(System):
    """L_GAN(G, D) + lambda (L_PatchNCE(G, H, a) + L_PatchNCE(G, H, b)) / 2.

    Park et al. 2020, equation 4, where the terms' mean is the reference code's; without `identity`
    the second of them is left out (FastCUT). D steps first; its loss is halved. The contrast is
    between what a patch is to G's own encoder before and after, seen through the heads H.
    """

    Settings = CUTSettings
    settings: CUTSettings
    defaults: ClassVar[dict[str, Any]] = OFFICIAL
    pairs = False

    def __init__(self, settings: CUTSettings, facts: Facts) -> None:
        super().__init__(settings, facts)
        a, b, size = facts.channels["a"], facts.channels["b"], min(facts.size)
        if settings.identity and a != b:
            raise SettingsError(
                f"--identity true gives the generator pictures of b, which have {b} channels where "
                f"it reads {a}; use --identity false"
            )
        generator = ResNetGenerator(
            a,
            b,
            width=settings.width,
            blocks=settings.blocks,
            norm=settings.norm,
            dropout=settings.dropout,
            upsample=settings.upsample,
            antialias=settings.antialias,
            kept=kept_channels(settings.residual, a, b),
        )
        self.generator = started(generator, settings)
        self.discriminator = make_discriminator(settings, b, size)
        middle = (settings.blocks - 1) // 2
        usual = [BORDER, "down.0.conv", "down.1.conv", "blocks.0", f"blocks.{middle}"]
        named = usual if settings.layers is None else settings.layers.replace(" ", "").split(",")
        self.taps = list(dict.fromkeys(named))
        with torch.no_grad():
            probe = self.generator.features(torch.zeros(1, a, PROBE, PROBE), self.taps)
        self.heads = PatchHeads([layer.shape[1] for layer in probe], settings.head_width)
        initialise(self.heads, settings.start)
        self.past = History(settings.history)

    def stages(self, steps: int) -> list[Stage]:
        judge = Turn(self.discriminator_loss, [self.discriminator])
        translate = Turn(self.generator_loss, [self.generator, self.heads])
        return [Stage("train", steps, [judge, translate])]

    def train(self, mode: bool = True) -> "CUT":
        super().train(mode)
        set_at_test(self.generator, self.settings.at_test, mode)
        return self

    def generate(self, batch: Batch, controls: Controls | None = None) -> Tensor:
        return make_pictures(self.generator, batch["a"], self.settings.at_test)

    @property
    def answers(self) -> int | None:
        return answers_of(self.generator, self.settings.at_test)

    def traced(self, pictures: Tensor) -> tuple[Tensor, list[Tensor]]:
        """What the generator makes of pictures, and what they are at the tapped layers."""
        *heard, last = self.generator.features(pictures, [*self.taps, "last"])
        return painted(last, pictures, self.generator.kept), heard

    def share(self, batch: Batch, progress: Progress) -> Made:
        # Drawn like the pictures: so parts of a batch that are made again are mirrored again.
        drawn = torch.rand_like(batch["a"][0, 0, 0, 0]) < 0.5
        flipped = self.settings.flip_equivariance and bool(drawn)
        fake, keys = self._made(batch["a"], flipped)
        same, same_keys = None, []
        if self.settings.identity:
            same, same_keys = self._made(batch["b"], flipped)
        return Made(fake, keys, same, same_keys, flipped)

    def _made(self, pictures: Tensor, flipped: bool) -> tuple[Tensor, list[Tensor]]:
        if not flipped:
            return self.traced(pictures)
        with torch.no_grad():  # of keys nothing is learned
            keys = self.generator.features(pictures, self.taps)
        return self.generator(pictures.flip(3)), keys

    def discriminator_loss(self, batch: Batch, made: Made) -> Terms:
        return judging(self.settings, self.discriminator, self.past(made.fake), batch["b"])

    def generator_loss(self, batch: Batch, made: Made) -> Terms:
        settings = self.settings
        terms = {"adversarial": fooling(settings, self.discriminator, made.fake, batch["b"])}
        weight = settings.lambda_nce / (2 if settings.identity else 1)
        terms["contrast"] = weight * self.contrast(made.fake, made.keys, made.flipped)
        if made.same is not None:
            terms["identity"] = weight * self.contrast(made.same, made.same_keys, made.flipped)
        return terms

    def contrast(self, pictures: Tensor, keys: list[Tensor], flipped: bool) -> Tensor:
        """How badly patches of pictures are told by what those of their sources are."""
        settings = self.settings
        queries = self.generator.features(pictures, self.taps)
        if flipped:
            queries = [query.flip(3) for query in queries]
        places = draw_places(keys, settings.patches)
        vectors = self.heads(queries, places), self.heads(keys, places)
        return patch_nce(*vectors, settings.temperature, settings.across)
