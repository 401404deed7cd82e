"""What kind of pictures a user's files hold: channels, depth, range and classes of each domain."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import cast, get_args

import numpy as np
from numpy.typing import NDArray

from dragoman.data.appearance import spread_colours
from dragoman.data.blob import Blob
from dragoman.data.catalogue import Alpha, Depth, Domain, Kind
from dragoman.data.decoding import fitted, picture
from dragoman.data.ranges import ends_of, evenly
from dragoman.data.raster import MOST_CHANNELS, Header, read_header, read_raster
from dragoman.data.remembering import remembered
from dragoman.data.settings import DataSettings, by_key
from dragoman.data.table import PICTURE_KEYS, Table
from dragoman.errors import DataError, SettingsError, choose

MOST_HEADERS = 20_000  # of a split are all read before training; of more, SOME_HEADERS
SOME_HEADERS = 2_000
MOST_CLASSES = 4096
VOID = 255  # what most label maps hold where there is no class
THREADS = 4


def describe(table: Table, settings: DataSettings) -> dict[str, Domain]:
    """Return the domain of each picture key, from the settings and what the files hold.

    Without a setting, pictures of 8 bits with one or three channels are photos and all else are
    values; photos are grey only if all are. Raises SettingsError for settings that cannot be,
    DataError if no picture can be read.
    """
    keys = tuple(key for key in PICTURE_KEYS if key in table.keys)
    given = {
        name: by_key(name, getattr(settings, name), keys)
        for name in ("kind", "classes", "unlabelled", "range", "unit", "alpha", "shown")
    }
    found = {
        key: _domain(table, key, {name: texts.get(key) for name, texts in given.items()}, settings)
        for key in keys
    }
    for name in ("classes", "unlabelled"):
        maps = [key for key in given[name] if found[key].kind == "labels"]
        named = "=" in (getattr(settings, name) or "")
        wrong = [key for key in given[name] if key not in maps] if named or not maps else []
        if wrong:
            raise SettingsError(
                f"--{name} is for label maps, of which '{wrong[0]}' is none; use --kind "
                f"{wrong[0]}=labels, or leave --{name} out"
            )
    return found


def title(table: Table, key: str) -> str:
    """A short name of a key's pictures, fit for a table: the last part of their folder."""
    parts = [Path(part).name for part in table.folders(key).split("+")]
    return "+".join(part.removeprefix("train").lstrip("_") or part for part in parts)


def pixels_of(settings: DataSettings) -> int:
    """The most pixels that one picture may have."""
    return round(settings.max_megapixels * 1e6)


def _domain(table: Table, key: str, given: dict[str, str | None], settings: DataSettings) -> Domain:
    limit = pixels_of(settings)
    kind = given["kind"] or table.kinds.get(key)
    if kind is not None:
        choose("kind", kind, get_args(Kind))
    alpha = choose("alpha", given["alpha"] or "white", get_args(Alpha))
    indices = kind == "labels"
    stacks = _headers(table, key, indices, limit)
    if indices:
        return _labels(table, key, given, settings)
    dtype, channels = _form(stacks, cast(Alpha, alpha))
    if kind is None:
        plain = dtype == "uint8" and channels - (alpha == "keep") in (1, 3)
        kind = "photo" if plain else "values"
    domain = Domain(
        title(table, key),
        cast(Kind, kind),
        channels,
        dtype=cast(Depth, dtype),
        unit=given["unit"] or "",
        alpha=cast(Alpha, alpha),
        shown=_shown(given["shown"], channels, key),
    )
    low, high = ends_of(table, key, domain, given["range"], limit)
    return replace(domain, low=low, high=high)


def _headers(table: Table, key: str, indices: bool, limit: int) -> list[tuple[Header, ...]]:
    """Headers of the pictures of a key, one for each file of a stack; unreadable ones left out.

    Raises DataError, with the first reason, if none can be read.
    """
    reasons: list[str] = []

    def headers(blobs: tuple[Blob, ...]) -> tuple[Header, ...] | None:
        try:
            return tuple(read_header(blob, indices, limit) for blob in blobs)
        except DataError as error:
            reasons.append(str(error))
            return None

    found: list[tuple[Header, ...]] = []
    with ThreadPoolExecutor(THREADS) as threads:
        for split in table.splits:
            count = table.count(split, key)
            rows = evenly(count, count if count <= MOST_HEADERS else SOME_HEADERS)
            blobs = [table.blobs(split, key, row) for row in rows]
            found += [one for one in threads.map(headers, blobs) if one is not None]
    if not found:
        raise DataError(f"no picture of {table.folders(key)} can be read; " + min(reasons))
    return found


