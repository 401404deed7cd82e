"""The context encoder's layer, networks, losses and gradients, by official class."""

import re
from collections.abc import Callable

import torch
from torch import Tensor

from dragoman.convert import context_encoder as convert
from dragoman.system import Facts
from dragoman.systems.context_encoder import ContextEncoder, weighted_l2
from golden_checks.fixture import Fixture

CENTRE = "grad/center (effective gradient the generator receives)"


def check_channelwise(fixture: Fixture) -> None:
    """The layer's output and the gradients of its input and, if stored, its parameters."""
    layer = convert.channelwise(fixture.under("weights/"))
    x = fixture.tensors["input/x"].requires_grad_()
    made = layer(x)
    (made * fixture.tensors["input/cotangent/0"]).sum().backward()
    fixture.compare("output/out", made)
    assert x.grad is not None
    fixture.compare("grad/x", x.grad)
    for key in fixture.under("grad_param_stats/"):
        gradient = layer.get_parameter(key).grad
        assert gradient is not None
        stats = torch.stack([gradient.sum(), gradient.norm(), gradient.abs().max()])
        fixture.compare(f"grad_param_stats/{key}", stats)


def system_of(fixture: Fixture) -> ContextEncoder:
    """The system of the fixture's weights and settings."""
    context = fixture.tensors["input/context"]
    height, width = context.shape[-2:]
    found = re.search(r"wtl2=([\d.]*\d)", fixture.meta["losses"])
    l2 = float(found[1]) if found else 0.999
    return convert.context_encoder(
        fixture.under("weights/netG/"),
        fixture.under("weights/netD/"),
        Facts(channels={"image": context.shape[1]}, size=(height, width)),
        overlap=fixture.constructor["overlapPred"],
        lambda_l2=l2,
        lambda_adversarial=1 - l2,
    )


def middle(pictures: Tensor) -> Tensor:
    """The centre of half the sides."""
    height, width = pictures.shape[-2:]
    return pictures[..., height // 4 : 3 * height // 4, width // 4 : 3 * width // 4]


def check_evaluation(fixture: Fixture, system: ContextEncoder) -> None:
    """Both networks with their running statistics."""
    system.eval()
    with torch.no_grad():
        context, real = fixture.tensors["input/context"], fixture.tensors["input/real_center"]
        fixture.compare("output/eval/center", system.generator(context))
        fixture.compare("output/eval/D(real_center)", system.discriminator(real).sigmoid())
    system.train()


def check_lua(fixture: Fixture) -> None:
    """Networks, terms and the gradient that the generator receives.

    The stored true centre is not that of the stored context: the losses see it laid into the
    context. Officially the overlap's tenfold gradient is not in the reported L2, which is
    therefore computed with equal weights here.
    """
    system = system_of(fixture)
    check_evaluation(fixture, system)
    context, real = fixture.tensors["input/context"], fixture.tensors["input/real_center"]
    hole = system.hole({"image": context})
    if context.shape[1] == 3:
        assert torch.allclose(system.filled(context, hole), context), "filled with another colour"
    made = system.predicted(context, torch.zeros_like(hole)).detach().requires_grad_()
    picture = context.clone()
    middle(picture)[:] = real
    batch, shared = {"image": picture}, {"hole": hole, "made": made}
    fixture.compare("output/train/center", middle(made))
    for name, centre in (("real_center", real), ("fake", middle(made))):
        judged = system.discriminator(centre).sigmoid().flatten()
        fixture.compare(f"output/train/D({name})", judged)
    losses = system.discriminator_loss(batch, shared)
    terms = system.generator_loss(batch, shared)
    (gradient,) = torch.autograd.grad(torch.stack(list(terms.values())).sum(), made)
    fixture.compare(CENTRE, middle(gradient))
    plain = weighted_l2(middle(made), real, torch.ones_like(real[:, :1]))
    adversarial = terms["adversarial"] / system.settings.lambda_adversarial
    reported = {
        "D_real": losses["real"],
        "D_fake": losses["fake"],
        "D": losses["real"] + losses["fake"],
        "G_adv": adversarial,
        "G_l2": plain,
        "G_total_reported": terms["adversarial"] + system.settings.lambda_l2 * plain,
    }
    for name, value in reported.items():
        fixture.compare(f"output/loss/{name}", value)


CHECKS: dict[str, Callable[[Fixture], None]] = {
    "channel-wise fully-connected layer (DEFINITION, own formula)": check_channelwise,
    "netG, netD (TRANSCRIBED from Lua, not run in Lua Torch)": check_lua,
}
