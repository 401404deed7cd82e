"""FUNIT: pictures as of a class that a few examples show, also of one never seen in training."""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer, RMSprop

from dragoman import controls as choices
from dragoman.errors import SettingsError
from dragoman.losses.adversarial import discriminator_terms, generator_term
from dragoman.losses.distances import l1
from dragoman.losses.feature_matching import place_means
from dragoman.losses.penalties import r1_and_outputs
from dragoman.many_domain import DomainSettings, IntoDomain, OneSet
from dragoman.networks.blocks import initialise
from dragoman.networks.funit import ClassPatchDiscriminator, FewShotGenerator
from dragoman.settings import knob
from dragoman.styled import Styled
from dragoman.system import Batch, Facts, Progress, Stage, Terms, Turn

TOGETHER = 16  # examples that are encoded at a time


@dataclass(frozen=True)
class FUNITSettings(DomainSettings):
    """Knobs of FUNIT; the defaults are the official implementation's for animal faces."""

    examples: int = knob(
        1, "pictures of the wanted class that it is shown in training and when it is judged", 1, 100
    )
    width: int = knob(64, "channels of the first layer of the generator's encoders", 1, 1024)
    depth: int = knob(3, "halvings ahead of the content code", 1, 8)
    blocks: int = knob(2, "residual blocks of the content encoder, and of the decoder", 0, 100)
    class_depth: int = knob(4, "halvings of the class encoder", 1, 8)
    latent: int = knob(64, "length of the class code", 1, 4096)
    mapping_width: int = knob(256, "channels of the layers between class code and norms", 1, 4096)
    mapping_layers: int = knob(3, "linear layers between class code and norms", 1, 16)
    discriminator_width: int = knob(64, "channels of the discriminator's first layer", 1, 1024)
    discriminator_depth: int = knob(
        5, "pairs of residual blocks of the discriminator; between pairs sides are halved", 1, 10
    )
    max_width: int = knob(1024, "channels of the discriminator's widest layers", 1, 8192)
    lambda_adversarial: float = knob(1.0, "weight of the adversarial terms, of both networks", 0)
    lambda_matching: float = knob(1.0, "weight of the features that fakes should have", 0)
    lambda_reconstruction: float = knob(0.1, "weight of the picture made anew as of its class", 0)
    lambda_slope: float = knob(
        10.0, "weight of the square of the discriminator's slope at the examples", 0
    )
    lr: float = knob(1e-4, "learning rate of RMSprop", 0)
    weight_decay: float = knob(1e-4, "RMSprop's pull of all weights towards 0", 0)


@dataclass(frozen=True)
class FUNITControls(IntoDomain):
    """What the class that is wanted looks like."""

    domain: str | None = knob(
        None,
        "the name of the class that is shown; what is made goes by the references alone",
    )
    reference: Any = knob(
        None,
        "some pictures of the class that is wanted, which need not be one of training (in "
        "'dragoman styles' each is a style)",
        pictures=True,
    )


class Made(NamedTuple):
    """What the turns of a step share."""

    content: Tensor  # of the pictures
    fake: Tensor  # the pictures as of the class of the examples, [B, C, H, W]


