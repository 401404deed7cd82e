"""Statistics of each domain and split, from what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dragoman.data.doctor.measuring import ZERO, Measures
from dragoman.data.doctor.subject import Subject

ByPlace = Mapping[tuple[str, str], Measures]  # by key and split
PERCENTILES = (1, 50, 99)


def statistics(subject: Subject, measured: ByPlace) -> dict[str, Any]:
    """Return what is known of each key: how it is stored, and of each split its numbers."""
    return {
        key: _stored(subject, key)
        | {
            "splits": {
                split: _numbers(subject, key, measured[key, split])
                for split in subject.splits
                if (key, split) in measured
            }
        }
        for key in subject.keys
    }


def _stored(subject: Subject, key: str) -> dict[str, Any]:
    domain = subject.domains.get(key)
    if domain is None:
        return {"name": key, "kind": key}
    return {
        "name": domain.name,
        "kind": domain.kind,
        "channels": domain.planes,
        "depth": domain.dtype,
        "low": list(domain.low),
        "high": list(domain.high),
        "unit": domain.unit,
    }


def _numbers(subject: Subject, key: str, measures: Measures) -> dict[str, Any]:
    """Of one split; nothing but counts if no picture could be read."""
    read = measures.read
    found: dict[str, Any] = {"pictures": len(read), "read": int(read.sum())}
    if not read.any():
        return found
    for place, side in enumerate(("height", "width")):
        sides = measures.size[read, place]
        found[side] = {
            "min": int(sides.min()),
            "median": float(np.median(sides)),
            "max": int(sides.max()),
        }
    if not measures.numbers:
        return found | {"channels": _channels(measures)}
    shares, unlabelled = class_shares(subject, key, measures)
    if key == "instance":
        return found
    if key == "mask":
        return found | {"inside": shares.get(1, 0.0)}
    domain = subject.domains.get(key)
    return found | {
        "classes": {str(number): share for number, share in shares.items()},
        "unlabelled": unlabelled,
        "known": domain.channels if domain is not None else None,
    }


def _channels(measures: Measures) -> list[dict[str, float]]:
    """Mean, deviation, percentiles (of a sample of values) and extremes (exact) by channel."""
    values = measures.values[measures.read].reshape(-1, measures.channels).astype(np.float64)
    percentiles = np.percentile(values, PERCENTILES, axis=0)
    found = []
    for channel in range(measures.channels):
        numbers = {
            "mean": values[:, channel].mean(),
            "std": values[:, channel].std(),
            "min": measures.low[channel],
            **{f"p{p}": percentiles[n, channel] for n, p in enumerate(PERCENTILES)},
            "max": measures.high[channel],
        }
        found.append({name: _rounded(float(value)) for name, value in numbers.items()})
    return found


def _rounded(value: float) -> float:
    """Six significant digits: more would be noise of the sample."""
    return float(f"{value:.6g}")


def class_shares(subject: Subject, key: str, measures: Measures) -> tuple[dict[int, float], float]:
    """Return the share of pixels of each class number that occurs, and of pixels without class."""
    domain = subject.domains.get(key)
    numbers = np.flatnonzero(measures.ids)
    counts = measures.ids[numbers]
    total = int(counts.sum())
    shares = {
        int(number - ZERO): _rounded(count / total)
        for number, count in zip(numbers, counts, strict=True)
    }
    unlabelled = 0.0
    if domain is not None and domain.unlabelled is not None:
        unlabelled = shares.pop(domain.unlabelled, 0.0)
    return shares, unlabelled
