"""What is said of a setting that is none of the translator's."""

from __future__ import annotations

from collections.abc import Iterable

from dragoman.controls import Controls, check_offered, offered


def check_foreign(system: str, kind: type[Controls], names: Iterable[str]) -> None:
    """Raise SettingsError for a name that is a control of some system, but not of this one.

    system: its name; kind: what may be chosen of it.
    """
    from dragoman.systems import SYSTEMS, find_system

    for name in names:
        if name not in offered(kind) and any(
            name in offered(find_system(other).Controls) for other in SYSTEMS
        ):
            check_offered(system, kind, {name: None})
