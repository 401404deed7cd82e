"""Networks, losses and training steps of MUNIT give the official numbers."""

import re
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Adam

from dragoman.convert import munit as convert
from dragoman.convert import renaming
from dragoman.engine import sum_of
from dragoman.losses.adversarial import Adversarial, discriminator_terms, generator_term
from dragoman.losses.distances import l1
from dragoman.losses.domain_invariant import DomainInvariant
from dragoman.losses.perceptual import Perceptual
from dragoman.networks.munit import Activation, AdaIN, Judges, LayerNorm, Norm
from dragoman.system import Terms
from golden_checks.fixture import NEGLIGIBLE, Fixture, Unsupported
from golden_checks.losses import leaf
from golden_checks.pix2pixhd import WORST, statistics

ACTIVATIONS: dict[str, Activation] = {"relu": "relu", "lrelu": "leaky_relu"}
OBJECTIVES: dict[str, Adversarial] = {"lsgan": "least_squares", "nsgan": "nonsaturating"}
NORMS: dict[str, Norm] = {
    "none": "none",
    "in": "instance",
    "bn": "batch",
    "ln": "layer",
    "sn": "spectral",
}
DOMAINS = ("a", "b")


def known(names: dict[str, Any], name: str) -> Any:
    """Our name of an official setting."""
    if name not in names:
        raise Unsupported(f"the setting '{name}'")
    return names[name]


def with_usual_names(fixture: Fixture) -> Fixture:
    """Name gradients and statistics of entries as the converted state does."""
    fixture.tensors = {convert.renamed(key): value for key, value in fixture.tensors.items()}
    return fixture


def manner(settings: dict[str, Any]) -> dict[str, Any]:
    """What leaves no trace in weights: activation and padding."""
    return {
        "activation": known(ACTIVATIONS, settings["activ"]),
        "padding": settings["pad_type"],
    }


def judges_of(weights: dict[str, Tensor], settings: dict[str, Any]) -> Judges:
    """The discriminator of weights and settings."""
    return convert.discriminator(weights, known(NORMS, settings["norm"]), **manner(settings))


def check_layers(fixture: Fixture) -> None:
    """Layer norm, of one picture too, and AdaIN."""
    inputs, settings = fixture.under("input/"), fixture.constructor
    weights = convert.plain(fixture.under("weights/layernorm/"))
    norm = LayerNorm(settings["num_features"], settings["eps"])
    norm.load_state_dict(weights)
    x = inputs["x"]
    fixture.compare("output/layernorm", norm(x))
    fixture.compare("output/layernorm_batch1", norm(x[:1]))
    style = torch.cat([inputs["adain_bias"], inputs["adain_weight"]], 1)
    fixture.compare("output/adain", AdaIN(settings["num_features"])(x, style))


def check_autoencoder(fixture: Fixture) -> None:
    """Codes, AdaIN's parameters, pictures of own and other style, and all gradients."""
    fixture = with_usual_names(fixture)
    network = convert.autoencoder(
        fixture.under("weights/"), **manner(fixture.constructor["params"])
    )
    x, style = leaf(fixture.tensors["input/x"]), leaf(fixture.tensors["input/style"])
    content, own = network.encode(x)
    flat = style.flatten(1)
    made, again = network.decode(content, flat), network(x)
    fixture.compare("output/content", content)
    fixture.compare("output/style_of_x", own[..., None, None])
    fixture.compare("output/mlp(style)", network.mapping(flat))
    fixture.compare("output/decoded_with_style", made)
    fixture.compare("output/reconstruction", again)
    ((made + again) * fixture.tensors["input/cotangent/0"]).sum().backward()
    for name, given in (("x", x), ("style", style)):
        assert given.grad is not None
        fixture.compare(f"grad/{name}", given.grad)
    fixture.compare_gradients(network, convert.autoencoder_layers(network))


