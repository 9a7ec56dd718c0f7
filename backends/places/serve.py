"""What a child process can be asked."""

from __future__ import annotations

import gc
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ...profiles.machine.environment import usable_cores
from ...profiles.machine.memory import resident
from ...profiles.timing.measure import Call, CallArm, Settings
from ..base import Backend, Engine, Feed, Session
from ..registry import load_backend
from .job import Job, load_arrays, save_arrays


class Server:
    """One engine, opened once, or none; `answer` gives what was asked for as JSON-able values."""

    def __init__(self, job: Job, feed: Feed | None, before: int) -> None:
        self._job, self._fed, self._before, self._opened = job, feed, before, 0
        self._session: Session | None = None
        self._run: Call | None = None
        self._calls = 0

    def open(self) -> None:
        """Load the engine; a runtime that compiles when it opens compiles now."""
        self._session = self._backend.open(self._engine, self._job.threads)
        if self._fed is not None:
            self._run = self._session.bind(self._fed)
        self._opened, _ = resident()
        # Garbage is collected between slices only, and what is there by now is not looked through again.
        gc.collect()
        gc.freeze()
        gc.disable()

    def call(self) -> None:
        """One inference."""
        assert self._run is not None
        self._run()

    def answer(self, what: str, arguments: Mapping[str, Any]) -> Any:
        """Do what one of the methods below does."""
        return getattr(self, f"do_{what}")(**arguments)

    def do_run(self, inputs: str, outputs: str) -> None:
        """One inference of the arrays in a file; the outputs go into another."""
        assert self._session is not None
        save_arrays(Path(outputs), self._session(load_arrays(Path(inputs))))

    def do_bind(self, inputs: str) -> None:
        """What is timed from now on: inferences of the arrays in a file."""
        assert self._session is not None
        self._fed = load_arrays(Path(inputs))
        self._run = self._session.bind(self._fed)
        self._run()

    def do_warm(self, **settings: Any) -> None:
        """Run until warm."""
        self._arm().warm(Settings(**settings))

    def do_slice(self, **settings: Any) -> list[int]:
        """Times of one slice in nanoseconds."""
        gc.collect()
        asked = Settings(**settings)
        taken = self._arm().slice(asked)
        self._calls += asked.settle_count + len(taken)
        return taken

    def do_turn(self, settle: int, count: int) -> list[int]:
        """Times of `count` inferences, after `settle` without."""
        return self._arm().turn(settle, count)

    def do_calls(self) -> int:
        """Inferences of all slices so far."""
        return self._calls

    def do_memory(self) -> dict[str, int]:
        """Resident bytes, as the fields of `Memory`."""
        steady, peak = resident()
        return {"before": self._before, "opened": self._opened, "steady": steady, "peak": peak}

    def do_layers(self, inputs: str = "") -> list[dict[str, Any]]:
        """The layers that ran on the job's input, or on the arrays in a file, as the fields of `Layer`."""
        feed = load_arrays(Path(inputs)) if inputs else self._feed
        return [asdict(layer) for layer in self._backend.inspect(self._engine, feed)]

    def do_offline(self, batch: int, streams: int, seconds: float, windows: int) -> list[float]:
        """Samples a second in each of some windows, with `streams` sessions that share the threads."""
        feed = {name: _resized(array, batch) for name, array in self._feed.items()}
        threads = max(1, (self._job.threads or usable_cores()) // streams)
        with ExitStack() as stack, ThreadPoolExecutor(streams) as pool:
            open_one = self._backend.open
            sessions = [stack.enter_context(open_one(self._engine, threads)) for _ in range(streams)]
            rates = []
            for _ in range(1 + windows):  # the first only warms up
                each = partial(_until, feed=feed, end=time.perf_counter() + seconds / windows)
                done = list(pool.map(each, sessions))
                rates.append(sum(count * batch / taken for count, taken in done))
        return rates[1:]

    @property
    def _engine(self) -> Engine:
        assert self._job.engine is not None
        return self._job.engine

    @property
    def _backend(self) -> Backend:
        return load_backend(self._engine.backend)

    @property
    def _feed(self) -> Feed:
        assert self._fed is not None
        return self._fed

    def _arm(self) -> CallArm:
        assert self._run is not None
        return CallArm(self._run)


def _until(session: Session, feed: Feed, end: float) -> tuple[int, float]:
    """Inferences until the time is over, at least one, and the seconds they took."""
    run = session.bind(feed)
    begun = now = time.perf_counter()
    count = 0
    while count == 0 or now < end:
        run()
        count += 1
        now = time.perf_counter()
    return count, now - begun


def _resized(array: Any, batch: int) -> Any:
    """The array's samples repeated or cut along the first axis."""
    return np.ascontiguousarray(np.resize(array, (batch, *array.shape[1:])))
