"""What a paper tells the engine: its networks, its losses, and who learns from which."""

from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from dragoman import controls as choices

if TYPE_CHECKING:
    from dragoman.metrics import Metric

Batch = dict[str, Tensor]
Terms = dict[str, Tensor]  # weighted loss terms; their sum is what is minimised


ADAM = {
    "lr": 2e-4,
    "beta1": 0.5,
    "beta2": 0.999,
    "weight_decay": 0.0,
}  # where a system has no such knobs


class Progress(NamedTuple):
    """How far the current stage has come."""

    step: int
    steps: int

    @property
    def fraction(self) -> float:
        """From 0 at the first step towards 1."""
        return self.step / self.steps


@dataclass(frozen=True)
class Facts:
    """What a system may know of its data before it sees a batch; saved with every translator.

    channels: of each batch key that holds pictures, such as {"a": 3, "b": 1}.
    size: height and width, in pixels, of the training pictures that `generate` reads.
    labels: number of classes in batch["label"] (0: none). images: number of training pictures.
    label_sets: number of classes by label set, in the order of batch["labels"]. classes: their
    names, likewise.
    scale: how many times larger the pictures to be made are (super-resolution).
    maps: the keys of `channels` that hold label maps, a channel for each class: 1 where it is,
    else -1.
    """

    channels: dict[str, int]
    size: tuple[int, int]
    labels: int = 0
    images: int = 0
    label_sets: dict[str, int] = field(default_factory=dict)
    scale: int = 1
    maps: tuple[str, ...] = ()
    classes: dict[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Turn:
    """The given networks take one step down the given loss, every so many steps.

    at: which of every so many steps they are, by default the first. The loss is a method
    `<who learns>_loss(batch, shared) -> Terms` of the system; its name without `_loss` names the
    turn in the journal.
    """

    loss: Callable[[Batch, Any], Terms]
    networks: Iterable[nn.Module]
    every: int = 1
    at: tuple[int, ...] = (0,)

    def due(self, step: int) -> bool:
        """True if it is to be taken at that step of its stage."""
        return step % self.every in self.at

    @property
    def name(self) -> str:
        """Who learns, such as "generator"."""
        return getattr(self.loss, "__name__", "system").removesuffix("_loss")


@dataclass(frozen=True)
class Stage:
    """A span of training with its own turns, fresh optimizers and, if need be, its own data."""

    name: str
    steps: int
    turns: list[Turn]
    begin: Callable[[], None] = lambda: None
    data: dict[str, Any] = field(default_factory=dict)  # overrides for the loader, as size=64
    course: tuple[float, float] = (0.0, 1.0)  # the part of the schedule that it takes


class System(nn.Module):
    """One paper. Knows nothing of devices, precision, processes, files or logs."""

    Settings: ClassVar[type]  # a frozen dataclass of knobs
    Controls: ClassVar[type[choices.Controls]] = (
        choices.Controls
    )  # what one may choose of each picture
    defaults: ClassVar[dict[str, Any]] = {}  # settings of the run that the paper fixes otherwise
    needs: ClassVar[tuple[str, ...]] = ("a", "b")  # batch keys without which it cannot train
    pairs: ClassVar[bool] = True  # whether a and b of a batch must belong together
    source: str = "a"  # the batch key that `generate` reads
    target: str | None = "b"  # the batch key that `generate` should reproduce, if any
    best_by: ClassVar[str | None] = None  # the measure, low is good, that chooses its checkpoint
    remedies: ClassVar[dict[str, str]] = {}  # by batch key: what to type where data lacks it
    any_size: ClassVar[bool] = True  # whether `generate` takes pictures of other sizes than Facts
    examples: int = 0  # pictures of the wanted domain that it must be shown, as `reference`
    context: ClassVar[int | None] = None  # px around a tile that matter, if less than all it sees

    def __init__(self, settings: Any, facts: Facts) -> None:
        super().__init__()
        self.settings, self.facts = settings, facts
        self.controls = self.Controls()  # what `generate` goes by where it is told nothing else

    @classmethod
    def needed(cls, settings: Any) -> tuple[str, ...]:
        """Batch keys without which it cannot train with these settings."""
        return cls.needs

    def check(self) -> None:
        """Raise if something is missing that training alone needs, such as a user's weights."""

    def stages(self, steps: int) -> list[Stage]:
        """Divide a budget of `steps` into stages of training."""
        raise NotImplementedError

    def generate(self, batch: Batch, controls: choices.Controls | None = None) -> Tensor:
        """What a user calls: the pictures made for a batch, [B, C, H, W] in [-1, 1].

        controls: what is chosen for them, else what `choose` was told. Noise comes from torch's
        default generator, which callers seed anew for each answer.
        """
        raise NotImplementedError

    def choose(self, controls: choices.Controls) -> None:
        """Let `generate` go by these; raises SettingsError for what it cannot do.

        Whatever it then reads and reproduces are `source` and `target`.
        """
        self.controls = controls

    def check_chosen(self) -> None:
        """Raise SettingsError if `generate` needs a choice that has not been made."""

    @contextmanager
    def choosing(self, controls: choices.Controls) -> Generator[Self]:
        """Let `generate` go by these for a while."""
        before = self.controls
        self.choose(controls)
        try:
            yield self
        finally:
            self.choose(before)

    def directions(self) -> dict[str, choices.Controls]:
        """By name, the controls of each direction in which it is judged, the usual one first."""
        return {f"{self.source} to {self.target}": self.controls}

    def domains(self) -> dict[str, tuple[str, ...]]:
        """The label sets among whose classes it translates, and their classes; {}: it does not."""
        return {}

    def must_know(self) -> tuple[str, ...]:
        """Label sets of which it learns from pictures of known class only; others are left out."""
        return ()

    def given(self, batch: Batch) -> Tensor:
        """What `generate` goes by, as pictures of the source domain to be shown."""
        return batch[self.source]

    @property
    def answers(self) -> int | None:
        """How many different pictures it can make of one input; None: as many as one likes."""
        return 1

    @property
    def takes_hole(self) -> bool:
        """Whether `generate` fills batch["hole"], float [B, 1, H, W], 1 where dropped."""
        return False

    def measures(self) -> "list[Metric]":
        """Further measures by which it is judged, besides those of every system."""
        return []

    def whole(self, batch: Batch) -> Batch:
        """The batch with what is drawn of all its pictures together, as labels that are shuffled.

        Called once a step, before --accumulate takes the batch in parts; each part is given its
        share of what is added, a tensor with a row for each picture.
        """
        return batch

    def share(self, batch: Batch, progress: Progress) -> Any:
        """Compute once what several turns of one step need; at most one turn may learn through it.

        Anything that holds tensors in dicts, lists, tuples or namespaces may be returned.
        """

    def optimizer(self, network: nn.Module) -> Optimizer:
        """The optimizer of one network; asked for afresh at each stage.

        Adam with the settings `lr`, `beta1`, `beta2` and `weight_decay`, where there are such
        knobs, else 2e-4, 0.5, 0.999 and 0; for networks whose names begin with `discriminator`
        with `lr_discriminator`, if there is such a knob and it is set.
        """
        known = {name: getattr(self.settings, name, value) for name, value in ADAM.items()}
        own = getattr(self.settings, "lr_discriminator", None)
        judges = [n for name, n in self.named_children() if name.startswith("discriminator")]
        if own is not None and any(network is judge for judge in judges):
            known["lr"] = own
        betas, decay = (known["beta1"], known["beta2"]), known["weight_decay"]
        parameters = network.parameters()
        return Adam(parameters, lr=known["lr"], betas=betas, weight_decay=decay, fused=True)

    def averaged(self) -> list[nn.Module]:
        """Networks of which a moving average may be kept: `self.generator`, if it has one."""
        return [child for name, child in self.named_children() if name == "generator"]

    def generates(self) -> list[nn.Module]:
        """Networks that `generate` needs; only these are saved with a translator."""
        return self.averaged() or list(self.children())

    @property
    def stride(self) -> int:
        """The sides of pictures given to `generate` must be divisible by this.

        That of `self.generator`, where it says one.
        """
        return int(getattr(getattr(self, "generator", None), "stride", 1))
