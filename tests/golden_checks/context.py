"""Checks of the context fixtures, by official class."""

from collections.abc import Callable

from golden_checks.fixture import Fixture

CHECKS: dict[str, Callable[[Fixture], None]] = {}
