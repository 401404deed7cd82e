"""Sheets of pictures: one row per example, one captioned column per kind of picture."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from dragoman.errors import DataError

READABLE = 128  # px; tiles are enlarged by a whole factor until they are about this large
LARGEST_FACTOR = 8
GAP = 4  # px between tiles and around the sheet


def as_rgb(name: str, pictures: np.ndarray) -> np.ndarray:
    """Return uint8 [N, H, W, 3] for [N, H, W], [N, H, W, 1] or [N, H, W, 3]; refuse all else."""
    if pictures.dtype != np.uint8:
        raise DataError(
            f"the column '{name}' of a sheet holds {pictures.dtype}; give uint8 in 0..255"
        )
    if pictures.ndim == 3:
        pictures = pictures[..., None]
    if pictures.ndim != 4 or pictures.shape[-1] not in (1, 3) or 0 in pictures.shape:
        raise DataError(
            f"the column '{name}' of a sheet has the shape {pictures.shape}; "
            "give [N, H, W, 3] or [N, H, W, 1] with at least one picture"
        )
    return np.broadcast_to(pictures, (*pictures.shape[:-1], 3))


def enlarge(pictures: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return [N, H, W, C] pictures at another size by nearest neighbour."""
    rows = np.arange(height) * pictures.shape[1] // height
    columns = np.arange(width) * pictures.shape[2] // width
    return pictures[:, rows[:, None], columns[None, :]]


def sheet(
    columns: dict[str, np.ndarray],
    scale: int | None = None,
    captions: bool = True,
    rows: Sequence[str] = (),
) -> Image.Image:
    """Compose a sheet from columns of pictures, uint8 [N, H, W, 3] (or 1 channel) each.

    All columns need the same N; lower pictures are shown as high as the highest, in their own
    aspect. scale: whole factor of enlargement; without it pictures are made about 128 px high.
    rows: names of the N rows, written to the left of them. Raises DataError.
    """
    stacks = {name: as_rgb(name, pictures) for name, pictures in columns.items()}
    if not stacks:
        raise DataError("a sheet needs at least one column of pictures")
    counts = {name: len(stack) for name, stack in stacks.items()}
    if len(set(counts.values())) > 1:
        raise DataError(f"the columns of a sheet have different numbers of pictures: {counts}")
    sizes = fitting(list(stacks.values()), scale)
    height, count = sizes[0][0], next(iter(counts.values()))
    margin = names_width(rows, min(width for _, width in sizes)) if any(rows) else 0
    begin = margin + GAP
    lefts = [begin + sum(width + GAP for _, width in sizes[:i]) for i in range(len(sizes) + 1)]
    top = caption_height(min(width for _, width in sizes)) if captions else 0
    canvas = np.full((top + GAP + count * (height + GAP), lefts[-1], 3), 255, np.uint8)
    for stack, (_, width), left in zip(stacks.values(), sizes, lefts, strict=False):
        for j, tile in enumerate(enlarge(stack, height, width)):
            y = top + GAP + j * (height + GAP)
            canvas[y : y + height, left : left + width] = tile
    picture = Image.fromarray(canvas)
    if captions:
        write_captions(picture, list(stacks), lefts)
    if margin:
        middles = [top + GAP + j * (height + GAP) + height / 2 for j in range(count)]
        write_names(picture, rows, middles, min(width for _, width in sizes))
    return picture


def fitting(stacks: list[np.ndarray], scale: int | None = None) -> list[tuple[int, int]]:
    """Return height and width at which each of the stacks [N, H, W, 3] is shown: all as high.

    scale: of the highest; without it a whole factor that makes what is least wide readable.
    """
    height = max(stack.shape[1] for stack in stacks)
    widths = [stack.shape[2] * height / stack.shape[1] for stack in stacks]
    if scale is None:
        scale = min(LARGEST_FACTOR, max(1, -(-READABLE // round(max(height, min(widths))))))
    return [(height * scale, round(width * scale)) for width in widths]


def caption_height(width: int) -> int:
    """Return the pixels that captions of tiles of that width need."""
    return caption_size(width) + 8


def caption_size(width: int) -> int:
    """Return the font size in pixels that suits tiles of that width."""
    return min(24, max(11, width // 10))


def names_width(names: Sequence[str], width: int) -> int:
    """Return the pixels that names of rows need beside tiles of that width, at most that width."""
    font = ImageFont.load_default(caption_size(width))
    return min(width, 2 * GAP + max(round(font.getlength(one_line(name))) for name in names))


def one_line(name: str) -> str:
    """Return a name without line breaks."""
    return " ".join(name.split())


def fitted(name: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """Return a name on one line, cut with an ellipsis where it is wider than so many pixels."""
    text = one_line(name)
    while text and font.getlength(text) > width:
        text = text.removesuffix("…")[:-1]
        text = text and text + "…"
    return text


def write_names(
    picture: Image.Image, names: Sequence[str], middles: list[float], width: int
) -> None:
    """Write each name to the left of its row, whose middle is at that height."""
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(caption_size(width))
    room = names_width(names, width) - 2 * GAP
    for name, middle in zip(names, middles, strict=True):
        text = fitted(name, font, room)
        draw.text((GAP, middle), text, fill=(60, 60, 60), font=font, anchor="lm")


def write_captions(picture: Image.Image, names: list[str], lefts: list[int]) -> None:
    """Write each name above its column, cut with an ellipsis where it is too long.

    lefts: where each column begins, and in the end where another one would.
    """
    draw = ImageDraw.Draw(picture)
    widths = [end - start - GAP for start, end in pairwise(lefts)]
    font = ImageFont.load_default(caption_size(min(widths)))
    for name, left, width in zip(names, lefts, widths, strict=False):
        text = fitted(name, font, width)
        draw.text((left + width / 2, 4), text, fill=(60, 60, 60), font=font, anchor="ma")


def chosen(steps: list[int], most: int = 8) -> list[int]:
    """Return at most `most` of the steps, evenly spread, the first and last among them."""
    steps = sorted(steps)
    if len(steps) <= most:
        return steps
    if most == 1:
        return steps[-1:]
    return [steps[round(i * (len(steps) - 1) / (most - 1))] for i in range(most)]


def moments(
    inputs: np.ndarray | None,
    outputs: dict[int, np.ndarray],
    truth: np.ndarray | None,
    most: int = 8,
) -> dict[str, np.ndarray]:
    """Return the columns that show a run over time: input, the output at each step, truth."""
    columns = {} if inputs is None else {"input": inputs}
    columns |= {f"step {step}": outputs[step] for step in chosen(list(outputs), most)}
    return columns if truth is None else columns | {"truth": truth}


def over_time(
    inputs: np.ndarray | None,
    outputs: dict[int, np.ndarray],
    truth: np.ndarray | None = None,
    most: int = 8,
    scale: int | None = None,
) -> Image.Image:
    """Compose a sheet of a run over time: one row per example, outputs keyed by their step.

    All pictures are uint8 [N, H, W, 3]; of many steps at most `most` are shown, evenly spread.
    """
    return sheet(moments(inputs, outputs, truth, most), scale)
