"""Integers beside which the runtime shortens floats, where a model decides by those.

A processor with bf16 keeps 8 bits of what is float beside integers: of a distance that is less than int8 leaves, which
decides otherwise more often than the graph does, and the samples may show none of it. A nearest neighbour had 43 dB on
128 samples, its graph 46; of 4,000 others 22 and 33.
"""

from __future__ import annotations

import numpy as np

from ....backends.base import Array, Feed
from ....backends.places import GraphValues
from ....profiles.device.precision import PrecisionName, load_precision
from ...quantization.judging import JudgingSamples
from ..candidate import Candidate
from ..doubts.deciding import Decisions
from .link import HINT, StrayingError, beside_graph, explained_db

# Digits of the significand, that of float16 by what its graphs store.
_BITS, _HALF_BITS = 8, 11
# So many times the noise is enough of what is coarser than that of int8, and with more it decides between values that
# are not next to each other: the network above has 26 dB by 4 times and 15 by 16.
_TIMES = 4


def refuse_deciding_otherwise(
    candidate: Candidate, decisions: Decisions, samples: JudgingSamples, floats: PrecisionName
) -> None:
    """Hold what decisions leave where the runtime shortens what they read against what they leave by the graph.

    Whether it shortens that value is not asked: behind the last layer some runtimes do not.

    Args:
        floats: what the runtime makes of floats.

    Raises:
        StrayingError: less is to be expected than rounding at other places explains.
    """
    bits = _HALF_BITS if load_precision(floats).storage == "float16" else _BITS
    with GraphValues(candidate.graph.path, decisions.inner(candidate.graph)) as values:

        def shortened(feed: Feed) -> dict[str, Array]:
            found = values(feed)
            return {name: _shortened(found[name], bits) for name in decisions.rounded}

        found = decisions.expected(samples, shortened, _TIMES)
    own = {name: min(db, candidate.on_samples[name].weakest_db) for name, db in decisions.expected_db.items()}
    strays = [
        beside_graph(f"output {name!r}", found[name], graph_db, least, samples.expected[0][name])
        for name, graph_db in own.items()
        if name in found and found[name] < (least := explained_db(graph_db))
    ]
    if strays:
        raise StrayingError(
            candidate,
            f"The {candidate.precision} engine decides otherwise than its own graph, at {decisions.nodes}. To be "
            f"expected of other samples by that: {'; '.join(strays)}.",
            hint=HINT,
        )


def _shortened(array: Array, bits: int) -> Array:
    """Floats with so many binary digits, rounded to the nearest."""
    fraction, exponent = np.frexp(np.asarray(array, np.float32))
    return np.asarray(np.ldexp(np.rint(np.ldexp(fraction, bits)), exponent - bits))
