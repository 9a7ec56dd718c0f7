"""Values of a graph that can be seen not to be negative, as scores are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .values import constant

if TYPE_CHECKING:
    import onnx_ir as ir

# What no input makes negative.
_NEVER = frozenset({"Sigmoid", "HardSigmoid", "Softmax", "Softplus", "Relu", "Exp", "Abs", "Sqrt"})
# Which inputs say that the first output is not negative, where none of them is; without an end, all from there on.
_AS_INPUTS = {
    **dict.fromkeys(
        ("Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Slice", "Expand"), slice(1)
    ),
    **dict.fromkeys(("Gather", "GatherND", "GatherElements", "TopK", "Cast", "Split"), slice(1)),
    **dict.fromkeys(("ReduceMax", "ReduceMean", "ReduceSum", "MaxPool", "AveragePool", "GlobalMaxPool"), slice(1)),
    **dict.fromkeys(("Add", "Mul", "Div", "Max", "Min", "Sum", "Concat"), slice(0, None)),
    "Where": slice(1, None),
}


def is_not_negative(value: ir.Value | None) -> bool:
    """Whether a value has no element below 0, but those that a Where fills in by a constant."""
    todo, seen = [value], set[object]()
    while todo:
        one = todo.pop()
        if one in seen:
            continue
        seen.add(one)
        array, node = constant(one), one.producer() if one is not None else None
        if array is not None:
            if (array < 0).any():
                return False
        elif one is None or not (_is_boolean(one) or (node is not None and node.op_type in _NEVER)):
            if node is None or node.domain or node.op_type not in _AS_INPUTS:
                return False
            todo.extend(_that_count(node))
    return True


def _that_count(node: ir.Node) -> list[ir.Value | None]:
    inputs = list(node.inputs[_AS_INPUTS[node.op_type]])
    if node.op_type == "Where":
        return [value for value in inputs if constant(value) is None] or [None]
    return inputs


def _is_boolean(value: ir.Value) -> bool:
    return value.dtype is not None and value.dtype.numpy() == np.bool_
