"""One nested state as one safetensors file, written whole or not at all."""

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from dragoman.errors import FileError


def save(path: Path, state: dict[str, Any]) -> None:
    """Write a nesting of dicts, lists, tuples, numbers, texts and tensors atomically.

    Raises FileError if the disk refuses; an older file of that name is then left as it was.
    """
    tensors: dict[str, Tensor] = {}
    skeleton = _pack(state, "", tensors)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    try:
        save_file(tensors, name, metadata={"state": json.dumps(skeleton)})
        settle(Path(name), path)
    except (OSError, SafetensorError) as error:
        raise FileError(
            f"cannot write {path}: {error}; free some space or choose another --folder"
        ) from error
    finally:
        Path(name).unlink(missing_ok=True)


def settle(temporary: Path, path: Path) -> None:
    """Bring a finished temporary file safely to disk under its final name."""
    with open(temporary, "rb") as file:
        os.fsync(file.fileno())
    umask = os.umask(0)
    os.umask(umask)
    os.chmod(temporary, 0o666 & ~umask)
    os.replace(temporary, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        settle(Path(name), path)
    finally:
        Path(name).unlink(missing_ok=True)


def load(path: Path) -> dict[str, Any]:
    """Read what `save` wrote; nothing in the file is ever run.

    Raises FileError if the file is missing, damaged or not a checkpoint.
    """
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return _unpack(json.loads(metadata["state"]), tensors)
    except FileNotFoundError as error:
        raise FileError(f"there is no checkpoint {path}") from error
    except (OSError, SafetensorError, KeyError, ValueError, TypeError, RecursionError) as error:
        raise FileError(
            f"the checkpoint {path} is damaged or of another kind; use an older one beside it"
        ) from error


def _pack(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """Replace tensors by their names and say of dicts and tuples what JSON cannot."""
    if isinstance(value, Tensor):
        # A copy: tied or sliced tensors share memory, which the format refuses.
        tensors[name] = value.detach().to("cpu", copy=True).contiguous()
        return {"tensor": name}
    if isinstance(value, dict):
        pairs = [[key, _pack(v, f"{name}.{key}".strip("."), tensors)] for key, v in value.items()]
        return {"dict": pairs}
    if isinstance(value, list | tuple):
        items = [_pack(v, f"{name}.{i}".strip("."), tensors) for i, v in enumerate(value)]
        return {"tuple" if isinstance(value, tuple) else "list": items}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"a checkpoint cannot hold {name}, a {type(value).__name__}")


def _unpack(value: Any, tensors: dict[str, Tensor]) -> Any:
    if not isinstance(value, dict):
        return value
    [(kind, inner)] = value.items()
    if kind == "tensor":
        return tensors[inner]
    if kind == "dict":
        return {key: _unpack(v, tensors) for key, v in inner}
    items = [_unpack(v, tensors) for v in inner]
    return tuple(items) if kind == "tuple" else items


def random_state() -> dict[str, Any]:
    """Every random generator's state that training may draw from."""
    import random

    import numpy as np

    kind, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)  # noqa: NPY002
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {
        "torch": torch.get_rng_state(),
        "cuda": cuda,
        "python": random.getstate(),
        "numpy": (kind, [int(k) for k in keys], position, has_gauss, gauss),
    }


def set_random_state(state: dict[str, Any]) -> None:
    """Put every random generator back to where `random_state` found it."""
    import random

    import numpy as np

    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])
    random.setstate(state["python"])
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, np.array(keys, dtype=np.uint32), *rest))  # noqa: NPY002
