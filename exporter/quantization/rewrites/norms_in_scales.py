"""Take a norm behind a convolution into the scales of its integer weights, where others read these weights too.

A norm behind a convolution alone is folded into its weights at capture. Weights that several convolutions read, as the
heads of a detector do at each of its levels, stay as they are, and each has a norm of its own behind it. OpenVINO
2026.4.1 multiplies that into the weights before it looks for integers, finds none, and computes the convolution in
floats (docs/decisions/0115-brothers-of-the-cases.md). A scale a channel says the same of integers that are stored once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...graphs.values import add_constant, constant, drop_unused, number, single_consumer

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx_ir as ir

_NORM_INPUTS = 5


def norms_in_scales(graph: ir.Graph) -> int:
    """Rewrite in place; returns how many norms were taken in. One with a factor of zero, which is no scale, stays.

    Args:
        graph: with Q/DQ inserted.
    """
    taken = 0
    for conv in [node for node in graph if node.domain == "" and node.op_type == "Conv"]:
        norm = single_consumer(conv.outputs[0])
        weight = conv.inputs[1].producer() if conv.inputs[1] is not None else None
        if norm is None or norm.op_type != "BatchNormalization" or weight is None or not _is_shared(weight):
            continue
        affine = _affine(norm)
        if affine is not None and affine[0].all():
            _take_in(graph, conv, weight, norm, *affine)
            taken += 1
    return taken


def _is_shared(dequantize: ir.Node) -> bool:
    """Whether it makes one convolution's weights of stored integers that others read too, by scales a channel."""
    if dequantize.op_type != "DequantizeLinear" or single_consumer(dequantize.outputs[0]) is None:
        return False
    integers, scale = dequantize.inputs[:2]
    array = constant(scale)
    if integers is None or constant(integers) is None or array is None:
        return False
    return array.ndim == 1 and len(list(integers.uses())) > 1


def _affine(norm: ir.Node) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]] | None:
    """Factor and shift of each channel; None where they are no constants.

    ONNX: y = (x - mean) / sqrt(variance + epsilon) * scale + bias.
    """
    arrays = [constant(value) for value in norm.inputs[1:_NORM_INPUTS]]
    if len(norm.outputs) > 1 or any(array is None for array in arrays):
        return None
    scale, bias, mean, variance = (np.asarray(array, np.float64) for array in arrays)
    factor = scale / np.sqrt(variance + number(norm, "epsilon", 1e-5))
    return factor, bias - mean * factor


def _take_in(
    graph: ir.Graph,
    conv: ir.Node,
    weight: ir.Node,
    norm: ir.Node,
    factor: npt.NDArray[np.float64],
    shift: npt.NDArray[np.float64],
) -> None:
    bias = conv.inputs[2] if len(conv.inputs) > 2 else None
    before, scale = constant(bias), constant(weight.inputs[1])
    assert scale is not None
    if bias is not None and before is None:  # integers, or computed
        return
    moved = shift if before is None else before * factor + shift
    name = str(norm.outputs[0].name)
    old = weight.inputs[1]
    weight.replace_input_with(1, add_constant(graph, f"{name}_weight_scale", (scale * factor).astype(np.float32)))
    conv.resize_inputs(3)
    conv.replace_input_with(2, add_constant(graph, f"{name}_bias", moved.astype(np.float32)))
    constants = [value for value in (*norm.inputs[1:], old, bias) if value is not None]
    result, outside = norm.outputs[0], norm.outputs[0].is_graph_output()
    conv.outputs[0].name, result.name = name, f"{name}_normed"
    result.replace_all_uses_with(conv.outputs[0], replace_graph_outputs=outside)
    graph.remove(norm, safe=True)
    for value in constants:
        drop_unused(graph, value)
