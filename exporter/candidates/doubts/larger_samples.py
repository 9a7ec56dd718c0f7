"""What int8 has where samples are larger than all that its ranges come of, as one of so many others is.

Of n samples any other is the largest with a chance of 1 in n + 1, and clipped then. How much that costs is not to be
seen in these, nor in parts of them where the largest ones are alike, as squares of whole numbers are: 39 dB of one
graph, and 10 of 1,280 fresh samples. So all are made larger by as much as takes the m-th largest to where the largest
is: m of them lie beyond the ranges then, by as much as a tail has there (exactly of one that falls as a power), and
what that adds to the noise is divided by m. Data that end at a bound stay as they are: the largest are all alike.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from ....backends.base import Array, Feed, Graph, SampleAxes
from ....backends.places import GraphValues
from ....errors import VerificationError
from ....profiles.findings.parity import Parity, is_codes
from ...capture.amounts import with_amounts
from ...capture.captured import Captured
from ...quantization.gains import EQUAL_DB, short_of
from ...quantization.judging import JudgingSamples

# So many of the samples lie beyond the ranges; of fewer than four times as many, a quarter.
_BEYOND, _LEAST_BEYOND = 16, 4


def larger_samples(captured: Captured, graph: Graph, samples: JudgingSamples) -> dict[str, str]:
    """The doubt, by what it is about; empty where larger samples lose little, or there are too few to tell.

    Args:
        graph: that of int8.
        samples: those that its ranges come of.
    """
    along, data, count = captured.graph.samples, samples.feeds, samples.count
    beyond = min(_BEYOND, count // 4)
    if beyond < _LEAST_BEYOND or not along.inputs:
        return {}
    factors = {name: found for name in along.inputs if (found := _factor(data, name, along, beyond)) > 1}
    larger = [{name: _times(array, factors.get(name, 1.0)) for name, array in feed.items()} for feed in data]
    if not factors or (both := _both(captured, graph, samples, larger)) is None:
        return {}
    seen, further = both
    expected = {name: _expected_db(seen[name], further[name], beyond) for name in seen if name in further}
    if (short := short_of(seen, expected)) is None:
        return {}
    name, has_db, expected_db = short
    return {
        "larger": f"One in {count + 1} other samples is larger than all {count} that the ranges come of, and is "
        f"clipped. Output {name!r} has {has_db:.1f} dB of SQNR on these, "
        f"{further[name].weakest_db:.1f} dB where they are made {max(factors.values()):.2f} times as large, so that "
        f"{beyond} lie beyond, and about {expected_db:.1f} dB are to be expected of others. Give more calibration "
        "data, with the largest that the model will meet."
    }


def _factor(data: Sequence[Feed], name: str, along: SampleAxes, beyond: int) -> float:
    """By how much an input of floats is made larger; 1 for none."""
    arrays = [along.first(name, feed[name]) for feed in data]
    if arrays[0].dtype.kind != "f":
        return 1.0
    each = [np.abs(array.reshape(len(array), -1).astype(np.float64)).max(axis=1, initial=0) for array in arrays]
    peaks = np.sort(np.concatenate(each))[::-1]
    return float(peaks[0] / peaks[beyond - 1]) if len(peaks) >= beyond and peaks[beyond - 1] > 0 else 1.0


def _times(array: Array, factor: float) -> Array:
    return array if factor == 1 else np.multiply(array, factor, dtype=array.dtype)


def _both(
    captured: Captured, graph: Graph, samples: JudgingSamples, larger: Sequence[Feed]
) -> tuple[Mapping[str, Parity], Mapping[str, Parity]] | None:
    """What int8 has of each output that is an amount, on the samples and on larger ones; None where it has none."""
    try:
        with GraphValues(captured.graph.path) as exact, GraphValues(graph.path) as rounded:
            expected = [with_amounts(exact(feed), captured.amounts) for feed in larger]
            others = JudgingSamples.of(captured.graph, larger, "larger samples", expected)
            return _parity(captured, rounded, samples), _parity(captured, rounded, others)
    except Exception:  # onnxruntime's exceptions have no base; a place that data decide may lie beyond an end
        return None


def _parity(captured: Captured, rounded: GraphValues, samples: JudgingSamples) -> dict[str, Parity]:
    answers = [with_amounts(rounded(feed), captured.amounts) for feed in samples.feeds]
    try:
        found = samples.compare(answers, captured.graph)
    except VerificationError:  # it has no number, or no such size, for data of which nobody knows that they occur
        return {}
    return {name: one for name, one in found.items() if not is_codes(samples.expected[0][name])}


def _expected_db(seen: Parity, further: Parity, beyond: int) -> float:
    """Of others: what these have, and its share of what is added where so many lie beyond."""
    one, two = (10 ** (-found.weakest_db / 10) for found in (seen, further))
    return -10 * math.log10(max(one + max(0.0, two - one) / beyond, 10 ** (-EQUAL_DB / 10)))
