"""What is noteworthy about the pictures of a domain: sizes, colours, depth, differing splits."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from dragoman.data.doctor.findings import MOST_EXAMPLES, Finding, times
from dragoman.data.doctor.measuring import Measures
from dragoman.data.doctor.statistics import ByPlace
from dragoman.data.doctor.subject import Subject
from dragoman.data.settings import DataSettings
from dragoman.data.sizes import nominal
from dragoman.data.table import PICTURE_KEYS

LONG = 3.0  # aspect, against that of training: a crop shows a third of the picture at most
GREY = 0.1  # share of grey pictures in a domain of colours that is no longer by chance
CLIPPED = 0.01  # share of values beyond the range; percentiles leave 0.2% out
NARROW = 14  # bits: what uses more of its 16 is not a sensor's 10, 12 or 14
# Difference of the means of two splits, in deviations of the pictures' means (Cohen's d; 0.8 is
# called large), and its standard errors, so that small splits do not cry wolf. The regions held
# out of the Earth's tiles differ by up to 0.35.
UNLIKE, SURE = 1.0, 5.0
LEAST_LIKENESS = 10  # pictures in each split before they are compared


def traits(subject: Subject, measured: ByPlace, settings: DataSettings) -> Iterator[Finding]:
    """Yield what is noteworthy, key by key."""
    yield from _few(subject)
    for key in subject.keys:
        own = {split: measured[key, split] for split in subject.splits if (key, split) in measured}
        if not any(measures.read.any() for measures in own.values()):
            continue
        look = _Domain(subject, key, own)
        yield from look.flat()
        if subject.own and key in PICTURE_KEYS:
            yield from look.small(settings)
            yield from look.long(settings)
            yield from look.sizes(settings)
        if key in subject.domains and subject.domains[key].kind != "labels":
            if subject.own:
                yield from look.grey()
            yield from look.bits()
            yield from look.clipped()
            yield from look.unlike_splits()


def _few(subject: Subject) -> Iterator[Finding]:
    for split, by_key in subject.counts().items():
        count = min(by_key[key] for key in subject.domains)
        if count < 2:
            use = "to learn from" if split == "train" else "to judge by"
            yield Finding(
                "warning",
                "few",
                f"{split} has {times(count, 'picture')}, too few {use}",
                count,
                fix=f"add pictures to {split}",
                split=split,
            )


class _Domain:
    """The measures of one key, over all splits."""

    def __init__(self, subject: Subject, key: str, own: dict[str, Measures]) -> None:
        self.subject, self.key, self.own = subject, key, own
        self.domain = subject.domains.get(key)
        self.read = sum(int(measures.read.sum()) for measures in own.values())

    def _where(
        self, chosen: Callable[[Measures], NDArray[np.bool_]]
    ) -> tuple[int, tuple[str, ...]]:
        """How many pictures are chosen, and the names of some."""
        count, names = 0, []
        for split, measures in self.own.items():
            places = np.flatnonzero(chosen(measures) & measures.read)
            count += len(places)
            names += [
                self.subject.title(split, self.key, int(measures.rows[place]))
                for place in places[: MOST_EXAMPLES - len(names)]
            ]
        return count, tuple(names) if count < self.read else ()  # all need not be named

    def _share(self, count: int) -> str:
        whole = "all" if count == self.read else f"{count:,}"
        return f"{whole} of the {self.read:,} of {self.key}"

    def flat(self) -> Iterator[Finding]:
        """Pictures of one colour, or label maps of one class."""
        if self.key in ("mask", "instance"):
            return
        count, names = self._where(lambda measures: measures.flat)
        if not count:
            return
        if self.domain is None or self.domain.kind == "labels":
            words, fix, level = (
                "label maps of a single class",
                "nothing, if such places are meant",
                "note",
            )
        else:
            words, fix, level = (
                "pictures of one colour",
                "remove them, if they are no pictures",
                "warning",
            )
        yield Finding(
            level,
            "constant",
            f"{words}: {self._share(count)}",
            count,
            names,
            fix,
            self.key,
        )

    def small(self, settings: DataSettings) -> Iterator[Finding]:
        """Pictures that would be enlarged for training."""
        size = nominal(settings)
        if settings.fit in ("pad", "native"):
            return

        def scale(measures: Measures) -> NDArray[np.float64]:
            return (measures.size / np.array(size, np.float64)).min(1)

        count, names = self._where(lambda measures: scale(measures) < 1)
        if not count:
            return
        scales = np.concatenate([scale(one)[one.read] for one in self.own.values()])
        fitting = max(8, int(np.median(scales[scales < 1]) * min(size)) // 8 * 8)
        default = "" if settings.size else ", the default"
        yield Finding(
            "warning",
            "small",
            f"pictures smaller than the {size[1]}x{size[0]} pixels of training (--size {min(size)}"
            f"{default}), to which they are enlarged: {self._share(count)}",
            count,
            names,
            f"--size {fitting}" if fitting < min(size) else "remove the small ones, or --fit pad",
            self.key,
            detail={"scale": round(float(scales.min()), 3), "size": list(size)},
        )

    def long(self, settings: DataSettings) -> Iterator[Finding]:
        """Pictures of which cropping loses most, or that resizing distorts."""
        size = nominal(settings)
        if settings.fit in ("pad", "native"):
            return

        def aspects(measures: Measures) -> NDArray[np.float64]:
            height, width = measures.size.T.clip(min=1).astype(np.float64)
            ratio = width / height * size[0] / size[1]
            return np.maximum(ratio, 1 / ratio)

        count, names = self._where(lambda measures: aspects(measures) > LONG)
        if count:
            most = max(float(aspects(m)[m.read].max(initial=1)) for m in self.own.values())
            loss = "are distorted" if settings.fit == "resize" else "lose most when cropped"
            yield Finding(
                "warning",
                "aspect",
                f"pictures up to {most:.1f} times longer than those of training, which {loss}: "
                f"{self._share(count)}",
                count,
                names,
                "--fit pad, or cut them into pieces",
                self.key,
                detail={"longest": round(most, 2)},
            )

    def sizes(self, settings: DataSettings) -> Iterator[Finding]:
        """Pictures of several sizes."""
        known = np.concatenate([m.size[m.read] for m in self.own.values()])
        found = np.unique(known, axis=0)
        if len(found) > 1:
            area = found.prod(1, dtype=np.int64)
            small, large = found[area.argmin()], found[area.argmax()]
            how = {
                "crop": "their shorter side is brought to one length, then they are cropped; "
                "--fit buckets keeps their aspects",
                "native": "they are cropped as they are",
            }
            yield Finding(
                "note",
                "sizes",
                f"pictures of {self.key} come in {times(len(found), 'size')}, from "
                f"{small[1]}x{small[0]} to {large[1]}x{large[0]} pixels",
                len(found),
                fix=how.get(settings.fit, f"--fit {settings.fit} brings them to one"),
                key=self.key,
            )

    def grey(self) -> Iterator[Finding]:
        """Grey pictures that are stored in three equal channels."""
        count, names = self._where(lambda measures: measures.grey)
        if count < GREY * self.read:
            return
        whole = count == self.read
        yield Finding(
            "note",
            "grey",
            f"grey pictures in three equal channels: {self._share(count)}",
            count,
            names,
            "save them in one channel: networks are smaller then, and their output stays grey"
            if whole
            else "nothing, if grey pictures among coloured ones are meant",
            self.key,
        )

    def bits(self) -> Iterator[Finding]:
        """Numbers of a sensor with fewer bits, in files of 16."""
        if self.domain is None or self.domain.dtype != "uint16":
            return
        high = max(float(measures.high.max()) for measures in self.own.values())
        bits = int(high).bit_length()
        if not 8 < bits <= NARROW:
            return
        full = not self.domain.low
        yield Finding(
            "warning" if full else "note",
            "bits",
            f"{self.key} has {bits} bits in files of 16: its greatest value is {high:,.0f}"
            + (", so that pictures are nearly black in the range in use" if full else ""),
            self.read,
            fix=f"--range {self.key}=0:{2**bits - 1} takes all that {bits} bits can hold",
            key=self.key,
            detail={"bits": bits, "greatest": high},
        )

    def clipped(self) -> Iterator[Finding]:
        """Values beyond the range that becomes -1 to 1."""
        if self.domain is None or not self.domain.low:
            return
        low, high = np.array(self.domain.low), np.array(self.domain.high)
        outside = total = 0
        for measures in self.own.values():
            values = measures.values[measures.read]
            outside += int(((values < low) | (values > high)).sum())
            total += values.size
        if outside > CLIPPED * total:
            least = min(float(m.low.min()) for m in self.own.values())
            most = max(float(m.high.max()) for m in self.own.values())
            share = outside / total
            yield Finding(
                "warning",
                "clipped",
                f"{share:.1%} of the values of {self.key} lie beyond its range and are cut off; "
                f"they go from {least:,.6g} to {most:,.6g}",
                outside,
                fix=f"--range {self.key}={least:.6g}:{most:.6g}, or --range {self.key}=percentiles",
                key=self.key,
                detail={"share": round(share, 4), "min": least, "max": most},
            )

    def unlike_splits(self) -> Iterator[Finding]:
        """Splits whose pictures are brighter, darker or of another colour than those of train."""
        if "train" not in self.own:
            return
        train = self.own["train"].means[self.own["train"].read].astype(np.float64)
        for split, measures in self.own.items():
            other = measures.means[measures.read].astype(np.float64)
            if split == "train" or min(len(train), len(other)) < LEAST_LIKENESS:
                continue
            spread = np.maximum(np.sqrt((train.var(0) + other.var(0)) / 2), 1e-9)
            effect = (other.mean(0) - train.mean(0)) / spread
            errors = spread * np.sqrt(1 / len(train) + 1 / len(other))
            channel = int(np.abs(effect).argmax())
            sure = abs(other.mean(0) - train.mean(0))[channel] / errors[channel]
            if abs(effect[channel]) >= UNLIKE and sure >= SURE:
                yield Finding(
                    "warning",
                    "splits_differ",
                    f"{split} differs from train in {self.key}: the mean of channel {channel + 1} "
                    f"is {other.mean(0)[channel]:.4g} there and {train.mean(0)[channel]:.4g} in "
                    f"train, {abs(effect[channel]):.1f} standard deviations of pictures apart",
                    len(other),
                    fix="scores then tell of the difference; deal pictures to splits at random, "
                    "unless it is meant",
                    key=self.key,
                    split=split,
                    detail={"deviations": round(float(effect[channel]), 2)},
                )
