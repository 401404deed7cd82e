"""UNIT: two variational autoencoders with one latent space translate without pairs."""

from dataclasses import dataclass

import torch
from torch import Tensor

from dragoman.losses.distances import full, l1
from dragoman.networks.blocks import initialise
from dragoman.networks.unit import UNITGenerator
from dragoman.settings import knob
from dragoman.shared_latent import Shared, SharedLatent, SharedLatentSettings
from dragoman.system import Batch, Facts, Terms
from dragoman.two_way import OTHER

SHARED = 1  # residual blocks on either side of the code that the paper's domains share

Codes = dict[str, Tensor]  # the mean of the code of each domain's pictures [B, C, h, w]


@dataclass(frozen=True)
class UNITSettings(SharedLatentSettings):
    """Knobs of UNIT; the defaults are the official implementation's but for these.

    `share_weights` follows the paper, which shares the last block of the encoders and the first of
    the decoders to hold both domains to one latent space. The official code has dropped that and
    leaves it to cycle and adversarial terms alone: `--share_weights false`. `lambda_perceptual` is
    0, officially 1 with VGG16, whose weights are the user's to bring.
    """

    share_weights: bool = knob(
        True, "whether both domains share the innermost block of encoders and of decoders"
    )
    lambda_image: float = knob(10.0, "weight of the L1 of pictures made anew from their code", 0)
    lambda_kl: float = knob(0.01, "weight of the divergence of codes from N(0, 1)", 0)
    lambda_cycle: float = knob(10.0, "weight of the L1 of what comes back of a translation", 0)
    lambda_kl_cycle: float = knob(0.01, "weight of the divergence of codes of translations", 0)


class UNIT(SharedLatent):
    """Shared latent codes z = E_a(x_a) = E_b(x_b), with q(z|x) = N(E(x), 1).

    Liu et al. 2017, equations 1 to 4: for each domain L_VAE (L1 of pictures made anew, KL of their
    code), L_GAN (of translations) and L_CC (L1 of pictures that were translated there and back, KL
    of the code on the way). The KL of the picture's own code, which L_CC has once more in the
    paper, is in L_VAE alone, as in the reference code: a larger lambda_kl does the same. Codes have
    noise in training and are their mean when generating.
    """

    Settings = UNITSettings
    settings: UNITSettings
    draws = 2  # the way back has noise too

    def __init__(self, settings: UNITSettings, facts: Facts) -> None:
        super().__init__(settings, facts)
        network = UNITGenerator(
            (facts.channels["a"], facts.channels["b"]),
            settings.width,
            settings.depth,
            settings.blocks,
            SHARED if settings.share_weights else 0,
            settings.activation,
            settings.padding,
        )
        self._check_side(network.smallest, f"--depth {settings.depth}")
        self.generator = initialise(network, settings.start)

    def translated(self, to: str, pictures: Tensor) -> Tensor:
        return self.generator(pictures, OTHER[to], to)

    def encoded(self, domain: str, pictures: Tensor) -> Tensor:
        return self.generator.encode(pictures, domain)  # ty: ignore

    def decoded(self, domain: str, code: Tensor) -> Tensor:
        """Pictures of a domain from codes of either."""
        return self.generator.decode(code, domain)  # ty: ignore

    def noise(self, codes: Codes, times: int) -> list[Codes]:
        """What is added to the codes of each domain, so many times afresh; N(0, 1).

        It is drawn picture by picture: so a batch that is taken in parts has that of the whole.
        """
        like = full(codes["a"])
        sides = (len(like), times, 2, *like.shape[1:])
        drawn = torch.randn(sides, device=like.device, dtype=like.dtype)
        return [dict(zip(OTHER, one.unbind(1), strict=True)) for one in drawn.unbind(1)]

    def crossed(self, codes: Codes, noise: Codes) -> dict[str, Tensor]:
        return {o: self.decoded(o, codes[other] + noise[other]) for o, other in OTHER.items()}

    def generator_loss(self, batch: Batch, shared: Shared) -> Terms:
        settings, codes = self.settings, shared.codes
        _, (noise, later), fake = shared if shared.fake else self.made(codes, self.draws)
        noisy = {domain: code + noise[domain] for domain, code in codes.items()}
        terms: Terms = {}
        for own, other in OTHER.items():
            true = batch[own]
            terms[f"adversarial_{own}"] = self.fooling(own, fake[own], true)
            terms[f"image_{own}"] = settings.lambda_image * l1(self.decoded(own, noisy[own]), true)
            terms[f"kl_{own}"] = settings.lambda_kl * divergence(codes[own])
            again = self.encoded(other, fake[other])  # the code of own pictures, found anew
            terms[f"kl_cycle_{own}"] = settings.lambda_kl_cycle * divergence(again)
            if settings.lambda_cycle:
                back = self.decoded(own, again + later[own])
                terms[f"cycle_{own}"] = settings.lambda_cycle * l1(back, true)
            terms |= self.kept(own, fake[own], batch[other])
        return terms


def divergence(code: Tensor) -> Tensor:
    """Twice the KL divergence of N(code, 1) from N(0, 1), averaged over all values.

    As in the reference code: the paper's is half of it, summed.
    """
    return full(code).square().mean()
