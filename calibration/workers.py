"""Calibration in several processes: each collects a share of the batches, and the statistics merge exactly."""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice

from ..backends.base import Feed, Graph, SampleAxes
from ..errors import InputError
from ..profiles.machine.environment import usable_cores
from ..profiles.machine.fresh import safe_workers
from .collect import Collected, Collector, Observed
from .feeds import Feeds
from .runner import Exposed, Runner, exposed

# Batches a task: enough that sending its result costs little, few enough that memory stays small.
BATCHES = 8
_state: tuple[Runner, Observed, SampleAxes] | None = None  # of a worker process: its open session


def gathered_in_processes(
    graph: Graph,
    observed: Observed,
    asked: Observed,
    feeds: Feeds,
    workers: int,
    seen: Callable[[int], None] = lambda samples: None,
) -> Collected:
    """What can be asked for by several, in `workers` processes.

    A script that calls this needs the usual `if __name__ == "__main__":` guard, since processes are spawned.

    Args:
        asked: those of the observed tensors that must be finite.

    Raises:
        InputError: one of those is not, or a worker died.
    """
    total = Collector(observed, graph.samples).collected()
    waiting: deque[Future[Collected]] = deque()
    threads = max(1, usable_cores() // workers)
    context = multiprocessing.get_context("spawn")
    with (
        exposed(graph, observed) as outputs,
        safe_workers(),
        ProcessPoolExecutor(
            workers, context, initializer=_open, initargs=(outputs, dict(observed), graph.samples, threads)
        ) as pool,
    ):
        try:
            batches, first = feeds(), 0
            while chunk := list(islice(batches, BATCHES)):
                waiting.append(pool.submit(_collect, first, chunk))
                first += sum(map(graph.samples.count, chunk))
                if len(waiting) > 2 * workers:
                    total = total.merge(waiting.popleft().result())
                    seen(total.only(asked).samples)
            while waiting:
                total = total.merge(waiting.popleft().result())
                seen(total.only(asked).samples)
        except BrokenProcessPool as error:
            raise InputError("A calibration worker died.", hint="Use fewer --workers, or smaller batches.") from error
        finally:
            pool.shutdown(cancel_futures=True)
    return total


def _open(outputs: Exposed, observed: Observed, along: SampleAxes, threads: int) -> None:
    """In a worker, once: open the session, which lives as long as the process."""
    global _state
    _state = (Runner(outputs, threads).__enter__(), observed, along)


def _collect(first: int, chunk: list[Feed]) -> Collected:
    """In a worker: what is seen in a few batches, the first sample of which has this index."""
    assert _state is not None
    run, observed, along = _state
    collector = Collector(observed, along, first=first)
    for feed, values in run.all(iter(chunk)):
        collector.add(feed, values)
    return collector.collected()
