"""Networks, losses and training steps of MUNIT give the official numbers."""

import re
from collections.abc import Callable
from typing import Any, ClassVar
from unittest.mock import patch

import torch
from torch import Tensor, nn

from dragoman.convert import munit as convert
from dragoman.convert import renaming
from dragoman.engine import sum_of
from dragoman.losses.adversarial import Adversarial, discriminator_terms, generator_term
from dragoman.losses.domain_invariant import DomainInvariant
from dragoman.losses.perceptual import Perceptual
from dragoman.networks.munit import Activation, AdaIN, Judges, LayerNorm, Norm
from dragoman.shared_latent import SharedLatent
from dragoman.system import Facts, Progress, Terms
from golden_checks.fixture import NEGLIGIBLE, Fixture, Unsupported
from golden_checks.losses import leaf
from golden_checks.pix2pixhd import WORST, statistics
from golden_checks.steps import STEPS, Steps

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


class Training:
    """The official trainer of two domains, by our system and engine."""

    WEIGHTS: ClassVar[dict[str, str]] = {  # the setting that weighs a term, by its official name
        "adv": "gan_w",
        "recon_x": "recon_x_w",
        "recon_s": "recon_s_w",
        "recon_c": "recon_c_w",
        "cycrecon_x": "recon_x_cyc_w",
    }
    TERMS: ClassVar[dict[str, str]] = {  # and our name of it
        "adv": "adversarial",
        "recon_x": "image",
        "recon_s": "style",
        "recon_c": "content",
        "cycrecon_x": "cycle",
    }

    def __init__(self, fixture: Fixture, dtype: torch.dtype) -> None:
        self.fixture, self.settings, self.dtype = fixture, fixture.constructor, dtype
        if self.settings["vgg_w"]:
            raise Unsupported("a training step with the perceptual term")
        real = {domain: fixture.tensors[f"input/x_{domain}"] for domain in DOMAINS}
        height, width = real["a"].shape[-2:]
        facts = Facts({domain: x.shape[1] for domain, x in real.items()}, (height, width))
        states = {
            who: {domain: fixture.under(f"weights/{who}_{domain}/") for domain in DOMAINS}
            for who in ("gen", "dis")
        }
        made = self.make(states["gen"], states["dis"], facts, **self.knobs())
        self.system = made.to(dtype)
        self.batch = {domain: x.to(dtype) for domain, x in real.items()}

    def make(self, *given: Any, **settings: Any) -> SharedLatent:
        """The system of official states."""
        return convert.munit(
            *given,
            lambda_style=self.settings["recon_s_w"],
            lambda_content=self.settings["recon_c_w"],
            **settings,
        )

    def knobs(self) -> dict[str, Any]:
        """Our settings, but for those that the weights tell."""
        settings, judged = self.settings, manner(self.settings["dis"])
        return {
            **manner(settings["gen"]),
            **{f"discriminator_{name}": value for name, value in judged.items()},
            "discriminator_norm": known(NORMS, settings["dis"]["norm"]),
            "adversarial": known(OBJECTIVES, settings["dis"]["gan_type"]),
            "lambda_adversarial": settings["gan_w"],
            "lambda_image": settings["recon_x_w"],
            "lambda_cycle": settings["recon_x_cyc_w"],
            "lr": settings["lr"],
            "beta1": settings["beta1"],
            "beta2": settings["beta2"],
            "weight_decay": settings["weight_decay"],
            "redraw": True,
        }

    def networks(self) -> dict[str, tuple[Any, dict[str, str]]]:
        """Our network and the official names of its layers, by official name."""
        found: dict[str, tuple[Any, dict[str, str]]] = {}
        for domain in DOMAINS:
            made, judge = self.translator(domain), self.system.judge(domain)
            found[f"gen_{domain}"] = made, self.translator_layers(made)
            found[f"dis_{domain}"] = judge, convert.discriminator_layers(judge)  # ty: ignore
        return found

    def translator(self, domain: str) -> Any:
        """The official generator of a domain."""
        return self.system.get_submodule(f"autoencoder_{domain}")

    def translator_layers(self, network: Any) -> dict[str, str]:
        """Official name of each of its layers."""
        return convert.autoencoder_layers(network)

    def noise(self, place: str) -> Any:
        """What our system draws in a turn, as the official one drew it."""
        drawn = self.draws(place)
        return [{domain: one.flatten(1) for domain, one in zip(DOMAINS, drawn, strict=True)}]

    def draws(self, place: str) -> list[Tensor]:
        """The noise drawn in a turn, in its order."""
        noise = self.fixture.under(f"input/noise/{place}/")
        return [noise[str(number)].to(self.dtype) for number in range(len(noise))]

    def drawing(self, *places: str) -> Any:
        """Let the next turns draw the stored noise."""
        return patch.object(self.system, "noise", side_effect=[self.noise(p) for p in places])

    def losses(self, who: str, terms: Terms) -> Terms:
        """The losses of a turn without their weights, by official name."""
        start, told = f"loss_{who}_", {f"loss_{who}_total": sum_of(terms)}
        for domain in DOMAINS if who == "dis" else ():
            both = terms[f"real_{domain}"] + terms[f"fake_{domain}"]
            told[start + domain] = both / self.settings["gan_w"]
        for official, weight in self.WEIGHTS.items() if who == "gen" else ():
            for domain in DOMAINS:
                name = f"{self.TERMS[official]}_{domain}"
                if name in terms and self.settings[weight]:
                    plain = terms[name] / self.settings[weight]
                    told[start + self.official(official, domain)] = plain
        return told

    def official(self, term: str, domain: str) -> str:
        """Official name of a term of a domain."""
        return f"{term}_{domain}"

    def learn(self, who: str) -> Terms:
        """Take the gradients of a turn before any update; returns its losses."""
        system = self.system
        loss = system.generator_loss if who == "gen" else system.discriminator_loss
        with self.drawing(f"{who}_init"):
            terms = loss(self.batch, system.share(self.batch, Progress(0, STEPS)))
        learning = [n for name, (n, _) in self.networks().items() if name.startswith(who)]
        sum_of(terms).backward(inputs=[p for n in learning for p in n.parameters()])
        return self.losses(who, terms)


