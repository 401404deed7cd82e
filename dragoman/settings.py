"""A knob is declared once; command line, YAML file and Python call all derive from it."""

from collections.abc import Iterable
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, get_type_hints


def knob(
    default: Any, help: str, low: float | None = None, high: float | None = None
) -> Any:  # Any: the field has the type of its annotation
    """Declare a setting: its default, what it does, and the closed range it must lie in."""
    return field(default=default, metadata={"help": help, "low": low, "high": high})
