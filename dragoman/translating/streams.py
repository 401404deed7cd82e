"""A translator for each thread, all with the same weights in memory."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from dragoman.translating.cutting import WHOLE
from dragoman.translating.flow import computing

if TYPE_CHECKING:
    from dragoman.pipeline import Translator


ROOM = 2 * WHOLE  # pixels, of all pictures that run at once, for each of which memory is needed


class Streams:
    """Gives every thread a translator of its own, and keeps what all need together within bounds.

    Make it in the thread whose number of cores they shall share.
    """

    def __init__(self, translator: Translator) -> None:
        self._first, self._threads = translator, torch.get_num_threads()
        self._mine = threading.local()
        self._large = threading.Lock()
        self._free, self._change = ROOM, threading.Condition()

    def own(self) -> Translator:
        """The translator of this thread."""
        if not hasattr(self._mine, "translator"):
            self._mine.translator = self._first.twin()
        return self._mine.translator

    @contextmanager
    def room(self, pixels: int) -> Generator[None]:
        """Wait until there is room for a batch of so many pixels; compute on its share of cores.

        Small pictures so get a core each; of larger ones fewer run at once, each on more cores.
        """
        pixels = min(pixels, ROOM)
        with self._change:
            self._change.wait_for(lambda: self._free >= pixels)
            self._free -= pixels
        try:
            with computing(max(torch.get_num_threads(), round(self._threads * pixels / ROOM))):
                yield
        finally:
            with self._change:
                self._free += pixels
                self._change.notify_all()

    @contextmanager
    def alone(self) -> Generator[None]:
        """Wait until no other picture is translated in tiles, and compute on all cores."""
        with self._large, computing(self._threads):
            yield
