"""TIFF pictures: which pages belong to the picture and what their numbers mean."""

import logging
import math
import re
import struct
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from dragoman.data.bounded import Bounded
from dragoman.data.exif import upright, upright_size, valid
from dragoman.data.raster_header import (
    MOST_CHANNELS,
    Header,
    Opened,
    Raster,
    Refused,
    check_size,
    fitting_profile,
    kept,
    wide,
)
from dragoman.data.raster_tiff_pixels import (
    Meaning,
    check_segments,
    meaning,
    page_pixels,
    shown,
)

_MOST_PAGES = 1024  # with reduced copies and masks
_MOST_TAGS = 65_536  # of all pages
MOST_TAG_BYTES = 16 << 20  # of all pages: the places of a million strips
_REDUCED, _MASK = 1, 4  # bits of NewSubfileType
_ORIENTATION, _PROFILE = 274, 34675  # tags
_IMAGEJ = re.compile(r"^(images|channels|slices|frames)=(\d{1,9})\s*$", re.MULTILINE)
_OME = re.compile(r"\bSize([CZT])=[\"'](\d{1,9})[\"']")
_SHAPED = re.compile(r'"shape": ?\[([\d, ]{1,100})\].*"truncated?": ?true')
_ARRAY = re.compile(r'^\{"shape": ?\[(\d{1,5}), ?(\d{1,5}), ?(\d{1,2})\]')
_OME_WORDS = {"C": "channels", "Z": "slices", "T": "frames"}
_MOST_DESCRIPTION = 100_000  # characters in which the size of a stack is looked for


class _Quiet(logging.Filter):
    """Keeps what tifffile logs of files read here from the terminal: the error says it once."""

    def __init__(self) -> None:
        super().__init__()
        self.here = threading.local()

    def filter(self, record: logging.LogRecord) -> bool:
        """True for records of other readers."""
        return not getattr(self.here, "reading", False)


_QUIET = _Quiet()
logging.getLogger("tifffile").addFilter(_QUIET)


@contextmanager
def quiet() -> Generator[None]:
    """Keep back what tifffile logs in this thread, inside the block."""
    before = getattr(_QUIET.here, "reading", False)
    _QUIET.here.reading = True
    try:
        yield
    finally:
        _QUIET.here.reading = before


def open_tiff(file: Bounded, indices: bool, limit: int) -> Opened:
    """Read the directories of a TIFF file; raises Refused for what is no one picture."""
    try:
        import imagecodecs  # noqa: F401
        import tifffile
    except ImportError:
        raise Refused("needs the package tifffile; type: pip install 'dragoman[data]'") from None
    count = _count_pages(file)
    file.allowance = MOST_TAG_BYTES
    file.seek(0)
    flags = tifffile.TIFF.FILE_FLAGS  # of makers, whose own rules are not followed
    plain: dict[str, Any] = {f"is_{flag}": False for flag in flags}
    with quiet():
        tiff = tifffile.TiffFile(cast(BinaryIO, file), **plain)
        pages = _picture(tiff, count)
        if _are_lines(pages):
            return _opened_lines(file, pages, limit)
        planes = len(pages) if len(pages) > 1 else _hidden_planes(pages[0])
        return _opened(file, pages, planes, indices, limit)


def _opened(file: Bounded, pages: list[Any], planes: int, indices: bool, limit: int) -> Opened:
    """Check sizes and say what there is; planes: one-channel pictures that are its channels."""
    first, means = pages[0], meaning(pages[0], indices)
    stored = first.imagelength, first.imagewidth
    itemsize = 1 if first.dtype.kind == "b" else first.dtype.itemsize
    check_size(*stored, means.samples * planes, itemsize, limit)
    check_size(*stored, means.channels * planes, itemsize, limit)
    for page in pages:
        check_segments(page, file.size, limit)
    turn = valid(first.tags.valueof(_ORIENTATION, default=1))
    height, width = upright_size(*stored, turn)
    channels = means.channels * planes
    icc = first.tags.valueof(_PROFILE) if means.kind != "CMYK" else None

    def load() -> Raster:
        with quiet():
            pixels, colours = shown(_stored(file, pages, planes, means), means, first, indices)
        pixels = upright(pixels, turn)
        profile = fitting_profile(icc, channels)
        return Raster(pixels, header(pixels.dtype.name), profile, colours)

    def header(dtype: str) -> Header:
        planar = planes > 1 or (first.planarconfig == 2 and means.samples > 1)
        palette = means.kind == "palette"
        return Header(height, width, channels, dtype, "TIFF", means.alpha, palette, planar)

    if wide(first.dtype):  # the pixels decide
        raster = load()
        return Opened(raster.header, lambda: raster)
    coloured = means.kind == "palette" and not indices
    return Opened(header("uint8" if coloured else kept(first.dtype)), load)


def _stored(file: Bounded, pages: list[Any], planes: int, means: Meaning) -> NDArray:
    """Return all numbers as stored, [H, W, samples or planes]."""
    if planes == 1:
        return page_pixels(file, pages[0])
    first = pages[0]
    pixels = np.empty((first.imagelength, first.imagewidth, planes), first.dtype)
    for plane in range(planes):
        if len(pages) == 1:  # ImageJ writes one directory and the rest behind its pixels
            pixels[..., plane : plane + 1] = page_pixels(file, first, plane * first.nbytes)
        else:
            pixels[..., plane : plane + 1] = page_pixels(file, pages[plane])
    return pixels


