"""Which stored values become -1 and 1: given, or measured over the training split."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from dragoman.data.catalogue import Domain
from dragoman.data.decoding import picture
from dragoman.data.remembering import remembered
from dragoman.data.table import Table
from dragoman.errors import DataError, SettingsError

MOST_MEASURED = 2_000  # training pictures whose values are looked at to fix a range
MOST_VALUES = 20_000  # of a picture and channel, for percentiles
THREADS = 4


def evenly(count: int, most: int) -> Iterable[int]:
    """Return at most `most` of the numbers below count, spread evenly."""
    return range(count) if count <= most else (i * count // most for i in range(most))


def ends_of(
    table: Table, key: str, domain: Domain, text: str | None, limit: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the range of each channel as (lows, highs); empty for the whole extent of the depth.

    text: the setting `range`: full, extremes, percentiles[:LOW:HIGH] or LOW:HIGH[/LOW:HIGH ...].
    Raises SettingsError, or DataError if no training picture can be read.
    """
    text = text or ("full" if domain.dtype == "uint8" else "extremes")
    rule, _, rest = text.partition(":")
    if rule == "full":
        if domain.dtype == "float32":
            raise SettingsError(
                f"--range {key}=full: float32 has no full range; give LOW:HIGH, extremes or "
                "percentiles"
            )
        return (), ()
    if rule == "extremes" and not rest:
        return measured(table, key, domain, None, limit)
    if rule == "percentiles":
        share = _pair(key, text, rest or "0.1:99.9")
        if not 0 <= share[0] < share[1] <= 100:
            raise SettingsError(f"--range {key}={text}: percentiles lie from 0 to 100")
        return measured(table, key, domain, share, limit)
    pairs = [_pair(key, text, part) for part in text.split("/")]
    if len(pairs) not in (1, domain.channels):
        raise SettingsError(
            f"--range {key}={text} names {len(pairs)} ranges; give one, or one for each of the "
            f"{domain.channels} channels"
        )
    pairs *= domain.channels // len(pairs)
    return tuple(low for low, _ in pairs), tuple(high for _, high in pairs)


def _pair(key: str, whole: str, text: str) -> tuple[float, float]:
    low, _, high = text.partition(":")
    try:
        ends = float(low), float(high)
    except ValueError:
        ends = 0.0, 0.0
    if not ends[0] < ends[1] or not np.isfinite(ends).all():
        raise SettingsError(
            f"--range {key}={whole} must be LOW:HIGH with LOW below HIGH, full, extremes or "
            "percentiles"
        )
    return ends


def measured(
    table: Table, key: str, domain: Domain, share: tuple[float, float] | None, limit: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Extremes (share None) or percentiles of each channel over the training split.

    Of more than 2,000 pictures as many are taken, spread evenly; of each at most 20,000 values a
    channel for percentiles. A constant channel gets a range around its value.
    """

    def ends() -> list[list[float]]:
        return _measured(table, key, domain, share, limit).tolist()

    low, high = remembered(table, f"range of {key} {domain} {share}", ends)
    return tuple(low), tuple(high)


def _measured(
    table: Table, key: str, domain: Domain, share: tuple[float, float] | None, limit: int
) -> NDArray[np.float64]:
    """Ends of the range, [2, channels]."""

    def values(row: int) -> NDArray | None:
        try:
            pixels = picture(
                table.blobs("train", key, row), domain, limit, table.halves.get(key, "")
            ).reshape(-1, domain.channels)
        except DataError:
            return None
        if share is None:
            return np.stack([pixels.min(0), pixels.max(0)])
        return pixels[:: max(1, len(pixels) // MOST_VALUES)]

    with ThreadPoolExecutor(THREADS) as threads:
        rows = evenly(table.count("train", key), MOST_MEASURED)
        found = [one for one in threads.map(values, rows) if one is not None]
    if not found:
        raise DataError(f"no training picture of {table.folders(key)} can be read")
    seen = np.concatenate(found).astype(np.float64)
    ends = (
        np.stack([seen.min(0), seen.max(0)])
        if share is None
        else np.percentile(seen, share, axis=0)
    )
    flat = ends[0] >= ends[1]
    ends[0][flat] -= 0.5
    ends[1][flat] += 0.5
    return ends
