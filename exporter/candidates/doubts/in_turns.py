"""What int8 has on samples that its ranges have not seen, where that is cheap: each part, with ranges of all others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial, reduce
from itertools import islice, pairwise

from ....backends.base import Feed, Graph
from ....backends.places import Reference
from ....calibration.collect import collect
from ....calibration.statistics import Statistics
from ....errors import VerificationError
from ....profiles.findings.parity import Parity, is_codes, worst
from ...capture.amounts import with_amounts
from ...capture.captured import Captured
from ...quantization.gather import FEWEST_COMPARED, JUDGED_ON, MOST_BEYOND
from ...quantization.judging import JudgingSamples
from ...quantization.mixed_int8 import IntegerVersion, MixedPrecision

# Ranges of half of few samples clip more than those that ship, and each part is a graph more.
_PARTS = 4
# No more batches than these, and no more values of what is rounded: of other data the first ones alone are judged.
_MOST_BATCHES, _MOST_VALUES = JUDGED_ON + MOST_BEYOND, 1 << 22


# What a memo has the data under that int8 was judged on in turns, by the path of its graph.
TURNS = "turns"


@dataclass(frozen=True, slots=True, kw_only=True)
class DataInTurns:
    """Data part by part, each to be judged with ranges of the others.

    Attributes:
        parts: batches of each.
        samples: all of them, in order.
        more: these, and data behind them.
    """

    parts: Sequence[Sequence[Feed]]
    samples: JudgingSamples
    more: JudgingSamples

    @classmethod
    def of(cls, captured: Captured, kind: str, data: Sequence[Feed], samples: int) -> DataInTurns | None:
        """Quarters of the first data, and what FP32 answers; None where they are too few, or cannot be parted.

        Args:
            data: whole batches.
            samples: of how many the quarters are, in whole batches.
        """
        graph = captured.graph
        first = first_of(data, graph, samples)
        parts = parted(first, graph)
        if len(parts) < 2 or sum(map(graph.samples.count, first)) < FEWEST_COMPARED:
            return None
        pieces = [feed for part in parts for feed in part]
        feeds = [*pieces, *data[len(first) :]]
        with Reference().values(graph.path) as values:
            expected = [with_amounts(values(feed), captured.amounts) for feed in feeds]
        more = JudgingSamples.of(graph, feeds, kind, expected)
        return cls(parts=parts, samples=more.first(len(pieces)), more=more)


def cheap_samples(statistics: Statistics) -> int:
    """How many samples are judged in turns in little time; counted, so that reports do not vary."""
    values = sum(state.count for state in statistics.tensors.values())
    return statistics.samples * _MOST_VALUES // max(1, values)


def first_of(data: Iterable[Feed], graph: Graph, samples: int) -> list[Feed]:
    """The first batches that hold no more samples than these, and are not many; the first in any case."""
    taken: list[Feed] = []
    for feed in islice(data, _MOST_BATCHES):
        samples -= graph.samples.count(feed)
        if samples < 0 and taken:
            break
        taken.append(feed)
    return taken


def in_turns(captured: Captured, mixed: MixedPrecision, version: IntegerVersion, turns: DataInTurns) -> Parity | None:
    """The parity of the worst output that is an amount, each part of the data judged with ranges of the others.

    Returns:
        None of classes and places alone: how many of those agree has no tail. And where answers are of other shapes,
        or not finite, by ranges that do not ship.
    """
    graph = captured.graph
    asked = mixed.quantizer(version).placement.observed()
    seen = [collect(graph, asked, partial(iter, part)) for part in turns.parts]
    answers = []
    for index, part in enumerate(turns.parts):
        others = reduce(Statistics.merge, (*seen[:index], *seen[index + 1 :]))
        answers += replace(mixed, judged=others, samples=replace(mixed.samples, feeds=part)).answers(version)
    try:
        found = turns.samples.compare(answers, graph)
    except VerificationError:
        return None
    amounts = {name: one for name, one in found.items() if not is_codes(turns.samples.expected[0][name])}
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
