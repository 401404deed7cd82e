"""Checks of the stargan fixtures, by official class."""

from collections.abc import Callable
from functools import partial
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

from dragoman.convert import renaming, stargan
from dragoman.losses.penalties import gradient_penalty
from dragoman.system import Facts, Terms
from dragoman.systems.stargan import StarGAN
from golden_checks.fixture import Fixture
from golden_checks.losses import leaf
from golden_checks.steps import Steps, stored_steps


def modes_of(fixture: Fixture) -> list[str]:
    """The stored modes."""
    stored = fixture.meta.get("modes", f'["{fixture.meta.get("mode", "eval")}"]')
    return [mode for mode in ("eval", "train") if f'"{mode}"' in stored]


def check_modes(
    fixture: Fixture,
    make: Callable[[], nn.Module],
    layers: Callable[[Any], dict[str, str]],
    run: Callable[[Any, dict[str, Tensor]], Terms],
) -> None:
    """Compare outputs, gradients and buffers of a network in every stored mode."""
    cotangents = fixture.under("input/cotangent/")
    for mode in modes_of(fixture):
        part = f"{mode}/" if fixture.under(f"output/{mode}/") else ""
        network = make().train(mode == "train")
        inputs = {k: v for k, v in fixture.under("input/").items() if not k.startswith("cotangent")}
        inputs = {k: leaf(v) if v.is_floating_point() else v for k, v in inputs.items()}
        made = run(network, inputs)
        for name, output in made.items():
            fixture.compare(f"output/{part}{name}", output)
        if cotangents:  # that of a single output is named by its number
            pulled = made if set(made) <= set(cotangents) else {"0": next(iter(made.values()))}
            torch.stack([(pulled[k] * c).sum() for k, c in cotangents.items()]).sum().backward()
            for key in fixture.under(f"grad/{part}"):
                gradient = inputs[key].grad
                assert gradient is not None
                fixture.compare(f"grad/{part}{key}", gradient)
            if fixture.meta.get("grad_param_stats_mode") == mode:
                fixture.compare_gradients(network, layers(network))
        if mode == "train":
            fixture.compare_state(network, layers(network))


def check_generator(fixture: Fixture) -> None:
    """Generator, by its running statistics in evaluation."""
    check_modes(
        fixture,
        lambda: stargan.generator(fixture.under("weights/"), running=True),
        stargan.generator_layers,
        lambda network, given: {"out": network(given["x"], given["c"])},
    )
    x, label = fixture.tensors["input/x"], fixture.tensors["input/c"]
    if "output/train/out" in fixture.tensors:  # what one goes by that keeps none
        made = stargan.generator(fixture.under("weights/")).eval()(x, label)
        fixture.compare("output/train/out", made)


def check_discriminator(fixture: Fixture) -> None:
    """Discriminator: logits of patches and of classes."""
    check_modes(
        fixture,
        lambda: stargan.discriminator(fixture.under("weights/")),
        stargan.discriminator_layers,
        lambda network, given: dict(zip(("src", "cls"), network(given["x"]), strict=True)),
    )


TERMS = {"cls": "classes", "rec": "cycle", "gp": "penalty"}  # ours by the official names
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def system_of(fixture: Fixture) -> StarGAN:
    """The system of the fixture's weights and settings."""
    settings, real = fixture.constructor, fixture.tensors["input/x_real"]
    names = tuple(str(number) for number in range(settings["c_dim"]))
    attributes = fixture.tensors["input/label_org"].ndim == 2  # or one class of several
    classes: dict[str, tuple[str, ...]] = {"label": names}
    if attributes:
        classes = dict.fromkeys(names, ("no", "yes"))
    height, width = real.shape[-2:]
    return stargan.stargan(
        fixture.under("weights/G/"),
        fixture.under("weights/D/"),
        Facts({"image": real.shape[1]}, (height, width), classes=classes),
        domains="+".join(classes),
        joint=attributes,
        n_critic=settings["n_critic"],
        lambda_classes=settings["lambda_cls"],
        lambda_cycle=settings["lambda_rec"],
        lambda_penalty=settings["lambda_gp"],
        lr=settings["g_lr"],
        lr_discriminator=settings["d_lr"],
        beta1=settings["betas"][0],
    )


def losses(system: StarGAN, learner: str, terms: Terms) -> Terms:
    """The official, unweighted terms of a turn by their official names."""
    weights = {name: getattr(system.settings, f"lambda_{ours}") for name, ours in TERMS.items()}
    told = {name: terms[ours] / weights[name] for name, ours in TERMS.items() if ours in terms}
    if learner == "G":
        return told | {"fake": terms["adversarial"]}
    return told | {name: terms[name] for name in ("real", "fake")}


def check_training(fixture: Fixture) -> None:
    """The official training loop, by our system and engine, in float32 and in float64."""
    check_trace(fixture, torch.float32, "output/")
    check_trace(fixture, torch.float64, "output64/")


def check_trace(fixture: Fixture, dtype: torch.dtype, prefix: str) -> None:
    """Every stored loss, and the weights after each step of which they are stored."""
    system = system_of(fixture).to(dtype)
    steps = Steps(system)
    labels = fixture.tensors["input/label_org"].long()
    named = {"labels": labels, "label": labels[:, 0]} if labels.ndim == 2 else {"label": labels}
    batch = {"image": fixture.tensors["input/x_real"].to(dtype), **named}
    for step in stored_steps(fixture, prefix):
        draws = fixture.under(f"input/step{step}/")
        mixed = partial(gradient_penalty, mix=draws["alpha"].to(dtype))
        with (
            patch("dragoman.systems.stargan.shuffled", lambda _, order=draws["rand_idx"]: order),
            patch("dragoman.systems.stargan.gradient_penalty", mixed),
        ):
            heard = steps.take(batch)
        assert ("generator" in heard) == (step % system.settings.n_critic == 0)
        start = f"{prefix}step{step}/"
        for turn, terms in heard.items():
            learner = turn[0].upper()
            for name, term in losses(system, learner, terms).items():
                if f"{start}{learner}/loss_{name}" in fixture.tensors:
                    fixture.compare(f"{start}{learner}/loss_{name}", term)
        compare_weights(fixture, start, system.generator, stargan.generator_layers)
        compare_weights(fixture, start, system.discriminator, stargan.discriminator_layers)


def compare_weights(
    fixture: Fixture, start: str, network: nn.Module, layers: Callable[[Any], dict[str, str]]
) -> None:
    """Compare [sum, L2 norm] of every stored tensor of a network."""
    name = "G" if layers is stargan.generator_layers else "D"
    named, state = renaming.our_keys(network, layers(network)), network.state_dict()
    for key in fixture.under(f"{start}weight_stats/{name}/"):
        if key.rpartition(".")[2] in STATISTICS:  # which the official code keeps and never uses
            fixture.compared.add(f"{start}weight_stats/{name}/{key}")
            continue
        ours = state[named[key]].double()
        stats = torch.stack([ours.sum(), ours.norm()])
        fixture.compare(f"{start}weight_stats/{name}/{key}", stats)


CHECKS: dict[str, Callable[[Fixture], None]] = {
    "Generator": check_generator,
    "Discriminator": check_discriminator,
    "Solver.train": check_training,
}
