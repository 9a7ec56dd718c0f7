"""QuantizeLinear and DequantizeLinear nodes: how each rounds, and whether it rounds a weight or an activation."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ...profiles.device.grid import Grid
from ..graphs.values import constant, number

if TYPE_CHECKING:
    import onnx_ir as ir

QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
# The types of an output_dtype attribute, and of a zero point that is not given (ONNX, QuantizeLinear).
_DEFAULT = "uint8"
# Below it a float32 loses digits.
_LEAST = np.finfo(np.float32).tiny


@dataclass(frozen=True, slots=True, kw_only=True)
class Qdq:
    """One of them.

    Attributes:
        stored: what is rounded is a constant: a weight or a bias.
        dtype: of the integers, as ONNX calls it in lower case; empty where the file does not say.
        scale, zero: None where they are computed; a zero point that is left out is 0.
        zeros_given: the node has a zero point.
        axis: along which several scales lie; None for one scale.
        blocked: scales by blocks of an axis.
    """

    node: ir.Node
    stored: bool
    dtype: str
    scale: npt.NDArray[Any] | None
    zero: npt.NDArray[Any] | None
    zeros_given: bool
    axis: int | None
    blocked: bool

    @property
    def symmetric(self) -> bool:
        """All zero points are 0, or are not known to be anything else."""
        return self.zero is None or not np.any(self.zero)

    @property
    def first(self) -> bool:
        """It is the first node of a pair: what holds of a QuantizeLinear holds of its DequantizeLinear as well."""
        data = self.node.inputs[0]
        producer = None if data is None else data.producer()
        return producer is None or producer.op_type != QUANTIZE

    @property
    def unusable(self) -> float | None:
        """The first scale that is no positive number, or so small that its reciprocal is none; None where none is.

        That of a bias is a product of two, and nothing is divided by it: of a channel without weights it may vanish.
        """
        if self.scale is None:
            return None
        least = 0.0 if self.dtype == "int32" else _LEAST
        wrong = self.scale[~(np.isfinite(self.scale) & (self.scale >= least))]
        return float(wrong.flat[0]) if wrong.size else None

    @property
    def own_scale(self) -> bool:
        """It is the second node of a pair, and does not read the scale of the first."""
        return self._reads_other(1)

    @property
    def own_zero(self) -> bool:
        """As `own_scale`, of the zero point."""
        return self._reads_other(2)

    def _reads_other(self, index: int) -> bool:
        first = quantizer_of(self.node)
        return first is not None and self.node.inputs[index : index + 1] != first.inputs[index : index + 1]

    @property
    def limits(self) -> tuple[int, int] | None:
        """The least and the largest integer of its type; None where that is none of whole numbers."""
        found = re.fullmatch(r"(u?)int(\d+)", self.dtype)
        if found is None:
            return None
        unsigned, bits = bool(found[1]), int(found[2])
        return (0, (1 << bits) - 1) if unsigned else (-(1 << (bits - 1)), (1 << (bits - 1)) - 1)

    def fits(self, grid: Grid) -> bool:
        """Whether its integers are ones of the grid."""
        return self.dtype == grid.dtype and (self.symmetric or not grid.symmetric)

    @property
    def said(self) -> str:
        """The integers in words."""
        return f"{self.dtype or 'integers of an unknown type'}{'' if self.symmetric else ' with a zero point'}"


def qdq_nodes(graph: ir.Graph) -> Iterator[Qdq]:
    """All of a graph and of the graphs inside it, in order."""
    for node in graph.all_nodes():
        if node.domain == "" and node.op_type in (QUANTIZE, DEQUANTIZE) and len(node.inputs) > 1:
            yield _read(node)


def dequantizer(value: ir.Value | None) -> ir.Node | None:
    """The DequantizeLinear that a value comes from; None for another value."""
    node = None if value is None else value.producer()
    return node if node is not None and node.domain == "" and node.op_type == DEQUANTIZE else None


def quantizer_of(node: ir.Node) -> ir.Node | None:
    """The QuantizeLinear whose integers a DequantizeLinear reads; None where it reads others, or is none."""
    data = node.inputs[0] if node.op_type == DEQUANTIZE else None
    producer = None if data is None else data.producer()
    return producer if producer is not None and producer.domain == "" and producer.op_type == QUANTIZE else None


def quantizers_of(value: ir.Value) -> list[ir.Node]:
    """The QuantizeLinear nodes that read a value."""
    readers = (use.node for use in value.uses() if use.idx == 0)
    return [node for node in readers if node.domain == "" and node.op_type == QUANTIZE]


def in_integers(node: ir.Node) -> bool:
    """Whether an operator's data and weight, its first two inputs, both come from DequantizeLinear nodes."""
    return len(node.inputs) > 1 and all(dequantizer(value) is not None for value in node.inputs[:2])


def stored_shape(node: ir.Node) -> tuple[int, ...] | None:
    """The shape of the constant behind the Q/DQ nodes of a weight, an operator's second input; None without one."""
    dequantized = dequantizer(node.inputs[1]) if len(node.inputs) > 1 else None
    root = None if dequantized is None else _root(dequantized)
    if root is None or not _is_stored(root) or root.const_value is None:
        return None
    return tuple(int(size) for size in root.const_value.shape.numpy())


def follows_inputs(value: ir.Value | None) -> bool:
    """Whether a value depends on what is fed; a constant that is computed from constants is one."""
    seen: set[ir.Value] = set()
    asked = [value]
    while asked:
        one = asked.pop()
        if one is None or one in seen or one.const_value is not None:
            continue
        seen.add(one)
        if (node := one.producer()) is None:
            return True
        asked += node.inputs
    return False


def _read(node: ir.Node) -> Qdq:
    scale = constant(node.inputs[1])
    given = node.inputs[2] if len(node.inputs) > 2 else None
    zero = np.zeros(1, np.int8) if given is None else constant(given)
    several = scale is not None and scale.size > 1
    return Qdq(
        node=node,
        stored=_is_stored(_root(node)),
        dtype=_dtype(node, given),
        scale=scale,
        zero=zero,
        zeros_given=given is not None,
        axis=int(number(node, "axis", 1)) if several else None,
        blocked=bool(number(node, "block_size", 0)),
    )


def _is_stored(value: ir.Value | None) -> bool:
    """Whether a value is a constant, whose data are not read to tell."""
    return value is not None and value.const_value is not None and not value.is_graph_input()


def _root(node: ir.Node) -> ir.Value | None:
    """What the first node of a pair reads."""
    data = node.inputs[0]
    producer = None if data is None else data.producer()
    return producer.inputs[0] if producer is not None and producer.op_type == QUANTIZE else data


def _dtype(node: ir.Node, zero: ir.Value | None) -> str:
    if zero is not None and zero.dtype is not None:
        return zero.dtype.name.lower()
    data = node.inputs[0]
    if node.op_type == DEQUANTIZE:
        producer = None if data is None else data.producer()
        if producer is not None and producer.op_type == QUANTIZE and producer is not node:
            return _dtype(producer, producer.inputs[2] if len(producer.inputs) > 2 else None)
        return "" if data is None or data.dtype is None else data.dtype.name.lower()
    import onnx_ir as ir

    asked = int(number(node, "output_dtype", 0))
    return ir.DataType(asked).name.lower() if asked else _DEFAULT
