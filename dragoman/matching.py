"""Whether a system and a data set go together, said before anything is trained."""

from typing import TYPE_CHECKING, Any

from dragoman.errors import DataError, SettingsError
from dragoman.system import System

if TYPE_CHECKING:
    from dragoman.data import Data


def check_fits(system: str, kind: type[System], settings: Any, data: "Data") -> None:
    """Raise DataError unless the data has all that the system learns from, and is sound.

    settings: the system's own.
    """
    has = [*data.domains, *data.layers, *(["label"] if data.label_sets else [])]
    if any(domain.kind == "labels" for domain in data.domains.values()):
        has.append("map")
    missing = [key for key in kind.needed(settings) if key not in has]
    if missing:
        raise DataError(
            f"{system} needs '{missing[0]}' in its batches, {data.name} has {', '.join(has)}; "
            + kind.remedies.get(missing[0], "'dragoman datasets' shows what fits")
            + _other_layout(kind, data)
        )
    if kind.pairs and not data.partners("train"):
        raise DataError(
            f"{system} learns from pairs, but --pairing unpaired takes them apart; "
            "use --pairing paired"
        )
    data.check()


def _other_layout(kind: type[System], data: "Data") -> str:
    """What to type if single pictures may well be pairs, or give pairs of small and large."""
    if "image" not in data.domains:
        return ""
    if "low" in kind.needs:
        return "; with --scale 4 each picture gives a small and a large one"
    if "b" in kind.needs:
        return "; if each file holds a and b side by side, use --layout side_by_side"
    return ""


def check_shapes(system: str, made: System, data: "Data") -> None:
    """Raise SettingsError if training pictures may have sides that the networks cannot take."""
    for height, width in data.shapes:
        if height % made.stride or width % made.stride:
            raise SettingsError(
                f"{system} with these settings needs sides divisible by {made.stride}, the "
                f"pictures have {height} x {width}; choose another --size or --aspect, or a "
                "smaller --depth"
            )