def _form(stacks: list[tuple[Header, ...]], alpha: Alpha) -> tuple[str, int]:
    """Depth and channels that pictures have; where they differ, those that `fitted` can make.

    Grey and coloured pictures of 8 bits become coloured ones; else the most frequent form counts
    and `fitted` refuses the others.
    """
    forms = Counter((stack[0].dtype, tuple(_colours(h) for h in stack)) for stack in stacks)
    dtype, colours = forms.most_common(1)[0][0]
    rivals = {form for form in forms if form[0] == dtype == "uint8"}
    if len(colours) == 1 and colours[0] in (1, 3) and {("uint8", (1,)), ("uint8", (3,))} <= rivals:
        colours = (3,)
    channels = sum(colours) + (alpha == "keep")
    if channels > MOST_CHANNELS:
        raise DataError(
            f"pictures of {channels} channels are too deep; {MOST_CHANNELS} is the most"
        )
    if alpha == "keep" and len(colours) > 1:
        raise SettingsError("--alpha keep is for single files, not for stacks; use --alpha white")
    return dtype, channels


def _colours(header: Header) -> int:
    return header.channels - header.alpha


def _labels(table: Table, key: str, given: dict[str, str | None], settings: DataSettings) -> Domain:
    """The domain of a label map; without --classes all maps are read once to count them."""
    unlabelled = _whole("unlabelled", given["unlabelled"], 0, 65535)
    classes = _whole("classes", given["classes"], 1, MOST_CLASSES)
    if classes is None:
        limit = pixels_of(settings)
        what = f"greatest classes of {key} unlabelled {unlabelled}"
        greatest, next_one = remembered(
            table, what, lambda: _greatest(table, key, unlabelled, limit)
        )
        if greatest == VOID and next_one < VOID - 1:
            raise DataError(
                f"{table.folders(key)} holds the class {VOID}, but none from {next_one + 1} to "
                f"{VOID - 1}; use --unlabelled {key}={VOID} if it means no class, as is usual, or "
                f"--classes {key}={VOID + 1}"
            )
        classes = 1 + greatest
        if classes > MOST_CLASSES:
            raise DataError(
                f"{table.folders(key)} holds the class {classes - 1}; {MOST_CLASSES} classes are "
                f"the most: is it a label map? If {classes - 1} means no class, use "
                f"--unlabelled {key}={classes - 1}"
            )
    colours = _palette(table, key, classes, pixels_of(settings))
    return Domain(
        title(table, key),
        "labels",
        classes,
        tuple(f"class {number}" for number in range(classes)),
        tuple((int(r), int(g), int(b)) for r, g, b in colours),
        dtype="uint8" if classes <= 256 else "uint16",
        unlabelled=unlabelled,
    )


def _whole(name: str, text: str | None, low: int, high: int) -> int | None:
    if text is None:
        return None
    if not text.isdecimal() or not low <= int(text) <= high:
        raise SettingsError(f"--{name} must be a whole number from {low} to {high}, got '{text}'")
    return int(text)


def _greatest(table: Table, key: str, unlabelled: int | None, limit: int) -> list[int]:
    """The greatest class number in all label maps of a key, and the greatest that is not VOID.

    Files that cannot be read or are no label maps are left out; they are refused later, by name.
    """

    def greatest(blob: Blob) -> tuple[int, int]:
        try:
            pixels = read_raster(blob, True, limit).pixels
        except DataError:
            return 0, 0
        if pixels.dtype == np.float32 or pixels.shape[2] != 1:
            return 0, 0
        known = pixels if unlabelled is None else pixels[pixels != unlabelled]
        return int(known.max(initial=0)), int(known.max(initial=0, where=known != VOID))

    with ThreadPoolExecutor(THREADS) as threads:
        blobs = (
            table.blobs(split, key, row)[0]
            for split in table.splits
            for row in range(table.count(split, key))
        )
        return np.max(list(threads.map(greatest, blobs)), axis=0).tolist()


def _palette(table: Table, key: str, classes: int, limit: int) -> NDArray:
    """The colours of the first label map's palette, or spread ones."""
    spread = np.array(spread_colours(classes), np.uint8)
    try:
        colours = read_raster(table.blobs("train", key, 0)[0], True, limit).colours
    except DataError:
        return spread
    return spread if colours is None or len(colours) < classes else colours[:classes]


def _shown(text: str | None, channels: int, key: str) -> tuple[int, ...]:
    """Channel numbers from 0 of "4+3+2"."""
    if text is None:
        return ()
    parts = text.split("+")
    numbers = [int(part) for part in parts if part.isdecimal()]
    if len(numbers) != 3 or len(parts) != 3 or not all(1 <= n <= channels for n in numbers):
        raise SettingsError(
            f"--shown {key}={text} must name three channels from 1 to {channels}, such as 1+1+1"
        )
    return tuple(number - 1 for number in numbers)


__all__ = ["describe", "fitted", "picture", "pixels_of", "title"]
