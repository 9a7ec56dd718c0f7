"""Keep constants a channel apart from the quantization behind them, where OpenVINO folds them in wrongly.

OpenVINO 2026.4.1 takes a scale or a shift a channel into the kernel that quantizes its result, and uses the first
channel's for all of them, wherever its earlier passes left them (docs/decisions/0043-constants-a-channel.md). With
one more axis before the channels they are none of a kernel's channels, and stay what they are.
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
# Operators that take sizes which may be computed, and the first input that is one.
_SIZED = {"Expand": 1, "Tile": 1, "Slice": 1, "Pad": 1, "Range": 0, "ConstantOfShape": 0}
# What changes no channel's place between an input and the convolution that is first to read it.
_BEFORE = frozenset({"QuantizeLinear", "DequantizeLinear", "Add", "Sub", "Mul", "Div", "Clip", "Pad", "Cast", "Relu"})


def constants_apart(graph: ir.Graph, operators: Collection[str]) -> int:
    """Rewrite in place; returns how many constants are apart.

    Args:
        graph: with Q/DQ inserted.
        operators: of `Mul` and `Div`, those by constants of which some are not positive, or behind which something
            turns their sign, their axes or their limits; `Conv`: the bias of one that nothing but elementwise
            arithmetic on an input comes before, in a graph that makes something as large as the sizes of its inputs
            say.
    """
    found = [node for node in graph if node.domain == "" and node.op_type in operators and _quantized(node)]
    scaled = [node for node in found if node.op_type in ("Mul", "Div") and _signed(node)]
    sized = any(_sized(node) for node in graph)
    biased = [node for node in found if node.op_type == "Conv" and sized and _first(node)]
    for node in scaled:
        _add_axis(graph, node)
    for node in biased:
        _add_axis(graph, _bias_apart(graph, node))
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


def _sized(node: ir.Node) -> bool:
    """Whether it makes something of a computed size."""
    first = _SIZED.get(node.op_type)
    return first is not None and any(value is not None and constant(value) is None for value in node.inputs[first:])


def _first(node: ir.Node) -> bool:
    """Whether a convolution with a bias reads an input, through elementwise arithmetic only."""
    if len(node.inputs) < 3 or constant(node.inputs[2]) is None or node.outputs[0].shape is None:
        return False
    return any(value.is_graph_input() for value in _back(node.inputs[0]))


def _back(value: ir.Value | None) -> Iterator[ir.Value]:
    """The value, and those that it is computed from along first inputs."""
    while value is not None:
        yield value
        maker = value.producer()
        if maker is None or maker.op_type not in _BEFORE:
            return
        value = next((v for v in maker.inputs if constant(v) is None), None)


def _bias_apart(graph: ir.Graph, conv: ir.Node) -> ir.Node:
    """The Add that does what the bias of the convolution did."""
    import onnx_ir as ir

    result, bias = conv.outputs[0], conv.inputs[2]
    array = constant(bias)
    assert array is not None and bias is not None and result.shape is not None
    shift = add_constant(graph, f"{bias.name}_apart", array.reshape(-1, *[1] * (result.shape.rank() - 2)))
    add = ir.node("Add", [result, shift], name=f"{conv.name}/Add")
    take_over(graph, result, f"{result.name}_unbiased", conv, [add])
    conv.resize_inputs(2)
    drop_unused(graph, bias)
    return add


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
