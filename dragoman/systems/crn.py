"""Cascaded refinement: a layout becomes a photograph by regression on a classifier's features."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from dragoman.controls import Controls
from dragoman.errors import SettingsError
from dragoman.losses import nearest
from dragoman.losses.balance import Balance
from dragoman.losses.perceptual import Perceptual, PerceptualSettings, Scaling, shifted
from dragoman.networks import alexnet
from dragoman.networks.blocks import Border, Start, initialise, set_border
from dragoman.networks.crn import CascadedRefinement, Norm
from dragoman.settings import knob
from dragoman.system import Batch, Facts, Progress, Stage, System, Terms, Turn

SHIFT = 1e-3  # of the first norm at the start
COARSEST = 4  # px: the shorter side of the coarsest module
# The authors' weights, by which VGG19's terms come out equal on their pictures of 256 px, and of
# 512 and 1024 px (demo_256p.py, demo_512p.py, demo_1024p.py).
OFFICIAL = {"relu1_2": 1 / 1.6, "relu2_2": 1 / 2.3, "relu3_2": 1 / 1.8, "relu4_2": 1 / 2.8}
OFFICIAL |= {"relu5_2": 10 / 0.8}
OFFICIAL_LARGE = {"relu1_2": 1 / 2.6, "relu2_2": 1 / 4.8, "relu3_2": 1 / 3.7, "relu4_2": 1 / 5.6}
OFFICIAL_LARGE |= {"relu5_2": 10 / 1.5}
LARGE = 512  # px, the shorter side
EVEN = {
    "alex": dict.fromkeys(alexnet.RELUS, 1.0),
    "vgg16": dict.fromkeys(OFFICIAL, 1.0),
    "vgg19": dict.fromkeys(OFFICIAL, 1.0),
}
# How far [-1, 1] is spread by what the classifier is given: the input is one of its layers.
SPREAD: dict[Scaling, float] = {"caffe": 127.5, "imagenet": 0.5 / 0.226, "signed": 1.0}


@dataclass(frozen=True)
class CRNSettings(PerceptualSettings):
    """Knobs of CRN; the defaults are the official implementation's for 256 px.

    But for these: `perceptual` is the classifier that comes along; `balance` is measured, since
    the official weights suit one file of VGG19 only; features are enlarged without `align_corners`
    (see `CascadedRefinement`); convolutions start by He's rule, not Glorot's, which differs in a
    scale that the norms cancel.
    """

    width: int = knob(512, "channels of the two finest modules", 1, 4096)
    max_width: int | None = knob(None, "channels of the coarser modules; default 2 times width", 1)
    widths: str | None = knob(
        None, "channels of every module from the coarsest on, as 64,64,32; instead of those two"
    )
    depth: int | None = knob(
        None, "times the layout is halved; default: down to a side of 4 to 7 px", 1, 12
    )
    norm: Norm = knob("layer", "normalisation in the generator; layer: over the whole picture")
    align_corners: bool = knob(False, "enlarge features by corners, as the official code does")
    border: Border = knob(
        "zeros", "what convolutions see beyond the border; officially zeros, which show at first"
    )
    start: Start = knob("kaiming", "starting weights of the generator")
    answers: int = knob(1, "pictures made of one layout, of which the nearest counts; paper: 9", 1)
    regions: Literal["classes", "picture"] = knob(
        "classes", "where the nearest of several answers is chosen: for each class of a, or once"
    )
    mean_share: float = knob(0.001, "share of the mean over the answers in the loss", 0, 1)
    balance: Literal["measured", "fixed"] = knob(
        "measured",
        "weights of the terms: 1 / the mean of each over the first steps, or the authors' (VGG19), "
        "which have others from 512 px on",
    )
    balance_steps: int = knob(100, "steps over which the terms are measured", 1)
    lambda_l1: float = knob(1.0, "weight of the L1 term of the pixels", 0)
    lambda_perceptual: float = knob(
        1.0, "weight of each layer's term, balanced with the pixels'", 0
    )
    lr: float = knob(1e-4, "learning rate of Adam", 0)
    beta1: float = knob(0.9, "Adam's decay of the mean gradient", 0, 0.9999)

    def __post_init__(self) -> None:
        if self.perceptual == "none" or self.lambda_perceptual == 0:
            raise SettingsError(
                "crn learns by the features of a classifier: use --perceptual alex with a "
                "--lambda_perceptual above 0, or the system regression"
            )
        if self.balance == "fixed" and self.perceptual != "vgg19" and not self.perceptual_layers:
            raise SettingsError(
                f"--balance fixed has weights for vgg19 only; with --perceptual {self.perceptual} "
                "use --balance measured, or give weights with --perceptual_layers"
            )


class CRN(System):
    """min_G sum_l lambda_l ||Phi_l(y) - Phi_l(G(x))||_1 (Chen & Koltun 2017, section 3.2).

    Phi_0 is the picture itself. With several answers u the loss is the sum over classes p of
    min_u sum_l lambda_l ||L_p * (Phi_l(y) - Phi_l(G_u(x)))||_1 (section 3.3), L_p the class's mask.
    """

    Settings = CRNSettings
    settings: CRNSettings
    defaults: ClassVar[dict[str, Any]] = {"batch": 1}
    remedies: ClassVar[dict[str, str]] = {"map": "use --regions picture, or --kind a=labels"}

    def __init__(self, settings: CRNSettings, facts: Facts) -> None:
        super().__init__(settings, facts)
        official = OFFICIAL if min(facts.size) < LARGE else OFFICIAL_LARGE
        layers = EVEN | ({"vgg19": official} if settings.balance == "fixed" else {})
        self.perceptual = Perceptual(settings, layers)
        self.generator = CascadedRefinement(
            facts.channels["a"],
            facts.channels["b"] * settings.answers,
            module_widths(settings, facts.size),
            settings.norm,
            settings.align_corners,
        )
        set_border(self.generator, settings.border)
        initialise(self.generator, settings.start)
        bias = getattr(self.generator.cascade[0].norm1, "bias", None)
        if isinstance(bias, Tensor):  # of a layout without any class all would be 0, and the norms'
            nn.init.constant_(
                bias, SHIFT
            )  # slope there, one over the root of epsilon each, infinite
        self.balance: Balance | None = None
        if settings.balance == "measured":
            self.balance = Balance(1 + len(self.perceptual.weights), settings.balance_steps)

    @classmethod
    def needed(cls, settings: CRNSettings) -> tuple[str, ...]:
        masked = settings.answers > 1 and settings.regions == "classes"
        return (*cls.needs, "map") if masked else cls.needs

    def check(self) -> None:
        self.perceptual.check()

    def stages(self, steps: int) -> list[Stage]:
        return [Stage("train", steps, [Turn(self.generator_loss, [self.generator])])]

    def made(self, batch: Batch) -> Tensor:
        """All answers, [B, k, C, H, W], unbounded; the official order has colours outermost."""
        made = self.generator(layout(batch))
        return made.unflatten(1, (-1, self.settings.answers)).transpose(1, 2)

    def generate(self, batch: Batch, controls: Controls | None = None) -> Tensor:
        return self.made(batch)[:, (controls or self.controls).answer].clamp(-1, 1)

    def share(self, batch: Batch, progress: Progress) -> Tensor:
        if self.balance is not None:
            self.balance.begin(progress.step)
        return self.made(batch)

    def generator_loss(self, batch: Batch, made: Tensor) -> Terms:
        by_class = self.settings.answers > 1 and self.settings.regions == "classes"
        errors = self.errors(batch, made, masks(batch) if by_class else None)
        if self.balance is not None:
            raw = torch.stack([error.sum(2).mean() for error in errors.values()])
            self.balance.measure(raw, len(made))
        weights = self.weights()
        errors = {name: weights[name] * error for name, error in errors.items()}
        shares = nearest.shares(sum(errors.values()), self.settings.mean_share)
        return {name: (shares * error).sum((1, 2)).mean() for name, error in errors.items()}

    def errors(self, batch: Batch, made: Tensor, masks: Tensor | None) -> dict[str, Tensor]:
        """The error of the pixels and of each layer, not weighted, [B, k, regions] each."""
        count, answers = made.shape[:2]
        errors = {"l1": nearest.errors(made, batch["b"], masks=masks)}
        shifts = self.perceptual.draw(count)
        if shifts is not None and masks is not None:
            masks = shifted(masks, shifts)
        many = None if shifts is None else [shift for shift in shifts for _ in range(answers)]
        ours = self.perceptual.features(shifted(made.flatten(0, 1), many))
        with torch.no_grad():
            theirs = self.perceptual.features(shifted(batch["b"], shifts))
        for name, true in theirs.items():
            # of pictures with other than 3 colours every channel has features of its own
            each = ours[name].unflatten(0, (count, answers, -1)).flatten(2, 3)
            errors[name] = nearest.errors(
                each, true.unflatten(0, (count, -1)).flatten(1, 2), masks=masks
            )
        return errors

    def weights(self) -> dict[str, Any]:
        """The weight of each term, by name; numbers or scalars."""
        weights: dict[str, Any] = {"l1": self.settings.lambda_l1}
        for name, weight in self.perceptual.weights.items():
            weights[name] = self.settings.lambda_perceptual * weight
        if self.balance is None:
            return weights | {"l1": weights["l1"] * SPREAD[self.perceptual.scaling]}
        balanced = zip(weights.items(), self.balance.weights().unbind(), strict=True)
        return {name: weight * balance for (name, weight), balance in balanced}

    @property
    def answers(self) -> int:
        return self.settings.answers


def layout(batch: Batch) -> Tensor:
    """What the network reads and masks are: of a label map 1 where the class is, else 0.

    So the zeros beyond the border, which convolutions see, stand for no class, as officially.
    """
    return (batch["a"] + 1) / 2


def masks(batch: Batch) -> Tensor:
    """Where each class is, and last where none is, which counts as one more: [B, K + 1, H, W].

    Pixels without a class would else never be learned (the official layouts have this class too).
    """
    known = layout(batch)
    none = (1 - known.sum(1, keepdim=True)).clamp(min=0)
    return torch.cat([known, none], 1)


def module_widths(settings: CRNSettings, size: tuple[int, int]) -> list[int]:
    """Channels of each module for pictures of that size; raises SettingsError if they cannot be."""
    common = math.gcd(*size)
    most = (common & -common).bit_length() - 1  # so often both sides can be halved
    usual = max((d for d in range(most + 1) if min(size) >> d >= COARSEST), default=0)
    given = read_widths(settings.widths) if settings.widths is not None else None
    depth = len(given) - 1 if given else settings.depth or usual
    if given and settings.depth not in (None, depth):
        raise SettingsError(
            f"--widths {settings.widths} is of {len(given)} modules, hence --depth {depth}, "
            f"not {settings.depth}; leave out one of them"
        )
    if depth > most or (depth == 0 and not given):
        raise SettingsError(
            f"pictures of {size[0]} x {size[1]} px cannot be halved {max(depth, 1)} times, or not "
            f"to {COARSEST} px; use "
            + (f"--depth {most} or less, or " if 0 < most < depth else "")
            + f"a --size divisible by {max(2 ** max(depth, 1), 2 * COARSEST)}"
        )
    widest = settings.max_width or 2 * settings.width
    fine = min(2, depth + 1)
    return given or [widest] * (depth + 1 - fine) + [settings.width] * fine


def read_widths(text: str) -> list[int]:
    """Read "64,64,32"; raises SettingsError."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and 0 < int(part) <= 8192 for part in parts):
        raise SettingsError(
            f"--widths '{text}' must be whole numbers from 1 to 8192 with commas between, "
            "one for each module from the coarsest on, as 64,64,32"
        )
    return [int(part) for part in parts]
