"""The cache: built once by one process, rebuilt when damaged, placed where the user says."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dragoman.data.cache import built, cache_root, damage, package_file, require
from dragoman.errors import DataError


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("DRAGOMAN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def _write(folder: Path) -> None:
    (folder / "x.npy").write_bytes(b"0123456789")


def test_root_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.delenv("DRAGOMAN_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_root() == tmp_path / "dragoman"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_root() == Path.home() / ".cache" / "dragoman"
    monkeypatch.setenv("DRAGOMAN_CACHE", "/elsewhere")
    assert cache_root() == Path("/elsewhere")


def test_built_once_per_version(root):
    calls = []

    def build(folder: Path) -> None:
        calls.append(folder)
        _write(folder)

    first = built("set", "1", build)
    assert built("set", "1", build) == first
    assert len(calls) == 1
    assert (first / "x.npy").read_bytes() == b"0123456789"
    assert built("set", "2", build) != first
    assert len(calls) == 2


def _truncate(folder: Path) -> None:
    (folder / "x.npy").write_bytes(b"01234")


def _remove(folder: Path) -> None:
    (folder / "x.npy").unlink()


def _garble(folder: Path) -> None:
    (folder / "manifest.json").write_text("{not json")


def _alter(folder: Path) -> None:
    content = json.loads((folder / "manifest.json").read_text())
    content["bytes"]["x.npy"] = 5
    (folder / "manifest.json").write_text(json.dumps(content))
    _truncate(folder)


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (_truncate, "x.npy has 5 bytes instead of 10"),
        (_remove, "x.npy is missing"),
        (_garble, "unreadable manifest"),
        (_alter, "altered manifest"),
    ],
)
def test_damage_is_seen_said_and_mended(root, capsys, harm, words):
    folder = built("set", "1", _write)
    harm(folder)
    assert damage(folder) == words
    assert built("set", "1", _write) == folder
    assert f"the cached data set set is damaged ({words}); building it again" in (
        capsys.readouterr().err
    )
    assert not damage(folder)


def test_a_failed_build_leaves_nothing(root):
    def build(folder: Path) -> None:
        _write(folder)
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        built("set", "1", build)
    assert [path for path in root.iterdir() if path.is_dir()] == []


BUILDER = """
import sys, time
from pathlib import Path
from dragoman.data.cache import built
def build(folder):
    with open(sys.argv[1], "a") as log:
        log.write("built\\n")
    time.sleep(0.5)
    (folder / "x.npy").write_bytes(b"0123456789")
print((built("set", "1", build) / "x.npy").read_bytes().decode())
"""


def test_two_processes_at_once_build_once(root, tmp_path):
    log = tmp_path / "log"
    command = [sys.executable, "-c", BUILDER, str(log)]
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [run.communicate(timeout=60)[0].strip() for run in runs] == ["0123456789"] * 3
    assert log.read_text() == "built\n"


def test_missing_package_names_the_one_command():
    with pytest.raises(DataError, match=r"not installed; type: pip install 'dragoman\[data\]'"):
        require(["no-such-package-of-pictures"])
    with pytest.raises(DataError, match=r"has no file nothing\.jpg"):
        package_file("numpy", "nothing.jpg")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_unwritable_cache_names_the_variable(tmp_path, monkeypatch):
    tmp_path.chmod(0o500)
    monkeypatch.setenv("DRAGOMAN_CACHE", str(tmp_path / "cache"))
    with pytest.raises(DataError, match="DRAGOMAN_CACHE"):
        built("set", "1", _write)


def test_cache_path_through_a_file_names_the_variable(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DRAGOMAN_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(DataError, match=r"cannot write to the cache folder .* DRAGOMAN_CACHE"):
        built("set", "1", _write)
