"""Values that are converted there and back.

An input in double precision is taken in single precision, for which OpenVINO converts it to double, and the graph
converts it back. Of an output that is nothing else OpenVINO 2026.4.1 writes where the input was, and the heap is broken
where that is the caller's own memory: "malloc(): unaligned tcache chunk detected".
"""

from __future__ import annotations

from typing import Any


def straight(model: Any) -> None:
    """Take out, in place, each Convert to double precision and back: what was single before is the same behind it."""
    from openvino import opset8

    for back in model.get_ordered_ops():
        there = _maker(back)
        if not (_is_convert(back) and _is_convert(there)):
            continue
        value = there.input_value(0)
        if not value.get_element_type() == back.get_output_element_type(0) != there.get_output_element_type(0):
            continue
        if not (there.get_output_element_type(0).is_real() and there.get_output_element_type(0).bitwidth == _DOUBLE):
            continue
        # An output has a node of its own, which hands no memory of the caller on.
        ends = any(reader.get_node().get_type_name() == "Result" for reader in back.output(0).get_target_inputs())
        names = back.output(0).get_names()
        new = opset8.maximum(value, value).output(0) if ends else value
        back.output(0).replace(new)
        if ends:
            new.get_node().set_friendly_name(back.get_friendly_name())
            new.set_names(names)


_DOUBLE = 64


def _is_convert(node: Any) -> bool:
    return node is not None and node.get_type_name() == "Convert"


def _maker(node: Any) -> Any:
    return node.input_value(0).get_node() if node.get_input_size() else None
