"""Networks and training steps of UNIT give the official numbers."""

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

from dragoman.convert import munit as convert
from dragoman.shared_latent import SharedLatent
from golden_checks import munit
from golden_checks.fixture import Fixture
from golden_checks.losses import leaf
from golden_checks.munit import DOMAINS, manner

PATHS = {"a": "aba", "b": "bab"}  # from a domain and back


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


class Training(munit.Training):
    """The official trainer of UNIT."""

    WEIGHTS: ClassVar[dict[str, str]] = {
        "adv": "gan_w",
        "recon_x": "recon_x_w",
        "recon_kl": "recon_kl_w",
        "recon_kl_cyc": "recon_kl_cyc_w",
        "cyc_x": "recon_x_cyc_w",
    }
    TERMS: ClassVar[dict[str, str]] = {
        "adv": "adversarial",
        "recon_x": "image",
        "recon_kl": "kl",
        "recon_kl_cyc": "kl_cycle",
        "cyc_x": "cycle",
    }

    def make(self, *given: Any, **settings: Any) -> SharedLatent:
        return convert.unit(
            *given,
            lambda_kl=self.settings["recon_kl_w"],
            lambda_kl_cycle=self.settings["recon_kl_cyc_w"],
            **settings,
        )

    def translator(self, domain: str) -> Any:
        return self.system.get_submodule(f"generator.{domain}")

    def translator_layers(self, network: Any) -> dict[str, str]:
        return convert.variational_layers(network)

    def noise(self, place: str) -> Any:
        drawn = self.draws(place)
        first = dict(zip(DOMAINS, drawn[:2], strict=True))
        if len(drawn) == 2:
            return [first]
        # Codes of translations: officially that of what was made of b comes first.
        return [first, dict(zip(reversed(DOMAINS), drawn[2:], strict=True))]

    def official(self, term: str, domain: str) -> str:
        return f"{term}_{PATHS[domain] if term == 'recon_kl_cyc' else domain}"


CHECKS: dict[str, Callable[[Fixture], None]] = {
    "VAEGen": check_variational,
    "MsImageDis": munit.check_judges,
    "compute_vgg_loss": munit.check_perceptual,
    "UNIT_Trainer.gen_update / dis_update": partial(munit.check_update, kind=Training),
}
