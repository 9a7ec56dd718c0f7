"""Graphs that agree with their model, but by little for float32: on other inputs it may be much less."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ...backends.base import Graph
from ...profiles.findings.gap import Gap
from ...profiles.findings.parity import Parity
from ..graphs.selection import selected_rows
from ..sources import Source, torch_predict
from .own_rounding import LEAST_SQNR_DB, own_rounding
from .proof import proof_feeds

# Below so much a graph is near what is refused. levit_128s with random weights has 50.4 dB on made-up inputs, and 20 on
# held-out ones, where torch's own float32 and float64 agree to 21 as well. Most networks of the zoo have 90 or more.
NARROW_DB = LEAST_SQNR_DB + 20


def float32_margin(source: Source, graph: Graph, parity: Mapping[str, Parity], seed: int) -> tuple[Gap, ...]:
    """Outputs near what capture refuses, with what the model's own float32 has of them.

    Args:
        parity: of the graph with the model, on the proof's inputs of this seed.
    """
    amounts = {spec.name for spec in graph.outputs if np.dtype(spec.dtype).kind == "f"}
    narrow = {name: found for name, found in parity.items() if name in amounts and found.weakest_db < NARROW_DB}
    own = _own(source, graph, seed) if narrow else {}
    return tuple(
        Gap(about="other", subject=f"float32 {name}", why=_why(name, found, own.get(name)))
        for name, found in narrow.items()
    )


def _own(source: Source, graph: Graph, seed: int) -> Mapping[str, Parity]:
    if source.module is None:
        return {}
    feeds, predict = proof_feeds(source, graph, seed), torch_predict(source)
    return own_rounding(source, feeds, [predict(feed) for feed in feeds], selected_rows(graph))


def _why(name: str, found: Parity, own: Parity | None) -> str:
    said = (
        f"At output {name!r} the graph has {found.weakest_db:.1f} dB of SQNR against the model on made-up inputs, "
        f"little for float32, where {LEAST_SQNR_DB:g} dB are asked. On other inputs it may be much less: compare both "
        "on yours."
    )
    if own is None or own.weakest_db >= NARROW_DB:
        return said
    return (
        f"{said} The model amplifies rounding: its own answers in float32 and in float64 agree to "
        f"{own.weakest_db:.1f} dB. Load trained weights where these are random, which amplify most."
    )
