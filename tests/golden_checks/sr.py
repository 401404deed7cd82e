"""Checks of the sr fixtures (BasicSR), by official class."""

import json
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from dragoman.convert import basicsr
from dragoman.interpolation import interpolate
from dragoman.losses import adversarial, relativistic
from dragoman.pipeline import Translator
from dragoman.system import Facts
from golden_checks.fixture import Fixture
from golden_checks.losses import leaf, objective
from golden_checks.steps import Steps, stored_steps

NOISE = 1e-6  # below which a number that is 0 in theory is rounding noise
DOMAIN = {"name": "photo", "kind": "photo", "channels": 3, "classes": (), "palette": ()}


def network_of(fixture: Fixture, weights: dict[str, Tensor]) -> nn.Module:
    """The network of the fixture's weights."""
    if fixture.meta["source_class"] == "RRDBNet":
        return basicsr.rrdb(weights, fixture.constructor.get("scale", 4))
    if fixture.meta["source_class"] == "UNetDiscriminatorSN":
        return basicsr.unet_discriminator(weights, fixture.constructor.get("skip_connection", True))
    makers: dict[str, Callable[..., nn.Module]] = {
        "MSRResNet": basicsr.msrresnet,
        "VGGStyleDiscriminator": basicsr.vgg_discriminator,
    }
    return makers[fixture.meta["source_class"]](weights)


def check_network(fixture: Fixture) -> None:
    """Outputs, input gradients, parameter gradients and buffers in every stored mode."""
    modes = fixture.meta.get("modes", f'["{fixture.meta.get("mode", "eval")}"]')
    for mode in ("eval", "train"):
        if f'"{mode}"' not in modes:
            continue
        part = f"{mode}/" if f"output/{mode}/out" in fixture.tensors else ""
        network = network_of(fixture, fixture.under("weights/")).train(mode == "train")
        layers = basicsr.network_layers(network)
        x = leaf(fixture.tensors["input/x"])
        out = network(x)
        fixture.compare(f"output/{part}out", out)
        if "input/cotangent/0" in fixture.tensors:
            (out * fixture.tensors["input/cotangent/0"]).sum().backward()
            assert x.grad is not None
            fixture.compare(f"grad/{part}x", x.grad)
            if fixture.meta["grad_param_stats_mode"] == mode:
                fixture.compare_gradients(network, layers)
        if mode == "train":
            fixture.compare_state(network, layers)


def check_relativistic(fixture: Fixture) -> None:
    """The relativistic average of any objective; the real logits are constants to G."""
    kind = fixture.constructor["gan_type"]
    base: Any = objective(kind)
    real, fake = leaf(fixture.tensors["input/d_real"]), leaf(fixture.tensors["input/d_fake"])
    terms = relativistic.discriminator_terms(base, real, fake, held=fake)
    ((terms["real"] + terms["fake"]) / 2).backward()
    fixture.compare("output/d_real_loss", terms["real"] / 2)
    fixture.compare("output/d_fake_loss", terms["fake"] / 2)
    for name, logits in (("d_real", real), ("d_fake", fake)):
        assert logits.grad is not None
        fixture.compare(f"grad/d/{name}", logits.grad)
    fake = leaf(fake)
    if kind == "hinge":  # officially both terms are -D, so that nothing is left of their sum
        against = {"real": real.detach() - fake.mean(), "fake": fake - real.detach().mean()}
        parts = {name: adversarial.generator_term("hinge", x) for name, x in against.items()}
        for name in ("output/g_total", "grad/g/d_fake"):
            compare_nothing(fixture, name)
    else:
        parts = relativistic.generator_terms(base, real.detach(), fake)
    total = (parts["real"] + parts["fake"]) / 2
    total.backward()
    fixture.compare("output/g_real", parts["real"])
    fixture.compare("output/g_fake", parts["fake"])
    if kind != "hinge":
        fixture.compare("output/g_total", total)
        assert fake.grad is not None
        fixture.compare("grad/g/d_fake", fake.grad)


def compare_nothing(fixture: Fixture, key: str) -> None:
    """The stored result must be rounding noise of 0."""
    fixture.compared.add(key)
    if fixture.tensors[key].abs().max() > NOISE:
        fixture.faults.append(f"{key} is not 0")


def vanishes(fixture: Fixture) -> bool:
    """True if the official generator's adversarial terms cancel out: relativistic hinge."""
    relative = fixture.meta["source_class"].startswith("ESRGAN")
    return relative and fixture.constructor["gan_type"] == "hinge"


