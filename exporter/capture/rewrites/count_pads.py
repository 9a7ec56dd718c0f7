"""Let every runtime divide an AveragePool that counts its pads by what torch divides by.

torch counts input and pads, and not what a window of `ceil_mode` reaches beyond both. OpenVINO 2026.4.1 counts that as
well, and so does onnxruntime 1.31.1 in integers (17 dB of SQNR for a kernel of 3, a stride of 2 and a pad of 1).
A pool that has no pads counts none then, and pads that are counted become values: zeros before a pool without pads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...graphs.values import add_constant, everywhere, integers, number, owner, take_over

if TYPE_CHECKING:
    import onnx_ir as ir

# The axes of an image before its height.
_BATCH_AND_CHANNELS = 2


def count_pads(model: ir.Model) -> int:
    """Rewrite in place every AveragePool that counts pads where runtimes differ; returns how many there were."""
    found = [node for node in everywhere(model, "AveragePool") if number(node, "count_include_pad", 0)]
    return sum(_rewrite(owner(node), node) for node in found if _is_explicit(node))


def _is_explicit(node: ir.Node) -> bool:
    automatic = node.attributes.get("auto_pad")
    return automatic is None or automatic.value == "NOTSET"


def _rewrite(graph: ir.Graph, node: ir.Node) -> bool:
    along = _axes(node)
    if any(axis.start or axis.end for axis in along):
        if not number(node, "ceil_mode", 0):
            return False
        if all(axis.is_covered for axis in along):
            del node.attributes["ceil_mode"]
            return True
        _pad_before(graph, node, along)
        del node.attributes["pads"]
    del node.attributes["count_include_pad"]
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class _Axis:
    """How one axis is pooled; `reach` is what a window spans of it, and a size that is free is None."""

    size: int | None
    reach: int
    step: int
    start: int
    end: int

    @property
    def begun(self) -> int | None:
        """Windows that begin in the input or the pads before it: ceil((size + start) / step)."""
        return None if self.size is None else -(-(self.size + self.start) // self.step)

    @property
    def taken(self) -> int | None:
        """Windows of `ceil_mode` over a padded input."""
        if self.size is None:
            return None
        return -(-(self.size + self.start + self.end - self.reach) // self.step) + 1

    @property
    def is_covered(self) -> bool:
        """No window reaches beyond the last pad, so that as many are taken without `ceil_mode`."""
        if self.begun is None or self.taken is None or self.size is None:
            return False
        last = min(self.begun, self.taken) - 1
        return last * self.step + self.reach <= self.size + self.start + self.end

    @property
    def is_cut(self) -> bool:
        """Whether ONNX may take a window of the padded input that torch does not: one that begins in the last pads."""
        if self.begun is None or self.taken is None:
            # It begins less than a stride behind the place where it would just fit.
            return self.step > self.reach - self.end
        return self.taken > self.begun


def _axes(node: ir.Node) -> list[_Axis]:
    kernel = list(node.attributes["kernel_shape"].as_ints())
    ones, value = [1] * len(kernel), node.inputs[0]
    pads, steps = integers(node, "pads", [0] * (2 * len(kernel))), integers(node, "strides", ones)
    sizes = [None] * len(kernel) if value is None or value.shape is None else value.shape[_BATCH_AND_CHANNELS:]
    return [
        _Axis(size=size if isinstance(size, int) else None, reach=(k - 1) * d + 1, step=step, start=start, end=end)
        for size, k, d, step, start, end in zip(
            sizes,
            kernel,
            integers(node, "dilations", ones),
            steps,
            pads[: len(kernel)],
            pads[len(kernel) :],
            strict=True,
        )
    ]


def _pad_before(graph: ir.Graph, node: ir.Node, along: list[_Axis]) -> None:
    """Put the zeros into what the pool reads, and cut off the windows that begin among the last of them."""
    import onnx_ir as ir

    value, rest = node.inputs[0], [0] * _BATCH_AND_CHANNELS
    assert value is not None
    pads = [*rest, *(axis.start for axis in along), *rest, *(axis.end for axis in along)]
    pad = ir.node("Pad", [value, _integers(graph, f"{node.outputs[0].name}_pads", pads)], name=f"{node.name}_pad")
    padded = pad.outputs[0]
    padded.name, padded.type = f"{node.outputs[0].name}_padded", value.type
    if value.shape is not None:
        sizes = [None if axis.size is None else axis.size + axis.start + axis.end for axis in along]
        padded.shape = ir.Shape([*value.shape[:_BATCH_AND_CHANNELS], *sizes])
    node.replace_input_with(0, padded)
    graph.insert_before(node, pad)
    if any(axis.is_cut for axis in along):
        _cut(graph, node, value, along)


def _cut(graph: ir.Graph, node: ir.Node, value: ir.Value, along: list[_Axis]) -> None:
    import onnx_ir as ir

    result = node.outputs[0]
    name, axes = str(result.name), list(range(_BATCH_AND_CHANNELS, _BATCH_AND_CHANNELS + len(along)))
    known = [axis.begun for axis in along if axis.begun is not None]
    if len(known) == len(along):
        counting, ends = [], _integers(graph, f"{name}_windows", known)
    else:
        counting = _windows(graph, value, along, name)
        ends = counting[-1].outputs[0]
    starts, of = _integers(graph, f"{name}_starts", [0] * len(along)), _integers(graph, f"{name}_axes", axes)
    take_over(graph, result, f"{name}_whole", node, [*counting, ir.node("Slice", [result, starts, ends, of])])


def _windows(graph: ir.Graph, value: ir.Value, along: list[_Axis], name: str) -> list[ir.Node]:
    """Nodes that count the windows that begin in the input and the pads before it."""
    import onnx_ir as ir

    last = _BATCH_AND_CHANNELS + len(along)
    sizes = ir.node("Shape", [value])
    of = _integers(graph, f"{name}_spatial", list(range(_BATCH_AND_CHANNELS, last)))
    spatial = ir.node("Gather", [sizes.outputs[0], of])
    more = _integers(graph, f"{name}_more", [axis.start + axis.step - 1 for axis in along])
    reached = ir.node("Add", [spatial.outputs[0], more])
    steps = _integers(graph, f"{name}_steps", [axis.step for axis in along])
    return [sizes, spatial, reached, ir.node("Div", [reached.outputs[0], steps])]


def _integers(graph: ir.Graph, name: str, numbers: list[int]) -> ir.Value:
    return add_constant(graph, name, np.array(numbers, np.int64))
