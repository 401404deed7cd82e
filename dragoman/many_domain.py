"""What systems that translate among any number of domains share."""

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from dragoman import controls as choices
from dragoman.controls import Controls
from dragoman.errors import DataError, SettingsError, choose
from dragoman.settings import knob
from dragoman.system import Batch, Facts, System


@dataclass(frozen=True)
class DomainSettings:
    """The knob that says which label sets are domains."""

    domains: str | None = knob(
        None,
        "label sets whose classes are the domains, joined by +, as tone+gender; without it the "
        "first of the data",
    )


@dataclass(frozen=True)
class IntoDomain(Controls):
    """The choice of systems that translate among domains."""

    domain: str | None = knob(
        None,
        "the domain to be made: a class, or SET=CLASS,SET=CLASS of several label sets, one after "
        "the other; without it the first class",
    )


class ManyDomain(System):
    """Translates pictures of any domain into the one that `--domain` names.

    A domain is a class of a label set. Facts must hold the names of the classes.
    """

    Controls: ClassVar[type[choices.Controls]] = IntoDomain
    needs = ("image", "label")
    pairs = False
    source, target = "image", "image"

    def __init__(self, settings: DomainSettings, facts: Facts) -> None:
        super().__init__(settings, facts)
        known = list(facts.classes)
        named = known[:1] if settings.domains is None else settings.domains.split("+")
        named = [choose("label set", name.strip(), known) for name in named]
        if not named or len(set(named)) < len(named):
            raise SettingsError(
                f"--domains must name label sets of the data, each once, joined by +; it has "
                f"{', '.join(known) or 'none'}"
            )
        self.sets = {name: facts.classes[name] for name in named}
        self.places = [known.index(name) for name in named]  # in batch["labels"]
        self.wanted = [0] + [-1] * (len(named) - 1)  # class of each set; -1: none is asked for

    def domains(self) -> dict[str, tuple[str, ...]]:
        return self.sets

    def draws(self, **further: Any) -> dict[str, Any]:
        """How a stage asks for its batches: by the classes of the first of its label sets."""
        return {"label_set": next(iter(self.sets)), "known": self.must_know(), **further}

    def labels_of(self, batch: Batch) -> Tensor:
        """The class of each picture in each label set that is a domain, [B, S]; -1: unknown."""
        if "labels" in batch:
            return batch["labels"][:, self.places]
        return batch["label"][:, None]

    def wanted_by(self, controls: choices.Controls | None) -> list[int]:
        """The number of the class asked for in each label set, -1 where none is."""
        return self.wanted if controls is None else self._wanted(controls)

    def choose(self, controls: choices.Controls) -> None:
        self.wanted = self._wanted(controls)
        super().choose(controls)

    def _wanted(self, controls: choices.Controls) -> list[int]:
        """The number of the class asked for in each label set, -1 where none is."""
        text = controls.domain if isinstance(controls, IntoDomain) else None
        first, *others = self.sets
        if text is None:
            return [0] + [-1] * len(others)
        found = dict.fromkeys(self.sets, -1)
        having = [name for name, classes in self.sets.items() if text in classes]
        if first not in having and len(having) == 1:
            text = f"{having[0]}={text}"
        for name, classes in self.sets.items():  # names may hold commas and equals signs
            for number, word in enumerate(classes):
                if text == f"{name}={word}" or (name == first and text == word):
                    return list((found | {name: number}).values())
        for part in text.split(","):
            one, equals, other = (piece.strip() for piece in part.partition("="))
            name, word = (one, other) if equals else (first, one)
            classes = self.sets[choose("label set", name, self.sets)]
            if found[name] >= 0:
                raise SettingsError(
                    f"--domain {text} names two classes of '{name}'; choose one of them"
                )
            found[name] = classes.index(choose(f"domain of '{name}'", word, classes))
        return list(found.values())


class OneSet(ManyDomain):
    """Its domains are the classes of one label set, and every picture learned from is of one."""

    called: ClassVar[str]  # its name in errors

    def __init__(self, settings: DomainSettings, facts: Facts) -> None:
        super().__init__(settings, facts)
        if len(self.sets) > 1:
            raise SettingsError(
                f"--domains {settings.domains} names several label sets, of which {self.called} "
                f"takes one; choose among {', '.join(self.sets)}"
            )
        (self.label_set,) = self.sets

    def must_know(self) -> tuple[str, ...]:
        return (self.label_set,)

    def own(self, batch: Batch) -> Tensor:
        """The class of each picture, [B]; -1: unknown."""
        return self.labels_of(batch)[:, 0]

    def check_known(self, batch: Batch) -> None:
        """Raise DataError unless the class of every picture is known."""
        if bool((self.own(batch) < 0).any()):
            raise DataError(
                f"a picture without a class of '{self.label_set}' is among those to learn from, "
                f"but {self.called} needs the class of each; leave it out, or label it"
            )
