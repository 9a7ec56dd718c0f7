"""Rows of a matrix, some at a time, in as many threads as torch has."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch

CHUNK = 1 << 19  # values that are worked on at a time: what is computed of them stays in the processor's cache
_LEAST = 1 << 15  # values that are worth a thread


def in_parts(rows: int, columns: int, work: Callable[[slice], None]) -> None:
    """Do the work for all rows, some at a time; each thread does one part after another, and torch's operations within.

    torch by itself divides each operation among its threads. One on half a million values takes a tenth of a
    millisecond, and to wake a thread for it as long.
    """
    threads, size = torch.get_num_threads(), rows * columns
    count = min(rows, max(-(-size // CHUNK), min(threads, size // _LEAST)))
    if count <= 1:
        work(slice(0, rows))
        return
    edges = [rows * index // count for index in range(count + 1)]
    try:
        with ThreadPoolExecutor(min(threads, count), initializer=torch.set_num_threads, initargs=(1,)) as pool:
            for _ in pool.map(lambda index: work(slice(edges[index], edges[index + 1])), range(count)):
                pass
    finally:
        torch.set_num_threads(threads)  # the number is each thread's own, and that of threads to come
