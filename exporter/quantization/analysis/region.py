"""Convolutional regions: where feature maps, not tokens, go from operator to operator."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ....profiles.device.target import Scheme
from .weight_site import CONVOLUTIONS

if TYPE_CHECKING:
    import onnx_ir as ir

# Spatial operators through which a convolutional region goes on; a reshape or a transpose ends it.
SPATIAL = frozenset({"Add", "Concat", "MaxPool", "AveragePool", "Mul", "BatchNormalization", "Split", "Resize"})


def in_region(value: ir.Value | None, scheme: Scheme) -> bool:
    """Whether a value belongs to a convolutional region: a convolution reaches it through spatial operators only."""
    stack, seen = [value], set()
    while stack:
        node = v.producer() if (v := stack.pop()) is not None else None
        if node is None or node in seen or node.domain != "":
            continue
        seen.add(node)
        if node.op_type in CONVOLUTIONS:
            return True
        if node.op_type in SPATIAL or node.op_type in scheme.fused or node.op_type in scheme.around:
            stack.extend(node.inputs)
    return False


def nodes_in_region(graph: ir.Graph, operators: Sequence[str], scheme: Scheme) -> Iterator[ir.Node]:
    """The nodes of these types that read a value of a convolutional region first."""
    for node in graph:
        if node.domain == "" and node.op_type in operators and in_region(node.inputs[0], scheme):
            yield node