def _count_pages(file: Bounded) -> int:
    """Walk the chain of directories; raises Refused if it is broken, endless or too long."""
    start = file.exactly(0, min(16, file.size))
    order = "<" if start.startswith(b"II") else ">"
    big = start[2:4] in (b"+\0", b"\0+")
    count_format, entry, next_format = ("Q", 20, "Q") if big else ("H", 12, "I")
    (place,) = struct.unpack_from(order + next_format, start, 8 if big else 4)
    seen: set[int] = set()
    all_tags = 0
    while place:
        if place in seen or len(seen) >= _MOST_PAGES:
            raise Refused("is damaged (its pages form a circle)" if place in seen else _too_many())
        seen.add(place)
        size = struct.calcsize(count_format)
        (tags,) = struct.unpack(order + count_format, file.exactly(place, size))
        all_tags += tags
        if not 0 < tags <= all_tags <= _MOST_TAGS:
            raise Refused(f"is damaged (a page of {tags} tags)")
        after = file.exactly(place + size + tags * entry, struct.calcsize(next_format))
        (place,) = struct.unpack(order + next_format, after)
    if not seen:
        raise Refused("is damaged (it has no page)")
    return len(seen)


def _too_many() -> str:
    return (
        f"holds more than {_MOST_PAGES} pages; save each picture in a file of its own, and one of "
        "many channels with planarconfig='contig'"
    )


def _picture(tiff: Any, count: int) -> list[Any]:
    """Return the pages that make up the picture, without reduced copies and masks."""
    found = [tiff.pages[index] for index in range(count)]
    pages = [page for page in found if not page.subfiletype & (_REDUCED | _MASK)] or found[:1]
    first = pages[0]
    for page in pages:
        sizes = page.imagewidth, page.imagelength, page.samplesperpixel, page.imagedepth
        if not all(isinstance(size, int) for size in sizes):
            raise Refused("is damaged (its size is no whole number)")
        if page.imagedepth != 1:
            raise Refused("is a volume; save its layers as pages or as files of their own")
    _refuse_stacks(first)
    if len(pages) == 1 or (_are_lines(pages) and all(_facts(p) == _facts(first) for p in pages)):
        return pages
    if any(_facts(page)[:2] != _facts(first)[:2] for page in pages):
        raise Refused(f"holds {len(pages)} pictures of different size; save each in its own file")
    if first.samplesperpixel != 1 or int(first.photometric) not in (0, 1):
        raise Refused(f"holds {len(pages)} colour pictures; save each in a file of its own")
    if len(pages) > MOST_CHANNELS:
        raise Refused(f"holds {len(pages)} pages, more than {MOST_CHANNELS} channels; split it")
    if any(_facts(page) != _facts(first) for page in pages):
        raise Refused(f"holds {len(pages)} pages of different kind; save each in its own file")
    return pages


def _are_lines(pages: list[Any]) -> bool:
    """True if an array [H, W, C] was written whole: tifffile then makes a page of each line.

    C is then at most 64; an array [C, H, W] has pages that are its channels.
    """
    first, found = pages[0], _ARRAY.search(_description(pages[0]))
    if not found or first.samplesperpixel != 1 or len(pages) == 1:
        return False
    shape = tuple(int(number) for number in found.groups())
    fits = shape == (len(pages), first.imagelength, first.imagewidth)
    return fits and shape[2] <= MOST_CHANNELS and int(first.photometric) == 1


def _opened_lines(file: Bounded, pages: list[Any], limit: int) -> Opened:
    """A picture each line of which is a page of width x channels."""
    first = pages[0]
    height, width, channels = len(pages), first.imagelength, first.imagewidth
    if wide(first.dtype) or first.dtype.kind == "b":
        raise Refused("has a page for each line; write it with planarconfig='contig'")
    check_size(height, width, channels, first.dtype.itemsize, limit)
    for page in pages:
        check_segments(page, file.size, limit)
    header = Header(height, width, channels, kept(first.dtype), "TIFF", False, False)

    def load() -> Raster:
        with quiet():
            pixels = np.stack([page_pixels(file, page)[..., 0] for page in pages])
        return Raster(upright(pixels.astype(header.dtype), 1), header, None, None)

    return Opened(header, load)


def _facts(page: Any) -> tuple[Any, ...]:
    return (
        page.imagelength,
        page.imagewidth,
        page.samplesperpixel,
        page.bitspersample,
        int(page.sampleformat),
        int(page.photometric),
    )


def _description(page: Any) -> str:
    return page.description[:_MOST_DESCRIPTION] if isinstance(page.description, str) else ""


def _refuse_stacks(page: Any) -> None:
    """Refuse stacks of several axes, as channels and slices: which are channels, nobody knows."""
    text = _description(page)
    if text.startswith("ImageJ="):
        axes = {name: int(count) for name, count in _IMAGEJ.findall(text) if name != "images"}
    elif "<OME" in text[:2000]:
        axes = {_OME_WORDS[name]: int(count) for name, count in reversed(_OME.findall(text))}
    else:
        return
    long = {name: count for name, count in axes.items() if count > 1}
    if len(long) > 1:
        told = " and ".join(f"{count} {name}" for name, count in sorted(long.items()))
        raise Refused(f"is a stack of {told}; save one picture, with its channels, in each file")


def _hidden_planes(page: Any) -> int:
    """Return how many planes lie at the only page's place, as its ImageJ description says."""
    text, planes = _description(page), 1
    if text.startswith("ImageJ="):
        planes = dict(_IMAGEJ.findall(text)).get("images", 1)
    elif shaped := _SHAPED.search(text):
        whole = math.prod(int(n) for n in shaped[1].split(",") if n.strip())
        planes = whole // max(page.imagelength * page.imagewidth * page.samplesperpixel, 1)
    planes = max(int(planes), 1)
    if planes > 1 and (page.samplesperpixel != 1 or not page.is_final):
        raise Refused(f"says that it holds {planes} pictures; save each in a file of its own")
    return planes
