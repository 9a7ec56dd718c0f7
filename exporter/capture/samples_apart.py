"""Which axis of a graph is that of its samples, seen by running it: what one sample is changes no other's answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from ...backends.base import Array, Feed, Graph, SampleAxes
from ...calibration.sample_axes import called_batch, kept, possible
from ..graphs.synthesis import synthesize
from ..sources import Predict, Source

# Samples of a free axis that are run: a batch of the usual size would tell no more.
_SAMPLES = 4
# Of the largest value: the same sums in the same order, and what a runtime may do otherwise.
_ALIKE = 1e-6
# Axes of pictures, whose first is none of time.
_PICTURES = 4


def with_samples(graph: Graph, source: Source, seed: int, run: Predict) -> Graph:
    """The graph with where its samples lie.

    Shapes do not tell steps of time or nodes of a graph from samples. So each axis that may be theirs is tried: every
    second row is overwritten by its neighbour, and where an output's other rows stay what they were, rows are samples.

    Args:
        run: the graph, open.
    """
    for axes in possible(graph.inputs):
        found = _outputs(axes, graph, source, seed, run)
        if found is None and _surely(axes, graph):
            found = kept(axes, graph.inputs, graph.outputs)
        if found:
            return replace(graph, samples=SampleAxes(inputs=axes, outputs=found))
    return replace(graph, samples=SampleAxes())


def _surely(axes: Mapping[str, int], graph: Graph) -> bool:
    """Whether these are samples where running it does not tell, as behind a selection of boxes."""
    mine = [spec.shape for spec in graph.inputs if spec.name in axes]
    named = any(called_batch(spec.shape[axes[spec.name]]) for spec in graph.inputs if spec.name in axes)
    return named or any(len(shape) >= _PICTURES and isinstance(shape[0], str) for shape in mine)


def _outputs(axes: Mapping[str, int], graph: Graph, source: Source, seed: int, run: Predict) -> dict[str, int] | None:
    """Along which axis outputs have rows that are samples; None where running it does not tell."""
    feed = synthesize(source.inputs, source.dynamic, _sizes(axes, graph), seed, source.held)
    lengths = {feed[name].shape[axis] for name, axis in axes.items()}
    if len(lengths) != 1 or (rows := lengths.pop()) < 2:
        return None
    swaps = [(np.arange(rows) - np.arange(rows) % 2, slice(0, None, 2)), (_forward(rows), slice(1, None, 2))]
    try:
        right = run(feed)
        others = [(run(_taken(feed, axes, order)), stay) for order, stay in swaps]
    except Exception:  # whatever the runtime raises: it takes no such size, and what it takes is for the proof to say
        return None
    if all(_alike(array, other[name]) for other, _ in others for name, array in right.items()):
        return kept(axes, graph.inputs, graph.outputs)  # all rows are the same, as in an example of zeros
    floats = {name: array for name, array in right.items() if array.dtype.kind == "f"} or right
    first = next(iter(axes.values()))
    held = {name: _held(array, [(o[name], s) for o, s in others], rows, first) for name, array in floats.items()}
    told = {name: axis for name, axis in held.items() if axis is not None}
    if not told:
        return None
    apart = {name: axis for name, axis in told.items() if axis >= 0}
    return apart | {n: 0 for n, a in right.items() if apart and n not in floats and a.ndim and len(a) == rows}


def _held(right: Array, others: Sequence[tuple[Array, slice]], rows: int, first: int) -> int | None:
    """The axis whose rows stay as they were; -1 where none does, None where this output does not tell."""
    found = [(other, stay) for other, stay in others if not _alike(right, other)]
    places = [axis for axis in range(right.ndim) if right.shape[axis] == rows]
    if not found or not places or any(other.shape != right.shape for other, _ in found):
        return None
    for axis in sorted(places, key=lambda axis: axis != first):
        if all(_alike(_rows(right, axis, stay), _rows(other, axis, stay)) for other, stay in found):
            return axis
    return -1


def _sizes(axes: Mapping[str, int], graph: Graph) -> dict[str, int]:
    """The usual ones; fewer samples where these are called so, as steps of time may have to be many."""
    sizes = {name: reach.usual for name, reach in graph.axes.items()}
    mine = {spec.shape[axes[spec.name]] for spec in graph.inputs if spec.name in axes}
    few = {name: max(graph.axes[name].smallest, min(_SAMPLES, size)) for name, size in sizes.items()}
    return {name: few[name] if name in mine and called_batch(name) else size for name, size in sizes.items()}


def _forward(rows: int) -> npt.NDArray[np.intp]:
    """Rows, of which every second one from the first is its successor, or at the end its predecessor."""
    order = np.arange(rows) | 1
    order[order >= rows] = rows - 2
    return order


def _taken(feed: Feed, axes: Mapping[str, int], order: npt.NDArray[np.intp]) -> dict[str, Array]:
    return {name: array.take(order, axes[name]) if name in axes else array for name, array in feed.items()}


def _rows(array: Array, axis: int, some: slice) -> Array:
    return array[(slice(None),) * axis + (some,)]


def _alike(one: Array, other: Array) -> bool:
    if one.dtype.kind != "f" or one.shape != other.shape:
        return bool(np.array_equal(one, other))
    largest = float(np.abs(one[np.isfinite(one)]).max(initial=0.0))
    return bool(np.allclose(one, other, rtol=0.0, atol=_ALIKE * largest, equal_nan=True))
