"""Independent pieces of work on all cores."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


def for_each(work: Callable[[Item], Result], items: Iterable[Item], device: torch.device) -> list[Result]:
    """`work` of each item, in the items' order, without gradients.

    On a CPU one thread a core takes item after item, and every operation inside runs on its thread alone:
    pieces that fit the cache are too small to share out. On any other device they simply run in turn.
    """
    threads = torch.get_num_threads()
    if device.type != "cpu" or threads == 1:
        with torch.no_grad():
            return [work(item) for item in items]

    @torch.no_grad()
    def alone(item: Item) -> Result:
        return work(item)

    # The number of threads is each thread's own, but the last one set is also what new threads start with.
    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        try:
            return list(pool.map(alone, items))
        finally:
            torch.set_num_threads(threads)
