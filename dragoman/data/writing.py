"""Write one picture in its own depth, whole or not at all, lossless where the format is."""

import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dragoman.data.raster_header import MOST_CHANNELS, MOST_NAME, fitting_profile, told
from dragoman.data.writing_png import deep_png
from dragoman.errors import DataError

_ANY = ("uint8", "uint16", "int16", "float32")
_MANY = tuple(range(1, MOST_CHANNELS + 1))
_HOLDS: dict[str, tuple[tuple[str, ...], tuple[int, ...]]] = {
    ".png": (("uint8", "uint16"), (1, 2, 3, 4)),
    ".jpg": (("uint8",), (1, 3)),
    ".jpeg": (("uint8",), (1, 3)),
    ".webp": (("uint8",), (3, 4)),
    ".bmp": (("uint8",), (1, 3)),
    ".tif": (_ANY, _MANY),
    ".tiff": (_ANY, _MANY),
    ".npy": (_ANY, _MANY),
    ".npz": (_ANY, _MANY),
}
_MOST_SIDE = {".jpg": 65500, ".jpeg": 65500, ".webp": 16383}
_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
_UNASSOCIATED = 2  # kind of transparency in TIFF: the colours are as they are


def check_can_hold(suffix: str, dtype: str, channels: int) -> None:
    """Raise DataError, naming endings that can, if a format cannot hold such pixels exactly.

    JPEG is taken for what it is: it can hold grey and RGB of 8 bits, with loss.
    """
    suffix = suffix.lower()
    if suffix not in _HOLDS:
        raise DataError(f"cannot write {told(suffix) or 'files without ending'}; {_known()}")
    depths, counts = _HOLDS[suffix]
    if dtype in depths and channels in counts:
        return
    able = [s for s, (d, c) in _HOLDS.items() if dtype in d and channels in c]
    if not able:
        raise DataError(
            f"cannot write {channels} channels of {dtype}; 1 to {MOST_CHANNELS} channels of "
            f"{', '.join(_ANY)} can be written"
        )
    raise DataError(
        f"cannot write {channels} channel{'s' * (channels != 1)} of {dtype} as {suffix}; "
        f"{', '.join(able)} can hold them"
    )


def _known() -> str:
    return f"write one of {', '.join(_HOLDS)}"


def write_raster(
    path: Path,
    pixels: NDArray,
    icc: bytes | None = None,
    colours: NDArray | None = None,
    planar: bool = False,
    quality: int = 95,
    alpha: bool = False,
) -> None:
    """Write pixels, [H, W, C] or [H, W] of uint8, uint16, int16 or float32, as the ending says.

    The file appears under its name only when it is complete; folders are made. icc: colour
    profile, left out where it is not one for so many channels, or the format has none. colours:
    palette, uint8 [N, 3], of the numbers in one channel (PNG and TIFF). planar: channel by
    channel (TIFF; NPY and NPZ as [C, H, W], unless it is too narrow to be told from
    [H, W, C]). quality: of JPEG. alpha: the last channel is transparency, which TIFF has to be
    told. Raises DataError, before any work, if the format cannot hold that.
    """
    path = Path(path)
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    if pixels.ndim != 3 or 0 in pixels.shape:
        raise DataError(f"{told(path, MOST_NAME)}: an array {pixels.shape} is no picture")
    suffix = path.suffix.lower()
    try:
        check_can_hold(suffix, pixels.dtype.name, pixels.shape[2])
        _check(suffix, pixels, colours)
    except DataError as error:
        raise DataError(f"{told(path, MOST_NAME)}: {error}") from None
    pixels = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("="))
    icc = fitting_profile(icc, 3 if colours is not None else pixels.shape[2])
    if suffix in (".tif", ".tiff"):
        encode = _tiff(pixels, icc, colours, planar, alpha)
    elif suffix in (".npy", ".npz"):
        encode = _numpy(pixels, planar, suffix)
    elif pixels.dtype == np.uint16 and pixels.shape[2] > 1:
        encode = _deep_png(pixels, icc)
    else:
        encode = _pillow(pixels, icc, colours, suffix, quality)
    _write(path, encode)