class FUNIT(Styled, OneSet):
    """L_adv + l_r |x - G(x, x)|_1 + l_f |D_f(G(x, y)) - D_f(y)|_1, y: examples of one class.

    Liu et al. 2019, equations 1 to 7, with the hinge. As in the reference code D learns first, of
    reals from the examples; the adversarial term of G is the mean of that of the translation and
    that of the picture made anew, which also matches its own picture's features. The slope that is
    penalised is that of the mean of all logits, which falls with the number of examples in a batch.
    """

    Settings = FUNITSettings
    settings: FUNITSettings
    called = "FUNIT"
    Controls: ClassVar[type[choices.Controls]] = FUNITControls
    defaults: ClassVar[dict[str, Any]] = {"batch": 64}

    def __init__(self, settings: FUNITSettings, facts: Facts) -> None:
        super().__init__(settings, facts)
        self.examples = settings.examples
        self.generator = FewShotGenerator(
            facts.channels["image"],
            settings.latent,
            settings.width,
            settings.depth,
            settings.blocks,
            settings.class_depth,
            settings.mapping_width,
            settings.mapping_layers,
        )
        self.discriminator = ClassPatchDiscriminator(
            facts.channels["image"],
            len(self.sets[self.label_set]),
            settings.discriminator_width,
            settings.discriminator_depth,
            settings.max_width,
        )
        self._check_size()
        for network in self.children():
            initialise(network, "kaiming")  # as in the reference code
        self.code: Tensor | None = None  # of the references that were chosen, [latent]

    def _check_size(self) -> None:
        """Raise SettingsError if the training pictures are too small for a network."""
        side = min(self.facts.size)
        for network, knobs in (
            (self.generator, "--depth or --class_depth"),
            (self.discriminator, "--discriminator_depth"),
        ):
            if side < network.smallest:
                raise SettingsError(
                    f"FUNIT with these settings needs sides of at least {network.smallest} px, the "
                    f"pictures have {side}; use a smaller {knobs}, or a larger --size"
                )

    def stages(self, steps: int) -> list[Stage]:
        turns = [
            Turn(self.discriminator_loss, [self.discriminator]),
            Turn(self.generator_loss, [self.generator]),
        ]
        return [Stage("train", steps, turns, data=self.draws(references=self.examples))]

    def optimizer(self, network: nn.Module) -> Optimizer:
        settings = self.settings
        return RMSprop(network.parameters(), lr=settings.lr, weight_decay=settings.weight_decay)

    # Generating

    def choose(self, controls: choices.Controls) -> None:
        super().choose(controls)
        self.code = self._code(controls)

    @torch.no_grad()
    def _code(self, controls: choices.Controls) -> Tensor | None:
        """The class code of the references, [latent]; None without any."""
        shown = _shown(controls)
        if shown is None:
            return None
        parts = shown.to(next(self.generator.parameters())).split(TOGETHER)
        return torch.cat([self.generator.class_code(part) for part in parts]).mean(0)

    def check_chosen(self) -> None:
        _needed(self.code)

    def style(self, like: Tensor) -> Tensor:
        return _needed(self.code).to(like)[None]

    def generate(self, batch: Batch, controls: choices.Controls | None = None) -> Tensor:
        known = controls is None or _shown(controls) is _shown(self.controls)
        pictures = batch["image"]
        if known and self.held is not None:
            code = self.held[0]
        else:
            code = _needed(self.code if known else self._code(controls))
        code = code.to(pictures).expand(len(pictures), -1)
        return self.generator.decode(self.generator.content(pictures), code)

    # Learning

    def share(self, batch: Batch, progress: Progress) -> Made:
        self.check_known(batch)
        content = self.generator.content(batch["image"])
        code = self.generator.class_code(batch["reference"])
        return Made(content, self.generator.decode(content, code))

    def discriminator_loss(self, batch: Batch, made: Made) -> Terms:
        """D's terms: the examples are its reals."""
        examples, classes = _examples(batch)
        fake, _ = self.discriminator(made.fake, batch["reference_label"])

        def share_of_mean(x: Tensor) -> Tensor:
            """Each logit's share of the mean of all, whose slope is penalised."""
            logits, _ = self.discriminator(x, classes)
            return logits / logits.numel()

        settings, penalty = self.settings, None
        if settings.lambda_slope:
            penalty, shares = r1_and_outputs(share_of_mean, examples)
            real = shares * shares.numel()
        else:
            real, _ = self.discriminator(examples, classes)
        told = discriminator_terms("hinge", real, fake)
        terms = {name: settings.lambda_adversarial * term for name, term in told.items()}
        if penalty is not None:  # the square, of which R1 is half
            terms["penalty"] = 2 * settings.lambda_slope * penalty
        return terms

    def generator_loss(self, batch: Batch, made: Made) -> Terms:
        """G's terms: of the translation, and of the picture made anew as of its own class."""
        real, own, wanted = batch["image"], self.own(batch), batch["reference_label"]
        examples, classes = _examples(batch)
        again = self.generator.decode(made.content, self.generator.class_code(real))
        translated, features = self.discriminator(made.fake, wanted)
        anew, features_again = self.discriminator(again, own)
        with torch.no_grad():  # what is to be matched is constant to G
            seen = self.discriminator(examples, classes)[1].unflatten(0, (len(real), -1)).mean(1)
            seen_own = self.discriminator(real, own)[1]
        fooling = generator_term("hinge", translated) + generator_term("hinge", anew)
        matching = self.settings.lambda_matching
        return {
            "adversarial": self.settings.lambda_adversarial * fooling / 2,
            "matching": matching * place_means(seen, features),
            "matching_own": matching * place_means(seen_own, features_again),
            "reconstruction": self.settings.lambda_reconstruction * l1(again, real),
        }


def _examples(batch: Batch) -> tuple[Tensor, Tensor]:
    """All examples of a batch, [B * K, C, H, W], and their classes [B * K]."""
    shown = batch["reference"]
    return shown.flatten(0, 1), batch["reference_label"].repeat_interleave(shown.shape[1])


def _shown(controls: choices.Controls) -> Any:
    """The references of controls; None if there are none."""
    return controls.reference if isinstance(controls, FUNITControls) else None


def _needed(code: Tensor | None) -> Tensor:
    """The class code; raises SettingsError where there is none."""
    if code is None:
        raise SettingsError(
            "FUNIT makes what it is shown; give --reference with some pictures of the class that "
            "is wanted"
        )
    return code
