"""TIFF pictures read in windows: in place if they are plain, else unpacked piece by piece."""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from dragoman.data.raster import Header
from dragoman.data.raster_header import Refused, fitting_profile, told
from dragoman.data.raster_tiff import quiet
from dragoman.data.raster_tiff_pixels import meaning
from dragoman.data.stores import Plain, Store, scratch_store
from dragoman.errors import DataError

_ORIENTATION, _PROFILE = 274, 34675  # tags
_NONE, _JPEG = 1, 7  # compressions
_BESIDE = 1 << 16  # bytes of a strip that are no pixels


def tiff_store(
    path: Path, header: Header, scratch: Path | None
) -> tuple[Store | None, bytes | None]:
    """Return the numbers of a TIFF file and its colour profile, or None if it must be read whole.

    path: a file of which `read_header` gave the header, and so has checked the directories. Raw
    numbers are read where they lie, packed ones are unpacked into a scratch file. Raises DataError
    for strips that are damaged.
    """
    import tifffile

    plain: dict[str, Any] = {
        f"is_{flag}": False for flag in tifffile.TIFF.FILE_FLAGS
    }  # no maker's own rules
    file = path.open("rb", buffering=0)
    try:
        with quiet():
            page: Any = tifffile.TiffFile(cast(BinaryIO, file), **plain).pages[0]
            if not _alike(page, header):
                return None, None
            icc = fitting_profile(page.tags.valueof(_PROFILE), header.channels)
            shape = (header.height, header.width, header.channels)
            if page.is_final:
                dtype = page.dtype.newbyteorder(page.parent.byteorder)
                planar = page.planarconfig == 2 and header.channels > 1
                own = path.open("rb", buffering=0)
                return Plain(own, str(path), page.dataoffsets[0], shape, dtype, planar), icc
            store = scratch_store(scratch, shape, np.dtype(header.dtype))
            try:
                _unpack(file, page, store)
            except BaseException:
                store.close()
                raise
            return store, icc
    except Refused as refused:
        raise DataError(f"{path} {refused}") from None
    except DataError:
        raise
    except Exception as error:  # decoders raise almost anything on hostile files
        raise DataError(f"{path} is damaged ({told(error) or type(error).__name__})") from None
    finally:
        file.close()


def _alike(page: Any, header: Header) -> bool:
    """True if the numbers in the file are those of the picture, one for one."""
    means = meaning(page, False)
    return (
        means.kind in ("grey", "RGB")
        and not (means.inverted or means.associated)
        and page.tags.valueof(_ORIENTATION, default=1) == 1
        and page.dtype.newbyteorder("=").name == header.dtype
        and (page.imagelength, page.imagewidth) == (header.height, header.width)
        and means.samples == header.channels
        and means.bits == 8 * page.dtype.itemsize
        and page.compression != _JPEG
    )


def _unpack(file: BinaryIO, page: Any, store: Store) -> None:
    """Unpack the strips or tiles of a page one after the other into a store [H, W, C]."""
    planar = page.planarconfig == 2 and page.samplesperpixel > 1
    together = 1 if planar else page.samplesperpixel
    rows = page.tilelength if page.is_tiled else page.rowsperstrip
    columns = page.tilewidth if page.is_tiled else page.imagewidth
    most = rows * columns * together * page.dtype.itemsize
    height, width = page.imagelength, page.imagewidth
    for index, (place, length) in enumerate(
        zip(page.dataoffsets, page.databytecounts, strict=True)
    ):
        length = min(length, most) if page.compression == _NONE else length
        if length > 2 * most + _BESIDE:
            raise Refused("is damaged (a strip is longer than its pixels)")
        file.seek(place)
        data = file.read(length) if length else None
        if data is not None and len(data) < length:
            raise Refused("is cut off")
        part, (plane, _, y, x, _), _ = page.decode(data, index)
        shape = min(rows, height - y), min(columns, width - x), together
        if part is None:  # left out, as satellites' missing tiles are
            part = np.full(shape, page.nodata, page.dtype)
        else:
            part = part[0, : shape[0], : shape[1]]
        if part.shape != shape or part.dtype.newbyteorder("=") != page.dtype:
            raise Refused("is damaged (a strip has other pixels than its page)")
        if not planar:
            store.write(y, x, part)
        else:
            window = store.read(y, y + shape[0], x, x + shape[1])
            window[..., plane] = part[..., 0]
            store.write(y, x, window)
