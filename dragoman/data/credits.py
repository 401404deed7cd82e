"""Whom to thank for the pictures of an embedded data set, and under which licence they are."""

from dragoman.data.catalogue import DATASETS, EDITIONS


def credits_of(data: str) -> str:
    """Return the credits line of a `--data` text; empty for own pictures."""
    edition = EDITIONS.get(data.partition(":")[0])
    return f"{edition.family}: {DATASETS[edition.family].licence}" if edition else ""
