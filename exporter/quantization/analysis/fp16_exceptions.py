"""Which operators float16 cannot compute: what they read or give is beyond its range, or below its normal numbers."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ....backends.base import Array, Feed, Graph
from ....backends.places import Reference
from ....calibration.portions import HELD, Portions, bytes_of, grouped
from ....calibration.runner import shape_of
from ...graphs.values import constant
from .magnitudes import magnitudes

if TYPE_CHECKING:
    import onnx_ir as ir

LARGEST, SMALLEST_NORMAL = 65504.0, 2.0**-14
# The largest value seen on some samples may be exceeded on others.
ROOM = 2.0
# Values exposed in one run where nothing is known of their sizes: all would hold every activation of the model.
AT_ONCE = 64
# Between a mask of large negative numbers and the softmax that makes nothing of them; saturated they do the same.
MASKING = frozenset(
    {
        *("Add", "Mul", "Sub", "Where", "Cast", "Identity", "Expand", "Reshape", "Squeeze", "Unsqueeze"),
        *("Transpose", "Slice", "Concat", "Gather", "Tile"),
    }
)
SOFTMAX = frozenset({"Softmax", "LogSoftmax"})
# Next to another operand a tiny constant of these is nothing; a tiny factor is not.
SUMS = frozenset({"Add", "Sub", "Max", "Min", "Clip", "Where", "Sum", "Pad", "Concat"})
# What float16 makes larger of a constant that is not 0: its least number takes its place.
LEAST = 2.0**-24
# These tell a tiny number from another, as a quotient does of what it divides by.
GUARDED = frozenset({"Log", "Sqrt", "Reciprocal", "Pow"})
# These only move what they read, on its way to one of those.
MOVING = frozenset({"Expand", "Flatten", "Gather", "Identity", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"})
# A bound beyond all values of float16 bounds none of them, whatever becomes of it.
BOUNDS = frozenset({"Clip", "Max", "Min"})
PRODUCTS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul", "LSTM", "GRU", "RNN", "Attention", "Einsum"})
# They give integers, or move what they read.
WITHOUT_ARITHMETIC = frozenset({"Shape", "Size", "Cast", "Constant", "ConstantOfShape"})


@dataclass(slots=True)
class Extremes:
    """The largest magnitudes seen of a value.

    Attributes:
        positive, negative: of its positive and its negative elements; 0 without any.
    """

    positive: float = 0.0
    negative: float = 0.0

    def see(self, array: npt.NDArray[np.generic]) -> None:
        """Take in an array of floats."""
        if array.size:
            self.positive = max(self.positive, float(array.max()))
            self.negative = max(self.negative, -float(array.min()))

    def join(self, other: Extremes) -> None:
        """Take in what was seen elsewhere."""
        self.positive, self.negative = max(self.positive, other.positive), max(self.negative, other.negative)

    def fault(self, *, mask: bool) -> str:
        """What float16 makes of the value; empty where it holds it.

        Args:
            mask: large negative elements may become the most negative number.
        """
        largest = self.positive if mask else max(self.positive, self.negative)
        if not largest <= LARGEST / ROOM:
            return f"reaches {largest:.3g}, float16 ends at {LARGEST:.0f}"
        either = max(self.positive, self.negative)
        if 0 < either < SMALLEST_NORMAL:
            return f"stays below {either:.3g}, where float16 has no more digits"
        return ""


def fp16_exceptions(
    graph: Graph, feeds: Iterable[Feed], further: Iterable[Feed] = (), known: Mapping[str, float] | None = None
) -> dict[str, str]:
    """Why a node has to stay float32, by node name; a node without a reason is left out.

    Args:
        graph: in float32.
        feeds: real inputs, one or more, as many as is worth the time; the graph runs on the reference place.
        further: more of them, which run for those values only of which it is not certain what they will show.
        known: the largest magnitudes that some values have on these, by name, where another run of them has shown it.
    """
    import onnx_ir as ir

    model = ir.load(graph.path)
    values = {str(value.name): value for node in model.graph for value in node.outputs if _is_float(value)}
    extremes = _seen(graph, values, list(feeds))
    more = list(further)
    bounds = magnitudes(model.graph, {**_largest(more), **known}) if more and known else {}
    doubtful = {name: value for name, value in values.items() if not _certain(extremes.get(name), bounds.get(name))}
    for name, seen in _seen(graph, doubtful, more).items():
        extremes.setdefault(name, Extremes()).join(seen)
    found: dict[str, str] = {}
    for node in model.graph:
        if node.name and node.op_type not in WITHOUT_ARITHMETIC and (why := _why(node, extremes)):
            found[node.name] = why
    return {**found, **{name: why for name, why in _guarding(model.graph) if name not in found}}


def _guarding(graph: ir.Graph) -> Iterator[tuple[str, str]]:
    """Sums with a constant that float16 has not, which keeps a logarithm, root or quotient from 0; and those."""
    for node in graph:
        if node.op_type not in SUMS:
            continue
        for value in node.inputs:
            array = None if value is None else constant(value)
            if value is None or array is None or not _is_plain(array) or not 0 < (least := _least(array)) < LEAST:
                continue
            why = f"{value.name} is {least:.3g}, of which float16 makes {LEAST:.0e}"
            yield from ((str(one.name), why) for one in _guarded(node) if one.name)
            break


def _guarded(node: ir.Node) -> list[ir.Node]:
    """The node and what it keeps from 0, moved or behind a root too; nothing where that is none."""
    found: list[ir.Node] = []
    for use in node.outputs[0].uses():
        if use.node.op_type in MOVING and use.idx == 0:
            found += _guarded(use.node)
        elif use.node.op_type in GUARDED or (use.node.op_type == "Div" and use.idx == 1):
            found += [use.node, *(_guarded(use.node) if use.node.op_type == "Sqrt" else ())]
    return [node, *found] if found else []


def _least(array: npt.NDArray[np.generic]) -> float:
    """The least magnitude in it that is not 0; 0 where there is none."""
    magnitudes = np.abs(array[array != 0])
    return float(magnitudes.min()) if magnitudes.size else 0.0


def _certain(seen: Extremes | None, bound: float | None) -> bool:
    """Whether float16 holds a value whatever is seen of it further: neither limit can be met, one way or the other."""
    if seen is None or bound is None or not bound <= LARGEST / ROOM:
        return False
    return SMALLEST_NORMAL <= max(seen.positive, seen.negative) <= LARGEST / ROOM


def _largest(feeds: Sequence[Feed]) -> dict[str, float]:
    """The largest magnitude of each input."""
    extremes: dict[str, Extremes] = {}
    for feed in feeds:
        _see(extremes, feed)
    return {name: max(seen.positive, seen.negative) for name, seen in extremes.items()}


def holds_no_product(graph: Graph, kept: Collection[str]) -> bool:
    """Whether the graph has products of matrices, and all of them are among the nodes kept in float32."""
    import onnx_ir as ir

    products = [node.name for node in ir.load(graph.path).graph if node.op_type in PRODUCTS]
    return bool(products) and all(name in kept for name in products)


def _why(node: ir.Node, extremes: Mapping[str, Extremes]) -> str:
    """The first fault of what a node reads and gives."""
    for value in (*node.inputs, *node.outputs):
        if value is None:
            continue
        array = constant(value)
        if array is not None and not _is_plain(array):
            continue
        seen = extremes.get(str(value.name)) if array is None else _of(array)
        fault = "" if seen is None else seen.fault(mask=_masks(value))
        small = array is not None and fault.startswith("stays") and node.op_type in SUMS
        if fault and not small:
            return f"{value.name} {fault}"
    return ""


def constant_beyond(value: ir.Value, array: npt.NDArray[np.generic]) -> float:
    """The largest magnitude in a float32 constant that float16 cannot hold, where that matters; 0 where none is."""
    if not _is_plain(array) or {use.node.op_type for use in value.uses()} <= BOUNDS:
        return 0.0
    seen = _of(array)
    largest = seen.positive if _masks(value) else max(seen.positive, seen.negative)
    return largest if largest > LARGEST else 0.0


def _seen(graph: Graph, values: Mapping[str, ir.Value], feeds: Sequence[Feed]) -> dict[str, Extremes]:
    """The extremes of these values and of the inputs over all feeds."""
    extremes: dict[str, Extremes] = {}
    for feed in feeds:
        _see(extremes, feed)
    if not values or not feeds:
        return extremes
    shapes = [shape_of(value) for value in values.values()]
    cut = Portions(graph.inputs, graph.samples, shapes, HELD)
    portions = [portion for feed in feeds for portion in cut.of(feed)]
    outputs = {spec.name for spec in graph.outputs}
    for inner in grouped(_sizes(graph, values, portions), HELD):
        with Reference().values(graph.path, [name for name in inner if name not in outputs]) as run:
            for portion in portions:
                _see(extremes, run(portion, inner))
    return extremes


def _see(extremes: dict[str, Extremes], arrays: Mapping[str, Array]) -> None:
    for name, array in arrays.items():
        if _is_plain(array):
            extremes.setdefault(name, Extremes()).see(array)


def _sizes(graph: Graph, values: Mapping[str, ir.Value], portions: Sequence[Feed]) -> dict[str, int]:
    """The most bytes that each value has in a portion."""
    shapes = [shape_of(value) for value in values.values()]
    each = [bytes_of(graph.inputs, shapes, portion) for portion in portions]
    most = [max(sizes) for sizes in zip(*each, strict=True)]
    unknown = HELD // AT_ONCE
    return {
        name: unknown if value.shape is None else size for (name, value), size in zip(values.items(), most, strict=True)
    }


def _of(array: npt.NDArray[np.generic]) -> Extremes:
    extremes = Extremes()
    extremes.see(array)
    return extremes


def _is_plain(array: npt.NDArray[np.generic]) -> bool:
    return array.dtype == np.float32


def _is_float(value: ir.Value) -> bool:
    """Whether a value is a float32 tensor, or not known to be another thing."""
    import onnx_ir as ir

    return bool(value.name) and (value.type is None or value.dtype == ir.DataType.FLOAT)


def _masks(value: ir.Value) -> bool:
    """Whether all that reads the value leads to a softmax, through sums and selections alone."""
    stack, visited = [value], set()
    while stack:
        current = stack.pop()
        if current.is_graph_output():
            return False
        for use in current.uses():
            if use.node in visited or use.node.op_type in SOFTMAX:
                continue
            if use.node.op_type not in MASKING:
                return False
            visited.add(use.node)
            stack.extend(use.node.outputs)
    return True
