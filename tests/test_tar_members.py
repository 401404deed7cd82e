"""The members of a tar: those that tarfile finds, or one sentence that says why not."""

import io
import os
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dragoman.data.shard_scan import scan
from dragoman.data.shards import INDEX, load
from dragoman.data.tar_members import TarFile
from dragoman.errors import DataError
from tests.tars import FUZZ, png, write_tar

FORMS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}


def found(path: Path) -> tuple[list[tuple[str, int, int]], list[str]]:
    with TarFile(path) as tar:
        return list(tar.members()), tar.problems


names = st.text(st.characters(codec="utf-8", categories=["L", "N", "P"]), min_size=1, max_size=150)


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=max(20, FUZZ // 10))
@given(data=st.data())
def test_members_are_those_that_tarfile_finds(form, data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tar")
    longest = 90 if form == "ustar" else 300
    parts = st.lists(names, min_size=1, max_size=3).map("/".join)
    usable = parts.filter(
        lambda n: len(n.encode()) < longest and ".." not in n and n[0] not in "/." and n[-1] != "/"
    )
    wanted = data.draw(st.lists(usable, max_size=8, unique=True))
    sizes = data.draw(st.lists(st.integers(0, 3000), min_size=len(wanted), max_size=len(wanted)))
    members = [
        (name, bytes([n]) * size) for n, (name, size) in enumerate(zip(wanted, sizes, strict=True))
    ]
    path = write_tar(folder / "x.tar", members, FORMS[form])
    with tarfile.open(path) as tar:
        expected = [(m.name, m.offset_data, m.size) for m in tar]
    assert [name for name, _, _ in expected] == wanted
    assert found(path) == (expected, [])


def test_folders_are_passed_over_and_leading_dots_cut(tmp_path):
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        folder = tarfile.TarInfo("./inner")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        file = tarfile.TarInfo("./inner/1.png")
        file.size = 3
        tar.addfile(file, io.BytesIO(b"abc"))
    assert found(tmp_path / "x.tar") == ([("inner/1.png", 1024, 3)], [])


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (tarfile.SYMTYPE, "x.tar:bad.png is a symbolic link, which is not followed; write the tar"),
        (tarfile.LNKTYPE, "x.tar:bad.png is a hard link, which is not followed"),
        (tarfile.CHRTYPE, "x.tar:bad.png is a device, which is not followed"),
        (tarfile.BLKTYPE, "x.tar:bad.png is a device, which is not followed"),
        (tarfile.FIFOTYPE, "x.tar:bad.png is a named pipe, which is not followed"),
        (b"Z", "x.tar:bad.png is of an unknown type, which is not followed"),
    ],
)
def test_what_is_no_file_is_left_out_by_name(tmp_path, kind, words):
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        odd = tarfile.TarInfo("bad.png")
        odd.type, odd.linkname = kind, "/etc/passwd"
        tar.addfile(odd)
        good = tarfile.TarInfo("good.png")
        good.size = 1
        tar.addfile(good, io.BytesIO(b"x"))
    members, problems = found(tmp_path / "x.tar")
    assert [name for name, _, _ in members] == ["good.png"]
    assert len(problems) == 1
    assert words in problems[0]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("/etc/x.png", "x.tar:/etc/x.png has a name that leads out of the tar"),
        ("../x.png", "x.tar:../x.png has a name that leads out of the tar"),
        ("a/../../x.png", "x.tar:a/../../x.png has a name that leads out of the tar"),
        ("a\nb.png", r"x.tar:'a\nb.png' has control characters in its name; give it another"),
        ("n" * 1500 + ".png", "has a name of more than 1024 bytes; give it a shorter one"),
    ],
)
def test_names_that_cannot_be_are_left_out(tmp_path, name, words):
    members, problems = found(write_tar(tmp_path / "x.tar", [(name, b"x"), ("good.png", b"y")]))
    assert [name for name, _, _ in members] == ["good.png"]
    assert words in problems[0]
    assert "\n" not in problems[0]


