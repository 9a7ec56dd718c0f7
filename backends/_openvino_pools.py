"""The last window of a MaxPool that rounds its size up, which ONNX drops where it begins in the padding.

OpenVINO 2026.4.1 reads a MaxPool with `ceil_mode` as one of its opset 8, which keeps such a window: with a kernel of 2,
a stride of 3 and a padding of 1 there is a place too many at two sizes of three. Its opset 14 has the rounding
`ceil_torch`, and computes it in float between integers (the quantization stays in front of it, and a convolution behind
it is float). The same windows are those of a size rounded down with another padding at the end:

    ceil(a / s) = floor((a + s - 1) / s), with a = size + begin + end - kernel, so end grows by s - 1;
    and no window begins in the padding where end is the kernel less 1 at most.

AveragePool is read with `ceil_torch` by OpenVINO itself.
"""

from __future__ import annotations

from typing import Any


def drop_windows_in_padding(model: Any) -> None:
    """Give each MaxPool that could keep such a window the padding with which it has none, in place."""
    from openvino import opset8

    for node in model.get_ordered_ops():
        how = node.get_attributes() if node.get_type_name() == "MaxPool" else {}
        if how.get("rounding_type") != "ceil" or how["auto_pad"] not in ("explicit", "valid"):
            continue
        reach = [(kernel - 1) * apart for kernel, apart in zip(how["kernel"], how["dilations"], strict=True)]
        grown = [end + stride - 1 for end, stride in zip(how["pads_end"], how["strides"], strict=True)]
        if all(end <= most for end, most in zip(grown, reach, strict=True)):
            continue
        pads = [min(end, most) for end, most in zip(grown, reach, strict=True)]
        new = opset8.max_pool(
            node.input_value(0), how["strides"], how["dilations"], how["pads_begin"], pads, how["kernel"], "floor",
            "explicit", how["index_element_type"], how["axis"],
        )  # fmt: skip
        new.set_friendly_name(node.get_friendly_name())
        for old, its in zip(node.outputs(), new.outputs(), strict=True):
            names = old.get_names()
            old.replace(its)
            its.set_names(names)
