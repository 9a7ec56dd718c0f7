"""Parity layer by layer: every place that int8 rounds switched on at once, against none of them."""

from __future__ import annotations

from pathlib import Path

from ...backends.base import Feed, Graph
from ...calibration.portions import HELD, bytes_of, grouped
from ...calibration.statistics import Statistics
from ...profiles.findings.sensitivity import LayerParity, ParityByLayer
from .noise import FEWEST_SAMPLES, Board, decibel, fewer, noise_ratio
from .quantizer import Quantizer


def layer_parity(
    quantizer: Quantizer, graph: Graph, statistics: Statistics, feed: Feed, scratch: Path
) -> ParityByLayer:
    """What has become of each layer's output, with everything before it rounded as well.

    Args:
        quantizer: of the float graph, fresh, with the lifts and the layers in float that are shipped.
        feed: a batch, of which a few samples are run.
    """
    feed, found = fewer(feed, graph, FEWEST_SAMPLES), []
    with Board(quantizer, graph, statistics, scratch) as board:
        sizes = bytes_of(graph.inputs, list(board.shapes.values()), feed)
        for together in grouped(dict(zip(board.shapes, sizes, strict=True)), HELD):
            fetch = [board.results[name] for name in together]
            exact, rounded = board.run((), feed, fetch), board.run(board.switches, feed, fetch)
            for name, result in zip(together, fetch, strict=True):
                sqnr_db = decibel(noise_ratio(exact[result], rounded[result]))
                found.append(LayerParity(layer=name, operator=board.layers[name], sqnr_db=sqnr_db))
    return ParityByLayer(layers=tuple(found), samples=graph.samples.count(feed))