def test_names_that_are_not_utf8_are_told_with_escapes(tmp_path):
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT, encoding="latin-1") as tar:
        tar.addfile(tarfile.TarInfo("k\xe4se.png"))
    assert found(path)[0] == [("k\\xe4se.png", 512, 0)]


def test_of_many_bad_members_only_some_are_told(tmp_path):
    members = [(f"/{n}.png", b"") for n in range(300)]
    _, problems = found(write_tar(tmp_path / "x.tar", members))
    assert len(problems) == 101
    assert problems[-1].endswith("x.tar: 200 more such members")


def field(header: bytearray, at: int, text: bytes) -> None:
    """Set a field of a header and mend its sum."""
    header[at : at + len(text)] = text
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header[:512])


def mangled(change):
    """A tar of two members of which the first one's header is changed."""

    def make(path: Path) -> None:
        write_tar(path, [("1.png", b"x" * 700), ("2.png", b"y")])
        data = bytearray(path.read_bytes())
        change(data)
        path.write_bytes(data)

    return make


def extended(kind: bytes, content: bytes, length: int | None = None):
    """A tar that begins with an extended header."""

    def make(path: Path) -> None:
        header = bytearray(tarfile.TarInfo("x").tobuf())
        header[156:157] = kind
        field(header, 124, b"%011o\0" % (len(content) if length is None else length))
        write_tar(path, [("1.png", b"x")])
        path.write_bytes(
            bytes(header) + content.ljust(-(-len(content) // 512) * 512, b"\0") + path.read_bytes()
        )

    return make


def whole(data: bytes):
    return lambda path: path.write_bytes(data)


def sparse(path: Path) -> None:
    """A tar of one petabyte that takes no room on the disk."""
    info = tarfile.TarInfo("1.png")
    info.size = 1 << 50
    path.write_bytes(info.tobuf(tarfile.GNU_FORMAT))


def joined(path: Path) -> None:
    write_tar(path, [("1.png", b"x")])
    path.write_bytes(path.read_bytes() * 2)


def huge_end(path: Path) -> None:
    write_tar(path, [("1.png", b"x")])
    os.truncate(path, 1 << 40)


def gnu_sparse(path: Path) -> None:
    info = tarfile.TarInfo("1.png")
    info.type = tarfile.GNUTYPE_SPARSE
    path.write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(1024))


HOSTILE = {
    "empty": (whole(b""), "is empty (0 bytes); copy it again or remove it"),
    "text": (whole(b"hello " * 500), "is damaged or no tar file (there is no header at byte 0)"),
    "short": (whole(b"x" * 100), "is cut off at byte 100; copy it again"),
    "gzip": (whole(b"\x1f\x8b\x08" + bytes(600)), "is compressed (gzip), which rules out reading"),
    "xz": (whole(b"\xfd7zXZ\0" + bytes(600)), "is compressed (xz)"),
    "zip": (whole(b"PK\x03\x04" + bytes(600)), "is compressed (zip)"),
    "cut in a member": (
        mangled(lambda d: d.__delitem__(slice(900, None))),
        "is cut off at byte 900; copy it again",
    ),
    "no end": (
        mangled(lambda d: d.__delitem__(slice(2560, None))),
        "is cut off at byte 2560; copy it again",
    ),
    "changed name": (
        mangled(lambda d: d.__setitem__(0, d[0] ^ 4)),
        "is damaged or no tar file (there is no header at byte 0); copy it again",
    ),
    "negative size": (
        mangled(lambda d: field(d, 124, b"\xff" * 12)),
        "is damaged (the header at byte 0 tells no size that can be); copy it again",
    ),
    "minus sign": (mangled(lambda d: field(d, 124, b"-0000000700\0")), "tells no size that can be"),
    "huge size": (mangled(lambda d: field(d, 124, b"77777777777\0")), "is cut off at byte 10240"),
    "huge size in base 256": (
        mangled(lambda d: field(d, 124, b"\x80" + b"\xff" * 11)),
        "is cut off at byte 10240",
    ),
    "petabyte": (sparse, "is cut off at byte 512"),
    "joined": (
        joined,
        "goes on after the end of the tar at byte 1024, as tars do that were joined",
    ),
    "terabyte of zeros": (huge_end, "goes on after the end of the tar at byte 1024"),
    "old sparse": (gnu_sparse, "holds the sparse file '1.png'; write it again without tar --spar"),
    "pax sparse": (
        extended(b"x", b"22 GNU.sparse.major=1\n"),
        "holds the sparse file ''; write it again without tar --sparse",
    ),
    "huge pax": (
        extended(b"x", b"", 1 << 32),
        "has an extended header of 4294967296 bytes at byte 0, more than 65536; write it again",
    ),
    "pax cut off": (extended(b"x", b"", 60_000), "is cut off at byte 10752"),
    "huge long name": (extended(b"L", b"", 1 << 20), "has an extended header of 1048576 bytes"),
    "pax without length": (
        extended(b"x", b"path=1\n"),
        "is damaged (its extended header at byte 0 cannot be read); copy it again",
    ),
    "pax of length 0": (extended(b"x", b"0 path=1\n"), "extended header at byte 0 cannot be read"),
    "pax too long": (extended(b"x", b"99 path=1\n"), "extended header at byte 0 cannot be read"),
    "pax size": (
        extended(b"x", b"12 size=-10\n"),
        "is damaged (the header at byte 0 tells no size that can be)",
    ),
    "pax huge size": (
        extended(b"x", b"28 size=9999999999999999999\n"),
        "is cut off at byte 11264",
    ),
    "global size": (
        extended(b"g", b"9 size=0\n"),
        "gives one size to all its members (byte 0); write it again",
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_tars_are_refused_with_one_sentence(tmp_path, case):
    make, words = HOSTILE[case]
    path = tmp_path / "bad.tar"
    make(path)
    with pytest.raises(DataError) as caught:
        found(path)
    assert str(caught.value).startswith(f"{path} ")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_file_at_all_is_refused(tmp_path):
    (tmp_path / "folder.tar").mkdir()
    os.mkfifo(tmp_path / "pipe.tar")
    for name in ("folder.tar", "pipe.tar"):
        with pytest.raises(DataError, match=f"{name} is no file; give tar files or a folder with"):
            TarFile(tmp_path / name)
    with pytest.raises(DataError, match=r"gone.tar cannot be read \(No such file"):
        TarFile(tmp_path / "gone.tar")


def test_a_global_header_that_only_comments_is_passed_over(tmp_path):
    make = extended(b"g", b"19 comment=abcdefg\n")
    make(tmp_path / "x.tar")
    assert found(tmp_path / "x.tar") == ([("1.png", 1536, 1)], [])


@settings(max_examples=FUZZ)
@given(data=st.data())
def test_a_damaged_tar_gives_members_within_it_or_one_sentence(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz")
    form = data.draw(st.sampled_from(sorted(FORMS.values())))
    names = ["1.a.png", "1.json", "2" * 120 + ".png"] if form else ["1.a.png", "1.json"]
    path = write_tar(folder / "x.tar", [(name, png(1)) for name in names], form)
    content = bytearray(path.read_bytes())
    headers = list(range(0, 4096, 512))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.sampled_from(headers)) + data.draw(st.integers(0, 511))
        content[at] ^= 1 << data.draw(st.integers(0, 7))
    if data.draw(st.booleans()):  # a sum that fits, so that the damage is not found by it
        for at in headers:
            if content[at : at + 512].strip(b"\0"):
                header = content[at : at + 512]
                field(header, 0, b"")
                content[at : at + 512] = header
    del content[data.draw(st.integers(0, len(content))) :]
    path.write_bytes(content)
    try:
        members, problems = found(path)
    except DataError as error:
        told = str(error)
    else:
        told = str(path)
        assert all(min(at, size) >= 0 and at + size <= len(content) for _, at, size in members)
        assert not any("\n" in line for line in problems)
    assert str(path) in told
    assert "\n" not in told
    index = scan(folder, ["x.tar"])
    index.save(folder / INDEX)
    assert load(folder / INDEX) is not None