def _check(suffix: str, pixels: NDArray, colours: NDArray | None) -> None:
    side = max(pixels.shape[:2])
    if side > _MOST_SIDE.get(suffix, side):
        raise DataError(
            f"cannot write a side of {side} pixels as {suffix}, which has at most "
            f"{_MOST_SIDE[suffix]}; write .png or .tif"
        )
    if colours is None:
        return
    if suffix not in (".png", ".tif", ".tiff"):
        raise DataError(f"cannot write a palette as {suffix}; write .png or .tif")
    most = 256 if pixels.dtype == np.uint8 else 65536
    known = pixels.dtype == np.uint8 or (pixels.dtype == np.uint16 and suffix != ".png")
    if pixels.shape[2] != 1 or not known or not 0 < len(colours) <= most:
        raise DataError(
            f"cannot write a palette of {len(colours)} colours for {pixels.shape[2]} channels of "
            f"{pixels.dtype.name}; palettes are for numbers in one channel of uint8"
        )
    if int(pixels.max()) >= len(colours):
        raise DataError(
            f"cannot write the number {int(pixels.max())} with a palette of {len(colours)} colours"
        )


def _write(path: Path, encode: Callable[[BinaryIO], None]) -> None:
    """Encode into a file beside the final one and give it its name when it is whole."""
    part = path.with_name(f".{secrets.token_hex(8)}.part")
    made = False
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("x+b") as file:
            made = True
            encode(file)
        os.replace(part, path)
        made = False
    except OSError as error:
        why = told(error.strerror or error)
        raise DataError(f"cannot write {told(path, MOST_NAME)}: {why}") from error
    finally:
        if made:
            part.unlink(missing_ok=True)


def _pillow(
    pixels: NDArray, icc: bytes | None, colours: NDArray | None, suffix: str, quality: int
) -> Callable[[BinaryIO], None]:
    flat = pixels[..., 0] if pixels.shape[2] == 1 else pixels
    picture = Image.fromarray(flat)
    if colours is not None:
        picture = Image.fromarray(flat)
        picture.putpalette(np.ascontiguousarray(colours, np.uint8).tobytes())
    options: dict[str, Any] = {"icc_profile": icc} if icc is not None else {}
    if suffix in (".jpg", ".jpeg"):
        options |= {"quality": quality, "subsampling": 0}
    elif suffix == ".webp":  # exact: transparent pixels keep their colours too
        options |= {"lossless": True, "exact": True}
    elif suffix == ".png":  # on photographs as small as the usual level 6, in half of the time
        options |= {"compress_level": 3}
    kind = {".jpg": "JPEG", ".jpeg": "JPEG"}.get(suffix, suffix[1:].upper())
    return lambda file: picture.save(file, kind, **options)


def _deep_png(pixels: NDArray, icc: bytes | None) -> Callable[[BinaryIO], None]:
    return lambda file: file.writelines(deep_png(pixels, icc))


def _numpy(pixels: NDArray, planar: bool, suffix: str) -> Callable[[BinaryIO], None]:
    if planar and pixels.shape[1] > MOST_CHANNELS:
        array = np.ascontiguousarray(pixels.transpose(2, 0, 1))
    else:
        array = pixels[..., 0] if pixels.shape[2] == 1 else pixels

    def encode(file: BinaryIO) -> None:
        if suffix == ".npy":
            np.save(file, array, allow_pickle=False)
        else:
            np.savez_compressed(file, pixels=array)

    return encode


def _tiff(
    pixels: NDArray, icc: bytes | None, colours: NDArray | None, planar: bool, alpha: bool
) -> Callable[[BinaryIO], None]:
    tifffile = _tifffile()
    channels = pixels.shape[2]
    alpha = alpha and channels > 1
    colour = pixels.dtype.kind == "u" and channels - alpha == 3
    extra = channels - (3 if colour else 1)
    options: dict[str, Any] = {
        "photometric": "rgb" if colour else "minisblack",
        "compression": "adobe_deflate",
        "predictor": True,
        "metadata": None,
        "software": "dragoman",
        "iccprofile": icc,
        "maxworkers": 1,
    }
    if colours is not None:
        table = np.zeros((3, 2 ** (8 * pixels.dtype.itemsize)), np.uint16)
        table[:, : len(colours)] = np.asarray(colours, np.uint16).T * 257
        options |= {"photometric": "palette", "colormap": table, "predictor": False}
    if extra > 0:
        options["extrasamples"] = [0] * (extra - 1) + [_UNASSOCIATED if alpha else 0]
    if channels > 1:
        options["planarconfig"] = "separate" if planar else "contig"
    array = pixels[..., 0] if channels == 1 else pixels.transpose(2, 0, 1) if planar else pixels

    return lambda file: tifffile.imwrite(file, array, **options)


def _tifffile() -> Any:
    try:
        import imagecodecs  # noqa: F401
        import tifffile
    except ImportError:
        raise DataError(
            "writing TIFF needs the package tifffile; type: pip install 'dragoman[data]'"
        ) from None
    return tifffile
