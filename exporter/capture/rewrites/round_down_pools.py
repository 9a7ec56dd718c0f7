"""Write a pool that rounds its size up, and drops windows that begin in the padding, as one that rounds it down.

By ONNX's rule of shapes, up to the newest opset, such a window counts; what runs the pool drops it, as torch does.
Where the size decides, onnxruntime then refuses what it fused itself (a MatMul of 9 by 8), and OpenVINO 2026.4.1 has a
place too many of a MaxPool: with a kernel of 2, a stride of 3 and a padding of 1 at two sizes of three. (Its opset 14
has `ceil_torch` for that, of which it computes a MaxPool in float between integers.) The same windows are those of a
size rounded down with another padding at the end:

    ceil(a / s) = floor((a + s - 1) / s), with a = size + begin + end - kernel, so end grows by s - 1;
    and no window begins in the padding where end is the kernel less 1 at most.

A dilated one that would need more than its kernel has taps stays: onnxruntime takes no such padding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...graphs.values import everywhere, integers, number

if TYPE_CHECKING:
    import onnx_ir as ir

_WORDS = ("SAME_UPPER", "SAME_LOWER")


def round_down_pools(model: ir.Model) -> int:
    """Rewrite in place each that may drop a window, where its padding counts for nothing; returns how many."""
    return sum(_rewritten(node) for node in everywhere(model, "MaxPool", "AveragePool"))


def _rewritten(node: ir.Node) -> bool:
    import onnx_ir as ir

    word = node.attributes.get("auto_pad")
    if not number(node, "ceil_mode", 0) or (word is not None and word.as_string() in _WORDS):
        return False
    kernel = list(node.attributes["kernel_shape"].as_ints())
    ones, none = [1] * len(kernel), [0] * 2 * len(kernel)
    pads = integers(node, "pads", none)
    if number(node, "count_include_pad", 0) and any(pads):
        return False
    begin, end = pads[: len(kernel)], pads[len(kernel) :]
    steps = zip(kernel, integers(node, "dilations", ones), integers(node, "strides", ones), end, strict=True)
    grown = [((size - 1) * apart, pad + stride - 1) for size, apart, stride, pad in steps]
    ends = [min(reach, pad) for reach, pad in grown]
    if all(pad <= reach for reach, pad in grown) or any(a >= b for a, b in zip(ends, kernel, strict=True)):
        return False
    for name in ("ceil_mode", "auto_pad", "count_include_pad"):
        node.attributes.pop(name, None)
    node.attributes["pads"] = ir.AttrInt64s("pads", [*begin, *ends])
    return True
