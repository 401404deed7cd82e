"""Context encoder: the hole in a picture is filled from what is around it."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional

from dragoman import masks
from dragoman.controls import Controls
from dragoman.errors import DataError, SettingsError
from dragoman.losses.adversarial import discriminator_terms, generator_term
from dragoman.losses.distances import full
from dragoman.metrics.hole import hole_measures
from dragoman.metrics.metric import Metric
from dragoman.networks.blocks import Norm, Start, Upsample, initialise
from dragoman.networks.context_encoder import (
    Bottleneck,
    Inpainter,
    WholeDiscriminator,
    halvings,
    widths,
)
from dragoman.settings import knob
from dragoman.system import Batch, Facts, Progress, Stage, System, Terms, Turn

MEAN_COLOUR = (117, 104, 123)  # red, green, blue of ImageNet, with which holes are filled
OVERLAP = 4 / 128  # of the picture's side, officially
MOST_WEIGHTS = 1 << 27  # of the channel-wise layer: half a gigabyte


@dataclass(frozen=True)
class ContextEncoderSettings:
    """Knobs of the context encoder; those of training are the official README's.

    The bottleneck is the paper's channel-wise layer, which the released code lacks: it keeps the
    place of things and has far fewer weights (m n^4 where a full layer has m^2 n^4).
    """

    mask: Literal["centre", "blocks", "region", "data", "none"] = knob(
        "centre",
        "the hole: centre square, random blocks, free-form region, the data's own masks "
        "(1 inside the hole); none: no hole, a plain autoencoder",
    )
    hole: float = knob(0.5, "sides of the centre hole, as a share of the picture's", 0.01, 0.99)
    area: float = knob(
        0.25, "share of the picture that a region covers, and that blocks cover at most", 0.01, 0.9
    )
    overlap: int | None = knob(
        None,
        "px of known picture around the centre hole that are predicted too; default 4 at 128 px, "
        "as officially, and so in proportion (the paper: 7)",
        0,
    )
    lambda_overlap: float = knob(10.0, "weight of the squares there, beside 1 in the hole", 0)
    predict: Literal["picture", "centre"] = knob(
        "picture", "what comes out of the network; centre: half the sides, as officially"
    )
    bottleneck: Bottleneck = knob(
        "channelwise", "the paper's channel-wise full layer, or the released code's convolution"
    )
    units: int = knob(4000, "units of the convolution bottleneck", 1)
    width: int = knob(64, "channels of the encoder's first layer", 1, 4096)
    decoder_width: int | None = knob(None, "of the decoder's last, where it differs", 1, 4096)
    depth: int | None = knob(
        None, "times the encoder halves the picture; default: to maps of 4 to 7 px", 1, 12
    )
    norm: Norm = knob("batch", "normalisation in encoder, decoder and discriminator")
    upsample: Upsample = knob("transposed", "how the decoder enlarges: resizing avoids grids")
    start: Start = knob("normal", "starting weights of all networks; normal: N(0, 0.02)")
    adversarial: Literal["minimax", "nonsaturating", "least_squares", "hinge", "relativistic"] = (
        knob("nonsaturating", "the adversarial objective")
    )
    lambda_l2: float = knob(0.999, "weight of the squared difference in the hole", 0)
    lambda_known: float = knob(
        0.0,
        "weight of the squares outside random holes and masks, beside 1 inside; the released code: "
        "1, or 10 with its useOverlapPred",
        0,
    )
    lambda_adversarial: float = knob(
        0.001, "weight of the generator's adversarial term; 0: no discriminator", 0
    )
    discriminator: Literal["centre", "picture", "output"] | None = knob(
        None,
        "what D judges: the predicted centre square, the completed picture, or all of the "
        "network's output; default: centre for centre holes, picture for all others",
    )
    discriminator_width: int = knob(64, "channels of the discriminator's first layer", 1, 4096)
    discriminator_norm: Norm | None = knob(None, "the discriminator's norm, where it differs")
    lr: float = knob(2e-3, "learning rate of Adam; officially ten times the discriminator's", 0)
    lr_discriminator: float | None = knob(2e-4, "the discriminator's; null: the same", 0)
    beta1: float = knob(0.5, "Adam's decay of the mean gradient", 0, 0.9999)

    def __post_init__(self) -> None:
        if self.lambda_l2 == 0 and self.lambda_adversarial == 0:
            raise SettingsError(
                "--lambda_l2 0 with --lambda_adversarial 0 leaves nothing to learn from; give "
                "one of them a weight"
            )
        if self.predict == "centre" and self.discriminator == "output":
            raise SettingsError(
                "--discriminator output judges whole pictures, --predict centre makes none; use "
                "--discriminator centre"
            )
        if self.mask in ("centre", "none") and self.lambda_known:
            raise SettingsError(
                f"--lambda_known is for random holes and masks, not --mask {self.mask}; leave it "
                "out or use --overlap"
            )
        if self.mask == "centre":
            return
        for name, value in (
            ("overlap", self.overlap),
            ("predict centre", self.predict == "centre" or None),
            ("discriminator centre", self.discriminator == "centre" or None),
        ):
            if value is not None:
                raise SettingsError(
                    f"--{name} is for centre holes; leave it out or use --mask centre, not "
                    f"{self.mask}"
                )


class ContextEncoder(System):
    """L = 0.999 ||M (x - F((1 - M) x))||^2 + 0.001 L_adv (Pathak et al. 2016, equations 1 to 3).

    M is 1 in the hole. The squares are averaged over hole and overlap, the overlap's times 10; so
    is the gradient of the released code, whose reported loss lacks the 10. D learns first, without
    seeing the context, and F answers to the D just updated; the released code reuses D's output
    from before the update, and holds the biases of its convolutions at 0.

    Of holes that are not the centre D judges the completed picture, whose known pixels are those
    given: the squares say nothing of what the network makes there. Equation 2 and the released
    code for random holes have D judge the network's output (`discriminator` output); that code
    takes the squares over the whole picture (`lambda_known` 1).
    """

    Settings = ContextEncoderSettings
    settings: ContextEncoderSettings
    defaults: ClassVar[dict[str, Any]] = {"batch": 64}
    needs = ("image",)
    pairs = False
    source = "image"
    target = "image"
    best_by = "hole_l1_percent"
    any_size = False  # the full layer belongs to one
    fill: Tensor
    square: Tensor
    weights: Tensor

    def __init__(self, settings: ContextEncoderSettings, facts: Facts) -> None:
        super().__init__(settings, facts)
        channels, self.size = facts.channels["image"], facts.size
        depth = _depth(settings, self.size)
        pixels = 1 if settings.bottleneck == "conv" else (self.size[0] * self.size[1]) >> 2 * depth
        self.whole_in_one = settings.norm == "batch" and pixels == 1
        self.gan = settings.lambda_adversarial > 0
        self._register_holes(channels)
        self.generator = Inpainter(
            channels,
            channels,
            self.size,
            width=settings.width,
            depth=depth,
            bottleneck=settings.bottleneck,
            units=settings.units,
            norm=settings.norm,
            upsample=settings.upsample,
            ups=depth - (settings.predict == "centre"),
            decoder_width=settings.decoder_width,
        )
        initialise(self.generator, settings.start)
        if self.gan:
            (top, bottom), (left, right) = self.judged_lines
            if min(bottom - top, right - left) < 2:
                raise SettingsError(
                    f"--hole {settings.hole:g} leaves the discriminator a line of one pixel to "
                    "judge; use a greater --hole, --overlap 1 or --discriminator picture"
                )
            self.discriminator = WholeDiscriminator(
                channels,
                (bottom - top, right - left),
                width=settings.discriminator_width,
                norm=settings.discriminator_norm or settings.norm,
            )
            initialise(self.discriminator, settings.start)

    def _register_holes(self, channels: int) -> None:
        """What is known of holes beforehand: their colour, the centre square, its weights."""
        settings, size, lines = self.settings, self.size, _predicted_lines(self.settings, self.size)
        square = masks.centre(size, settings.hole)
        weights = torch.zeros_like(square)
        (top, bottom), (left, right) = lines
        weights[..., top:bottom, left:right] = settings.lambda_overlap
        weights = torch.where(square > 0, square, weights)
        if settings.mask == "none":
            square, weights = torch.zeros_like(square), torch.ones_like(square)
        colour = [2 * level / 255 - 1 for level in MEAN_COLOUR] if channels == 3 else [0.0]
        for name, value in (
            ("fill", torch.tensor(colour)[:, None, None]),
            ("square", square),
            ("weights", weights),
        ):
            self.register_buffer(name, value, persistent=False)
        centre = (settings.discriminator or settings.mask) == "centre"
        self.judged_lines = lines if centre else ((0, size[0]), (0, size[1]))

    @classmethod
    def needed(cls, settings: ContextEncoderSettings) -> tuple[str, ...]:
        return (*cls.needs, "mask") if settings.mask == "data" else cls.needs

    def stages(self, steps: int) -> list[Stage]:
        turns = [Turn(self.generator_loss, [self.generator])]
        if self.gan:
            turns.insert(0, Turn(self.discriminator_loss, [self.discriminator]))
        return [Stage("train", steps, turns)]

    def measures(self) -> list[Metric]:
        return [] if self.settings.mask == "none" else [*hole_measures(self.hole)]

    @property
    def takes_hole(self) -> bool:
        return self.settings.mask != "none" and self.settings.predict == "picture"

    def encoder(self, pictures: Tensor) -> Tensor:
        """Features of pictures [B, C, H, W] in [-1, 1]: [B, F, H / stride, W / stride]."""
        return self.generator.encoder(pictures)

    def hole(self, batch: Batch) -> Tensor:
        """The pixels that `generate` fills: [B, 1, H, W], 1 where dropped.

        A user's own, batch["hole"], comes first, if `takes_hole`. Else they are as in training:
        the data's masks, or of random holes the one that belongs to batch["index"], always the
        same; without these, and always for centre holes, the centre.
        """
        kind = self.settings.mask
        hole = self.square
        if "hole" in batch and self.takes_hole:
            hole = batch["hole"] > 0.5
        elif kind == "data" and "mask" in batch:
            hole = batch["mask"] > 0.5
        elif kind in masks.DRAW and "index" in batch:
            numbers = masks.steady(kind, batch["index"])
            hole = masks.DRAW[kind](numbers, self.size, self.settings.area)
        return _of_each(batch["image"], hole)

    def drawn_hole(self, batch: Batch) -> Tensor:
        """A hole to learn from, [B, 1, H, W]; random ones are drawn anew."""
        kind, picture = self.settings.mask, batch["image"]
        hole = batch["mask"] > 0.5 if kind == "data" else self.square
        if kind in masks.DRAW:
            hole = masks.DRAW[kind](masks.fresh(kind, picture), self.size, self.settings.area)
        return _of_each(picture, hole)

    def filled(self, picture: Tensor, hole: Tensor) -> Tensor:
        """The picture with the mean colour in its hole: all that the network may know."""
        return torch.where(hole > 0, self.fill, picture)

    def predicted(self, picture: Tensor, hole: Tensor) -> Tensor:
        """What the network makes of a picture with a hole; 0 beyond what it predicts.

        Raises DataError for pictures of another size than those it was trained on.
        """
        height, width = self.size
        if picture.shape[-2:] != self.size:
            raise DataError(
                f"this context encoder was trained on pictures of {height} x {width} px, on which "
                "its full layer depends; resize the picture to that"
            )
        made = self.generator(self.filled(picture, hole))
        if made.shape[-2:] == self.size:
            return made
        above, left = (height - made.shape[-2]) // 2, (width - made.shape[-1]) // 2
        return functional.pad(made, (left, left, above, above))

    def completed(self, picture: Tensor, hole: Tensor, made: Tensor) -> Tensor:
        """The picture with its hole as predicted; a plain autoencoder's is all predicted."""
        return made if self.settings.mask == "none" else torch.where(hole > 0, made, picture)

    def given(self, batch: Batch) -> Tensor:
        return self.filled(batch["image"], self.hole(batch))

    def generate(self, batch: Batch, controls: Controls | None = None) -> Tensor:
        hole = self.hole(batch)
        return self.completed(batch["image"], hole, self.predicted(batch["image"], hole))

    def share(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        if self.training and self.whole_in_one and len(batch["image"]) == 1:
            raise SettingsError(
                "--norm batch has nothing to average over where a single picture has become one "
                "pixel; use a --batch of 2 or more for each part of --accumulate, or --norm "
                "instance"
            )
        hole = self.drawn_hole(batch)
        if progress.step == 0 and self.settings.mask == "data" and not hole.any():
            raise DataError(
                "no mask of the first batch has a hole, which is white in a mask; give masks that "
                "have one, or --mask centre, blocks or region"
            )
        return {"hole": hole, "made": self.predicted(batch["image"], hole)}

    def judged(self, picture: Tensor) -> Tensor:
        """The discriminator's logits for a picture, or for the predicted square of its centre."""
        (top, bottom), (left, right) = self.judged_lines
        return self.discriminator(picture[..., top:bottom, left:right])

    def fake(self, batch: Batch, shared: dict[str, Tensor]) -> Tensor:
        """What the discriminator must tell from true pictures."""
        judged = self.settings.discriminator or self.settings.mask
        if judged in ("centre", "output"):
            return shared["made"]  # of a centre the overlap as predicted too, not as given
        return self.completed(batch["image"], shared["hole"], shared["made"])

    def discriminator_loss(self, batch: Batch, shared: dict[str, Tensor]) -> Terms:
        real = self.judged(batch["image"])
        fake = self.judged(self.fake(batch, shared))
        return discriminator_terms(self.settings.adversarial, real, fake)

    def generator_loss(self, batch: Batch, shared: dict[str, Tensor]) -> Terms:
        settings, picture = self.settings, batch["image"]
        given = self.weights
        if settings.mask not in ("centre", "none"):
            given = torch.where(shared["hole"] > 0, 1, settings.lambda_known)
        terms = {"l2": settings.lambda_l2 * weighted_l2(shared["made"], picture, given)}
        if self.gan:
            kind = settings.adversarial
            real = self.judged(picture) if kind == "relativistic" else None
            term = generator_term(kind, self.judged(self.fake(batch, shared)), real)
            terms["adversarial"] = settings.lambda_adversarial * term
        return terms


def weighted_l2(x: Tensor, y: Tensor, weights: Tensor) -> Tensor:
    """Weighted squared difference, averaged over the channels and pixels that have a weight.

    x, y: [B, C, H, W]; weights: [B or 1, 1, H, W], 0 where nothing counts. Each picture is
    averaged by itself, then all of them; one without weights adds 0.
    """
    squares = (full(x) - full(y)).square() * weights
    pixels = (weights > 0).sum((1, 2, 3)).clamp(min=1)
    return (squares.sum((1, 2, 3)) / (pixels * x.shape[1])).mean()


def _of_each(pictures: Tensor, hole: Tensor) -> Tensor:
    """The hole of each picture, of the pictures' type and device."""
    return hole.to(pictures).expand(len(pictures), 1, *hole.shape[-2:])


def _depth(settings: ContextEncoderSettings, size: masks.Size) -> int:
    """How often the encoder halves the picture; raises SettingsError where it cannot."""
    height, width = size
    whole = math.gcd(height, width)
    most = (whole & -whole).bit_length() - 1
    depth = settings.depth or max(1, halvings(size))
    if depth > most:
        fits = max(min(size) >> depth, 1) << depth
        raise SettingsError(
            f"a picture of {height} x {width} px cannot be halved {depth} times; use "
            + (f"--depth {most} or less, or " if most else "")
            + f"--size {fits}"
        )
    if settings.predict == "centre" and depth < 2:
        raise SettingsError(
            "--predict centre enlarges once less than --depth halves, which must be 2 or more; "
            "use --depth 2"
        )
    pixels = (height >> depth) * (width >> depth)
    weights = widths(settings.width, depth)[-1] * pixels**2
    if settings.bottleneck == "channelwise" and weights > MOST_WEIGHTS:
        raise SettingsError(
            f"the channel-wise layer of maps of {height >> depth} x {width >> depth} would have "
            f"{weights:,} weights; use a greater --depth, at most {most}, or a smaller --width"
        )
    return depth


def _predicted_lines(
    settings: ContextEncoderSettings, size: masks.Size
) -> tuple[tuple[int, int], tuple[int, int]]:
    """The centre hole with its overlap, as (first, end) of rows and of columns.

    Raises SettingsError where a network that predicts only the centre does not reach so far.
    """
    overlap = settings.overlap
    if overlap is None:
        overlap = round(min(size) * OVERLAP)
    rows, columns = (masks.span(side, settings.hole, overlap) for side in size)
    for (first, _), side in zip((rows, columns), size, strict=True):
        if settings.predict == "centre" and first < side // 4:
            raise SettingsError(
                f"--predict centre makes the middle {side // 2} of {side} px, --hole "
                f"{settings.hole:g} with {overlap} px of overlap needs more; use --hole "
                f"{0.5 - 2 * overlap / side:g} or less, or --overlap 0"
            )
    return rows, columns
