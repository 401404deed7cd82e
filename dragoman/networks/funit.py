"""The networks of FUNIT (Liu et al. 2019, section 3 and appendix A), by the reference code."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from dragoman.networks import munit
from dragoman.networks.blocks import InstanceNorm
from dragoman.networks.munit import (
    SLOPE,
    Activation,
    Coded,
    ContentEncoder,
    Mapping,
    StyleEncoder,
    convolution,
)
from dragoman.networks.resnet import Padding


class Decoder(munit.Decoder):
    """MUNIT's decoder, whose doublings have instance norms instead of layer norms."""

    def __init__(
        self,
        channels: int,
        outputs: int,
        depth: int = 3,
        blocks: int = 2,
        activation: Activation = "relu",
        padding: Padding = "reflect",
    ) -> None:
        super().__init__(channels, outputs, depth, blocks, activation, padding)
        for level, layer in enumerate(self.up, start=1):
            layer.norm = InstanceNorm(channels >> level)


class FewShotGenerator(Coded):
    """Content of one picture, class of some others, shown by examples (section 3.1).

    The class code is the mean of what the class encoder makes of the examples, so that classes
    never seen in training can be shown by a few pictures. It gives the means and deviations of the
    decoder's AdaINs.

    latent: numbers of the class code. depth: halvings ahead of the content code, class_depth: of
    the class encoder. mapping_layers: all linear layers between class code and AdaINs.
    """

    def __init__(
        self,
        channels: int,
        latent: int = 64,
        width: int = 64,
        depth: int = 3,
        blocks: int = 2,
        class_depth: int = 4,
        mapping_width: int = 256,
        mapping_layers: int = 3,
        activation: Activation = "relu",
        padding: Padding = "reflect",
    ) -> None:
        super().__init__(depth, class_depth)
        how = (activation, padding)
        self.content = ContentEncoder(channels, width, depth, blocks, *how)
        self.class_encoder = StyleEncoder(channels, latent, width, class_depth, *how)
        self.decoder = Decoder(width << depth, channels, depth, blocks, *how)
        self.mapping = Mapping(
            latent, self.decoder.styles, mapping_width, mapping_layers, activation
        )

    def class_code(self, examples: Tensor) -> Tensor:
        """Examples [B, K, C, H, W], or one of each class [B, C, H, W], to class codes [B, latent].

        The mean of the codes of the K examples, which may have other sides than the pictures.
        """
        if examples.dim() == 4:
            return self.class_encoder(examples)
        codes = self.class_encoder(examples.flatten(0, 1))
        return codes.unflatten(0, examples.shape[:2]).mean(1)

    def decode(self, content: Tensor, code: Tensor) -> Tensor:
        """Content [B, width * 2**depth, h, w], code [B, latent] to pictures [B, C, H, W]."""
        return self.decoder(content, self.mapping(code))

    def forward(self, pictures: Tensor, examples: Tensor | None = None) -> Tensor:
        """Pictures [B, C, H, W] as of the class of the examples, [B, C, H, W] in (-1, 1).

        examples: as in `class_code`; without any the pictures are made anew.
        """
        code = self.class_code(pictures if examples is None else examples)
        return self.decode(self.content(pictures), code)


class Residual(nn.Module):
    """Adds to its input what two leaky ReLUs, each ahead of a 3 x 3 convolution, make of it.

    As in the reference code, whose activations work in place, it is the activated input that is
    added where channels stay as they are; a 1 x 1 convolution changes those of the plain one.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        hidden = min(inputs, outputs)
        self.conv1 = convolution(inputs, hidden, 3, 1, "reflect")
        self.conv2 = convolution(hidden, outputs, 3, 1, "reflect")
        self.shortcut = None if inputs == outputs else nn.Conv2d(inputs, outputs, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] to [B, outputs, H, W]."""
        activated = functional.leaky_relu(x, SLOPE)
        kept = activated if self.shortcut is None else self.shortcut(x)
        return kept + self.conv2(functional.leaky_relu(self.conv1(activated), SLOPE))


class ClassPatchDiscriminator(nn.Module):
    """Judges each patch by the class that the picture should be of: one logit for each class.

    `levels` pairs of residual blocks (5: the paper's 10 blocks), the second of each doubles the
    channels up to `max_width`; between pairs sides are halved. No norms.
    """

    def __init__(
        self, channels: int, classes: int, width: int = 64, levels: int = 5, max_width: int = 1024
    ) -> None:
        super().__init__()
        self.first = convolution(channels, width, 7, 1, "reflect")
        widths = [width, *(min(width << (level + 1), max_width) for level in range(levels))]
        self.blocks = nn.ModuleList()
        for before, after in pairwise(widths):
            self.blocks.extend([Residual(before, before), Residual(before, after)])
        self.last = nn.Conv2d(widths[-1], classes, 1)

    @property
    def smallest(self) -> int:
        """The least side in px of pictures: to reflect takes 4 px at first, 2 at the last."""
        return max(4, 2 ** (len(self.blocks) // 2 - 1) + 1)

    def forward(self, x: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures [B, C, H, W] of classes [B] to logits of these and features for matching.

        Logits [B, h, w] and features [B, D, h, w], with h and w the sides halved levels - 1 times,
        odd ones rounded up.
        """
        hidden = self.first(x)
        for index, block in enumerate(self.blocks):
            if index and index % 2 == 0:
                framed = functional.pad(hidden, (1, 1, 1, 1), mode="reflect")
                hidden = functional.avg_pool2d(framed, 3, 2)
            hidden = block(hidden)
        features = functional.leaky_relu(hidden, SLOPE)
        return self.last(features)[torch.arange(len(x), device=x.device), classes], features
