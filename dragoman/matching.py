"""Whether a system and a data set go together, said before anything is trained."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from dragoman import processes
from dragoman.data.domain_labels import FEWEST, lone_domain_line
from dragoman.errors import DataError, SettingsError
from dragoman.system import System

if TYPE_CHECKING:
    from dragoman.data import Data


STORED = {  # what a domain may not change between training and judging, and how it is called
    "kind": "kind",
    "channels": "number of channels or classes",
    "dtype": "depth",
    "low": "lower end of its range",
    "high": "upper end of its range",
}

REMEDIES = {  # by batch key, where the system has none of its own
    "a": "name two folders, --data FIRST,SECOND",
    "b": "name two folders, --data FIRST,SECOND",
    "label": "classes come of a folder for each, of a table of --labels, or of embedded domains "
    "joined by /",
    "image": "put the domains into one folder, each a folder of its own, and name that",
}
ELSE = "'dragoman datasets' shows what fits"


def check_same(domains: Mapping[str, Any], data: "Data") -> None:
    """Raise DataError unless the data are stored as those of which a translator's domains are.

    domains: as its config.json has them.
    """
    for key, before in domains.items():
        now = asdict(data.domains[key]) if key in data.domains else {}
        for name, called in STORED.items():
            was, found = before.get(name), now.get(name)
            was = tuple(was) if isinstance(was, list) else was
            if was is not None and was != found:
                raise DataError(
                    f"{data.name} is no longer what was learned from: the {called} of '{key}' was "
                    f"{_short(was)} and is {_short(found)}; put the pictures back, or train a new "
                    "run"
                )


def check_same_classes(classes: Mapping[str, Sequence[str]], data: "Data") -> None:
    """Raise DataError unless the label sets by name still have these classes."""
    for name, before in classes.items():
        now = data.label_sets.get(name, ())
        if tuple(before) != tuple(now):
            raise DataError(
                f"{data.name} is no longer what was learned from: the classes of '{name}' were "
                f"{', '.join(before)} and are {', '.join(now) or 'not there'}; put the pictures "
                "back, or train a new run"
            )


def _short(value: Any) -> str:
    """A value for people: of several numbers the first."""
    if isinstance(value, tuple):
        return ", ".join(f"{one:g}" for one in value[:3]) + (" ..." if value[3:] else "")
    return str(value)


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
            + kind.remedies.get(missing[0], REMEDIES.get(missing[0], ELSE))
            + _other_layout(kind, data)
        )
    if kind.pairs and not data.partners("train"):
        raise DataError(
            f"{system} learns from pairs, but --pairing unpaired takes them apart; "
            "use --pairing paired"
        )
    data.check()
    if not kind.pairs:
        for key in ("a", "b"):
            if key in data.domains and (count := data.count("train", key)) < FEWEST:
                raise DataError(lone_domain_line(f"'{key}' of {data.name}", count))
    if "label" in kind.needed(settings):
        named = getattr(settings, "domains", None) or ""
        data.check_classes([one for one in named.split("+") if one in data.label_sets])


def _other_layout(kind: type[System], data: "Data") -> str:
    """What to type if single pictures may well be pairs, or give pairs of small and large."""
    if "image" not in data.domains:
        return ""
    if "low" in kind.needs:
        return "; with --scale 4 each picture gives a small and a large one"
    if "b" in kind.needs:
        return "; if each file holds a and b side by side, use --layout side_by_side"
    return ""


def tell_left_out(system: str, made: System, data: "Data") -> None:
    """Say how many training pictures are left out as their class is not known, if any are.

    Raises DataError if all are.
    """
    sets, every = made.must_know(), np.arange(data.counts["train"])
    out = np.setdiff1d(every, data.labelled("train", sets)) if sets else every[:0]
    if not len(out) or processes.rank():
        return
    names = " and ".join(f"'{name}'" for name in sets)
    print(
        f"dragoman: left out {len(out):,} of {len(every):,} training pictures, such as "
        f"{data.names('train')[out[0]]}, as they have no class of {names}, which {system} needs",
        file=sys.stderr,
    )


def check_shapes(system: str, made: System, data: "Data") -> None:
    """Raise SettingsError if training pictures may have sides that the networks cannot take."""
    for height, width in data.shapes:
        if height % made.stride or width % made.stride:
            raise SettingsError(
                f"{system} with these settings needs sides divisible by {made.stride}, the "
                f"pictures have {height} x {width}; choose another --size or --aspect"
                + (", or a smaller --depth" if made.stride > 2 else "")
            )
