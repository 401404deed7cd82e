"""Pictures in several styles: a grid of domains by styles, and the way from style to style."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dragoman.controls import offered
from dragoman.data.appearance import show
from dragoman.data.catalogue import Domain
from dragoman.data.sizes import resized
from dragoman.errors import DataError, FileError, SettingsError
from dragoman.pipeline import APART, Translator, drawing, load
from dragoman.report.sheet import sheet
from dragoman.settings import parse
from dragoman.styled import Styled
from dragoman.translating.kinds import as_tensor, take
from dragoman.translating.options import StyleOptions
from dragoman.translating.sources import find

USUAL = 5  # styles that are drawn where no number is asked for
MOST_STYLES = 64
MOST_PICTURES = 64  # on one sheet
MOST_PAINTED = 1 << 26  # pixels of all pictures of a sheet or animation
MOST_PIXELS = 1 << 20  # of one picture: a sheet is to be looked at
STILL, MOVING = (".png",), (".gif", ".apng")
Looks = NDArray[np.uint8]  # [N, H, W, 3]


def paint_styles(run: str | Path | Translator, source: str, out: str | Path, **options: Any) -> str:
    """Paint pictures in several styles, or from style to style, and say what was written.

    source: as of `translate`; at most 64 pictures, which are scaled to one size. out: a .png for a
    sheet with a row for each picture and domain; with frames also .gif or .apng, an animation that
    comes back to its beginning. options: see `StyleOptions`; others are controls, as of
    `Translator.choosing`, but each picture of a reference is a style of its own. A domain that is
    not chosen is every one. Raises DataError, SettingsError or FileError.
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
    translator = _choosing(translator, {k: v for k, v in options.items() if k not in known})
    count = _count(translator, chosen)
    taken = _taken(translator, source, place)
    domains = _domains(translator)
    _check_room(taken, len(domains), count, chosen.frames)
    ways = {name: (one, _styles(one, taken[0], count, chosen)) for name, one in domains.items()}
    rows = [(name, *way, picture) for name, way in ways.items() for picture in taken]
    columns = [_in_styles(one, picture, styles, chosen.seed) for _, one, styles, picture in rows]
    names, pictures = [name for name, *_ in rows], [picture for *_, picture in rows]
    _write(place, translator, (names, pictures), columns, chosen)
    return f"wrote {place}"


def _check_place(place: Path, frames: int) -> None:
    """Raise SettingsError or FileError for what can be known to fail before anything is painted."""
    suffix = place.suffix.lower()
    if suffix in MOVING and not frames:
        raise SettingsError(f"--frames is missing: {place} is to move; try --frames 12")
    if suffix not in (*STILL, *MOVING):
        raise SettingsError(f"{place} must end in {', '.join((*STILL, *MOVING))}")
    if place.is_dir():
        raise FileError(f"{place} is a folder; name a file")
    if not place.parent.is_dir():
        raise FileError(f"there is no folder {place.parent}; make it, or name one that exists")
    if not os.access(place if place.exists() else place.parent, os.W_OK):
        raise FileError(f"{place} may not be written; name another place")


# What styles there are


def _choosing(translator: Translator, controls: dict[str, Any]) -> Translator:
    """The translator with these controls; references must be of a domain that is named."""
    kind = translator.system.Controls
    now = {**vars(translator.system.controls), **controls}
    shown = [name for name, pictures in offered(kind).items() if pictures and now[name] is not None]
    if shown and _by_domain(translator) and now.get("domain") is None:
        raise SettingsError(
            f"the pictures of --{shown[0]} are of one domain; name it with --domain"
        )
    chosen = translator.choosing(**controls) if controls else translator
    chosen.system.check_chosen()
    return chosen


def _by_domain(translator: Translator) -> bool:
    """Whether a style is one of a domain, which must be told; not if examples alone say all."""
    return bool(translator.system.domains()) and not translator.system.examples


def _domains(translator: Translator) -> dict[str, Translator]:
    """A translator for each domain that is wanted, by its name."""
    several = translator.system.domains()
    if not _by_domain(translator) or getattr(translator.system.controls, "domain", None):
        return {"": translator}
    named = [(name, word) for name, words in several.items() for word in words]
    return {word: translator.choosing(domain=f"{name}={word}") for name, word in named}


def _shown(translator: Translator) -> tuple[str, Tensor] | None:
    """The control of pictures whose styles are wanted, and the pictures [K, C, H, W]."""
    system = translator.system
    for name, pictures in offered(system.Controls).items():
        value = getattr(system.controls, name)
        if pictures and value is not None:
            return name, value
    return None


