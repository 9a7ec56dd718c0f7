"""Boxes without an area: of no sample ONNX Runtime gives 0, and OpenVINO 2026.4.1 a mean over none, NaN.

A RoiAlign that takes as many samples as a box is large (`sampling_ratio` 0) takes none of such a box, where corners are
read as they are. Detectors fill their rows up with boxes of zeros.
"""

from __future__ import annotations

from typing import Any

import numpy as np

_BOXES, _WIDTH = 1, 4
# Corners before the first opset that calls them aligned; a box is one pixel large there at least.
_ONE_PIXEL = "asymmetric"


def nothing_of_empty_boxes(model: Any) -> None:
    """Make zeros of boxes without an area, in each RoiAlign that gives NaN for them; in place."""
    from openvino import opset13

    for node in model.get_ordered_ops():
        if node.get_type_name() != "ROIAlign":
            continue
        how = node.get_attributes()
        if how["sampling_ratio"] or how["aligned_mode"] == _ONE_PIXEL:
            continue
        output = node.output(0)
        names, readers = output.get_names(), list(output.get_target_inputs())
        given = opset13.split(node.input_value(_BOXES), np.int64(1), _WIDTH)
        left, top, right, bottom = given.outputs()
        held = opset13.logical_and(opset13.greater(right, left), opset13.greater(bottom, top))
        shaped = opset13.unsqueeze(held, np.array([2, 3], np.int64))
        zero = opset13.convert_like(np.float32(0), output)
        chosen = opset13.select(shaped, output, zero)
        for reader in readers:
            reader.replace_source_output(chosen.output(0))
        output.set_names(set())
        chosen.output(0).set_names(names)