def system_of(fixture: Fixture) -> Any:
    """The system of the fixture's weights and settings, in its second stage alone."""
    settings = fixture.constructor
    low, high = fixture.tensors["input/lq"], fixture.tensors["input/gt"]
    facts = Facts(
        channels={"low": low.shape[1], "high": high.shape[1]},
        size=(low.shape[2], low.shape[3]),
        scale=high.shape[3] // low.shape[3],
    )
    relative = fixture.meta["source_class"].startswith("ESRGAN")
    kind = objective(settings["gan_type"])
    objectives: dict[str, Any] = {"adversarial": kind}
    if relative:
        objectives = {"adversarial": "relativistic", "relativistic_of": kind}
    return (basicsr.esrgan if relative else basicsr.srgan)(
        fixture.under("weights/net_g/"),
        fixture.under("weights/net_d/"),
        facts,
        lambda_adversarial=0.0 if vanishes(fixture) else settings["gan_loss_weight"],
        lambda_l1=settings["pixel_weight"],
        lambda_penalty=0.0,
        perceptual="none",
        psnr_share=0.0,
        lr=settings["lr"],
        beta1=settings["betas"][0],
        beta2=settings["betas"][1],
        **objectives,
    )


def check_step(fixture: Fixture) -> None:
    """The official optimize_parameters: losses, logits and gradients, then several steps."""
    check_trace(fixture, torch.float32, "output/")
    check_trace(fixture, torch.float64, "output64/")


def check_trace(fixture: Fixture, dtype: torch.dtype, prefix: str) -> None:
    """Everything that is stored of every step, with our engine."""
    steps = Steps(system_of(fixture).to(dtype))
    system: Any = steps.engine.system
    logits, pictures = [], []
    system.discriminator.register_forward_hook(lambda net, given, made: logits.append(made))
    system.generator.register_forward_hook(lambda net, given, made: pictures.append(made))
    names = {"low": "input/lq", "high": "input/gt"}
    batch = {key: fixture.tensors[name].to(dtype) * 2 - 1 for key, name in names.items()}
    for step in stored_steps(fixture, prefix):
        told = official(steps.take(batch), logits) | {"output": pictures[-1]}
        for name, value in told.items():
            key = f"{prefix}step{step}/{name}"
            if name == "l_g_gan" and vanishes(fixture):
                compare_nothing(fixture, key)
            elif key in fixture.tensors:
                fixture.compare(key, value)
        for name, network in (("net_g", system.generator), ("net_d", system.discriminator)):
            layers = basicsr.network_layers(network)
            if step == 1 and dtype == torch.float64:  # as the stored ones must have been taken
                fixture.compare_gradients(network, layers, f"{name}/")
            fixture.compare_weights(f"{prefix}step{step}/weight_stats/{name}/", network, layers)


def official(heard: dict[str, dict[str, Tensor]], logits: list[Tensor]) -> dict[str, Tensor]:
    """The official names of a step's terms and of the discriminator's last two answers."""
    ours, theirs = heard["generator"], heard["discriminator"]
    real, fake = logits[-2:]  # the discriminator's turn comes last, true pictures first
    losses = {"l_g_gan": ours["adversarial"], "l_g_pix": ours["l1"]}
    losses |= {"l_d_real": theirs["real"], "l_d_fake": theirs["fake"]}
    return losses | {"out_d_real": real.mean(), "out_d_fake": fake.mean()}


def check_interpolation(fixture: Fixture) -> None:
    """Networks between two, made of translators."""
    x = fixture.tensors["input/x"]
    scale = json.loads(fixture.meta["net"]).get("scale")
    ends = []
    for name in ("psnr", "gan"):
        made = basicsr.generator(fixture.under(f"weights/{name}/"), scale)
        ends.append(translator_of(made, x))
    for alpha in fixture.constructor["alphas"]:
        between: Any = interpolate(*ends, alpha=alpha)
        with torch.no_grad():
            fixture.compare(f"output/alpha{alpha}", between.system.generator(x))


def translator_of(network: Any, x: Tensor) -> Translator:
    """A translator whose generator this is."""
    with torch.no_grad():
        scale = network(x).shape[-1] // x.shape[-1]
        channels = network(x).shape[1]
    sides = (x.shape[2], x.shape[3])
    facts = Facts({"low": x.shape[1], "high": channels}, sides, scale=scale)
    kind = basicsr.ESRGAN if isinstance(network, basicsr.RRDBNet) else basicsr.SRGAN
    system = kind(kind.Settings(psnr_share=1.0, width=4, blocks=1), facts)
    system.generator = network
    domains = {key: DOMAIN | {"channels": count} for key, count in facts.channels.items()}
    config = {"system": kind.__name__.lower(), "domains": domains}
    return Translator(system, config, "cpu")


CHECKS: dict[str, Callable[[Fixture], None]] = {
    "MSRResNet": check_network,
    "RRDBNet": check_network,
    "VGGStyleDiscriminator": check_network,
    "UNetDiscriminatorSN": check_network,
    "ESRGANModel (relativistic average losses)": check_relativistic,
    "SRGANModel.optimize_parameters": check_step,
    "ESRGANModel.optimize_parameters": check_step,
    "script": check_interpolation,
}
