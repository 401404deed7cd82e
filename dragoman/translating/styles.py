"""Pictures in several styles: a grid of domains by styles, and the way from style to style."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dragoman.data.appearance import show
from dragoman.errors import DataError, FileError, SettingsError
from dragoman.pipeline import APART, Translator, drawing, load
from dragoman.report.sheet import sheet
from dragoman.settings import parse
from dragoman.styled import Styled
from dragoman.translating.kinds import as_tensor, take
from dragoman.translating.options import StyleOptions
from dragoman.translating.sources import find

MOST_PICTURES = 64  # on one sheet
MOST_PAINTED = 1 << 26  # pixels of all pictures of a sheet or animation
MOST_PIXELS = 1 << 20  # of one picture: a sheet is to be looked at
STILL, MOVING = (".png",), (".gif", ".apng")
Looks = NDArray[np.uint8]  # [N, H, W, 3]


def paint_styles(run: str | Path | Translator, source: str, out: str | Path, **options: Any) -> str:
    """Paint pictures in several styles, or from style to style, and say what was written.

    source: as of `translate`; at most 64 pictures. out: a .png for a sheet with a row for each
    picture and domain; with frames also .gif or .apng, an animation that comes back to its
    beginning. options: see `StyleOptions`; others are controls, as of `Translator.choosing`. A
    domain that is not chosen is every one. Raises DataError, SettingsError or FileError.
    """
    known = StyleOptions.__dataclass_fields__
    chosen = StyleOptions(**parse([StyleOptions], {k: v for k, v in options.items() if k in known}))
    place = Path(out)
    _check_place(place, chosen.frames)
    translator = run if isinstance(run, Translator) else load(run, chosen.device)
    if not isinstance(translator.system, Styled):
        raise SettingsError(
            f"{translator.config['system']} has no styles; 'dragoman translate' makes its pictures"
        )
    controls = {name: value for name, value in options.items() if name not in known}
    if controls:
        translator = translator.choosing(**controls)
    taken = list(_taken(translator, source))
    rows = [
        (name, one, picture)
        for name, one in _domains(translator, controls).items()
        for picture in taken
    ]
    pictures = len(rows) * (1 + chosen.count * max(1, chosen.frames))
    if pictures * max(picture[0, 0].numel() for picture in taken) > MOST_PAINTED:
        raise SettingsError(
            f"--count {chosen.count} and --frames {chosen.frames} ask for {pictures} pictures, "
            "more than fit on a sheet; use fewer, or fewer inputs"
        )
    columns = [_in_styles(one, picture, chosen) for _, one, picture in rows]
    _write(place, translator, rows, columns, chosen)
    return f"wrote {place}"


def _check_place(place: Path, frames: int) -> None:
    suffix = place.suffix.lower()
    if suffix in MOVING and not frames:
        raise SettingsError(f"--frames is missing: {place} is to move; try --frames 12")
    if suffix not in (*STILL, *MOVING):
        raise SettingsError(f"{place} must end in {', '.join((*STILL, *MOVING))}")


def _taken(translator: Translator, source: str) -> Iterator[Tensor]:
    """The pictures that are asked for, [1, C, H, W] each."""
    found = find(source)
    if len(found) > MOST_PICTURES:
        raise DataError(f"{source} holds {len(found)} pictures; name at most {MOST_PICTURES}")
    for number in range(len(found)):
        files = found.files(number)
        picture = take(translator, files if len(files) > 1 else files[0])
        if picture.size[0] * picture.size[1] > MOST_PIXELS:
            raise DataError(
                f"{files[0]} is {picture.size[1]}x{picture.size[0]} pixels, too large for a sheet "
                "of styles; 'dragoman translate --answers' makes large pictures"
            )
        yield as_tensor(translator, picture)


def _domains(translator: Translator, controls: dict[str, Any]) -> dict[str, Translator]:
    """A translator for each domain that is wanted, by its name."""
    several = translator.system.domains()
    if not several or controls.get("domain") is not None:
        return {"": translator}
    named = [(name, word) for name, words in several.items() for word in words]
    return {word: translator.choosing(domain=f"{name}={word}") for name, word in named}


def _in_styles(translator: Translator, picture: Tensor, chosen: StyleOptions) -> list[Tensor]:
    """The picture in each style, or on the way through them and back to the first."""
    translator = translator.choosing()  # one that may hold a style
    system = translator.system
    assert isinstance(system, Styled)
    like = picture.to(translator.device).float()
    styles = []
    for number in range(chosen.count):
        with torch.no_grad(), drawing(chosen.seed + APART * number, translator.device):
            system.hold(None)
            styles.append(system.style(like))
    if chosen.frames:
        following = [*styles[1:], styles[0]]
        shares = [step / chosen.frames for step in range(chosen.frames)]
        pairs = zip(styles, following, strict=True)
        styles = [torch.lerp(one, other, share) for one, other in pairs for share in shares]
    made = []
    for style in styles:
        system.hold(style)
        made.append(translator.translate(picture, chosen.seed))
    return made


def _write(
    place: Path,
    translator: Translator,
    rows: list[tuple[str, Translator, Tensor]],
    columns: list[list[Tensor]],
    chosen: StyleOptions,
) -> None:
    sizes = {tuple(picture.shape[2:]) for _, _, picture in rows}
    if len(sizes) > 1:
        raise DataError("the pictures of a sheet must have one size; resize them, or name one")
    given = np.concatenate([show(translator.source, picture) for _, _, picture in rows])
    steps = zip(*columns, strict=True)
    names = [name for name, _, _ in rows]
    looks = [np.concatenate([show(translator.target, one) for one in step]) for step in steps]
    try:
        if place.suffix.lower() in MOVING:
            frames = [
                sheet({"input": given, "": look}, captions=False, rows=names) for look in looks
            ]
            first, *rest = frames
            first.save(
                place,
                format="GIF" if place.suffix.lower() == ".gif" else "PNG",
                save_all=True,
                append_images=rest,
                duration=chosen.milliseconds,
                loop=0,
            )
        else:
            named = {f"{number + 1}": look for number, look in enumerate(looks)}
            sheet({"input": given, **named}, rows=names).save(place)
    except (OSError, ValueError) as error:
        raise FileError(f"cannot write {place}: {error}; name a folder that exists") from error
