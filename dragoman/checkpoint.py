"""One nested state as one safetensors file, written whole or not at all."""

import json
import os
import tempfile
import zlib
from collections.abc import Callable
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
    skeleton = json.dumps(_pack(state, "", tensors))
    metadata = {"state": skeleton, "check": _check_sum(skeleton, tensors)}
    write(path, lambda temporary: save_file(tensors, temporary, metadata=metadata))


def write(path: Path, fill: Callable[[Path], object]) -> None:
    """Write a file whole or not at all: `fill` writes a temporary one, which is then renamed.

    Raises FileError if the disk refuses; an older file of that name is then left as it was.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        os.close(handle)
        temporary = Path(name)
        fill(temporary)
        settle(temporary, path)
    except (OSError, SafetensorError) as error:
        raise FileError(
            f"cannot write {path}: {error}; free some space or choose another --folder"
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


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
    """Write a text file whole or not at all; raises FileError if the disk refuses."""
    write(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def load(path: Path) -> dict[str, Any]:
    """Read what `save` wrote; nothing in the file is ever run.

    Raises FileError if the file is missing, damaged or not a checkpoint.
    """
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            # Copies: what safetensors gives is the file itself, mapped into memory.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        if metadata["check"] != _check_sum(metadata["state"], tensors):
            raise ValueError("bits have changed since it was written")
        state = _unpack(json.loads(metadata["state"]), tensors)
        if not isinstance(state, dict):
            raise TypeError("a checkpoint holds names and values")
        return state
    except FileNotFoundError as error:
        raise FileError(f"there is no checkpoint {path}") from error
    except (OSError, SafetensorError, KeyError, ValueError, TypeError, RecursionError) as error:
        raise FileError(
            f"the checkpoint {path} is damaged or of another kind; use an older one beside it"
        ) from error


def _check_sum(skeleton: str, tensors: dict[str, Tensor]) -> str:
    """A CRC-32 of all content: the format itself would not notice a block of zeros on the disk."""
    total = zlib.crc32(skeleton.encode())
    for name in sorted(tensors):
        total = zlib.crc32(tensors[name].flatten().view(torch.uint8).numpy(), total)
    return f"{total:08x}"


def _pack(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """Replace tensors by their names and say of dicts and tuples what JSON cannot."""
    if isinstance(value, Tensor):
        while name in tensors:  # as of {"a.b": ...} and {"a": {"b": ...}}
            name += "'"
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


def seed_all(seed: int) -> None:
    """Seed every random generator that training may draw from."""
    import random

    import numpy as np

    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002


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
