"""Looks through a data set: what stands in the way of training, and all else worth knowing."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping

from dragoman.data.catalogue import Domain
from dragoman.data.doctor.fatal import quick
from dragoman.data.doctor.findings import LEVELS, Finding, Findings
from dragoman.data.doctor.subject import FileSubject, SourceSubject
from dragoman.data.doctor.thorough import thorough
from dragoman.data.settings import DataSettings
from dragoman.data.table import Table

__all__ = ["LEVELS", "Finding", "Findings", "check", "examine"]


def examine(
    table: Table,
    domains: Mapping[str, Domain],
    settings: DataSettings,
    fatal_only: bool = False,
    say: Callable[[str], None] | None = None,
    limit: int = 0,
) -> Findings:
    """Examine the files of a table.

    fatal_only: find only what stands in the way of training, quickly: files that were found sound
    are not read again until they change, and of more than 20,000 as many are decoded. say: is
    told what takes long; without it that goes to the standard error. limit: of each split examine
    at most so many rows, spread evenly (0: all).
    """
    subject = FileSubject(table, domains, settings)
    if fatal_only:
        return quick(subject, say or _say)
    return thorough(subject, settings, limit, say or _say)


def check(
    settings: DataSettings, limit: int = 0, say: Callable[[str], None] | None = None
) -> Findings:
    """Open and examine the data set that the settings name, of own files or embedded.

    Raises SettingsError or DataError if it cannot even be opened.
    """
    from dragoman.data.domain_labels import unseen_classes, without_unseen
    from dragoman.data.domains import describe
    from dragoman.data.opening import embedded
    from dragoman.data.reduced import check_divides, check_scale, reduced
    from dragoman.data.sizes import shapes_of
    from dragoman.data.tables import open_table

    source = embedded(settings)
    if source is not None:
        # For their refusals: small and fewer pictures have no faults of their own.
        reduced(without_unseen(source, settings), settings)
        return thorough(SourceSubject(source), settings, limit, say or _say)
    table = open_table(settings)
    domains = describe(table, settings)
    check_scale(settings, table.name, domains)
    unseen_classes(settings, table.name, table.label_sets)
    for shape in shapes_of(settings):
        check_divides(settings.scale, shape)
    return examine(table, domains, settings, say=say, limit=limit)


def _say(text: str) -> None:
    # Of the processes that torchrun starts, one speaks for all.
    if os.environ.get("RANK", "0") == "0":
        print(f"dragoman: {text}", file=sys.stderr, flush=True)
