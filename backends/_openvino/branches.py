"""What comes out of an If, where OpenVINO would hand it on in another order of axes.

OpenVINO 2026.4.1 computes wrongly behind an If of free sizes. Where what reads its result wants the channels last or in
blocks, as a convolution, a resize or an integer product does, the first inference of each size reads what nobody wrote
(values of 1e36 in float32, and noise in int8); the second inference of that size is right. Arithmetic in between moves
the fault or mends it, by what comes behind; a Gather of all along the first axis, which copies and knows one order
alone, mends it everywhere that it was seen.
"""

from __future__ import annotations

from typing import Any

# Of rows too: a product of them that is expanded to three axes has the fault. A list has one order alone.
_FEWEST_AXES = 2


def apart_from_branches(model: Any) -> None:
    """Put a copy behind each result of an If that has free sizes, in place."""
    for node in model.get_ops():
        if node.get_type_name() == "If":
            for output in node.outputs():
                if _is_read_in_another_order(output):
                    _copy_behind(output)


def _is_read_in_another_order(output: Any) -> bool:
    shape, rank = output.get_partial_shape(), output.get_partial_shape().rank
    return bool(
        shape.is_dynamic
        and (rank.is_dynamic or rank.get_length() >= _FEWEST_AXES)
        and any(reader.get_node().get_type_name() != "Result" for reader in output.get_target_inputs())
    )


def _copy_behind(output: Any) -> None:
    import numpy as np
    from openvino import opset13

    readers = output.get_target_inputs()
    none, one = np.int64(0), np.int64(1)
    size = opset13.gather(opset13.shape_of(output), none, none)
    copied = opset13.gather(output, opset13.range(none, size, one, output_type="i64"), none)
    for reader in readers:
        if reader.get_node().get_type_name() != "Result":
            reader.replace_source_output(copied.output(0))
