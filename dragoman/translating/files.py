"""One picture from its files to its output: read, translated and written in three stages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dragoman.data.raster import Header
from dragoman.data.single import decoded, encoded, palette
from dragoman.data.sinks import Sink, open_sink
from dragoman.data.writing import check_can_hold, write_raster
from dragoman.errors import DataError, DragomanError
from dragoman.translating.cutting import cutting
from dragoman.translating.inputs import Wide, alpha_as, headers_of, hole_of, read_whole
from dragoman.translating.kinds import joined_holes
from dragoman.translating.options import Options
from dragoman.translating.streams import Streams
from dragoman.translating.tiles import Write, translate_windows

if TYPE_CHECKING:
    from dragoman.pipeline import Translator

_TRANSPARENT = {".png": (1, 3), ".webp": (3,)}  # colour channels beside which there may be alpha
_TIFF = (".tif", ".tiff")


class Halted(DragomanError):
    """A picture that was given up, since the user asked to stop."""


@dataclass
class Work:
    """A picture on its way.

    header: of its first file. cut: it is translated in tiles. tensor: what the network is given;
    hole: what it is to fill in, if it does such; made: what it returned, [1, C, H, W]. how:
    arguments for writing it. notes: what a user should know. error: why it could not be translated.
    """

    files: tuple[Path, ...]
    place: Path
    header: Header | None = None
    cut: bool = False
    tensor: Tensor | None = None
    hole: Tensor | None = None
    alpha: NDArray | None = None
    made: Tensor | None = None
    how: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    error: str = ""
    halted: bool = False


class Stages:
    """What is done with each picture, in threads; a picture's error stays with that picture.

    halt: asked now and then; True gives up what takes long. say: is told what a user should know
    of tiles; progress: which file is being cut, and the share of it that is done.
    """

    def __init__(
        self,
        translator: Translator,
        options: Options,
        halt: Callable[[], bool] = lambda: False,
        say: Callable[[str], None] = lambda _: None,
        progress: Callable[[str, float], None] = lambda *_: None,
    ) -> None:
        self.translator, self.options = translator, options
        self.halt, self.say, self.progress = halt, say, progress
        self.cutting = cutting(options.tile, options.context, options.overlap, options.norms)
        self.streams = Streams(translator)
        self.colours = palette(translator.target)

    def read(self, work: Work) -> Work:
        """Read a picture, or only its header if it will be cut into tiles."""
        return self._guarded([work], self._read)[0]

    def network(self, works: list[Work]) -> list[Work]:
        """Translate pictures that go together; one that is cut is also written."""
        return works if works[0].error else self._guarded(works, self._network)

    def write(self, work: Work) -> Work:
        """Write what was made."""
        return work if work.error or work.made is None else self._guarded([work], self._write)[0]

    def together(self, first: Work, second: Work) -> bool:
        """True if the network can take both at once."""
        if first.tensor is None or second.tensor is None:
            return False
        holes = (first.hole is None) == (second.hole is None)
        return holes and first.tensor.shape == second.tensor.shape

    def _guarded(self, works: list[Work], stage: Callable[[list[Work]], None]) -> list[Work]:
        try:
            stage(works)
        except Halted:
            works[0].error, works[0].halted = "was given up half-way", True
        except DragomanError as error:
            self._failed(works, str(error))
        except Exception as error:  # whatever it is, the other pictures go on
            self._failed(works, f"{type(error).__name__}: {error}")
        return works

    def _failed(self, works: list[Work], reason: str) -> None:
        for work in works:
            work.error, work.tensor, work.made = " ".join(reason.split()), None, None

    def _read(self, works: list[Work]) -> None:
        (work,) = works
        source, limit = self.translator.source, self.options.limit
        header = work.header = headers_of(work.files, source, limit)[0]
        if header.alpha and self.options.alpha == "refuse":
            raise DataError(
                f"{work.files[0]} has transparency, which --alpha refuse forbids; save it without, "
                "or use --alpha carry or --alpha white"
            )
        self.translator.check_size(header.height, header.width)
        work.cut = self.translator.cuts((header.height, header.width), self.cutting)
        if not work.cut:
            part, icc = read_whole(work.files, source, limit)
            work.tensor = encoded(source, part.pixels)
            if self.translator.fills and self.options.alpha == "carry":
                work.hole = hole_of(part.alpha)
            work.how, work.alpha = self._manner(work, icc), part.alpha

    def _manner(self, work: Work, icc: bytes | None) -> dict[str, Any]:
        """How the output is written, beyond its pixels."""
        header, target = work.header, self.translator.target
        assert header is not None
        colours = target.planes - (target.alpha == "keep")
        same = header.channels - header.alpha == colours and target.kind != "labels"
        return {
            "icc": icc if same else None,
            "colours": self.colours if work.place.suffix.lower() in (".png", *_TIFF) else None,
            "planar": header.planar,
            "quality": self.options.quality,
            "alpha": target.alpha == "keep" or self._carries(work),
        }

    def _carries(self, work: Work) -> bool:
        """True if the transparency of the input is laid onto the output."""
        header, target = work.header, self.translator.target
        assert header is not None
        wanted = header.alpha and len(work.files) == 1 and self.options.alpha == "carry"
        if not wanted or target.alpha == "keep" or work.hole is not None:
            return False
        suffix = work.place.suffix.lower()
        able = suffix in _TIFF or target.planes in _TRANSPARENT.get(suffix, ())
        if able and target.kind != "labels":
            try:
                check_can_hold(suffix, target.dtype, target.planes + 1)
            except DataError:
                able = False
        if not able or target.kind == "labels":
            what = "label maps have" if target.kind == "labels" else f"such a {suffix} has"
            work.notes.append(f"transparency was laid over white, since {what} none")
            return False
        return True

    def _network(self, works: list[Work]) -> None:
        one = self.streams.own()
        if works[0].cut:
            with self.streams.alone():
                self._in_tiles(one, works[0])
            return
        batch = torch.cat([work.tensor for work in works if work.tensor is not None])
        with self.streams.room(batch[:, 0].numel()):
            holes = joined_holes([work.hole for work in works])
            made = one.tried(batch, self.cutting, self.options.seed, holes)
        if made is None:
            for work in works:
                with self.streams.alone():
                    self._in_tiles(one, work)
            return
        for work, part in zip(works, made.split(1), strict=True):
            work.made, work.tensor = part, None

    def _write(self, works: list[Work]) -> None:
        (work,) = works
        assert work.made is not None
        pixels = decoded(self.translator.target, work.made)[0]
        work.made = None
        write_raster(work.place, self._with_alpha(work, pixels, work.alpha), **work.how)

    def _with_alpha(self, work: Work, pixels: NDArray, alpha: NDArray | None) -> NDArray:
        target = self.translator.target
        if alpha is None or not work.how["alpha"] or target.alpha == "keep":
            return pixels
        return np.concatenate([pixels, alpha_as(alpha, target.dtype, pixels.shape)], 2)

    def _in_tiles(self, one: Translator, work: Work) -> None:
        """Translate a picture from its files to its output without ever holding it as a whole."""
        folder = work.place.parent
        with Wide(work.files, one.source, self.options.limit, folder) as wide:
            work.how = self._manner(work, wide.icc)
            flow = _Tiles(self, work, wide)
            try:
                translate_windows(
                    one,
                    flow.read,
                    flow.begin,
                    wide.size,
                    self.cutting,
                    self.options.seed,
                    lambda text: self.say(f"{work.files[0]}: {text}"),
                    lambda share: self.progress(str(work.files[0]), share),
                )
            except BaseException:
                flow.abort()
                raise
            flow.close()


class _Tiles:
    """Carries windows of one picture in and blocks of another out."""

    def __init__(self, stages: Stages, work: Work, wide: Wide) -> None:
        self.stages, self.work, self.wide = stages, work, wide
        self.sink: Sink | None = None
        self.scale = 1

    def read(self, y0: int, y1: int, x0: int, x1: int) -> NDArray:
        """Read a window that fits the source domain."""
        if self.stages.halt():
            raise Halted
        return self.wide.part(y0, y1, x0, x1).pixels

    def begin(self, height: int, width: int) -> Write:
        """Begin the output, now that its size is known."""
        target, how = self.stages.translator.target, self.work.how
        self.scale = width // self.wide.size[1]
        channels = target.planes + (how["alpha"] and target.alpha != "keep")
        self.sink = open_sink(self.work.place, height, width, channels, target.dtype, **how)
        return self._write

    def _write(self, y0: int, x0: int, block: NDArray) -> None:
        if self.stages.halt():
            raise Halted
        assert self.sink is not None
        self.sink.write(
            y0, x0, self.stages._with_alpha(self.work, block, self._alpha(y0, x0, block))
        )

    def _alpha(self, y0: int, x0: int, block: NDArray) -> NDArray | None:
        if not self.work.how["alpha"] or self.stages.translator.target.alpha == "keep":
            return None
        (y0, y1), (x0, x1) = (
            (start // self.scale, (start + size) // self.scale)
            for start, size in zip((y0, x0), block.shape, strict=False)
        )
        return self.wide.part(y0, y1, x0, x1).alpha

    def close(self) -> None:
        """Make the output appear."""
        if self.sink is not None:
            self.sink.close()

    def abort(self) -> None:
        """Leave nothing of it."""
        if self.sink is not None:
            self.sink.abort()
