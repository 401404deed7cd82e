"""Folders that are built once from installed packages and then only read."""

import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable
from importlib import metadata
from pathlib import Path

from dragoman.errors import DataError

_MANIFEST = "manifest.json"


def cache_root() -> Path:
    """Return DRAGOMAN_CACHE, or the folder dragoman of the user's cache (XDG)."""
    if own := os.environ.get("DRAGOMAN_CACHE"):
        return Path(own).expanduser()
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "dragoman"


def package_file(package: str, name: str) -> Path:
    """Return where an installed package keeps the file called `name`.

    Raises DataError if the package is not installed or has no such file.
    """
    for file in _files(package):
        if file.name == name:
            return Path(str(file.locate()))
    raise DataError(f"the installed package {package} has no file {name}; install it anew")


def package_files(package: str, suffix: str) -> list[Path]:
    """Return all files of an installed package that end in `suffix`, sorted by path."""
    return sorted(Path(str(f.locate())) for f in _files(package) if f.name.endswith(suffix))


def _files(package: str) -> list[metadata.PackagePath]:
    require([package])
    return metadata.files(package) or []


def require(packages: Iterable[str]) -> str:
    """Return the versions of packages as one line; raise DataError if one is missing."""
    versions = []
    for package in packages:
        try:
            versions.append(f"{package}=={metadata.version(package)}")
        except metadata.PackageNotFoundError:
            raise DataError(
                f"this data set is built from the package {package}, which is not installed; "
                "type: pip install 'dragoman[data]'"
            ) from None
    return " ".join(versions)


def built(name: str, version: str, build: Callable[[Path], None], note: str = "") -> Path:
    """Return a folder made by `build(folder)`, from the cache if it is there and undamaged.

    Processes that ask at once wait for the one that builds. version: all that the content depends
    on; another version is another folder. note: told to the user before building.
    """
    from filelock import FileLock

    folder = cache_root() / f"{name}-{hashlib.sha256(version.encode()).hexdigest()[:12]}"
    if not damage(folder):
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(str(folder) + ".lock")
        with lock:
            _build_locked(folder, name, version, build, note)
    except OSError as error:
        raise DataError(
            f"cannot write to the cache folder {folder.parent} ({error}); "
            "name another with the environment variable DRAGOMAN_CACHE"
        ) from error
    return folder


def _build_locked(
    folder: Path, name: str, version: str, build: Callable[[Path], None], note: str
) -> None:
    why = damage(folder)  # again: another process may have built it meanwhile
    if not why:
        return
    if folder.exists():
        _say(f"the cached data set {name} is damaged ({why}); building it again")
        shutil.rmtree(folder)
    elif note:
        _say(note)
    draft = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=folder.parent))
    try:
        build(draft)
        _seal(draft, version)
        draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _seal(folder: Path, version: str) -> None:
    """Write the sizes of all files, and a digest of these, and force everything to the disk."""
    for file in folder.iterdir():
        with file.open("rb+") as handle:
            os.fsync(handle.fileno())
    content = {
        "version": version,
        "bytes": {file.name: file.stat().st_size for file in sorted(folder.iterdir())},
    }
    (folder / _MANIFEST).write_text(json.dumps(content | {"digest": _digest(content)}, indent=1))


def _digest(content: dict) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def damage(folder: Path) -> str:
    """Return what is wrong with a built folder in a few words, or "" if nothing is."""
    try:
        content = json.loads((folder / _MANIFEST).read_text())
        digest = content.pop("digest")
        sizes = dict(content["bytes"])
    except FileNotFoundError:
        return "no manifest"
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return "unreadable manifest"
    if digest != _digest(content):
        return "altered manifest"
    for name, size in sizes.items():
        file = folder / name
        if not file.is_file():
            return f"{name} is missing"
        if file.stat().st_size != size:
            return f"{name} has {file.stat().st_size} bytes instead of {size}"
    return ""


def _say(text: str) -> None:
    print(f"dragoman: {text}", file=sys.stderr, flush=True)
