"""One picture as people hold it, an array or of Pillow, to a tensor in [-1, 1] and back."""

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from dragoman.data.appearance import decode, encode, spread_colours
from dragoman.data.catalogue import EXTENT, Domain
from dragoman.data.raster import Header, Raster, on_white
from dragoman.errors import DataError


def checked(domain: Domain, array: NDArray) -> NDArray:
    """Return a picture [H, W] or [H, W, C] of a domain as [H, W, planes].

    It must have the domain's depth; label maps may hold whole class numbers of any. Raises
    DataError for other shapes, types, unknown classes and what is no number.
    """
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[2] != domain.planes or 0 in array.shape:
        raise DataError(
            f"a picture of {domain.name} must be an array [height, width, {domain.planes}], "
            f"this one has shape {list(array.shape)}"
        )
    if domain.kind == "labels":
        return _known_classes(domain, array)
    if array.dtype.newbyteorder("=") != np.dtype(domain.dtype):
        raise DataError(
            f"a picture of {domain.name} must be {domain.dtype}, this one is {array.dtype}; "
            "or give a torch tensor in [-1, 1]"
        )
    if domain.dtype == "float32" and not np.isfinite(array).all():
        bad = int(np.count_nonzero(~np.isfinite(array)))
        raise DataError(f"the picture has {bad} values that are no finite numbers; fill them first")
    return array


def _known_classes(domain: Domain, array: NDArray) -> NDArray:
    if not np.issubdtype(array.dtype, np.integer):
        raise DataError(f"a label map must hold whole numbers, this one is {array.dtype}")
    known = array if domain.unlabelled is None else array[array != domain.unlabelled]
    low, high = (int(known.min()), int(known.max())) if known.size else (0, 0)
    if low < 0 or high >= domain.channels:
        raise DataError(
            f"a label map of {domain.name} holds classes 0 to {domain.channels - 1}, "
            f"this one has {low if low < 0 else high}"
        )
    return array


def to_tensor(domain: Domain, array: NDArray) -> Tensor:
    """Turn a picture [H, W] or [H, W, C] into a batch of one, [1, channels, H, W] in [-1, 1].

    Raises DataError for what does not fit the domain.
    """
    return encoded(domain, checked(domain, array))


def encoded(domain: Domain, pixels: NDArray) -> Tensor:
    """Turn [H, W, planes] that fit a domain into [1, channels, H, W] in [-1, 1]."""
    raw = np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])
    return torch.from_numpy(np.ascontiguousarray(encode(domain, raw)))


def decoded(domain: Domain, pictures: Tensor) -> NDArray:
    """Turn [B, channels, H, W] in [-1, 1] into stored numbers [B, H, W, planes]."""
    stored = decode(domain, pictures.detach().float().cpu().numpy())
    return np.ascontiguousarray(stored.transpose(0, 2, 3, 1))


def flat(array: NDArray) -> NDArray:
    """Drop the last axis of [..., H, W, C] if there is but one channel."""
    return array[..., 0] if array.shape[-1] == 1 else array


def from_tensor(domain: Domain, pictures: Tensor) -> NDArray:
    """Turn [B, C, H, W] in [-1, 1] back: the reverse of `to_tensor`, [B, H, W] or [B, H, W, C]."""
    return flat(decoded(domain, pictures))


def from_pil(domain: Domain, picture: Image.Image) -> NDArray:
    """Turn a picture of Pillow into [H, W, planes] that fit a domain.

    Pictures of 8 bits become grey or coloured as the domain is, their transparency is treated as
    it says; mode I;16 is for uint16, I for whole numbers, F for float32. Label maps (L, P, I) stay
    numbers. Raises DataError for what does not fit.
    """
    if domain.kind == "labels":
        if picture.mode not in ("L", "P", "I", "I;16"):
            raise DataError(
                f"a label map must hold one class number a pixel, this picture is {picture.mode}"
            )
        return checked(domain, np.asarray(picture))
    if domain.dtype == "uint8":
        return checked(domain, np.asarray(_of_8_bits(domain, picture)))
    array = np.asarray(picture)
    fits = picture.mode == "F" if domain.dtype == "float32" else picture.mode.startswith("I")
    if not fits or domain.planes != 1:
        raise DataError(
            f"pictures of {domain.name} are {domain.dtype} of {domain.planes} channels, this one "
            f"is {picture.mode}; give an array"
        )
    if domain.dtype != "float32":
        low, high = EXTENT[domain.dtype]
        if array.size and not (low <= array.min() and array.max() <= high):
            raise DataError(
                f"a picture of {domain.name} holds numbers from {low:g} to {high:g}, this one "
                f"from {array.min()} to {array.max()}"
            )
        array = array.astype(domain.dtype)
    return checked(domain, array)


def _of_8_bits(domain: Domain, picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I") or picture.mode == "F":
        raise DataError(
            f"a PIL picture must have 8 bits a channel, this one is {picture.mode}; convert it to 8"
        )
    mode = _mode(domain)
    if not mode.endswith("A") and picture.has_transparency_data:
        if domain.alpha == "refuse":
            raise DataError(
                "the picture has transparency, which --alpha refuse forbade in training; convert "
                f"it to {mode}"
            )
        pixels = np.asarray(picture.convert("RGBA"))
        header = Header(*pixels.shape, "uint8", "PNG", alpha=True, palette=False)
        picture = Image.fromarray(on_white(Raster(pixels, header)).pixels)
    return picture if picture.mode == mode else picture.convert(mode)


def _mode(domain: Domain) -> str:
    """The mode of Pillow that holds a domain of 8 bits."""
    modes = {(1, False): "L", (3, False): "RGB", (2, True): "LA", (4, True): "RGBA"}
    mode = modes.get((domain.channels, domain.alpha == "keep"))
    if mode is None:
        raise DataError(f"give an array: PIL pictures have no {domain.channels} channels")
    return mode


def check_pil(domain: Domain) -> None:
    """Raise DataError if Pillow has no mode for the pictures of a domain."""
    if domain.kind == "labels":
        return
    if domain.dtype == "uint8":
        _mode(domain)
    elif domain.planes > 1:
        raise DataError(
            f"give an array: PIL pictures have no {domain.planes} channels of {domain.dtype}"
        )


def to_pil(domain: Domain, pixels: NDArray) -> Image.Image:
    """Turn [H, W, planes] of a domain into a picture of Pillow.

    Label maps have their colours as a palette (mode P) up to 256 classes; 16 bits are I;16, or I
    if signed, and float32 is F. Raises DataError where Pillow has no such mode.
    """
    check_pil(domain)
    array = flat(pixels)
    if domain.dtype == "int16":
        return Image.fromarray(array.astype(np.int32))
    picture = Image.fromarray(array)
    colours = palette(domain)
    if colours is not None:
        picture = picture.copy()
        picture.putpalette(colours.tobytes())
    return picture


def palette(domain: Domain) -> NDArray[np.uint8] | None:
    """The colours of a label map's classes, uint8 [classes, 3]; None if there are too many."""
    if domain.kind != "labels" or domain.channels > 256:
        return None
    return np.asarray(domain.palette or spread_colours(domain.channels), np.uint8)
