"""Checks of the starganv2 fixtures, by official class."""

import re
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

from dragoman.convert import renaming
from dragoman.convert import starganv2 as convert
from dragoman.engine import Engine, EngineSettings, sum_of
from dragoman.networks.starganv2 import HighPass
from dragoman.system import Batch, Facts, Progress, Stage, System, Terms, Turn
from dragoman.systems.starganv2 import StarGANv2
from golden_checks.fixture import NEGLIGIBLE, Fixture
from golden_checks.losses import leaf

Layers = Callable[[Any], dict[str, str]]
NETWORKS: dict[str, Layers] = {
    "generator": convert.generator_layers,
    "mapping_network": convert.mapping_layers,
    "style_encoder": convert.style_encoder_layers,
    "discriminator": convert.discriminator_layers,
}
DECAY = 0.999  # of the official moving average


def compare_gradients(
    fixture: Fixture, network: nn.Module, layers: dict[str, str], start: str
) -> None:
    """Compare [sum, L2 norm, largest] of every parameter's gradient with those under `start`.

    The official layers of scales and shifts are one, ours two. A sum that is small beside its terms
    is known only as well as the sum of their sizes: float64 differs from the stored float32 by as
    much as the tolerance of the largest number.
    """
    parameters, named = dict(network.named_parameters()), renaming.our_keys(network, layers)
    stored = fixture.under(start)
    largest = max(float(stats[2]) for stats in stored.values())
    for key, stats in stored.items():
        parts = [re.sub(r"(^|\.)fc\.", rf"\1{half}.", key) for half in ("scale", "shift")]
        gradients = [parameters[named[part]].grad for part in dict.fromkeys(parts)]
        if float(stats[2]) < NEGLIGIBLE * largest:
            fixture.compared.add(start + key)
            continue
        flat = torch.cat([g.flatten() for g in gradients if g is not None])
        ours = torch.stack([flat.sum(), flat.norm(), flat.abs().max()])
        if (ours[0] - stats[0]).abs() <= fixture.tolerance("grad") * flat.abs().sum():
            ours[0] = stats[0]
        fixture.compare(start + key, ours)


def check_network(
    fixture: Fixture, network: nn.Module, layers: Layers, run: Callable[[dict[str, Tensor]], Tensor]
) -> None:
    """Compare a network's output and all gradients."""
    inputs = {k: v for k, v in fixture.under("input/").items() if not k.startswith("cotangent")}
    inputs = {k: leaf(v) if v.is_floating_point() else v for k, v in inputs.items()}
    for mode in ("eval", "train"):
        part = f"{mode}/" if f"output/{mode}/out" in fixture.tensors else ""
        if f"output/{part}out" not in fixture.tensors:
            continue
        network.train(mode == "train").zero_grad()
        for given in inputs.values():
            given.grad = None
        out = run(inputs)
        fixture.compare(f"output/{part}out", out)
        if "input/cotangent/0" in fixture.tensors:
            (out * fixture.tensors["input/cotangent/0"]).sum().backward()
        for key in fixture.under(f"grad/{part}"):
            gradient = inputs[key].grad
            assert gradient is not None, f"no gradient reached {key}"
            fixture.compare(f"grad/{part}{key}", gradient)
    if fixture.under("grad_param_stats/"):
        compare_gradients(fixture, network, layers(network), "grad_param_stats/")


def check_generator(fixture: Fixture) -> None:
    """Generator, with masks where there is a high pass."""
    network = convert.generator(fixture.under("weights/"), fixture.constructor.get("w_hpf", 1))

    def run(given: dict[str, Tensor]) -> Tensor:
        masks = (given["mask0"], given["mask1"]) if "mask0" in given else None
        return network(given["x"], given["s"], masks)

    check_network(fixture, network, convert.generator_layers, run)


def check_mapping(fixture: Fixture) -> None:
    """MappingNetwork."""
    network = convert.mapping(fixture.under("weights/"))
    check_network(fixture, network, convert.mapping_layers, lambda x: network(x["z"], x["y"]))


def check_style_encoder(fixture: Fixture) -> None:
    """StyleEncoder."""
    network = convert.style_encoder(fixture.under("weights/"))
    check_network(fixture, network, convert.style_encoder_layers, lambda x: network(x["x"], x["y"]))


def check_discriminator(fixture: Fixture) -> None:
    """Discriminator."""
    network = convert.discriminator(fixture.under("weights/"))
    check_network(fixture, network, convert.discriminator_layers, lambda x: network(x["x"], x["y"]))


def check_layers(fixture: Fixture) -> None:
    """AdaIN, high pass and both kinds of blocks alone."""
    settings = fixture.constructor
    x, style = fixture.tensors["input/x"], fixture.tensors["input/s"]
    weights = {name: fixture.under(f"weights/{name}/") for name in fixture.under("output/")}
    made = {"adain": convert.norm(weights["adain"])(x, style)}
    made["highpass"] = HighPass(settings["HighPass"]["w_hpf"])(x)
    plain = convert.block(weights["resblk"], settings["ResBlk"].get("downsample", False))
    made["resblk"] = plain(x)
    own = settings["AdainResBlk"]
    styled = convert.styled_block(
        weights["adainresblk"], own.get("upsample", False), own.get("w_hpf", 0) > 0
    )
    made["adainresblk"] = styled(x, style)
    for name, output in made.items():
        fixture.compare(f"output/{name}", output)


