"""Losses, penalties, history and schedules give the official numbers."""

import torch
from torch import Tensor

from dragoman import schedules
from dragoman.convert import junyanz
from dragoman.losses import adversarial, distances, penalties
from dragoman.losses.adversarial import Adversarial
from dragoman.losses.history import History
from golden_checks.fixture import Fixture, Unsupported

OBJECTIVES: dict[str, Adversarial] = {  # by the names of the official codes
    "vanilla": "nonsaturating",
    "original": "nonsaturating",
    "dcgan": "nonsaturating",
    "wgan_softplus": "nonsaturating",
    "lsgan": "least_squares",
    "ls": "least_squares",
    "hinge": "hinge",
    "wgangp": "wasserstein",
    "wgan": "wasserstein",
    "w": "wasserstein",
}


def leaf(x: Tensor) -> Tensor:
    """A copy that gathers its own gradient."""
    return x.detach().clone().requires_grad_(True)


def objective(name: str) -> Adversarial:
    """Our name of an official objective."""
    if name not in OBJECTIVES:
        raise Unsupported(f"adversarial objective '{name}'")
    return OBJECTIVES[name]


def check_junyanz_loss(fixture: Fixture) -> None:
    """GANLoss: the discriminator's terms with any labels, and their gradients."""
    settings = fixture.constructor
    labels = {"real": settings["target_real_label"], "fake": settings["target_fake_label"]}
    for key in fixture.under("output/loss/"):
        mode, target = key.split("/")
        kind, prediction = objective(mode), leaf(fixture.tensors["input/prediction"])
        smooth = (labels["real"], labels["fake"]) if kind in adversarial.LABELLED else (1.0, 0.0)
        term = adversarial.discriminator_terms(kind, prediction, prediction, *smooth)[target]
        term.backward()
        fixture.compare(f"output/loss/{key}", term)
        assert prediction.grad is not None
        fixture.compare(f"grad/{key}", prediction.grad)


def check_gradient_penalty(fixture: Fixture) -> None:
    """Slopes and penalty at reals, fakes and between, and how the penalty teaches the critic."""
    settings = fixture.constructor
    weights = fixture.under("weights/netD/")
    inputs = fixture.under("input/")
    real, fake = inputs["real"], inputs["fake"]
    for where in sorted({key.split("/")[0] for key in fixture.under("output/")}):
        critic = junyanz.discriminator(weights)
        ends = {"real": torch.ones(len(real)), "fake": torch.zeros(len(real))}
        mix = ends[where] if where in ends else inputs["alpha"]
        penalty = settings["lambda_gp"] * penalties.gradient_penalty(
            critic, real, fake, mix=mix, target=settings["constant"]
        )
        fixture.compare(f"output/{where}/penalty", penalty)
        between = mix.view(-1, 1, 1, 1) * real + (1 - mix.view(-1, 1, 1, 1)) * fake
        fixture.compare(f"output/{where}/gradients", penalties.slope(critic, between))
        if where == "mixed":
            penalty.backward()
            layers = junyanz.network_layers(critic)
            fixture.compare_gradients(critic, layers, "netD/")


def check_image_pool(fixture: Fixture) -> None:
    """The history shows the fakes that the official pool shows, given the same draws."""
    size = fixture.constructor["pool_size"]
    uniform, index = fixture.tensors["input/uniform_trace"], fixture.tensors["input/randint_trace"]
    choices = ((p > 0.5, int(i)) for p, i in zip(uniform.tolist(), index.tolist(), strict=True))
    history, batch = History(size), int(fixture.meta["batch"])
    shown = []
    for query in range(int(fixture.meta["queries"])):
        ids = torch.arange(query * batch, (query + 1) * batch).float()
        shown.append(history(ids.view(-1, 1, 1, 1).expand(-1, 3, 2, 2), choices)[:, 0, 0, 0])
    fixture.compare("output/returned", torch.stack(shown), tolerance=0.0)
    if "output/pool_contents_after" in fixture.tensors:
        contents = torch.tensor([x.flatten()[0] for x in history.pictures[: int(history.count)]])
        fixture.compare("output/pool_contents_after", contents, tolerance=0.0)


