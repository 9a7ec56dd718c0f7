"""What is decided by floats that no layer of integers has touched.

A runtime that computes in 8 bits of mantissa whatever is float beside integers, as OpenVINO does on a processor with
bf16, decides otherwise than FP32 where two values are within 0.4 % of each other: which of them is the largest, or
whether one is above a bound. Few samples show it, and what it changes is no rounding any more: 27 dB for 43, one row in
fifty wrong altogether. Behind a layer of integers the noise of these decides as much.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ...graphs.order import bodies
from ...graphs.single_precision import PRODUCTS

if TYPE_CHECKING:
    import onnx_ir as ir

_DECIDE = frozenset(
    {
        *("ArgMax", "ArgMin", "TopK", "Hardmax", "Sign", "Floor", "Ceil", "Round", "Mod", "NonZero"),
        *("Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal"),
    }
)
# They read how large a value is, and not what is in it.
_OF_SIZES = frozenset({"Shape", "Size"})


def decided_in_float(path: Path) -> tuple[str, ...]:
    """Names of the nodes that decide by what is computed of inputs in floats without a layer that may be integers.

    Bodies of If, Loop and Scan count as arithmetic: nothing is quantized in them.
    """
    import onnx_ir as ir

    return tuple(node.name or node.op_type for node, rounded in _deciding(ir.load(path).graph) if not rounded)


def decided_behind_layers(graph: ir.Graph, outputs: Collection[str]) -> list[ir.Node]:
    """The nodes that decide by floats behind a layer that may be integers, and that one of these outputs hangs on."""
    read = {value for value in graph.outputs if value.name in outputs}
    for node in reversed(graph):
        if not read.isdisjoint(node.outputs):
            read |= _read(node)
    return [node for node, rounded in _deciding(graph) if rounded and not read.isdisjoint(node.outputs)]


def _deciding(graph: ir.Graph) -> Iterator[tuple[ir.Node, bool]]:
    """The nodes that decide by floats, and whether a product went into those."""
    import onnx_ir as ir

    # What is computed of inputs alone, and what a product went into: whatever reads one such is rounded anyway.
    given, rounded = set(graph.inputs), set[ir.Value]()
    for node in graph:
        read = _read(node)
        by_layers = not rounded.isdisjoint(read)
        if node.op_type not in _OF_SIZES and (by_layers or not given.isdisjoint(read)):
            if _decides(node) and any(map(_is_float, (rounded if by_layers else given) & read)):
                yield node, by_layers
            (rounded if by_layers or node.op_type in PRODUCTS else given).update(node.outputs)


def _is_float(value: ir.Value) -> bool:
    return value.dtype is not None and value.dtype.is_floating_point()


def _decides(node: ir.Node) -> bool:
    import onnx_ir as ir

    if node.op_type == "Cast":
        return not ir.DataType(node.attributes["to"].as_int()).is_floating_point()
    return node.op_type in _DECIDE


def _read(node: ir.Node) -> set[ir.Value]:
    """What a node reads, its bodies included."""
    found = {value for value in node.inputs if value is not None}
    for body in bodies(node):
        for inner in body:
            found |= _read(inner)
    return found
