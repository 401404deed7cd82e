"""Open a data set with the library `datasets`, without running code from it or decoding pictures.

Local files are named to the library one by one, so that nothing a folder says of itself, such as
its README, decides what is loaded.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from glob import escape
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dragoman.data.cache import cache_root
from dragoman.data.shard_folder import KEYS, WORDS, Columns, splits_of
from dragoman.data.table import PICTURE_KEYS, UNKNOWN
from dragoman.errors import DataError, SettingsError, did_you_mean

LEAST = 4  # the first version of `datasets` that runs no code of data sets
MOST_CLASSES = 100_000
_NO_CLASS = (None, "", UNKNOWN)
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_SAVED = ("dataset_dict.json", "dataset_info.json")  # of folders that save_to_disk wrote


def library() -> ModuleType:
    """Import `datasets`; raises DataError if it is missing or so old that it would run code."""
    try:
        import datasets
    except ImportError as error:
        raise DataError(
            "hf: needs the package datasets; type: pip install 'dragoman[hfdata]'"
        ) from error
    if int(datasets.__version__.split(".")[0]) < LEAST:
        raise DataError(
            f"hf: needs the package datasets {LEAST} or newer, since older ones run code of data "
            "sets; type: pip install 'dragoman[hfdata]'"
        )
    return datasets


def opened(place: str) -> dict[str, Any]:
    """Return the parts train and, if they are there, val and test of a data set.

    place: a folder with parquet files, pictures, or what save_to_disk wrote; a parquet file; or
    OWNER/NAME on the Hub. Raises DataError if it cannot be opened or has no train.
    """
    datasets = library()
    path = Path(place)
    if not path.exists() and not _HUB_NAME.fullmatch(place):
        raise DataError(
            f"there is no folder or file {place}; a data set of the Hub is named hf:OWNER/NAME"
        )
    try:
        with _quiet(datasets, path.exists()):
            found = _local(datasets, path) if path.exists() else datasets.load_dataset(place)
    except DataError:
        raise
    except Exception as error:  # the library, and those it uses, raise almost anything
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise DataError(
            f"hf:{place} cannot be opened by the library datasets ({lines[0][:300]}); see that it "
            "holds parquet files or pictures"
        ) from error
    return _parts(found if isinstance(found, dict) else {"train": found}, place)


@contextmanager
def _quiet(datasets: ModuleType, local: bool) -> Generator[None]:
    """No progress bars and log lines, and for local files no word to the Hub about them."""
    config, log = datasets.config, datasets.utils.logging
    shown, told = not datasets.are_progress_bars_disabled(), config.HF_UPDATE_DOWNLOAD_COUNTS
    level = log.get_verbosity()
    datasets.disable_progress_bars()
    log.set_verbosity(log.CRITICAL)
    config.HF_UPDATE_DOWNLOAD_COUNTS = told and not local
    try:
        yield
    finally:
        config.HF_UPDATE_DOWNLOAD_COUNTS = told
        log.set_verbosity(level)
        if shown:
            datasets.enable_progress_bars()


def _local(datasets: ModuleType, path: Path) -> Any:
    cache = str(cache_root() / "hf")
    if path.is_dir() and any((path / name).is_file() for name in _SAVED):
        return datasets.load_from_disk(str(path))
    files = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
    if not files:
        place = escape(str(path.resolve()))
        return datasets.load_dataset("imagefolder", data_dir=place, cache_dir=cache)
    if path.is_file() and path.suffix.lower() != ".parquet":
        raise DataError(f"hf:{path} is no parquet file; name a .parquet file or a folder")
    root = path if path.is_dir() else path.parent
    names = [file.relative_to(root).as_posix() for file in files]
    splits = splits_of(root, names, None) if path.is_dir() else {"train": [0]}
    given = {
        split: [escape(str(files[number].resolve())) for number in numbers]
        for split, numbers in splits.items()
    }
    return datasets.load_dataset("parquet", data_files=given, cache_dir=cache)


def _parts(found: Mapping[str, Any], place: str) -> dict[str, Any]:
    """Name the splits as here; a data set with one split has that for train."""
    parts = {
        split: found[name]
        for split, words in WORDS.items()
        for name in found
        if str(name).lower() in words
    }
    if "train" not in parts and len(found) == 1:
        parts = {"train": next(iter(found.values()))}
    if "train" not in parts:
        raise DataError(
            f"hf:{place} has the splits {', '.join(map(str, found))}, but none called train"
        )
    for split, part in parts.items():
        if part.features != parts["train"].features:
            raise DataError(
                f"hf:{place} has other columns, or columns of other types, in {split} than in "
                "train; make them alike"
            )
    return parts


def picture_columns(
    features: Mapping[str, Any], columns: Columns, text: str
) -> dict[str, tuple[str, ...]]:
    """Return the columns of each batch key: those named, or called like keys, or the only one.

    Raises SettingsError for columns that are not there or hold no encoded pictures, DataError if
    none can be chosen.
    """
    pictures = [name for name, feature in features.items() if _holds_pictures(feature)]
    for key, names in columns.pictures.items():
        for name in names:
            if name not in features:
                raise _unknown(f"{key}={name}", name, features, text)
            if name not in pictures:
                raise SettingsError(
                    f"--columns {key}={name}: that column of {text} holds no encoded pictures; "
                    f"those that do are {', '.join(pictures) or 'none'}"
                )
    chosen: dict[str, tuple[str, ...]]
    if columns.pictures:
        chosen = {key: columns.pictures[key] for key in KEYS if key in columns.pictures}
    else:
        chosen = {key: (key,) for key in KEYS if key in pictures}
    if not columns.pictures and not chosen and len(pictures) == 1:
        chosen = {"image": (pictures[0],)}
    if not chosen.keys() & set(PICTURE_KEYS):
        if not pictures:
            raise DataError(
                f"{text} has no column of encoded pictures; it has {', '.join(features)}"
            )
        raise DataError(
            f"{text} has the pictures {', '.join(pictures)}, but none called a, b or image; name "
            f"them by --columns a={pictures[0]},b={pictures[-1]} or --columns image={pictures[0]}"
        )
    return chosen


def _unknown(what: str, name: str, features: Mapping[str, Any], text: str) -> SettingsError:
    return SettingsError(
        f"--columns {what}: {text} has no such column{did_you_mean(name, features)}; it has "
        f"{', '.join(features)}"
    )


def _holds_pictures(feature: Any) -> bool:
    """Whether a column holds files: of pictures, or as bytes."""
    if isinstance(feature, dict):
        return getattr(feature.get("bytes"), "dtype", "") in ("binary", "large_binary")
    kind = type(feature).__name__
    return kind == "Image" or getattr(feature, "dtype", "") in ("binary", "large_binary")


def label_columns(features: Mapping[str, Any], columns: Columns, text: str) -> tuple[str, ...]:
    """Return the columns that are label sets: those named, or the only one of classes, or label."""
    if columns.labels is None:
        classes = [name for name, feature in features.items() if hasattr(feature, "names")]
        if len(classes) == 1:
            return tuple(classes)
        return ("label",) if _holds_classes(features.get("label")) else ()
    for name in columns.labels:
        if name not in features:
            raise _unknown(f"label={name}", name, features, text)
        if not _holds_classes(features[name]):
            raise SettingsError(
                f"--columns label={name}: that column of {text} holds no classes, which are "
                "texts or whole numbers"
            )
    return columns.labels


def _holds_classes(feature: Any) -> bool:
    kind = str(getattr(feature, "dtype", ""))
    return re.fullmatch(r"u?int\d+|(large_)?string|bool", kind) is not None


def label_codes(
    parts: Mapping[str, Any], features: Mapping[str, Any], names: Sequence[str], text: str
) -> tuple[dict[str, tuple[str, ...]], dict[str, NDArray[np.int32]]]:
    """Return the classes of each label set, and those of all rows: [rows, sets] by part.

    Columns without classes of their own have their different values: numbers in their order,
    texts by the alphabet. Raises DataError if there are too many.
    """
    codes = {part: np.full((len(p), len(names)), UNKNOWN, np.int32) for part, p in parts.items()}
    sets: dict[str, tuple[str, ...]] = {}
    for place, name in enumerate(names):
        columns = {p: part.select_columns([name])[:].column(name) for p, part in parts.items()}
        own = getattr(features[name], "names", None)
        values = range(len(own)) if own else _values(columns.values(), name, text)
        sets[name] = tuple(own) if own else tuple(str(value) for value in values)
        for part, column in columns.items():
            codes[part][:, place] = _numbered(column, list(values))
    return sets, codes


def _values(columns: Iterable[Any], name: str, text: str) -> list:
    found: set = set()
    for column in columns:
        found.update(value for value in column.unique().to_pylist() if value not in _NO_CLASS)
        if len(found) > MOST_CLASSES:
            raise DataError(
                f"the column {name} of {text} has more than {MOST_CLASSES} different values, too "
                "many for classes; name another by --columns label=COLUMN"
            )
    return sorted(found)


def _numbered(column: Any, values: list) -> NDArray[np.int32]:
    """The place of each row's value among `values`, UNKNOWN for others."""
    encoded = column.combine_chunks().dictionary_encode()
    numbers = {value: number for number, value in enumerate(values)}
    own = [numbers.get(value, UNKNOWN) for value in encoded.dictionary.to_pylist()]
    places = encoded.indices.fill_null(len(own)).to_numpy(zero_copy_only=False)
    return np.array([*own, UNKNOWN], np.int32)[places]
