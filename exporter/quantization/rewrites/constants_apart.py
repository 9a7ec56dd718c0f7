"""Keep constants a channel apart from the quantization behind them, where OpenVINO folds them in wrongly.

OpenVINO 2026.4.1 takes a scale or a shift a channel into the kernel that quantizes its result, and uses the first
channel's for all of them, wherever its earlier passes left them (docs/decisions/0043-constants-a-channel.md). With
one more axis before the channels they are none of a kernel's channels, and stay what they are.

A bias is left there where another node reads the convolution's result before it is added. The frontend for ONNX makes
one: to bring the bias into form it asks for the rank of that result, by a ShapeOf, from which a later pass then takes
other sizes of the graph. A bias that is an Add with a constant of the right form has none.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

import numpy as np

from ...graphs.values import add_constant, constant, drop_unused, integers, single_consumer, take_over

if TYPE_CHECKING:
    import onnx_ir as ir

# What may stand between a constant and the quantization that it is folded into: moves, means, and limits.
_BETWEEN = frozenset(
    {
        *("Mul", "Div", "Clip", "Relu", "Neg", "AveragePool", "Resize"),
        *("Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Gather", "Pad"),
    }
)
_ROWS = 2


def constants_apart(graph: ir.Graph, operators: Collection[str]) -> int:
    """Rewrite in place; returns how many constants are apart.

    Args:
        graph: with Q/DQ inserted.
        operators: of `Mul` and `Div`, those by constants of which some are not positive, or behind which something
            turns their sign, their axes or their limits; `Conv`: the biases of all, in a graph that asks for the size
            of anything.
    """
    found = [node for node in graph if node.domain == "" and node.op_type in operators]
    scaled = [node for node in found if node.op_type in ("Mul", "Div") and _quantized(node) and _signed(node)]
    sized = any(node.op_type == "Shape" for node in graph)
    biased = [node for node in found if node.op_type == "Conv" and sized and _has_bias(node)]
    for node in scaled:
        _add_axis(graph, node)
    for node in biased:
        _bias_apart(graph, node)
    return len(scaled) + len(biased)


def _quantized(node: ir.Node) -> bool:
    """Whether a QuantizeLinear follows, with nothing between that keeps it from being folded."""
    *_, last = _readers(node)
    return last is not None and last.op_type == "QuantizeLinear"


def _readers(node: ir.Node) -> Iterator[ir.Node | None]:
    """What is between, and the first that is something else, where each is the only reader."""
    reader = single_consumer(node.outputs[0])
    while reader is not None and reader.op_type in _BETWEEN:
        yield reader
        reader = single_consumer(reader.outputs[0])
    yield reader


def _turns(node: ir.Node | None) -> bool:
    """Whether what is positive and a channel's before it may not be so behind it."""
    if node is None or node.op_type != "Transpose":
        return node is not None and node.op_type in ("Clip", "Neg")
    order = integers(node, "perm", ())
    return len(order) < _ROWS or order[1] != 1


def _signed(node: ir.Node) -> bool:
    """Whether it multiplies by constants a channel that early passes do not fold, and no convolution takes it in."""
    if any(_taken_in(value, node) for value in node.inputs):
        return False
    factors = node.inputs[1:] if node.op_type == "Div" else node.inputs
    array = next((a for a in map(constant, factors) if a is not None), None)
    if array is None or node.outputs[0].shape is None or (rank := node.outputs[0].shape.rank()) < 2:
        return False
    sizes = (1,) * (rank - array.ndim) + array.shape
    kept = bool((array > 0).all()) and not any(map(_turns, _readers(node)))
    return _computed_rank(node) == rank and sizes[0] == 1 and sizes[1] > 1 and not kept


def _computed_rank(node: ir.Node) -> int | None:
    """Rank of what is no constant."""
    value = next((v for v in node.inputs if constant(v) is None), None)
    return None if value is None or value.shape is None else value.shape.rank()


def _taken_in(value: ir.Value | None, node: ir.Node) -> bool:
    maker = None if value is None else value.producer()
    return maker is not None and maker.op_type == "Conv" and single_consumer(maker.outputs[0]) is node


def _has_bias(conv: ir.Node) -> bool:
    return len(conv.inputs) > 2 and constant(conv.inputs[2]) is not None and conv.outputs[0].shape is not None


def _bias_apart(graph: ir.Graph, conv: ir.Node) -> None:
    """Let an Add do what the bias of the convolution did: the convolution takes it in again, without a ShapeOf."""
    import onnx_ir as ir

    result, bias = conv.outputs[0], conv.inputs[2]
    array = constant(bias)
    assert array is not None and bias is not None and result.shape is not None
    shift = add_constant(graph, f"{bias.name}_apart", array.reshape(-1, *[1] * (result.shape.rank() - 2)))
    add = ir.node("Add", [result, shift], name=f"{conv.name}/Add")
    take_over(graph, result, f"{result.name}_unbiased", conv, [add])
    conv.resize_inputs(2)
    drop_unused(graph, bias)


def _add_axis(graph: ir.Graph, node: ir.Node) -> None:
    """Compute over one more axis, before the channels."""
    import onnx_ir as ir

    result, axis = node.outputs[0], add_constant(graph, f"{node.outputs[0].name}_axis", np.array([1], np.int64))
    index = next(i for i, value in enumerate(node.inputs) if constant(value) is None)
    wide = ir.node("Unsqueeze", [node.inputs[index], axis], name=f"{node.name}/Unsqueeze")
    value = node.inputs[index]
    assert value is not None
    wide.outputs[0].name, wide.outputs[0].type = f"{result.name}_widened", value.type
    node.replace_input_with(index, wide.outputs[0])
    graph.insert_before(node, wide)
    narrow = ir.node("Squeeze", [result, axis], name=f"{node.name}/Squeeze")
    take_over(graph, result, f"{result.name}_wide", node, [narrow])
