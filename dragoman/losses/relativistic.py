"""The relativistic average of any objective: each side is judged against the other's mean."""

from typing import Literal

from torch import Tensor

from dragoman.losses import adversarial
from dragoman.losses.distances import full

Base = Literal["nonsaturating", "least_squares", "hinge", "wasserstein"]


def discriminator_terms(
    base: Base, real: Tensor, fake: Tensor, held: Tensor | None = None
) -> dict[str, Tensor]:
    """What the discriminator minimises: "real" and "fake" (Jolicoeur-Martineau 2018, section 4.2).

    D_Ra(x, y) = C(x) - E C(y) in the place of D(x); real, fake: logits C of any shape. With `held`,
    logits of the fakes from which no gradient is wanted, both means are constants, as in ESRGAN's
    code, and the fakes' mean is theirs.
    """
    real, fake = full(real), full(fake)
    if held is None:
        against_fake, against_real = real - fake.mean(), fake - real.mean()
    else:
        against_fake = real - full(held).mean().detach()
        against_real = fake - real.mean().detach()
    return adversarial.discriminator_terms(base, against_fake, against_real)


def generator_terms(base: Base, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
    """What the generator minimises: the same with the labels exchanged (equation 12 there)."""
    real, fake = full(real), full(fake)
    exchanged = adversarial.discriminator_terms(base, fake - real.mean(), real - fake.mean())
    return {"real": exchanged["fake"], "fake": exchanged["real"]}
