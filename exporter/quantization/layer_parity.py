"""Parity layer by layer: every place that int8 rounds switched on at once, against none of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from ...backends.base import Feed, Graph
from ...calibration.feeds import samples_in
from ...calibration.portions import bytes_of
from ...calibration.statistics import Statistics
from ...profiles.findings.sensitivity import LayerParity, ParityByLayer
from .noise import FEWEST_SAMPLES, Board, decibel, fewer, noise_ratio
from .quantizer import Quantizer

# Bytes of layers' outputs that are held at a time, so that memory does not grow with the model's depth.
HELD = 128 << 20


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
        for together in _together(dict(zip(board.shapes, sizes, strict=True))):
            fetch = [board.results[name] for name in together]
            exact, rounded = board.run((), feed, fetch), board.run(board.switches, feed, fetch)
            for name, result in zip(together, fetch, strict=True):
                sqnr_db = decibel(noise_ratio(exact[result], rounded[result]))
                found.append(LayerParity(layer=name, operator=board.layers[name], sqnr_db=sqnr_db))
    return ParityByLayer(layers=tuple(found), samples=samples_in(feed))


def _together(sizes: Mapping[str, int]) -> Iterator[list[str]]:
    """The names in groups whose sizes add up to no more than HELD, or of one."""
    together: list[str] = []
    held = 0
    for name, size in sizes.items():
        if together and held + size > HELD:
            yield together
            together, held = [], 0
        together.append(name)
        held += size
    if together:
        yield together
