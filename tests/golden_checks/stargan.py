"""Checks of the stargan fixtures, by official class."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from dragoman.convert import renaming, stargan
from dragoman.engine import sum_of
from dragoman.losses.adversarial import discriminator_terms, generator_term
from dragoman.losses.classification import classification
from dragoman.losses.distances import l1
from dragoman.losses.penalties import gradient_penalty
from dragoman.networks.label_vector import label_vector
from dragoman.system import Terms
from golden_checks.fixture import Fixture
from golden_checks.losses import leaf


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
            named, state = renaming.our_keys(network, layers(network)), network.state_dict()
            for key in fixture.under("state_after/"):
                fixture.compare(f"state_after/{key}", state[named[key]])


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


class Solver:
    """The official training loop: a step of the discriminator, some with one of the generator."""

    def __init__(self, fixture: Fixture, dtype: torch.dtype) -> None:
        self.settings: dict[str, Any] = fixture.constructor
        weights = {name: fixture.under(f"weights/{name}/") for name in "GD"}
        self.generator = stargan.generator(weights["G"], running=True).to(dtype)
        self.discriminator = stargan.discriminator(weights["D"]).to(dtype)
        self.real = fixture.tensors["input/x_real"].to(dtype)
        labels, count = fixture.tensors["input/label_org"], self.settings["c_dim"]
        binary = labels.ndim == 2  # attributes, or one class of several
        self.labels = labels.long() if binary else labels[:, None]
        self.widths = (1,) * count if binary else (count,)
        self.optimizers: dict[nn.Module, torch.optim.Adam] = {
            network: torch.optim.Adam(
                network.parameters(), self.settings[f"{short}_lr"], tuple(self.settings["betas"])
            )
            for short, network in (("g", self.generator), ("d", self.discriminator))
        }

    def discriminator_terms(self, target: Tensor, mix: Tensor) -> Terms:
        """What D minimises, without weights: -L_adv with its penalty, and the classes of reals."""
        judged, classes = self.discriminator(self.real)
        fake = self.generator(self.real, label_vector(target, self.widths)).detach()
        terms = discriminator_terms("wasserstein", judged, self.discriminator(fake)[0])
        penalty = gradient_penalty(lambda x: self.discriminator(x)[0], self.real, fake, mix)
        return terms | {"gp": penalty, "cls": classification(classes, self.labels, self.widths)}

    def generator_terms(self, target: Tensor) -> Terms:
        """What G minimises, without weights: L_adv, the wanted classes of fakes, the way back."""
        fake = self.generator(self.real, label_vector(target, self.widths))
        judged, classes = self.discriminator(fake)
        again = self.generator(fake, label_vector(self.labels, self.widths))
        return {
            "fake": generator_term("wasserstein", judged),
            "rec": l1(again, self.real),
            "cls": classification(classes, target, self.widths),
        }

    def update(self, network: nn.Module, terms: Terms) -> None:
        """Take one step of Adam down the weighted sum."""
        weighted = {k: self.settings.get(f"lambda_{k}", 1) * v for k, v in terms.items()}
        self.optimizers[network].zero_grad()
        sum_of(weighted).backward(inputs=list(network.parameters()))
        self.optimizers[network].step()


def check_training(fixture: Fixture) -> None:
    """The official training loop in float32 and in float64."""
    check_trace(fixture, torch.float32, "output/")
    check_trace(fixture, torch.float64, "output64/")


def check_trace(fixture: Fixture, dtype: torch.dtype, prefix: str) -> None:
    """Every stored loss, and the weights after each step of which they are stored."""
    solver = Solver(fixture, dtype)
    steps = {int(key.split("/")[0][4:]) for key in fixture.under(prefix) if key.startswith("step")}
    for step in range(1, max(steps) + 1):
        draws = fixture.under(f"input/step{step}/")
        target = solver.labels[draws["rand_idx"]]
        heard = {"D": solver.discriminator_terms(target, draws["alpha"].to(dtype))}
        solver.update(solver.discriminator, heard["D"])
        if step % solver.settings["n_critic"] == 0:
            heard["G"] = solver.generator_terms(target)
            solver.update(solver.generator, heard["G"])
        start = f"{prefix}step{step}/"
        for learner, terms in heard.items():
            for name, term in terms.items():
                if f"{start}{learner}/loss_{name}" in fixture.tensors:
                    fixture.compare(f"{start}{learner}/loss_{name}", term)
        compare_weights(fixture, start, solver.generator, stargan.generator_layers)
        compare_weights(fixture, start, solver.discriminator, stargan.discriminator_layers)


def compare_weights(
    fixture: Fixture, start: str, network: nn.Module, layers: Callable[[Any], dict[str, str]]
) -> None:
    """Compare [sum, L2 norm] of every stored tensor of a network."""
    name = "G" if layers is stargan.generator_layers else "D"
    named, state = renaming.our_keys(network, layers(network)), network.state_dict()
    for key in fixture.under(f"{start}weight_stats/{name}/"):
        ours = state[named[key]].double()
        stats = torch.stack([ours.sum(), ours.norm()])
        fixture.compare(f"{start}weight_stats/{name}/{key}", stats)


CHECKS: dict[str, Callable[[Fixture], None]] = {
    "Generator": check_generator,
    "Discriminator": check_discriminator,
    "Solver.train": check_training,
}
