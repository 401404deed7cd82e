"""Pictures flow through reading, network and writing at once: in order, and few at a time."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch

One = TypeVar("One")
Two = TypeVar("Two")
Three = TypeVar("Three")
Four = TypeVar("Four")


@dataclass(frozen=True)
class Lanes:
    """How many threads do what.

    coders: read and write pictures. streams: run the network, each on another picture. each:
    cores that one stream computes on.
    """

    coders: int
    streams: int
    each: int


def cores() -> int:
    """The processor cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on Linux
        return os.cpu_count() or 1


def lanes(workers: int | None, device: torch.device, pictures: int | None) -> Lanes:
    """Divide the cores.

    On a CPU every core takes pictures of its own: one network on all cores waits for the slowest
    of them in each of its layers, and leaves them idle while pictures are read and written.
    pictures: how many there are, if known.
    """
    threads = torch.get_num_threads()
    coders = workers or cores()
    if device.type != "cpu":
        return Lanes(coders, 1, threads)
    streams = max(1, min(threads, threads if pictures is None else pictures))
    return Lanes(coders, streams, max(1, threads // streams))


@contextmanager
def computing(count: int) -> Generator[None]:
    """Let this thread compute on so many cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def ahead(
    pool: ThreadPoolExecutor, work: Callable[[One], Two], items: Iterable[One], depth: int
) -> Iterator[Two]:
    """Yield work(item) for each item, in order, while up to `depth` items are worked on."""
    waiting: deque[Future[Two]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > depth:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


def grouped(
    items: Iterable[One], most: int, alike: Callable[[One, One], bool]
) -> Iterator[list[One]]:
    """Yield neighbouring items in lists of up to `most` that are all alike."""
    group: list[One] = []
    for item in items:
        if group and (len(group) == most or not alike(group[0], item)):
            yield group
            group = []
        group.append(item)
        if most == 1:
            yield group
            group = []
    if group:
        yield group


def flow(
    items: Iterable[One],
    read: Callable[[One], Two],
    network: Callable[[list[Two]], list[Three]],
    write: Callable[[Three], Four],
    batch: int,
    alike: Callable[[Two, Two], bool],
    plan: Lanes,
) -> Generator[Four]:
    """Yield write(network(read(item))) for each item, in order, all three at once in threads.

    network: takes up to `batch` neighbours that are alike. At most a few pictures for each thread
    are in memory. Closing the iterator waits for what is being worked on and drops the rest.
    """
    before = torch.get_num_threads()
    coding = ThreadPoolExecutor(plan.coders, "coding", torch.set_num_threads, (1,))
    running = ThreadPoolExecutor(plan.streams, "network", torch.set_num_threads, (plan.each,))
    try:
        decoded = ahead(coding, read, items, plan.coders + batch)
        groups = grouped(decoded, batch, alike)
        made = ahead(running, network, groups, plan.streams)
        single = (one for group in made for one in group)
        yield from ahead(coding, write, single, plan.coders)
    finally:
        coding.shutdown(cancel_futures=True)
        running.shutdown(cancel_futures=True)
        torch.set_num_threads(before)  # threads that begin later take over the last number set
