"""Reads frozen weights from safetensors files, those of the package and those of the user."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from dragoman.errors import FileError

FOLDER = Path(__file__).parent
FLOATS = ("F64", "F32", "F16", "BF16")


def read_weights(file: Path, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Read the named tensors of a safetensors file as float32, leaving all others unread.

    Names, shapes and types are compared with `shapes` before any number is read, so a file of
    another kind costs neither time nor memory. Raises FileError.
    """
    if not file.is_file():
        raise FileError(f"the weights '{file}' do not exist or are no file")
    try:
        with safe_open(file, framework="pt") as opened:
            known = set(opened.keys())
            for name, shape in shapes.items():
                _check(file, opened, known, name, shape)
            weights = {name: opened.get_tensor(name).float() for name in shapes}
    except (SafetensorError, OSError) as error:
        raise FileError(
            f"the weights '{file}' cannot be read as safetensors ({error}); "
            "save them with safetensors.torch.save_file"
        ) from error
    for name, tensor in weights.items():
        if not torch.isfinite(tensor).all():
            raise FileError(f"the weights '{file}' hold values in '{name}' that are not finite")
    return weights


def _check(file: Path, opened: safe_open, known: set[str], name: str, shape: tuple) -> None:
    """Refuse a tensor that is missing, of another shape or no float."""
    if name not in known:
        raise FileError(
            f"the weights '{file}' lack '{name}': they are of another network than is needed here"
        )
    part = opened.get_slice(name)
    found, kind = tuple(part.get_shape()), part.get_dtype()
    if found != tuple(shape) or kind not in FLOATS:
        raise FileError(
            f"the weights '{file}' hold '{name}' as {kind} {list(found)}, "
            f"but floats of shape {list(shape)} are needed"
        )
