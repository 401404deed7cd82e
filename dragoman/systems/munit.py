"""MUNIT: content that both domains share, and a style of its own for each picture."""

from dataclasses import dataclass

import torch
from torch import Tensor

from dragoman import controls as choices
from dragoman.controls import Towards
from dragoman.losses.distances import full, l1
from dragoman.networks.blocks import initialise
from dragoman.networks.munit import Autoencoder
from dragoman.settings import knob
from dragoman.shared_latent import Shared, SharedLatent, SharedLatentSettings
from dragoman.styled import Styled
from dragoman.system import Batch, Facts, Terms
from dragoman.two_way import OTHER, towards

AT_ONCE = 16  # reference pictures that are encoded together

Code = tuple[Tensor, Tensor]  # content [B, C, h, w] and style [B, style]
Styles = dict[str, Tensor]  # by the domain that they are styles of


@dataclass(frozen=True)
class MUNITSettings(SharedLatentSettings):
    """Knobs of MUNIT; the defaults are the official implementation's for edges and handbags."""

    style: int = knob(8, "length of the style code", 1, 4096)
    style_depth: int = knob(4, "times the style encoders halve the sides", 0, 8)
    mapping_width: int = knob(256, "channels of the layers from style to AdaIN", 1, 4096)
    mapping_layers: int = knob(3, "layers from style to AdaIN", 1, 16)
    lambda_image: float = knob(10.0, "weight of the L1 of pictures made anew from their codes", 0)
    lambda_style: float = knob(1.0, "weight of the L1 of styles found again in what was made", 0)
    lambda_content: float = knob(1.0, "weight of the L1 of contents found again", 0)
    lambda_cycle: float = knob(
        0.0, "weight of the L1 of what comes back of a translation in its own style", 0
    )


@dataclass(frozen=True)
class MUNITControls(Towards):
    """What may be chosen of each picture."""

    reference: Tensor | None = knob(
        None,
        "pictures of the domain to be made, of whose styles the mean is taken (in 'dragoman "
        "styles' each is a style)",
        pictures=True,
    )
    truncation: float = knob(
        1.0, "how far styles are from the mean one: 1 as drawn or shown, 0 all the mean", 0, 1
    )


