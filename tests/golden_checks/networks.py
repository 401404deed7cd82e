"""Networks of official weights give the official outputs, gradients and statistics."""

from torch import Tensor, nn

from dragoman.convert import junyanz
from golden_checks.fixture import Fixture


class Mask(nn.Module):
    """A dropout whose draw is known."""

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.mask = mask

    def forward(self, x: Tensor) -> Tensor:
        """Drop what the mask drops."""
        return x * self.mask


def network_of(fixture: Fixture, weights: dict[str, Tensor]) -> nn.Module:
    """Convert the fixture's weights, with the settings that leave no trace in them."""
    kind, settings = fixture.meta["source_class"], fixture.constructor
    dropout = 0.5 if settings.get("use_dropout") else 0.0
    if kind == "UnetGenerator":
        return junyanz.unet(weights, dropout=dropout)
    if kind == "ResnetGenerator":
        network = junyanz.resnet(weights, padding=settings["padding_type"])
        drops = any(isinstance(module, nn.Dropout) for module in network.modules())
        assert drops == bool(settings["use_dropout"]), "dropout is not as the official network's"
        return network
    return junyanz.discriminator(weights)


def check_network(fixture: Fixture) -> None:
    """Outputs, input gradients, parameter gradients and buffers in every stored mode."""
    modes = fixture.meta.get("modes", f'["{fixture.meta.get("mode", "eval")}"]')
    for mode in ("eval", "train"):
        if f'"{mode}"' not in modes:
            continue
        part = f"{mode}/" if f"output/{mode}/out" in fixture.tensors else ""
        network = network_of(fixture, fixture.under("weights/")).train(mode == "train")
        layers = junyanz.network_layers(network)
        ours = {official: name for name, official in layers.items()}
        for name, mask in fixture.under("input/dropout_mask/").items():
            network.set_submodule(ours[name], Mask(mask))
        x = fixture.tensors["input/x"].requires_grad_(True)
        x.grad = None
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
