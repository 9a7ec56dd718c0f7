"""Keep scales a channel where they are: before a Reshape that makes other samples of a free batch, before one place.

Where a file holds integers, OpenVINO 2026.4.1 moves a scale a channel through a Reshape as if axis 1 behind it were
made of axis 1 before it. Of (rows, n) to (batch, sequence, n) it is not: sequence has the scales of n then, or the file
does not open (docs/decisions/0087-scales-moved-by-a-reshape.md). Through a Gather that changes how many axes there are
it moves them as they are (0090 and 0107). A Clip to what float32 holds is no place to move one
through, and costs nothing: a layer takes it in.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from ...graphs.values import add_constant, constant

if TYPE_CHECKING:
    import onnx_ir as ir

# What is fused into the operator before it: arithmetic with a constant a channel, and functions of one tensor.
FUSED = frozenset(
    {
        *("Add", "Sub", "Mul", "Div", "Relu", "LeakyRelu", "PRelu", "Clip", "Sigmoid", "Tanh", "Elu", "Gelu", "Erf"),
        *("HardSwish", "HardSigmoid", "Mish", "Softplus", "Abs", "Neg", "Sqrt", "Exp", "Identity", "Pow"),
        "BatchNormalization",
    }
)
# Behind a convolution without a bias, a scale a channel is moved through these wrongly, or out of step with its shape.
_ASTRAY = frozenset(
    {
        *(
            "ArgMax",
            "ArgMin",
            "Einsum",
            "Expand",
            "Flatten",
            "Gather",
            "GatherND",
            "Reshape",
            "Slice",
            "Split",
            "Squeeze",
        ),
        *("Tile", "TopK", "Transpose", "Unsqueeze", "ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd"),
        *("ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSum", "ReduceLogSumExp"),
    }
)
# What changes a shape alone: several in a row are read as one.
_SHAPING = frozenset({"Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"})
# What a scale that arithmetic gives is moved through as well.
_ARITHMETIC = frozenset({"Add", "Div", "Mul", "Relu", "Sub"})
# What a layer's scales are moved through on their way to one place.
_CONSTANTS = frozenset({"Add", "Div", "Identity", "Mul", "Neg", "Sub"})
# What constants a channel are moved through on their way to a Gather by a number or by a matrix of places.
_MOVED = frozenset(
    {
        *(*_CONSTANTS, *_SHAPING, "AveragePool", "Expand", "Gather", "LeakyRelu", "MaxPool", "Pad", "PRelu", "Relu"),
        *("ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum", "Resize", "Transpose"),
    }
)
_LIMITS = np.finfo(np.float32)
_ROWS = 2


def scales_in_place(graph: ir.Graph) -> int:
    """Rewrite in place; returns how many nodes have a Clip before them.

    Args:
        graph: with Q/DQ inserted.
    """
    import onnx_ir as ir

    found = moved_scales(graph)
    limits = [add_constant(graph, name, np.array(limit)) for name, limit in _named_limits()] if found else []
    for node in found:
        value = node.inputs[0]
        assert value is not None
        clip = ir.node("Clip", [value, *limits], name=f"{node.name}/Clip")
        clip.outputs[0].name, clip.outputs[0].type = f"{node.outputs[0].name}_in_place", value.type
        clip.outputs[0].shape = value.shape
        node.replace_input_with(0, clip.outputs[0])
        graph.insert_before(node, clip)
    return len(found)


def moved_scales(graph: ir.Graph) -> list[ir.Node]:
    """The Reshapes, Gathers and others that a scale a channel would be moved through, to another axis."""
    if not any(node.op_type == "DequantizeLinear" for node in graph):
        return []
    nodes = [node for node in graph if node.domain == ""]
    reshapes = (node for node in nodes if node.op_type == "Reshape")
    strays = [node for node in reshapes if any(_strays(value, node.outputs[0]) for value in _shaped(node))]
    others = [node for node in nodes if node not in strays and node.inputs]
    return strays + [node for node in others if _misses_place(node) or _is_of_convolution(node)]


def _misses_place(node: ir.Node) -> bool:
    """A Gather of one place, or an Einsum, of what has the scales of a layer; or a Gather of what has constants."""
    place = node.inputs[1] if node.op_type == "Gather" else None
    rank = None if place is None or place.shape is None else place.shape.rank()
    if (rank == 0 or node.op_type == "Einsum") and is_of_layer(node.inputs[0]):
        return True
    # A list leaves as many axes as there were.
    return rank is not None and rank != 1 and _has_constants(node.inputs[0])


def _has_constants(value: ir.Value | None) -> bool:
    """Whether it was multiplied by constants that are not one for all, and what they are moved through."""
    maker = None if value is None else value.producer()
    if maker is None or maker.op_type not in _MOVED:
        return False
    arrays = [array for operand in maker.inputs if (array := constant(operand)) is not None]
    if maker.op_type in ("Mul", "Div") and any(array.size > 1 for array in arrays):
        return True
    return _has_constants(next((operand for operand in maker.inputs if constant(operand) is None), None))


def _is_of_convolution(node: ir.Node) -> bool:
    """Whether it reads a convolution without a bias, or what is fused behind one, in another shape."""
    value = node.inputs[0] if node.op_type in _ASTRAY else None
    while value is not None and (maker := value.producer()) is not None:
        if maker.op_type in ("Conv", "ConvTranspose"):
            return _is_layer(maker, _ROWS)
        computed = [operand for operand in maker.inputs if operand is not None and constant(operand) is None]
        value = computed[0] if maker.op_type in FUSED and len(computed) == 1 else None
    return False


def is_of_layer(value: ir.Value | None, *, through_bias: bool = False) -> bool:
    """Whether it is a layer's result, or arithmetic with constants behind one; a bias alone keeps scales in place."""
    maker = None if value is None else value.producer()
    if maker is None or _is_layer(maker, _ROWS):
        return maker is not None
    computed = [operand for operand in maker.inputs if operand is not None and constant(operand) is None]
    if maker.op_type not in _CONSTANTS or len(computed) != 1:
        return False
    first, bias = computed[0].producer(), maker.op_type in ("Add", "Sub")
    if bias and not through_bias and first is not None and _is_layer(first, _ROWS):
        return False
    return is_of_layer(computed[0], through_bias=True)


