"""Rows of a CSV or JSONL file from anybody: bounded in memory, each fault told by its line."""

from __future__ import annotations

import csv
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path

from dragoman.data.scan import wrong_name
from dragoman.errors import DataError, did_you_mean

MOST_LINE = 1_000_000  # bytes
MOST_COLUMNS = 10_000
MOST_SHOWN = 100  # characters of a cell in a message
MOST_PROBLEMS = 10_000  # lines for one file; the rest is counted
Cell = str | list[str]
Row = tuple[int, list[Cell]]  # number of the line, and the cells of the columns asked for


class Records(ABC):
    """The rows of a file. columns: their names. problems: a line for each row left out."""

    columns: tuple[str, ...]

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problems: list[str] = []
        self._more = 0

    @abstractmethod
    def rows(self, columns: Sequence[str]) -> Iterator[Row]:
        """Yield the cells of some columns; rows that cannot be read become problems."""

    def problem(self, line: int, words: str) -> None:
        """Add a line about a row that is left out."""
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append(f"{self.path} line {line}: {words}")
        else:
            self._more += 1

    def all_problems(self) -> list[str]:
        """Return a line for each row left out; many are counted."""
        more = [f"{self.path} has {self._more} more rows with problems"] if self._more else []
        return [*self.problems, *more]

    def need(self, columns: Sequence[str], remedy: str) -> None:
        """Raise DataError if a column is missing."""
        for column in columns:
            if column not in self.columns:
                raise DataError(
                    f"{self.path} has no column {shorten(column)}{_near(column, self.columns)}; "
                    f"it has {listed_columns(self.columns)}; {remedy}"
                )


def shorten(text: str, quote: str = "'") -> str:
    """Quote a cell in a message: short, on one line, fit for UTF-8."""
    text = text if len(text) <= MOST_SHOWN else text[:MOST_SHOWN] + "..."
    return ascii(text) if wrong_name(text) else f"{quote}{text}{quote}"


def listed_columns(columns: Sequence[str]) -> str:
    """Name some columns in a message."""
    shown = ", ".join(shorten(column, "") for column in columns[:12])
    return f"{shown}{', ...' if len(columns) > 12 else ''}" or "no named column"


def _near(column: str, columns: Sequence[str]) -> str:
    plain = [known for known in columns[:1000] if len(known) <= MOST_SHOWN]
    return did_you_mean(column, [known for known in plain if not wrong_name(known)])


def open_records(path: Path) -> Records:
    """Open a file by its suffix: .jsonl, or else CSV. Raises DataError if it cannot be read."""
    return _Jsonl(path) if path.suffix.lower() == ".jsonl" else _Csv(path)


def _lines(path: Path) -> Iterator[str]:
    """Yield the lines of a UTF-8 file; raises DataError, with the line, for what is no such."""
    try:
        with path.open("rb") as file:
            number = 0
            while line := file.readline(MOST_LINE + 1):
                number += 1
                if len(line) > MOST_LINE:
                    raise DataError(
                        f"{path} line {number} has more than {MOST_LINE:,} bytes; is it a table? "
                        "write one row per line"
                    )
                yield line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} line {number} is not UTF-8 text; save the table as CSV in UTF-8"
        ) from error
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error})") from error


def _check_width(path: Path, columns: int) -> None:
    if columns > MOST_COLUMNS:
        raise DataError(
            f"{path} has more than {MOST_COLUMNS:,} columns; is it a table of pictures? write one "
            "row per picture"
        )


class _Csv(Records):
    """Comma, semicolon or tab apart; the first line names the columns."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        head = next(iter(self._parsed(",")), (0, [""]))[1]
        self._delimiter = max(",;\t", key=",".join(head).count)
        head = next(iter(self._parsed(self._delimiter)), (0, []))[1]
        self._places: dict[str, int] = {}
        _check_width(path, len(head))
        for place, cell in enumerate(head):
            if cell in self._places:
                raise DataError(
                    f"{path} has two columns {shorten(cell)}; give each column a name of its own"
                )
            if cell:
                self._places[cell] = place
        if not self._places:
            raise DataError(f"{path} is empty; its first line must name the columns")
        self.columns, self._width = tuple(self._places), len(head)

    def _parsed(self, delimiter: str) -> Iterator[tuple[int, list[str]]]:
        reader = csv.reader(_lines(self.path), delimiter=delimiter)
        try:
            for cells in reader:
                stripped = [cell.strip() for cell in cells]
                if any(stripped):
                    yield reader.line_num, stripped
        except csv.Error as error:
            raise DataError(
                f"{self.path} line {reader.line_num} cannot be read ({error}); is a quote not "
                "closed?"
            ) from error

    def rows(self, columns: Sequence[str]) -> Iterator[Row]:
        """Yield the cells of some columns; rows that are too short or long become problems."""
        places = [self._places[column] for column in columns]
        rows = self._parsed(self._delimiter)
        next(rows)
        for line, cells in rows:
            if len(cells) != self._width:
                self.problem(
                    line,
                    f"has {len(cells)} cells instead of {self._width}; put cells that hold a "
                    "comma in quotes",
                )
                continue
            yield line, [cells[place] for place in places]


class _Jsonl(Records):
    """An object on each line; what it lacks is an empty cell."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        known: dict[str, None] = {}
        for _, row in self._objects():
            if not known.keys() >= row.keys():
                known |= dict.fromkeys(row)
                _check_width(path, len(known))
        self.columns = tuple(known)
        if not known:
            reasons = [*self.problems, f"{path} is empty; write one JSON object per line"]
            raise DataError(reasons[0])
        self.problems, self._more = [], 0  # they will be met again

    def _objects(self) -> Iterator[tuple[int, dict]]:
        for line, text in enumerate(_lines(self.path), start=1):
            if text.isspace():
                continue
            try:
                found = json.loads(text)
            except (ValueError, RecursionError) as error:
                reason = getattr(error, "msg", "too long or too deep")
                self.problem(line, f"is broken JSON ({reason}); write one object per line")
                continue
            if isinstance(found, dict):
                yield line, found
            else:
                self.problem(line, 'is no JSON object; write each row as {"a": "x.png", ...}')

    def rows(self, columns: Sequence[str]) -> Iterator[Row]:
        """Yield the cells of some columns; a list of texts is a cell too."""
        for line, found in self._objects():
            cells: list[Cell] = []
            for column in columns:
                cell = found.get(column)
                if isinstance(cell, bool | int | float):
                    cell = json.dumps(cell)
                elif isinstance(cell, list) and not all(isinstance(part, str) for part in cell):
                    cell = {}
                if not isinstance(cell, str | list | None):
                    self.problem(line, f"{shorten(column)} must be a text or a number")
                    break
                cells.append("" if cell is None else cell)
            else:
                yield line, cells
