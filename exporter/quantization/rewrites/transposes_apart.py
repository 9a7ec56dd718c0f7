"""Keep a Transpose apart from the product behind it, where onnxruntime would end the process that opens the file.

Onnxruntime 1.31.1 on x86, with all optimizations, as it is opened by default, ends with a signal at a float16 product
of constants of two axes and what a Transpose that moves the first axis gives (docs/decisions/0104). An axis of one that
is added and taken out again keeps it from taking both as one, and computes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...graphs.names import free_name, value_names
from ...graphs.values import add_constant, constant, integers

if TYPE_CHECKING:
    import onnx_ir as ir

_OF_ROWS = 2


def transposes_apart(graph: ir.Graph) -> None:
    """Rewrite in place a graph in float16."""
    apart: dict[ir.Value, ir.Value] = {}
    for node in list(graph):
        for index, value in enumerate(node.inputs):
            if value is not None and _is_taken_as_one(node, index):
                if value not in apart:
                    apart[value] = _apart(graph, node, value)
                node.replace_input_with(index, apart[value])


def _is_taken_as_one(node: ir.Node, index: int) -> bool:
    """Whether it is a product of float16 constants and what such a Transpose gives as this operand."""
    value = node.inputs[index]
    if node.domain != "" or node.op_type != "MatMul" or value is None or (maker := value.producer()) is None:
        return False
    held = constant(node.inputs[1 - index])
    return (
        held is not None
        and held.ndim == _OF_ROWS
        and held.dtype == np.float16
        and maker.op_type == "Transpose"
        and integers(maker, "perm", (1,))[0] != 0
    )


def _apart(graph: ir.Graph, before: ir.Node, value: ir.Value) -> ir.Value:
    """The value with an axis that came and went, made in front of its first reader of this kind."""
    import onnx_ir as ir

    taken = value_names(graph)
    axis = add_constant(graph, f"{value.name}_axis", np.array([0], np.int64), taken)
    wide = ir.node("Unsqueeze", [value, axis], name=f"{before.name}/Unsqueeze")
    back = ir.node("Squeeze", [wide.outputs[0], axis], name=f"{before.name}/Squeeze")
    for node, kind in ((wide, "wide"), (back, "apart")):
        node.outputs[0].name = free_name(f"{value.name}_{kind}", taken)
        taken.add(str(node.outputs[0].name))
    back.outputs[0].type, back.outputs[0].shape = value.type, value.shape
    graph.insert_before(before, [wide, back])
    return back.outputs[0]
