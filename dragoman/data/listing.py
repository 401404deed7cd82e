"""What the commands `datasets` and `preview` show: the known data sets, and a contact sheet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dragoman.data.catalogue import DATASETS, Family

if TYPE_CHECKING:
    from PIL import Image

    from dragoman.data.batches import Data

_GAP, _TEXT = 6, 14  # pixels between pictures, and of a line of text
_LEAST = 96  # smaller pictures are enlarged by a whole factor until they have so many pixels


def list_datasets() -> str:
    """Return the embedded data sets as text, and how own pictures are named."""
    blocks = [_described(family) for family in DATASETS.values()]
    blocks.append(
        "own pictures\n"
        "  use      --data DIR            with trainA and trainB (also valA ..., or train/A)\n"
        "           --data DIR_A,DIR_B    two folders; DIR_1+DIR_2,DIR_B stacks channels\n"
        "           --data FILE.csv       a manifest, also .jsonl; --columns says which is what\n"
        "           --data DIR            of tar shards; a folder per class; single pictures\n"
        "           --data DIR --layout side_by_side     a and b in one file\n"
        "           --data hf:DIR         a data set of Hugging Face\n"
        "  pairing  files of equal name are pairs; --pairing unpaired for pictures that are none\n"
        "  formats  PNG, JPEG, WebP, BMP, TIFF, NPY, NPZ of 8 and 16 bits and float32, 1 to 64\n"
        "           channels\n"
        "  scale    one domain of any data set with --scale 4: pairs low, high\n"
        "  more     docs/data.md; 'dragoman check DATA' looks through them"
    )
    return "\n\n".join(blocks)


def _described(family: Family) -> str:
    first, second, other = list(family.domains)[:3]
    edition = f"{family.name}64"
    limited = [
        f"{name} has {', '.join(one.domains)} only, in {one.factor} times the resolution"
        for name, one in family.editions.items()
        if one.domains
    ]
    return "\n".join(
        [
            f"{family.name}: {family.line}",
            f"  use      --data {edition}:{first},{second}",
            f"  sizes    {', '.join(family.editions)}",
            *(f"           {line}" for line in limited),
            f"  domains  {', '.join(family.domains)} (one, or any two)",
            f"  many     joined by /, as --data {edition}:{first}/{other}: one key image, labelled "
            "by domain",
            f"  licence  {family.licence}",
            f"  needs    {', '.join(family.packages)} (pip install 'dragoman[data]')",
        ]
    )


def preview(data: Data, rows: int = 6, columns: int = 4, split: str = "train") -> Image.Image:
    """Return a contact sheet of rows x columns pairs of a split, spread over all of it.

    Each has the name of its picture beneath; a line above names data set, split and domains.
    """
    import numpy as np
    from PIL import Image, ImageDraw, ImageFont

    names = data.names(split)
    chosen = sorted(set(np.linspace(0, len(names) - 1, rows * columns).astype(int).tolist()))
    tiles = _pairs(data, split, chosen)
    height, width = tiles[0].shape[:2]
    columns = min(columns, len(tiles))
    rows = -(-len(tiles) // columns)
    cell_w, cell_h = width + 2 * _GAP, height + _TEXT + _GAP
    sheet = Image.new("RGB", (columns * cell_w, rows * cell_h + _TEXT + 2 * _GAP), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    kinds = " | ".join(f"{key} {domain.name}" for key, domain in data.domains.items())
    sets = [f"{name} of {len(classes)}" for name, classes in data.label_sets.items()]
    labels = f"  labels: {', '.join(sets)}" if sets else ""
    title = f"{data.name}  {split}: {data.counts[split]}  {kinds}{labels}"
    pen.text((_GAP, _GAP), title, fill="black", font=font)
    for number, (row, tile) in enumerate(zip(chosen, tiles, strict=True)):
        x = number % columns * cell_w + _GAP
        y = number // columns * cell_h + _TEXT + 2 * _GAP
        sheet.paste(Image.fromarray(tile), (x, y))
        text = names[row]
        while len(text) > 1 and pen.textlength(text, font=font) > width:
            text = text[1:]  # the end of a path tells more than its beginning
        pen.text((x, y + height), text, fill="black", font=font)
    return sheet


def _pairs(data: Data, split: str, chosen: list[int]) -> list:
    """Pictures of all domains side by side, uint8 [H, W, 3] each, of some rows of a split.

    Smaller ones, as low beside high, are enlarged to the size of the others.
    """
    import numpy as np

    batch = data.rows(split, chosen)
    shown = [data.show(key, batch[key]) for key in data.domains]
    most = max(pictures.shape[1] for pictures in shown)
    scales = [-(-_LEAST // most) * most // pictures.shape[1] for pictures in shown]
    large = [p.repeat(scale, 1).repeat(scale, 2) for p, scale in zip(shown, scales, strict=True)]
    gap = np.full((*large[0].shape[:2], 2, 3), 255, np.uint8)
    return list(np.concatenate([large[0], gap, *large[1:]], axis=2))