def judge_loss(kind: Adversarial, judge: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    """What a discriminator minimises: both terms, summed over scales, fakes judged first."""
    against, true = judge(fake), judge(real)
    scales = [discriminator_terms(kind, r, f) for r, f in zip(true, against, strict=True)]
    return torch.stack([sum_of(terms) for terms in scales]).sum()


def fooling_loss(kind: Adversarial, judge: nn.Module, fake: Tensor) -> Tensor:
    """The generator's adversarial term, summed over scales."""
    return torch.stack([generator_term(kind, logits) for logits in judge(fake)]).sum()


def check_judges(fixture: Fixture) -> None:
    """Logits of all scales, both losses and their gradients."""
    fixture = with_usual_names(fixture)
    settings = fixture.constructor["params"]
    network = judges_of(fixture.under("weights/"), settings)
    kind = known(OBJECTIVES, settings["gan_type"])
    real, fake = (leaf(fixture.tensors[f"input/{name}"]) for name in ("real", "fake"))
    loss = judge_loss(kind, network, real, fake)
    loss.backward()
    fixture.compare("output/calc_dis_loss", loss)
    for name, given in (("real", real), ("fake", fake)):
        assert given.grad is not None
        fixture.compare(f"grad/dis/{name}", given.grad)
    fixture.compare_gradients(network, convert.discriminator_layers(network))
    fake = leaf(fake)
    loss = fooling_loss(kind, network, fake)
    loss.backward()
    fixture.compare("output/calc_gen_loss", loss)
    assert fake.grad is not None
    fixture.compare("grad/gen/fake", fake.grad)
    for scale, logits in enumerate(network(fake)):
        fixture.compare(f"output/pred_fake/scale{scale}", logits)


def check_perceptual(fixture: Fixture) -> None:
    """The domain-invariant distance, what it is of, and its gradient."""
    network = convert.vgg16(fixture.under("weights/"))
    weights = {"relu5_3": 1.0}
    distance = DomainInvariant.of(network, weights, "l2", scaling="caffe")
    image, target = leaf(fixture.tensors["input/img"]), fixture.tensors["input/target"]
    heard = Perceptual.of(network, weights, scaling="caffe").features(image)
    fixture.compare("output/features_img", heard["relu5_3"])
    fixture.compare("output/preprocessed_img", distance._scaled(image).flip(1))
    loss = distance(image, target)
    loss.backward()
    fixture.compare("output/loss", loss)
    assert image.grad is not None
    fixture.compare("grad/img", image.grad)


class Trainer:
    """The official trainer: two domains, one optimizer of both generators, one of both judges."""

    WEIGHTS: ClassVar[dict[str, str]] = {  # the setting that weighs a term, by its official name
        "adv": "gan_w",
        "recon_x": "recon_x_w",
        "recon_s": "recon_s_w",
        "recon_c": "recon_c_w",
        "cycrecon_x": "recon_x_cyc_w",
    }

    def __init__(self, fixture: Fixture, dtype: torch.dtype) -> None:
        settings = self.settings = fixture.constructor
        if settings["vgg_w"]:
            raise Unsupported("a training step with the perceptual term")
        self.kind = known(OBJECTIVES, settings["dis"]["gan_type"])
        self.networks: dict[str, nn.Module] = {}
        self.layers: dict[str, dict[str, str]] = {}
        for domain in DOMAINS:
            network = self.generator(fixture.under(f"weights/gen_{domain}/"))
            judge = judges_of(fixture.under(f"weights/dis_{domain}/"), settings["dis"])
            self.networks[f"gen_{domain}"] = network.to(dtype)
            self.networks[f"dis_{domain}"] = judge.to(dtype)
            self.layers[f"gen_{domain}"] = self.generator_layers(network)
            self.layers[f"dis_{domain}"] = convert.discriminator_layers(judge)
        self.real = {d: fixture.tensors[f"input/x_{d}"].to(dtype) for d in DOMAINS}
        self.optimizers = {who: self.optimizer(who) for who in ("gen", "dis")}

    def generator(self, weights: dict[str, Tensor]) -> nn.Module:
        """The networks of one domain."""
        return convert.autoencoder(weights, **manner(self.settings["gen"]))

    def generator_layers(self, network: Any) -> dict[str, str]:
        """Official name of each of their layers."""
        return convert.autoencoder_layers(network)

    def optimizer(self, who: str) -> Adam:
        """Adam with decay of weights as an L2 term."""
        settings = self.settings
        return Adam(
            [p for domain in DOMAINS for p in self.networks[f"{who}_{domain}"].parameters()],
            lr=settings["lr"],
            betas=(settings["beta1"], settings["beta2"]),
            weight_decay=settings["weight_decay"],
        )

    def draws(self, fixture: Fixture, place: str) -> list[Tensor]:
        """The noise drawn in a turn, in its order."""
        noise = fixture.under(f"input/noise/{place}/")
        kind = self.real["a"].dtype
        return [noise[str(number)].to(kind) for number in range(len(noise))]

    def fakes(self, draws: list[Tensor]) -> dict[str, Tensor]:
        """Pictures of each domain made of the other's, as discriminators judge them."""
        nets: dict[str, Any] = self.networks
        style_a, style_b = (draw.flatten(1) for draw in draws)
        content = {d: nets[f"gen_{d}"].content(self.real[d]) for d in DOMAINS}
        return {
            "a": nets["gen_a"].decode(content["b"], style_a),
            "b": nets["gen_b"].decode(content["a"], style_b),
        }

    def generator_terms(self, draws: list[Tensor]) -> Terms:
        """The terms of gen_update without their weights, by official name."""
        nets: dict[str, Any] = {d: self.networks[f"gen_{d}"] for d in DOMAINS}
        style = {d: draw.flatten(1) for d, draw in zip(DOMAINS, draws, strict=True)}
        codes = {d: nets[d].encode(self.real[d]) for d in DOMAINS}
        terms: Terms = {}
        fake, again = {}, {}
        for own, other in zip(DOMAINS, reversed(DOMAINS), strict=True):
            fake[own] = nets[own].decode(codes[other][0], style[own])
            again[own] = nets[own].encode(fake[own])
            terms[f"recon_x_{own}"] = l1(nets[own].decode(*codes[own]), self.real[own])
            terms[f"recon_s_{own}"] = l1(again[own][1], style[own])
            judge = self.networks[f"dis_{own}"]
            terms[f"adv_{own}"] = fooling_loss(self.kind, judge, fake[own])
        for own, other in zip(DOMAINS, reversed(DOMAINS), strict=True):
            # The content code of x_a is found anew in what was made of it in domain b.
            terms[f"recon_c_{own}"] = l1(again[other][0], codes[own][0])
            if self.settings["recon_x_cyc_w"] > 0:
                cycled = nets[own].decode(again[other][0], codes[own][1])
                terms[f"cycrecon_x_{own}"] = l1(cycled, self.real[own])
        return terms

    def weight(self, term: str) -> float:
        """The weight of a term: that of the longest of WEIGHTS with which its name begins."""
        known_as = max((name for name in self.WEIGHTS if term.startswith(name)), key=len)
        return self.settings[self.WEIGHTS[known_as]]

    def generator_turn(self, draws: list[Tensor]) -> Terms:
        """Take the gradients of gen_update; its losses by official name."""
        terms = self.generator_terms(draws)
        total = sum_of({name: self.weight(name) * term for name, term in terms.items()})
        self.descend("gen", total)
        return {f"loss_gen_{name}": term for name, term in (terms | {"total": total}).items()}

    def judge_turn(self, draws: list[Tensor]) -> Terms:
        """Take the gradients of dis_update; its losses by official name."""
        with torch.no_grad():
            fake = self.fakes(draws)
        terms = {
            d: judge_loss(self.kind, self.networks[f"dis_{d}"], self.real[d], fake[d])
            for d in DOMAINS
        }
        total = self.settings["gan_w"] * sum_of(terms)
        self.descend("dis", total)
        return {f"loss_dis_{name}": term for name, term in (terms | {"total": total}).items()}

    def descend(self, who: str, total: Tensor) -> None:
        """Fresh gradients of those who learn."""
        groups = self.optimizers[who].param_groups
        self.optimizers[who].zero_grad()
        total.backward(inputs=[p for group in groups for p in group["params"]])


def check_update(fixture: Fixture, kind: type[Trainer] = Trainer) -> None:
    """Both updates from the given weights in float32, then in turns in float64."""
    fixture = with_usual_names(fixture)
    ours, exact = (kind(fixture, dtype) for dtype in (torch.float32, torch.float64))
    for trainer in (ours, exact):
        for turn, who in ((trainer.generator_turn, "gen"), (trainer.judge_turn, "dis")):
            losses = turn(trainer.draws(fixture, f"{who}_init"))
            if trainer is ours:
                compare_losses(fixture, f"output/{who}_init/", losses)
    for name, layers in ours.layers.items():
        pair = (trainer.networks[name] for trainer in (ours, exact))
        compare_gradients(fixture, *pair, layers, f"{name}/")
    check_sequence(fixture, kind(fixture, torch.float64))


def check_sequence(fixture: Fixture, trainer: Trainer) -> None:
    """The discriminators' step, then the generators', as often as it is stored."""
    stored = (re.match(r"output64/seq(\d+)", key) for key in fixture.tensors)
    last = max(int(match[1]) for match in stored if match)
    for step in range(1, last + 1):  # of some steps the losses alone are stored
        for who, turn in (("dis", trainer.judge_turn), ("gen", trainer.generator_turn)):
            losses = turn(trainer.draws(fixture, f"seq{step}_{who}"))
            compare_losses(fixture, f"output64/seq{step}_{who}/", losses)
            trainer.optimizers[who].step()
        for name, network in trainer.networks.items():
            place = f"seq{step}/weight_stats/{name}/"
            compare_weights(fixture, place, network, trainer.layers[name])


def compare_gradients(
    fixture: Fixture, ours: nn.Module, exact: nn.Module, layers: dict[str, str], prefix: str
) -> None:
    """Compare the gradients of a network, given the same in float64.

    The headers of training steps measured no noise of gradients, though there is some. As for the
    other fixtures, 5 times that of the noisiest tensor is allowed, here of our own float32.
    """
    start = f"grad_param_stats/{prefix}"
    named, stored = renaming.our_keys(ours, layers), fixture.under(start)
    least = NEGLIGIBLE * max(float(stats[2]) for stats in stored.values())
    fixture.compared.update(start + key for key in stored)  # what is negligible is noise alone
    found = {
        key: [statistics(network.get_parameter(named[key])) for network in (ours, exact)]
        for key, stats in stored.items()
        if float(stats[2]) >= least
    }
    noise = max(
        float((mine - true).abs().max() / true.abs().max()) for mine, true in found.values()
    )
    tolerance = max(fixture.tolerance("grad"), min(5 * noise, WORST))
    for key, (mine, _) in found.items():
        fixture.compare(start + key, mine, tolerance)


def compare_losses(fixture: Fixture, prefix: str, losses: Terms) -> None:
    """Compare every loss that is stored."""
    for name, loss in losses.items():
        if prefix + name in fixture.tensors:
            fixture.compare(prefix + name, loss)


def compare_weights(
    fixture: Fixture, place: str, network: nn.Module, layers: dict[str, str]
) -> None:
    """Compare [sum, L2 norm] of every stored tensor; AdaIN's statistics are as they were given."""
    named, state = renaming.our_keys(network, layers), network.state_dict()
    given = fixture.under(f"weights/{place.split('/')[2]}/")
    for key in fixture.under(f"output64/{place}"):
        ours = (state[named[key]] if key in named else given[key]).double()
        fixture.compare(f"output64/{place}{key}", torch.stack([ours.sum(), ours.norm()]))


CHECKS: dict[str, Callable[[Fixture], None]] = {
    "LayerNorm, AdaptiveInstanceNorm2d": check_layers,
    "AdaINGen (encode, decode), StyleEncoder, ContentEncoder, Decoder, MLP": check_autoencoder,
    "MsImageDis": check_judges,
    "compute_vgg_loss": check_perceptual,
    "MUNIT_Trainer.gen_update / dis_update": check_update,
}
