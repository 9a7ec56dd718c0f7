"""Remainders of whole numbers that OpenVINO computes in float32.

Its division and its remainder of int32, which int64 becomes as well, are those of float32: beyond 2^24 the remainder of
10^9 + 7 by 64 is 0, where it is 7 (openvino 2026.4.1). Products and differences of int32 are exact.
"""

from __future__ import annotations

from typing import Any

_LARGEST = 2**15


def exact_remainders(model: Any) -> int:
    """Let each remainder of computed whole numbers by a constant be taken twice, in place; returns how many there were.

    The first time by the inexact quotient q, as x - q * c, which is of the same remainder and at most some hundred
    times c; the second time of that, which float32 holds where c is at most 2^15.
    """
    from openvino import opset8

    found = [node for node in model.get_ordered_ops() if _is_remainder(node)]
    for node in found:
        value, by = (node.input_value(port) for port in (0, 1))
        near = opset8.subtract(value, opset8.multiply(opset8.divide(value, by), by))
        again = opset8.floor_mod(near, by)
        again.set_friendly_name(node.get_friendly_name())
        again.output(0).set_names(node.output(0).get_names())
        node.output(0).replace(again.output(0))
    return len(found)


def _is_remainder(node: Any) -> bool:
    """Of values by a small constant; sizes are small, and what runtimes know of them is not to be hidden."""
    if node.get_type_name() != "FloorMod" or not node.get_output_element_type(0).is_integral():
        return False
    by = node.input_value(1).get_node()
    if by.get_type_name() != "Constant" or not 0 < abs(by.get_data()).max(initial=0) <= _LARGEST:
        return False
    return _of_values(node.input_value(0).get_node())


def _of_values(node: Any) -> bool:
    """Whether an input is reached upwards, but for its shape."""
    todo, seen = [node], set()
    while todo:
        one = todo.pop()
        if one.get_friendly_name() in seen or one.get_type_name() == "ShapeOf":
            continue
        if one.get_type_name() == "Parameter":
            return True
        seen.add(one.get_friendly_name())
        todo.extend(port.get_source_output().get_node() for port in one.inputs())
    return False
