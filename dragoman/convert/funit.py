"""Official FUNIT weights (github.com/NVlabs/FUNIT)."""

from typing import Any

from dragoman.convert import munit
from dragoman.convert.junyanz import without_stale_statistics
from dragoman.convert.renaming import State, how_many, load, weight
from dragoman.errors import FileError
from dragoman.networks.funit import ClassPatchDiscriminator, FewShotGenerator, Residual
from dragoman.networks.munit import Activation
from dragoman.networks.resnet import Padding
from dragoman.system import Facts
from dragoman.systems.funit import FUNIT, FUNITSettings

CLASS, CONTENT, DECODER = "enc_class_model", "enc_content", "dec"  # official names of parts


def generator(
    state: State, activation: Activation = "relu", padding: Padding = "reflect"
) -> FewShotGenerator:
    """Make a generator of an official `FewShotGen`; widths, depths and blocks are read from it.

    activation and padding, which the official code sets to "relu" and "reflect", leave no trace.
    """
    # AdaINs have statistics that nobody reads.
    state = without_stale_statistics(state)
    first, linear = weight(state, f"{CONTENT}.model.0.conv"), weight(state, "mlp.model.0.fc", 2)
    halvings = how_many(state, rf"{CLASS}\.model\.(\d+)\.conv\.") - 1
    network = FewShotGenerator(
        channels=first.shape[1],
        latent=weight(state, f"{CLASS}.model.{halvings + 2}").shape[0],
        width=first.shape[0],
        depth=how_many(state, rf"{CONTENT}\.model\.(\d+)\.conv\.") - 1,
        blocks=how_many(state, rf"{DECODER}\.model\.0\.model\.(\d+)\."),
        class_depth=halvings,
        mapping_width=linear.shape[0],
        mapping_layers=how_many(state, r"mlp\.model\.(\d+)\."),
        activation=activation,
        padding=padding,
    )
    return load(network, state, generator_layers(network))


def generator_layers(network: FewShotGenerator) -> dict[str, str]:
    """Official name of each layer of a generator, by ours."""
    layers = munit.content_layers(network.content, "content.", CONTENT)
    layers |= munit.style_layers(network.class_encoder, "class_encoder.", CLASS)
    layers |= munit.decoder_layers(network.decoder, "decoder.", DECODER)
    return layers | munit.mapping_layers(len(network.mapping.layers))


def discriminator(state: State) -> ClassPatchDiscriminator:
    """Make a discriminator of an official `GPPatchMcResDis`; all settings are read from it."""
    first, last = weight(state, "cnn_f.0.conv"), weight(state, "cnn_c.0.conv")
    blocks = how_many(state, r"cnn_f\.(\d+)\.conv_0\.")
    if not blocks or blocks % 2:
        raise FileError(
            f"these weights have {blocks} residual blocks 'cnn_f', where an official "
            "GPPatchMcResDis has them in pairs; check that the file holds a discriminator"
        )
    network = ClassPatchDiscriminator(
        channels=first.shape[1],
        classes=last.shape[0],
        width=first.shape[0],
        levels=blocks // 2,
        max_width=last.shape[1],
    )
    return load(network, state, discriminator_layers(network))


def discriminator_layers(network: ClassPatchDiscriminator) -> dict[str, str]:
    """Official name of each layer of a discriminator, by ours."""
    layers = {"first": "cnn_f.0.conv", "last": "cnn_c.0.conv"}
    for index, block in enumerate(network.blocks):
        assert isinstance(block, Residual)
        official = f"cnn_f.{1 + index % 2 + 4 * (index // 2)}"  # a frame and a mean after each pair
        layers |= {f"blocks.{index}.conv{n}": f"{official}.conv_{n - 1}.conv" for n in (1, 2)}
        layers[f"blocks.{index}.shortcut"] = f"{official}.conv_s.conv"
    return layers


def funit(
    generator_state: State, discriminator_state: State, facts: Facts, **settings: Any
) -> FUNIT:
    """Make a FUNIT system of an official `FewShotGen` and `GPPatchMcResDis`, ready to train on.

    What the weights tell is read from them; further settings are those of `FUNITSettings`. Raises
    FileError if the networks do not belong to such data.
    """
    made, judge = generator(generator_state), discriminator(discriminator_state)
    linear = made.mapping.layers[0].get_parameter("weight")
    read: dict[str, Any] = {
        "width": made.content.first.conv.out_channels,
        "depth": len(made.content.down),
        "blocks": len(made.decoder.blocks),
        "class_depth": len(made.class_encoder.down),
        "latent": linear.shape[1],
        "mapping_width": linear.shape[0],
        "mapping_layers": len(made.mapping.layers),
        "discriminator_width": judge.first.out_channels,
        "discriminator_depth": len(judge.blocks) // 2,
        "max_width": judge.last.in_channels,
    }
    system = FUNIT(FUNITSettings(**(read | settings)), facts)
    found, wanted = (
        (g.content.first.conv.in_channels, d.last.out_channels)
        for g, d in ((made, judge), (system.generator, system.discriminator))
    )
    if found != wanted:
        raise FileError(
            "these networks are for {} channels and {} classes, but this data has ".format(*found)
            + "{} and {}; name its label set in domains".format(*wanted)
        )
    system.generator, system.discriminator = made, judge
    return system
