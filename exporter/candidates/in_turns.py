"""What int8 has on samples that its ranges have not seen, where that is cheap: each part, with ranges of all others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial, reduce
from itertools import pairwise

from ...backends.base import Feed, Graph
from ...backends.places import Reference
from ...calibration.collect import collect
from ...calibration.statistics import Statistics
from ...profiles.findings.parity import Parity, is_codes, worst
from ..capture.amounts import with_amounts
from ..capture.captured import Captured
from ..quantization.gather import FEWEST_COMPARED, JUDGED_ON, MOST_BEYOND
from ..quantization.judging import JudgingSamples
from ..quantization.mixed_int8 import IntegerVersion, MixedPrecision

# Ranges of half of few samples clip more than those that ship, and each part is a graph more.
_PARTS = 4
# Of more samples, or of so many values of what is rounded, ranges of others are compared on the first samples alone.
_MOST_SAMPLES, _MOST_VALUES = JUDGED_ON + MOST_BEYOND, 1 << 22


def is_cheap(statistics: Statistics) -> bool:
    """Whether all data that ranges come of are judged in turns in little time; counted, so that reports do not vary."""
    values = sum(state.count for state in statistics.tensors.values())
    return statistics.samples <= _MOST_SAMPLES and values <= _MOST_VALUES


def in_turns(captured: Captured, mixed: MixedPrecision, version: IntegerVersion, data: Sequence[Feed]) -> Parity | None:
    """The parity of the worst output that is an amount, each quarter of the data judged with ranges of the others.

    Args:
        data: all that ranges come of, batch by batch.

    Returns:
        None where they are too few, or cannot be parted, and of classes and places alone: how many of those agree has
        no tail.
    """
    graph, kind = captured.graph, mixed.samples.kind
    parts = parted(data, graph)
    if len(parts) < 2 or sum(map(graph.samples.count, data)) < FEWEST_COMPARED:
        return None
    asked = mixed.quantizer(version).placement.observed()
    seen = [collect(graph, asked, partial(iter, part)) for part in parts]
    answers = []
    for index, part in enumerate(parts):
        others = reduce(Statistics.merge, (*seen[:index], *seen[index + 1 :]))
        answers += replace(mixed, judged=others, samples=replace(mixed.samples, feeds=part)).answers(version)
    feeds = [feed for part in parts for feed in part]
    with Reference().values(graph.path) as values:
        expected = [with_amounts(values(feed), captured.amounts) for feed in feeds]
    found = JudgingSamples.of(graph, feeds, kind, expected).compare(answers, graph)
    amounts = {name: one for name, one in found.items() if not is_codes(expected[0][name])}
    return worst(amounts) if amounts else None


def parted(data: Sequence[Feed], graph: Graph) -> list[list[Feed]]:
    """Parts of about as many samples; batches are cut where the model allows it."""
    parts: list[list[Feed]] = [[] for _ in range(_PARTS)]
    total, start = sum(map(graph.samples.count, data)), 0
    for feed in data:
        count = graph.samples.count(feed)
        for piece, at in _pieces(feed, graph, start, total) if graph.samples.divide(graph.inputs) else [(feed, start)]:
            middle = 2 * at + graph.samples.count(piece)
            parts[min(_PARTS - 1, middle * _PARTS // (2 * total))].append(piece)
        start += count
    return [part for part in parts if part]


def _pieces(feed: Feed, graph: Graph, start: int, total: int) -> Iterator[tuple[Feed, int]]:
    """A batch cut where parts end, and where in the data each piece begins.

    Args:
        start: where the batch begins, of so many samples in total.
    """
    stop = start + graph.samples.count(feed)
    ends = [total * part // _PARTS for part in range(1, _PARTS)]
    cuts = [start, *(end for end in ends if start < end < stop), stop]
    for low, high in pairwise(cuts):
        if high > low:
            yield graph.samples.part(feed, slice(low - start, high - start)), low
