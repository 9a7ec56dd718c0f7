"""What a Pad with a value reads in an engine of integers, where a factor stands before it.

OpenVINO 2026.4.1 takes a product with a constant for the scale of integers, in float too, and moves it behind what only
moves values. It moves it behind a Pad of an axis of one as well, but leaves the Pad's value as it is: a Pad with -1.5
behind a division by 0.64 pads with -2.34. A maximum with minus infinity in between, which changes nothing, keeps the
product where it is.
"""

from __future__ import annotations

from typing import Any

_SCALES = frozenset({"Multiply", "Divide", "BatchNormInference"})
# What the product is moved behind as well.
_MOVES = frozenset(
    {
        *("Identity", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Pad"),
        *("Add", "Subtract", "StridedSlice", "Slice", "Concat", "Split"),
    }
)


def keep_before_pads(model: Any) -> None:
    """Put a maximum in front of each Pad with another value than 0 that reads such a product, in place."""
    import numpy as np
    from openvino import opset13

    for node in model.get_ordered_ops():
        if node.get_type_name() == "Pad" and _has_value(node) and _is_scaled(node.input_value(0)):
            kept = opset13.maximum(node.input_value(0), np.float32(-np.inf))
            node.input(0).replace_source_output(kept.output(0))


def _has_value(node: Any) -> bool:
    if node.get_attributes()["pad_mode"] != "constant" or node.get_input_size() < 4:
        return False
    given = node.input_value(3).get_node()
    is_float = node.get_input_element_type(0).to_string() == "f32"
    return is_float and (given.get_type_name() != "Constant" or bool(given.get_data().any()))


def _is_scaled(value: Any) -> bool:
    """Whether a product with a constant reaches it through what moves values; each of these is looked at once."""
    todo, seen = [value.get_node()], set()
    while todo:
        node = todo.pop()
        if node.get_name() in seen:
            continue
        seen.add(node.get_name())
        before = [one.get_node() for one in node.input_values()]
        if node.get_type_name() in _SCALES and any(one.get_type_name() == "Constant" for one in before):
            return True
        if node.get_type_name() in _MOVES:
            todo.extend(before)
    return False