def _count(translator: Translator, chosen: StyleOptions) -> int:
    """How many styles are wanted; raises SettingsError if there are not so many."""
    shown, count, most = _shown(translator), chosen.count, translator.system.answers
    if shown is not None:
        name, given = shown[0], len(shown[1])
        what = f"--{name} shows {given} picture{'s' * (given > 1)}, each a style of its own"
        if given > MOST_STYLES:
            raise SettingsError(f"{what}; show at most {MOST_STYLES}")
        if count not in (None, given):
            raise SettingsError(f"{what}, but --count is {count}; leave --count out")
        if given == 1 and chosen.frames:
            raise SettingsError(
                f"{what}, but --frames {chosen.frames} goes from one style to another; show "
                "several pictures, or leave --frames out"
            )
        return given
    if most is not None and (chosen.frames or (count or 1) > most):
        zero = getattr(translator.system.controls, "truncation", None) == 0
        what = "--truncation 0 leaves one style, the mean one" if zero else "there is one style"
        raise SettingsError(
            f"{what}; leave --count and --frames out" + ", or raise --truncation" * zero
        )
    count = count or most or USUAL
    if count == 1 and chosen.frames:
        raise SettingsError(
            f"--frames {chosen.frames} goes from one style to another, but --count is 1; "
            "use --count 2 or more"
        )
    return count


def _styles(
    translator: Translator, picture: Tensor, count: int, chosen: StyleOptions
) -> list[Tensor]:
    """The styles [1, S] of the columns, or on the way through them and back to the first.

    picture: any that will be painted. Raises SettingsError if all are the same.
    """
    shown, like = _shown(translator), picture.to(translator.device).float()
    stations = []
    for number in range(count):
        one = translator
        if shown is not None:
            one = translator.choosing(**{shown[0]: shown[1][number : number + 1]})
        system = one.system
        assert isinstance(system, Styled)
        with torch.no_grad(), drawing(chosen.seed + APART * number, translator.device):
            stations.append(system.style(like))
    if shown and count > 1 and all(torch.equal(stations[0], one) for one in stations):
        zero = getattr(translator.system.controls, "truncation", None) == 0
        remedy = "raise --truncation, which is 0" if zero else "show others"
        raise SettingsError(f"all pictures of --{shown[0]} come to the same style; {remedy}")
    if not chosen.frames:
        return stations
    following = [*stations[1:], stations[0]]
    shares = [step / chosen.frames for step in range(chosen.frames)]
    pairs = zip(stations, following, strict=True)
    return [torch.lerp(one, other, share) for one, other in pairs for share in shares]


# What is painted


def _taken(translator: Translator, source: str, place: Path) -> list[Tensor]:
    """The pictures that are asked for, [1, C, H, W] each; raises DataError for one that is bad."""
    found = find(source)
    for name, reason in found.problems[:1]:
        raise DataError(f"{name} {reason}")
    if len(found) > MOST_PICTURES:
        raise DataError(f"{source} holds {len(found)} pictures; name at most {MOST_PICTURES}")
    taken = []
    for number in range(len(found)):
        files = found.files(number)
        picture = take(translator, files if len(files) > 1 else files[0])
        if picture.size[0] * picture.size[1] > MOST_PIXELS:
            raise DataError(
                f"{files[0]} is {picture.size[1]}x{picture.size[0]} pixels, too large for a sheet "
                "of styles; 'dragoman translate --answers' makes large pictures"
            )
        if place.exists() and any(os.path.samefile(place, file) for file in files):
            raise DataError(f"{place} is one of the pictures, which stay; name another place")
        taken.append(as_tensor(translator, picture))
    return taken


def _check_room(taken: list[Tensor], domains: int, count: int, frames: int) -> None:
    """Raise SettingsError if more is asked for than fits on a sheet."""
    pictures = len(taken) * domains * (1 + count * max(1, frames))
    height, width = (max(picture.shape[side] for picture in taken) for side in (2, 3))
    if pictures * height * width > MOST_PAINTED:
        raise SettingsError(
            f"{count} styles and --frames {frames} ask for {pictures} pictures of {width}x{height} "
            "pixels, more than fit on a sheet; use fewer, or fewer or smaller inputs"
        )


def _in_styles(
    translator: Translator, picture: Tensor, styles: list[Tensor], seed: int
) -> list[Tensor]:
    """The picture in each style."""
    translator = translator.choosing()  # one that may hold a style
    system = translator.system
    assert isinstance(system, Styled)
    made = []
    for style in styles:
        system.hold(style)
        made.append(translator.translate(picture, seed))
    return made


def _in_one_size(domain: Domain, pictures: Iterable[Tensor]) -> Looks:
    """Pictures [1, C, H, W] to be looked at, each scaled into the largest sides, on white."""
    looks = [show(domain, picture)[0] for picture in pictures]
    size = max(look.shape[0] for look in looks), max(look.shape[1] for look in looks)
    cells = np.full((len(looks), *size, 3), 255, np.uint8)
    for cell, look in zip(cells, looks, strict=True):
        height, width = look.shape[:2]
        scale = min(size[0] / height, size[1] / width)
        fitting = max(1, round(height * scale)), max(1, round(width * scale))
        top, left = (size[0] - fitting[0]) // 2, (size[1] - fitting[1]) // 2
        inner = cell[top : top + fitting[0], left : left + fitting[1]]
        inner[:] = resized(look, fitting, domain.kind == "labels")
    return cells


def _write(
    place: Path,
    translator: Translator,
    rows: tuple[list[str], list[Tensor]],
    columns: list[list[Tensor]],
    chosen: StyleOptions,
) -> None:
    names, pictures = rows
    given = _in_one_size(translator.source, pictures)
    looks = [_in_one_size(translator.target, step) for step in zip(*columns, strict=True)]
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
        raise FileError(f"cannot write {place}: {error}; name another place") from error