def check_update(fixture: Fixture, kind: type[Training] = Training) -> None:
    """Losses and gradients of both turns, then steps of the engine in float64."""
    fixture = with_usual_names(fixture)
    ours, exact = (kind(fixture, dtype) for dtype in (torch.float32, torch.float64))
    for training in (ours, exact):
        for who in ("gen", "dis"):
            losses = training.learn(who)
            if training is ours:
                compare_losses(fixture, f"output/{who}_init/", losses)
    for name, (network, layers) in ours.networks().items():
        compare_gradients(fixture, network, exact.networks()[name][0], layers, f"{name}/")
    check_sequence(fixture, kind(fixture, torch.float64))


def check_sequence(fixture: Fixture, training: Training) -> None:
    """The engine's steps, as often as they are stored."""
    steps = Steps(training.system)
    stored = (re.match(r"output64/seq(\d+)", key) for key in fixture.tensors)
    last = max(int(match[1]) for match in stored if match)
    for step in range(1, last + 1):  # of some steps the losses alone are stored
        with training.drawing(f"seq{step}_dis", f"seq{step}_gen"):
            heard = steps.take(training.batch)
        for who, turn in (("dis", "discriminator"), ("gen", "generator")):
            losses = training.losses(who, heard[turn])
            compare_losses(fixture, f"output64/seq{step}_{who}/", losses)
        for name, (network, layers) in training.networks().items():
            # AdaIN's statistics are as they were given.
            given = fixture.under(f"weights/{name}/")
            start = f"output64/seq{step}/weight_stats/{name}/"
            fixture.compare_weights(start, network, layers, given)


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


CHECKS: dict[str, Callable[[Fixture], None]] = {
    "LayerNorm, AdaptiveInstanceNorm2d": check_layers,
    "AdaINGen (encode, decode), StyleEncoder, ContentEncoder, Decoder, MLP": check_autoencoder,
    "MsImageDis": check_judges,
    "compute_vgg_loss": check_perceptual,
    "MUNIT_Trainer.gen_update / dis_update": check_update,
}
