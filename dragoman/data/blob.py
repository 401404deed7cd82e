"""Where the bytes of a picture lie: a file, a part of an archive, or memory."""

import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from dragoman.errors import DataError


@dataclass(frozen=True, slots=True)
class Blob:
    """One encoded picture.

    path: the file it lies in. offset, length: its part of that file in bytes (length -1: all of
    it). member: its name within an archive. data: the bytes themselves, where there is no file;
    path then says where they came from.
    """

    path: str
    offset: int = 0
    length: int = -1
    member: str = ""
    data: bytes | None = None

    @property
    def name(self) -> str:
        """What a user is told: the path, with the member of an archive after a colon."""
        return f"{self.path}:{self.member}" if self.member else self.path

    @property
    def suffix(self) -> str:
        """The ending of its name in small letters, such as ".png"."""
        return os.path.splitext(self.member or self.path)[1].lower()

    @property
    def file(self) -> Path | None:
        """The file that holds this picture and nothing else, if there is one."""
        return Path(self.path) if self.length < 0 and self.data is None else None

    def open(self) -> BinaryIO:
        """Open the bytes for reading and seeking; raises DataError if they cannot be had."""
        try:
            if self.data is not None:
                return io.BytesIO(self.data)
            if self.length < 0:
                return open(self.path, "rb")  # not through Path, which a loader would notice
            with open(self.path, "rb", buffering=_buffering(self.length)) as file:
                file.seek(self.offset)
                data = file.read(self.length)
        except OSError as error:
            raise DataError(f"{self.name} cannot be read ({error.strerror or error})") from error
        if len(data) < self.length:
            raise DataError(f"{self.name} is cut off; copy {self.path} again")
        return io.BytesIO(data)


def as_blob(source: "str | Path | Blob") -> Blob:
    """Return a Blob for a path, or the Blob itself."""
    return source if isinstance(source, Blob) else Blob(str(source))


def _buffering(length: int) -> int:
    """No buffer for parts that one call reads whole: then no more is read than is wanted."""
    return 0 if length < 1 << 30 else -1
