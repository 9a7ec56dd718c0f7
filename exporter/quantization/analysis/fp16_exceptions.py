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
from ...graphs.order import bodies
from ...graphs.values import constant
from .fp16_forms import arithmetic_before, computes_floats, grown, masks, needs_float32
from .fp16_operators import SUMS
from .magnitudes import magnitudes

if TYPE_CHECKING:
    import onnx_ir as ir

LARGEST, SMALLEST_NORMAL = 65504.0, 2.0**-14
# The largest value seen on some samples may be exceeded on others.
ROOM = 2.0
# Values exposed in one run where nothing is known of their sizes: all would hold every activation of the model.
AT_ONCE = 64
# A bound beyond all values of float16 bounds none of them, whatever becomes of it.
BOUNDS = frozenset({"Clip", "Max", "Min"})
# Of an angle beyond this, half of float16's step is 0.03 and more: 30 dB of a sine.
TURNS = 64.0
ANGLES = frozenset({"Sin", "Cos", "Tan"})
# Of a difference so many times smaller than what it is one of, float16 leaves 41 dB.
CANCELS = 64.0
# They add up what they read, and divide the sum.
MEANS = frozenset({"ReduceMean", "GlobalAveragePool"})
PRODUCTS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul", "LSTM", "GRU", "RNN", "Attention", "Einsum"})
# They give integers, or move what they read.
WITHOUT_ARITHMETIC = frozenset({"Shape", "Size", "Cast", "Constant", "ConstantOfShape"})


@dataclass(slots=True)
class Extremes:
    """The largest magnitudes seen of a value.

    Attributes:
        positive, negative: of its positive and its negative elements; 0 without any.
        size: the most elements of one array.
    """

    positive: float = 0.0
    negative: float = 0.0
    size: int = 0

    @property
    def largest(self) -> float:
        """Of both signs."""
        return max(self.positive, self.negative)

    def see(self, array: npt.NDArray[np.generic]) -> None:
        """Take in an array of floats."""
        if array.size:
            self.positive = max(self.positive, float(array.max()))
            self.negative = max(self.negative, -float(array.min()))
            self.size = max(self.size, array.size)

    def join(self, other: Extremes) -> None:
        """Take in what was seen elsewhere."""
        self.positive, self.negative = max(self.positive, other.positive), max(self.negative, other.negative)
        self.size = max(self.size, other.size)

    def fault(self, *, mask: bool) -> str:
        """What float16 makes of the value; empty where it holds it.

        Args:
            mask: large negative elements may become the most negative number.
        """
        largest = self.positive if mask else self.largest
        if not largest <= LARGEST / ROOM:
            return f"reaches {largest:.3g}, float16 ends at {LARGEST:.0f}"
        if 0 < self.largest < SMALLEST_NORMAL:
            return f"stays below {self.largest:.3g}, where float16 has no more digits"
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
    found = dict(_kept(model.graph, extremes))
    for node in model.graph:
        if node.name and node.op_type not in WITHOUT_ARITHMETIC and (why := _why(node, extremes)):
            found[node.name] = why
    return {**needs_float32(model.graph), **found}


def _kept(graph: ir.Graph, extremes: Mapping[str, Extremes]) -> Iterator[tuple[str, str]]:
    """Nodes that stay float32 together, by what was seen of one of them."""
    for node in graph:
        for rule in (_turning, _cancelling, _growing, _in_body):
            nodes, why = rule(node, extremes)
            yield from ((one.name, why) for one in nodes if one.name)


def _turning(node: ir.Node, extremes: Mapping[str, Extremes]) -> tuple[Collection[ir.Node], str]:
    """The sine of an angle of many turns, and what computes the angle, one product of matrices among it."""
    name = str(node.inputs[0].name) if node.op_type in ANGLES and node.inputs[0] is not None else ""
    largest = extremes[name].largest if name in extremes else 0.0
    if largest < TURNS:
        return (), ""
    step = float(np.spacing(np.float16(min(largest, LARGEST / ROOM))))
    return (
        node,
        *arithmetic_before(node, PRODUCTS),
    ), f"{name} is an angle of up to {largest:.3g}, in steps of {step:g}"


