"""dragoman trains, judges and uses GANs for image generation and image-to-image translation."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from dragoman.systems import SYSTEMS

if TYPE_CHECKING:
    from dragoman.data import DATASETS
    from dragoman.evaluation import evaluate
    from dragoman.pipeline import load
    from dragoman.training import resume, train

__version__ = "0.1.0"

__all__ = ["DATASETS", "SYSTEMS", "__version__", "evaluate", "load", "resume", "train"]

_PLACES = {
    "DATASETS": "dragoman.data",
    "evaluate": "dragoman.evaluation",
    "load": "dragoman.pipeline",
    "resume": "dragoman.training",
    "train": "dragoman.training",
}


def __getattr__(name: str) -> Any:
    """Load what is asked for only now, so that `import dragoman` does not import torch."""
    if name not in _PLACES:
        raise AttributeError(f"module 'dragoman' has no attribute '{name}'")
    return getattr(import_module(_PLACES[name]), name)
