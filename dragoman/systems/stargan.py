"""StarGAN: one generator for all domains, told by labels what to make of a picture."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from dragoman import controls as choices
from dragoman.errors import SettingsError
from dragoman.losses.adversarial import discriminator_terms, generator_term
from dragoman.losses.classification import classification
from dragoman.losses.distances import l1
from dragoman.losses.penalties import gradient_penalty
from dragoman.many_domain import DomainSettings, ManyDomain
from dragoman.networks.blocks import Upsample
from dragoman.networks.label_vector import label_vector, label_widths
from dragoman.networks.scaled_norm import ScaledNorm
from dragoman.networks.stargan import RESTS, StarGANDiscriminator, StarGANGenerator
from dragoman.settings import knob
from dragoman.system import Batch, Facts, Progress, Stage, Terms, Turn

MOST_LAYERS = 6  # of the discriminator, as in the reference code; fewer for pictures below 64 px


@dataclass(frozen=True)
class StarGANSettings(DomainSettings):
    """Knobs of StarGAN; the defaults are the official implementation's."""

    joint: bool = knob(
        False,
        "several label sets are attributes of every picture, all given at once (CelebA); else a "
        "picture is changed in one of them at a time, and a mask says which (CelebA with RaFD)",
    )
    targets: Literal["shuffled", "uniform"] = knob(
        "shuffled", "which classes are made in training: the batch's own, shuffled, or any alike"
    )
    width: int = knob(64, "channels of the generator's first layer", 1, 4096)
    depth: int = knob(2, "times that the generator halves the picture", 1, 6)
    blocks: int = knob(6, "residual blocks of the generator", 1, 64)
    upsample: Upsample = knob("transposed", "how the generator doubles the sides")
    norm: ScaledNorm = knob(
        "instance",
        "of the generator; instance, the official one, takes planes of labels away again, so that "
        "only borders tell what is wanted; layer does not",
    )
    attention: bool = knob(
        False,
        "the generator also says where the picture changes, and all else stays as it is "
        "(Pumarola et al. 2018)",
    )
    attention_warmup: float = knob(
        0.0,
        "share of the steps until the attention may leave all as it is: at first it may leave "
        "nothing, so that the generator has to learn to draw every pixel",
        0,
        1,
    )
    attention_start: float = knob(
        RESTS,
        "logit of the attention at first: at -2 an eighth of each pixel may change, at 2 seven "
        "eighths, for a mask that was held open and closes where it may",
        -10,
        10,
    )
    skip: bool = knob(
        False, "the generator's last layer sees its first one too, for the finest details"
    )
    discriminator_width: int = knob(64, "channels of the discriminator's first layer", 1, 4096)
    discriminator_layers: int | None = knob(
        None, "times that the discriminator halves the picture; default: 6, if it is large enough"
    )
    n_critic: int = knob(5, "steps of the discriminator for each of the generator", 1, 1000)
    lambda_classes: float = knob(1.0, "weight of the classes that the discriminator tells", 0)
    lambda_cycle: float = knob(10.0, "weight of the way back to the picture's own domain", 0)
    lambda_identity: float = knob(
        0.0,
        "weight of the picture itself where its own domain is asked for (Siddiquee et al. 2019)",
        0,
    )
    lambda_penalty: float = knob(10.0, "weight of the critic's gradient penalty", 0)
    lr: float = knob(1e-4, "learning rate of Adam", 0)
    lr_discriminator: float | None = knob(None, "the discriminator's, where it differs", 0)
    beta1: float = knob(0.5, "Adam's decay of the mean gradient", 0, 0.9999)


class Translated(NamedTuple):
    """What the turns of a step share."""

    fake: Tensor  # the pictures in the domains that are wanted, [B, C, H, W]
    own: Tensor  # their own classes, by which they come back, [B, S]; -1 in sets not given
    wanted: Tensor  # the classes that are wanted, [B, S]; -1 in sets where none is


