"""TIFF pictures read in windows: in place if they are plain, else unpacked piece by piece."""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from dragoman.data.bounded import Bounded
from dragoman.data.raster import Header
from dragoman.data.raster_header import Refused, fitting_profile, told
from dragoman.data.raster_tiff import MOST_TAG_BYTES, quiet
from dragoman.data.raster_tiff_pixels import meaning, segments
from dragoman.data.stores import Plain, Store, scratch_store
from dragoman.errors import DataError

_ORIENTATION, _PROFILE = 274, 34675  # tags


def tiff_store(
    path: Path, header: Header, scratch: Path | None
) -> tuple[Store | None, bytes | None]:
    """Return the numbers of a TIFF file and its colour profile, or None if it must be read whole.

    path: a file of which `read_header` gave the header, and so has checked the directories. Raw
    numbers are read where they lie, packed ones are unpacked into a scratch file. Raises DataError
    for strips that are damaged.
    """
    import tifffile

    flags = tifffile.TIFF.FILE_FLAGS  # of makers, whose own rules are not followed
    plain: dict[str, Any] = {f"is_{flag}": False for flag in flags}
    raw = path.open("rb")
    try:
        file = Bounded(raw, MOST_TAG_BYTES)
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
        raw.close()


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
    )


def _unpack(file: Bounded, page: Any, store: Store) -> None:
    """Unpack the strips or tiles of a page one after the other into a store [H, W, C]."""
    planar = page.planarconfig == 2 and page.samplesperpixel > 1
    for plane, y, x, part in segments(file, page):
        if not planar:
            store.write(y, x, part)
            continue
        window = store.read(y, y + part.shape[0], x, x + part.shape[1])
        window[..., plane] = part[..., 0]
        store.write(y, x, window)
