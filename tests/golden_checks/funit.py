"""Checks of the funit fixtures, by official class."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from dragoman.convert import funit
from dragoman.engine import sum_of
from dragoman.networks.funit import ClassPatchDiscriminator, FewShotGenerator
from dragoman.system import Facts, Progress, Terms
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
    states = (fixture.under("weights/gen/"), fixture.under("weights/dis/"))
    (xa, xb), (la, lb) = (
        [fixture.tensors[f"input/{kind}{name}"] for name in "ab"] for kind in ("x", "l")
    )
    xa, xb, la, lb = xa.to(dtype), xb.to(dtype), la.long(), lb.long()
    classes = {"class": tuple(map(str, range(settings["dis"]["num_classes"])))}
    facts = Facts({"image": xa.shape[1]}, (xa.shape[2], xa.shape[3]), classes=classes)
    weights = {"lambda_reconstruction": settings["r_w"], "lambda_matching": settings["fm_w"]}
    weights["lambda_adversarial"] = settings["gan_w"]
    system = funit.funit(*states, facts, **weights, lambda_slope=PENALTY).to(dtype)
    batch = {"image": xa, "label": la, "reference": xb[:, None], "reference_label": lb}

    made = system.share(batch, Progress(0, 1))
    judging, making = (
        loss(batch, made) for loss in (system.discriminator_loss, system.generator_loss)
    )
    judge = system.discriminator
    again = system.generator(xa)
    shown, anew = judge(made.fake, lb)[0], judge(again, la)[0]
    told = {
        "gen/adv": making["adversarial"] / settings["gan_w"],
        "gen/x_rec": making["reconstruction"] / settings["r_w"],
        "gen/c_rec": making["matching_own"] / settings["fm_w"],
        "gen/m_rec": making["matching"] / settings["fm_w"],
        "gen/acc": (_share(shown >= 0) + _share(anew >= 0)) / 2,
        "gen/total": sum_of(making),
        "dis/real": judging["real"] / settings["gan_w"],
        "dis/fake": judging["fake"] / settings["gan_w"],
        "dis/reg": judging["penalty"] / PENALTY,
        "dis/acc": (_share(judge(xb, lb)[0] >= 0) + _share(shown < 0)) / 2,
        "dis/total": sum_of(judging),
    }
    sum_of(judging).backward(inputs=list(judge.parameters()))
    sum_of(making).backward(inputs=list(system.generator.parameters()))
    return Learnt(system.generator, judge, told)


def _share(right: Tensor) -> Tensor:
    return right.double().mean()


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
