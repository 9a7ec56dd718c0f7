"""How large the values inside a graph can be, by what is known of some of them: what need not be looked at any more."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ...graphs.values import constant, number

if TYPE_CHECKING:
    import onnx_ir as ir

# float32 adds up to a little more than real numbers do, and two runs of a graph add in another order.
SLACK = 1.001
# They give elements of what they read, means of them, or 0.
MOVING = frozenset(
    {
        *("AveragePool", "Flatten", "GlobalAveragePool", "GlobalMaxPool", "Identity", "MaxPool", "ReduceMax"),
        *("ReduceMean", "Relu", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"),
    }
)
Known = Mapping[str, float]


def magnitudes(graph: ir.Graph, known: Known) -> dict[str, float]:
    """The largest magnitude that each value can have; a value of which nothing is known is left out.

    Args:
        known: the largest magnitude of some values, by name; of inputs among them.
    """
    found = {name: SLACK * largest for name, largest in known.items()}
    for node in graph:
        rule = _moved if node.op_type in MOVING else _RULES.get(node.op_type)
        if rule is None or node.domain != "":
            continue
        name, largest = str(node.outputs[0].name), SLACK * rule(node, found)
        if largest < found.get(name, math.inf):
            found[name] = largest
    return found


def _of(value: ir.Value | None, found: Known) -> float:
    """The most that an operand can be; nothing where there is none."""
    if value is None:
        return 0.0
    array = constant(value)
    return found.get(str(value.name), math.inf) if array is None else float(np.abs(array).max(initial=0.0))


def _moved(node: ir.Node, found: Known) -> float:
    return _of(node.inputs[0], found)


def _sum(node: ir.Node, found: Known) -> float:
    return sum(_of(value, found) for value in node.inputs)


def _product(node: ir.Node, found: Known, axis: int) -> float:
    """Of a weight whose outputs lie along the axis: the largest sum of magnitudes in a row of it, and the bias."""
    weight = constant(node.inputs[1])
    if weight is None:
        return math.inf
    rows = np.abs(np.moveaxis(weight, axis, 0)).reshape(weight.shape[axis], -1).sum(axis=1, dtype=np.float64)
    return _scaled(float(rows.max(initial=0.0)), _of(node.inputs[0], found)) + sum(
        _of(value, found) for value in node.inputs[2:]
    )


def _scaled(factor: float, largest: float) -> float:
    """Their product, of nothing and what is not known nothing as well."""
    return factor * largest if factor else 0.0


def _conv(node: ir.Node, found: Known) -> float:
    return _product(node, found, 0)


def _gemm(node: ir.Node, found: Known) -> float:
    plain = number(node, "alpha", 1) == number(node, "beta", 1) == 1 and not number(node, "transA", 0)
    return _product(node, found, 0 if number(node, "transB", 0) else 1) if plain else math.inf


def _matmul(node: ir.Node, found: Known) -> float:
    weight: npt.NDArray[np.float32] | None = constant(node.inputs[1])
    return math.inf if weight is None or weight.ndim != 2 else _product(node, found, 1)


_RULES: dict[str, Callable[[ir.Node, Known], float]] = {
    "Add": _sum,
    "Conv": _conv,
    "Gemm": _gemm,
    "MatMul": _matmul,
}