def _cancelling(node: ir.Node, extremes: Mapping[str, Extremes]) -> tuple[Collection[ir.Node], str]:
    """A small difference of large values, and what computes these, as distances of squares and products."""
    if node.op_type not in ("Add", "Sub"):
        return (), ""
    read = [_of(array) if (array := _plain(value)) is not None else extremes.get(_name(value)) for value in node.inputs]
    largest = max((seen.largest for seen in read if seen is not None), default=0.0)
    left = extremes.get(_name(node.outputs[0]), Extremes()).largest
    if not 0 < left < largest / CANCELS:
        return (), ""
    why = f"{_name(node.outputs[0])} is {left:.3g} at most, a difference of values of {largest:.3g}"
    return (node, *arithmetic_before(node, PRODUCTS)), why


def _growing(node: ir.Node, extremes: Mapping[str, Extremes]) -> tuple[Collection[ir.Node], str]:
    """A power or an exponential that is beyond float16 of a little more than was seen, and what reads it."""
    seen = extremes.get(_name(node.inputs[0])) if node.inputs else None
    largest = 0.0 if seen is None else seen.positive if node.op_type == "Exp" else seen.largest
    if not grown(node, largest, ROOM) > LARGEST:
        return (), ""
    readers = [use.node for use in node.outputs[0].uses() if use.node.op_type not in WITHOUT_ARITHMETIC]
    return (node, *readers), f"{node.name} ({node.op_type}) of {ROOM:g} times the {largest:.3g} seen is beyond float16"


def _in_body(node: ir.Node, extremes: Mapping[str, Extremes]) -> tuple[Collection[ir.Node], str]:
    """If, Loop and Scan: what is seen of values ends where a body begins."""
    inside = any(computes_floats(inner) for body in bodies(node) for inner in body)
    return (node,) if inside else (), f"a body of {node.op_type} is computed in float32"


def _name(value: ir.Value | None) -> str:
    return "" if value is None else str(value.name)


def _plain(value: ir.Value | None) -> npt.NDArray[np.generic] | None:
    """A constant in float32."""
    array = constant(value)
    return array if array is not None and _is_plain(array) else None


def _certain(seen: Extremes | None, bound: float | None) -> bool:
    """Whether float16 holds a value whatever is seen of it further: neither limit can be met, one way or the other."""
    if seen is None or bound is None or not bound <= LARGEST / ROOM:
        return False
    return SMALLEST_NORMAL <= seen.largest <= LARGEST / ROOM


def _largest(feeds: Sequence[Feed]) -> dict[str, float]:
    """The largest magnitude of each input."""
    extremes: dict[str, Extremes] = {}
    for feed in feeds:
        _see(extremes, feed)
    return {name: seen.largest for name, seen in extremes.items()}


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
        if array is not None and (not _is_plain(array) or node.op_type in BOUNDS):
            continue
        seen = extremes.get(str(value.name)) if array is None else _of(array)
        fault = "" if seen is None else seen.fault(mask=masks(value))
        small = array is not None and fault.startswith("stays") and node.op_type in SUMS
        if fault and not small:
            return f"{value.name} {fault}"
    return _adding_up(node, extremes)


def _adding_up(node: ir.Node, extremes: Mapping[str, Extremes]) -> str:
    """What float16 makes of the sum of which a node gives the mean; empty where it holds it, or nothing was seen."""
    if node.op_type not in MEANS or node.inputs[0] is None:
        return ""
    read, given = (extremes.get(str(value.name), Extremes()) for value in (node.inputs[0], node.outputs[0]))
    largest = given.largest * (read.size // max(given.size, 1))
    return "" if largest <= LARGEST / ROOM else f"adds up to {largest:.3g}, float16 ends at {LARGEST:.0f}"


def constant_beyond(value: ir.Value, array: npt.NDArray[np.generic]) -> float:
    """The largest magnitude in a float32 constant that float16 cannot hold, where that matters; 0 where none is."""
    if not _is_plain(array) or {use.node.op_type for use in value.uses()} <= BOUNDS:
        return 0.0
    seen = _of(array)
    largest = seen.positive if masks(value) else seen.largest
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
    """Of float32, and no sequence, which is a list."""
    return isinstance(array, np.ndarray) and array.dtype == np.float32


def _is_float(value: ir.Value) -> bool:
    """Whether a value is a float32 tensor, or not known to be another thing."""
    import onnx_ir as ir

    # A sequence has the dtype of its elements.
    plain = isinstance(value.type, ir.TensorType) and value.dtype == ir.DataType.FLOAT
    return bool(value.name) and (value.type is None or plain)
