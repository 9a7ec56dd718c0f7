"""Inputs of sizes that an engine has not been asked for yet: where a fault of one inference alone would be seen.

A runtime may read memory that nobody wrote in its first inference of each size, or look scales up beyond their end
where a batch is larger than another axis. At the few sizes of golden inputs and samples neither need be seen.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ....backends.base import Array, AxisRange, Feed, Graph, SampleAxes
from ...graphs.files import read_model
from ...graphs.synthesis import synthesize
from ...sources import Source

# What a batch that is larger than other axes may take: values of all inputs, and products, of which one core makes as
# many in less than half a second.
_VALUES, _PRODUCTS = 1 << 20, 1 << 33
# Longer ones are a vocabulary, or features that no cheap batch is larger than.
_LONGEST_AXIS = 256
# Samples that are run where no such batch is cheap: more than before up to that, else fewer.
_FEW, _FEWER = 16, 3
# A picture has a place in so many, seen from the layers that hold most weights, which lie behind strides.
_STRIDES, _PICTURE = 16, 3


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSize:
    """A feed.

    Attributes:
        told: the sizes of it that are new, in words.
        allowed: they are in the ranges of their axes; a runtime may refuse others, and must not be wrong at them.
    """

    feed: Feed
    told: str
    allowed: bool = True


def new_sizes(
    source: Source,
    captured: Graph,
    graph: Graph,
    samples: Sequence[Feed],
    known: Sequence[Feed],
    seed: int,
    asked: Collection[str] = (),
) -> Iterator[NewSize]:
    """Samples in batches of other sizes; and where other axes are free, made-up inputs of other sizes.

    Args:
        captured: the FP32 graph, which says where samples lie.
        graph: the candidate's, whose free axes count.
        samples: what batches are made of, whose values int8 has the ranges of.
        known: all that was run.
        asked: axes whose ranges the user gave, which nobody leaves; the others' are a guess.
    """
    free = _free(graph)
    batch = _batch(captured.samples, graph, free)
    if batch is not None:
        feed, reach = max(samples, key=captured.samples.count), free[batch]
        may = batch not in asked and reach.largest > reach.usual
        for size in _batch_sizes(captured, feed, reach, _sizes(batch, graph, known), may_exceed=may):
            repeated = _repeated(feed, captured.samples, size, seed)
            yield NewSize(feed=repeated, told=f"{batch} {size}", allowed=size <= reach.largest)
    others = {name: _other(reach, _sizes(name, graph, known)) for name, reach in free.items() if name != batch}
    if sizes := {name: size for name, size in others.items() if size is not None}:
        told = ", ".join(f"{name} {size}" for name, size in sorted(sizes.items()))
        yield NewSize(feed=synthesize(source.inputs, source.dynamic, sizes, seed, source.held), told=told)


def _free(graph: Graph) -> dict[str, AxisRange]:
    named = {size for spec in graph.inputs for size in spec.shape}
    return {name: reach for name, reach in graph.axes.items() if name in named}


def _batch(along: SampleAxes, graph: Graph, free: dict[str, AxisRange]) -> str | None:
    """The free axis that holds the samples, where it is one."""
    names = {spec.shape[along.inputs[spec.name]] for spec in graph.inputs if spec.name in along.inputs}
    return next((name for name in free if names == {name}), None)


def _sizes(name: str, graph: Graph, feeds: Sequence[Feed]) -> set[int]:
    """Those that a free axis has."""
    at = [(spec.name, axis) for spec in graph.inputs for axis, size in enumerate(spec.shape) if size == name]
    return {feed[tensor].shape[axis] for feed in feeds for tensor, axis in at}


def _batch_sizes(captured: Graph, feed: Feed, reach: AxisRange, known: set[int], *, may_exceed: bool) -> Iterator[int]:
    """One that is larger than most axes, where that is cheap; else, or where the range has it not, a few samples."""
    shapes = _weights(captured)
    most = _affordable(captured.samples, feed, shapes)
    most = most if may_exceed else min(most, reach.largest)
    lengths = {size for shape in [*shapes, *_one_sample(captured.samples, feed)] for size in shape}
    longest = max((size for size in lengths if size < min(most, _LONGEST_AXIS + 1)), default=most)
    # More than before, where that can be: what is right in memory that is there may be wrong where it must grow.
    more = max(known) + 1
    wide = _first((*range(max(more, longest + 1), most + 1), *range(longest + 1, most + 1)), known)
    if wide is not None and wide >= reach.smallest:
        yield wide
    if wide is None or not reach.smallest <= wide <= reach.largest:
        within = range(reach.smallest, reach.largest + 1)
        few = _first((size for size in (*range(more, _FEW + 1), _FEWER, *within) if size in within), known)
        yield from () if few is None else (few,)


def _first(sizes: Iterable[int], known: set[int]) -> int | None:
    return next((size for size in sizes if size not in known), None)


def _weights(graph: Graph) -> list[tuple[int, ...]]:
    """Shapes of what the graph holds, but for biases and scales."""
    held = (value.const_value for value in read_model(graph.path).graph.initializers.values())
    return [tuple(tensor.shape.numpy()) for tensor in held if tensor is not None and len(tensor.shape) > 1]


def _one_sample(along: SampleAxes, feed: Feed) -> list[tuple[int, ...]]:
    """Shapes of the inputs that have samples, without those."""
    return [along.first(name, feed[name]).shape[1:] for name in along.inputs]


def _affordable(along: SampleAxes, feed: Feed, weights: Sequence[tuple[int, ...]]) -> int:
    """The most samples that cost next to nothing: each weight is taken once for every place of one."""
    values = sum(map(math.prod, _one_sample(along, feed)))
    lengths = {size for shape in weights for size in shape}
    places = max(_places(along.first(name, feed[name])[0], lengths) for name in along.inputs)
    products = places * sum(map(math.prod, weights))
    return min(_VALUES // max(1, values), _PRODUCTS // max(1, products))


def _places(sample: Array, lengths: set[int]) -> int:
    """Of an input: tokens, steps, or pixels; not the channels, which weights have an axis of."""
    if sample.dtype.kind != "f":
        return sample.size
    channels = min((size for size in sample.shape if size > 1 and size in lengths), default=1)
    return max(1, sample.size // channels // (_STRIDES if sample.ndim >= _PICTURE else 1))


def _repeated(feed: Feed, along: SampleAxes, size: int, seed: int) -> dict[str, Array]:
    """The samples of a batch, again and again, in an order of their own."""
    order = np.random.default_rng(seed).permutation(np.arange(size) % along.count(feed))
    return {
        name: array.take(order, along.inputs[name]) if name in along.inputs else array for name, array in feed.items()
    }


def _other(reach: AxisRange, known: set[int]) -> int | None:
    """A size near the usual one that divides as the proven ones do; None where the range has no new one."""
    twice = min(reach.largest, 2 * reach.usual)
    step = math.gcd(reach.smallest, reach.usual, twice)
    sizes = (*range(reach.usual + step, twice + 1, step), *range(reach.usual - step, reach.smallest - 1, -step))
    return _first(sizes, known)
