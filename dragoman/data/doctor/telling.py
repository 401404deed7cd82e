"""Findings as text for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

from dragoman.data.doctor.findings import LEVELS, Finding, Findings, times

WIDTH = 98
MOST_CHANNELS = 8  # in the table; the JSON has all
MOST_CLASSES = 24
_HEADS = {
    "fatal": "FATAL: training would be refused",
    "warning": "WARNINGS: training works, but look at these first",
    "note": "NOTES",
}
_NUMBERS = ("mean", "std", "min", "p1", "p50", "p99", "max")


def told(findings: Findings, examples: int) -> str:
    """Return the findings by level, each with some examples and its fix, then the statistics."""
    blocks = [_opening(findings)]
    for level in LEVELS:
        found = findings.of(level)
        if found:
            blocks.append("\n".join([_HEADS[level], *(_one(one, examples) for one in found)]))
    blocks.append("\n".join(["STATISTICS", *_statistics(findings)]))
    blocks.append(_verdict(findings))
    return "\n\n".join(blocks)


def _opening(findings: Findings) -> str:
    parts = []
    for split, by_key in findings.pictures.items():
        counts = {f"{count:,}" for count in by_key.values()}
        each = ", ".join(f"{key} {count:,}" for key, count in by_key.items())
        parts.append(f"{split} {each if len(counts) > 1 else counts.pop()}")
    keys = ", ".join(next(iter(findings.pictures.values()), {}))
    total = sum(sum(by_key.values()) for by_key in findings.pictures.values())
    some = "" if findings.examined == total else f" of {total:,}"
    return _wrapped(
        f"{findings.data}: {'; '.join(parts)} of {keys}; examined {findings.examined:,}{some}", ""
    )


def _one(one: Finding, examples: int) -> str:
    lines = [_wrapped(f"- {one.message}", "  ")]
    shown = one.examples[:examples]
    # Paths are not broken: they are to be copied.
    lines += [f"    {example}" for example in shown]
    if shown and one.count > len(shown):
        lines.append(f"    ... and {one.count - len(shown):,} more")
    histograms = one.detail.get("histogram", {})
    for key, histogram in histograms.items():
        pairs = ", ".join(f"{number}: {count:,}" for number, count in histogram.items())
        lines.append(_wrapped(f"pixels of each number in {key}: {pairs}", "    "))
    if one.fix:
        lines.append(_wrapped(f"fix: {one.fix}", "    "))
    return "\n".join(lines)


def _wrapped(text: str, indent: str) -> str:
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent=indent,
        subsequent_indent=indent + "  ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _statistics(findings: Findings) -> Iterator[str]:
    statistics = dict(findings.statistics)
    labels = statistics.pop("labels", {})
    for key, about in statistics.items():
        yield _wrapped(_stored(key, about), "  ")
        head = "  ".join(
            f"{name.replace('p', '') + '%' if name[0] == 'p' else name:>8}" for name in _NUMBERS
        )
        if any("channels" in numbers for numbers in about["splits"].values()):
            yield f"    {'':8}{'channel':>8}  {head}"
        for split, numbers in about["splits"].items():
            yield from _split(split, numbers)
    for name, by_split in labels.items():
        yield f"  classes of '{name}'"
        for split, counts in by_split.items():
            shown = [f"{word or 'unknown'} {count:,}" for word, count in counts.items() if count]
            more = f", and {len(shown) - MOST_CLASSES} more" if len(shown) > MOST_CLASSES else ""
            yield _wrapped(f"{split:6}{', '.join(shown[:MOST_CLASSES])}{more}", "    ")


def _stored(key: str, about: dict[str, Any]) -> str:
    if "depth" not in about:
        return key
    parts = [about["kind"], about["depth"], times(about["channels"], "channel")]
    if about["low"]:
        ends = zip(about["low"], about["high"], strict=True)
        ranges = list(dict.fromkeys(f"{low:g} to {high:g}" for low, high in ends))
        unit = f" {about['unit']}" if about["unit"] else ""
        shown = ", ".join(ranges[:MOST_CHANNELS])
        parts.append(f"{shown}{unit} becomes -1 to 1")
    return f"{key}: {about['name']}, {', '.join(parts)}"


def _split(split: str, numbers: dict[str, Any]) -> Iterator[str]:
    if not numbers["read"]:
        yield f"    {split:8}no picture could be read"
        return
    channels = numbers.get("channels", [])
    size = f"{times(numbers['read'], 'picture')} of {_size(numbers['width'], numbers['height'])}"
    if not channels:
        yield _wrapped(f"{split:8}{size}{_shares(numbers)}", "    ")
        return
    yield f"    {split:8}{size}"
    for place, channel in enumerate(channels[:MOST_CHANNELS], start=1):
        yield f"    {'':8}{place:>8}  " + "  ".join(f"{_short(channel[n]):>8}" for n in _NUMBERS)
    if len(channels) > MOST_CHANNELS:
        yield f"    {'':8}and {len(channels) - MOST_CHANNELS} more channels, which --json tells"


def _size(width: dict[str, float], height: dict[str, float]) -> str:
    if width["min"] == width["max"] and height["min"] == height["max"]:
        return f"{width['min']}x{height['min']} pixels"
    return (
        f"{width['min']}x{height['min']} to {width['max']}x{height['max']} pixels, median "
        f"{width['median']:g}x{height['median']:g}"
    )


def _shares(numbers: dict[str, Any]) -> str:
    if "inside" in numbers:
        return f"; {numbers['inside']:.1%} inside"
    if "classes" not in numbers:
        return ""
    shown = [f"{number} {share:.1%}" for number, share in numbers["classes"].items()]
    more = f", and {len(shown) - MOST_CLASSES} more" if len(shown) > MOST_CLASSES else ""
    none = f"; no class {numbers['unlabelled']:.1%}" if numbers["unlabelled"] else ""
    return f"; pixels by class: {', '.join(shown[:MOST_CLASSES])}{more}{none}"


def _short(value: float) -> str:
    """A number in at most eight characters."""
    for digits in (4, 3, 2, 1):
        text = f"{value:.{digits}g}" if abs(value) < 1e4 else f"{value:.0f}"
        text = text if len(text) <= 8 else f"{value:.{digits}g}"
        if len(text) <= 8:
            return text
    return text


def _verdict(findings: Findings) -> str:
    if findings.verdict == "well":
        return "nothing was found"
    counts = [times(len(findings.of(level)), level) for level in LEVELS if findings.of(level)]
    counts = [text.replace("fatals", "fatal") for text in counts]
    return f"found: {', '.join(counts)}"
