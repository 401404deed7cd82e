"""From the text of the setting `data` to an opened data set."""

import os
from dataclasses import fields

from dragoman.data.batches import Data
from dragoman.data.catalogue import DATASETS, EACH_TONE, EDITIONS, TONES
from dragoman.data.domain_labels import without_unseen
from dragoman.data.reduced import reduced
from dragoman.data.settings import DataSettings
from dragoman.data.source import Source
from dragoman.errors import DataError, SettingsError, choose, did_you_mean

# Settings that say how own files are to be understood; embedded sets know that of themselves.
OWN = ("columns", "labels", "kind", "classes", "unlabelled", "range", "unit", "alpha", "shown")


def open_data(settings: DataSettings) -> Data:
    """Open the data set that the settings name; builds the cache of an embedded one if needed.

    Raises SettingsError for names or settings that cannot be, DataError if pictures or packages
    are missing.
    """
    source = embedded(settings)
    if source is None:
        from dragoman.data.files import Files
        from dragoman.data.tables import open_table

        source = Files(open_table(settings), settings)
    return Data(settings, reduced(without_unseen(source, settings), settings))


def embedded(settings: DataSettings) -> Source | None:
    """Return the embedded data set that the settings name, or None if they name own pictures."""
    text = settings.data
    head, colon, rest = text.partition(":")
    if os.path.exists(text):  # which, unlike Path, also answers for texts that can be no path
        return None
    if head not in {*EDITIONS, *DATASETS}:
        if colon and (near := did_you_mean(head, EDITIONS)):
            raise DataError(
                f"--data '{head}' is neither an embedded data set nor a folder{near}; "
                f"known: {', '.join(EDITIONS)}"
            )
        return None
    if head in DATASETS:
        raise SettingsError(
            f"the data set '{head}' comes in several sizes: {', '.join(DATASETS[head].editions)}"
        )
    return _embedded(settings, head, rest)


def _embedded(settings: DataSettings, name: str, rest: str) -> Source:
    from dragoman.data.earth import Earth
    from dragoman.data.many_domains import ManyDomains
    from dragoman.data.openmoji import OpenMoji

    edition = EDITIONS[name]
    family = DATASETS[edition.family]
    joined = "/" in rest
    domains = [part.strip() for part in rest.split("/" if joined else ",") if part.strip()]
    known = edition.domains or tuple(family.domains)
    _check_number(settings.data, name, domains, known, joined)
    for layer in "+".join(domains).split("+"):
        choose(f"domain of {name}", layer, known)
    _refuse_own(settings, name)
    if joined and EACH_TONE in "+".join(domains).split("+"):
        raise SettingsError(
            f"--data {settings.data} joins domains by /, but {EACH_TONE} has all tones as labels; "
            f"use {name}:{EACH_TONE}, or name the tones, as {name}:{'/'.join(TONES[:2])}"
        )
    family_source = Earth if edition.family == "earth" else OpenMoji
    source = family_source(name, edition, domains, settings, joined)
    return ManyDomains(source) if joined else source


def _check_number(
    data: str, name: str, domains: list[str], known: tuple[str, ...], joined: bool
) -> None:
    """Raise SettingsError for too many domains, too few, or one named twice."""
    if joined and "," in data:
        raise SettingsError(
            f"--data {data} has domains apart by commas, as pairs a and b, and joined by /, as one "
            "key; use one of the two"
        )
    number = len(domains) > 1 if joined else len(domains) in (1, 2)
    if number and len(set(domains)) == len(domains):
        return
    wanted = f"two different domains, such as {name}:{','.join(known[:2])}, or one"
    if len(known) == 1:
        wanted = f"its only domain, as {name}:{known[0]}"
    elif joined:
        wanted = f"two or more different domains, such as {name}:{'/'.join(known[:2])}"
    raise SettingsError(f"--data {data} needs {wanted}; {name} has {', '.join(known)}")


def _refuse_own(settings: DataSettings, name: str) -> None:
    """Raise SettingsError for settings that have no meaning for an embedded set."""
    defaults = {field.name: field.default for field in fields(DataSettings)}
    if settings.load_size is not None:
        raise SettingsError(
            f"--load_size resizes own pictures; {name} has a fixed scale, leave it out"
        )
    for setting in (*OWN, "layout", "aspect", "fit"):
        if getattr(settings, setting) != defaults[setting]:
            raise SettingsError(f"--{setting} is for own pictures, not for {name}; leave it out")
