"""What comes out of an If, where OpenVINO would hand it on in another order of axes.

OpenVINO 2026.4.1 computes wrongly behind an If of free sizes. Where what reads its result wants the channels last or in
blocks, as a convolution, a resize or an integer product of four axes does, the first inference of each size reads what
nobody wrote (values of 1e36 in float32, and noise in int8); the second inference of that size is right. Behind
arithmetic it is right from the first one, and a maximum of a value and itself is that value.
"""

from __future__ import annotations

from typing import Any

# Below three axes there is one order alone.
_FEWEST_AXES = 3


def apart_from_branches(model: Any) -> None:
    """Put a maximum of itself behind each result of an If that has free sizes, in place."""
    for node in model.get_ops():
        if node.get_type_name() == "If":
            for output in node.outputs():
                if _is_read_in_another_order(output):
                    _behind(output)


def _is_read_in_another_order(output: Any) -> bool:
    shape, rank = output.get_partial_shape(), output.get_partial_shape().rank
    return (
        shape.is_dynamic
        and (rank.is_dynamic or rank.get_length() >= _FEWEST_AXES)
        and output.get_element_type().is_real()
        and any(reader.get_node().get_type_name() != "Result" for reader in output.get_target_inputs())
    )


def _behind(output: Any) -> None:
    from openvino import opset8

    readers = output.get_target_inputs()
    same = opset8.maximum(output, output)
    for reader in readers:
        if reader.get_node().get_type_name() != "Result":
            reader.replace_source_output(same.output(0))
