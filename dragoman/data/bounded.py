"""A file of which nobody can read too much, whatever the file itself claims."""

import io
import os
from typing import Any, BinaryIO

from dragoman.data.raster_header import Refused

_LEAST = 256  # bytes: files of a million tiny parts take long, though they are small


class Bounded(io.RawIOBase):
    """A binary file to read, which stays open when this is closed.

    allowance: how many more bytes may be read, where each time counts as 256 bytes at least;
    positions outside of the file are refused too.
    unbounded: the file itself, faster and for those who may read all of it.
    """

    def __init__(self, file: BinaryIO, allowance: int):
        self.unbounded = file
        self.allowance = allowance
        self.size = file.seek(0, os.SEEK_END)
        file.seek(0)

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """Return the position in bytes."""
        return self.unbounded.tell()

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Go to a position; Refused if it lies outside of the file."""
        start = (0, self.unbounded.tell(), self.size)[whence]
        if not 0 <= start + offset <= self.size:
            raise Refused("is cut off or damaged (it points outside of itself)")
        return self.unbounded.seek(start + offset)

    def read(self, size: int | None = -1, /) -> bytes:
        """Return `size` bytes, or as many as there are; Refused if the allowance is used up."""
        there = self.size - self.unbounded.tell()
        size = there if size is None or size < 0 else min(size, there)
        self.allowance -= max(size, _LEAST)
        if self.allowance < 0:
            raise Refused("is damaged (more lies around its pixels than a picture needs)")
        return self.unbounded.read(size)

    def readinto(self, buffer: Any, /) -> int:
        """Fill a buffer as far as the file goes; return how many bytes those were."""
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def exactly(self, offset: int, size: int) -> bytes:
        """Return `size` bytes from `offset` on, outside of the allowance; Refused if cut off."""
        if offset < 0 or size < 0 or offset + size > self.size:
            raise Refused("is cut off")
        self.unbounded.seek(offset)
        data = self.unbounded.read(size)
        if len(data) < size:
            raise Refused("is cut off")
        return data
