"""Official DiscoGAN weights (github.com/SKTBrain/DiscoGAN)."""

from torch import nn

from dragoman.convert.renaming import State, convolutions, load, weight
from dragoman.errors import FileError
from dragoman.networks.discogan import DiscoDiscriminator, DiscoGenerator


def generator(state: State, bottleneck: bool | None = None) -> DiscoGenerator:
    """Make a generator of an official `Generator`, with or without extra layers.

    Channels, width, depth and extra layers are read from it.

    bottleneck: whether there are extra layers; by default there are if the innermost layer does
    not double the channels, as officially with 100 ones.
    """
    numbers = convolutions(state, r"main\.(\d+)")
    if len(numbers) < 4 or len(numbers) % 2:
        raise FileError(
            f"these weights have {len(numbers)} convolutions named 'main', where an official "
            "Generator has an even number of at least 4; check that the file holds a generator"
        )
    first, last = (weight(state, f"main.{n}") for n in (numbers[0], numbers[-1]))
    half = len(numbers) // 2
    inmost = weight(state, f"main.{numbers[half - 1]}")
    if bottleneck is None:
        bottleneck = inmost.shape[0] != 2 * inmost.shape[1]
    network = DiscoGenerator(
        inputs=first.shape[1],
        outputs=last.shape[1],
        width=first.shape[0],
        depth=half - bottleneck,
        bottleneck=inmost.shape[0] if bottleneck else 0,
    )
    return load(network, state, generator_layers(network))


def generator_layers(network: DiscoGenerator) -> dict[str, str]:
    """Official name of each layer of a generator, by ours."""
    ours = [f"down.{index}" for index in range(len(network.down))]
    ours += ["squeeze", "spread"] if network.squeeze is not None else []
    ours += [f"up.{index}" for index in range(len(network.up))]
    layers = {"last": f"main.{3 * len(ours) - 1}"}
    for index, name in enumerate(ours):
        layers[f"{name}.conv"] = f"main.{max(0, 3 * index - 1)}"
        layers[f"{name}.norm"] = f"main.{3 * index}"
    return layers


def discriminator(state: State) -> DiscoDiscriminator:
    """Make a discriminator of an official `Discriminator`; all settings are read from it."""
    numbers = convolutions(state, r"conv(\d+)")
    first = weight(state, "conv1")
    network = DiscoDiscriminator(first.shape[1], first.shape[0], max(1, len(numbers) - 1))
    return load(network, state, discriminator_layers(network))


def discriminator_layers(network: DiscoDiscriminator) -> dict[str, str]:
    """Official name of each layer of a discriminator, by ours."""
    count = len(network.layers)
    layers = {f"layers.{index}.conv": f"conv{index + 1}" for index in range(count)}
    layers |= {f"layers.{index}.norm": f"bn{index + 1}" for index in range(count)}
    return layers | {"last": f"conv{count + 1}"}


def network_layers(network: nn.Module) -> dict[str, str]:
    """Official name of each layer of a network that this file can make, by ours."""
    if isinstance(network, DiscoGenerator):
        return generator_layers(network)
    assert isinstance(network, DiscoDiscriminator)
    return discriminator_layers(network)
