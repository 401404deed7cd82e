"""What the doctor finds: how grave it is, how often and where it occurs, and what to type."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Level = Literal["fatal", "warning", "note"]
LEVELS: tuple[Level, ...] = ("fatal", "warning", "note")
VERSION = 1  # of the JSON; raised when keys change their meaning or go
MOST_EXAMPLES = 1_000  # kept of a warning or note
MOST_LINES = 100_000  # kept of what is fatal; the count goes on


@dataclass(frozen=True)
class Finding:
    """One thing that was found.

    code: a word for programs, which stays the same. message: a sentence without its full stop.
    count: how often. examples: files, or pairs of files; of fatal ones a whole line for each.
    fix: what to do or type. key, split: where, if it is in one of them only. detail: numbers.
    """

    level: Level
    code: str
    message: str
    count: int
    examples: tuple[str, ...] = ()
    fix: str = ""
    key: str = ""
    split: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Findings:
    """All that was found in a data set.

    data: as the user named it. found: ordered by level. pictures: how many there are, by split
    and key; examined: how many of them were read. statistics: by key and split.
    """

    data: str
    found: tuple[Finding, ...]
    pictures: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    examined: int = 0
    statistics: Mapping[str, Any] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """The gravest level among the findings, or "well"."""
        return min((one.level for one in self.found), key=LEVELS.index, default="well")

    def of(self, level: Level) -> list[Finding]:
        """Return the findings of a level."""
        return [one for one in self.found if one.level == level]

    def lines(self) -> list[str]:
        """Return a line, with file, reason and remedy, for everything that is fatal."""
        return [line for one in self.of("fatal") for line in one.examples]

    def as_json(self, examples: int = MOST_EXAMPLES) -> str:
        """Return everything as JSON text, with at most so many examples of each finding."""
        content = {
            "version": VERSION,
            "data": self.data,
            "verdict": self.verdict,
            **{level: len(self.of(level)) for level in LEVELS},
            "pictures": self.pictures,
            "examined": self.examined,
            "findings": [_plain(one, examples) for one in self.found],
            "statistics": self.statistics,
        }
        return json.dumps(content, indent=1, allow_nan=False)


def in_order(found: Iterable[Finding]) -> tuple[Finding, ...]:
    """Sort findings by level; within a level their order stays."""
    return tuple(sorted(found, key=lambda one: LEVELS.index(one.level)))


def _plain(one: Finding, examples: int) -> dict[str, Any]:
    return {
        "level": one.level,
        "code": one.code,
        "key": one.key,
        "split": one.split,
        "count": one.count,
        "message": one.message,
        "examples": list(one.examples[:examples]),
        "fix": one.fix,
        "detail": dict(one.detail),
    }


def times(count: int, word: str, many: str = "") -> str:
    """Return "1 picture" or "1,234 pictures"."""
    return f"{count:,} {word if count == 1 else many or word + 's'}"
