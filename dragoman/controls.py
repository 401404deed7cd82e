"""What may be chosen each time pictures are made: declared once, for Python and command line."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, TypeVar

from dragoman.errors import SettingsError, did_you_mean
from dragoman.settings import knob, parse

COUNTED = "answer"  # is chosen by `--answers` and `Translator.answering`


@dataclass(frozen=True)
class Controls:
    """What every system lets one choose; a system with more choices extends it.

    Each field is a knob, offered under its name by `dragoman translate` and by
    `Translator.choosing`, but for `answer`. A knob of pictures takes files, arrays or tensors from
    users and gives the system a tensor [K, C, H, W] in [-1, 1] of the training pictures' size.
    """

    answer: int = knob(0, "which of the answers it can give, from 0", 0)


@dataclass(frozen=True)
class Towards(Controls):
    """The choice of systems that translate both ways."""

    to: Literal["a", "b"] = knob("b", "the domain to be made: b of pictures of a, or a of b's")


Chosen = TypeVar("Chosen", bound=Controls)


def offered(kind: type[Controls]) -> dict[str, bool]:
    """The names of what may be chosen, and whether it is pictures."""
    named = fields(kind)
    return {f.name: bool(f.metadata.get("pictures")) for f in named if f.name != COUNTED}


def check_offered(system: str, kind: type[Controls], names: Mapping[str, Any]) -> None:
    """Raise SettingsError for a name that is no control of the system."""
    known = offered(kind)
    for name in names:
        if name not in known:
            choices = f"it has {', '.join(known)}" if known else "nothing can be chosen of it"
            raise SettingsError(
                f"{system} has no control '{name}'{did_you_mean(name, known)}; {choices}"
            )


def changed(now: Chosen, values: Mapping[str, Any]) -> Chosen:
    """These controls with other values, which are checked; of pictures they may only be None.

    Pictures are of the domain that is made: with another `to` or `domain` those of before are left
    out. Raises SettingsError.
    """
    pictures = {name for name, is_pictures in offered(type(now)).items() if is_pictures}
    plain = {name: value for name, value in values.items() if name not in pictures}
    checked = parse(
        [type(now)], {**{k: v for k, v in vars(now).items() if k not in pictures}, **plain}
    )
    moved = any(checked.get(name) != getattr(now, name, None) for name in ("to", "domain"))
    without = dict.fromkeys(name for name in pictures if moved or name in values)
    return replace(now, **{name: checked[name] for name in plain}, **without)
