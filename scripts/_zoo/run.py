"""Hand the jobs to processes, which may hang or die, and keep a line of each result."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from queue import Empty, Queue
from typing import TypeAlias

from .lines import HOME, RESULTS, Line, add, known, stamp
from .work import serve
from .zoo import FLOAT, TARGETS, chosen

Job: TypeAlias = tuple[str, str, tuple[str, ...]]
# After so many jobs a process is replaced: what runtimes leave in memory is not ours to find.
_JOBS = 12
# Seconds between two looks at a process, the part of them that counts as nothing, and how long nothing may go on.
_LOOK, _NOTHING, _IDLE = 5.0, 0.002, 300.0


def run(patterns: tuple[str, ...], targets: tuple[str, ...], kinds: tuple[str, ...], again: bool, before: str,
        limit: float, workers: int) -> None:  # fmt: skip
    """Export what has no result; `again`: also what did not work.

    Args:
        kinds: `int8`, `float`.
        before: a date (ISO 8601): also what is older; empty for nothing.
        limit: seconds of processor time for one target.
    """
    HOME.mkdir(parents=True, exist_ok=True)
    do(_jobs(patterns, targets, kinds, again, before), RESULTS, limit, workers)


def do(jobs: Iterable[Job], into: Path, limit: float, workers: int) -> None:
    """Hand jobs to so many processes; each result is a line of the file."""
    queue: Queue[Job] = Queue()
    for job in jobs:
        queue.put(job)
    threads = [threading.Thread(target=_drain, args=(queue, into, limit, index)) for index in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _jobs(patterns: tuple[str, ...], targets: tuple[str, ...], kinds: tuple[str, ...], again: bool,
          before: str) -> Iterator[Job]:  # fmt: skip
    have = known()
    for model in chosen(patterns):
        for precision, of in precisions(targets, kinds):
            if left := tuple(t for t in of if _owed(have.get((model.name, t, precision)), again, before)):
                yield model.name, precision, left


def _owed(line: Line | None, again: bool, before: str) -> bool:
    return line is None or (again and line["verdict"] != "works") or line.get("date", "") < before


def precisions(targets: Iterable[str], kinds: Iterable[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each precision with its targets."""
    asked = tuple(target for target in TARGETS if target in targets)
    if "int8" in kinds:
        yield "int8", asked
    for precision in ("fp32", "fp16") if "float" in kinds else ():
        if of := tuple(target for target in asked if FLOAT[target] == precision):
            yield precision, of


class _Worker:
    """A process with a pipe to it."""

    def __init__(self, index: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, other = context.Pipe()
        log = str(HOME / f"worker-{index}.log")
        self.process = context.Process(target=serve, args=(other, log, os.getpid()), daemon=True)
        self.process.start()
        other.close()

    def end(self) -> None:
        self.pipe.close()
        self.process.kill()
        self.process.join()


def _drain(queue: Queue[Job], into: Path, limit: float, index: int) -> None:
    worker, jobs = _Worker(index), 0
    while True:
        try:
            job = queue.get_nowait()
        except Empty:
            return worker.end()
        if not _done(worker, job, into, limit) or (jobs := jobs + 1) % _JOBS == 0:
            worker.end()
            worker = _Worker(index)


def _done(worker: _Worker, job: Job, into: Path, limit: float) -> bool:
    """The job's lines are kept; False where the process hung or died, and what it still owed is said to have."""
    model, precision, targets = job
    left, verdict = list(targets), "hang"
    watch = _Watch(worker.process.pid, limit * len(targets))
    worker.pipe.send(job)
    while _answers(worker, watch):
        try:
            line = worker.pipe.recv()
        except EOFError:
            verdict = "crash"
            break
        if line is None:
            return True
        left.remove(line["target"])
        _keep(line, into)
    for target in left:
        line = {"model": model, "precision": precision, "target": target, "verdict": verdict, "message": verdict}
        _keep(line, into)
    return False


def _answers(worker: _Worker, watch: _Watch) -> bool:
    """Wait for a line, or the end of the process; False where it hangs."""
    while not worker.pipe.poll(_LOOK):
        if watch.hangs():
            return False
    return True


class _Watch:
    """Tells a process that hangs from one that waits for a processor: by the time it had, not by the clock.

    Args:
        limit: seconds of processor time, of the process and of all it started.
    """

    def __init__(self, pid: int | None, limit: float) -> None:
        import psutil

        self._process = psutil.Process(pid)
        self._end = self._used() + limit
        self._seen, self._since = self._used(), time.monotonic()

    def hangs(self) -> bool:
        """It had more time than the limit, or none for long."""
        used = self._used()
        if used > self._seen + _NOTHING * _LOOK:
            self._seen, self._since = used, time.monotonic()
        return used > self._end or time.monotonic() - self._since > _IDLE

    def _used(self) -> float:
        import psutil

        total = 0.0
        with contextlib.suppress(psutil.NoSuchProcess):
            for process in (self._process, *self._process.children(recursive=True)):
                with contextlib.suppress(psutil.NoSuchProcess):
                    total += sum(process.cpu_times()[:4])
        return total


def _keep(line: Line, into: Path) -> None:
    add(line, stamp(), into)
    figure = f"{line['sqnr_db']} dB" if "sqnr_db" in line else str(line.get("message", ""))[:110].replace("\n", " ")
    print(f"{line['model']:<36} {line['target']:<11} {line['precision']:<5} {line['verdict']:<9} {figure}", flush=True)
