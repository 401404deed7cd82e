"""From the text of the setting `data` to an opened data set."""

from pathlib import Path

from dragoman.data.batches import Data
from dragoman.data.catalogue import DATASETS, EDITIONS
from dragoman.data.settings import DataSettings
from dragoman.data.source import Source
from dragoman.errors import DataError, SettingsError, choose, did_you_mean


def open_data(settings: DataSettings) -> Data:
    """Open the data set that the settings name; builds the cache of an embedded one if needed.

    Raises SettingsError for names or settings that cannot be, DataError if pictures or packages
    are missing.
    """
    text = settings.data
    head, colon, rest = text.partition(":")
    if head in EDITIONS and not Path(text).is_dir():
        return Data(settings, _embedded(settings, head, rest))
    if head in DATASETS and not Path(text).is_dir():
        raise SettingsError(
            f"the data set '{head}' comes in several sizes: {', '.join(DATASETS[head].editions)}"
        )
    folders = [Path(text)] if Path(text).is_dir() else [Path(p) for p in text.split(",")]
    missing = [str(folder) for folder in folders if not folder.is_dir()]
    if len(folders) > 2 or (missing and (colon or len(folders) == 1)):
        raise DataError(_unknown(head if colon else text))
    if missing:
        raise DataError(f"the folder {missing[0]} of --data {text} does not exist")
    from dragoman.data.folders import Folders

    return Data(settings, Folders(folders, settings))


def _unknown(word: str) -> str:
    known = [*EDITIONS]
    return (
        f"--data '{word}' is neither an embedded data set nor a folder{did_you_mean(word, known)}; "
        f"known: {', '.join(known)}; own pictures are given as DIR (with trainA and trainB) "
        "or as DIR_A,DIR_B"
    )


def _embedded(settings: DataSettings, name: str, rest: str) -> Source:
    from dragoman.data.earth import Earth
    from dragoman.data.openmoji import OpenMoji

    edition = EDITIONS[name]
    family = DATASETS[edition.family]
    domains = [part.strip() for part in rest.split(",") if part.strip()]
    for domain in domains:
        choose(f"domain of {name}", domain, family.domains)
    if len(domains) != 2 or domains[0] == domains[1]:
        first = list(family.domains)
        raise SettingsError(
            f"--data {settings.data} needs two different domains, such as {name}:{first[0]},"
            f"{first[1]}; {name} has {', '.join(first)}"
        )
    if settings.load_size is not None:
        raise SettingsError(
            f"--load_size resizes own pictures; {name} has a fixed scale, leave it out"
        )
    if edition.family == "earth":
        return Earth(name, edition, domains, settings)
    return OpenMoji(name, edition, domains, settings)
