"""What data to train on and how its pictures are read, cut and varied."""

from dataclasses import dataclass
from typing import Literal

from dragoman.errors import SettingsError
from dragoman.settings import knob

Layout = Literal["auto", "pairs", "side_by_side", "classes", "single", "manifest", "shards", "hf"]
Fit = Literal["crop", "native", "resize", "pad", "buckets"]
Reduction = Literal["bicubic", "gaussian", "area"]
MEGAPIXELS = 80.0  # of one picture, unless a setting says otherwise


@dataclass(frozen=True)
class DataSettings:
    """Settings of the loader. Settings by batch key are VALUE for all, or a=VALUE,b=VALUE."""

    data: str = knob(
        help="embedded set with two domains, as earth64:relief,satellite; a folder; two folders "
        "DIR_A,DIR_B; a manifest FILE.csv or FILE.jsonl; a folder of tar shards; hf:DIR; "
        "DIR_1+DIR_2 stacks channels; docs/data.md shows every layout"
    )
    layout: Layout = knob(
        "auto",
        "how files lie: pairs (trainA, trainB), side_by_side (a is the left half, b the right), "
        "classes (a folder per class or domain), single (pictures), manifest, shards, hf",
    )
    columns: str | None = knob(
        None, "manifests: columns by batch key, as a=red+nir,b=photo,label=species"
    )
    labels: str | None = knob(
        None, "single pictures: CSV with a column 'file' and one column for each label set"
    )
    kind: str | None = knob(
        None, "own pictures, by key: photo, drawing, values (measurements) or labels (class maps)"
    )
    classes: str | None = knob(
        None, "label maps, by key: number of classes; without it the greatest number plus one"
    )
    unlabelled: str | None = knob(
        None, "label maps, by key: the number of pixels without class, such as 255"
    )
    range: str | None = knob(
        None,
        "own pictures, by key: values that become -1 and 1, as 0:10000 (channels apart by /), "
        "full (of the depth), extremes or percentiles (0.1 and 99.9, or percentiles:LOW:HIGH) "
        "of the training split; without it full for 8 bits and extremes for more",
    )
    unit: str | None = knob(None, "own pictures, by key: physical unit of the values, such as m")
    alpha: str | None = knob(
        None, "own pictures, by key: transparency is laid over white, keep (a channel) or refuse"
    )
    shown: str | None = knob(
        None, "own pictures, by key: channels shown as red, green, blue, counted from 1, as 4+3+2"
    )
    size: int | None = knob(
        None,
        "side (the shorter one) of the training pictures in pixels; without it that of the "
        "embedded set, or 256 for own pictures",
        8,
        8192,
    )
    aspect: str = knob("1:1", "own pictures: width to height of the training pictures, as 4:3")
    fit: Fit = knob(
        "crop",
        "own pictures come to size by: crop (after load_size), native (cut out at their own "
        "scale), resize (distorts), pad (mirrored), buckets (batches of several aspects)",
    )
    load_size: int | None = knob(
        None,
        "own pictures: their shorter side is resized to this many pixels before cropping; "
        "without it 286/256 of size for random crops, and size for fixed ones",
        8,
        16384,
    )
    scale: int = knob(
        1,
        "super-resolution, pictures of one domain: high, and low that is 2, 3, 4 or 8 times "
        "smaller; size is that of high; 1: none",
        1,
    )
    reduction: Reduction = knob(
        "bicubic",
        "how low is made of high: bicubic, gaussian (blurred, then sampled) or area (means)",
    )
    max_megapixels: float = knob(
        MEGAPIXELS, "own pictures with more million pixels are refused", 0.001, 100_000
    )
    batch: int = knob(16, "pictures per step and process", 1)
    pairing: Literal["paired", "unpaired"] = knob(
        "paired", "paired: a and b show the same thing; unpaired: they are drawn independently"
    )
    balanced: bool = knob(
        False,
        "labelled pictures: draw every class equally often, of the label set that the system goes "
        "by, else of the first",
    )
    unseen: str | None = knob(
        None,
        "labelled pictures: classes of one label set, apart by commas, each CLASS or SET=CLASS, "
        "left out of the training split, to be known by examples only; val and test keep them",
    )
    crop: Literal["random", "fixed"] = knob(
        "random",
        "random: any place of the raster or resized picture; fixed: tiles of a grid, or the centre",
    )
    flip: bool = knob(True, "mirror half of the pictures left to right, a and b alike")
    colour: float = knob(
        0.0,
        "strength of random brightness, contrast and saturation, a and b alike; photographs only",
        0.0,
        1.0,
    )


def by_key(name: str, text: str | None, keys: tuple[str, ...]) -> dict[str, str]:
    """Split a setting by batch key: "VALUE" is for all keys, "a=VALUE,b=VALUE" for those named.

    name: of the setting, for messages. Raises SettingsError for unknown keys.
    """
    if text is None or not text.strip():
        return {}
    parts = [part.strip() for part in text.split(",")]
    if len(parts) == 1 and "=" not in parts[0]:
        return dict.fromkeys(keys, parts[0])
    found = {}
    for part in parts:
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or key not in keys or not value or key in found:
            raise SettingsError(
                f"--{name} '{part}' must be VALUE for all pictures, or {keys[0]}=VALUE with keys "
                f"of {', '.join(keys)}, apart by commas, each once"
            )
        found[key] = value
    return found
