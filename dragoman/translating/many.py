"""Many pictures in memory or files to as many results in memory, in order."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from torch import Tensor

from dragoman.errors import DataError, DragomanError, SettingsError, choose
from dragoman.translating.cutting import Cutting
from dragoman.translating.flow import Lanes, flow, lanes
from dragoman.translating.kinds import (
    Made,
    Picture,
    Taken,
    alike,
    give,
    in_tiles,
    joined,
    take,
)
from dragoman.translating.sources import find
from dragoman.translating.streams import Streams

if TYPE_CHECKING:
    from dragoman.pipeline import Translator


@dataclass
class Item:
    """A picture on its way: taken, then translated (made), or finished, or refused (error)."""

    taken: Taken | None = None
    made: Tensor | None = None
    finished: Made | None = None
    error: DragomanError | None = None


def translate_all(
    translator: Translator,
    pictures: Iterable[Picture] | str | Path,
    seed: int,
    batch: int,
    workers: int | None,
    bad: Literal["raise", "give"],
    cut: Cutting,
) -> Iterator[Made | DragomanError]:
    """Translate pictures of any kinds, in order; see `Translator.many`."""
    choose("bad", bad, ("raise", "give"))
    if batch < 1 or (workers is not None and workers < 1):
        raise SettingsError(f"batch and workers must be at least 1, got {batch} and {workers}")
    sources: Iterable[Picture] = _files(pictures) if isinstance(pictures, str | Path) else pictures
    count = len(sources) if isinstance(sources, list | tuple) else None
    plan = lanes(workers, translator.device, count)
    return _results(_Stages(translator, seed, cut), sources, batch, plan, bad)


def _files(text: str | Path) -> list[tuple[Path, ...]]:
    """The files of each picture of a folder, pattern or list; raises DataError if one lacks."""
    found = find(os.fspath(text))
    for place, trouble in found.problems:
        raise DataError(f"{place}: {trouble}")
    return [found.files(number) for number in range(len(found))]


def _results(
    stages: _Stages, pictures: Iterable[Picture], batch: int, plan: Lanes, bad: str
) -> Iterator[Made | DragomanError]:
    for item in flow(
        pictures, stages.read, stages.network, stages.write, batch, stages.together, plan
    ):
        if item.error is not None and bad == "raise":
            raise item.error
        result = item.error if item.error is not None else item.finished
        assert result is not None
        yield result


class _Stages:
    """What is done with each picture, in threads."""

    def __init__(self, translator: Translator, seed: int, cut: Cutting) -> None:
        self.translator, self.seed, self.cut = translator, seed, cut
        self.streams = Streams(translator)

    def read(self, picture: Picture) -> Item:
        """Bring a picture to the source domain."""
        try:
            return Item(take(self.translator, picture))
        except DragomanError as error:
            return Item(error=error)

    def together(self, first: Item, second: Item) -> bool:
        """True if the network can take both at once."""
        if first.taken is None or second.taken is None:
            return False
        cut = self.translator.cuts(first.taken.size, self.cut)
        return alike(first.taken, second.taken) and not cut

    def network(self, items: list[Item]) -> list[Item]:
        """Translate pictures that go together."""
        one = self.streams.own()
        taken = [item.taken for item in items if item.taken is not None]
        try:
            if taken and not one.cuts(taken[0].size, self.cut):
                batch, holes = joined(one, taken)
                with self.streams.room(batch[:, 0].numel()):
                    made = one.tried(batch, self.cut, self.seed, holes)
                if made is not None:
                    parts = [made] if len(items) == 1 else made.split(1)
                    for item, part in zip(items, parts, strict=True):
                        item.made = part
                    return items
            for item, picture in zip(items, taken, strict=False):
                with self.streams.alone():
                    item.finished = in_tiles(one, picture, self.cut, self.seed)
        except DragomanError as error:
            for item in items:
                item.error = error
        return items

    def write(self, item: Item) -> Item:
        """Turn what was made into the kind of picture that was given."""
        if item.taken is not None and item.made is not None:
            item.finished = give(self.translator, item.taken, item.made)
        return item
