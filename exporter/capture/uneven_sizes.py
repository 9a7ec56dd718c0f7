"""What the graph makes of sizes that are no multiples of anything, where the model takes them.

A capture is proven at the usual size, twice it and the smallest, which keep what a size may have to be divisible by. An
exporter of torch may write down how sizes came about at those alone: a pool that rounds up has a window more or less
at others, and a Reshape behind it then asks for values that are not there.
"""

from __future__ import annotations

from collections.abc import Mapping

from ...backends.base import Graph
from ...errors import EdgepressError, VerificationError
from ...profiles.findings.gap import Gap
from ...profiles.findings.parity import parity, worst
from ..graphs.selection import selected_rows
from ..graphs.synthesis import synthesize
from ..sources import Predict
from .proof import Origin

# Far below what another order of the same sums leaves.
_LEAST_DB = 40.0


def at_uneven_sizes(origin: Origin, graph: Graph, seed: int, run: Predict) -> tuple[Gap, ...]:
    """What to say where the model takes such sizes, and the graph does not compute the same of them.

    Args:
        run: the graph, open.
    """
    for sizes in uneven(graph):
        if fault := _fault(origin, graph, sizes, seed, run):
            named, one = ", ".join(f"{name}={size}" for name, size in sizes.items()), next(iter(sizes))
            why = (
                f"At {named}, which the free axes allow, the captured graph {fault} Multiples of the usual sizes were "
                f"right: use those alone, or export with --axis {one}=N:N:N for each size N that is needed."
            )
            return (Gap(about="other", subject="sizes", why=why),)
    return ()


def _fault(origin: Origin, graph: Graph, sizes: Mapping[str, int], seed: int, run: Predict) -> str:
    """What the graph does otherwise than the model, as a predicate; empty for nothing."""
    source = origin.source
    feed = synthesize(source.inputs, source.dynamic, sizes, seed, source.held)
    try:
        right = origin.predict(feed)
    except Exception:  # whatever forward raises: it takes no such size, and then nobody has to
        return ""
    try:
        found = worst(parity([right], [run(feed)], rows=selected_rows(graph)))
    except VerificationError as error:
        return f"answers otherwise than the model: {error.message}"
    except EdgepressError as error:
        return f"fails, where the model does not: {error.message}"
    return "" if found.weakest_db >= _LEAST_DB else f"is {found.weakest_db:.1f} dB of SQNR from the model."


def uneven(graph: Graph) -> list[dict[str, int]]:
    """One and two more than usual of each free axis but that of samples, or less; without what no axis can have."""
    samples = {spec.shape[axis] for spec in graph.inputs if (axis := graph.samples.inputs.get(spec.name)) is not None}
    found: list[dict[str, int]] = []
    for step in (1, 2):
        sizes = {}
        for name, reach in graph.axes.items():
            near = [
                size for size in (reach.usual + step, reach.usual - step) if reach.smallest <= size <= reach.largest
            ]
            if near and name not in samples:
                sizes[name] = near[0]
        found += [sizes] if sizes else []
    return found
