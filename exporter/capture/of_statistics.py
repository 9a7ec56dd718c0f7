"""Made-up samples with the values that calibration statistics have seen: all there is of data that are elsewhere."""

from __future__ import annotations

import numpy as np

from ...backends.base import Array, Feed, Graph
from ...calibration.loggrid import edges
from ...calibration.statistics import Statistics, TensorStatistics
from ..graphs.synthesis import synthesize
from ..sources import Source


def of_statistics(source: Source, graph: Graph, statistics: Statistics, seed: int, samples: int) -> list[Feed]:
    """Feeds of so many samples, shaped as the example, whose floats are drawn value by value.

    What is observed of the inputs decides: how often each value occurs, and not beside which other.

    Returns:
        Nothing where the statistics are of another graph or know no float input.
    """
    inputs = {name: array for name, array in source.inputs.items() if name not in source.held}
    known = {
        n: statistics.tensors[n] for n, array in inputs.items() if n in statistics.tensors and array.dtype.kind == "f"
    }
    if statistics.graph != graph.digest or not known:
        return []
    usual = {name: reach.usual for name, reach in graph.axes.items()}
    feeds: list[Feed] = []
    while sum(map(graph.samples.count, feeds)) < samples:
        number = seed + len(feeds)
        feed, rng = synthesize(source.inputs, source.dynamic, usual, number, source.held), np.random.default_rng(number)
        feeds.append(
            {name: _drawn(known[name], array, rng) if name in known else array for name, array in feed.items()}
        )
    return feeds


def _drawn(state: TensorStatistics, like: Array, rng: np.random.Generator) -> Array:
    """Values with the frequencies of the bins, anywhere inside of each and within what was seen."""
    inner, outer = edges()
    bins = rng.choice(len(state.histogram), like.shape, p=state.histogram / state.histogram.sum())
    low, high = inner[bins], outer[bins]
    values = np.where(low == 0, 0.0, low + (high - low) * rng.random(like.shape))
    return np.asarray(values.clip(state.minimum, state.maximum)).astype(like.dtype)
