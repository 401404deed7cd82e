"""From encoded files to pixels of their domain, or a refusal that names the file."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dragoman.data.blob import Blob
from dragoman.data.catalogue import EXTENT, Domain
from dragoman.data.raster import Raster, on_white, read_raster
from dragoman.data.table import UNKNOWN
from dragoman.errors import DataError


def fitted(raster: Raster, domain: Domain, name: str) -> NDArray:
    """Bring one decoded file to its domain: [H, W, planes] of domain.dtype.

    Transparency is treated as the domain says; grey photos of 8 bits are repeated to three
    channels. Everything else that differs is refused, by name, with DataError.
    """
    header = raster.header
    if header.alpha and domain.alpha == "refuse":
        raise DataError(
            f"{name} has transparency, which --alpha refuse forbids; save it without, or use "
            "--alpha white"
        )
    if header.alpha and domain.alpha == "white":
        raster = on_white(raster)
    pixels = raster.pixels
    if domain.kind == "labels":
        return _class_numbers(pixels, domain, name)
    if pixels.dtype != domain.dtype:
        raise DataError(
            f"{name} holds {pixels.dtype}, but pictures of {domain.name} hold {domain.dtype}; "
            "convert it, or keep the two depths apart"
        )
    if domain.alpha == "keep" and not header.alpha and pixels.shape[2] == domain.channels - 1:
        opaque = np.full((*pixels.shape[:2], 1), EXTENT.get(domain.dtype, (0, 1))[1], domain.dtype)
        pixels = np.concatenate([pixels, opaque], 2)
    if pixels.shape[2] == 1 and domain.kind in ("photo", "drawing") and domain.channels == 3:
        pixels = np.repeat(pixels, 3, 2)
    if pixels.shape[2] != domain.channels:
        raise DataError(
            f"{name} has {pixels.shape[2]} channel{'s' * (pixels.shape[2] > 1)}, but pictures of "
            f"{domain.name} have {domain.channels}; convert it"
        )
    return pixels


def _class_numbers(pixels: NDArray, domain: Domain, name: str) -> NDArray:
    """Class numbers [H, W, 1], checked against the label count."""
    if pixels.shape[2] != 1 or pixels.dtype == np.float32:
        raise DataError(
            f"{name} must hold one whole class number a pixel, it has {pixels.shape[2]} channels "
            f"of {pixels.dtype}; save it as a palette or grey picture of class numbers"
        )
    known = pixels if domain.unlabelled is None else pixels[pixels != domain.unlabelled]
    low, high = (int(known.min()), int(known.max())) if known.size else (0, 0)
    if low >= 0 and high < domain.channels:
        return pixels
    if high >= domain.channels:
        remedy = f"train with --classes {high + 1} or, if it means no class, --unlabelled {high}"
    else:
        remedy = "if it means no class, save another number there, as 255 with --unlabelled 255"
    raise DataError(
        f"{name} holds the class {high if high >= domain.channels else low}, but {domain.name} "
        f"has the classes 0 to {domain.channels - 1}; {remedy}"
    )


def picture(
    blobs: tuple[Blob, ...],
    domain: Domain,
    limit: int,
    half: str = "",
    least: int | None = None,
) -> NDArray:
    """Decode one picture of a domain, its files stacked: [H, W, planes] of domain.dtype.

    half: "left" or "right", if it is but that half of its file. least: a JPEG may come smaller,
    as long as its shorter side keeps so many pixels. Raises DataError naming the file.
    """
    labels = domain.kind == "labels"
    if len(blobs) > 1:
        return joined([read_raster(blob, labels, limit) for blob in blobs], blobs, domain)
    raster = read_raster(blobs[0], labels, limit, None if half else least)
    pixels = fitted(raster, domain, blobs[0].name)
    return halved(pixels, half, blobs[0].name) if half else pixels


def halved(pixels: NDArray, half: str, name: str) -> NDArray:
    """Return the left or right half of a picture; DataError if its width is odd."""
    width = pixels.shape[1]
    if width % 2:
        raise DataError(
            f"{name} is {width} pixels wide, which cannot be halved into a and b; two "
            "pictures of equal width must stand side by side"
        )
    return pixels[:, : width // 2] if half == "left" else pixels[:, width // 2 :]


def joined(rasters: Sequence[Raster], blobs: Sequence[Blob], domain: Domain) -> NDArray:
    """Several decoded files as one picture, their channels in the order of the files.

    Raises DataError, naming the file, if they differ in size or depth from each other or the
    domain.
    """
    parts: list[NDArray] = []
    for raster, blob in zip(map(on_white, rasters), blobs, strict=True):
        if raster.pixels.dtype != domain.dtype:
            raise DataError(
                f"{blob.name} holds {raster.pixels.dtype}, but what is stacked in {domain.name} "
                f"holds {domain.dtype}; convert it"
            )
        if parts and raster.pixels.shape[:2] != parts[0].shape[:2]:
            (height, width), (high, wide) = raster.pixels.shape[:2], parts[0].shape[:2]
            raise DataError(
                f"{blob.name} is {width}x{height} pixels, but {blobs[0].name}, with which it is "
                f"stacked, is {wide}x{high}"
            )
        parts.append(raster.pixels)
    stacked = np.concatenate(parts, 2)
    if stacked.shape[2] != domain.channels:
        raise DataError(
            f"{blobs[0].name} and its fellows have {stacked.shape[2]} channels, but pictures of "
            f"{domain.name} have {domain.channels}"
        )
    return stacked


def layer_numbers(raster: Raster, name: str, key: str) -> NDArray:
    """Turn a decoded pixel layer into int32 [H, W, 1]: numbers as stored; a mask into 1 and 0.

    Inside a mask is what lies above half of its greatest number. Raises DataError, also for
    negative numbers, of which -1 in a map means no class.
    """
    pixels = raster.pixels
    if pixels.shape[2] != 1 or pixels.dtype == np.float32:
        raise DataError(
            f"{name} must hold one whole number a pixel as {key}, it has {pixels.shape[2]} "
            f"channels of {pixels.dtype}; save it as a grey or palette picture"
        )
    numbers = pixels.astype(np.int32)
    least = int(numbers.min())
    if key == "instance" and least < 0:
        raise DataError(
            f"{name} holds the instance number {least}; number objects from 0 on, the same number "
            "for all pixels of one"
        )
    if key == "map" and least < UNKNOWN:
        raise DataError(
            f"{name} holds the class {least}; classes are numbered from 0 on, and {UNKNOWN} "
            "stands for none"
        )
    return (2 * numbers > max(1, int(numbers.max()))).astype(np.int32) if key == "mask" else numbers
