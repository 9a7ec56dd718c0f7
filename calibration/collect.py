"""Run a graph over feeds and keep statistics of chosen tensors; nothing accumulates with the number of samples."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..backends.base import Array, Feed, Graph
from ..backends.places import Reference
from ..errors import InputError
from ..profiles.machine.environment import usable_cores
from ..profiles.machine.held import temporary
from .feeds import Feeds, samples_in
from .portions import LIMIT, Portions, Shape
from .statistics import NO_DATA, Channels, Statistics, Tally, TensorStatistics, add_digests, digest, narrowed

if TYPE_CHECKING:
    import onnx_ir as ir

# Portions computed at once, each by its share of the threads: small ones leave several threads waiting for each other.
RUNS = 4
# Name of a tensor to observe, and the per-channel state to keep of it (None: none).
Observed = Mapping[str, Channels | None]


# Whether enough is known is asked whenever the sample count has doubled, from here on: fewer samples agree by chance.
FIRST = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """What was seen so far; it merges as `Statistics` do.

    Attributes:
        tensors: states of those that had values, all of them finite.
        unusable: why the others have none.
    """

    samples: int
    data: str
    tensors: Mapping[str, TensorStatistics]
    unusable: Mapping[str, InputError]

    def merge(self, other: Collected) -> Collected:
        """What both saw together."""
        unusable = {**other.unusable, **self.unusable}
        tensors = dict(self.tensors)
        for name, state in other.tensors.items():
            tensors[name] = tensors[name].merge(state) if name in tensors else state
        return Collected(
            samples=self.samples + other.samples,
            data=add_digests(self.data, other.data),
            tensors={name: state for name, state in tensors.items() if name not in unusable},
            unusable=unusable,
        )

    def only(self, asked: Observed) -> Collected:
        """What there is of these tensors, and no more of it than was asked for.

        Raises:
            InputError: one of them became NaN or Inf.
        """
        _require(self.unusable, asked)
        tensors = {name: narrowed(self.tensors[name], keep) for name, keep in asked.items() if name in self.tensors}
        return replace(self, tensors=tensors, unusable={})

    def statistics(self, graph: Graph, asked: Observed, *, converged: bool = False) -> Statistics:
        """The statistics of these tensors.

        Raises:
            InputError: one of them became NaN or Inf, or no batch held any element of it.
        """
        mine = self.only(asked)
        if missing := [name for name in asked if name not in mine.tensors]:
            raise InputError(f"Calibration never produced a value of {missing[0]!r}: the data set is empty there.")
        return Statistics(
            graph=graph.digest, samples=mine.samples, data=mine.data, tensors=mine.tensors, converged=converged
        )


@dataclass(slots=True)
class Collector:
    """Statistics in the making.

    Attributes:
        first: index of the first sample, for messages of a shard that starts in the middle.
        unusable: tensors that became NaN or Inf, which are not counted any more.
    """

    observed: Observed
    first: int = 0
    samples: int = 0
    data: str = NO_DATA
    unusable: dict[str, InputError] = field(default_factory=dict)
    _tallies: dict[str, Tally] = field(default_factory=dict)

    @property
    def tensors(self) -> dict[str, TensorStatistics]:
        """The states so far."""
        return {name: tally.state() for name, tally in self._tallies.items()}

    def add(self, feed: Feed, values: dict[str, Array]) -> None:
        """Take in one portion: the feed and the values of the tensors inside the graph, which are used up."""
        for name, keep in self.observed.items():
            # Taken out, so that a tensor's memory is free for the next run as soon as it is counted.
            array = values.pop(name) if name in values else feed[name]
            if name in self.unusable or not array.size:
                continue
            if not self._tallies.setdefault(name, Tally(keep)).add(array):
                self.unusable[name] = self._unusable(name, array)
                del self._tallies[name]
        self.samples += samples_in(feed)
        self.data = add_digests(self.data, digest(feed))

    def collected(self) -> Collected:
        """What was seen so far; what is added later does not change it."""
        return Collected(samples=self.samples, data=self.data, tensors=self.tensors, unusable=dict(self.unusable))

    def _unusable(self, name: str, array: Array) -> InputError:
        bad = int(np.argwhere(~np.isfinite(array))[0][0]) if array.ndim else 0
        return InputError(
            f"The model's tensor {name!r} became NaN or Inf at calibration sample {self.first + self.samples + bad}.",
            hint="Look at that sample, or exclude the layer from int8 with --exclude.",
        )


def _require(unusable: Mapping[str, InputError], asked: Observed) -> None:
    for name in asked:
        if name in unusable:
            raise unusable[name]


def collect(
    graph: Graph,
    observed: Observed,
    feeds: Feeds,
    seen: Callable[[int], None] = lambda samples: None,
    settled: Callable[[Collected], bool] = lambda collected: False,
) -> Statistics:
    """One pass over the feeds for one who asks; see `Gathering.statistics`.

    Args:
        graph: the float graph.
        observed: the values to observe, graph inputs among them.
        feeds: checked calibration data.
    """
    return Gathering(graph, observed, feeds).statistics(observed, seen, settled)


class Gathering:
    """One pass over feeds that several use, each as far as it needs; it goes on where the last one left it.

    What one of them gets does not depend on the others: which values a run exposes decides how the runtime fuses, and
    so their last bits, and is the same for all.
    """

    def __init__(self, graph: Graph, observed: Observed, feeds: Feeds) -> None:
        """Prepare.

        Args:
            observed: what anybody may ask for.
            feeds: checked calibration data, the same at each call.
        """
        self._graph, self._observed, self._feeds = graph, observed, feeds
        self._collector = Collector(observed)
        self._portions = 0
        self._marks: list[Collected] = []
        self._ended = False

    def statistics(
        self,
        asked: Observed,
        seen: Callable[[int], None] = lambda samples: None,
        settled: Callable[[Collected], bool] = lambda collected: False,
    ) -> Statistics:
        """The statistics of these tensors.

        Args:
            asked: some of those observed.
            seen: called after each portion of a batch with the number of samples so far.
            settled: asked whenever the sample count has doubled whether the rest need not be read.

        Raises:
            InputError: no data, or one of these tensors became NaN or Inf (which one, and by which sample).
        """
        with closing(self._all(asked, seen)) as marks:
            for mark in marks:
                if settled(mark.only(asked)):
                    return mark.statistics(self._graph, asked, converged=True)
        return self._collector.collected().statistics(self._graph, asked)

    def _all(self, asked: Observed, seen: Callable[[int], None]) -> Generator[Collected, None, None]:
        """What had been collected at each doubling: what is known of former passes, and then new ones."""
        yield from tuple(self._marks)
        if self._ended:
            return
        _require(self._collector.unusable, asked)
        with exposed(self._graph, self._observed) as outputs, Runner(outputs) as run:
            for feed, values in run.all(self._feeds(), skip=self._portions):
                self._collector.add(feed, values)
                self._portions += 1
                if due := self._collector.samples >= self._next():
                    self._marks.append(self._collector.collected())
                _require(self._collector.unusable, asked)
                seen(self._collector.samples)
                if due:
                    yield self._marks[-1]
        self._ended = True

    def _next(self) -> int:
        return 2 * self._marks[-1].samples if self._marks else FIRST


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposed:
    """A file of the graph whose outputs are the observed tensors.

    Attributes:
        names: those of them that are computed, and not inputs of the graph.
        portions: how feeds are cut for it.
    """

    path: Path
    names: Sequence[str]
    portions: Portions


@contextmanager
def exposed(graph: Graph, observed: Observed) -> Iterator[Exposed]:
    """Write the file, which is gone at the end."""
    names = sorted(set(observed) - {spec.name for spec in graph.inputs})
    with temporary() as scratch:
        path = scratch / "observed.onnx"
        shapes = _write_exposed(graph, names, path)
        # In proportion to the model, whose copies are what most of the memory goes to.
        limit = max(LIMIT, sum(file.stat().st_size for file in path.parent.iterdir()) // 4)
        yield Exposed(path=path, names=names, portions=Portions(graph.inputs, shapes, limit))


class Runner:
    """Runs a graph and hands out the observed tensors; the next portions are computed while the last one is counted."""

    def __init__(self, outputs: Exposed, threads: int | None = None) -> None:
        """Prepare; the session is opened on entering.

        Args:
            threads: of all runs together; None is the cores this process may use.
        """
        threads = threads or usable_cores()
        self._outputs, self._runs = outputs, min(threads, RUNS)
        self._threads = threads // self._runs

    def __enter__(self) -> Runner:
        self._values = Reference().values(self._outputs.path, threads=self._threads)
        self._ahead = ThreadPoolExecutor(self._runs)
        return self

    def __exit__(self, *details: object) -> None:
        self._ahead.shutdown(cancel_futures=True)
        self._values.close()

    def all(self, feeds: Iterator[Feed], skip: int = 0) -> Iterator[tuple[Feed, dict[str, Array]]]:
        """Each feed, in portions, with the values of the tensors inside the graph.

        Args:
            skip: portions to leave out at the beginning.
        """
        waiting: deque[tuple[Feed, Future[dict[str, Array]]]] = deque()
        for portion in islice(chain.from_iterable(map(self._outputs.portions.of, feeds)), skip, None):
            waiting.append((portion, self._ahead.submit(self._run, portion)))
            if len(waiting) >= self._runs:
                feed, values = waiting.popleft()
                yield feed, values.result()
        for feed, values in waiting:
            yield feed, values.result()

    def _run(self, feed: Feed) -> dict[str, Array]:
        return self._values(feed, self._outputs.names)


def _write_exposed(graph: Graph, tensors: Sequence[str], path: Path) -> list[Shape]:
    """Write the graph with these tensors as its outputs; returns their shapes as far as the graph tells them."""
    import onnx_ir as ir

    model = ir.load(graph.path)
    by_name = {value.name: value for node in model.graph for value in node.outputs}
    model.graph.outputs.clear()
    model.graph.outputs.extend(by_name[name] for name in tensors)
    if not tensors:  # a model whose only quantized tensors are its inputs still needs one output to be valid
        model.graph.outputs.append(next(iter(reversed(list(model.graph)))).outputs[0])
    ir.save(model, path, external_data="observed.data")
    return [_shape(by_name[name]) for name in tensors]


def _shape(value: ir.Value) -> Shape:
    return () if value.shape is None else [d if isinstance(d, int) else d.value for d in value.shape]
