"""Sums, products and pools that no layer of integers feeds: in integers they would lose accuracy for nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ....profiles.device.target import Scheme
from ..moving import moves
from .placed import Placement
from .region import SPATIAL

if TYPE_CHECKING:
    import onnx_ir as ir


def release_alone(graph: ir.Graph, scheme: Scheme, placement: Placement) -> None:
    """Leave float what only layers in float feed, through what belongs to a region of feature maps.

    A layer of integers behind rounds what it reads itself.
    """
    layers = {site.node for site in placement.weights}
    carried = _carried(graph, scheme, layers)
    for value, readers in list(placement.edges.items()):
        readers[:] = [one for one in readers if one[0] in layers or carried.intersection(one[0].inputs)]
        if value not in carried:
            placement.gates.discard(value)
            placement.release(value)


def _carried(graph: ir.Graph, scheme: Scheme, layers: set[ir.Node]) -> set[ir.Value | None]:
    """The values in which something is left of the integers of a layer."""
    kinds = {*SPATIAL, *scheme.fused, *scheme.around, *scheme.shared, *scheme.gated}
    carried: set[ir.Value | None] = set()
    for node in graph:
        through = node.op_type in kinds or moves(node, scheme)
        if node in layers or (through and carried.intersection(node.inputs)):
            carried.update(node.outputs)
    return carried
