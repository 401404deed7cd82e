"""The picture-to-picture generators by name, with the knobs that several systems share."""

from dataclasses import dataclass
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn

from dragoman.errors import SettingsError
from dragoman.networks.blocks import Border, Norm, Start, Upsample, initialise, set_border, silence
from dragoman.networks.resnet import ResNetGenerator
from dragoman.networks.unet import UNet
from dragoman.settings import knob

Generator = UNet | ResNetGenerator
Kind = TypeVar("Kind", bound=UNet | ResNetGenerator)
AtTest = Literal["eval", "dropout", "train"]


@dataclass(frozen=True)
class GeneratorSettings:
    """Knobs of a generator that turns a picture into a picture (Isola et al. 2017, section 3.2)."""

    generator: Literal["unet", "encoder_decoder", "resnet"] = knob(
        "unet", "the generator: U-Net, the same without skips, or residual blocks"
    )
    width: int = knob(64, "channels of the generator's first layer", 1, 4096)
    max_width: int | None = knob(None, "channels of its widest layer; default 8 times width", 1)
    depth: int | None = knob(
        None, "times a U-Net halves the picture; default: down to one pixel, at most 8", 1, 12
    )
    blocks: int = knob(9, "residual blocks of the resnet generator", 1, 64)
    norm: Norm = knob("batch", "normalisation in generator and discriminator")
    upsample: Upsample = knob("transposed", "how the generator enlarges: resizing avoids grids")
    border: Border = knob(
        "zeros", "what a U-Net sees beyond the border; zeros, as in the paper, darken it"
    )
    start: Start = knob(
        "normal", "starting weights of all networks; normal: N(0, 0.02); kaiming learns sooner"
    )
    residual: bool = knob(
        False,
        "the generator paints onto its picture, which is added to what it draws; it starts by "
        "copying, so that every colour is moved from where it is",
    )
    dropout: float = knob(0.5, "share of activations dropped in the generator's middle", 0, 0.95)
    at_test: AtTest = knob(
        "dropout",
        "when generating: eval is deterministic; dropout draws noise by seed; "
        "train also normalises by the batch, as the official test does",
    )


def build_generator(
    settings: GeneratorSettings,
    inputs: int,
    outputs: int,
    size: int,
    noise: int = 0,
    answers: int = 1,
) -> Generator:
    """Make and initialise the generator from pictures of about `size` px to pictures.

    inputs and outputs: channels of a picture. noise: channels beside the input. answers: pictures
    that are made of each.
    """
    kept = kept_channels(settings.residual, inputs, outputs)
    inputs, outputs = inputs + noise, outputs * answers
    if settings.generator == "resnet":
        network: Generator = ResNetGenerator(
            inputs,
            outputs,
            width=settings.width,
            blocks=settings.blocks,
            norm=settings.norm,
            dropout=settings.dropout,
            upsample=settings.upsample,
            kept=kept,
        )
    else:
        most = (size & -size).bit_length() - 1  # so often the side can be halved
        depth = settings.depth or min(8, most)
        if depth > most or depth < 1:
            raise SettingsError(
                f"a picture of {size} px cannot be halved {max(depth, 1)} times; use "
                + (f"--depth {most} or less, or " if most else "")
                + f"--size {max(size >> max(depth, 1), 1) << max(depth, 1)}"
            )
        network = UNet(
            inputs,
            outputs,
            width=settings.width,
            depth=depth,
            norm=settings.norm,
            dropout=settings.dropout,
            upsample=settings.upsample,
            max_width=settings.max_width,
            skips=settings.generator == "unet",
            kept=kept,
        )
        set_border(network, settings.border)
    return started(network, settings)


def kept_channels(residual: bool, inputs: int, outputs: int) -> int:
    """Of a picture's channels those that a generator paints onto: all if `residual`, else none."""
    if residual and outputs % inputs:
        raise SettingsError(
            f"--residual true adds the picture to what the generator draws, which has {outputs} "
            f"channels where the picture has {inputs}; use --residual false"
        )
    return inputs if residual else 0


def started(network: Kind, settings: GeneratorSettings) -> Kind:
    """A generator with its starting weights; one that paints onto its picture paints nothing."""
    initialise(network, settings.start)
    if settings.residual:
        silence(network.last)
    return network


def make_pictures(network: nn.Module, pictures: Tensor, how: AtTest) -> Tensor:
    """Run a generator; with batch statistics at test each picture has its own, as officially."""
    if how == "train" and not network.training:
        return torch.cat([network(one) for one in pictures.split(1)])
    return network(pictures)


def set_at_test(network: nn.Module, how: AtTest, training: bool) -> None:
    """After `network.train(training)`: keep dropout, or also batch statistics, on at test.

    Statistics taken from the test batch never move the running ones.
    """
    for module in network.modules():
        if isinstance(module, nn.Dropout) and not training:
            module.training = how != "eval"
        elif isinstance(module, nn.BatchNorm2d):
            module.training = training or how == "train"
            module.track_running_stats = training or how != "train"


def answers_of(network: nn.Module, how: AtTest) -> int | None:
    """How many different pictures the generator makes of one: None, as many as wanted, or 1."""
    drops = any(isinstance(module, nn.Dropout) for module in network.modules())
    return None if drops and how != "eval" else 1
