"""Compute a quantized convolution that makes the tokens of a transformer as one Gemm over patches.

A runtime that runs a convolution in integers only where its result is quantized leaves this one float, as tokens stay
float. As a Gemm it is integer with a float result. The patches are cut out of the quantized image, in integers: by a
reshape where they do not overlap, by constant indices where they do. The numbers are those of the Q/DQ convolution.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ...graphs.values import add_constant, constant, drop_unused, number, single_consumer

if TYPE_CHECKING:
    import onnx_ir as ir

RANK = 4
# Patches may hold this many times the pixels of the image; cutting out more costs more than the integers save.
MOST_COPIES = 4


def cuts_patches(conv: ir.Node) -> bool:
    """Whether a Conv can be computed so: two axes of known size, one group, and patches that overlap little."""
    value, result = conv.inputs[0], conv.outputs[0]
    weight = constant(conv.inputs[1])
    if weight is None or weight.ndim != RANK or value is None or value.shape is None or result.shape is None:
        return False
    known = all(isinstance(size, int) for size in (*list(value.shape)[1:], *list(result.shape)[1:]))
    automatic = conv.attributes.get("auto_pad")
    plain = number(conv, "group", 1) == 1 and (automatic is None or automatic.value == "NOTSET")
    return known and plain and float(np.prod(weight.shape[2:])) <= MOST_COPIES * float(np.prod(_axes(conv, "strides")))


def patches_to_gemm(graph: ir.Graph, convolutions: Sequence[ir.Node]) -> None:
    """Rewrite in place each of these convolutions.

    Args:
        graph: with Q/DQ inserted, weights stored as integers.
        convolutions: such as `cuts_patches`; their data and weight are dequantized, their result is float.
    """
    for conv in convolutions:
        _rewrite(graph, conv)


def _dequantizer(value: ir.Value | None) -> ir.Node | None:
    node = value.producer() if value is not None else None
    return node if node is not None and node.op_type == "DequantizeLinear" else None


def _axes(conv: ir.Node, name: str) -> list[int]:
    """An attribute with one number for each spatial axis, 1 where it is not given."""
    attribute = conv.attributes.get(name)
    return [1, 1] if attribute is None else [int(x) for x in attribute.value]


def _rewrite(graph: ir.Graph, conv: ir.Node) -> None:
    import onnx_ir as ir

    data, weight = (_dequantizer(value) for value in conv.inputs[:2])
    assert data is not None and weight is not None
    maker = _Maker(graph, conv)
    rows = maker.node("DequantizeLinear", [_patches(maker, data), *data.inputs[1:]])
    product = maker.node("Gemm", [rows, _flat_weight(maker, weight), *conv.inputs[2:]], {"transB": 1})
    product.producer().name = conv.name  # type: ignore[union-attr]
    old, order = _tokens(conv)
    assert old.shape is not None
    if order is None:
        new = maker.node("Reshape", [product, maker.sizes([-1, *list(old.shape)[1:]])])
    else:
        channels, *image = list(conv.outputs[0].shape)[1:]  # type: ignore[arg-type]
        new = maker.node(
            "Transpose", [maker.node("Reshape", [product, maker.sizes([-1, *image, channels])])], {"perm": order}
        )
    new.type, new.shape, name = old.type, old.shape, old.name
    ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
    _drop_chain(graph, old, conv)
    new.name = name


def _patches(maker: _Maker, data: ir.Node) -> ir.Value:
    """The quantized image as (batch * patches, channels * height * width of a patch)."""
    conv = maker.conv
    image, zero = data.inputs[0], data.inputs[2]
    quantizer = image.producer() if image is not None else None
    assert image is not None and quantizer is not None and quantizer.inputs[0] is not None
    channels, *sizes = (int(size) for size in list(quantizer.inputs[0].shape)[1:])  # type: ignore[arg-type]
    pads = conv.attributes["pads"].value if "pads" in conv.attributes else [0] * RANK
    if any(pads):
        image = maker.node("Pad", [image, maker.sizes([0, 0, *pads[:2], 0, 0, *pads[2:]]), zero])
    padded = [size + pads[i] + pads[i + 2] for i, size in enumerate(sizes)]
    kernel = [int(size) for size in maker.kernel]
    windows = [int(size) for size in list(conv.outputs[0].shape)[2:]]  # type: ignore[arg-type]
    strides, dilations = _axes(conv, "strides"), _axes(conv, "dilations")
    if kernel == strides and padded == [n * k for n, k in zip(windows, kernel, strict=True)]:
        cut = maker.node("Reshape", [image, maker.sizes([-1, channels, windows[0], kernel[0], windows[1], kernel[1]])])
        perm = [0, 2, 4, 1, 3, 5]
    else:
        # Columns are taken in blocks of neighbours that are always taken together: each is one copy in memory.
        block = math.gcd(kernel[1], strides[1], padded[1]) if dilations[1] == 1 else 1
        blocks = maker.node("Reshape", [image, maker.sizes([-1, channels, padded[0], padded[1] // block, block])])
        rows = np.arange(windows[0])[:, None] * strides[0] + np.arange(kernel[0]) * dilations[0]
        columns = np.arange(windows[1])[:, None] * (strides[1] // block)
        columns = columns + np.arange(kernel[1] // block) * dilations[1]
        cut = maker.node("Gather", [blocks, maker.sizes(rows)], {"axis": 2})
        cut = maker.node("Gather", [cut, maker.sizes(columns)], {"axis": 4})
        perm = [0, 2, 4, 1, 3, 5, 6]
    cut = maker.node("Transpose", [cut], {"perm": perm})
    return maker.node("Reshape", [cut, maker.sizes([-1, channels * kernel[0] * kernel[1]])])


def _flat_weight(maker: _Maker, weight: ir.Node) -> ir.Value:
    stored = weight.inputs[0]
    array = constant(stored)
    assert stored is not None and array is not None
    flat = add_constant(maker.graph, f"{stored.name}_flat", array.reshape(len(array), -1))
    weight.replace_input_with(0, flat)
    drop_unused(maker.graph, stored)
    result, scale = weight.outputs[0], weight.inputs[1]
    assert scale is not None
    result.shape, result.type = flat.shape, scale.type  # DequantizeLinear gives what its scale is
    return result


def _tokens(conv: ir.Node) -> tuple[ir.Value, list[int] | None]:
    """The value to replace, and how to order (batch, height, width, channels) for it; None where it is in order.

    Flattening the image and moving its channels last, as a ViT does, undoes what a Gemm does not do.
    """
    reshape = single_consumer(conv.outputs[0])
    shape = reshape.outputs[0].shape if reshape is not None and reshape.op_type == "Reshape" else None
    move = single_consumer(reshape.outputs[0]) if shape is not None and shape.rank() == 3 else None  # type: ignore[union-attr]
    channels = conv.outputs[0].shape[1]  # type: ignore[index]
    if move is not None and move.op_type == "Transpose" and shape is not None and shape[1] == channels:
        perm = move.attributes.get("perm")
        if perm is not None and list(perm.value) == [0, 2, 1] and all(isinstance(n, int) for n in list(shape)[1:]):
            return move.outputs[0], None
    return conv.outputs[0], [0, 3, 1, 2]


def _drop_chain(graph: ir.Graph, value: ir.Value, conv: ir.Node) -> None:
    """Remove the nodes from the Conv to the value, which nothing reads any more."""
    node = value.producer()
    chain = []
    while node is not None:
        chain.append(node)
        node = node.inputs[0].producer() if node is not conv and node.inputs[0] is not None else None
    data = _dequantizer(conv.inputs[0])
    graph.remove(chain, safe=True)
    if data is not None and not data.outputs[0].uses():
        graph.remove(data, safe=True)


class _Maker:
    """Makes nodes before a Conv, named after it."""

    def __init__(self, graph: ir.Graph, conv: ir.Node) -> None:
        self.graph, self.conv, self.count = graph, conv, 0
        weight = _dequantizer(conv.inputs[1])
        assert weight is not None
        self.kernel: Sequence[int] = constant(weight.inputs[0]).shape[2:]  # type: ignore[union-attr]

    def node(
        self, operator: str, inputs: Sequence[ir.Value | None], attributes: dict[str, Any] | None = None
    ) -> ir.Value:
        import onnx_ir as ir

        self.count += 1
        node = ir.node(operator, inputs, attributes or {}, name=f"{self.conv.name}_patches_{self.count}")
        node.outputs[0].name = f"{self.conv.outputs[0].name}_patches_{self.count}"
        self.graph.insert_before(self.conv, node)
        return node.outputs[0]

    def sizes(self, values: Any) -> ir.Value:
        self.count += 1
        return add_constant(self.graph, f"{self.conv.outputs[0].name}_sizes_{self.count}", np.asarray(values, np.int64))
