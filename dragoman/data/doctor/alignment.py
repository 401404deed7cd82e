"""Tells whether b lies pixel by pixel on a, judged by a sample of pairs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from dragoman.data.doctor.findings import Finding, times
from dragoman.data.doctor.shift import SAMPLE, Shift, Surface, estimate, surface
from dragoman.data.doctor.subject import Subject
from dragoman.data.doctor.sweep import swept
from dragoman.data.ranges import evenly

PAIR = ("a", "b")


def alignment(subject: Subject) -> Iterator[Finding]:
    """Yield a finding if the pairs of train are shifted, or have nothing in common."""
    if not subject.partners("train") or not set(PAIR) <= set(subject.domains):
        return
    numbers = (subject.domains["a"].kind == "labels", subject.domains["b"].kind == "labels")

    def compare(row: int) -> Surface | None:
        # In full size: a JPEG that is decoded smaller is off by part of a pixel.
        looks = dict(subject.looks("train", PAIR, row))
        a, b = looks["a"].pixels, looks["b"].pixels
        if a is None or b is None or a.shape[:2] != b.shape[:2]:
            return None
        return surface(a, b, numbers)

    rows = evenly(subject.count("train", "a"), SAMPLE)
    found = [one for one in swept(compare, rows) if one is not None]
    shapes = Counter(one.shape for one in found)
    if not found:
        return
    shape = shapes.most_common(1)[0][0]
    shift = estimate([one for one in found if one.shape == shape])
    if shift is not None:
        yield from _told(shift)


def _told(shift: Shift) -> Iterator[Finding]:
    detail = {
        "pairs": shift.pairs,
        "certainty": shift.certainty,
        "down": shift.down,
        "right": shift.right,
        "median": shift.median,
    }
    if shift.moved:
        yield Finding(
            "warning",
            "shift",
            f"b is shifted by about {_way(shift)} against a, in a sample of {shift.pairs} pairs of "
            "train",
            shift.pairs,
            fix="cut both so that they show the same pixels; a network that learns from such pairs "
            "shifts, or blurs",
            split="train",
            detail=detail,
        )
    elif shift.scattered:
        yield Finding(
            "warning",
            "scattered",
            f"pairs do not lie on each other: {shift.clear} of {shift.pairs} in a sample are off "
            f"by {shift.median:g} pixels (median), each in its own direction",
            shift.clear,
            fix="register b to a pair by pair; what is learnt from such pairs is blurred",
            split="train",
            detail=detail,
        )
    elif shift.unrelated:
        yield Finding(
            "note",
            "unrelated",
            f"a and b share no edges in a sample of {shift.pairs} pairs of train, as if wrong "
            "pictures were paired",
            shift.pairs,
            fix="look at some pairs with 'dragoman preview'",
            split="train",
            detail=detail,
        )


def _way(shift: Shift) -> str:
    """Such as "3 pixels down and 2 pixels left"."""
    parts = []
    for amount, forth, back in ((shift.down, "down", "up"), (shift.right, "right", "left")):
        if amount:
            parts.append(f"{times(abs(amount), 'pixel')} {forth if amount > 0 else back}")
    return " and ".join(parts)
