"""Which part of a value's range those who read it tell apart: a HardSwish gives 0 for all that is below -3."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...graphs.values import constant, number

if TYPE_CHECKING:
    import onnx_ir as ir

Range = tuple[float, float]
EVERYTHING: Range = (-math.inf, math.inf)


def told_apart(values: Sequence[ir.Value]) -> Range:
    """The least range outside which every reader of all these values gives what it gives at the nearer end."""
    ranges = [_of(value) for value in values]
    return min(low for low, _ in ranges), max(high for _, high in ranges)


def _of(value: ir.Value) -> Range:
    readers = [use.node for use in value.uses()]
    if not readers or value.is_graph_output() or constant(value) is not None:
        return EVERYTHING
    ranges = [_of_reader(node, value) for node in readers]
    return min(low for low, _ in ranges), max(high for _, high in ranges)


def _of_reader(node: ir.Node, value: ir.Value) -> Range:
    if node.domain != "" or list(node.inputs).count(value) != 1 or node.inputs[0] is not value:
        return EVERYTHING
    if node.op_type == "HardSwish":
        return -3.0, math.inf
    if node.op_type == "HardSigmoid" and (slope := number(node, "alpha", 0.2)) > 0:
        middle = number(node, "beta", 0.5)
        return -middle / slope, (1 - middle) / slope
    return EVERYTHING
