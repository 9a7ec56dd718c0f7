"""Run a graph over feeds and keep statistics of chosen tensors; nothing accumulates with the number of samples."""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..backends.base import Array, Feed, Graph
from ..backends.places import Reference
from ..errors import InputError
from ..profiles.machine.environment import usable_cores
from .feeds import Feeds, samples_in
from .portions import LIMIT, Portions, Shape
from .statistics import NO_DATA, Channels, Statistics, Tally, TensorStatistics, add_digests, digest

if TYPE_CHECKING:
    import onnx_ir as ir

# Portions computed at once, each by its share of the threads: small ones leave several threads waiting for each other.
RUNS = 4
# Name of a tensor to observe, and the per-channel state to keep of it (None: none).
Observed = Mapping[str, Channels | None]


@dataclass(slots=True)
class Collector:
    """Statistics in the making.

    Attributes:
        first: index of the first sample, for messages of a shard that starts in the middle.
    """

    observed: Observed
    first: int = 0
    samples: int = 0
    data: str = NO_DATA
    _tallies: dict[str, Tally] = field(default_factory=dict)

    @property
    def tensors(self) -> dict[str, TensorStatistics]:
        """The states so far."""
        return {name: tally.state() for name, tally in self._tallies.items()}

    def add(self, feed: Feed, values: dict[str, Array]) -> None:
        """Take in one portion: the feed and the values of the tensors inside the graph, which are used up.

        Raises:
            InputError: a tensor of the model is NaN or Inf.
        """
        for name, keep in self.observed.items():
            # Taken out, so that a tensor's memory is free for the next run as soon as it is counted.
            array = values.pop(name) if name in values else feed[name]
            if array.size and not self._tallies.setdefault(name, Tally(keep)).add(array):
                raise self._unusable(name, array)
        self.samples += samples_in(feed)
        self.data = add_digests(self.data, digest(feed))

    def _unusable(self, name: str, array: Array) -> InputError:
        bad = int(np.argwhere(~np.isfinite(array))[0][0]) if array.ndim else 0
        return InputError(
            f"The model's tensor {name!r} became NaN or Inf at calibration sample {self.first + self.samples + bad}.",
            hint="Look at that sample, or exclude the layer from int8 with --exclude.",
        )

    def statistics(self, graph: Graph, *, converged: bool = False) -> Statistics:
        """What was collected.

        Raises:
            InputError: no batch held any element of some tensor.
        """
        missing = [name for name in self.observed if name not in self._tallies]
        if missing:
            raise InputError(f"Calibration never produced a value of {missing[0]!r}: the data set is empty there.")
        return Statistics(
            graph=graph.digest, samples=self.samples, data=self.data, tensors=self.tensors, converged=converged
        )


def collect(
    graph: Graph,
    observed: Observed,
    feeds: Feeds,
    seen: Callable[[int], None] = lambda samples: None,
    settled: Callable[[Collector], bool] = lambda collector: False,
) -> Statistics:
    """One pass over the feeds.

    Args:
        graph: the float graph.
        observed: the values to observe, graph inputs among them.
        feeds: checked calibration data.
        seen: called after each portion of a batch with the number of samples so far.
        settled: asked after each portion whether the rest need not be read.

    Raises:
        InputError: no data, or a tensor of the model became NaN or Inf (which one, and by which sample).
    """
    with exposed(graph, observed) as outputs, Runner(outputs) as run:
        collector = Collector(observed)
        for feed, values in run.all(feeds()):
            collector.add(feed, values)
            seen(collector.samples)
            if settled(collector):
                return collector.statistics(graph, converged=True)
    return collector.statistics(graph)


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
    with tempfile.TemporaryDirectory(prefix="edgepress-") as scratch:
        path = Path(scratch) / "observed.onnx"
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

    def all(self, feeds: Iterator[Feed]) -> Iterator[tuple[Feed, dict[str, Array]]]:
        """Each feed, in portions, with the values of the tensors inside the graph."""
        waiting: deque[tuple[Feed, Future[dict[str, Array]]]] = deque()
        for portion in chain.from_iterable(map(self._outputs.portions.of, feeds)):
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
