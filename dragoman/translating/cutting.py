"""When a picture is cut into tiles, and how."""

from __future__ import annotations

from dataclasses import dataclass, field

from dragoman.errors import SettingsError
from dragoman.settings import build
from dragoman.tiling.settings import TileSettings

WHOLE = 1_500_000  # pixels up to which a picture is translated in one piece, unless `tile` is set
MOST_VALUES = 16_000_000  # of a tensor of a picture in one piece: 64 MB


@dataclass(frozen=True)
class Cutting:
    """How pictures are cut; never: however large they are."""

    settings: TileSettings = field(default_factory=TileSettings)
    never: bool = False

    def cuts(self, height: int, width: int, channels: int) -> bool:
        """True if a picture is cut; channels: the most of its tensors before and after."""
        if self.never:
            return False
        if self.settings.tile is not None:
            return max(height, width) > self.settings.tile
        return height * width > WHOLE or height * width * channels > MOST_VALUES


def cutting(
    tile: int | None = None,
    context: int | None = None,
    overlap: int | None = None,
    norms: str = "fast",
    **unknown: object,
) -> Cutting:
    """Return how pictures are cut, from settings; tile 0: never. Raises SettingsError."""
    if unknown:
        raise SettingsError(
            f"unknown argument '{next(iter(unknown))}'; known: tile, context, overlap, norms"
        )
    given = {"tile": tile or None, "context": context, "overlap": overlap, "norms": norms}
    return Cutting(build(TileSettings, given), never=tile == 0)
