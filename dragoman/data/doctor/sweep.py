"""Read many rows with threads, in order, and gather what stands in the way of training."""

from __future__ import annotations

import os
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from dragoman.data.doctor.findings import MOST_LINES, Finding, times
from dragoman.data.doctor.subject import Look, Trouble

Given = TypeVar("Given")
Made = TypeVar("Made")
Say = Callable[[str], None]

THREADS = min(4, os.cpu_count() or 1)
CHUNK = 16  # rows a task: handing over a task costs as much as a tenth of a small picture
AHEAD = 4  # tasks a thread: as many results may wait for a slow one before it
PATIENCE = 10.0  # seconds between two reports of progress

# What is fatal, in the order in which it is told: its message, and the fix.
FATAL: dict[str, tuple[str, str]] = {
    "partner": (
        "pictures without partner",
        "give partners the same name, or remove them; pictures that are no pairs are trained on "
        "with --pairing unpaired",
    ),
    "same_name": ("pictures of the same name", "keep one of each"),
    "same_domain": (
        "domains that hold the same pictures",
        "put other pictures into one of them, or take one of the folders out",
    ),
    "lone_domain": (
        "domains with too few pictures",
        "add pictures to them, or keep fewer for val and test",
    ),
    "lone_class": (
        "classes with too few pictures to be domains",
        "add pictures to them, give theirs another class, or name them with --unseen",
    ),
    "row": ("rows of a table that cannot be used", "mend these rows, or take them out"),
    "left_out": ("files and folders that are left out", "rename, move or remove them"),
    "unreadable": (
        "files that cannot be read",
        "copy them again from where they came, or remove them",
    ),
    "not_finite": (
        "files with NaN or infinite values",
        "fill the gaps, for instance with numpy.nan_to_num, or remove these files",
    ),
    "too_large": (
        "files with more pixels than is allowed",
        "cut them into pieces, or allow more with --max_megapixels",
    ),
    "mixed": (
        "files of another depth or other channels than the rest",
        "convert them to the form of the others, or keep the two kinds in folders apart",
    ),
    "no_class": (
        "label maps with numbers that are no class",
        "raise --classes, or name the number that means no class with --unlabelled",
    ),
    "size": (
        "pairs, stacks or layers that differ in size",
        "crop or resize both to the same pixels, or remove them",
    ),
    "shape": (
        "files of a shape that cannot be used",
        "crop them, or use --fit pad or --fit resize",
    ),
}


class Ward:
    """Counts troubles by code and keeps their lines."""

    def __init__(self, problems: Iterable[str] = ()) -> None:
        self._lines: dict[str, list[str]] = {code: [] for code in FATAL}
        self._counts: Counter[str] = Counter()
        for line in problems:
            self.add((_left_out(line), line))

    def add(self, trouble: Trouble) -> None:
        """Take in one trouble."""
        code, line = trouble
        self._counts[code] += 1
        if len(self._lines[code]) < MOST_LINES:
            self._lines[code].append(line)

    def findings(self) -> list[Finding]:
        """Return a finding for each code that occurred."""
        return [
            Finding(
                "fatal",
                code,
                f"{message}: {self._counts[code]:,}",
                self._counts[code],
                tuple(self._lines[code]),
                fix,
            )
            for code, (message, fix) in FATAL.items()
            if self._counts[code]
        ]


def _left_out(line: str) -> str:
    """The code of a line that a table tells of what it left out, by its words."""
    if "no partner" in line or "without partner" in line:
        return "partner"
    if "has the same name as" in line:
        return "same_name"
    return "row" if " line " in line else "left_out"


def odd_sizes(shapes: Sequence[tuple[str, str, Look]]) -> list[Trouble]:
    """Compare the sizes of pictures that belong together with that of the first.

    shapes: name for the user, key and look of each; those of unknown size are passed over.
    """
    known = [one for one in shapes if one[2].height]
    found: list[Trouble] = []
    for name, _, look in known[1:]:
        first, _, whole = known[0]
        if (look.height, look.width) != (whole.height, whole.width):
            line = (
                f"{first} is {whole.width}x{whole.height} pixels, but its partner {name} is "
                f"{look.width}x{look.height}"
            )
            found.append(("size", line))
    return found


def swept(
    work: Callable[[Given], Made], given: Iterable[Given], threads: int = THREADS
) -> Iterator[Made]:
    """Yield work(one) for each one in order, done by threads, with a bounded number in flight."""
    pool = ThreadPoolExecutor(threads, "dragoman-doctor")
    waiting: deque[Future[Made]] = deque()
    try:
        for one in given:
            waiting.append(pool.submit(work, one))
            if len(waiting) >= AHEAD * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def chunks(rows: Sequence[int], size: int = CHUNK) -> Iterator[Sequence[int]]:
    """Cut a sequence into pieces."""
    return (rows[at : at + size] for at in range(0, len(rows), size))


class Progress:
    """Says now and then how far it is, if it takes long."""

    def __init__(self, total: int, say: Say | None) -> None:
        self._total, self._say, self._done = total, say, 0
        self._start = self._last = time.monotonic()

    def add(self, count: int) -> None:
        """So many pictures more are done."""
        self._done += count
        now = time.monotonic()
        if self._say is not None and now - self._last > PATIENCE:
            self._last = now
            rate = self._done / (now - self._start)
            left = (self._total - self._done) / rate
            self._say(
                f"looked at {self._done:,} of {times(self._total, 'picture')}, {rate:,.0f} a "
                f"second, {left:,.0f} s to go"
            )
