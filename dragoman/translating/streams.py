"""A translator for each thread, all with the same weights in memory."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from dragoman.translating.flow import computing

if TYPE_CHECKING:
    from dragoman.pipeline import Translator


class Streams:
    """Gives every thread a translator of its own; pictures in tiles go one at a time."""

    def __init__(self, translator: Translator) -> None:
        self._first, self._threads = translator, torch.get_num_threads()
        self._mine = threading.local()
        self._large = threading.Lock()

    def own(self) -> Translator:
        """The translator of this thread."""
        if not hasattr(self._mine, "translator"):
            self._mine.translator = self._first.twin()
        return self._mine.translator

    @contextmanager
    def alone(self) -> Generator[None]:
        """Hold back other large pictures meanwhile, and compute on all cores.

        Their memory would add up; that of small ones is small.
        """
        with self._large, computing(self._threads):
            yield
