"""Write the Fourier transform of real values as a whole one and a Slice.

Of a `onesided` DFT OpenVINO 2026.4.1 gives one axis too many, and then refuses what reads it (torch.fft.rfft). The
whole transform holds the same numbers. The inverse, from half of a spectrum, is given the other half, its conjugate.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...graphs.values import add_constant, constant, number, replace, sliced
from .dft_on_axis_one import signal_axis

if TYPE_CHECKING:
    import onnx_ir as ir


def whole_dft(model: ir.Model) -> int:
    """Rewrite in place every `onesided` DFT of known length; returns how many there were."""
    opset, transforms = model.opset_imports[""], [n for n in model.graph if n.domain == "" and n.op_type == "DFT"]
    return sum(_rewrite(model.graph, node, signal_axis(node, opset)) for node in transforms)


def _rewrite(graph: ir.Graph, node: ir.Node, axis: int | None) -> bool:
    value = node.inputs[0]
    if axis is None or value is None or value.shape is None or value.dtype is None or not number(node, "onesided", 0):
        return False
    inverse, size = bool(number(node, "inverse", 0)), value.shape[axis]
    length = _length(node, size, inverse=inverse)
    if length is None:
        return False
    if not inverse:
        _forward(graph, node, axis, length)
        return True
    # A spectrum that is too short is filled with zeros, which would lie in the middle of a whole one.
    fits = isinstance(size, int) and size > length // 2
    if fits:
        _inverse(graph, node, axis, length)
    return fits


def _length(node: ir.Node, size: object, *, inverse: bool) -> int | None:
    """Of the signal; None where it is not known."""
    given = node.inputs[1] if len(node.inputs) > 1 else None
    if given is not None:
        length = constant(given)
        return None if length is None else int(length.item())
    return (2 * (size - 1) if inverse else size) if isinstance(size, int) else None


def _forward(graph: ir.Graph, node: ir.Node, axis: int, length: int) -> None:
    value = node.inputs[0]
    assert value is not None and value.shape is not None
    whole = _transform(node, value, node.inputs[1] if len(node.inputs) > 1 else None)
    _like(whole, value, {axis: length, value.shape.rank() - 1: 2})
    replace(graph, node, [whole, sliced(graph, whole.outputs[0], axis, 0, length // 2 + 1)])


def _inverse(graph: ir.Graph, node: ir.Node, axis: int, length: int) -> None:
    """The frequencies above the middle are those below it, backwards and conjugate; only what is real comes of it."""
    import onnx_ir as ir

    value = node.inputs[0]
    assert value is not None and value.shape is not None
    first = sliced(graph, value, axis, 0, length // 2 + 1)
    # From the last that has a partner down to the first behind the constant one.
    back = sliced(graph, value, axis, (length - 1) // 2, 0, -1)
    assert value.dtype is not None
    sign = add_constant(graph, f"{node.outputs[0].name}_conjugate", np.array([1, -1], value.dtype.numpy()))
    turned = ir.node("Mul", [back.outputs[0], sign])
    both = ir.node("Concat", [first.outputs[0], turned.outputs[0]], {"axis": axis})
    whole = _transform(node, both.outputs[0], None)
    for each in (both, whole):
        _like(each, value, {axis: length})
    real = sliced(graph, whole.outputs[0], value.shape.rank() - 1, 0, 1)
    replace(graph, node, [first, back, turned, both, whole, real])


def _transform(node: ir.Node, value: ir.Value, length: ir.Value | None) -> ir.Node:
    import onnx_ir as ir

    attributes = [each for each in node.attributes.values() if each.name != "onesided"]
    inputs = [value, length, *node.inputs[2:]]
    return ir.Node("", "DFT", inputs, attributes, name=node.name)


def _like(node: ir.Node, value: ir.Value, sizes: dict[int, int]) -> None:
    import onnx_ir as ir

    assert value.shape is not None
    result = node.outputs[0]
    result.type, result.shape = value.type, ir.Shape([sizes.get(i, size) for i, size in enumerate(value.shape)])
