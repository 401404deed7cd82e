"""The members of a tar file and where their bytes lie; nothing is unpacked and no link followed."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from dragoman.errors import DataError

BLOCK = 512
MOST_NAME = 1024  # bytes of a member's name
MOST_EXTENDED = 1 << 16  # bytes of one pax header or long name
MOST_MEMBERS = 10_000_000  # of one tar
MOST_LINES = 100  # about members of one tar that are left out
MOST_PADDING = 1 << 20  # bytes of zeros at the end of a tar
_WINDOW = 4096  # small members and the header after them come with one read
_ZEROS = bytes(BLOCK)
_OCTAL = b"01234567"
_PACKED = {  # how files begin that are no plain tar, and what unpacks them
    b"\x1f\x8b": ("gzip", "gunzip"),
    b"BZh": ("bzip2", "bunzip2"),
    b"\xfd7zXZ": ("xz", "unxz"),
    b"\x28\xb5\x2f\xfd": ("zstd", "unzstd"),
    b"PK\x03\x04": ("zip", "unzip"),
}
_FILES = b"0\x007"  # types of header: regular files, as all writers mark them
_FOLDER = b"5"
_OTHERS = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a device",
    b"4": "a device",
    b"6": "a named pipe",
}
_REMEDY = "write the tar with its files themselves (tar -h)"


# Control characters, separators of lines and paragraphs, and halves of surrogate pairs.
_UNTELLABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def tellable(text: str) -> bool:
    """Return whether a text can stand in a message of one line."""
    return _UNTELLABLE.search(text) is None


def one_line(text: str) -> str:
    """Return a text with a space for whatever is not tellable."""
    return _UNTELLABLE.sub(" ", text)


class TarFile:
    """A tar file that is only looked through.

    Its headers are parsed here, since those of a stranger must neither fill the memory nor make
    the reader wait. problems: a line for each member that is left out. Raises DataError if the
    file cannot be opened or is no plain tar.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.problems = path, []
        try:
            if not stat.S_ISREG(path.stat().st_mode):
                raise DataError(f"{path} is no file; give tar files or a folder with tar files")
            self._file = path.open("rb", buffering=0)
            self.size = os.fstat(self._file.fileno()).st_size
        except OSError as error:
            raise DataError(f"{path} cannot be read ({error.strerror or error})") from error
        self._start, self._window, self._skipped = 0, b"", 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def read(self, offset: int, length: int) -> bytes:
        """Return bytes of the file; raises DataError if it has not so many."""
        at = offset - self._start
        if at < 0 or at + length > len(self._window):
            try:
                self._file.seek(offset)
                self._window = self._file.read(max(length, _WINDOW)) or b""
                while len(self._window) < length and (more := self._file.read(length)):
                    self._window += more  # some file systems give less than is there
            except OSError as error:
                raise DataError(f"{self.path} cannot be read ({error.strerror})") from error
            self._start, at = offset, 0
            if len(self._window) < length:
                raise self._cut_off()
        return self._window[at : at + length]

    def members(self) -> Iterator[tuple[str, int, int]]:
        """Yield name, offset and length of each regular file, in the order of the tar.

        Raises DataError where the tar is damaged, cut off or of a kind that is not read.
        """
        self._check_start()
        at, count, name, length = 0, 0, None, None
        while (header := self._header(at)) is not None:
            kind, data = header[156:157], at + BLOCK
            claimed = self._size(header, at)
            if kind in b"xgLK":
                content = self._extended(data, claimed, at)
                if kind == b"L":
                    name = content.split(b"\0", 1)[0]
                elif kind != b"K":
                    name, length = self._pax(content, kind, at, name, length)
                at = data + _padded(claimed)
                continue
            own = _name(header) if name is None else name
            size = claimed if length is None else length
            if kind == b"S":
                raise self._sparse(own)
            folder = kind == _FOLDER or (kind in _FILES and own.endswith(b"/"))
            size = 0 if folder or kind in _OTHERS else size
            if size > self.size - data:
                raise self._cut_off()
            count += 1
            if count > MOST_MEMBERS:
                raise DataError(f"{self.path} has more than {MOST_MEMBERS} members; split it")
            if not folder and (text := self._accepted(own, kind)):
                yield text, data, size
            at, name, length = data + _padded(size), None, None
        self._check_end(at)
        if self._skipped > MOST_LINES:
            self.problems.append(f"{self.path}: {self._skipped - MOST_LINES} more such members")

    def has(self, name: str, offset: int, length: int) -> bool:
        """Return whether a regular file of this name and length begins at `offset`."""
        if offset + _padded(length) > self.size:
            return False
        header = self._header(offset - BLOCK)
        return (
            header is not None
            and header[156:157] in _FILES
            and self._size(header, offset) == length
            and self._accepted(_name(header), b"0") == name
        )

    def _check_start(self) -> None:
        if not self.size:
            raise DataError(f"{self.path} is empty (0 bytes); copy it again or remove it")
        start = self.read(0, min(8, self.size))
        for magic, (form, tool) in _PACKED.items():
            if start.startswith(magic):
                raise DataError(
                    f"{self.path} is compressed ({form}), which rules out reading its pictures in "
                    f"any order; type: {tool} '{self.path}'"
                )

    def _header(self, at: int) -> bytes | None:
        """Return the header at a place, checked by its sum, or None where the tar ends."""
        if at + BLOCK > self.size:
            raise self._cut_off()
        header = self.read(at, BLOCK)
        if header == _ZEROS:
            return None
        told, field = _number(header[148:156]), header[148:156]
        total = sum(header) - sum(field) + 8 * 32
        if told != total:
            # Some old writers added the bytes as signed numbers.
            signed = total - 256 * sum(b > 127 for b in header[:148] + header[156:])
            if told != signed:
                raise DataError(
                    f"{self.path} is damaged or no tar file (there is no header at byte {at}); "
                    "copy it again"
                )
        return header

    def _size(self, header: bytes, at: int) -> int:
        size = _number(header[124:136])
        if size is None:
            raise DataError(
                f"{self.path} is damaged (the header at byte {at} tells no size that can be); "
                "copy it again"
            )
        return size

    def _extended(self, data: int, length: int, at: int) -> bytes:
        if length > MOST_EXTENDED:
            raise DataError(
                f"{self.path} has an extended header of {length} bytes at byte {at}, more than "
                f"{MOST_EXTENDED}; write it again with short names"
            )
        if length > self.size - data:
            raise self._cut_off()
        return self.read(data, length)

    def _pax(
        self, content: bytes, kind: bytes, at: int, name: bytes | None, length: int | None
    ) -> tuple[bytes | None, int | None]:
        """Return name and length of the next member, as far as a pax header tells them."""
        for key, value in self._records(content, at):
            if key.startswith(b"GNU.sparse"):
                raise self._sparse(name or b"")
            if key not in (b"path", b"size"):
                continue
            if kind == b"g":
                raise DataError(
                    f"{self.path} gives one {key.decode()} to all its members (byte {at}); "
                    "write it again"
                )
            if key == b"path":
                name = value
            elif value.isdigit() and len(value) < 20:
                length = int(value)
            else:
                raise DataError(
                    f"{self.path} is damaged (the header at byte {at} tells no size that can be); "
                    "copy it again"
                )
        return name, length

    def _records(self, content: bytes, at: int) -> Iterator[tuple[bytes, bytes]]:
        """Yield the records "LENGTH KEY=VALUE" and line break of a pax header."""
        place, end = 0, len(content.rstrip(b"\0"))
        while place < end:
            digits, space, _ = content[place : place + 8].partition(b" ")
            record = content[place : place + int(digits)] if digits.isdigit() and space else b""
            key, equals, value = record[len(digits) + 1 :].partition(b"=")
            if not equals or record[-1:] != b"\n" or len(record) != int(digits):
                raise DataError(
                    f"{self.path} is damaged (its extended header at byte {at} cannot be read); "
                    "copy it again"
                )
            yield key, value[:-1]
            place += len(record)

    def _accepted(self, name: bytes, kind: bytes) -> str:
        """Return a member's name as text, or "" if it is left out, with a problem line."""
        text = name.decode("utf-8", "backslashreplace")
        while text.startswith("./"):
            text = text[2:]
        why = ""
        if kind not in _FILES:
            why = f"is {_OTHERS.get(kind, 'of an unknown type')}, which is not followed; {_REMEDY}"
        elif len(name) > MOST_NAME:
            text = text[:80] + "..."
            why = f"has a name of more than {MOST_NAME} bytes; give it a shorter one"
        elif not tellable(text):
            why = "has control characters in its name; give it another one"
        elif text.startswith("/") or ".." in text.split("/"):
            why = "has a name that leads out of the tar; write it with names below its folder"
        if why:
            self._skipped += 1
            if self._skipped <= MOST_LINES:
                shown = text if tellable(text) else ascii(text)
                self.problems.append(f"{self.path}:{shown} {why}")
            return ""
        return text

    def _check_end(self, at: int) -> None:
        """Refuse what comes after the end, such as a second tar: it would be lost silently."""
        rest = self.size - at
        if rest > MOST_PADDING or self.read(at, rest).strip(b"\0"):
            raise DataError(
                f"{self.path} goes on after the end of the tar at byte {at}, as tars do that were "
                "joined by cat; keep them apart"
            )

    def _cut_off(self) -> DataError:
        return DataError(f"{self.path} is cut off at byte {self.size}; copy it again")

    def _sparse(self, name: bytes) -> DataError:
        shown = ascii(name.decode("utf-8", "backslashreplace")[:80])
        return DataError(
            f"{self.path} holds the sparse file {shown}; write it again without tar --sparse"
        )


def _name(header: bytes) -> bytes:
    name = header[:100].split(b"\0", 1)[0]
    if header[257:263] == b"ustar\0":  # the old GNU format keeps other things there
        prefix = header[345:500].split(b"\0", 1)[0]
        return prefix + b"/" + name if prefix else name
    return name


def _number(field: bytes) -> int | None:
    """Return what a field of a header says: octal digits, or base 256; None if it is neither."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    text = field.split(b"\0", 1)[0].strip(b" ")
    return None if text.strip(_OCTAL) else int(text or b"0", 8)


def _padded(length: int) -> int:
    return -(-length // BLOCK) * BLOCK
