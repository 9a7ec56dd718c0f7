"""Which integer outputs are amounts: counts and rounded values, of which one more is nearly right.

All others are classes, places and masks, where one more is something else. They are told apart by what makes them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ...backends.base import Array
from ..graphs.inferred import infer_shapes
from .golden import AMOUNT

if TYPE_CHECKING:
    import onnx_ir as ir

# What takes values from one place to another, by its first input, or by those from one on.
MOVED = frozenset(
    {
        *("Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Slice", "Gather", "GatherND"),
        *("GatherElements", "Expand", "Tile", "Pad", "Split"),
    }
)
JOINED = {"Concat": 0, "Where": 1}
# What makes an amount of amounts, and of classes and masks none.
ARITHMETIC = frozenset(
    {"Add", "Sub", "Mul", "Div", "Neg", "Abs", "Clip", "Min", "Max", "Round", "Floor", "Ceil", "ReduceMax", "ReduceMin"}
)
COUNTED = frozenset({"ReduceSum", "CumSum", "Sum"})


def amounts(path: Path) -> frozenset[str]:
    """Names of a graph's integer outputs that are amounts."""
    import onnx_ir as ir

    model = ir.load(path)
    if all(value.dtype is None or not value.dtype.is_integer() for value in model.graph.outputs):
        return frozenset()
    infer_shapes(model)
    integers = [value for value in model.graph.outputs if value.dtype is not None and value.dtype.is_integer()]
    return frozenset(str(value.name) for value in integers if _is_amount(value))


def with_amounts(outputs: Mapping[str, Array], names: Collection[str]) -> dict[str, Array]:
    """The outputs of a reference, amounts as floating point: they are judged by how far off they are."""
    return {name: array.astype(AMOUNT) if name in names else array for name, array in outputs.items()}


def _is_amount(value: ir.Value) -> bool:
    node = value.producer()
    if node is None or node.domain != "":
        return False
    if node.op_type in COUNTED:
        return True
    if node.op_type == "Cast":
        return _cast_is_amount(node.inputs[0])
    if node.op_type in MOVED:
        return _all_amounts(node.inputs[:1])
    if node.op_type in JOINED:
        return _all_amounts(node.inputs[JOINED[node.op_type] :])
    return node.op_type in ARITHMETIC and _all_amounts(node.inputs)


def _cast_is_amount(value: ir.Value | None) -> bool:
    """Whether what becomes an integer is an amount: any float that was no integer before."""
    if value is None or value.dtype is None:
        return False
    if not value.dtype.is_floating_point():
        return value.dtype.is_integer() and _is_amount(value)
    node = value.producer()
    if node is None or node.op_type not in {*MOVED, *JOINED, *ARITHMETIC, "Cast"}:
        return True
    inputs = node.inputs[:1] if node.op_type in MOVED else node.inputs[JOINED.get(node.op_type, 0) :]
    return all(_cast_is_amount(v) for v in inputs if v is not None and v.const_value is None)


def _all_amounts(values: Collection[ir.Value | None]) -> bool:
    computed = [value for value in values if value is not None and value.const_value is None]
    return bool(computed) and all(_is_amount(value) for value in computed)
