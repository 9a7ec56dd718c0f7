"""A float16 graph for a processor without float16 arithmetic: computed in float32, every result rounded to float16.

onnxruntime 1.31.1 has no float16 kernels for x86. It computes such a graph in float32 and takes out the casts between
its operators, so that nothing is rounded but what the file casts: a sum that float16 leaves 2 dB of had 68.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ....backends.base import Graph
from ....backends.places import Place
from ....profiles.device.precision import PrecisionName, load_precision
from ....profiles.device.target import Target
from ...graphs.files import BESIDE, read_graph, read_whole, write_model
from ...graphs.inferred import infer_shapes
from ...graphs.names import free_name, value_names

if TYPE_CHECKING:
    import onnx_ir as ir

# They give what they read, or the larger of two such: it is rounded already.
_MOVING = frozenset(
    {
        *("Abs", "Concat", "DepthToSpace", "Expand", "Flatten", "Gather", "Identity", "Max", "MaxPool", "Min", "Neg"),
        *("Relu", "Reshape", "Slice", "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze", "Where"),
    }
)
# Attributes that hold a type of elements.
_TYPES = ("dtype", "output_dtype", "stash_type")


def is_widened(precision: PrecisionName, place: Place, target: Target) -> bool:
    """Whether a place that runs the engine computes its float16 wider: it is no processor of the device's kind."""
    return load_precision(precision).storage == "float16" and target.arch not in ("any", place.machine.arch)


def rounded_float16(graph: Graph, path: Path) -> Graph:
    """Write to `path` what computes as float16 arithmetic does, result by result; sums inside an operator are float32.

    The names of values are kept; a rounded one is read under another. Inputs and outputs keep their types.
    """
    model = read_whole(graph.path)
    infer_shapes(model, strict=False)
    taken = value_names(model.graph)
    for inner in model.graphs():
        for node in list(inner):
            _round(inner, node, taken, whole=inner is model.graph)
    kept = _cast_inputs(model.graph, taken)
    for inner in model.graphs():
        _widen(inner, kept)
    write_model(model, path, BESIDE)
    return read_graph(path, graph.axes)


def _round(graph: ir.Graph, node: ir.Node, taken: set[str], *, whole: bool) -> None:
    """What is read of a node's results in float16 is rounded to it, and in float32.

    Args:
        whole: it is no body, whose results its node gives: outputs in float16 stay so.
    """
    import onnx_ir as ir

    for value in [value for value in node.outputs if _is_half(value)]:
        uses, leaves = list(value.uses()), value.is_graph_output()
        if node.op_type in _MOVING and node.domain == "" and not (whole and leaves):
            continue
        casts = list(_casts(node, value, taken))
        for use in uses:
            use.node.replace_input_with(use.idx, casts[-1].outputs[0])
        graph.insert_after(node, casts)
        casts[-1].outputs[0].type = ir.TensorType(ir.DataType.FLOAT)
        if leaves:
            _leave(graph, value, casts, whole=whole)


def _leave(graph: ir.Graph, value: ir.Value, casts: Sequence[ir.Node], *, whole: bool) -> None:
    """Let what is rounded be the output in the value's place; in float16 under the name that users know."""
    new = casts[-1].outputs[0] if not whole else casts[0].outputs[0] if len(casts) > 1 else value
    graph.outputs[list(graph.outputs).index(value)] = new
    if whole and new is not value:
        new.type, new.shape = value.type, value.shape
        value.name, new.name = new.name, value.name


def _cast_inputs(graph: ir.Graph, taken: set[str]) -> list[ir.Value]:
    """Read inputs in float16, which they stay, in float32; returns them."""
    import onnx_ir as ir

    halves = [value for value in graph.inputs if _is_half(value)]
    for value in halves:
        uses = list(value.uses())
        cast = ir.node("Cast", [value], {"to": ir.DataType.FLOAT.value})
        name = free_name(f"{value.name}_read", taken)
        taken.add(name)
        cast.name, cast.outputs[0].name, cast.outputs[0].type = name, name, ir.TensorType(ir.DataType.FLOAT)
        for use in uses:
            use.node.replace_input_with(use.idx, cast.outputs[0])
        graph.insert_before(graph[0], cast)
    return halves


def _casts(node: ir.Node, value: ir.Value, taken: set[str]) -> Iterator[ir.Node]:
    """To float16, where the node is no such cast itself, and back."""
    import onnx_ir as ir

    for kind in (ir.DataType.FLOAT16, ir.DataType.FLOAT)[node.op_type == "Cast" :]:
        cast = ir.node("Cast", [value], {"to": kind.value})
        name = free_name(f"{value.name}_rounded", taken)
        taken.add(name)
        cast.name, cast.outputs[0].name = name, name
        yield cast
        value = cast.outputs[0]


def _widen(graph: ir.Graph, kept: Sequence[ir.Value]) -> None:
    """Constants and results are float32, but what was just cast to float16, and what is kept."""
    import onnx_ir as ir

    for value in (*graph.initializers.values(), *graph.inputs):
        if _is_half(value) and value not in kept:
            value.type = ir.TensorType(ir.DataType.FLOAT)
            if value.const_value is not None:
                value.const_value = ir.Tensor(value.const_value.numpy().astype(np.float32), name=value.name)
    for node in graph:
        if node.op_type == "Cast" and node.domain == "":
            continue
        _widen_attributes(node)
        for value in node.outputs:
            if _is_half(value):
                value.type = ir.TensorType(ir.DataType.FLOAT)


def _widen_attributes(node: ir.Node) -> None:
    import onnx_ir as ir

    for name, attribute in list(node.attributes.items()):
        if attribute.type == ir.AttributeType.TENSOR and attribute.as_tensor().dtype == ir.DataType.FLOAT16:
            wide = ir.Tensor(attribute.as_tensor().numpy().astype(np.float32))
            node.attributes.add(ir.AttrTensor(name, wide))
        elif name in _TYPES and attribute.type == ir.AttributeType.INT and attribute.as_int() == ir.DataType.FLOAT16:
            node.attributes.add(ir.AttrInt64(name, ir.DataType.FLOAT.value))


def _is_half(value: ir.Value) -> bool:
    import onnx_ir as ir

    return value.dtype == ir.DataType.FLOAT16
