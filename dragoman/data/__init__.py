"""Data sets as endless batches of tensors; this module imports neither torch nor numpy."""

from typing import TYPE_CHECKING, Any

from dragoman.data.catalogue import DATASETS, Domain
from dragoman.data.settings import DataSettings

if TYPE_CHECKING:
    from dragoman.data.batches import Data

# What a batch may hold. Pictures are float32 [B, C, H, W] in [-1, 1].
BATCH_KEYS: dict[str, str] = {
    "a": "pictures of the first domain",
    "b": "pictures of the second domain; with pairing paired they show the same as a",
    "image": "pictures of a single domain",
    "label": "class of each picture in the first label set, int64 [B]; -1 if it is not known",
    "labels": "class in every label set, int64 [B, sets], where there are several; -1 as before",
    "reference": "if asked for, pictures of one class for each picture of the batch, to go by as "
    "examples, [B, R, C, H, W]",
    "reference_label": "the class of these pictures, int64 [B]",
    "index": "number of each picture (of the first domain) within its split, int64 [B]",
    "low": "pictures of low resolution",
    "high": "the same pictures in high resolution",
    "map": "label map: class of each pixel, int64 [B, H, W], -1 where there is none; a domain that "
    "is a label map has the same in one channel per class, 1 where the class is and -1 elsewhere",
    "instance": "number of the object at each pixel, int64 [B, H, W]",
    "mask": "float32 [B, 1, H, W], 1 inside and 0 outside",
}


def open_data(settings: DataSettings) -> "Data":
    """Open the data set that the settings name; builds the cache of an embedded one if needed.

    Raises SettingsError for names or settings that cannot be, DataError if pictures or packages
    are missing.
    """
    from dragoman.data.opening import open_data as opened

    return opened(settings)


def __getattr__(name: str) -> Any:
    if name == "Data":  # its module needs numpy
        from dragoman.data.batches import Data

        return Data
    raise AttributeError(f"module 'dragoman.data' has no attribute '{name}'")


__all__ = ["BATCH_KEYS", "DATASETS", "Data", "DataSettings", "Domain", "open_data"]
