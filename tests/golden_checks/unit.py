"""Networks and training steps of UNIT give the official numbers."""

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

from torch import Tensor, nn

from dragoman.convert import munit as convert
from dragoman.losses.distances import full, l1
from dragoman.system import Terms
from golden_checks import munit
from golden_checks.fixture import Fixture
from golden_checks.losses import leaf
from golden_checks.munit import DOMAINS, fooling_loss, manner


def check_variational(fixture: Fixture) -> None:
    """The code, pictures of it with and without noise, and the gradients of those with it."""
    fixture = munit.with_usual_names(fixture)
    network = convert.variational(
        fixture.under("weights/"), **manner(fixture.constructor["params"])
    )
    x, noise = leaf(fixture.tensors["input/x"]), fixture.tensors["input/noise"]
    made = network(x, noise)
    fixture.compare("output/hiddens", network.encoder(x))
    fixture.compare("output/decode(h)", network(x))
    fixture.compare("output/decode(h+noise)", made)
    (made * fixture.tensors["input/cotangent/0"]).sum().backward()
    assert x.grad is not None
    fixture.compare("grad/x", x.grad)
    fixture.compare_gradients(network, convert.variational_layers(network))


def divergence(code: Tensor) -> Tensor:
    """Twice the KL divergence of N(code, 1) from N(0, 1), averaged over all values."""
    return full(code).square().mean()


class Trainer(munit.Trainer):
    """The official trainer of UNIT."""

    WEIGHTS: ClassVar[dict[str, str]] = {
        "adv": "gan_w",
        "recon_x": "recon_x_w",
        "recon_kl": "recon_kl_w",
        "recon_kl_cyc": "recon_kl_cyc_w",
        "cyc_x": "recon_x_cyc_w",
    }

    def generator(self, weights: dict[str, Tensor]) -> nn.Module:
        return convert.variational(weights, **manner(self.settings["gen"]))

    def generator_layers(self, network: Any) -> dict[str, str]:
        return convert.variational_layers(network)

    def fakes(self, draws: list[Tensor]) -> dict[str, Tensor]:
        nets: dict[str, Any] = self.networks
        code = {
            d: nets[f"gen_{d}"].encoder(self.real[d]) + draw
            for d, draw in zip(DOMAINS, draws, strict=True)
        }
        return {"a": nets["gen_a"].decoder(code["b"]), "b": nets["gen_b"].decoder(code["a"])}

    def generator_terms(self, draws: list[Tensor]) -> Terms:
        nets: dict[str, Any] = {d: self.networks[f"gen_{d}"] for d in DOMAINS}
        first = dict(zip(DOMAINS, draws[:2], strict=True))
        later = dict(zip(reversed(DOMAINS), draws[2:], strict=True))  # by where the code is from
        mean = {d: nets[d].encoder(self.real[d]) for d in DOMAINS}
        terms: Terms = {}
        again = {}
        for own, other in zip(DOMAINS, reversed(DOMAINS), strict=True):
            terms[f"recon_x_{own}"] = l1(nets[own].decoder(mean[own] + first[own]), self.real[own])
            terms[f"recon_kl_{own}"] = divergence(mean[own])
            fake = nets[own].decoder(mean[other] + first[other])
            again[other] = nets[own].encoder(fake)
            terms[f"adv_{own}"] = fooling_loss(self.kind, self.networks[f"dis_{own}"], fake)
        for own, path in zip(DOMAINS, ("aba", "bab"), strict=True):
            terms[f"recon_kl_cyc_{path}"] = divergence(again[own])
            if self.settings["recon_x_cyc_w"] > 0:
                cycled = nets[own].decoder(again[own] + later[own])
                terms[f"cyc_x_{own}"] = l1(cycled, self.real[own])
        return terms


CHECKS: dict[str, Callable[[Fixture], None]] = {
    "VAEGen": check_variational,
    "MsImageDis": munit.check_judges,
    "compute_vgg_loss": munit.check_perceptual,
    "UNIT_Trainer.gen_update / dis_update": partial(munit.check_update, kind=Trainer),
}
