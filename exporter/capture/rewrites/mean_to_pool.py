"""Turn the mean over all spatial axes into GlobalAveragePool.

The dynamo exporter writes adaptive average pooling as ReduceMean, for which onnxruntime has no integer kernel; it has
one for GlobalAveragePool (measured with onnxruntime 1.31.1). A mean that a norm is made of stays as it is: over tokens
of rank 3 it looks the same, and onnxruntime makes one LayerNormalization of such a norm only where it finds ReduceMean.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...graphs.values import constant, replace

if TYPE_CHECKING:
    import onnx_ir as ir


def mean_to_pool(model: ir.Model) -> int:
    """Rewrite in place every ReduceMean of a known rank >= 3 over exactly its axes 2..; returns how many there were."""
    means = [node for node in model.graph if node.domain == "" and node.op_type == "ReduceMean" and _spatial(node)]
    found = [node for node in means if not _of_norm(node)]
    for node in found:
        _rewrite(model.graph, node)
    return len(found)


def _axes(node: ir.Node) -> list[int] | None:
    """The reduced axes: an input from opset 18 on, an attribute before."""
    if len(node.inputs) > 1:
        array = constant(node.inputs[1])
        return None if array is None else [int(a) for a in np.atleast_1d(array)]
    attribute = node.attributes.get("axes")
    return None if attribute is None else [int(a) for a in attribute.value]


def _spatial(node: ir.Node) -> bool:
    value, axes = node.inputs[0], _axes(node)
    if value is None or value.shape is None or axes is None or value.shape.rank() < 3:
        return False
    rank = value.shape.rank()
    return sorted(a % rank for a in axes) == list(range(2, rank))


def _of_norm(node: ir.Node) -> bool:
    """Whether the mean is subtracted from what it is the mean of, or is one of squares."""
    value = node.inputs[0]
    assert value is not None
    maker = value.producer()
    squares = maker is not None and (
        (maker.op_type == "Pow" and (power := constant(maker.inputs[1])) is not None and bool((power == 2).all()))
        or (maker.op_type == "Mul" and maker.inputs[0] is maker.inputs[1])
    )
    subtracted = any(use.node.op_type == "Sub" and use.node.inputs[0] is value for use in node.outputs[0].uses())
    return squares or subtracted


def _rewrite(graph: ir.Graph, node: ir.Node) -> None:
    import onnx_ir as ir

    value, result = node.inputs[0], node.outputs[0]
    assert value is not None and value.shape is not None
    pool = ir.node("GlobalAveragePool", [value], name=node.name)
    keep = node.attributes.get("keepdims")
    new = [pool]
    if keep is not None and not keep.value:
        axes = ir.Value(
            name=f"{result.name}_axes",
            const_value=ir.tensor(np.arange(2, value.shape.rank()), name=f"{result.name}_axes"),
        )
        graph.register_initializer(axes)
        pool.outputs[0].name = f"{result.name}_pooled"
        pool.outputs[0].type = result.type
        new.append(ir.node("Squeeze", [pool.outputs[0], axes], name=f"{node.name}/Squeeze"))
    replace(graph, node, new)
