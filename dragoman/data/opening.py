"""From the text of the setting `data` to an opened data set."""

import os
from dataclasses import fields

from dragoman.data.batches import Data
from dragoman.data.catalogue import DATASETS, EDITIONS
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
    return Data(settings, reduced(source, settings))


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
    from dragoman.data.openmoji import OpenMoji

    edition = EDITIONS[name]
    family = DATASETS[edition.family]
    domains = [part.strip() for part in rest.split(",") if part.strip()]
    known = edition.domains or tuple(family.domains)
    if len(domains) not in (1, 2) or len(set(domains)) != len(domains):
        two = f"two different domains, such as {name}:{','.join(known[:2])}, or one"
        wanted = two if len(known) > 1 else f"its only domain, as {name}:{known[0]}"
        raise SettingsError(f"--data {settings.data} needs {wanted}; {name} has {', '.join(known)}")
    for layer in "+".join(domains).split("+"):
        choose(f"domain of {name}", layer, known)
    _refuse_own(settings, name)
    if edition.family == "earth":
        return Earth(name, edition, domains, settings)
    return OpenMoji(name, edition, domains, settings)


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
