"""The networks of UNIT (Liu et al. 2017), by its later code, which builds them of MUNIT's parts."""

from typing import Literal, get_args

from torch import Tensor, nn

from dragoman.errors import SettingsError, choose
from dragoman.networks.munit import Activation, Coded, ContentEncoder, Decoder, Residual
from dragoman.networks.resnet import Padding

Domain = Literal["a", "b"]


class Variational(nn.Module):
    """Encoder and decoder of one domain, whose code is the mean of a normal of deviation 1."""

    def __init__(
        self,
        channels: int,
        width: int = 64,
        depth: int = 2,
        blocks: int = 4,
        activation: Activation = "relu",
        padding: Padding = "reflect",
    ) -> None:
        super().__init__()
        self.encoder = ContentEncoder(channels, width, depth, blocks, activation, padding)
        self.decoder = Decoder(width << depth, channels, depth, blocks, activation, padding)

    def forward(self, pictures: Tensor, noise: Tensor | None = None) -> Tensor:
        """[B, C, H, W] made anew; noise: N(0, 1) of the code's shape, which training adds."""
        code = self.encoder(pictures)
        return self.decoder(code if noise is None else code + noise)


class UNITGenerator(Coded):
    """The encoders and decoders of two domains, whose codes are of one kind.

    Liu et al. 2017, section 3. Of the `blocks` residual blocks on either side of the code, the
    domains share the innermost `shared`: the last of the encoders and the first of the decoders.
    The paper shares 1 of 4, the official code none.

    channels: of the pictures of domains a and b. The code is [B, width * 2**depth, H / 2**depth,
    W / 2**depth].
    """

    def __init__(
        self,
        channels: tuple[int, int],
        width: int = 64,
        depth: int = 2,
        blocks: int = 4,
        shared: int = 0,
        activation: Activation = "relu",
        padding: Padding = "reflect",
    ) -> None:
        super().__init__(depth)
        if not 0 <= shared <= blocks:
            raise SettingsError(
                f"the two domains cannot share {shared} of {blocks} residual blocks; share "
                f"{blocks} or less, or use more --blocks"
            )
        self.a, self.b = (
            Variational(count, width, depth, blocks - shared, activation, padding)
            for count in channels
        )
        # Modules of their own: under the names of both domains each would be saved, averaged and
        # given an optimizer twice.
        self.last_encoding, self.first_decoding = (
            nn.Sequential(*(Residual(width << depth, activation, padding) for _ in range(shared)))
            for _ in range(2)
        )

    def encode(self, pictures: Tensor, domain: Domain) -> Tensor:
        """Pictures [B, C, H, W] of a domain to the mean of their code."""
        return self.last_encoding(self._of(domain).encoder(pictures))

    def decode(self, code: Tensor, domain: Domain) -> Tensor:
        """A code to pictures [B, C, H, W] of a domain, in (-1, 1)."""
        return self._of(domain).decoder(self.first_decoding(code))

    def forward(self, pictures: Tensor, source: Domain, target: Domain) -> Tensor:
        """Pictures [B, C, H, W] of one domain to those of another, or of the same, in (-1, 1)."""
        return self.decode(self.encode(pictures, source), target)

    def _of(self, domain: Domain) -> Variational:
        return {"a": self.a, "b": self.b}[choose("domain", domain, get_args(Domain))]
