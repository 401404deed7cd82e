"""Reads frozen weights from files, those of the package and those of the user."""

from collections.abc import Mapping
from pathlib import Path
from zipfile import is_zipfile

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from dragoman.errors import FileError

FOLDER = Path(__file__).parent
FLOATS = (
    *("F64", "F32", "F16", "BF16"),
    *("torch.float64", "torch.float32", "torch.float16", "torch.bfloat16"),
)
PICKLED = (".pth", ".pt", ".bin")


def read_weights(file: Path, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Read the named tensors of a file as float32: safetensors, or PyTorch's own (.pth, .pt, .bin).

    Names, shapes and types are compared with `shapes`. Of a safetensors file all others stay
    unread, so one of another kind costs neither time nor memory; of PyTorch's own nothing but
    tensors is ever unpickled. Raises FileError.
    """
    if not file.is_file():
        raise FileError(f"the weights '{file}' do not exist or are no file")
    if file.suffix in PICKLED:
        weights = _from_pickle(file, shapes)
    else:
        weights = _from_safetensors(file, shapes)
    for name, tensor in weights.items():
        if not torch.isfinite(tensor).all():
            raise FileError(f"the weights '{file}' hold values in '{name}' that are not finite")
    return weights


def _from_pickle(file: Path, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    try:
        # the format before PyTorch 1.6, in which torchvision's VGGs are, cannot be mapped
        mapped = is_zipfile(file)
        state = torch.load(file, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # whatever a broken or hostile pickle may cause
        raise FileError(
            f"the weights '{file}' cannot be read as a state dict of PyTorch; save them with "
            "safetensors.torch.save_file"
        ) from error
    entries = state.items() if isinstance(state, dict) else ()
    known = {name: entry for name, entry in entries if isinstance(entry, Tensor)}
    for name, shape in shapes.items():
        if name not in known:
            raise FileError(_lacking(file, name))
        tensor = known[name]
        _check(file, name, tuple(tensor.shape), str(tensor.dtype), shape)
    return {name: known[name].float() for name in shapes}


def _from_safetensors(file: Path, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    try:
        with safe_open(file, framework="pt") as opened:
            known = set(opened.keys())
            for name, shape in shapes.items():
                if name not in known:
                    raise FileError(_lacking(file, name))
                part = opened.get_slice(name)
                _check(file, name, tuple(part.get_shape()), part.get_dtype(), shape)
            return {name: opened.get_tensor(name).float() for name in shapes}
    except (SafetensorError, OSError) as error:
        raise FileError(
            f"the weights '{file}' cannot be read as safetensors ({error}); "
            "save them with safetensors.torch.save_file"
        ) from error


def _lacking(file: Path, name: str) -> str:
    return f"the weights '{file}' lack '{name}': they are of another network than is needed here"


def _check(file: Path, name: str, found: tuple[int, ...], kind: str, shape: tuple) -> None:
    """Refuse a tensor of another shape or no float."""
    if found != tuple(shape) or kind not in FLOATS:
        raise FileError(
            f"the weights '{file}' hold '{name}' as {kind} {list(found)}, "
            f"but floats of shape {list(shape)} are needed"
        )
