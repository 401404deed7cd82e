"""Checks of the cut fixtures (contrastive-unpaired-translation), by official class."""

from collections.abc import Callable

from torch import Tensor, nn

from dragoman.convert import cut
from dragoman.losses import contrastive
from dragoman.networks.resnet import ResNetGenerator
from golden_checks.fixture import Fixture
from golden_checks.losses import leaf
from golden_checks.pix2pixhd import Outputs, check_modes


def check_generator(fixture: Fixture) -> None:
    """The picture, the tapped layers and the gradients of them all."""
    settings = fixture.constructor
    numbers = sorted({number for number in settings.get("nce_layers") or [] if number >= 0})

    def make() -> ResNetGenerator:
        return cut.generator(fixture.under("weights/"), settings.get("padding_type"))

    def run(network: nn.Module, x: Tensor) -> Outputs:
        assert isinstance(network, ResNetGenerator)
        # all in one passage, as statistics of batch norms take every passage in
        *heard, last = network.features(x, [*cut.taps(network, numbers), "last"])
        tapped = zip(numbers, heard, strict=True)
        return {"out": last.tanh()} | {f"feat{number}": feature for number, feature in tapped}

    check_modes(fixture, make, cut.generator_layers, run)


def check_patch_nce(fixture: Fixture) -> None:
    """Vectors of the heads, the loss of every patch, and the gradients of features and heads."""
    settings, given = fixture.constructor, fixture.under("input/")
    heads = cut.heads(fixture.under("weights/"))
    count = len(fixture.under("input/feat_q/"))
    places = [given[f"patch_ids/{layer}"].long() for layer in range(count)]
    queries = [leaf(given[f"feat_q/{layer}"]) for layer in range(count)]
    keys = [given[f"feat_k/{layer}"] for layer in range(count)]
    made = {"q": heads(queries, places), "k": heads(keys, places)}
    how = (settings["nce_T"], settings["nce_includes_all_negatives_from_minibatch"])
    for layer in range(count):
        for name, vectors in made.items():
            fixture.compare(f"output/samples_{name}/{layer}", vectors[layer].flatten(0, 1))
        each = contrastive.contrast(made["q"][layer], made["k"][layer], *how)
        fixture.compare(f"output/loss_per_patch/{layer}", each.flatten())
    loss = contrastive.patch_nce(made["q"], made["k"], *how)
    fixture.compare("output/loss", loss)
    loss.backward()
    for layer, query in enumerate(queries):
        assert query.grad is not None
        fixture.compare(f"grad/feat_q/{layer}", query.grad)
    if fixture.under("grad_param_stats/"):
        fixture.compare_gradients(heads, cut.heads_layers(heads))


CHECKS: dict[str, Callable[[Fixture], None]] = {
    "ResnetGenerator": check_generator,
    "PatchSampleF + PatchNCELoss": check_patch_nce,
}