class MUNIT(Styled, SharedLatent):
    """x_ab = G_b(c_a, s_b) with c_a = E_a^c(x_a), and s_b ~ N(0, I) or E_b^s of another picture.

    Huang et al. 2018, equations 1 to 5: pictures are made anew from their own codes; content and
    style are found again in a translation; discriminators tell translations from true pictures.
    Also the style-augmented cycle (section 5.1, `lambda_cycle`) and the domain-invariant
    perceptual distance, which the paper has for pictures of 512 px.
    """

    Settings = MUNITSettings
    Controls = MUNITControls
    settings: MUNITSettings

    def __init__(self, settings: MUNITSettings, facts: Facts) -> None:
        super().__init__(settings, facts)
        a, b = facts.channels["a"], facts.channels["b"]
        self.autoencoder_a, self.autoencoder_b = self._autoencoder(a), self._autoencoder(b)
        # No buffer: it is chosen, neither learned nor saved, and other tensors must not move it.
        self.shown: Tensor | None = None  # style [1, style] of the reference, if there is one

    def _autoencoder(self, channels: int) -> Autoencoder:
        settings = self.settings
        network = Autoencoder(
            channels,
            settings.style,
            settings.width,
            settings.depth,
            settings.blocks,
            settings.style_depth,
            settings.mapping_width,
            settings.mapping_layers,
            settings.activation,
            settings.padding,
        )
        depths = f"--depth {settings.depth} with --style_depth {settings.style_depth}"
        self._check_side(network.smallest, depths)
        return initialise(network, settings.start)

    def of(self, domain: str) -> Autoencoder:
        """The networks of a domain."""
        return self.autoencoder_a if domain == "a" else self.autoencoder_b

    def averaged(self) -> list[torch.nn.Module]:
        return [self.autoencoder_a, self.autoencoder_b]

    @property
    def stride(self) -> int:
        return self.autoencoder_a.stride

    # Generating

    @property
    def answers(self) -> int | None:
        return None if self.shown is None and _truncation(self.controls) else 1

    def choose(self, controls: choices.Controls) -> None:
        super().choose(controls)
        self.shown = self.style_shown(controls)

    def style_shown(self, controls: choices.Controls) -> Tensor | None:
        """The mean style [1, style] of the reference pictures, None without them."""
        pictures = _reference(controls)
        if pictures is None:
            return None
        encoder = self.of(towards(controls)).style
        weight = next(encoder.parameters())
        with torch.no_grad():
            styles = [encoder(part.to(weight)) for part in pictures.split(AT_ONCE)]
        return torch.cat(styles).mean(0, keepdim=True)

    def generate(self, batch: Batch, controls: choices.Controls | None = None) -> Tensor:
        asked, to = controls or self.controls, towards(controls or self.controls)
        pictures = batch[OTHER[to]]
        chosen = to == towards(self.controls) and _reference(asked) is _reference(self.controls)
        # What was chosen is not encoded here: tiles would take its layers for the picture's.
        if chosen and self.held is not None:
            return self.styled(to, pictures, self.held)
        style = self.shown if chosen else self.style_shown(asked)
        if style is None:
            style = self.drawn(pictures)
        return self.styled(to, pictures, _truncation(asked) * style)

    def style(self, like: Tensor) -> Tensor:
        shown = self.drawn(like[:1]) if self.shown is None else self.shown.to(like)
        return _truncation(self.controls) * shown

    def drawn(self, pictures: Tensor) -> Tensor:
        """A style [B, style] from the prior for each picture."""
        sides = (len(pictures), self.settings.style)
        return torch.randn(sides, device=pictures.device, dtype=pictures.dtype)

    def styled(self, to: str, pictures: Tensor, style: Tensor) -> Tensor:
        """Pictures of the other domain in a style [B or 1, style] of the domain `to`."""
        content = self.of(OTHER[to]).content(pictures)
        return self.of(to).decode(content, style.to(pictures).expand(len(pictures), -1))

    def translated(self, to: str, pictures: Tensor) -> Tensor:
        return self.styled(to, pictures, self.drawn(pictures))

    def returned(self, to: str, made: Tensor, given: Tensor) -> Tensor:
        """What comes back in the style that the given pictures had: only so can it be the same."""
        return self.styled(to, made, self.of(to).style(given))

    # Learning

    def encoded(self, domain: str, pictures: Tensor) -> Code:
        return self.of(domain).encode(pictures)

    def noise(self, codes: dict[str, Code], times: int) -> list[Styles]:
        """Styles of each domain from the prior, [B, style], so many times afresh.

        They are drawn picture by picture: so a batch that is taken in parts has those of the whole.
        """
        like = full(codes["a"][1])
        sides = (len(like), times, 2, like.shape[1])
        drawn = torch.randn(sides, device=like.device, dtype=like.dtype)
        return [dict(zip(OTHER, one.unbind(1), strict=True)) for one in drawn.unbind(1)]

    def crossed(self, codes: dict[str, Code], noise: Styles) -> dict[str, Tensor]:
        return {o: self.of(o).decode(codes[other][0], noise[o]) for o, other in OTHER.items()}

    def generator_loss(self, batch: Batch, shared: Shared) -> Terms:
        settings, codes = self.settings, shared.codes
        _, (styles,), fake = shared if shared.fake else self.made(codes, self.draws)
        again = {domain: self.encoded(domain, fake[domain]) for domain in OTHER}
        terms: Terms = {}
        for own, other in OTHER.items():
            true, (content, style) = batch[own], codes[own]
            found = again[other][0]  # the content of own pictures, in what was made of them
            anew = self.of(own).decode(content, style)
            terms[f"adversarial_{own}"] = self.fooling(own, fake[own], true)
            terms[f"image_{own}"] = settings.lambda_image * l1(anew, true)
            terms[f"style_{own}"] = settings.lambda_style * l1(again[own][1], styles[own])
            terms[f"content_{own}"] = settings.lambda_content * l1(found, content)
            if settings.lambda_cycle:
                back = self.of(own).decode(found, style)
                terms[f"cycle_{own}"] = settings.lambda_cycle * l1(back, true)
            terms |= self.kept(own, fake[own], batch[other])
        return terms


def _reference(controls: choices.Controls) -> Tensor | None:
    return controls.reference if isinstance(controls, MUNITControls) else None


def _truncation(controls: choices.Controls) -> float:
    return controls.truncation if isinstance(controls, MUNITControls) else 1.0