class StarGAN(ManyDomain):
    """D: -L_adv + l_cls L_cls(x); G: L_adv + l_cls L_cls(G(x, c)) + l_rec |x - G(G(x, c), c')|_1.

    Choi et al. 2018, equations 5 and 6, with the Wasserstein objective and gradient penalty of
    equation 8. The wanted classes c are those of another picture of the batch, for D and G alike.
    With `lambda_identity` l_id |x - G(x, c')|_1 is added to G's (Siddiquee et al. 2019).

    Several label sets (section 3.2): the reference code takes a batch of each data set in every
    iteration, where both c' and c hold that set's labels and the mask that names it. In one pile
    of mixed pictures that is: each picture draws one of the label sets that it knows, and gets the
    class of another picture that has drawn the same. Unknown labels are zeros; the class terms run
    over what is known, so that a picture without any label still teaches the rest. With `joint`
    all sets are given at once and without a mask, as the attributes of CelebA are.
    """

    Settings = StarGANSettings
    settings: StarGANSettings
    defaults: ClassVar[dict[str, Any]] = {"batch": 16, "schedule": "linear"}

    def __init__(self, settings: StarGANSettings, facts: Facts) -> None:
        super().__init__(settings, facts)
        for name, without in (("attention_warmup", 0), ("attention_start", RESTS)):
            if getattr(settings, name) != without and not settings.attention:
                raise SettingsError(
                    f"--{name} is of a generator with attention; set --attention true"
                )
        self.widths = label_widths({name: len(names) for name, names in self.sets.items()})
        self.mask = len(self.sets) > 1 and not settings.joint
        channels, logits = facts.channels["image"], sum(self.widths)
        self.generator = StarGANGenerator(
            channels,
            logits + len(self.sets) * self.mask,
            width=settings.width,
            blocks=settings.blocks,
            depth=settings.depth,
            attention=settings.attention,
            upsample=settings.upsample,
            norm=settings.norm,
            skip=settings.skip,
        )
        if self.generator.attention is not None:
            with torch.no_grad():
                bias = self.generator.attention.get_parameter("bias")
                bias.add_(settings.attention_start - RESTS)
        most = min(facts.size).bit_length() - 1
        layers = settings.discriminator_layers
        self.discriminator = StarGANDiscriminator(
            channels,
            logits,
            facts.size,
            width=settings.discriminator_width,
            layers=min(MOST_LAYERS, most) if layers is None else layers,
        )

    def stages(self, steps: int) -> list[Stage]:
        every = self.settings.n_critic
        judge = Turn(self.discriminator_loss, [self.discriminator])
        translate = Turn(self.generator_loss, [self.generator], every, at=(every - 1,))
        return [Stage("train", steps, [judge, translate], data=self.draws())]

    def must_know(self) -> tuple[str, ...]:
        """Without a mask those of two classes, where a zero is a class and cannot mean unknown."""
        both = zip(self.sets, self.widths, strict=True)
        return () if self.mask else tuple(name for name, width in both if width == 1)

    def translated(self, pictures: Tensor, labels: Tensor) -> Tensor:
        """The pictures in the domains of labels [B, S], where -1 asks for nothing."""
        vector = label_vector(labels, self.widths, self.mask)
        return self.generator(pictures, vector.to(pictures.device))

    def generate(self, batch: Batch, controls: choices.Controls | None = None) -> Tensor:
        """Classes of several label sets are made one after the other, as each was learned alone.

        With `joint` all are made at once; those not asked for stay as they are, if the batch tells.
        """
        pictures, wanted = batch["image"], self.wanted_by(controls)
        if self.settings.joint:
            told = "label" in batch
            if not told:
                self._check_whole(wanted)
            # On the CPU, where no operation goes by places, so that tiles can be followed.
            asked = torch.tensor(wanted).expand(len(pictures), -1)
            if told:
                asked = torch.where(asked < 0, self.labels_of(batch).cpu(), asked)
            return self.translated(pictures, asked)
        for place in (place for place, number in enumerate(wanted) if number >= 0):
            alone = [number if place == one else -1 for one, number in enumerate(wanted)]
            pictures = self.translated(pictures, torch.tensor(alone).expand(len(pictures), -1))
        return pictures

    def check_chosen(self) -> None:
        if self.settings.joint:
            self._check_whole(self.wanted)

    def _check_whole(self, wanted: list[int]) -> None:
        """Raise SettingsError unless a class of every label set is asked for."""
        lacking = [name for name, number in zip(self.sets, wanted, strict=True) if number < 0]
        if lacking:
            every = ",".join(f"{name}={classes[0]}" for name, classes in self.sets.items())
            raise SettingsError(
                f"a StarGAN of --joint true needs to know the class of '{lacking[0]}' too; name "
                f"one of each label set, as --domain {every}"
            )

    def whole(self, batch: Batch) -> Batch:
        """With the labels of this step, which are shuffled over all of the batch."""
        own, wanted = self.drawn(self.labels_of(batch))
        return {**batch, "own": own, "wanted": wanted}

    def share(self, batch: Batch, progress: Progress) -> Translated:
        if warmup := self.settings.attention_warmup:
            self.generator.opened.fill_(max(0.0, 1 - progress.fraction / warmup))
        drawn = batch if "wanted" in batch else self.whole(batch)
        own, wanted = drawn["own"], drawn["wanted"]
        return Translated(self.translated(batch["image"], wanted), own, wanted)

    def drawn(self, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Of labels [B, S] those that are given in this step, and the wanted ones; -1: neither."""
        count, sets = labels.shape
        draws = torch.rand(count, 2, sets, device=labels.device)
        learned = draws[:, 0].masked_fill(labels < 0, -1).argmax(1)
        if self.settings.joint:
            learned = torch.zeros_like(learned)
        if self.settings.targets == "uniform":
            classes = [len(names) for names in self.sets.values()]
            wanted = (draws[:, 1] * torch.tensor(classes, device=labels.device)).long()
        elif count < 2:
            raise SettingsError(
                "--batch 1 leaves no other picture whose domain could be wanted (on several "
                "processes the batch is shared among them); use a larger one, or --targets uniform"
            )
        else:
            wanted = labels[shuffled(learned)]
        if self.settings.joint:
            return labels, wanted
        given = functional.one_hot(learned, sets).bool()
        return labels.where(given, -1), wanted.where(given, -1)

    def discriminator_loss(self, batch: Batch, made: Translated) -> Terms:
        settings, real = self.settings, batch["image"]
        judged, classes = self.discriminator(real)
        told = classification(classes, self.labels_of(batch), self.widths)
        terms = discriminator_terms("wasserstein", judged, self.discriminator(made.fake)[0])
        terms["classes"] = settings.lambda_classes * told
        if settings.lambda_penalty:
            penalty = gradient_penalty(lambda x: self.discriminator(x)[0], real, made.fake)
            terms["penalty"] = settings.lambda_penalty * penalty
        return terms

    def generator_loss(self, batch: Batch, made: Translated) -> Terms:
        settings = self.settings
        judged, classes = self.discriminator(made.fake)
        told = classification(classes, made.wanted, self.widths)
        back = self.translated(made.fake, made.own)
        terms = {
            "adversarial": generator_term("wasserstein", judged),
            "classes": settings.lambda_classes * told,
            "cycle": settings.lambda_cycle * l1(back, batch["image"]),
        }
        if settings.lambda_identity:
            kept = self.translated(batch["image"], made.own)
            terms["identity"] = settings.lambda_identity * l1(kept, batch["image"])
        return terms


def shuffled(groups: Tensor) -> Tensor:
    """For each place another one of its group, drawn so that each is taken once: int64 [B]."""
    order = torch.randperm(len(groups), device=groups.device)
    partners = torch.empty_like(order)
    partners[groups.argsort(stable=True)] = order[groups[order].argsort(stable=True)]
    return partners
