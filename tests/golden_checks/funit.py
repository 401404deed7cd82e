"""Checks of the funit fixtures, by official class."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from dragoman.convert import funit
from dragoman.engine import sum_of
from dragoman.losses import distances, feature_matching, penalties
from dragoman.losses.adversarial import discriminator_terms, generator_term
from dragoman.networks.funit import ClassPatchDiscriminator, FewShotGenerator
from dragoman.system import Terms
from golden_checks.fixture import Fixture
from golden_checks.losses import leaf
from golden_checks.pix2pixhd import compare_gradients

PENALTY = 10.0  # weight of the slope at reals


def check_generator(fixture: Fixture) -> None:
    """Content, class codes and translations, with several examples and with one of each class."""
    network = funit.generator(fixture.under("weights/")).eval()
    x = fixture.tensors["input/x"]
    several = fixture.tensors["input/class_images"][None]
    one = fixture.tensors["input/class_images_per_sample"]
    with torch.no_grad():
        told = {
            "content": network.content(x),
            "class_code": network.class_code(several)[..., None, None],
            "codes_per_sample": network.class_code(one)[..., None, None],
            "translation_of_first": network(x[:1], several),
            "translation_batch": network(x, one),
        }
    for name, value in told.items():
        if f"output/{name}" in fixture.tensors:
            fixture.compare(f"output/{name}", value)


def check_discriminator(fixture: Fixture) -> None:
    """Logits of the right class, features, and all gradients."""
    network = funit.discriminator(fixture.under("weights/")).eval()
    x, cotangents = leaf(fixture.tensors["input/x"]), fixture.under("input/cotangent/")
    made = dict(zip(("resp", "feat"), network(x, fixture.tensors["input/y"].long()), strict=True))
    for name, value in made.items():
        fixture.compare(f"output/{name}", value)
    torch.stack([(made[name] * c).sum() for name, c in cotangents.items()]).sum().backward()
    assert x.grad is not None
    fixture.compare("grad/x", x.grad)
    fixture.compare_gradients(network, funit.discriminator_layers(network))


@dataclass
class Learnt:
    """Both networks with their gradients; all terms, and which share of logits is right."""

    generator: FewShotGenerator
    discriminator: ClassPatchDiscriminator
    told: Terms


def learn(fixture: Fixture, dtype: torch.dtype) -> Learnt:
    """Take the gradients of both updates, each from the stored weights, in a precision."""
    settings = fixture.constructor
    made = funit.generator(fixture.under("weights/gen/")).to(dtype)
    judge = funit.discriminator(fixture.under("weights/dis/")).to(dtype)
    (xa, xb), (la, lb) = (
        [fixture.tensors[f"input/{kind}{name}"] for name in "ab"] for kind in ("x", "l")
    )
    xa, xb, la, lb = xa.to(dtype), xb.to(dtype), la.long(), lb.long()
    content = made.content(xa)
    translated = made.decode(content, made.class_code(xb))
    again = made.decode(content, made.class_code(xa))

    (logits_t, heard_t), (logits_r, heard_r) = judge(translated, lb), judge(again, la)
    fool = [generator_term("hinge", logits) for logits in (logits_t, logits_r)]
    told = {
        "gen/adv": torch.stack(fool).mean(),
        "gen/x_rec": distances.l1(again, xa),
        "gen/c_rec": feature_matching.place_means(judge(xa, la)[1], heard_r),
        "gen/m_rec": feature_matching.place_means(judge(xb, lb)[1], heard_t),
        "gen/acc": torch.stack([(x >= 0).to(dtype).mean() for x in (logits_t, logits_r)]).mean(),
    }
    weights = {"adv": "gan_w", "x_rec": "r_w", "c_rec": "fm_w", "m_rec": "fm_w"}
    told["gen/total"] = sum_of({n: settings[w] * told[f"gen/{n}"] for n, w in weights.items()})

    real, fake = judge(xb, lb)[0], judge(translated.detach(), lb)[0]
    hinge = discriminator_terms("hinge", real, fake)
    # The slope is that of the mean over places and pictures; `r1` is half its square.
    penalty = 2 * penalties.r1(lambda x: judge(x, lb)[0].mean(), xb)
    right = ((real >= 0).to(dtype).mean() + (fake < 0).to(dtype).mean()) / 2
    told |= {f"dis/{name}": term for name, term in hinge.items()}
    told |= {"dis/reg": penalty, "dis/acc": right}
    told["dis/total"] = settings["gan_w"] * sum_of(hinge) + PENALTY * penalty
    told["gen/total"].backward(inputs=list(made.parameters()))
    told["dis/total"].backward(inputs=list(judge.parameters()))
    return Learnt(made, judge, told)


def check_model(fixture: Fixture) -> None:
    """Every term of both updates and the gradients of both networks."""
    ours, exact = learn(fixture, torch.float32), learn(fixture, torch.float64)
    for name, term in ours.told.items():
        fixture.compare(f"output/{name}", term)
    layers = funit.generator_layers(ours.generator)
    compare_gradients(fixture, ours.generator, exact.generator, layers, "gen/")
    layers = funit.discriminator_layers(ours.discriminator)
    compare_gradients(fixture, ours.discriminator, exact.discriminator, layers, "dis/")


CHECKS: dict[str, Callable[[Fixture], None]] = {
    "FewShotGen": check_generator,
    "GPPatchMcResDis": check_discriminator,
    "FUNITModel.forward": check_model,
}
