"""Tiling: pictures of any size go through a network piece by piece, with the same result."""

from importlib import import_module
from typing import Any

_PLACES = {
    "Reach": "reach",
    "Tiler": "tiler",
    "TileSettings": "settings",
    "Untileable": "reach",
    "receptive_field": "reach",
    "steady_noise": "noise",
}

__all__ = ["Reach", "TileSettings", "Tiler", "Untileable", "receptive_field", "steady_noise"]


def __getattr__(name: str) -> Any:
    """Load what is asked for only now: the settings alone do not import torch."""
    if name not in _PLACES:
        raise AttributeError(f"module 'dragoman.tiling' has no attribute '{name}'")
    return getattr(import_module(f"dragoman.tiling.{_PLACES[name]}"), name)