TERMS = {"real": "real", "fake": "fake", "reg": "penalty"}  # ours by the official names
TERMS |= {"adv": "adversarial", "sty": "style", "ds": "diversity", "cyc": "cycle"}


def system_of(fixture: Fixture) -> StarGANv2:
    """The system of the fixture's weights and settings."""
    settings, real = fixture.constructor, fixture.tensors["input/x_real"]
    names = tuple(str(number) for number in range(settings["num_domains"]))
    height, width = real.shape[-2:]
    return convert.starganv2(
        {name: fixture.under(f"weights/{name}/") for name in NETWORKS},
        Facts({"image": real.shape[1]}, (height, width), classes={"label": names}),
        high_pass=settings["w_hpf"],
        lambda_r1=settings["lambda_reg"],
        lambda_style=settings["lambda_sty"],
        lambda_cycle=settings["lambda_cyc"],
        lambda_diversity=settings["lambda_ds"],
    )


def batch_of(fixture: Fixture) -> Batch:
    """The fixture's batch."""
    given = fixture.under("input/")
    references = torch.stack([given["x_ref"], given["x_ref2"]], 1)
    labels = {"label": given["y_org"], "reference_label": given["y_trg"]}
    return {"image": given["x_real"], "reference": references, **labels}


def losses(system: StarGANv2, terms: Terms) -> Terms:
    """The terms without weights, by their official names, and what is minimised."""
    named = {"reg": "r1", "sty": "style", "ds": "diversity", "cyc": "cycle"}
    weights = {name: getattr(system.settings, f"lambda_{ours}") for name, ours in named.items()}
    weights["ds"] *= -1  # it is to be large
    told = {name: terms[ours] for name, ours in TERMS.items() if ours in terms}
    told = {name: term / weights.get(name, 1) for name, term in told.items()}
    return told | {"total": sum_of(terms)}


def check_losses(fixture: Fixture) -> None:
    """All turns of our system, their gradients, and the moving average."""
    noise = torch.stack([fixture.tensors[f"input/{name}"] for name in ("z_trg", "z_trg2")], 1)
    for way, turned in (("latent", "latent"), ("ref", "reference")):
        for learner, who in (("d", "discriminator"), ("g", "generator")):
            system, batch = system_of(fixture), batch_of(fixture)
            with patch("dragoman.systems.starganv2.torch.randn", lambda *_, **__: noise):
                drawn = system.share(batch, Progress(0, 100))
            terms = getattr(system, f"{who}_{turned}_loss")(batch, drawn)
            for name, term in losses(system, terms).items():
                fixture.compare(f"output/{way}/{learner}/{name}", term)
            sum_of(terms).backward()
            for name, layers in NETWORKS.items():
                start = f"grad_param_stats/{name} (of {learner} total, {way})/"
                if fixture.under(start):
                    network = system.get_submodule(name)
                    compare_gradients(fixture, network, layers(network), start)
    check_average(fixture)


class Still(System):
    """A system of one matrix that does not move."""

    def __init__(self, matrix: Tensor) -> None:
        super().__init__(None, Facts(channels={}, size=(1, 1)))
        self.generator = nn.Linear(matrix.shape[1], matrix.shape[0], bias=False)
        self.generator.weight.data.copy_(matrix)

    def stages(self, steps: int) -> list[Stage]:
        """One turn."""
        return [Stage("only", steps, [Turn(self.generator_loss, [self.generator])])]

    def generator_loss(self, batch: Batch, shared: Any) -> Terms:
        """Nothing to learn."""
        return {"nothing": 0 * self.generator.weight.sum()}


def check_average(fixture: Fixture) -> None:
    """The engine's moving average of weights after one step."""
    before, now = (fixture.tensors[f"input/ema/{name}"] for name in ("ema_before", "model"))
    settings = EngineSettings(
        precision="fp32", average=DECAY, average_warmup=False, device="cpu", deterministic=False
    )
    engine = Engine(Still(before), settings, 1)
    (stage,) = engine.stages
    engine.enter(stage)
    with torch.no_grad():
        engine.system.get_submodule("generator").get_parameter("weight").copy_(now)
    engine.take_step(stage, {"image": now})
    average = engine.average
    assert average is not None
    fixture.compare("output/ema/ema_after", average.get_parameter("generator.weight"))


CHECKS: dict[str, Callable[[Fixture], None]] = {
    "Generator": check_generator,
    "Generator (w_hpf>0, masks)": check_generator,
    "MappingNetwork": check_mapping,
    "StyleEncoder": check_style_encoder,
    "Discriminator": check_discriminator,
    "AdaIN, HighPass, ResBlk, AdainResBlk": check_layers,
    "compute_d_loss, compute_g_loss, adv_loss, r1_reg": check_losses,
}
