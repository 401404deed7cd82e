"""Translating files: one picture or a folder of them, each written whole or not at all."""

import contextlib
import os
from pathlib import Path

from PIL import Image

from dragoman.data.pictures import SUFFIXES, read
from dragoman.errors import DataError, DragomanError
from dragoman.pipeline import Translator, load


def translate(run: str | Path, source: Path, out: Path, seed: int = 0, device: str = "auto") -> str:
    """Translate a file to a file, or all pictures of a folder into a folder under their names.

    Returns a sentence on what was written. Pictures that cannot be translated do not stop the
    rest; raises DataError at the end that lists them with their reasons.
    """
    if not source.exists():
        raise DataError(f"there is no picture or folder {source}")
    translator = load(run, device)
    if source.is_file():
        place = out / f"{source.stem}.png" if out.is_dir() else out
        if place.exists() and place.samefile(source):
            raise DataError(f"{place} is the picture itself, which stays; name another file")
        _translate_file(translator, source, place, seed)
        return f"wrote {place}"
    names = _pictures(source, out)
    failed: list[str] = []
    places: dict[Path, Path] = {}
    for path in names:
        place = (out / path.relative_to(source)).with_suffix(".png")
        try:
            if place in places:
                raise DataError(f"{places[place].name} has the same name; rename one of them")
            places[place] = path
            _translate_file(translator, path, place, seed)
        except DragomanError as error:
            failed.append(f"  {path}: {error}")
    done = f"wrote {len(names) - len(failed)} of {len(names)} pictures to {out}"
    if failed:
        raise DataError(done + "; these could not be translated:\n" + "\n".join(failed))
    return done


def _pictures(source: Path, out: Path) -> list[Path]:
    """The pictures of a folder, in order, without those that were written into one inside it."""
    if out.is_file():
        raise DataError(f"{out} is a file; to translate a folder, name a folder")
    if out.resolve() == source.resolve():
        raise DataError(f"{out} holds the pictures themselves, which stay; name another folder")
    found = sorted(p for p in source.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    names = [path for path in found if out.resolve() not in path.resolve().parents]
    if not names:
        raise DataError(f"{source} holds no pictures; known endings: {', '.join(sorted(SUFFIXES))}")
    return names


def _translate_file(translator: Translator, source: Path, place: Path, seed: int) -> None:
    kinds = Image.registered_extensions()
    if place.suffix.lower() not in kinds:
        raise DataError(f"{place} has no picture ending; use .png, .jpg, .webp or .tif")
    channels = {"labels": 1, "metres": 1}.get(translator.source.kind, translator.source.channels)
    pixels = read(source, channels)
    made = translator(
        Image.fromarray(pixels[0] if channels == 1 else pixels.transpose(1, 2, 0)), seed
    )
    temporary = place.with_name(f".{place.name}.{os.getpid()}")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        made.save(temporary, format=kinds[place.suffix.lower()])
        os.replace(temporary, place)
    except (OSError, KeyError, ValueError) as error:
        raise DataError(f"cannot write {place}: {error}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
