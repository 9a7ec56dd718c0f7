"""Memory that the graph needs at least, against the device's."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...graphs.files import weight_bytes
from ..examined import Examined, found_at
from ..finding import Finding

if TYPE_CHECKING:
    import onnx_ir as ir

GIB = 1 << 30
# Element types of ONNX that have no size.
_WITHOUT_SIZE = frozenset({"STRING", "UNDEFINED"})


def find(examined: Examined) -> Iterator[Finding]:
    """An error where it needs more than the largest model of the device has, a warning beyond the smallest.

    The least that any runtime holds: all weights as the file stores them, and what the largest node reads and writes,
    with free axes at the largest size of their range, or at 1. Computed from shapes, never measured.
    """
    figure = examined.target.figures.get("memory")
    if figure is None or figure.unit != "GB":
        return
    sizes = sorted(float(text) for text in re.findall(r"\d+(?:\.\d+)?", str(figure.value)))
    if not sizes:
        return
    node, most = _largest(examined)
    needed = (weight_bytes(examined.path) + most) / GIB
    if needed <= sizes[0]:
        return
    whole = needed > sizes[-1]
    yield found_at(
        node,
        "error" if whole else "warning",
        f"weights and the values of its largest node take {needed:.3g} GiB by their shapes, and the device has "
        f"{_plain(figure.value)} GB for all that runs on it",
        remedy="Give a smaller model, a smaller batch (--axis), or a device with more memory.",
        source=f"{figure.mark}: {figure.source}",
    )


def _plain(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def _largest(examined: Examined) -> tuple[ir.Node | None, int]:
    """The node whose inputs and results take most, constants aside, and how many bytes that is."""
    largest: tuple[ir.Node | None, int] = (None, 0)
    for node in examined.model.graph.all_nodes():
        values = {*node.inputs, *node.outputs}
        size = sum(_bytes(examined, v) for v in values if v is not None and v.const_value is None)
        if size > largest[1]:
            largest = (node, size)
    return largest


def _bytes(examined: Examined, value: ir.Value) -> int:
    """Of one value; 0 where its shape is not known."""
    if value.shape is None or value.dtype is None or value.dtype.name in _WITHOUT_SIZE:
        return 0
    sizes = (size if isinstance(size, int) else _most(examined, str(size.value)) for size in value.shape)
    return math.prod(sizes) * int(value.dtype.bitwidth) // 8


def _most(examined: Examined, axis: str) -> int:
    """The largest size of a free axis, as far as that is known."""
    return examined.axes[axis].largest if axis in examined.axes else 1