def check_schedule(fixture: Fixture) -> None:
    """The learning rate's factor after each epoch."""
    settings, epochs = fixture.constructor, len(fixture.tensors["output/lr_factor"])
    policy, constant = settings["lr_policy"], settings["n_epochs"]
    if policy == "linear":
        counts = (constant, settings["n_epochs_decay"], settings["epoch_count"])
        ours = [schedules.linear_by_epoch(epoch, *counts) for epoch in range(epochs)]
    elif policy == "cosine":
        ours = [schedules.cosine(epoch / constant) for epoch in range(epochs)]
    elif policy == "step":
        falls = tuple(range(settings["lr_decay_iters"], epochs + 1, settings["lr_decay_iters"]))
        ours = [schedules.step(epoch, at=falls, factor=0.1) for epoch in range(epochs)]
    else:
        raise Unsupported(f"learning rate policy '{policy}'")
    fixture.compare("output/lr_factor", torch.tensor(ours))


def check_biggan_losses(fixture: Fixture) -> None:
    """Hinge and DCGAN losses."""
    real, fake = fixture.tensors["input/dis_real"], fixture.tensors["input/dis_fake"]
    for name in {key.split("/")[0] for key in fixture.under("output/")}:
        terms = adversarial.discriminator_terms(objective(name), real, fake)
        terms["gen"] = adversarial.generator_term(objective(name), fake)
        for key, term in terms.items():
            fixture.compare(f"output/{name}/{key}", term)


def check_biggan_orthogonal(fixture: Fixture) -> None:
    """The orthogonal penalty; the official gradient is half of that of the value."""
    strength = fixture.constructor["strength"]
    for name, weight in fixture.under("weights/").items():
        if weight.ndim < 2:
            continue
        for variant in ("ortho", "default_ortho"):
            learned = leaf(weight)
            value = penalties.orthogonal([learned], diagonal=variant == "default_ortho")
            (strength / 2 * value).backward()
            assert learned.grad is not None
            fixture.compare(f"output/{variant}/grad/{name}", learned.grad)
            if variant == "ortho":
                fixture.compare(f"output/penalty_value/{name}", value)


def check_sr_loss(fixture: Fixture) -> None:
    """GANLoss of BasicSR, for discriminator (D) and generator (G, weighted)."""
    for key in fixture.under("output/loss/"):
        name, target, learner = key.split("/")
        kind, prediction = objective(name), leaf(fixture.tensors["input/pred"])
        if learner == "G" and (target == "real" or kind == "hinge"):
            term = adversarial.generator_term(kind, prediction)
        else:
            term = adversarial.discriminator_terms(kind, prediction, prediction)[target]
        term = term * (fixture.constructor["loss_weight"] if learner == "G" else 1.0)
        term.backward()
        fixture.compare(f"output/loss/{key}", term)
        assert prediction.grad is not None
        fixture.compare(f"grad/{key}", prediction.grad)


def check_spade_losses(fixture: Fixture) -> None:
    """GANLoss averaged over scales, and the KL divergence summed over the batch."""
    scales = fixture.under("input/pred_")
    for key in fixture.under("output/loss/"):
        name, target, learner = key.split("/")
        kind, logits = objective(name), {scale: leaf(x) for scale, x in scales.items()}
        terms = [
            adversarial.generator_term(kind, x)
            if learner == "G"
            else adversarial.discriminator_terms(kind, x, x)[target]
            for x in logits.values()
        ]
        term = torch.stack(terms).mean()
        term.backward()
        fixture.compare(f"output/loss/{key}", term)
        for scale, x in logits.items():
            assert x.grad is not None
            fixture.compare(f"grad/{key}/pred_{scale}", x.grad)
    mean, log_variance = leaf(fixture.tensors["input/mu"]), leaf(fixture.tensors["input/logvar"])
    divergence = len(mean) * distances.kl_normal(mean, log_variance)
    divergence.backward()
    fixture.compare("output/kld", divergence)
    for name, x in (("mu", mean), ("logvar", log_variance)):
        assert x.grad is not None
        fixture.compare(f"grad/{name}", x.grad)
