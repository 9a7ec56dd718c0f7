"""A product with a vector behind which a factor stands, which OpenVINO 2026.4.1 does not open.

It takes the factor into the vector as if that were a matrix: of `x @ v * 2`, with three axes or more in x, the vector
of 6 is one of (1, 6) then, and the product has no meaning ("MatMulMultiplyFusion ... Incompatible MatMul matrix
dimension"). A matrix of one column, whose axis is dropped behind the product, gives the same; the factor stays apart.
"""

from __future__ import annotations

from typing import Any

_FEWEST_AXES = 3


def vectors_as_columns(model: Any) -> None:
    """Write each product of a value of three axes or more and a vector as one with a column, in place."""
    import numpy as np
    from openvino import opset13

    last = np.array([-1], np.int64)
    for node in model.get_ordered_ops():
        if node.get_type_name() != "MatMul" or not _is_by_a_vector(node):
            continue
        turned = bool(node.get_attributes()["transpose_a"])
        column = opset13.unsqueeze(node.input_value(1), last)
        product = opset13.matmul(node.input_value(0), column, turned, False)
        product.set_friendly_name(f"{node.get_friendly_name()}/column")
        new = opset13.squeeze(product, last)
        names = node.output(0).get_names()
        new.set_friendly_name(node.get_friendly_name())
        node.output(0).replace(new.output(0))
        new.output(0).set_names(names)


def _is_by_a_vector(node: Any) -> bool:
    first, second = (node.get_input_partial_shape(i).rank for i in (0, 1))
    if first.is_dynamic or second.is_dynamic:
        return False
    return bool(second.get_length() == 1 and first.get_length() >= _FEWEST_AXES)
