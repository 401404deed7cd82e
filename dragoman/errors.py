"""What is told to a user who asked for something impossible: one sentence and the remedy."""

import difflib
from collections.abc import Iterable


class DragomanError(Exception):
    """Something the user can mend; the command line prints it without a traceback."""


class SettingsError(DragomanError):
    """A setting that is unknown, of the wrong type, out of range or at odds with another."""


class DataError(DragomanError):
    """Pictures that are missing, unreadable or do not fit together."""


class TrainingError(DragomanError):
    """Training cannot go on, for instance since a loss is no longer finite."""


class FileError(DragomanError):
    """A run, translator or checkpoint that is missing, damaged or of another kind."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return " (did you mean 'x'?)" for the known word closest to `word`, or ""."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f" (did you mean '{close[0]}'?)" if close else ""


def choose(kind: str, word: str, known: Iterable[str]) -> str:
    """Return `word` if it is one of the known, else raise SettingsError that lists them."""
    known = list(known)
    if word in known:
        return word
    raise SettingsError(
        f"unknown {kind} '{word}'{did_you_mean(word, known)}; known: {', '.join(known)}"
    )
