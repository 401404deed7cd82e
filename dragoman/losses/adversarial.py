"""The adversarial objectives, as functions of a discriminator's logits of any shape."""

from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional

from dragoman.errors import SettingsError, choose
from dragoman.losses.distances import full

Adversarial = Literal[
    "minimax", "nonsaturating", "least_squares", "hinge", "wasserstein", "relativistic"
]
LABELLED = ("minimax", "nonsaturating", "least_squares", "relativistic")  # the others know no label


def discriminator_terms(
    kind: Adversarial,
    real: Tensor,
    fake: Tensor,
    real_label: float = 1.0,
    fake_label: float = 0.0,
    hold_means: bool = False,
) -> dict[str, Tensor]:
    """What the discriminator minimises: the terms "real" and "fake", each a mean over logits.

    minimax and nonsaturating: -log D(x), -log(1 - D(G)) (Goodfellow et al. 2014, equation 1);
    least_squares: (D - label)^2 (Mao et al. 2017, equation 9, without its 1/2);
    hinge: max(0, 1 - D), max(0, 1 + D) (Lim & Ye 2017); wasserstein: -D, D (Arjovsky et al. 2017);
    relativistic: cross entropy of D minus the other side's mean (Jolicoeur-Martineau 2018,
    section 4.2); with `hold_means` those means are constants, as in ESRGAN's reference code.
    A `real_label` below 1 is one-sided smoothing (Salimans et al. 2016); labels other than 1 and
    0 raise SettingsError where the objective has none.
    """
    choose("adversarial objective", kind, get_args(Adversarial))
    real, fake = full(real), full(fake)
    if kind in LABELLED:
        if kind == "least_squares":
            return {"real": _square(real, real_label), "fake": _square(fake, fake_label)}
        if kind == "relativistic":
            real_mean, fake_mean = real.mean(), fake.mean()
            if hold_means:
                real_mean, fake_mean = real_mean.detach(), fake_mean.detach()
            real, fake = real - fake_mean, fake - real_mean
        return {"real": _entropy(real, real_label), "fake": _entropy(fake, fake_label)}
    if real_label != 1 or fake_label != 0:
        raise SettingsError(
            f"label smoothing does not go with the {kind} objective, which has no labels; "
            f"leave real_label at 1 or choose one of {', '.join(LABELLED)}"
        )
    if kind == "hinge":
        return {"real": functional.relu(1 - real).mean(), "fake": functional.relu(1 + fake).mean()}
    return {"real": -real.mean(), "fake": fake.mean()}


def generator_term(kind: Adversarial, fake: Tensor, real: Tensor | None = None) -> Tensor:
    """What the generator minimises, given the logits of its pictures: a mean over logits.

    minimax: log(1 - D(G)), which saturates; nonsaturating: -log D(G); least_squares: (D - 1)^2;
    hinge and wasserstein: -D; relativistic: both cross entropies with the labels exchanged, for
    which the logits of `real` pictures are needed too.
    """
    choose("adversarial objective", kind, get_args(Adversarial))
    fake = full(fake)
    if kind == "minimax":
        return -_entropy(fake, 0.0)
    if kind == "nonsaturating":
        return _entropy(fake, 1.0)
    if kind == "least_squares":
        return _square(fake, 1.0)
    if kind == "relativistic":
        if real is None:
            raise ValueError("the relativistic objective needs the logits of real pictures too")
        real = full(real)
        return _entropy(real - fake.mean(), 0.0) + _entropy(fake - real.mean(), 1.0)
    return -fake.mean()


def _entropy(logits: Tensor, label: float) -> Tensor:
    return functional.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))


def _square(logits: Tensor, label: float) -> Tensor:
    return (logits - label).square().mean()
