"""Make batches ahead of their use in a thread."""

import atexit
import queue
import threading
from collections.abc import Callable, Generator
from typing import TypeVar

T = TypeVar("T")


def prefetch(make: Callable[[int], T], start: int, depth: int = 4) -> Generator[T, None, None]:
    """Yield make(start), make(start + 1), ... for ever, up to `depth` of them made ahead.

    An error in `make` is raised here. The thread ends when the iterator is closed or forgotten.
    """
    ready: queue.Queue[tuple[T | None, BaseException | None]] = queue.Queue(depth)
    stop = threading.Event()
    thread = threading.Thread(
        target=_work, args=(make, start, ready, stop), name="dragoman-loader", daemon=True
    )

    def end() -> None:
        stop.set()
        while not ready.empty():  # make room, so that a waiting thread sees the stop at once
            try:
                ready.get_nowait()
            except queue.Empty:
                break
        thread.join(timeout=10)

    atexit.register(end)  # a thread must not run into the end of the interpreter
    thread.start()
    try:
        while True:
            item, error = ready.get()
            if error is not None:
                raise error
            yield item  # ty: ignore[invalid-yield]
    finally:
        atexit.unregister(end)
        end()


def _work(
    make: Callable[[int], T],
    start: int,
    ready: "queue.Queue[tuple[T | None, BaseException | None]]",
    stop: threading.Event,
) -> None:
    number = start
    while not stop.is_set():
        try:
            item: tuple[T | None, BaseException | None] = (make(number), None)
        except BaseException as error:  # any error belongs to the one who waits
            item = (None, error)
        while not stop.is_set():
            try:
                ready.put(item, timeout=0.5)
                break
            except queue.Full:
                continue
        if item[1] is not None:
            return
        number += 1