def _named_limits() -> tuple[tuple[str, np.float32], ...]:
    return ("float32_least", _LIMITS.min), ("float32_most", _LIMITS.max)


def _shaped(node: ir.Node) -> Iterator[ir.Value]:
    """What it reshapes, and what that was before others of the kind."""
    value = node.inputs[0]
    while value is not None:
        yield value
        maker = value.producer()
        value = maker.inputs[0] if maker is not None and maker.op_type in _SHAPING else None


def _strays(value: ir.Value, result: ir.Value) -> bool:
    """Whether axis 1 of the result is none of the value's, has room for its channels, and these have scales."""
    before, after = value.shape, result.shape
    if before is None or before.rank() < _ROWS or isinstance(before[0], int):
        return False
    channels = before[1]
    if not isinstance(channels, int) or channels == 1 or (after is not None and _within(before, after, channels)):
        return False
    return _scaled(value, channels)


def _within(before: ir.Shape, after: ir.Shape, channels: int) -> bool:
    """Whether samples stay what they are, or axis 1 has no room."""
    if after.rank() < _ROWS or (isinstance(after[1], int) and after[1] < channels):
        return True
    sizes, others = list(before)[1:], list(after)[1:]
    if all(isinstance(size, int) for size in (*sizes, *others)):
        return prod(sizes) == prod(others)
    return before.rank() > _ROWS and after[1] == channels


def _scaled(value: ir.Value | None, channels: int) -> bool:
    """Whether it is a layer's result that has a scale a channel, or one of arithmetic with a constant a channel."""
    maker = None if value is None else value.producer()
    if maker is None or value is None or value.shape is None:
        return False
    if _is_layer(maker, value.shape.rank()):
        return True
    if maker.op_type not in _ARITHMETIC:
        return False
    arrays = [array for operand in maker.inputs if (array := constant(operand)) is not None]
    if maker.op_type in ("Mul", "Div") and any(_along_axis_one(array.shape, value.shape.rank()) for array in arrays):
        return True
    computed = [operand for operand in maker.inputs if operand is not None and constant(operand) is None]
    return len(computed) == 1 and not _is_layer_of(computed[0]) and _scaled(computed[0], channels)


def _is_layer_of(value: ir.Value) -> bool:
    """A layer whose scales arithmetic comes behind: they are not moved."""
    maker = value.producer()
    return maker is not None and value.shape is not None and _is_layer(maker, value.shape.rank())


def _is_layer(node: ir.Node, rank: int) -> bool:
    """One of integers without a bias, whose channels are axis 1."""
    if node.op_type not in ("Conv", "ConvTranspose", "Gemm", "MatMul") or len(node.inputs) > 2:
        return False
    weight = node.inputs[1]
    maker = None if weight is None else weight.producer()
    rows = node.op_type in ("Gemm", "MatMul")
    return maker is not None and maker.op_type == "DequantizeLinear" and (not rows or rank == _ROWS)


def _along_axis_one(sizes: tuple[int, ...], rank: int) -> bool:
    whole = (1,) * (rank - len(sizes)) + sizes
    return len(whole) == rank and whole[1] > 1
