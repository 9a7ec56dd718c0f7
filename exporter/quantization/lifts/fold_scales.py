"""Divide the channels of a tensor by folding the division into the constants that make it.

Where a tensor comes from a layer norm, or through a chain of operators that only move or mix values within a channel
(Reshape, Transpose, Slice, the product of attention probabilities and values) from a linear layer, the division costs
nothing at run time.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ...graphs.values import add_constant, constant, drop_unused, number

if TYPE_CHECKING:
    import onnx_ir as ir

Values = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """The constants to divide: node and input index, with the divisors of a shape that broadcasts to the constant."""

    divisors: tuple[tuple[ir.Node, int, Values], ...]

    @property
    def factors(self) -> dict[str, Values]:
        """By what it divides each channel of a result of Gemm, by the name of that."""
        weights = [(node, divisor) for node, index, divisor in self.divisors if node.op_type == "Gemm" and index == 1]
        return {str(node.outputs[0].name): divisor.reshape(-1) for node, divisor in weights}

    def apply(self, graph: ir.Graph) -> None:
        """Replace the constants by divided ones."""
        for node, index, divisor in self.divisors:
            old = node.inputs[index]
            array = constant(old)
            assert old is not None and array is not None
            divided = add_constant(graph, f"{old.name}_smoothed", (array / divisor).astype(np.float32))
            node.replace_input_with(index, divided)
            drop_unused(graph, old)


def fold_of(value: ir.Value, readers: int, scales: Values) -> Fold | None:
    """How to divide the last axis of a value by the scales for nothing.

    Args:
        readers: how many inputs of nodes the caller adapts; where more read the value, it cannot change.

    Returns:
        None where an operator on the way is not known, or has another reader that would notice.
    """
    if len(list(value.uses())) != readers or value.is_graph_output() or value.shape is None:
        return None
    wide = scales.reshape([1] * (value.shape.rank() - 1) + [-1])
    found = _walk(value, wide)
    return None if found is None else Fold(divisors=found)


_Found = tuple[tuple["ir.Node", int, Values], ...]


def _walk(value: ir.Value, scales: Values) -> _Found | None:
    """Divisors of constants before a value; the scales have its rank, and size 1 along axes on which they agree."""
    node = value.producer()
    rule = _RULES.get(node.op_type) if node is not None and node.domain == "" else None
    if node is None or rule is None or value.shape is None or value.shape.rank() != scales.ndim:
        return None
    covered = all(wanted in (1, size) for size, wanted in zip(value.shape, scales.shape, strict=True))
    return rule(node, scales) if covered else None


def _back(node: ir.Node, index: int, scales: Values) -> _Found | None:
    """Go on to an input that nothing but this node reads."""
    value = node.inputs[index]
    if value is None or len(list(value.uses())) != 1 or value.is_graph_output():
        return None
    return _walk(value, scales)


def _norm(node: ir.Node, scales: Values) -> _Found | None:
    last = int(number(node, "axis", -1)) in (-1, scales.ndim - 1) and scales.size == scales.shape[-1]
    if not last or len(node.outputs) > 1 or any(constant(value) is None for value in node.inputs[1:]):
        return None
    return tuple((node, index, scales.reshape(-1)) for index in range(1, len(node.inputs)))


def _linear(node: ir.Node, scales: Values) -> _Found | None:
    """A MatMul or Gemm with a constant weight, or the product of two activations."""
    weight, last = constant(node.inputs[1]), scales.reshape(-1)
    if weight is None:
        mixes = node.op_type == "MatMul" and scales.ndim > 1 and scales.shape[-2] == 1
        return _back(node, 1, scales) if mixes else None
    if last.size != scales.shape[-1] or weight.ndim != 2 or number(node, "alpha", 1) != 1:
        return None
    transposed = bool(number(node, "transB", 0))
    found: _Found = ((node, 1, last[:, None] if transposed else last[None, :]),)
    if len(node.inputs) < 3 or node.inputs[2] is None:
        return found
    bias = constant(node.inputs[2])
    return (*found, (node, 2, last)) if bias is not None and bias.shape == last.shape else None


def _bias(node: ir.Node, scales: Values) -> _Found | None:
    """An Add of a constant row."""
    arrays = [constant(value) for value in node.inputs]
    index = next((i for i, array in enumerate(arrays) if array is not None), None)
    if index is None or scales.size != scales.shape[-1] or arrays[index].shape != (scales.size,):  # type: ignore[union-attr]
        return None
    rest = _back(node, 1 - index, scales)
    return None if rest is None else (*rest, (node, index, scales.reshape(-1)))


def _transpose(node: ir.Node, scales: Values) -> _Found | None:
    perm = node.attributes.get("perm")
    order = list(range(scales.ndim))[::-1] if perm is None else list(perm.value)
    return _back(node, 0, scales.transpose(np.argsort(order)))


def _reshape(node: ir.Node, scales: Values) -> _Found | None:
    """The axes along which the scales vary must be the last ones, and be the last ones before as well."""
    before, after = (v.shape if v is not None else None for v in (node.inputs[0], node.outputs[0]))
    if before is None or after is None:
        return None
    varying = next((axis for axis, size in enumerate(scales.shape) if size > 1), scales.ndim)
    inner = list(after)[varying:]
    if list(scales.shape[varying:]) != inner:
        return None
    kept: list[int] = []
    while math.prod(kept) < scales.size and len(kept) < before.rank():
        size = before[before.rank() - 1 - len(kept)]
        if not isinstance(size, int):
            return None
        kept.insert(0, size)
    if math.prod(kept) != scales.size:
        return None
    return _back(node, 0, scales.reshape([1] * (before.rank() - len(kept)) + kept))


def _part(node: ir.Node, scales: Values) -> _Found | None:
    """Some indices along an axis; who reads others is not affected."""
    source, taken = node.inputs[0], _taken(node)
    if source is None or source.is_graph_output() or taken is None:
        return None
    axis, indices = taken
    others = [_taken(use.node) for use in source.uses() if use.node is not node]
    if any(other is None or other[0] != axis or set(other[1]) & set(indices) for other in others):
        return None
    size = int(source.shape[axis])  # type: ignore[index, arg-type]
    whole = np.ones([*scales.shape[:axis], size, *scales.shape[axis + (node.op_type == "Slice") :]])
    whole[(slice(None),) * axis + (indices if node.op_type == "Slice" else indices[0],)] = scales
    return _walk(source, whole)


def _taken(node: ir.Node) -> tuple[int, list[int]] | None:
    """The axis of known size and the indices that a Gather of one, or a Slice along one axis, takes of its input."""
    source, arguments = node.inputs[0], [constant(value) for value in node.inputs[1:]]
    if node.domain != "" or source is None or source.shape is None or any(a is None or a.size != 1 for a in arguments):
        return None
    numbers = [int(a.item()) for a in arguments]  # type: ignore[union-attr]
    if node.op_type == "Gather" and arguments[0].ndim == 0:  # type: ignore[union-attr]
        axis, where = int(number(node, "axis", 0)) % source.shape.rank(), slice(numbers[0], numbers[0] + 1 or None)
    elif node.op_type == "Slice" and len(numbers) > 2:
        axis, where = numbers[2] % source.shape.rank(), slice(*numbers[:2], *numbers[3:])
    else:
        return None
    size = source.shape[axis]
    return (axis, list(range(size)[where])) if isinstance(size, int) else None


def _squeeze(node: ir.Node, scales: Values) -> _Found | None:
    source, axes = node.inputs[0], constant(node.inputs[1]) if len(node.inputs) > 1 else None
    if source is None or source.shape is None or axes is None:
        return None
    rank = source.shape.rank()
    return _back(node, 0, np.expand_dims(scales, tuple(int(axis) % rank for axis in np.atleast_1d(axes))))


def _homogeneous(node: ir.Node, scales: Values) -> _Found | None:
    """f(x / s) = f(x) / s, as the scales are positive."""
    return _back(node, 0, scales)


_RULES: dict[str, Callable[[ir.Node, Values], _Found | None]] = {
    "LayerNormalization": _norm,
    "MatMul": _linear,
    "Gemm": _linear,
    "Add": _bias,
    "Transpose": _transpose,
    "Reshape": _reshape,
    "Gather": _part,
    "Slice": _part,
    "Squeeze": _squeeze,
    "Relu": _homogeneous,
    "LeakyRelu": _homogeneous,
}
