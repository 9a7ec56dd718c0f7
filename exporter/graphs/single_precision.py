"""Files that compute in half or in double precision, as the float32 graphs that every precision is made of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from .names import free_name, value_names

if TYPE_CHECKING:
    import onnx_ir as ir

# What decides in which precision a file computes.
PRODUCTS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul", "LSTM", "GRU", "RNN"})
_TYPE_ATTRIBUTES = ("to", "dtype", "output_dtype")


def in_single_precision(model: ir.Model) -> bool:
    """Let a model compute in float32 that computes in half or double precision; says whether it was changed.

    Inputs and outputs keep their types, with a Cast behind and before them. Double precision that a float32 model has
    at one place is meant, and stays.

    Args:
        model: changed in place.
    """
    types, graph = _others(model.graph), model.graph
    given = {value: value.dtype for value in (*_fed(graph), *graph.outputs) if value.dtype in types}
    _convert(model, types)
    names = value_names(graph)
    for value, dtype in given.items():
        if value.is_graph_input():
            _cast_input(graph, value, dtype, names)
        else:
            _cast_output(graph, value, dtype, names)
    return bool(types)


def _fed(graph: ir.Graph) -> list[ir.Value]:
    """Its inputs without the weights that are listed as inputs too, as every one is up to IR version 3."""
    return [value for value in graph.inputs if not value.is_initializer()]


def _cast_input(graph: ir.Graph, value: ir.Value, dtype: ir.DataType, names: set[str]) -> None:
    """Read an input of another type in single precision."""
    import onnx_ir as ir

    uses = list(value.uses())
    cast = _cast(value, ir.DataType.FLOAT, f"{value.name}_single", names)
    graph.insert_before(graph[0], cast)
    value.type = ir.TensorType(dtype)
    for use in uses:
        use.node.replace_input_with(use.idx, cast.outputs[0])


def _cast_output(graph: ir.Graph, value: ir.Value, dtype: ir.DataType, names: set[str]) -> None:
    """Give an output of another type under the name that its users know."""
    name, index = value.name, next(i for i, output in enumerate(graph.outputs) if output is value)
    value.name = free_name(f"{name}_single", names)
    names.add(value.name)
    cast = _cast(value, dtype, f"{name}_cast", names)
    graph.append(cast)
    cast.outputs[0].name = name
    graph.outputs[index] = cast.outputs[0]


def _cast(value: ir.Value, to: ir.DataType, name: str, names: set[str]) -> ir.Node:
    """A Cast that is in no graph yet."""
    import onnx_ir as ir

    node = ir.node("Cast", [value], {"to": int(to)})
    result = node.outputs[0]
    result.name, result.shape, result.type = free_name(name, names), value.shape, ir.TensorType(to)
    names.add(result.name)
    return node


def _others(graph: ir.Graph) -> frozenset[ir.DataType]:
    """The types to be widened, or narrowed."""
    import onnx_ir as ir

    weights = {weight.dtype for node in graph.all_nodes() if node.op_type in PRODUCTS for weight in _weights(node)}
    inputs = {value.dtype for value in _fed(graph)}
    halves = {ir.DataType.FLOAT16, ir.DataType.BFLOAT16}
    found = halves if halves & (weights | inputs) else set[ir.DataType]()
    if ir.DataType.DOUBLE in weights | inputs and ir.DataType.FLOAT not in weights:
        found = found | {ir.DataType.DOUBLE}
    return frozenset(found)


def _weights(node: ir.Node) -> Iterator[ir.TensorProtocol]:
    for value in node.inputs:
        if value is not None and value.const_value is not None:
            yield value.const_value


def _convert(model: ir.Model, types: frozenset[ir.DataType]) -> None:
    """Every constant, attribute and value inside."""
    for graph in model.graphs():
        for value in graph.initializers.values():
            if value.const_value is not None and value.const_value.dtype in types:
                value.const_value = _single(value.const_value)
        for value in (*graph.initializers.values(), *graph.inputs, *(v for node in graph for v in node.outputs)):
            _retype(value, types)
        for node in graph:
            _convert_attributes(node, types)
    for function in model.functions.values():
        for node in function:
            _convert_attributes(node, types)


def _single(tensor: ir.TensorProtocol) -> ir.Tensor[Any]:
    import onnx_ir as ir

    return ir.Tensor(tensor.numpy().astype(np.float32), name=tensor.name)


def _retype(value: ir.Value, types: frozenset[ir.DataType]) -> None:
    import onnx_ir as ir

    if value.type is not None and value.dtype in types and isinstance(value.type, ir.TensorType):
        value.type = ir.TensorType(ir.DataType.FLOAT)


def _convert_attributes(node: ir.Node, types: frozenset[ir.DataType]) -> None:
    import onnx_ir as ir

    for name, attribute in list(node.attributes.items()):
        if attribute.type == ir.AttributeType.TENSOR and attribute.value.dtype in types:
            node.attributes[name] = ir.AttrTensor(name, _single(attribute.value))
        elif name in _TYPE_ATTRIBUTES and attribute.value in types:
            node.attributes[name] = ir.AttrInt64(name, int(ir.DataType.FLOAT))
