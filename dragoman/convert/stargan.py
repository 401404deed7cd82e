"""Official StarGAN weights (github.com/yunjey/stargan)."""

from typing import Any

from dragoman.convert.junyanz import STATISTICS
from dragoman.convert.renaming import State, convolutions, kernel, load, not_those, with_norms
from dragoman.errors import FileError
from dragoman.networks.stargan import StarGANDiscriminator, StarGANGenerator
from dragoman.system import Facts
from dragoman.systems.stargan import StarGAN, StarGANSettings


def generator(state: State, running: bool = False) -> StarGANGenerator:
    """Make a generator of an official `Generator`; all settings are read from it.

    running: keep the running statistics of its norms, by which it goes in evaluation then. The
    official code trains and translates by each picture's own, as a generator without them does.
    """
    if not running:
        state = {k: v for k, v in state.items() if k.rpartition(".")[2] not in STATISTICS}
    numbers = convolutions(state, r"main\.(\d+)")
    blocks = convolutions(state, r"main\.(\d+)\.main\.0")
    first = kernel(state, "main.0")
    if len(numbers) < 2 or len(numbers) % 2:
        raise not_those("an official Generator", state)
    last = kernel(state, f"main.{numbers[-1]}")
    channels, labels = last.shape[0], first.shape[1] - last.shape[0]
    if labels < 1:
        raise FileError(
            f"these weights read {first.shape[1]} channels and make {channels}, so that no labels "
            "are read beside the picture; check that the file holds a StarGAN generator"
        )
    network = StarGANGenerator(
        channels=channels,
        labels=labels,
        width=first.shape[0],
        blocks=len(blocks),
        depth=len(numbers) // 2 - 1,
        norm="running" if running else "instance",
    )
    return load(network, state, generator_layers(network))


def generator_layers(network: StarGANGenerator) -> dict[str, str]:
    """Official name of each layer of a generator, by ours."""
    depth, count = len(network.down), len(network.blocks)
    numbers = {"first": 0} | {f"down.{i}": 3 + 3 * i for i in range(depth)}
    start = 3 + 3 * depth
    numbers |= {f"up.{i}": start + count + 3 * i for i in range(depth)}
    layers = with_norms(numbers, "main")
    for index in range(count):
        for ours, number in (("conv1", 0), ("norm1", 1), ("conv2", 3), ("norm2", 4)):
            layers[f"blocks.{index}.{ours}"] = f"main.{start + index}.main.{number}"
    return layers | {"last": f"main.{start + count + 3 * depth}"}


def discriminator(state: State) -> StarGANDiscriminator:
    """Make a discriminator of an official `Discriminator`; all settings are read from it.

    Of the pictures' size the weights tell the sides of what is left after all halvings.
    """
    layers = len(convolutions(state, r"main\.(\d+)"))
    first, classes = kernel(state, "main.0"), kernel(state, "conv2")
    height, width = (side << layers for side in classes.shape[2:])
    network = StarGANDiscriminator(
        inputs=first.shape[1],
        labels=classes.shape[0],
        size=(height, width),
        width=first.shape[0],
        layers=layers,
    )
    return load(network, state, discriminator_layers(network))


def discriminator_layers(network: StarGANDiscriminator) -> dict[str, str]:
    """Official name of each layer of a discriminator, by ours."""
    layers = {f"layers.{i}": f"main.{2 * i}" for i in range(len(network.layers))}
    return layers | {"patches": "conv1", "classes": "conv2"}


def stargan(
    generator_state: State, discriminator_state: State, facts: Facts, **settings: Any
) -> StarGAN:
    """Make a StarGAN system of an official `Generator` and `Discriminator`.

    What the weights tell is read from them; further settings are those of `StarGANSettings`, such
    as `joint` for weights of CelebA, whose label sets must be those of the data in their order.
    Raises FileError if the networks do not belong to such data.
    """
    made, judge = generator(generator_state), discriminator(discriminator_state)
    read: dict[str, Any] = {
        "width": made.first.conv.out_channels,
        "depth": len(made.down),
        "blocks": len(made.blocks),
        "discriminator_width": judge.layers[0].get_parameter("weight").shape[0],
        "discriminator_layers": len(judge.layers),
    }
    system = StarGAN(StarGANSettings(**(read | settings)), facts)
    found, wanted = (
        (g.last.out_channels, g.labels, d.classes.out_channels, *d.left)
        for g, d in ((made, judge), (system.generator, system.discriminator))
    )
    if found != wanted:
        raise FileError(
            "these networks have {} channels, {} label numbers, {} class logits and {} x {} "
            "places that are left of a picture, but this data has ".format(*found)
            + "{}, {}, {} and {} x {}; name their label sets in domains, and joint=True for "
            "attributes".format(*wanted)
        )
    system.generator, system.discriminator = made, judge
    return system
