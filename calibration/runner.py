"""Run a graph over feeds with tensors inside it exposed, in portions whose values stay small."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

from ..backends.base import Array, Feed, Graph
from ..backends.places import Reference
from ..profiles.machine.environment import usable_cores
from ..profiles.machine.held import temporary
from .portions import LIMIT, Portions, Shape

if TYPE_CHECKING:
    import onnx_ir as ir

# Portions computed at once, each by its share of the threads: small ones leave several threads waiting for each other.
RUNS = 4


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
def exposed(graph: Graph, observed: Collection[str]) -> Iterator[Exposed]:
    """Write the file, which is gone at the end."""
    names = sorted(set(observed) - {spec.name for spec in graph.inputs})
    with temporary() as scratch:
        path = scratch / "observed.onnx"
        shapes = _write_exposed(graph, names, path)
        # In proportion to the model, whose copies are what most of the memory goes to.
        limit = max(LIMIT, sum(file.stat().st_size for file in path.parent.iterdir()) // 4)
        yield Exposed(path=path, names=names, portions=Portions(graph.inputs, graph.samples, shapes, limit))


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
    return [shape_of(by_name[name]) for name in tensors]


def shape_of(value: ir.Value) -> Shape:
    """The shape of a value as far as the graph tells it, free axes by name."""
    return () if value.shape is None else [d if isinstance(d, int) else d.value for d in value.shape]
