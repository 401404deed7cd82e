"""Checks of the crn fixtures, by official class."""

from collections.abc import Callable

import torch
from torch import Tensor

from dragoman.convert import crn
from dragoman.system import Facts
from dragoman.systems.crn import CRN, OFFICIAL, OFFICIAL_LARGE, layout
from golden_checks.fixture import NEGLIGIBLE, Fixture

ENTRIES = {"weight": "weights", "bias": "biases"}


def check_generator_loss(fixture: Fixture) -> None:
    """Pictures, every term of the loss by picture and class, the loss, and all gradients."""
    weights = fixture.under("weights/")
    label = fixture.tensors["input/label"].permute(0, 3, 1, 2).contiguous()
    real = fixture.tensors["input/real"].permute(0, 3, 1, 2)
    batch = {"a": (2 * label - 1).requires_grad_(True), "b": real / 127.5 - 1}
    facts = Facts({"a": label.shape[1], "b": 3}, (label.shape[2], label.shape[3]))
    official = (
        OFFICIAL if "256p" in fixture.meta["source_file"] else OFFICIAL_LARGE
    )  # sizes are shrunk
    layers = ",".join(f"{name}={weight}" for name, weight in official.items())
    system = crn.system(weights, facts, fixture.under("weights/vgg/"), perceptual_layers=layers)
    made = system.made(batch)
    shown = ((made + 1) / 2 * 255).flatten(0, 1).permute(0, 2, 3, 1)
    fixture.compare("output/images", shown)
    terms = system.generator_loss(batch, made)
    loss = torch.stack(list(terms.values())).sum()
    fixture.compare("output/G_loss", loss)
    check_terms(fixture, system, batch, made)
    loss.backward()
    check_parameters(fixture, system, weights)
    if "grad/label" in fixture.tensors:
        assert batch["a"].grad is not None
        fixture.compare("grad/label", 2 * batch["a"].grad.permute(0, 2, 3, 1))


def check_terms(fixture: Fixture, system: CRN, batch: dict[str, Tensor], made: Tensor) -> None:
    """The weighted terms p0, p1, ..., each of one value, or of one for each picture and class."""
    names = sorted(fixture.under("output/p"), key=int)
    by_class = fixture.tensors["output/p0"].ndim == 2
    with torch.no_grad():
        errors = system.errors(batch, made, layout(batch) if by_class else None)
    for number, (name, weight) in zip(names, system.weights().items(), strict=True):
        ours = (weight * errors[name])[0]
        fixture.compare(f"output/p{number}", ours if by_class else ours.mean())


def check_parameters(fixture: Fixture, system: CRN, weights: dict[str, Tensor]) -> None:
    """The gradients of all parameters of the generator."""
    parameters = dict(system.generator.named_parameters())
    layers = crn.crn_layers(crn.module_sizes(crn.renamed(weights)))
    stats = fixture.under("grad_param_stats/")
    largest = max(float(one[2]) for one in stats.values())
    for name, parameter in parameters.items():
        layer, _, entry = name.rpartition(".")
        official = layers[layer]
        if official.endswith("LayerNorm"):
            entry = {"weight": "gamma", "bias": "beta"}[entry]
        key = f"{official}/{ENTRIES.get(entry, entry)}"
        gradient = parameter.grad
        assert gradient is not None, f"no gradient reached {name}"
        if float(stats[key][2]) < NEGLIGIBLE * largest:
            fixture.compared.add(f"grad_param_stats/{key}")
            continue
        ours = torch.stack([gradient.sum(), gradient.norm(), gradient.abs().max()])
        fixture.compare(f"grad_param_stats/{key}", ours)


CHECKS: dict[str, Callable[[Fixture], None]] = {
    "recursive_generator, build_vgg19, compute_error (diversity loss)": check_generator_loss,
}
